"""Training budget of a classification task: data, widths, epochs and rates that all its models share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from neurosparse.checks import number, positive, several, whole
from neurosparse.errors import InputError
from neurosparse.experiments.classification.split import Split

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """The fields of :class:`Task` that a training depends on."""

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
    trials: int | None = None
    search_samples: int | None = None
    search_at: Mapping[str, Any] = field(default_factory=dict, hash=False)
    folds: int | None = None

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        for key in ("classes", "epochs", "batch_size"):
            object.__setattr__(self, key, whole(where, key, getattr(self, key)))
        widths = self.hidden if self.hidden == () else several(where, "hidden", self.hidden, "widths", "Pass (256,).")
        object.__setattr__(self, "hidden", tuple(whole(where, "hidden", width) for width in widths))
        rates = several(where, "learning_rates", self.learning_rates, "at least one", "Pass (0.001, 0.003).")
        rates = tuple(positive(where, "learning_rates", rate) for rate in rates)
        object.__setattr__(self, "learning_rates", rates)
        object.__setattr__(self, "weight_decay", number(where, "weight_decay", self.weight_decay, 0))
        for key, low in (("trials", 1), ("search_samples", self.batch_size), ("folds", 2)):
            if getattr(self, key) is not None:
                object.__setattr__(self, key, whole(where, key, getattr(self, key), low))

    def fold_of(self, seed: int) -> int | None:
        """The fold of a cross-validation that a seed trains for; None: the task has none.

        Example:
            >>> Budget("toy", "A toy", None, (8,), 2, 1, 3, (0.01,), folds=5).fold_of(7)
            2
        """
        return None if self.folds is None else seed % self.folds

    def part(self, split: Split, fold: int | None) -> Split:
        """The data of one fold; without folds, the whole split."""
        return split if fold is None or self.folds is None else split.fold(fold, self.folds)

    def load(self) -> Split:
        """The data.

        Raises:
            InputError: no :class:`Split`, or a label that is not below the number of classes.
        """
        where = f"task {self.name!r}"
        if not callable(self.data):
            raise InputError(where, got=f"data={self.data!r}", expected="a function that returns a Split")
        split = self.data()
        if not isinstance(split, Split):
            raise InputError(where, got=f"data() of type {type(split).__name__}", expected="a Split")
        for part, label in split.largest_label.items():
            if label >= self.classes:
                got, expected = f"label {label} in the {part} part", f"labels from 0 to {self.classes - 1}"
                raise InputError(where, got=got, expected=expected, fix="Number the classes from 0.")
        return split
