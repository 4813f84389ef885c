"""Trainings on disk, so that one that was interrupted goes on where it stopped: sealed safetensors, whole or absent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from neurosparse.atomic import UNSEALED, is_sealed, seal, write_atomically
from neurosparse.errors import InputError
from neurosparse.experiments.classification.contestant import Contestant
from neurosparse.experiments.classification.task import Task

__all__ = ["checkpoint_path", "keep", "read_checkpoint", "restore", "unfinished_path", "write_checkpoint"]


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
    """Where a training keeps itself until it is done."""
    return path.with_suffix(".unfinished")


def write_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and plain facts under a checksum, whole or not at all: whoever is killed leaves the file before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {name: part.detach().contiguous() for name, part in tensors.items()}
    write_atomically(path, seal(save(parts, metadata={"crc32": UNSEALED, "facts": json.dumps(facts)})))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts; None if there is no such file.

    Raises:
        InputError: a damaged file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # asked so, because a twin beside may just have finished and removed it
        return None
    try:
        if not is_sealed(content):
            raise ValueError("its checksum does not fit its content")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["facts"])
    except (SafetensorError, KeyError, ValueError) as error:
        got, fix = f"{path}: {error}", "Delete it to train anew."
        raise InputError("checkpoint", got=got, expected="an undamaged file", fix=fix) from error


def keep(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write weights and what training took."""
    write_checkpoint(path, model.state_dict(), facts)


def restore(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Load weights into the model and return what training took; None if there is no such file."""
    found = read_checkpoint(path)
    if found is None:
        return None
    model.load_state_dict(found[0])
    return found[1]
