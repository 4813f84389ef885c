"""Checkpoints: tensors and plain facts in safetensors files under a checksum, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from neurosparse.atomic import UNSEALED, is_sealed, make_folder, seal, write_atomically
from neurosparse.errors import InputError

__all__ = ["load_weights", "read_checkpoint", "save_weights", "write_checkpoint"]


def write_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and plain facts under a checksum, whole or not at all: an interruption leaves the file before."""
    make_folder(path.parent, "checkpoint")
    parts = {name: part.detach().contiguous() for name, part in tensors.items()}
    content = seal(save(parts, metadata={"crc32": UNSEALED, "facts": json.dumps(facts)}))
    write_atomically(path, content, "checkpoint")


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts; None if there is no such file.

    Raises:
        InputError: a damaged file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # and not is_file(): another process may remove it in between
        return None
    try:
        if not is_sealed(content):
            raise ValueError("its checksum does not fit its content")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["facts"])
    except (SafetensorError, KeyError, ValueError) as error:
        got, fix = f"{path}: {error}", "Delete it to train anew."
        raise InputError("checkpoint", got=got, expected="an undamaged file", fix=fix) from error


def save_weights(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write weights and what training took."""
    write_checkpoint(path, model.state_dict(), facts)


def load_weights(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Load weights into the model and return what training took; None if there is no such file."""
    found = read_checkpoint(path)
    if found is None:
        return None
    model.load_state_dict(found[0])
    return found[1]
