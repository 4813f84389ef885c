"""A training that is killed at any moment goes on to the very same weights."""

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neurosparse.errors import InputError
from neurosparse.experiments import Split, Task, load_task, make_model
from neurosparse.experiments.classification import train as training
from neurosparse.experiments.classification.train import fit

EVERYTHING = {"sparsity": 0.5, "dropout": 0.2}
CONFIGS = [
    make_model("relu", family="relu", layers=("conv 4 3 norm pool 2", "linear 12"), **EVERYTHING),
    make_model("lif", family="lif", steps=3, learn_beta=True, recurrent=True, label_smoothing=0.1, **EVERYTHING),
    make_model("gru", family="gru", steps=3, bits=8, **EVERYTHING),
    make_model("sparse-code", family="sparse-code", atoms=16),
    make_model("predictive", family="predictive", sparsity=0.5, inference_steps=3),
]
SCRIPT = """
import torch
from neurosparse.experiments import Split, Task

def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(80) % 4
    x = torch.rand(4, 1, 6, 6, generator=generator)[y] * torch.rand(80, 1, 6, 6, generator=generator)
    return Split((x, y), (x, y), (x, y))

def noise(x, generator):
    return x + 0.1 * torch.rand(x.shape, generator=generator)

task = Task("toy", "A toy", data, (24,), 4, 4, 8, (0.02,), augment=noise, weight_decay=0.01)
"""
# A training that prints each step, and on request the middle of a write, where it waits to be killed.
CHILD = """
import os, sys, time
from pathlib import Path
from neurosparse.experiments import load_task
from neurosparse.experiments.classification import train
train.KEEP_EVERY, wait_in_write, sync = 3, int(sys.argv[3]), os.fsync

def fsync(handle):
    global wait_in_write
    wait_in_write -= 1
    if wait_in_write == 0:
        print("writing", flush=True)
        time.sleep(60)
    sync(handle)

os.fsync = fsync
show = lambda metrics: print(metrics.step, flush=True)
load_task(sys.argv[1]).train("lif", folder=Path(sys.argv[2]), resume=True, callback=show)
"""


class Killed(BaseException):
    """Passes every handler of errors, as a signal does."""


@pytest.fixture
def task(tmp_path) -> Task:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "train.py").write_text(SCRIPT)
    (tmp_path / "toy" / "lif.toml").write_text('family = "lif"\nsteps = 3\nsparsity = 0.5\ndropout = 0.2')
    scope: dict = {}
    exec(SCRIPT, scope)
    return scope["task"]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.name)
def test_interrupted_at_any_step_it_ends_with_the_same_weights(task, tmp_path, monkeypatch, config):
    monkeypatch.setattr(training, "KEEP_EVERY", 4)
    split: Split = task.data()
    whole = fit(config, task, split, 0, 0.02)
    done = []

    def interrupt(at: int):
        def callback(metrics) -> None:
            done.append(metrics.step)
            if metrics.step == at:
                raise Killed

        return callback

    for at in (2, 5, 13, 21, 22, 40):  # before the first checkpoint; within, at the end of, and between epochs; last
        with pytest.raises(Killed):
            fit(config, task, split, 0, 0.02, tmp_path, interrupt(at))
    torch.manual_seed(99)
    resumed = fit(config, task, split, 0, 0.02, tmp_path)
    assert same(resumed.model, whole.model) and resumed.losses == whole.losses and resumed.steps == 40
    # Each goes on behind the last checkpoint: every fourth step and the tenth, twentieth ... that ends an epoch.
    starts = [step for step, before in zip(done, [0, *done], strict=False) if step != before + 1]
    assert starts == [1, 5, 13, 21, 21], "one that is killed at step 2 begins anew"
    assert [path.suffix for path in tmp_path.glob("*.*")] == [".safetensors"], "nothing is left behind"


