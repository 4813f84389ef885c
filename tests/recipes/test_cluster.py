"""A run on a cluster of dask: a worker that is killed costs its own training only, and a second run completes."""

import os
import signal
from pathlib import Path

import joblib
import pytest

import neurosparse as ns
from neurosparse.experiments import load_task

pytestmark = pytest.mark.slow

TRAIN = """
import os
import time
from pathlib import Path
import torch
import neurosparse as ns

def data():
    y = torch.arange(120) % 4
    return ns.Split(*[(torch.eye(4).repeat(1, 4)[y[:80]] + 0.1, y[:80])] * 3)

def slowly(x, generator):
    HERE.joinpath(f"worker-{os.getpid()}").touch()
    time.sleep(0.02)
    return x

HERE = Path(__file__).parent
task = ns.Task("toy", "A toy", data, (12,), 4, 3, 8, (0.003, 0.03), augment=slowly)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    home = tmp_path / "toy"
    home.mkdir()
    (home / "train.py").write_text(TRAIN)
    for width in (6, 7, 8):
        (home / f"relu-{width}.toml").write_text(f'family = "relu"\nlayers = ["linear {width}"]')
    return home


def others(folder: Path) -> set[int]:
    """Processes that augmented a batch, but this one, which tries the augmentation on the first batch."""
    return {int(path.name.partition("-")[2]) for path in folder.glob("worker-*")} - {os.getpid()}


def test_a_killed_worker_costs_its_own_training_only(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    task, kept, killed = load_task(folder, ns.Task), tmp_path / "kept", []

    def kill_one(message: str, done: int, total: int) -> None:
        if done == 2 and not killed:
            killed.append(min(others(folder)))
            os.kill(killed[0], signal.SIGKILL)

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        with joblib.parallel_config(backend="dask"):
            found = task.run([0, 1], folder=kept, callback=kill_one)
        assert killed and len(found["models"]) == 3
        assert len(others(folder)) >= 2, "workers load the folder by its path, and train"
        results = sorted(kept.glob("trainings/*/*.json"))
        assert len(results) == 6
        times = [path.stat().st_mtime_ns for path in results]
        missing = results[3]
        missing.unlink()
        with joblib.parallel_config(backend="dask"):
            again = task.run([0, 1], folder=kept)
    assert [path.stat().st_mtime_ns == before for path, before in zip(results, times, strict=True)] == [
        path != missing for path in results
    ]
    alone = task.run([0, 1], processes=1)
    scores = [[model["accuracy"]["seeds"] for model in run["models"]] for run in (found, again, alone)]
    assert scores[0] == scores[1] == scores[2], "where a training runs changes no number"
