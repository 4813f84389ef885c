"""A task: a folder whose ``train.py`` names the data and the budget, and whose TOML files are the contestants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.classification.contestant import Contestant, read_contestants
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.folder import task_folder

__all__ = ["Split", "Task", "find_contestants"]


@dataclass(frozen=True)
class Split:
    """Inputs and labels ``(samples)`` of each part; the test part is read once, at the end.

    Inputs are a tensor ``(samples, ...)`` or recordings, an EventTensor ``(steps, samples, *units)``.

    Args:
        train: for gradients.
        validation: for choosing the learning rate.
        test: for the final scores only.

    Example:
        >>> import torch
        >>> part = torch.rand(6, 4), torch.zeros(6, dtype=torch.long)
        >>> Split(part, part, part).sizes
        {'train': 6, 'validation': 6, 'test': 6}
    """

    train: tuple[Inputs, Tensor]
    validation: tuple[Inputs, Tensor]
    test: tuple[Inputs, Tensor]

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each part."""
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
        augment: changes the inputs of a training batch with a seeded generator; they keep their shape.
        weight_decay: of AdamW, on weights but not on biases and decays; 0: Adam.

    Raises:
        InputError: a width, a number of classes, epochs or samples below 1, no learning rate above 0, a negative decay.

    Example:
        >>> import torch
        >>> part = torch.rand(6, 4), torch.zeros(6, dtype=torch.long)
        >>> task = Task("toy", "A toy", lambda: Split(part, part, part), (8,), 2, 1, 3, (0.01,))
        >>> task.data().sizes["test"]
        6
    """

    name: str
    title: str
    data: Callable[[], Split]
    hidden: tuple[int, ...]
    classes: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    augment: Callable[[Any, torch.Generator], Any] | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        whole = {"classes": self.classes, "epochs": self.epochs, "batch_size": self.batch_size}
        for key, value in [*whole.items(), *(("hidden", width) for width in self.hidden)]:
            if type(value) is not int or value < 1:
                raise InputError(where, got=f"{key}={value!r}", expected="a whole number, at least 1")
        if not self.learning_rates or not all(rate > 0 for rate in self.learning_rates):
            got, fix = f"learning_rates={self.learning_rates!r}", "Pass learning_rates=(0.001, 0.003)."
            raise InputError(where, got=got, expected="at least one, above 0", fix=fix)
        if not self.weight_decay >= 0:
            raise InputError(where, got=f"weight_decay={self.weight_decay!r}", expected="0 or more")


def find_contestants(folder: str | PathLike[str], only: tuple[str, ...] = ()) -> list[Contestant]:
    """The contestants of a task, by name.

    Args:
        folder: the task's folder.
        only: names of some, in this order, of files or of single operating points; all by default.

    Returns:
        a list of `Contestant`.

    Raises:
        MissingFileError: no such task, no contestant of that name, or a folder without any.
        InputError: what :func:`read_contestants` raises.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("train.py", "relu.toml", "lif.toml"):
        ...         _ = Path(folder, name).write_text('family = "relu"')
        ...     [contestant.name for contestant in find_contestants(folder)]
        ['lif', 'relu']
    """
    folder = task_folder(folder)
    names = dict.fromkeys(only) or sorted(path.stem for path in folder.glob("*.toml"))
    if not names:
        raise MissingFileError("task", got=str(folder), expected="a TOML file per contestant", fix="Add relu.toml.")
    return [contestant for name in names for contestant in _named(folder, name)]


def _named(folder: Path, name: str) -> list[Contestant]:
    """All operating points of a file, or the one of that name."""
    whole = folder / f"{name.rpartition('-')[0]}.toml"
    if not (folder / f"{name}.toml").is_file() and whole.is_file():
        points = [contestant for contestant in read_contestants(whole) if contestant.name == name]
        if points:
            return points
    return read_contestants(folder / f"{name}.toml")
