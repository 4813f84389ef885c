"""A task of memory in smoke size: the command that runs it, its picture, and what it refuses."""

import json

import pytest
from matplotlib.figure import Figure

import neurosparse as ns
from neurosparse import cli, plot
from neurosparse.errors import InputError, MissingFileError

TRAIN = """
import neurosparse as ns

task = ns.experiments.MemoryTask("toy", "A toy", 150, (0.1, 0.2), (0.3, 2.5), samples=5, steps=10)
"""


def test_a_command_recalls_beside_theory(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    with pytest.raises(SystemExit) as ended:
        cli.main(["recall", ".", "--seeds", "2"])
    out, err = capsys.readouterr()
    assert not ended.value.code and "4/4" in err and "recall.png" in out
    folder = tmp_path / "runs" / "toy"
    assert (folder / "recall.png").read_bytes()[1:4] == b"PNG"
    results = json.loads((folder / "recall.json").read_text("utf-8"))
    for one in results["activities"]:
        low, high = one["points"]
        assert low["overlap"]["mean"] == pytest.approx(1, abs=0.02) and high["overlap"]["mean"] < 0.8
        assert low["theory"] > 0.99 and high["theory"] is None and low["overlap"]["sd"] is not None
        sent = one["activity"] * 150
        assert low["events"]["mean"] >= sent and low["additions"]["mean"] == pytest.approx(149 * low["events"]["mean"])
        assert one["curve"][0][-1] == pytest.approx(one["capacity"])
    assert ns.report.associative_memory.markdown(results).count("\n") == 3
    ax = plot.recall(ns.report.associative_memory.curves(results), ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["10 % active", "20 % active"]
    dots = ax.containers[0].lines[0]
    assert list(dots.get_ydata()) == [point["overlap"]["mean"] for point in results["activities"][0]["points"]]


@pytest.mark.parametrize("change", [{"units": 0}, {"samples": 0}, {"loads": ()}, {"loads": (0.0,)}, {"activities": ()}])
def test_a_task_out_of_range_is_refused(change) -> None:
    options = {"units": 100, "activities": (0.1,), "loads": (0.5,)} | change
    with pytest.raises(InputError, match=next(iter(change))):
        ns.experiments.MemoryTask("toy", "A toy", **options)


def test_what_is_no_task_of_memory_says_so(tmp_path) -> None:
    with pytest.raises(MissingFileError, match="train.py"):
        ns.experiments.show_recall(tmp_path)
    (tmp_path / "train.py").write_text("task = 3")
    with pytest.raises(InputError, match="MemoryTask"):
        ns.experiments.show_recall(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    with pytest.raises(InputError, match="no seed"):
        ns.experiments.show_recall(tmp_path, seeds=[])


ONE = {"load": [0.1], "overlap": [1.0], "sd": [0.0], "theory": ([0.1], [1.0])}
BAD = {
    "no network": {},
    "an overlap too many": {"a": ONE | {"overlap": [1.0, 0.5]}},
    "no load": {"a": ONE | {"load": [0.0]}},
    "a theory of NaN": {"a": ONE | {"theory": ([0.1], [float("nan")])}},
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_refused(case) -> None:
    with pytest.raises(InputError, match="got .*; expected"):
        plot.recall(BAD[case], ax=Figure().subplots())
