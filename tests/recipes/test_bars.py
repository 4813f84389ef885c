"""The experiment of bars in smoke size: what the command promises and refuses, and that it goes on where it was."""

import json
from dataclasses import replace

import pytest
import torch

import neurosparse as ns
from neurosparse import cli
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.end_stopping import task as bar_task
from neurosparse.experiments.end_stopping.run import tune
from neurosparse.experiments.end_stopping.task import BarTask, bars, load_bar_task, teach

TRAIN = """
import torch
import neurosparse as ns
from neurosparse.predictive.rao_ballard import Gaussian, Settings


def images():
    return {"a": 10 * torch.rand(60, 40, generator=torch.Generator().manual_seed(0))}


settings = {"kurtotic": Settings((ns.log(0.5), Gaussian(50.0)))}
task = ns.experiments.BarTask("toy", "A toy", images, settings, batch_size=10, batches=6)
"""


@pytest.fixture
def toy(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def test_a_command_measures_and_draws(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["bars", str(toy), "--seeds", "2"])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    folder = tmp_path / "runs" / "toy"
    assert "kurtotic" in out and (folder / "end-stopping.png").read_bytes()[1:4] == b"PNG"
    results = json.loads((folder / "end-stopping.json").read_text("utf-8"))
    assert [one["name"] for one in results["settings"]] == ["kurtotic"] and results["seeds"] == [0, 1]
    network = teach(load_bar_task(toy), "kurtotic", 0, {}, folder / "checkpoints")  # kept: needs no photograph
    task = load_bar_task(toy)
    found, first = tune(network, task), results["settings"][0]
    for name in ("feedback", "no_feedback"):
        curves = getattr(found, name).mean(2)
        assert first[f"index_{name}"]["sd"] is not None and 0 <= first[f"index_{name}"]["mean"] < 1
        rows = torch.tensor(first[f"curves_{name}"]["rows"])
        assert rows.shape == (2 * len(task.rows), len(task.lengths))
        torch.testing.assert_close(rows[:5], curves / curves.amax(1, keepdim=True), atol=1e-3, rtol=0)
    assert ns.report.end_stopping.markdown(results).count("\n") == 2


def test_that_no_unit_prefers_short_bars_is_said(toy, tmp_path):
    (toy / "train.py").write_text(TRAIN.replace("batches=6", "batches=1, short=2"))
    results, networks = ns.experiments.show_bars(toy, seeds=[0])
    assert results["settings"][0]["chosen"]["mean"] == 0
    assert ns.report.end_stopping.save(
        results, networks, tmp_path
    ).is_file() and "–" in ns.report.end_stopping.markdown(results)


def test_units_are_chosen_on_other_bars_than_those_that_measure(toy):
    task = load_bar_task(toy)
    network = teach(task, "kurtotic", 0, task.images())
    found, other = tune(network, task), tune(network, replace(task, rows=task.chosen_on, chosen_on=task.rows))
    best = torch.tensor(task.lengths)[other.feedback.mean(0).argmax(0)]
    assert torch.equal(found.chosen, best < task.short)


def test_an_interrupted_training_ends_as_if_it_had_not_been(toy, tmp_path, monkeypatch):
    task = load_bar_task(toy)
    monkeypatch.setattr(bar_task, "EVERY", -1.0)

    def stop(batch: int, batches: int) -> None:
        if batch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(task, "kurtotic", 1, task.images(), tmp_path, stop)
    seen: list[int] = []
    resumed = teach(task, "kurtotic", 1, task.images(), tmp_path, lambda batch, batches: seen.append(batch))
    whole = teach(task, "kurtotic", 1, task.images())
    assert seen == [5, 6]
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(whole.layers[1].weight, teach(task, "kurtotic", 2, task.images()).layers[1].weight)


def test_bars_lie_in_the_middle():
    drawn = bars((6, 26), (7,), 2.0)[0]
    expected = torch.zeros(16, 26)
    expected[7:9, 10:16] = -2.0
    assert torch.equal(drawn[0], expected) and torch.equal(drawn[1, 7:9], torch.full((2, 26), -2.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batches": 0}, "batches=0"),
        ({"lengths": (2, 3, 24)}, "even lengths"),
        ({"long": 23}, "long=23"),
        ({"rows": (4, 5)}, "other bars"),
        ({"rows": (15,)}, "0 to 14"),
        ({"rows": ()}, "different rows"),
    ],
)
def test_a_task_out_of_range_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        BarTask("toy", "A toy", dict, {}, **change)


def test_what_is_no_task_of_bars_says_so(tmp_path):
    with pytest.raises(MissingFileError, match="train.py"):
        ns.experiments.show_bars(tmp_path)
    (tmp_path / "train.py").write_text("task = 3")
    with pytest.raises(InputError, match="BarTask"):
        ns.experiments.show_bars(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    with pytest.raises(InputError, match="no seed"):
        ns.experiments.show_bars(tmp_path, seeds=[])
