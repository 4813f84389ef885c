"""The end-stopping task: bars, choice of units, checkpoints, and the committed results."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import neurosparse as ns

FOLDER = Path(__file__).parents[2] / "models" / "rao-ballard-1999"
SCRIPT = ns.experiments.load_script(FOLDER / "train.py")
SETTINGS = {"kurtotic": SCRIPT.Settings((ns.log(0.5), SCRIPT.Gaussian(50.0)))}


def photographs() -> dict[str, torch.Tensor]:
    return {"a": 10 * torch.rand(60, 40, generator=torch.Generator().manual_seed(0))}


@pytest.fixture
def task():
    return replace(SCRIPT.task, images=photographs, settings=SETTINGS, batch_size=10, batches=6)


def test_curves_are_means_of_the_measured_responses(task, tmp_path):
    results = task.run(seeds=[0, 1], folder=tmp_path)
    (first,) = results["settings"]
    network = SCRIPT.train(task, "kurtotic", 0, {}, tmp_path)  # from its checkpoint: no photograph is read
    found = SCRIPT.tune(network, task)
    for name in ("feedback", "no_feedback"):
        curves = getattr(found, name).mean(2)
        assert first[f"index_{name}"]["sd"] is not None and 0 <= first[f"index_{name}"]["mean"] < 1
        rows = torch.tensor(first[f"curves_{name}"]["rows"])
        assert rows.shape == (2 * len(task.rows), len(task.lengths))
        torch.testing.assert_close(rows[:5], curves / curves.amax(1, keepdim=True), atol=1e-3, rtol=0)


def test_a_report_without_units_that_prefer_short_bars(task, tmp_path):
    task = replace(task, batches=1, short=2)
    results = task.run(seeds=[0])
    assert results["settings"][0]["chosen"]["mean"] == 0
    assert task.save(results, tmp_path).is_file() and "–" in task.markdown(results)


def test_units_are_chosen_on_other_bars_than_those_of_the_evaluation(task):
    network = SCRIPT.train(task, "kurtotic", 0, task.images())
    found = SCRIPT.tune(network, task)
    other = SCRIPT.tune(network, replace(task, rows=task.chosen_on, chosen_on=task.rows))
    best = torch.tensor(task.lengths)[other.feedback.mean(0).argmax(0)]
    assert torch.equal(found.chosen, best < task.short) and not {*task.rows} & {*task.chosen_on}


def test_an_interrupted_training_ends_with_the_same_weights(task, tmp_path):
    def stop(batch: int, batches: int) -> None:
        if batch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SCRIPT.train(task, "kurtotic", 1, task.images(), tmp_path, stop, every=-1.0)
    assert SCRIPT.trained(task, "kurtotic", 1, tmp_path) is None, "it is not done"
    batches: list[int] = []
    resumed = SCRIPT.train(task, "kurtotic", 1, task.images(), tmp_path, lambda batch, _: batches.append(batch))
    whole = SCRIPT.train(task, "kurtotic", 1, task.images())
    assert batches == [5, 6]
    kept = SCRIPT.trained(task, "kurtotic", 1, tmp_path)
    for one, other, third in zip(resumed.parameters(), whole.parameters(), kept.parameters(), strict=True):
        assert torch.equal(one, other) and torch.equal(one, third)
    other_seed = SCRIPT.train(task, "kurtotic", 2, task.images())
    assert not torch.equal(whole.layers[1].weight, other_seed.layers[1].weight)


def test_bars_lie_in_the_middle():
    drawn = SCRIPT.bars((6, 26), (7,), 2.0)[0]
    expected = torch.zeros(16, 26)
    expected[7:9, 10:16] = -2.0
    assert torch.equal(drawn[0], expected) and torch.equal(drawn[1, 7:9], torch.full((2, 26), -2.0))


def test_the_committed_results_are_read(tmp_path):
    committed = json.loads((FOLDER.parents[1] / "docs" / "results" / "end-stopping.json").read_text("utf-8"))
    assert SCRIPT.task.save(committed, tmp_path).read_bytes()[1:4] == b"PNG"
    assert len(SCRIPT.task.table(committed).rows) == 3
