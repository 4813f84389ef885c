"""A classification task: tuning, trainings side by side, checkpoints, reference models of the verdicts."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import neurosparse as ns
from neurosparse import report
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.classification import train as training

load = partial(ns.experiments.load_task, kind=ns.Task)
TIMES = ("seconds", "seconds_per_sample", "created")


def numbers(value: Any) -> Any:
    """Everything but how long it took and when."""
    if isinstance(value, dict):
        return {key: numbers(inner) for key, inner in value.items() if key not in TIMES}
    return [numbers(inner) for inner in value] if isinstance(value, list) else value


def test_one_process_or_two_give_the_same_numbers(toy):
    alone = load(toy).run([0, 1], processes=1)
    beside = load(toy).run([0, 1], processes=2)
    assert numbers(alone) == numbers(beside)
    assert alone == json.loads(json.dumps(alone)) and report.check(alone)
    assert all(row["accuracy"]["mean"] > 0.5 for row in alone["models"]), "chance is a quarter"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_changed_task_trains_with_its_changes(toy, processes):
    task = load(toy)
    per_epoch = task.run([0], only=("relu",), processes=1)["models"][0]["training"]["steps"] // task.epochs
    changed = replace(task, epochs=task.epochs + 1).run([0], only=("relu",), processes=processes)
    assert changed["models"][0]["training"]["steps"] == per_epoch * (task.epochs + 1)


def test_the_learning_rate_is_chosen_on_validation_data_and_shared_by_all_seeds(toy):
    results = load(toy).run([0, 1, 2], only=("relu",), processes=1)
    (row,) = results["models"]
    trials = {trial["learning_rate"]: trial["validation_accuracy"] for trial in row["training"]["trials"]}
    assert list(trials) == [0.001, 0.03] and trials[0.03] > trials[0.001], "the task is made so"
    assert row["validation_accuracy"]["mean"] > trials[0.001]
    assert len(row["accuracy"]["seeds"]) == 3 and results["seeds"] == [0, 1, 2]
    assert results["split"] == {"train": 80, "validation": 20, "test": 20}


def test_tuning_never_reads_the_test_part(toy):
    touched, seen = toy / "touched", []

    def progress(message: str, done: int, total: int) -> None:
        seen.append((message.split()[0], done, touched.exists()))
        assert total == 2 * 2 + 3, "relu and relu-int8 share their search"

    load(toy).run([0], processes=1, callback=progress)
    assert [(step, read) for step, _, read in seen] == [("search", False)] * 4 + [("training", True)] * 3
    assert [done for _, done, _ in seen] == list(range(1, 8))
    touched.unlink()
    load(toy).train("relu")
    assert not touched.exists()


def test_an_interrupted_run_continues(toy, tmp_path, monkeypatch):
    whole = load(toy).run([0, 1], processes=1)
    trainings, kept, train = [], tmp_path / "kept", training._train
    monkeypatch.setattr(training, "_train", lambda *given: trainings.append(1) or train(*given))

    def interrupt(message: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(toy).run([0, 1], processes=1, folder=kept, callback=interrupt)
    assert len(trainings) == 3
    again = load(toy).run([0, 1], processes=1, folder=kept)
    # relu and lif, two rates and one more seed each; int8 has relu's weights, the first seed those of its best trial.
    assert len(trainings) == 2 * (2 + 1)
    assert numbers(again) == numbers(whole)
    trainings.clear()
    load(toy).run([0, 1], processes=1, folder=kept)
    assert not trainings


def test_a_run_leaves_threads_and_random_state_as_they_were(toy):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        load(toy).run([0], only=("lif",), processes=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)


def test_all_models_are_compared_with_the_plain_network(toy):
    results = load(toy).run([0], processes=1)
    assert results["reference"] == "relu"
    pairs = {(verdict["a"], verdict["b"]) for verdict in results["verdicts"]}
    assert pairs == {("lif", "relu"), ("relu-int8", "relu")}
    assert {verdict["scenario"] for verdict in results["verdicts"]} == set(results["models"][0]["energy"])
    rows = {row["name"]: row for row in results["models"]}
    assert list(rows) == ["lif", "relu", "relu-int8"]
    assert rows["lif"]["config"] == {"family": "lif", "steps": 3} and rows["lif"]["note"] == "over 3 steps"
    assert (rows["relu-int8"]["weight_bits"], rows["relu"]["weight_bits"]) == (8, 32)
    assert rows["relu"]["bytes"]["weights"] == 4 * rows["relu-int8"]["bytes"]["weights"] == 4 * (16 * 24 + 24 * 4)


def test_without_a_plain_network_the_first_is_the_reference(toy):
    (toy / "lif-short.toml").write_text('family = "lif"\nsteps = 2')
    results = load(toy).run([0], only=("lif", "lif-short"), processes=1)
    assert results["reference"] == "lif"
    assert {(verdict["a"], verdict["b"]) for verdict in results["verdicts"]} == {("lif-short", "lif")}


def test_a_bad_file_stops_before_any_training(toy, monkeypatch):
    monkeypatch.setattr(training, "_train", None)
    (toy / "wrong.toml").write_text('family = "lif"\nstep = 3')
    with pytest.raises(InputError, match="Did you mean 'steps'"):
        load(toy).run(processes=1)
    with pytest.raises(MissingFileError, match="lif, relu, relu-int8, wrong"):
        load(toy).run(only=("relu", "nonesuch"), processes=1)
    with pytest.raises(InputError, match="at least one"):
        load(toy).run([], only=("relu",), processes=1)


def test_the_digits_are_whole_and_disjoint():
    split = load(Path(__file__).parents[2] / "models" / "digits").load()
    assert split.sizes == {"train": 1000, "validation": 197, "test": 600}
    x = torch.cat([split.train[0], split.validation[0], split.test[0]])
    assert x.shape == (1797, 64) and float(x.min()) == 0.0 and float(x.max()) == 1.0
    assert len(x.unique(dim=0)) == 1797, "no image is in two parts"


def test_fashion_mnist_loads_where_it_lies():
    task = load(Path(__file__).parents[2] / "models" / "fashion-mnist")
    try:
        split = task.load()
    except MissingFileError as missing:
        pytest.skip(str(missing))
    assert split.sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    x, y = split.test
    assert x.shape == (10_000, 1, 28, 28) and float(x.min()) == 0.0 and float(x.max()) == 1.0
    assert y.bincount().tolist() == [1000] * 10
