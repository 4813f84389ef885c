"""A task of bars: ``train.py`` names photographs to learn from, and the bars that a hierarchy is shown afterwards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from neurosparse.coding.images import stream
from neurosparse.errors import InputError
from neurosparse.experiments.checkpoint import read_checkpoint, write_checkpoint
from neurosparse.experiments.folder import load_task
from neurosparse.predictive import PredictiveNetwork, rao_ballard
from neurosparse.predictive.rao_ballard import AREA, Settings, extract_patches

__all__ = ["BarTask", "bars", "load_bar_task", "teach"]

EVERY = 20.0  # seconds between two checkpoints
CLOSER, SLOWER = 40, 1.015  # rates are divided by 1.015 every 40 batches, as others do every 40 patches
GROWING = 20  # batches in which weights grow fast: the inference step is measured at each, later at every 20th


@dataclass(frozen=True)
class BarTask:
    """Photographs, a budget, and bars.

    Args:
        name, title: for reports.
        images: returns photographs (height, width) by name, in grey levels.
        settings: of each hierarchy, by name.
        batch_size, batches: the budget.
        lengths: of the bars, even numbers of pixels up to 26.
        long: the length whose response is compared with the best.
        short: units that prefer bars shorter than this are looked at one by one.
        contrast: grey levels by which a bar is darker than its ground.
        chosen_on, rows: top rows of the bars that choose those units, and of the bars that everything is measured with.

    Raises:
        InputError: a number out of range, rows on both sides.

    Example:
        >>> task = BarTask("toy", "A toy", lambda: {"a": torch.rand(40, 40)}, {"gaussian": Settings()})
        >>> next(task.stream(task.images(), torch.Generator())).shape
        torch.Size([200, 768])
    """

    name: str
    title: str
    images: Callable[[], Mapping[str, Tensor]]
    settings: Mapping[str, Settings]
    batch_size: int = 200
    batches: int = 800
    lengths: tuple[int, ...] = tuple(range(2, 27, 2))
    long: int = 24
    short: int = 16
    contrast: float = 50.0
    chosen_on: tuple[int, ...] = (4, 6, 8, 10)
    rows: tuple[int, ...] = (3, 5, 7, 9, 11)

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        for key in ("batch_size", "batches"):
            if type(value := getattr(self, key)) is not int or value < 1:
                raise InputError(where, got=f"{key}={value!r}", expected="a whole number, at least 1")
        if self.long not in self.lengths or not all(0 < n <= AREA[1] and n % 2 == 0 for n in self.lengths):
            got, expected = (
                f"lengths={self.lengths}, long={self.long}",
                f"even lengths up to {AREA[1]}, one of them long",
            )
            raise InputError(where, got=got, expected=expected)
        rows = {*self.chosen_on, *self.rows}
        apart = self.rows and self.chosen_on and len(rows) == len(self.chosen_on) + len(self.rows)
        if not apart or not rows <= set(range(AREA[0] - 1)):
            got, expected = f"chosen_on={self.chosen_on}, rows={self.rows}", f"different rows, 0 to {AREA[0] - 2}"
            raise InputError(
                where, got=got, expected=expected, fix="Choose units on other bars than those that measure."
            )

    def stream(self, images: Mapping[str, Tensor], generator: torch.Generator) -> Iterator[Tensor]:
        """Batches of what a hierarchy sees, without end."""
        height, width = AREA
        top = (width - height) // 2
        for squares in stream(images, width, self.batch_size, generator):
            yield extract_patches(squares.view(-1, width, width)[:, top : top + height])


def load_bar_task(folder: str | PathLike[str]) -> BarTask:
    """The ``task`` of a folder's ``train.py``; ``rao-ballard-1999`` is short for ``models/rao-ballard-1999``.

    Raises:
        MissingFileError: no such task, naming those that exist.
        InputError: a ``train.py`` that defines no task of bars.

    Example:
        >>> load_bar_task("nonesuch")
        Traceback (most recent call last):
        neurosparse.errors.MissingFileError: task: got nonesuch; expected a folder with a train.py. ...
    """
    return load_task(folder, BarTask)


def bars(lengths: tuple[int, ...], rows: tuple[int, ...], contrast: float) -> Tensor:
    """Dark horizontal bars, two pixels high, in the middle of the width: (rows, lengths, 16, 26).

    Example:
        >>> bars((2, 4), (7,), 50.0).sum((2, 3))
        tensor([[-200., -400.]])
    """
    drawn = torch.zeros(len(rows), len(lengths), *AREA)
    for i, row in enumerate(rows):
        for j, length in enumerate(lengths):
            left = (AREA[1] - length) // 2
            drawn[i, j, row : row + 2, left : left + length] = -contrast
    return drawn


def teach(
    task: BarTask,
    name: str,
    seed: int,
    images: Mapping[str, Tensor],
    folder: Path | None = None,
    watch: Callable[[int, int], None] = lambda batch, batches: None,
) -> PredictiveNetwork:
    """One training; one that was interrupted goes on where it stopped.

    Args:
        task: photographs and budget.
        name: of the settings.
        seed: draws weights and patches.
        images: what ``task.images`` gave.
        folder: where trainings keep themselves; None: nowhere.
        watch: told batches done, and of how many.
    """
    settings, generator = task.settings[name], torch.Generator().manual_seed(seed)
    network = rao_ballard.hierarchy(settings, generator)
    path = None if folder is None else folder / f"{name}-{seed}-{_fingerprint(task, settings)}.safetensors"
    found = read_checkpoint(path) if path else None
    begin, dt = 0, 0.0
    if found:
        generator.set_state(found[0].pop("generator"))
        network.load_state_dict(found[0])
        begin, dt = found[1]["batches"], found[1]["dt"]
    patches, kept = task.stream(images, generator), time.monotonic()
    for batch in range(begin, task.batches):
        fresh = batch < GROWING or batch % GROWING == 0
        states = rao_ballard.learn(
            network, next(patches), settings, SLOWER ** -(batch // CLOSER), "auto" if fresh else dt
        )
        dt = states.dt
        if path and (batch + 1 == task.batches or time.monotonic() - kept > EVERY):
            state = network.state_dict() | {"generator": generator.get_state()}
            write_checkpoint(path, state, {"batches": batch + 1, "dt": dt})
            kept = time.monotonic()
        watch(batch + 1, task.batches)
    return network


def _fingerprint(task: BarTask, settings: Settings) -> str:
    """What training depends on but code and photographs."""
    text = json.dumps([task.name, task.batch_size, task.batches, repr(settings)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
