"""File names of trained weights and of unfinished trainings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from neurosparse.experiments.classification.contestant import Contestant
from neurosparse.experiments.classification.task import Task

__all__ = ["checkpoint_path", "unfinished_path"]


def checkpoint_path(folder: Path, contestant: Contestant, task: Task, seed: int, learning_rate: float) -> Path:
    """A file name that changes with everything training depends on but code and data; delete the folder with those."""
    budget = [task.name, task.hidden, task.classes, task.epochs, task.batch_size]
    # Where quantisation comes after training, all precisions share their weights.
    after = contestant.quantised == "after"
    settings = {key: value for key, value in contestant.settings.items() if key != "bits" or not after}
    budget += [task.weight_decay] if task.weight_decay else []
    text = json.dumps([settings, budget, seed, learning_rate], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def unfinished_path(path: Path) -> Path:
    """The file of a training that is not finished yet."""
    return path.with_suffix(".unfinished")
