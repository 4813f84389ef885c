"""Families of models: losses, depths and search spaces, a row for each family."""

import random
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neurosparse as ns
from neurosparse.baselines import Quantised
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments import FAMILIES, Split, Task, evaluate, make_model
from neurosparse.experiments.classification.config import classification_loss, targets
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.space import LogUniform, draw
from neurosparse.experiments.classification.train import fit

# Keys of files that make a family train in milliseconds.
DRAWS = 2  # of each space; 30 were drawn by hand
SMALL = {"sparse-code": {"atoms": 16}, "predictive": {"inference_steps": 3}, "fly": {"cells": 50}}


def toy() -> tuple[Task, Split]:
    """Two training steps with noisy copies of one pattern per class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(32) % 4
    x = torch.rand(4, 20, generator=generator)[y] * torch.rand(32, 20, generator=generator)
    split = Split((x, y), (x, y), (x[:20], y[:20]))
    return Task("toy", "A toy", lambda: split, (12,), 4, 1, 16, (0.01,)), split


def recordings() -> tuple[Task, Split]:
    """The same with events over six steps."""
    task, split = toy()
    (x, y), (test, labels) = split.train, split.test
    events = [ns.poisson(each / each.max(), steps=6) for each in (x, test)]
    split = Split((events[0], y), (events[0], y), (events[1], labels))
    return replace(task, data=lambda: split), split


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_squared_loss_is_the_output_energy_of_a_predictive_network(smoothing):
    torch.manual_seed(0)
    network = ns.PredictiveNetwork((5, 3), "relu", output="squared")
    x, y = torch.randn(7, 5), torch.randint(3, (7,))
    states = network.infer(x, targets(y, 3, smoothing), steps=1)
    # One layer between a clamped input and a clamped output: inference moves nothing.
    expected = float(states.energies[-1].mean().detach())
    assert classification_loss(network(x), y, "squared", smoothing).item() == pytest.approx(expected, rel=1e-6)


def test_smoothed_targets_give_the_cross_entropy_of_torch():
    logits, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 3, 0])
    expected = -(targets(y, 4, 0.2) * F.log_softmax(logits, 1)).sum(1).mean()
    assert torch.allclose(classification_loss(logits, y, "cross_entropy", 0.2), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_with_both_losses(family):
    task, split = toy()
    found = []
    for loss in ("cross_entropy", "squared"):
        config = make_model("mine", family=family, loss=loss, **SMALL.get(family, {}))
        assert config.fixed == tuple(key for key in config.space if key in {"loss", *SMALL.get(family, {})})
        trained = fit(config, task, split, 0, 0.01)
        assert torch.isfinite(torch.tensor(trained.losses)).all()
        found.append(torch.cat([part.flatten().double() for part in trained.model.state_dict().values()]))
    assert not torch.equal(*found), "the loss changes the weights"


# Keys of files on which whether a parameter is read depends.
EVENTS = {"encoding": "events", "steps": 3}
STATIC = ("converted",)  # reads no recordings
RECORDED = {
    family: EVENTS for family, config in FAMILIES.items() if hasattr(config, "encoder") and family not in STATIC
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_of_a_space_is_a_key_that_a_file_may_fix(family):
    plain = make_model("mine", family=family, **RECORDED.get(family, {}))
    unread = {"collision"} if family in STATIC else set()
    assert set(plain.searchable) == set(FAMILIES[family].space) - unread and plain.fixed == ()
    for key, values in plain.searchable.items():
        value = values.low if isinstance(values, LogUniform) else values[0]
        fixed = make_model("mine", family=family, **RECORDED.get(family, {}), **{key: value})
        assert fixed.fixed == (key,) and set(fixed.searchable) == set(plain.searchable) - {key}


def test_a_parameter_that_nothing_reads_is_not_searched():
    exact = make_model("mine", family="predictive", inference_mode="z_il")
    assert not {"nudge", "inference_steps"} & set(exact.searchable)
    assert "collision" not in make_model("mine", family="lif", encoding="events").searchable
    assert "collision" in make_model("mine", family="lif", encoding="events", steps=5).searchable


@pytest.mark.parametrize(
    ("family", "recorded"), [(family, kind) for family in FAMILIES for kind in (False, True)[: 2 - (family in STATIC)]]
)
def test_parameters_drawn_from_a_space_build_train_and_are_counted(family, recorded):
    task, split = recordings() if recorded else toy()
    keys = RECORDED.get(family, {}) if recorded else {}
    config, generator = make_model("mine", family=family, **keys), random.Random(0)
    for _ in range(DRAWS):
        values = draw(config.searchable, generator)
        drawn = config.with_parameters(values)
        assert {key: getattr(drawn, key) for key in values} == values
        model = fit(drawn, task, split, 0, 1e-3).model
        prepared = drawn.prepare(split.test[0]), split.test[1]
        assert evaluate(model, prepared)["counts"].uncounted == ()


def test_parameters_reach_the_compression():
    config = make_model("mine", family="relu", sparsity=0.5)
    other = config.with_parameters({"dropout": 0.1, "bits": 8})
    assert (other.dropout, other.compression.bits, other.compression.sparsity) == (0.1, 8, 0.5)
    with pytest.raises(InputError, match="got parameter='drop'"):
        config.with_parameters({"drop": 0.1})


GRID = """
family = "lif"
depth = [1, 3]
encoding = ["current", "latency"]
learn_beta = [true, false]
sparsity = [0.0, 0.9]
bits = 8
layers = []
"""


def test_lists_of_a_file_are_a_grid_of_models(tmp_path):
    (tmp_path / "lif.toml").write_text(GRID)
    found = find_models(tmp_path)
    assert len(found) == len({model.name for model in found}) == 16
    assert [model.name for model in found[:3]] == [
        "lif-depth1-current-learn_beta-sparsity0.0",
        "lif-depth1-current-learn_beta-sparsity0.9",
        "lif-depth1-current-no_learn_beta-sparsity0.0",
    ]
    for model in found:
        (alone,) = find_models(tmp_path, (model.name,))
        assert alone == model and set(model.fixed) == {"learn_beta"} & set(model.space)
        depth, encoding, learned, sparsity = model.name.split("-")[1:]
        settings = (f"depth{model.depth}", model.encoding, f"sparsity{model.compression.sparsity}")
        assert settings == (depth, encoding, sparsity) and model.learn_beta == (learned == "learn_beta")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("depth = [1, 2]\nbits = [8, 9]", r"model 'mine-depth1-bits9'.*expected one of 2, 3"),
        ('sparsity = [0.0, 0.9]\npruning_method = ["rigl"]', r"model 'mine-sparsity0.0-rigl'.*a sparsity above 0"),
        ("depth = [1, 2]\nbits = []", r"bits=\[\]; expected different values"),
        ("depth = [1, 1.0]\nbits = [8, 4]", "expected different values"),
        ('loss = ["squared", "hinge"]', "model 'mine-hinge'"),
    ],
)
def test_a_bad_grid_is_refused_in_one_sentence(tmp_path, text, said):
    (tmp_path / "mine.toml").write_text(f'family = "relu"\n{text}')
    with pytest.raises(InputError, match=said) as refused:
        find_models(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_combination_is_named_with_its_neighbours(tmp_path):
    (tmp_path / "relu.toml").write_text('family = "relu"\ndepth = [1, 3]\nbits = [8, 4]')
    (tmp_path / "relu-grid.toml").write_text('family = "relu"\ndepth = [1, 6]\nbits = [8, 4]')
    assert find_models(tmp_path, ("relu-grid-depth6-bits4",))[0].depth == 6
    assert find_models(tmp_path, ("relu-depth3-bits4",))[0].depth == 3
    with pytest.raises(MissingFileError, match="relu-depth3-bits5.*such as relu-depth3-bits"):
        find_models(tmp_path, ("relu-depth3-bits5",))


def test_uncompressed_networks_are_equal_whatever_their_compression():
    for family in ("relu", "lif", "kwta", "predictive"):
        plain = make_model("mine", family=family, loss="squared")
        assert make_model("mine", family=family, loss="squared", sparsity=0.9, bits=8).uncompressed == plain


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_is_the_number_of_hidden_layers_of_the_first_width(depth):
    model = make_model("mine", family="relu", depth=depth).network((4,), (7, 5), 3)
    widths = [layer.out_features for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert widths == [7] * depth + [3]


# Compressions that every family with weights to compress accepts.
COMPRESSIONS = ({"bits": 8}, {"bits": 4, "quantization": "qat"}, {"sparsity": 0.9, "bits": 8})


@pytest.mark.parametrize(
    "family",
    [family for family, config in FAMILIES.items() if any(each.name == "compression" for each in fields(config))],
)
@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
def test_every_family_with_a_compression_is_quantized(family, compression):
    task, split = toy()
    model = fit(make_model("mine", family=family, **compression), task, split, 0, 0.01).model
    layers = [module for module in model.modules() if isinstance(module, Quantised)]
    assert layers and {layer.bits for layer in layers} == {compression["bits"]}
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert evaluate(model, split.test)["counts"].uncounted == ()


@pytest.mark.parametrize("order", ["act_after", "act_before"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_quantized_sweep_of_a_predictive_network_is_its_forward_pass(order, activation):
    keys = {"order": order, "activation": activation, "loss": "squared"}
    config, x = make_model("mine", family="predictive", bits=8, **keys), torch.rand(30, 6)
    network = config.network((6,), (7, 5), 3).eval()
    found, expected = config.finish(network, x)(x), network(x)
    assert torch.allclose(found, expected, atol=0.03) and not torch.equal(found, expected)


def test_a_python_file_may_have_another_loss(tmp_path):
    text = "import torch\ndef network(split):\n    return torch.nn.Linear(20, 4)\n"
    (tmp_path / "plain.py").write_text(text)
    (tmp_path / "squared.py").write_text(text + 'loss, label_smoothing = "squared", 0.1\n')
    (tmp_path / "wrong.py").write_text(text + 'loss = "hinge"\n')
    assert [model.loss for model in find_models(tmp_path, ("plain", "squared"))] == ["cross_entropy", "squared"]
    with pytest.raises(InputError, match="model 'wrong': got loss='hinge'"):
        find_models(tmp_path)
    task, split = toy()
    plain, squared = (fit(model, task, split, 0, 0.01).losses for model in find_models(tmp_path, ("plain", "squared")))
    assert plain != squared
