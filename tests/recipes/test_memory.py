"""The associative-memory task: recall beside its mean field, its picture, and what the plot refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import neurosparse as ns
from neurosparse import plot
from neurosparse.errors import InputError

FOLDER = Path(__file__).parents[2] / "models" / "sparse-memory"
SCRIPT = ns.experiments.load_script(FOLDER / "train.py")


def test_recall_follows_the_mean_field_below_capacity_and_leaves_it_above(tmp_path) -> None:
    task = replace(SCRIPT.task, units=150, activities=(0.1, 0.2), loads=(0.3, 2.5), samples=5, steps=10)
    results = task.run(seeds=[0, 1])
    for one in results["activities"]:
        low, high = one["points"]
        assert low["overlap"]["mean"] == pytest.approx(1, abs=0.02) and high["overlap"]["mean"] < 0.8
        assert low["theory"] > 0.99 and high["theory"] is None and low["overlap"]["sd"] is not None
        sent = one["activity"] * 150
        assert low["events"]["mean"] >= sent and low["additions"]["mean"] == pytest.approx(149 * low["events"]["mean"])
        assert one["curve"][0][-1] == pytest.approx(one["capacity"])
    ax = plot.recall(SCRIPT.curves(results), ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["10 % active", "20 % active"]
    dots = ax.containers[0].lines[0]
    assert list(dots.get_ydata()) == [point["overlap"]["mean"] for point in results["activities"][0]["points"]]


def test_the_committed_results_are_read(tmp_path) -> None:
    committed = json.loads((FOLDER.parents[1] / "docs" / "results" / "sparse-memory.json").read_text("utf-8"))
    assert SCRIPT.task.save(committed, tmp_path).read_bytes()[1:4] == b"PNG"
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == committed
    assert SCRIPT.task.markdown(committed).count("\n") == 5 == len(SCRIPT.task.table(committed).rows)


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
