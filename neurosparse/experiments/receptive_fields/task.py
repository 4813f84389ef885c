"""A task of receptive fields: ``train.py`` names photographs and a budget, each TOML file a way to learn from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from neurosparse.coding.images import patches, stream
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.folder import load_task, read_table, refuse_unknown, task_folder
from neurosparse.experiments.receptive_fields.learners import LEARNERS, Stage

__all__ = ["FieldTask", "LearnerConfig", "load_field_task", "load_learners"]

Photographs = Mapping[str, Tensor]


@dataclass(frozen=True)
class FieldTask:
    """Photographs and a budget that every learner of a dictionary shares.

    Args:
        name, title: for reports.
        images: returns photographs to learn from and photographs held out, as the learners are to see them.
        size: pixels of a patch's side.
        atoms: of each dictionary.
        batch_size, batches: the budget.
        border: pixels at the edge of a photograph that are left out.
        held_out: patches that measure what was learned.
        noise: standard deviation of noise that is to be removed from the photographs held out; 0: none.
        sound: width of a band and seconds of a step, if the photographs are spectrograms (bands, steps): fields are
            then measured as spectro-temporal ones.

    Raises:
        InputError: a number out of range.

    Example:
        >>> import torch
        >>> image = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
        >>> task = FieldTask("toy", "A toy", lambda: ({"a": image}, {"b": image}), 8, 16, 10, 4)
        >>> next(task.stream({"a": image}, seed=0)).shape
        torch.Size([10, 64])
    """

    name: str
    title: str
    images: Callable[[], tuple[Photographs, Photographs]]
    size: int
    atoms: int
    batch_size: int
    batches: int
    border: int = 4
    held_out: int = 2000
    noise: float = 0.0
    sound: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for key in ("size", "atoms", "batch_size", "batches", "held_out"):
            value = getattr(self, key)
            if type(value) is not int or value < 1:
                got = f"{key}={value!r}"
                raise InputError(f"task {self.name!r}", got=got, expected="a whole number, at least 1")
        if self.sound and not min(self.sound) > 0:
            raise InputError(f"task {self.name!r}", got=f"sound={self.sound}", expected="widths above 0")
        if not (self.border >= 0 and self.noise >= 0):
            got = f"border={self.border}, noise={self.noise}"
            raise InputError(f"task {self.name!r}", got=got, expected="0 or more")

    def stream(self, images: Photographs, seed: int) -> Iterator[Tensor]:
        """Batches without end, each patch free of its mean."""
        return stream(images, self.size, self.batch_size, seed, border=self.border, remove_mean=True)

    def sample(self, images: Photographs) -> Tensor:
        """The patches that measure what was learned: the same for every learner and seed."""
        return patches(images, self.size, self.held_out, 0, border=self.border, remove_mean=True)


@dataclass(frozen=True)
class LearnerConfig:
    """One learner with its settings: one TOML file.

    Args:
        name: the file's name without ``.toml``.
        learner: a key of `LEARNERS`.
        note: one line for the report.
        options: what the learner's keyword arguments are set to.
    """

    name: str
    learner: str
    note: str
    options: dict[str, Any]

    def stages(self, batches: Iterator[Tensor], atoms: int, seed: int) -> Iterator[Stage]:
        """A stage after each batch."""
        return LEARNERS[self.learner](batches, atoms, seed, **self.options)


def load_field_task(folder: str | PathLike[str]) -> FieldTask:
    """The ``task`` of a folder's ``train.py``; ``denoising`` is short for ``models/denoising``.

    Raises:
        MissingFileError: no such task, naming those that exist.
        InputError: a ``train.py`` that defines no task of fields.

    Example:
        >>> load_field_task("nonesuch")
        Traceback (most recent call last):
        neurosparse.errors.MissingFileError: task: got nonesuch; expected a folder with a train.py. ...
    """
    return load_task(folder, FieldTask)


def load_learners(folder: str | PathLike[str], only: tuple[str, ...] = ()) -> list[LearnerConfig]:
    """The learners of a task, by name.

    Raises:
        MissingFileError: no learner of that name, or a folder without any.
        InputError: no TOML, an unknown learner, a key that it does not read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text("")
        ...     _ = Path(folder, "l1.toml").write_text('learner = "online"\\npenalty = {name = "l1", weight = 0.1}')
        ...     load_learners(folder)[0].options
        {'penalty': {'name': 'l1', 'weight': 0.1}}
    """
    folder = task_folder(folder)
    names = list(dict.fromkeys(only)) or sorted(path.stem for path in folder.glob("*.toml"))
    if not names:
        raise MissingFileError("task", got=str(folder), expected="a TOML file per learner", fix="Add l1.toml.")
    return [_pupil(folder / f"{name}.toml") for name in names]


def _pupil(path: Path) -> LearnerConfig:
    where = f"learner {path.stem!r}"
    table = read_table(path, where)
    learner, note = table.pop("learner", None), table.pop("note", "")
    if learner not in LEARNERS:
        raise InputError(where, got=f"learner={learner!r}", expected=" or ".join(map(repr, LEARNERS)))
    parameters = inspect.signature(LEARNERS[learner]).parameters.values()
    refuse_unknown(table, [p.name for p in parameters if p.kind is p.KEYWORD_ONLY], where)
    return LearnerConfig(path.stem, learner, note, table)