@pytest.mark.slow
def test_kill_9_at_random_moments_and_in_the_middle_of_a_write(task, tmp_path):
    folder, kept, draw = tmp_path / "toy", tmp_path / "kept", random.Random(0)
    whole = load_task(folder, Task).train("lif", folder=tmp_path / "whole")
    for wait_in_write in (0, 2, 0):
        command = [sys.executable, "-c", CHILD, str(folder), str(kept), str(wait_in_write)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            patience = draw.randint(2, 12)
            for line in child.stdout:
                patience -= 1
                if line.strip() == "writing" or (patience < 0 and not wait_in_write):
                    break
            child.kill()
            child.stdout.close()
        assert child.wait() == -9, "it was killed before it was done"
        if wait_in_write:
            assert [path for path in (kept / "checkpoints").iterdir() if path.name.startswith(".")], (
                "a write was under way"
            )
    resumed = load_task(folder, Task).train("lif", folder=kept, resume=True)
    assert Path(resumed["weights"]).name == Path(whole["weights"]).name
    left, right = (load_file(facts["weights"]) for facts in (resumed, whole))
    assert list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)
    assert resumed["losses"] == whole["losses"]
    assert resumed["validation_accuracy"] == whole["validation_accuracy"]


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text", "longer"])
def test_a_damaged_checkpoint_is_a_clear_error(task, tmp_path, damage):
    def stop(metrics) -> None:
        if metrics.step == 15:
            raise Killed

    with pytest.raises(Killed):
        fit(CONFIGS[1], task, task.data(), 0, 0.02, tmp_path, stop)
    (path,) = tmp_path.glob("*.unfinished")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    sound = path.read_bytes()
    bad = {"bit": bytes(content), "cut": sound[:-7], "empty": b"", "text": b"hello", "longer": sound + b"\0"}
    path.write_bytes(bad[damage])
    with pytest.raises(InputError, match=r"checkpoint: got .*; expected an undamaged file\. Delete it"):
        fit(CONFIGS[1], task, task.data(), 0, 0.02, tmp_path)


def test_without_resume_it_begins_anew(task, tmp_path):
    folder, first = tmp_path / "toy", []

    def stop(metrics) -> None:
        first.append(metrics.step)
        if len(first) == 15:
            raise Killed

    for _ in range(2):
        first.clear()
        with pytest.raises(Killed):
            load_task(folder, Task).train("lif", folder=tmp_path, callback=stop)
        assert first[0] == 1
    first.clear()
    with pytest.raises(Killed):
        load_task(folder, Task).train("lif", folder=tmp_path, resume=True, callback=stop)
    assert first[0] == 11


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("manual_seed(0)", "manual_seed(1)"),
        ("torch.arange(80) % 4", "(torch.arange(80) + 1) % 4"),
        ("x + 0.1", "x + 0.2"),
        ("Split((x, y), ", "Split((x[8:], y[8:]), "),
    ],
    ids=["inputs", "labels", "augmentation", "fewer samples"],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_training_data_are_trained_anew(task, tmp_path, finished, old, new):
    folder = tmp_path / "toy"
    steps: list[int] = []

    def stop(metrics) -> None:
        steps.append(metrics.step)
        if len(steps) == 15 and not finished:
            raise Killed

    def train() -> list[int]:
        steps.clear()
        with suppress(Killed):
            load_task(folder, Task).train("lif", folder=tmp_path, resume=True, callback=stop)
        return steps[:1]

    assert train() == [1]
    assert train() == ([] if finished else [11])
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text.replace(old, new))
    assert text.count(old) == 1 and train() == [1]
    (folder / "train.py").write_text(text)
    assert train() == ([] if finished else [21]), "the weights of the data before are kept"


def test_other_validation_or_test_data_leave_the_weights(task, tmp_path):
    other = Split(task.data().train, *[(torch.rand(8, 1, 6, 6), torch.zeros(8, dtype=torch.long))] * 2)
    assert other.fingerprint == task.data().fingerprint


def test_data_that_differ_at_every_call_are_refused(task, tmp_path):
    folder = tmp_path / "toy"
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text.replace("generator = torch.Generator().manual_seed(0)", "generator = None"))
    with pytest.raises(InputError, match="other training data at another call"):
        load_task(folder, Task).run([0, 1], folder=tmp_path, processes=1)
