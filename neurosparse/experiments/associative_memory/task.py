"""A task of memory: ``train.py`` says how sparse patterns are, and how many are stored."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from neurosparse.coding.mean_field import capacity
from neurosparse.errors import InputError
from neurosparse.experiments.folder import load_task

__all__ = ["MemoryTask", "load_memory_task"]


@dataclass(frozen=True)
class MemoryTask:
    """Patterns of several activities, stored at several loads.

    Args:
        name, title: for reports.
        units: of the network.
        activities: shares of active units, one network each.
        loads: stored patterns, as multiples of the mean-field capacity of each activity.
        samples: patterns that are recalled, each from itself: whether it is a state of rest is what theory says.
        steps: most of a recall.

    Raises:
        InputError: a number out of range, no activity, no load.

    Example:
        >>> MemoryTask("toy", "A toy", 100, (0.1,), (0.5,)).patterns(0.1, 0.5)
        23
    """

    name: str
    title: str
    units: int
    activities: tuple[float, ...]
    loads: tuple[float, ...]
    samples: int = 50
    steps: int = 50

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        for key in ("units", "samples", "steps"):
            if type(value := getattr(self, key)) is not int or value < 1:
                raise InputError(where, got=f"{key}={value!r}", expected="a whole number, at least 1")
        if not self.loads or not self.activities or not all(load > 0 for load in self.loads):
            got = f"activities={self.activities}, loads={self.loads}"
            raise InputError(where, got=got, expected="at least one of each, loads above 0")

    def patterns(self, activity: float, load: float) -> int:
        """How many are stored."""
        return max(1, round(load * capacity(activity).load * self.units))


def load_memory_task(folder: str | PathLike[str]) -> MemoryTask:
    """The ``task`` of a folder's ``train.py``; ``sparse-memory`` is short for ``models/sparse-memory``.

    Raises:
        MissingFileError: no such task, naming those that exist.
        InputError: a ``train.py`` that defines no task of memory.

    Example:
        >>> load_memory_task("nonesuch")
        Traceback (most recent call last):
        neurosparse.errors.MissingFileError: task: got nonesuch; expected a folder with a train.py. ...
    """
    return load_task(folder, MemoryTask)
