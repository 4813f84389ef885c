"""Searches, folds and kept results of a classification task."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.experiments import load_task, make_model
from neurosparse.experiments.classification.search import chosen, rungs, trials_of
from neurosparse.experiments.classification.store import pack, unpack
from neurosparse.experiments.classification.summary import _layers, _spent, side_by_side
from neurosparse.meter import OperationCounts

TRAIN = """
import torch
import neurosparse as ns

def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 4
    x = torch.rand(4, 16, generator=generator)[y] * torch.rand(120, 16, generator=generator)
    return ns.Split((x[:80], y[:80]), (x[80:100], y[80:100]), (x[100:], y[100:]))

task = ns.Task("toy", "A toy", data, (12,), 4, 9, 8, (0.003, 0.03), trials=9, folds=3, seeds=3, reference="relu")
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    home = tmp_path / "toy"
    home.mkdir()
    (home / "train.py").write_text(TRAIN)
    (home / "relu.toml").write_text('family = "relu"')
    (home / "relu-int8.toml").write_text('family = "relu"\nbits = 8')
    return home


def toy(**options) -> ns.Task:
    return ns.Task("toy", "A toy", lambda: None, (8,), 2, 30, 3, (0.001, 0.1), **options)


def test_every_model_has_as_many_trials_over_its_own_parameters():
    for family in ("relu", "lif", "predictive", "kwta"):
        trials = trials_of(make_model("a", family=family), toy(trials=30), 0)
        assert len(trials) == 30 and trials[0].parameters == {}, "the first has the defaults"
        assert all(0.001 <= trial.learning_rate <= 0.1 for trial in trials)
        assert len({repr(trial) for trial in trials}) > 20, "draws differ"
    lif = trials_of(make_model("a", family="lif"), toy(trials=2), 0)[1]
    assert {"beta", "threshold", "surrogate"} <= lif.parameters.keys()


def test_a_key_of_the_file_is_not_searched():
    fixed = make_model("a", family="lif", beta=0.5, loss="cross_entropy")
    trials = trials_of(fixed, toy(trials=20), 0)
    assert not any({"beta", "loss"} & trial.parameters.keys() for trial in trials)
    assert all(trial.applied(fixed).settings["beta"] == 0.5 for trial in trials)


def test_a_search_is_drawn_from_its_seed():
    model, task = make_model("a", family="lif"), toy(trials=10)
    assert trials_of(model, task, 3) == trials_of(model, task, 3) != trials_of(model, task, 4)


def test_successive_halving_spends_as_much_in_each_round():
    assert [(count, budget.epochs) for count, budget in rungs(30, toy(trials=30))] == [(30, 3), (10, 10), (3, 30)]
    one_epoch = replace(toy(trials=30), epochs=1)
    assert [(count, budget.epochs) for count, budget in rungs(30, one_epoch)] == [(30, 1)]
    assert [budget.epochs for _, budget in rungs(2, toy())] == [30], "learning rates only: all epochs"


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_the_chosen_trial_is_as_accurate_as_the_best_and_no_cheaper_one_is(n, seed):
    rng = np.random.default_rng(seed)
    correct, energy = rng.random((6, n)) < rng.random((6, 1)), rng.permutation(6) + 1.0
    picked = chosen([{"correct": c, "energy": e} for c, e in zip(correct, energy, strict=True)])
    best = max(range(6), key=lambda i: (correct[i].mean(), -energy[i]))

    def tied(i: int) -> bool:  # wins less losses within one standard error, by hand: paired outcomes -1, 0 and 1
        lost, won = (correct[best] & ~correct[i]).sum(), (correct[i] & ~correct[best]).sum()
        mean = (lost - won) / n
        variance = ((lost + won) / n - mean**2) * n / (n - 1)
        return mean <= np.sqrt(variance / n) + 1e-12

    assert picked == min((i for i in range(6) if tied(i)), key=lambda i: energy[i])


def test_a_diverged_training_is_never_chosen():
    good = {"correct": np.zeros(4), "energy": 3.0}
    assert chosen([None, good]) == 1 and chosen([None, None]) is None


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_bits_are_the_same_again(bits):
    assert unpack(pack(np.array(bits)), len(bits)).tolist() == bits


