"""Models that are pruned, with a lasso, quantized or distilled: files with operating points, training, checkpoints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from neurosparse.baselines import METHODS, prunable
from neurosparse.baselines.schedule import ROUNDS
from neurosparse.errors import InputError
from neurosparse.experiments import Split, Task, load_task, make_model, read_model
from neurosparse.experiments.classification.families.relu import ReLUConfig
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.progress import checkpoint_path
from neurosparse.experiments.classification.train import fit

LENET = Path(__file__).parents[2] / "models" / "lenet-300-100"


def toy(epochs: int = 4) -> tuple[Task, Split]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 8
    x = torch.rand(8, 24, generator=generator)[y] * torch.rand(64, 24, generator=generator)
    split = Split((x, y), (x, y), (x, y))
    return Task("toy", "A toy", lambda: split, (16, 12), 8, epochs, 16, (0.01,)), split


def zeros(model: torch.nn.Module) -> float:
    weights = prunable(model).values()
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_prunes_to_the_sparsity(method):
    task, split = toy()
    trained = fit(make_model("a", family="relu", sparsity=0.75, pruning_method=method), task, split, 0, 0.01)
    assert zeros(trained.model) == pytest.approx(0.75, abs=3 / 1300)
    assert trained.steps == 16 * (ROUNDS if method == "iterative" else 1)
    assert len(trained.losses) == trained.steps // 4


def test_an_epoch_factor_multiplies_the_epochs_and_stretches_the_rate():
    task, split = toy()
    trained = fit(make_model("a", family="relu", epoch_factor=3), task, split, 0, 0.01)
    assert (trained.steps, len(trained.losses)) == (3 * 16, 3 * 4)
    assert trained.losses[-1] < fit(make_model("a", family="relu"), task, split, 0, 0.01).losses[-1]


@pytest.mark.parametrize("family", ["relu", "lif", "kwta", "gru", "predictive"])
def test_every_family_can_be_pruned_by_a_method_that_needs_gradients(family):
    task, split = toy()
    for method in ("snip", "rigl"):
        trained = fit(make_model("a", family=family, sparsity=0.5, pruning_method=method), task, split, 0, 0.01)
        assert zeros(trained.model) == pytest.approx(0.5, abs=3 / 600)


def test_a_lottery_ticket_goes_back_to_its_first_weights_after_each_training(monkeypatch):
    task, split = toy()
    seen: list[torch.Tensor] = []

    learn_batch = ReLUConfig.learn

    def learn(config, model, *rest):
        seen.append(torch.cat([weight.detach().flatten() for weight in prunable(model).values()]))
        return learn_batch(config, model, *rest)

    monkeypatch.setattr(ReLUConfig, "learn", learn)
    fit(make_model("a", family="relu", sparsity=0.8, pruning_method="iterative"), task, split, 0, 0.05)
    first, once = seen[0], len(seen) // ROUNDS
    for done in range(1, ROUNDS):
        left = seen[done * once]
        alive = left != 0
        assert torch.equal(left[alive], first[alive]), "the weights left are the first ones again"
        assert float(alive.float().mean()) == pytest.approx(0.2 ** (done / (ROUNDS - 1)), abs=0.001)
        assert not torch.allclose(seen[done * once - 1][alive], first[alive]), "they had changed in the training before"


def test_a_lasso_makes_zeros_and_a_group_lasso_of_rows_makes_dead_rows():
    task, split = toy(epochs=20)
    plain, lasso, group = (
        fit(make_model("a", family="relu", **settings), task, split, 0, 0.02).model
        for settings in ({}, {"lasso": 0.02}, {"lasso": 1.0, "granularity": "row"})
    )
    assert zeros(plain) == 0 < zeros(lasso)
    hidden = next(iter(prunable(group).values()))
    dead = (hidden == 0).all(1)
    assert bool(dead.any()) and not bool((hidden == 0)[~dead].any())


def test_pruned_rows_are_hidden_units_and_never_outputs():
    task, split = toy()
    config = make_model("a", family="relu", sparsity=0.75, granularity="row")
    *hidden, answers = prunable(fit(config, task, split, 0, 0.01).model).values()
    dead = torch.cat([(weight == 0).all(1) for weight in hidden])
    assert 0 < int(dead.sum()) < len(dead) and not bool((answers == 0).all(1).any())
    gone = sum(int((weight == 0).sum()) for weight in hidden) / sum(weight.numel() for weight in hidden)
    assert gone == pytest.approx(0.75, abs=0.05)


def test_pruned_blocks_and_n_of_m():
    task, split = toy()
    for granularity, pruned in (("block 2 4", 0.5), ("n:4", 0.75)):
        config = make_model("a", family="relu", sparsity=pruned, granularity=granularity)
        assert zeros(fit(config, task, split, 0, 0.01).model) == pytest.approx(pruned, abs=0.05)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_trained_in_few_bits_and_pruned(bits):
    task, split = toy()
    config = make_model("a", family="relu", bits=bits, quantization="qat", sparsity=0.5)
    model = fit(config, task, split, 0, 0.01).model
    layers = [module for module in model.modules() if hasattr(module, "levels")]
    assert [layer.bits for layer in layers] == [bits] * 3
    assert all(int(layer.levels.abs().max()) <= 2 ** (bits - 1) - 1 for layer in layers)
    alive = sum(int((layer.levels != 0).sum()) for layer in layers) / sum(layer.levels.numel() for layer in layers)
    assert 0 < alive <= 0.5


def test_a_distilled_network_has_the_plain_one_as_its_teacher(tmp_path):
    task, split = toy()
    distilled = make_model("distilled", family="relu", distillation=0.9, sparsity=0.5)
    fit(distilled, task, split, 0, 0.01, tmp_path)
    plain = make_model("plain", family="relu")
    assert distilled.uncompressed.settings == plain.settings
    paths = {checkpoint_path(tmp_path, c, task, split, 0, 0.01) for c in (distilled, plain)}
    assert set(tmp_path.iterdir()) == paths and len(paths) == 2


def test_weights_of_another_training_are_not_shared(tmp_path):
    task, split = toy()
    plain = make_model("a", family="relu", bits=4)
    others = [plain, make_model("a", family="relu", bits=4, quantization="qat")]
    others += [make_model("a", family="relu", bits=8, quantization="qat"), make_model("a", family="relu", lasso=0.1)]
    others += [make_model("a", family="relu", sparsity=0.5, pruning_method=method) for method in METHODS]
    others += [make_model("a", family="relu", sparsity=0.5, granularity="row")]
    others += [make_model("a", family="relu", sparsity=0.5, distribution="erk")]
    assert len({checkpoint_path(tmp_path, c, task, split, 0, 0.01) for c in others}) == len(others)


def test_a_file_can_hold_operating_points(tmp_path):
    for name, text in {
        "train": "",
        "rigl": 'family = "relu"\npruning_method = "rigl"\nsparsity = [0.8, 0.9]',
        "rigl-0.7": 'family = "relu"',
        "few": 'family = "relu"\nbits = [2, 8]',
    }.items():
        (tmp_path / f"{name}.{'py' if name == 'train' else 'toml'}").write_text(text)
    found = find_models(tmp_path)
    assert [c.name for c in found] == ["few-2", "few-8", "rigl-0.8", "rigl-0.9", "rigl-0.7"]
    assert found[3].settings == {"family": "relu", "pruning_method": "rigl", "sparsity": 0.9}
    assert [c.name for c in find_models(tmp_path, ("rigl-0.9", "few", "rigl-0.7"))] == [
        "rigl-0.9", "few-2", "few-8", "rigl-0.7",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"model 'rigl': got 2 operating points.*Name 'rigl-0.8'"):
        read_model(tmp_path / "rigl.toml")
    with pytest.raises(FileNotFoundError, match=r"rigl-0\.6"):
        find_models(tmp_path, ("rigl-0.6",))


BAD = {
    'sparsity = [0.8, "0.9"]': "0 <= sparsity <= 0.999",
    "sparsity = []": "different values",
    'pruning_method = "rigl"': "a sparsity above 0",
    'granularity = "row"': "a sparsity above 0",
    'sparsity = 0.5\npruning_method = "rgil"': "one of 'one-shot'",
    'sparsity = 0.5\ngranularity = "column"': "granularity: got 'column'",
    'sparsity = 0.9\ngranularity = "n:4"': "a whole number of weights kept",
    "sparsity = 0.5\ngranularity = 4": "text",
    'lasso = 0.1\ngranularity = "n:4"': "weights, rows or blocks",
    'sparsity = 0.5\npruning_method = "rigl"\ngranularity = "row"': "single weights",
    'levels = 4\nsparsity = 0.5\npruning_method = "synflow"': "activations that pass positive inputs",
    'quantization = "qat"': "2 to 8 bits",
    "distillation = 1.5": "0 <= distillation <= 1",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(f'family = "relu"\n{text}')
    with pytest.raises(InputError) as refused:
        read_model(tmp_path / "mine.toml")
    message = str(refused.value)
    assert message.startswith("model 'mine") and BAD[text] in message and "\n" not in message


def test_the_models_of_lenet_have_four_operating_points_each():
    task, found = load_task(LENET, Task), find_models(LENET)
    assert task.hidden == (300, 100)
    plain = [
        c
        for c in found
        if c.compression.sparsity and c.compression.granularity == "weight"
        if not (c.compression.lasso or c.distillation) and c.epoch_factor == 1
    ]
    parts = [model.compression for model in plain if model.compression.bits == 32]
    for method in METHODS:
        assert [part.sparsity for part in parts if part.pruning_method == method] == [0.8, 0.9, 0.95, 0.98]
    points = Counter(c.name.rpartition("-")[0] for c in found)
    assert {name for name, number in points.items() if number < 4} == {"", "n-of-4"}, "dense; 4 has three parts"
