"""Contestants that are pruned, priced, quantised or taught: files with operating points, training, resuming."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch

from neurosparse.baselines import METHODS, prunable
from neurosparse.baselines.schedule import ROUNDS
from neurosparse.errors import InputError
from neurosparse.experiments import Contestant, Split, Task, find_contestants, load_task, read_contestant
from neurosparse.experiments.classification import networks
from neurosparse.experiments.classification import train as training
from neurosparse.experiments.classification.train import fit
from neurosparse.experiments.classification.weights import checkpoint_path

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
def test_every_method_is_a_contestant_and_ends_pruned(method):
    task, split = toy()
    trained = fit(Contestant("a", "relu", pruned=0.75, pruning=method), task, split, 0, 0.01)
    assert zeros(trained.model) == pytest.approx(0.75, abs=3 / 1300)
    assert trained.steps == 16 * (ROUNDS if method == "iterative" else 1)
    assert len(trained.losses) == trained.steps // 4


def test_a_training_may_be_longer_and_its_rate_ends_with_it():
    task, split = toy()
    trained = fit(Contestant("a", "relu", longer=3), task, split, 0, 0.01)
    assert (trained.steps, len(trained.losses)) == (3 * 16, 3 * 4)
    assert trained.losses[-1] < fit(Contestant("a", "relu"), task, split, 0, 0.01).losses[-1]


@pytest.mark.parametrize("family", ["relu", "lif", "kwta", "gru", "predictive"])
def test_every_family_can_be_pruned_by_a_method_that_needs_gradients(family):
    task, split = toy()
    for method in ("snip", "rigl"):
        trained = fit(Contestant("a", family, pruned=0.5, pruning=method), task, split, 0, 0.01)
        assert zeros(trained.model) == pytest.approx(0.5, abs=3 / 600)


def test_a_lottery_ticket_goes_back_to_its_first_weights_after_each_training(monkeypatch):
    task, split = toy()
    seen: list[torch.Tensor] = []

    def learn(model, *rest):
        seen.append(torch.cat([weight.detach().flatten() for weight in prunable(model).values()]))
        return networks.learn(model, *rest)

    monkeypatch.setattr(training, "learn", learn)
    fit(Contestant("a", "relu", pruned=0.8, pruning="iterative"), task, split, 0, 0.05)
    first, once = seen[0], len(seen) // ROUNDS
    for done in range(1, ROUNDS):
        left = seen[done * once]
        alive = left != 0
        assert torch.equal(left[alive], first[alive]), "what is left starts again from where it was"
        assert float(alive.float().mean()) == pytest.approx(0.2 ** (done / (ROUNDS - 1)), abs=0.001)
        assert not torch.allclose(seen[done * once - 1][alive], first[alive]), "it had learned before"


def test_a_price_on_weights_makes_zeros_and_a_price_on_rows_makes_dead_rows():
    task, split = toy(epochs=20)
    plain, lasso, group = (
        fit(Contestant("a", "relu", **settings), task, split, 0, 0.02).model
        for settings in ({}, {"lasso": 0.02}, {"lasso": 1.0, "granularity": "row"})
    )
    assert zeros(plain) == 0 < zeros(lasso)
    hidden = next(iter(prunable(group).values()))
    dead = (hidden == 0).all(1)
    assert bool(dead.any()) and not bool((hidden == 0)[~dead].any())


def test_pruned_rows_are_hidden_units_and_never_an_answer():
    task, split = toy()
    contestant = Contestant("a", "relu", pruned=0.75, granularity="row")
    *hidden, answers = prunable(fit(contestant, task, split, 0, 0.01).model).values()
    dead = torch.cat([(weight == 0).all(1) for weight in hidden])
    assert 0 < int(dead.sum()) < len(dead) and not bool((answers == 0).all(1).any())
    gone = sum(int((weight == 0).sum()) for weight in hidden) / sum(weight.numel() for weight in hidden)
    assert gone == pytest.approx(0.75, abs=0.05)


def test_pruned_blocks_and_n_of_m():
    task, split = toy()
    for granularity, pruned in (("block 2 4", 0.5), ("n:4", 0.75)):
        contestant = Contestant("a", "relu", pruned=pruned, granularity=granularity)
        assert zeros(fit(contestant, task, split, 0, 0.01).model) == pytest.approx(pruned, abs=0.05)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_trained_in_few_bits_and_pruned(bits):
    task, split = toy()
    contestant = Contestant("a", "relu", bits=bits, quantised="training", pruned=0.5)
    model = fit(contestant, task, split, 0, 0.01).model
    layers = [module for module in model.modules() if hasattr(module, "levels")]
    assert [layer.bits for layer in layers] == [bits] * 3
    assert all(int(layer.levels.abs().max()) <= 2 ** (bits - 1) - 1 for layer in layers)
    alive = sum(int((layer.levels != 0).sum()) for layer in layers) / sum(layer.levels.numel() for layer in layers)
    assert 0 < alive <= 0.5


def test_a_taught_network_shares_its_teacher_with_the_plain_one(tmp_path):
    task, split = toy()
    taught = Contestant("taught", "relu", distillation=0.9, pruned=0.5)
    fit(taught, task, split, 0, 0.01, tmp_path)
    plain = Contestant("plain", "relu")
    assert taught.uncompressed.settings == plain.settings
    paths = {checkpoint_path(tmp_path, c, task, 0, 0.01) for c in (taught, plain)}
    assert set(tmp_path.iterdir()) == paths and len(paths) == 2


def test_weights_of_another_training_are_not_shared(tmp_path):
    task, _ = toy()
    plain = Contestant("a", "relu", bits=4)
    others = [plain, dataclasses.replace(plain, quantised="training")]
    others += [Contestant("a", "relu", bits=8, quantised="training"), Contestant("a", "relu", lasso=0.1)]
    others += [Contestant("a", "relu", pruned=0.5, pruning=method) for method in METHODS]
    others += [Contestant("a", "relu", pruned=0.5, granularity="row")]
    others += [Contestant("a", "relu", pruned=0.5, distribution="erk")]
    assert len({checkpoint_path(tmp_path, c, task, 0, 0.01) for c in others}) == len(others)


def test_a_file_can_hold_operating_points(tmp_path):
    for name, text in {
        "train": "",
        "rigl": 'family = "relu"\npruning = "rigl"\npruned = [0.8, 0.9]',
        "rigl-0.7": 'family = "relu"',
        "few": 'family = "relu"\nbits = [2, 8]',
    }.items():
        (tmp_path / f"{name}.{'py' if name == 'train' else 'toml'}").write_text(text)
    found = find_contestants(tmp_path)
    assert [c.name for c in found] == ["few-2", "few-8", "rigl-0.8", "rigl-0.9", "rigl-0.7"]
    assert found[3].settings == {"family": "relu", "pruning": "rigl", "pruned": 0.9}
    assert [c.name for c in find_contestants(tmp_path, ("rigl-0.9", "few", "rigl-0.7"))] == [
        "rigl-0.9", "few-2", "few-8", "rigl-0.7",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"contestant 'rigl': got 2 operating points.*Name 'rigl-0.8'"):
        read_contestant(tmp_path / "rigl.toml")
    with pytest.raises(FileNotFoundError, match=r"rigl-0\.6"):
        find_contestants(tmp_path, ("rigl-0.6",))


BAD = {
    'pruned = [0.8, "0.9"]': "a number",
    "pruned = []": "at most one list",
    "pruned = [0.8]\nlasso = [0.1]": "lists of pruned, lasso",
    'pruning = "rigl"': "pruned above 0",
    'granularity = "row"': "pruned above 0",
    'pruned = 0.5\npruning = "rgil"': "one of 'one-shot'",
    'pruned = 0.5\ngranularity = "column"': "granularity: got 'column'",
    'pruned = 0.9\ngranularity = "n:4"': "a whole number of survivors",
    "pruned = 0.5\ngranularity = 4": "text",
    'lasso = 0.1\ngranularity = "n:4"': "weights, rows or blocks",
    'pruned = 0.5\npruning = "rigl"\ngranularity = "row"': "single weights",
    'levels = 4\npruned = 0.5\npruning = "synflow"': "another method",
    'quantised = "training"': "fewer bits",
    "distillation = 1.5": "0.0 <= distillation <= 1.0",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(f'family = "relu"\n{text}')
    with pytest.raises(InputError) as refused:
        read_contestant(tmp_path / "mine.toml")
    message = str(refused.value)
    assert message.startswith("contestant 'mine") and BAD[text] in message and "\n" not in message


def test_the_opponents_on_the_shelf_have_four_points_each_and_fit_their_task():
    task, found = load_task(LENET, Task), find_contestants(LENET)
    assert task.hidden == (300, 100)
    plain = [
        c for c in found if c.pruned and c.granularity == "weight" and not (c.lasso or c.distillation) and c.longer == 1
    ]
    for method in METHODS:
        assert [c.pruned for c in plain if c.pruning == method and c.bits == 32] == [0.8, 0.9, 0.95, 0.98]
    points = Counter(c.name.rpartition("-")[0] for c in found)
    assert {name for name, number in points.items() if number < 4} == {"", "n-of-4"}, "dense; 4 has three parts"