@given(st.integers(2, 7), st.integers(10, 40))
def test_every_sample_is_tested_in_one_fold(folds, samples):
    x, y = torch.arange(3 * samples).float()[:, None], torch.arange(3 * samples)
    parts = [(x[k::3], y[k::3]) for k in range(3)]
    split = ns.Split(*parts)
    tested = torch.cat([split.fold(k, folds).test[1] for k in range(folds)])
    assert sorted(tested.tolist()) == list(range(3 * samples))
    for k in range(folds):
        fold = split.fold(k, folds)
        whole = torch.cat([fold.train[1], fold.validation[1], fold.test[1]])
        assert sorted(whole.tolist()) == list(range(3 * samples)), "parts are disjoint"
        assert torch.equal(fold.train[0][:, 0].long(), fold.train[1]), "labels stay with their inputs"


def test_events_have_folds(folder):
    events = ns.EventTensor.from_dense((torch.rand(5, 12, 3) < 0.4).float(), spikes=True)
    labels = torch.arange(12)
    parts = [torch.arange(0, 6), torch.arange(6, 8), torch.arange(8, 12)]
    split = ns.Split(*((events.samples(part), labels[part]) for part in parts))
    fold = split.fold(1, 4)
    for x, y in (fold.train, fold.validation, fold.test):
        assert torch.equal(x.dense(), events.samples(y).dense())


def test_correct_answers_of_folds_stand_side_by_side():
    one = [{"fold": k, "correct": np.array([k == 0, True])} for k in (1, 0, 1, 0)]
    assert side_by_side(one).astype(int).tolist() == [[1, 1, 0, 1], [1, 1, 0, 1]]
    assert side_by_side([{"correct": np.array([True])}, {"correct": np.array([False])}]).tolist() == [[True], [False]]


def test_folds_are_tested_equally_often(folder):
    with pytest.raises(InputError, match="equally many seeds for each fold"):
        load_task(folder, ns.Task).run([0, 1, 2, 3], processes=1)


def test_a_second_run_trains_only_what_is_missing(folder, tmp_path):
    task, kept = load_task(folder, ns.Task), tmp_path / "kept"
    whole = task.run(folder=kept, processes=1)
    assert whole["folds"] == 3 and whole["reference"] == "relu" and whole["missing"] == []
    trainings = sorted(kept.glob("trainings/*/*.json"))
    assert [path.parent.name + "/" + path.stem for path in trainings] == [
        f"{name}/seed-{seed}" for name in ("relu", "relu-int8") for seed in range(3)
    ]
    assert len(list(kept.glob("searches/*.json"))) == 3, "one for each fold, shared by both precisions"
    removed = kept / "trainings" / "relu" / "seed-1.json"
    text = removed.read_text()
    removed.unlink()
    for path in kept.glob("trials/*.json"):
        path.unlink()
    times = {path: path.stat().st_mtime_ns for path in trainings if path != removed}
    again = task.run(folder=kept, processes=1)
    assert {path: path.stat().st_mtime_ns for path in times} == times and not list(kept.glob("trials/*.json"))
    before, after = json.loads(text), json.loads(removed.read_text())
    assert before["test"]["correct"] == after["test"]["correct"] and before["test"]["counts"] == after["test"]["counts"]
    assert [m["accuracy"] for m in again["models"]] == [m["accuracy"] for m in whole["models"]]


def test_without_time_what_was_not_trained_is_a_hole(folder, tmp_path):
    task, kept = load_task(folder, ns.Task), tmp_path / "kept"
    task.run(folder=kept, processes=1, only=("relu",))
    found = task.run(folder=kept, processes=1, minutes=1e-9)
    assert [model["name"] for model in found["models"]] == ["relu"] and found["missing"] == ["relu-int8"]
    with pytest.raises(InputError, match="no model trained with all seeds in time"):
        task.run(folder=tmp_path / "other", processes=1, minutes=1e-9)


def test_models_that_differ_in_named_keys_share_a_search(folder, tmp_path):
    (folder / "relu-int8.toml").unlink()
    (folder / "deep.toml").write_text('family = "relu"\ndepth = [1, 3]')
    task = replace(load_task(folder, ns.Task), search_at={"depth": 2}, folds=None, trials=3, epochs=1)
    found = task.run([0], folder=tmp_path / "kept", processes=1)
    assert len(list((tmp_path / "kept").glob("searches/*.json"))) == 1
    linear = {m["name"]: [row for row in m["layers"] if row["kind"] == "linear"] for m in found["models"]}
    assert {name: len(rows) for name, rows in linear.items()} == {"deep-1": 2, "deep-3": 4, "relu": 2}


