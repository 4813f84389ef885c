"""Provenance of results: the command that repeats them, time, versions, machine; means and standard deviations."""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from neurosparse.checks import several, whole
from neurosparse.energy.counters import processor
from neurosparse.errors import InputError

__all__ = ["check_seeds", "command", "origin", "stat"]

PACKAGES = ("neurosparse", "torch", "numpy", "scipy", "scikit-learn", "numba")


def stat(values: Iterable[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation of the values that are known; of one value there is no standard deviation.

    Example:
        >>> stat([1.0, 3.0, None])["mean"], stat([1.0])
        (2.0, {'mean': 1.0, 'sd': None})
    """
    known = [value for value in values if value is not None]
    return {"mean": mean(known) if known else None, "sd": stdev(known) if len(known) > 1 else None}


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Different whole numbers, at least one.

    Raises:
        InputError: no seed, one that is negative or no whole number, one twice.

    Example:
        >>> check_seeds(range(3))
        [0, 1, 2]
    """
    expected, fix = "at least one, each once", "Pass seeds=[0]."
    found = [whole("run", "seed", seed, low=0) for seed in several("run", "seeds", seeds, expected, fix)]
    if len(set(found)) < len(found):
        raise InputError("run", got=f"seeds={found}", expected=expected, fix=fix)
    return found


def command(
    home: str | PathLike[str] | None,
    seeds: Sequence[int],
    *,
    verb: str = "run",
    only: Sequence[str] = (),
    device: str = "cpu",
    images: str | PathLike[str] | None = None,
    more: Mapping[str, object] | None = None,
) -> str | None:
    """The command line that repeats a run.

    Args:
        home: the task's folder; None: the task has none, so no command repeats it.
        seeds: as passed to the run.
        verb: ``run``, or the name of the same command for one kind of task: ``compare``, ``atoms``.
        only, device: as passed to the run.
        images: folder of pictures in place of those of the task.
        more: further options by name; None: not given.

    Example:
        >>> command("models/digits", range(3), verb="compare", only=["lif"])
        'neurosparse compare models/digits --seeds 3 --only lif'
        >>> command("models/sparse-memory", [4, 7])
        'neurosparse run models/sparse-memory --seed 4 --seed 7'
    """
    if home is None:
        return None
    # A folder of models/ is named as from the project's folder, wherever that is.
    path = Path(home)
    parts = path.resolve().parts
    words = ["neurosparse", verb, f"models/{parts[-1]}" if parts[-2:-1] == ("models",) else str(path)]
    count = list(seeds) == list(range(len(seeds)))
    words += ["--seeds", str(len(seeds))] if count else [word for seed in seeds for word in ("--seed", str(seed))]
    words += [word for name in only for word in ("--only", name)]
    words += [] if images is None else ["--images", str(images)]
    words += ["--device", device] if device != "cpu" else []
    words += [word for name, value in (more or {}).items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(words)


def origin(command: str | None) -> dict[str, Any]:
    """Where results come from: command, time, versions and machine; ``stale`` says why they no longer hold.

    Args:
        command: what repeats them, see :func:`command`; None: nothing a reader can type.

    Example:
        >>> sorted(origin(None))
        ['command', 'created', 'machine', 'stale', 'versions']
    """
    return {
        "command": command,
        "stale": None,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"cpu": processor(), "cores": os.cpu_count()},
    }
