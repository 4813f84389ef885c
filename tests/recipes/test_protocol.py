"""The protocol of the comparison: what its page says is what its tasks do."""

from pathlib import Path

import pytest

from neurosparse.experiments import Task, load_task
from neurosparse.experiments.classification.search import rungs
from neurosparse.report.pairs import is_dense, is_spiking, twins

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
TASKS = {"digits": "digits", "Fashion-MNIST": "fashion-mnist", "N-MNIST": "nmnist", "spoken digits": "spoken-digits"}


def sizes() -> dict[str, list[str]]:
    """Rows of the table of tasks: the last four columns by task."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    return {row[0]: row[-4:] for row in rows if row[0] in TASKS}


def rows_of(task: Task) -> list[dict]:
    """The models of a task as rows of results."""
    return [{"name": model.name, "config": dict(model.settings)} for model in task.models()]


def test_the_page_names_every_task_of_the_protocol():
    folders = [path.parent for path in ROOT.glob("models/*/train.py")]
    searched = {folder.name for folder in folders if getattr(load_task(folder), "trials", None)}
    assert searched == set(TASKS.values()) and sizes().keys() == TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_follows_the_page(name: str):
    task = load_task(ROOT / "models" / TASKS[name], Task)
    assert [str(each) for each in (task.seeds, *task.hidden, task.epochs, task.batch_size)] == sizes()[name]
    assert (task.trials, task.margin) == (30, 0.01) and task.folds in (None, 5)
    assert [count for count, _ in rungs(30, task)] == [30, 10, 3], "trials of each round of successive halving"


@pytest.mark.parametrize("name", TASKS.values())
def test_the_reference_is_a_dense_network_in_full_precision(name: str):
    task = load_task(ROOT / "models" / name, Task)
    (reference,) = task.models((task.reference,))  # type: ignore[arg-type]
    assert reference.family == "relu" and reference.compression.bits == 32 and not reference.compression.sparsity


@pytest.mark.parametrize("name", TASKS.values())
def test_every_spiking_network_has_a_twin(name: str):
    """A cell of the factorial table is a pair: a spiking network without a dense one would be trained for nothing."""
    rows = rows_of(load_task(ROOT / "models" / name, Task))
    alone = {row["name"] for row in rows if is_spiking(row)} - {spiking for spiking, _ in twins(rows)}
    assert not alone and any(map(is_dense, rows))


@pytest.mark.parametrize("name", TASKS.values())
def test_pairs_have_one_loss_and_it_is_not_searched(name: str):
    models = load_task(ROOT / "models" / name, Task).models()
    pairs = [model for model in models if model.family in ("relu", "lif", "converted") and model.loss != "squared"]
    assert all("loss" in model.fixed for model in pairs)
