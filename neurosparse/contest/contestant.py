"""A contestant: one TOML file, one network at one operating point; and a task: data plus a common budget."""

from __future__ import annotations

import difflib
import runpy
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from neurosparse.errors import InputError, MissingFileError

__all__ = ["Contestant", "Split", "Task", "find_contestants", "load_task", "read_contestant"]

FAMILIES = {
    "relu": "ReLU",
    "lif": "LIF",
    "kwta": "k-WTA",
    "lca": "sparse code",
    "predictive": "predictive coding",
}
"""What a contestant's ``family`` may be, and how it is called in reports."""


@dataclass(frozen=True)
class Contestant:
    """One network at one operating point; every key of its TOML file is a field here.

    Args:
        name: the file's name without ``.toml``.
        family: ``"relu"``, ``"lif"``, ``"kwta"``, ``"lca"`` or ``"predictive"``.
        note: one line for the report.
        steps: time steps of a spiking network.
        encoding: how pixels reach a spiking network: ``"current"`` (constant, charged once), ``"latency"`` or
            ``"poisson"``.
        beta: membrane decay per step of a spiking network.
        pruned: share of weights that magnitude pruning removes during training.
        bits: precision of weights and graded activations: 32, or 8 after training.
        levels: quantise ReLU activations to ``levels + 1`` values: the fair twin of a spiking network with
            ``levels`` steps.
        activity_penalty: weight of the mean hidden activity in the loss (spike counts or magnitudes).
        active_fraction: share of units that win in a k-WTA layer.
        atoms, code_penalty, iterations: of a sparse code: dictionary size, lambda, LCA iterations.
        inference_steps: of a predictive-coding network, while it learns.
    """

    name: str
    family: str
    note: str = ""
    steps: int = 1
    encoding: str = "current"
    beta: float = 0.9
    pruned: float = 0.0
    bits: int = 32
    levels: int | None = None
    activity_penalty: float = 0.0
    active_fraction: float = 0.1
    atoms: int = 256
    code_penalty: float = 0.1
    iterations: int = 50
    inference_steps: int = 20

    def __post_init__(self) -> None:
        where = f"contestant {self.name!r}"
        if self.family not in FAMILIES:
            raise InputError(where, got=f"family={self.family!r}", expected=f"one of {', '.join(FAMILIES)}")
        ranges = {
            "steps": (1, 10_000), "beta": (0.0, 1.0), "pruned": (0.0, 0.999), "activity_penalty": (0.0, 1e6),
            "active_fraction": (1e-6, 1.0), "atoms": (1, 10**6), "iterations": (1, 10**6), "inference_steps": (1,
        10**6), }  # fmt: skip
        for key, (low, high) in ranges.items():
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(where, got=f"{key}={value!r}", expected=f"a number, {low} <= {key} <= {high}")
        if self.encoding not in ("current", "latency", "poisson"):
            raise InputError(where, got=f"encoding={self.encoding!r}", expected="'current', 'latency' or 'poisson'")
        if self.bits not in (8, 32):
            raise InputError(where, got=f"bits={self.bits!r}", expected="8 or 32")

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the defaults: the contestant in a line."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            key: value for key, value in asdict(self).items() if value != defaults[key] and key not in ("name", "note")
        }


@dataclass(frozen=True)
class Split:
    """Inputs ``(samples, features)`` and labels of each part; the test part is read once, at the end."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(getattr(self, name)[1]) for name in ("train", "validation", "test")}


@dataclass(frozen=True)
class Task:
    """Data and a training budget that every contestant shares.

    Args:
        name, title: for reports.
        data: returns the :class:`Split`; the same for every contestant and seed.
        hidden: widths of the hidden layers.
        classes: number of labels.
        epochs, batch_size: the budget.
        learning_rates: one tuning trial each, chosen on validation data with the first seed.
    """

    name: str
    title: str
    data: Callable[[], Split]
    hidden: tuple[int, ...]
    classes: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]


def read_contestant(path: str | PathLike[str]) -> Contestant:
    """Read one TOML file.

    Raises:
        MissingFileError: no such file, naming the contestants that exist.
        InputError: not TOML, an unknown key, a value out of range.
    """
    path = Path(path)
    if not path.is_file():
        known = ", ".join(p.stem for p in sorted(path.parent.glob("*.toml"))) or "none"
        raise MissingFileError("contestant", got=str(path), expected=f"one of: {known}", fix="Check the name.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"contestant {path.stem!r}", got=f"{path.name}: {error}", expected="TOML") from error
    return contestant_from(path.stem, table)


def contestant_from(name: str, table: Mapping[str, Any]) -> Contestant:
    """A contestant from the keys of its table."""
    known = [field.name for field in fields(Contestant) if field.name != "name"]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            fix = f"Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"contestant {name!r}", got=f"key {key!r}", expected=", ".join(known), fix=fix)
    if "family" not in table:
        raise InputError(f"contestant {name!r}", got="no family", expected=f"family = one of {', '.join(FAMILIES)}")
    return Contestant(name=name, **table)


def load_task(folder: str | PathLike[str]) -> Task:
    """The ``task`` of a folder's ``train.py``; ``digits`` is short for ``models/digits``.

    Raises:
        MissingFileError: no such task, naming those that exist.
    """
    script = task_folder(folder) / "train.py"
    found = runpy.run_path(str(script)).get("task")
    if not isinstance(found, Task):
        raise InputError("task", got=f"{script} without a `task`", expected="task = ns.contest.Task(...)")
    return found


def task_folder(folder: str | PathLike[str]) -> Path:
    """Where a task lives: the folder itself, or its name below ``models/``."""
    for candidate in (Path(folder), Path("models") / folder):
        if (candidate / "train.py").is_file():
            return candidate
    known = ", ".join(str(p.parent) for p in sorted(Path("models").glob("*/train.py"))) or "none here"
    fix = f"Tasks: {known}. Run from the project's folder."
    raise MissingFileError("task", got=str(folder), expected="a folder with a train.py", fix=fix)


def find_contestants(folder: str | PathLike[str], only: tuple[str, ...] = ()) -> list[Contestant]:
    """The contestants of a task, in order of their file names; ``only`` picks some by name."""
    folder = task_folder(folder)
    names = only or tuple(path.stem for path in sorted(folder.glob("*.toml")))
    return [read_contestant(folder / f"{name}.toml") for name in names]