def test_a_damaged_result_is_refused(folder, tmp_path):
    task, kept = load_task(folder, ns.Task), tmp_path / "kept"
    task.run(folder=kept, processes=1, only=("relu",))
    path = kept / "trainings" / "relu" / "seed-0.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(InputError, match="Delete it to train anew"):
        task.run(folder=kept, processes=1, only=("relu",))


def test_the_title_says_which_part_of_the_protocol_was_run(folder):
    task = replace(load_task(folder, ns.Task), epochs=1)
    some = task.run([0], processes=1, only=["relu"], trials=1)
    assert some["title"] == "A toy: a slice, 1 of 2 models, 1 of 9 trials, 1 of 3 seeds"
    assert replace(task, trials=None).run([0], processes=1, only=["relu"])["title"] == "A toy", "no protocol, no slice"
    assert replace(task, trials=1).run(processes=1)["title"] == "A toy"


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("trainings/*/*.json", lambda kept: kept.pop("test")),
        ("trainings/*/*.json", lambda kept: kept["test"].update(correct="AA==")),
        ("trainings/*/*.json", lambda kept: kept["validation"].update(correct="no bits")),
        ("searches/*.json", lambda kept: kept.update(chosen=99)),
        ("searches/*.json", lambda kept: kept.pop("trials")),
    ],
    ids=["no test", "fewer samples", "no bits", "no such trial", "no trials"],
)
def test_an_edited_result_is_refused(folder, tmp_path, place, damage):
    task, kept = replace(load_task(folder, ns.Task), folds=None, trials=1, epochs=1), tmp_path / "kept"
    task.run([0], folder=kept, processes=1, only=("relu",))
    (path,) = kept.glob(place)
    edited = json.loads(path.read_text())
    damage(edited)
    path.write_text(json.dumps(edited))
    with pytest.raises(InputError, match="Delete"):
        task.run([0], folder=kept, processes=1, only=("relu",))


def test_a_key_that_no_model_has_is_refused(folder):
    task = replace(load_task(folder, ns.Task), search_at={"dpeth": 2})
    with pytest.raises(InputError, match="key of search_at"):
        task.run(processes=1)


def test_a_key_that_some_models_have_is_left_alone_in_the_others(folder):
    (folder / "lif.toml").write_text('family = "lif"\nsteps = [2, 3]')
    task = replace(load_task(folder, ns.Task), search_at={"steps": 4}, folds=None, trials=2, epochs=1)
    assert len(task.run([0], processes=1)["models"]) == 4


def test_a_trial_that_is_refused_does_not_stop_the_others(folder, monkeypatch):
    from neurosparse.experiments.classification import run

    fit, calls = run.fit, []

    def sometimes(*given):
        calls.append(1)
        if len(calls) == 1:
            raise InputError("model 'relu'", got="a rate", expected="another")
        return fit(*given)

    monkeypatch.setattr(run, "fit", sometimes)
    task = replace(load_task(folder, ns.Task), folds=None)
    assert task.run([0], only=("relu",), processes=1)["models"][0]["accuracy"]["mean"] > 0.4

    def never(*given):
        raise InputError("model 'relu'", got="a rate", expected="another")

    monkeypatch.setattr(run, "fit", never)
    with pytest.raises(InputError, match="no trial that trains: model 'relu': got a rate"):
        task.run([0], only=("relu",), processes=1)


def test_a_search_is_found_again_whichever_models_are_named(folder, tmp_path):
    task, kept = replace(load_task(folder, ns.Task), folds=None, trials=2, epochs=1), tmp_path / "kept"
    task.run([0], only=("relu-int8",), folder=kept, processes=1)
    (path,) = kept.glob("searches/*.json")
    before = path.stat().st_mtime_ns
    task.run([0], folder=kept, processes=1)
    assert [path] == list(kept.glob("searches/*.json")) and path.stat().st_mtime_ns == before


def test_a_search_has_the_steps_of_all_rounds():
    trials = [{"steps": steps} for steps in (3, 3, 3, 9, 27)]
    assert _spent(trials) == 5 * 3 + 2 * 9 + 27, "every round trains anew"


def test_layers_are_means_over_seeds():
    row = {"layer": "a", "kind": "neuron"}
    counts = [OperationCounts((row | {"spikes_out": spikes},), samples=2) for spikes in (4, 8)]
    assert [(found["layer"], found["spikes_out"]) for found in _layers(counts)] == [("a", 3.0)]
