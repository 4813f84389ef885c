"""Receptive fields: one set of images and one budget for every learner of a dictionary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neurosparse import report
from neurosparse.analysis import receptive_fields
from neurosparse.checks import number, whole
from neurosparse.coding.images import hold_out, patches, stream, whiten
from neurosparse.errors import InputError
from neurosparse.experiments.checkpoint import read_checkpoint, write_checkpoint
from neurosparse.experiments.classification.split import fingerprint
from neurosparse.experiments.folder import Callback, home_of
from neurosparse.experiments.provenance import check_seeds, command, origin
from neurosparse.experiments.receptive_fields.denoising import denoise
from neurosparse.experiments.receptive_fields.evaluate import (
    code_quality,
    field_modulations,
    field_shapes,
    over_seeds,
)
from neurosparse.experiments.receptive_fields.learners import LearnerConfig, load_learners
from neurosparse.io.photographs import read_folder

if TYPE_CHECKING:
    from neurosparse.report.columns import TextTable

__all__ = ["FieldTask", "pictures_of"]

Photographs = Mapping[str, Tensor]
LARGEST = 1024  # pixels of a side of own pictures: details of larger ones are blur and noise of the camera
BUDGET = ("size", "atoms", "batch_size", "batches", "held_out", "noise", "sound")


@dataclass(frozen=True)
class FieldTask:
    """Photographs and a budget that every learner of a dictionary shares; each TOML file of the folder is a learner.

    Args:
        name, title: for reports.
        images: returns photographs for learning and photographs held out, (height, width) each, preprocessed.
        size: pixels of a patch's side.
        atoms: of each dictionary.
        batch_size, batches: the budget.
        border: pixels at the edge of a photograph that are left out.
        held_out: patches on which what was learned is evaluated.
        noise: standard deviation of the noise to be removed from the photographs held out; 0: no denoising.
        sound: width of a band and seconds of a step, if the photographs are spectrograms (bands, steps): fields are
            then described as spectro-temporal ones.
        pictures: folder of pictures in place of ``images``, see :func:`pictures_of`.
        home: folder of the TOML files; set by :func:`neurosparse.experiments.load_task`.

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
    pictures: Path | None = None
    home: Path | None = None

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        for key in ("size", "atoms", "batch_size", "batches", "held_out"):
            whole(where, key, getattr(self, key))
        whole(where, "border", self.border, low=0)
        number(where, "noise", self.noise, low=0)
        for width in self.sound or ():
            number(where, "sound", width, above=0)
        if self.sound and self.pictures is not None:
            got, fix = f"pictures={str(self.pictures)!r}", "Choose a task of photographs."
            raise InputError(where, got=got, expected="sounds", fix=fix)

    def run(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        callback: Callback | None = None,
        *,
        folder: Path | None = None,
        only: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Train every learner on the same number of patches, and evaluate its codes and receptive fields.

        On patches of photographs that were held out: signal-to-noise ratio, active fraction and sparseness of
        the codes. Of the atoms: which are localised, oriented, band-pass, and how far their shapes are from
        those of macaque simple cells; for spectrograms their best rate and scale, separability and direction.

        Args:
            seeds: one training each.
            callback: called after each batch with learner and seed, batches done, and of how many.
            folder: its ``checkpoints/`` keeps the atoms and results of every finished training, which are used again
                where learner, budget and photographs are the same; the folder itself mosaics of the first seed. None:
                nothing is kept.
            only: names of learners; all by default.

        Returns:
            Plain JSON-able values: a row for each learner, means and standard deviations over the seeds.

        Raises:
            InputError: a task without a folder, no such learner, a damaged file, no seed.

        Example:
            >>> import neurosparse as ns
            >>> from tempfile import TemporaryDirectory
            >>> script = '''
            ... import torch, neurosparse as ns
            ... image = {"noise": torch.rand(40, 40, generator=torch.Generator().manual_seed(0))}
            ... task = ns.experiments.FieldTask("toy", "A toy", lambda: (image, image), 8, 4, 50, 3, held_out=50)
            ... '''
            >>> with TemporaryDirectory() as folder:
            ...     _ = Path(folder, "train.py").write_text(script)
            ...     _ = Path(folder, "l1.toml").write_text('learner = "online"\\npenalty = {name = "l1", weight = 0.3}')
            ...     results = ns.experiments.load_task(folder).run(seeds=[0])
            >>> results["learners"][0]["patches"]
            150
        """
        home, seeds = home_of(self), check_seeds(seeds)
        learners = load_learners(home, tuple(only))
        train, held_out = self.images() if self.pictures is None else pictures_of(self.pictures)
        data = fingerprint(*train.values(), *held_out.values())
        rows = []
        for learner in learners:
            about = {"name": learner.name, "note": learner.note, "learner": learner.learner, "config": learner.options}
            found = []
            for seed in seeds:
                settings = self._settings(about, self._budget(), data)
                kept = read_checkpoint(_path(folder, learner.name, seed)) if folder else None
                if kept is not None and kept[1]["settings"] == settings:
                    found.append(kept[1]["evaluated"])
                    continue
                drawn = folder if seed == seeds[0] else None
                evaluated, atoms = self._learn(learner, seed, train, held_out, callback, drawn)
                found.append(evaluated)
                if folder:
                    facts = {"settings": settings, "evaluated": evaluated}
                    write_checkpoint(_path(folder, learner.name, seed), {"atoms": atoms}, facts)
            rows.append(about | {"patches": self.batches * self.batch_size} | over_seeds(found))
        header = {"task": self.name, "title": self.title, "seeds": seeds}
        header |= origin(command(home, seeds, verb="atoms", only=only, images=self.pictures))
        budget = self._budget()
        photographs = {"train": sorted(train), "held_out": sorted(held_out), "sha256": data}
        return header | {"budget": budget, "photographs": photographs, "learners": rows}

    def table(self, results: dict[str, Any]) -> TextTable:
        """The table for a terminal: a row for each learner."""
        return report.receptive_fields.table(results)

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json``, ``fields.html``, and pictures of those atoms that :meth:`run` kept in the folder."""
        atoms = {}
        for row in results["learners"]:
            found = read_checkpoint(_path(folder, row["name"], results["seeds"][0]))
            data = results["photographs"]["sha256"]
            if found and found[1]["settings"] == self._settings(row, results["budget"], data):
                atoms[row["name"]] = found[0]["atoms"]
        return report.receptive_fields.save(results, atoms, folder)

    def stream(self, images: Photographs, seed: int) -> Iterator[Tensor]:
        """Batches without end, each patch minus its mean."""
        return stream(images, self.size, self.batch_size, seed, border=self.border, remove_mean=True)

    def sample(self, images: Photographs) -> Tensor:
        """The patches on which what was learned is evaluated: the same for every learner and seed."""
        return patches(images, self.size, self.held_out, 0, border=self.border, remove_mean=True)

    def _learn(
        self,
        learner: LearnerConfig,
        seed: int,
        train: Photographs,
        held_out: Photographs,
        callback: Callback | None,
        folder: Path | None,
    ) -> tuple[dict[str, Any], Tensor]:
        """One training: its results and atoms; the curve has a point at every doubling of the patches."""
        sample, seconds, curve, begun = self.sample(held_out), 0.0, [], time.perf_counter()
        snapshots = learner.snapshots(self.stream(train, seed), self.atoms, seed)
        for batch, snapshot in zip(range(1, self.batches + 1), snapshots, strict=False):
            seconds += time.perf_counter() - begun
            doubled = batch & (batch - 1) == 0  # a power of two
            if doubled or batch == self.batches:
                point = {"patches": batch * self.batch_size, "seconds": seconds}
                curve.append(point | code_quality(snapshot, sample))
            if doubled and folder:
                report.receptive_fields.draw(snapshot.atoms, folder / f"{learner.name}.png")
            if callback:
                callback(f"{learner.name}, seed {seed}", batch, self.batches)
            begun = time.perf_counter()
        atoms = snapshot.atoms
        evaluated = code_quality(snapshot, sample) | {"seconds": seconds, "dead": snapshot.dead, "curve": curve}
        if self.sound:
            evaluated |= field_modulations(atoms, self.size, self.sound)
        else:
            evaluated |= field_shapes(receptive_fields(atoms))
        if self.noise:
            evaluated |= denoise(snapshot, held_out, self.size, self.noise, sample)
        return evaluated, atoms

    def _budget(self) -> dict[str, Any]:
        values = {key: getattr(self, key) for key in BUDGET}
        return values | {"sound": None if self.sound is None else list(self.sound)}

    def _settings(self, row: Mapping[str, Any], budget: Mapping[str, Any], data: str) -> dict[str, Any]:
        """What the atoms of a learner depend on: they are used again, and drawn beside results, of the same alone."""
        own = {"learner": row["learner"], "config": row["config"]}
        return {"task": self.name, **own, "budget": dict(budget), "border": self.border, "data": data}


def _path(folder: Path, learner: str, seed: int) -> Path:
    return Path(folder, "checkpoints", f"{learner}-{seed}.safetensors")


def pictures_of(folder: str | PathLike[str]) -> tuple[Photographs, Photographs]:
    """Pictures of a folder, grey, with at most 1024 pixels a side, whitened to a mean variance of 0.1.

    Returns:
        Four fifths of them to learn from, and the others held out, drawn by a fixed seed.

    Raises:
        InputError: fewer than two pictures, or one that cannot be read.
    """
    white = whiten(read_folder(folder, LARGEST), variance=0.1)
    if len(white) < 2:
        got, fix = f"one picture in {folder}", "One is held out, so that the codes are evaluated on another."
        raise InputError("images", got=got, expected="at least two pictures", fix=fix)
    return hold_out(white, max(1, len(white) // 5))
