"""Trained weights on disk, so that a contest that was interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from neurosparse.contest.contestant import Contestant
from neurosparse.contest.task import Task
from neurosparse.events.storage import write_atomically

__all__ = ["checkpoint_path", "keep", "restore"]


def checkpoint_path(folder: Path, contestant: Contestant, task: Task, seed: int, learning_rate: float) -> Path:
    """A file name that changes with everything training depends on but code and data; delete the folder with those."""
    budget = [task.name, task.hidden, task.classes, task.epochs, task.batch_size]
    # Quantisation comes after training, so float32 and int8 share their weights.
    settings = {key: value for key, value in contestant.settings.items() if key != "bits"}
    budget += [task.weight_decay] if task.weight_decay else []
    text = json.dumps([settings, budget, seed, learning_rate], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def keep(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write weights and what training took, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: part.contiguous() for name, part in model.state_dict().items()}
    write_atomically(path, save(weights, metadata={"facts": json.dumps(facts)}))


def restore(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Load weights into the model and return what training took; None if there is no such file."""
    if not path.is_file():
        return None
    with safe_open(str(path), framework="pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a dict
        return json.loads(file.metadata()["facts"])
