"""Models that are Python files: trained, metered and compared like those of TOML files; errors in one sentence."""

from dataclasses import replace
from pathlib import Path

import pytest

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.train import fit

LOGITS = """
import torch

note = "one convolution, written out"

class Network(torch.nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.filters = torch.nn.Conv1d(1, 8, 5)
        self.readout = torch.nn.Linear(8 * (features - 4), classes)

    def forward(self, x):
        return self.readout(torch.relu(self.filters(x[:, None])).flatten(1))

def network(split):
    return Network(split.train[0].shape[1], int(split.train[1].max()) + 1)
"""
SPIKES = """
import torch, neurosparse as ns

class Spiking(torch.nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layers = ns.fuse(torch.nn.Linear(features, 24), ns.LIF(beta=0.9), torch.nn.Linear(24, 4), ns.LIF(beta=0.9))

    def forward(self, x):
        return self.layers(ns.constant_current(x, steps=6))

def network(split):
    return Spiking(split.train[0].shape[1])
"""


@pytest.mark.parametrize("text", [LOGITS, SPIKES], ids=["logits", "spikes"])
def test_a_python_file_is_trained_metered_and_compared(toy, text):
    (toy / "mine.py").write_text(text)
    task = ns.experiments.load_task(toy, ns.Task)
    assert [model.name for model in task.models()] == ["lif", "mine", "relu", "relu-int8"]
    results = task.run([0], only=("mine", "relu"), processes=1)
    mine, relu = results["models"]
    assert mine["accuracy"]["mean"] > 0.5, "chance is a quarter"
    assert len(mine["training"]["trials"]) == len(relu["training"]["trials"]) == 2
    assert mine["training"]["steps"] == relu["training"]["steps"] == 60
    assert not mine["uncounted"] and mine["operations"]["dense_ops"]["mean"] > 0
    assert mine["note"] == ("one convolution, written out" if text is LOGITS else "")
    assert (mine["raster"] is not None) == (text is SPIKES)
    assert {(verdict["a"], verdict["b"]) for verdict in results["verdicts"]} == {("mine", "relu")}


def test_a_training_of_a_python_file_is_kept_until_the_file_changes(toy, tmp_path):
    task, kept = ns.experiments.load_task(toy, ns.Task), tmp_path / "kept"
    for text, files in ((LOGITS, 1), (LOGITS, 1), (LOGITS.replace("8", "9"), 2)):
        (toy / "mine.py").write_text(text)
        (model,) = task.models(("mine",))
        first = fit(model, task, task.load(), 0, 0.01, kept)
        assert len(list(kept.iterdir())) == files
        assert fit(model, task, task.load(), 0, 0.01, kept).losses == first.losses


def test_modules_of_other_libraries_are_declared_to_spike(toy):
    (toy / "mine.py").write_text(
        "import torch\nspiking = ['1']\n"
        "class Step(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return (x > 0).float() + (x - x.detach())\n"
        "def network(split):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(16, 8), Step(), torch.nn.Linear(8, 4))\n"
    )
    (row,) = ns.experiments.load_task(toy, ns.Task).run([0], only=("mine",), processes=1)["models"]
    assert row["operations"]["effective_acs"]["mean"] > 0


BAD = {
    "def network(split)": "SyntaxError",
    "1 / 0": "ZeroDivisionError: division by zero",
    "import nonesuch": "ModuleNotFoundError",
    "width = 3": "def network(split) -> nn.Module",
    "network = 3": "def network(split) -> nn.Module",
    "def network(split):\n    return split.nonesuch": "AttributeError",
    "def network(split):\n    return 3": "type int; expected an nn.Module with parameters",
    "def network(split):\n    return nn.ReLU()": "an nn.Module with parameters",
    "def network(split):\n    return nn.Linear(3, 4)": "RuntimeError",
    "def network(split):\n    return nn.Linear(16, 5)": "5 outputs; expected one for each of the task's 4 classes",
    "def network(split):\n    return nn.Sequential(nn.Linear(16, 4), nn.Flatten(0))": "an output of shape",
    "class Own(nn.Module): ...\nspiking = [Own]\ndef network(split): ...": "names of modules",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "import sys\ndef network(split):\n    sys.exit(3)": "SystemExit: 3",
    "spiking = 3\ndef network(split): ...": "spiking=3; expected a list",
    "spiking = 'layers.1'\ndef network(split): ...": "spiking='layers.1'; expected a list",
    "class Own(nn.Linear):\n    def forward(self, x):\n        assert not self.training, 'training'\n"
    "        return super().forward(x)\n"
    "def network(split):\n    return Own(16, 4)": "AssertionError: training",
    "class Own(nn.Linear):\n    def forward(self, x):\n        return super().forward(x).detach()\n"
    "def network(split):\n    return Own(16, 4)": "an output without gradient",
    "note = 3\ndef network(split): ...": "note=3; expected text",
}


@pytest.mark.parametrize("text", BAD)
def test_an_error_in_the_file_is_one_sentence(toy, text):
    (toy / "mine.py").write_text(f"from torch import nn\n{text}\n")
    task = ns.experiments.load_task(toy, ns.Task)
    with pytest.raises(InputError) as refused:
        fit(task.models(("mine",))[0], task, task.load(), 0, 0.01)
    message = str(refused.value)
    assert message.startswith("model 'mine': got ") and BAD[text] in message and "\n" not in message


@pytest.mark.parametrize("shared", ["", "..", "toy", "a/b", "/tmp", 3, True, ("a", "b")])
def test_a_task_shares_models_with_another_folder_beside_its_own(toy, shared):
    task = replace(ns.experiments.load_task(toy, ns.Task), shared=shared)  # of the folder "toy"
    with pytest.raises(InputError, match="expected the name of another folder beside the task's own"):
        task.models()


def test_scripts_of_a_task_are_not_models(tmp_path: Path):
    for name in ("train.py", "data.py", "relu.toml"):
        (tmp_path / name).write_text('family = "relu"')
    assert [model.name for model in find_models(tmp_path)] == ["relu"]
