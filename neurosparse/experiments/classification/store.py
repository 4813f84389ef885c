"""Results of single trainings: one JSON file each, so that a run that was interrupted trains only what is missing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurosparse.atomic import make_folder, write_atomically
from neurosparse.errors import InputError

__all__ = ["key_of", "pack", "read_result", "unpack", "write_result"]


def key_of(*facts: Any) -> str:
    """A hash over plain facts: a result is used again only where all of them are the same.

    Example:
        >>> key_of({"a": 1}, 2) == key_of({"a": 1}, 2), key_of({"a": 1}, 2) == key_of({"a": 1}, 3)
        (True, False)
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def read_result(path: Path | None, key: str, needed: Collection[str] = ()) -> dict[str, Any] | None:
    """A result; None if there is none, or one of other facts.

    Args:
        path: its file; None: there is none.
        key: of its facts.
        needed: fields without which a result of this key is damaged.

    Raises:
        InputError: a damaged file.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError("result", got=f"{path}: {error}", expected="JSON", fix="Delete it to train anew.") from error
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    if missing := [name for name in needed if name not in found]:
        got, expected = f"{path} without {', '.join(missing)}", "a whole result"
        raise InputError("result", got=got, expected=expected, fix="Delete it to train anew.")
    return found


def write_result(path: Path | None, key: str, facts: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all; None: nowhere."""
    if path is not None:
        make_folder(path.parent, "result")
        text = json.dumps({"key": key} | dict(facts), separators=(",", ":"), allow_nan=False)
        write_atomically(path, f"{text}\n".encode(), "result")


def pack(correct: np.ndarray) -> str:
    """Correctness of each sample, one bit each, as base64 text."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack(text: str, samples: int) -> np.ndarray:
    """The inverse of :func:`pack`.

    Raises:
        InputError: text that holds no bits, or those of more or fewer samples.

    Example:
        >>> unpack(pack(np.array([True, False, True])), 3).tolist()
        [True, False, True]
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise _damaged(f"{text!r:.40}", samples) from error
    if len(found) != math.ceil(samples / 8):
        raise _damaged(f"{8 * len(found)} bits", samples)
    return np.unpackbits(np.frombuffer(found, np.uint8), count=samples).astype(bool)


def _damaged(got: str, samples: int) -> InputError:
    fix = "Delete the results of this model to train anew."
    return InputError("result", got=f"correct={got}", expected=f"bits of {samples} samples", fix=fix)
