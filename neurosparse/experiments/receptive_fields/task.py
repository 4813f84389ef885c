"""Receptive fields: one set of images and one budget for every learner of a dictionary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neurosparse import report
from neurosparse.analysis import receptive_fields
from neurosparse.checks import number, whole
from neurosparse.coding.images import patches, stream
from neurosparse.experiments.checkpoint import read_checkpoint, write_checkpoint
from neurosparse.experiments.folder import Callback, home_of
from neurosparse.experiments.provenance import check_seeds, command, origin
from neurosparse.experiments.receptive_fields.denoising import denoise
from neurosparse.experiments.receptive_fields.learners import LearnerConfig, load_learners
from neurosparse.experiments.receptive_fields.measures import (
    code_quality,
    field_modulations,
    field_shapes,
    over_seeds,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FieldTask"]

Photographs = Mapping[str, Tensor]
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
        held_out: patches that measure what was learned.
        noise: standard deviation of the noise to be removed from the photographs held out; 0: no denoising.
        sound: width of a band and seconds of a step, if the photographs are spectrograms (bands, steps): fields are
            then measured as spectro-temporal ones.
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
    home: Path | None = None

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        for key in ("size", "atoms", "batch_size", "batches", "held_out"):
            whole(where, key, getattr(self, key))
        whole(where, "border", self.border, low=0)
        number(where, "noise", self.noise, low=0)
        for width in self.sound or ():
            number(where, "sound", width, above=0)

    def run(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        callback: Callback | None = None,
        *,
        folder: Path | None = None,
        only: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Train every learner on the same number of patches, and measure its codes and receptive fields.

        Measured on patches of photographs that were held out: signal-to-noise ratio, active fraction and sparseness of
        the codes. Measured of the atoms: which are localised, oriented, band-pass, and how far their shapes are from
        those of macaque simple cells; for spectrograms their best rate and scale, separability and direction.

        Args:
            seeds: one training each.
            callback: called after each batch with learner and seed, batches done, and of how many.
            folder: where atoms, and during learning mosaics of the first seed, are kept; None: nowhere.
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
        train, held_out = self.images()
        rows = []
        for learner in learners:
            about = {"name": learner.name, "note": learner.note, "learner": learner.learner, "config": learner.options}
            found = []
            for seed in seeds:
                drawn = folder if seed == seeds[0] else None
                measured, atoms = self._learn(learner, seed, train, held_out, callback, drawn)
                found.append(measured)
                if folder:
                    write_checkpoint(
                        _path(folder, learner.name, seed), {"atoms": atoms}, self._settings(about, self._budget())
                    )
            rows.append(about | {"patches": self.batches * self.batch_size} | over_seeds(found))
        header = {"task": self.name, "title": self.title, "seeds": seeds}
        header |= origin(command(home, seeds, verb="atoms", only=only))
        budget = self._budget()
        photographs = {"train": sorted(train), "held_out": sorted(held_out)}
        return header | {"budget": budget, "photographs": photographs, "learners": rows}

    def table(self, results: dict[str, Any]) -> Table:
        """The table for a terminal: a row for each learner."""
        return report.receptive_fields.table(results)

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json``, ``fields.html``, and pictures of those atoms that :meth:`run` kept in the folder."""
        atoms = {}
        for row in results["learners"]:
            found = read_checkpoint(_path(folder, row["name"], results["seeds"][0]))
            if found and found[1] == self._settings(row, results["budget"]):
                atoms[row["name"]] = found[0]["atoms"]
        return report.receptive_fields.save(results, atoms, folder)

    def stream(self, images: Photographs, seed: int) -> Iterator[Tensor]:
        """Batches without end, each patch minus its mean."""
        return stream(images, self.size, self.batch_size, seed, border=self.border, remove_mean=True)

    def sample(self, images: Photographs) -> Tensor:
        """The patches that measure what was learned: the same for every learner and seed."""
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
        """One training: measures and atoms; the curve has a point at every doubling of the patches."""
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
        measured = code_quality(snapshot, sample) | {"seconds": seconds, "dead": snapshot.dead, "curve": curve}
        if self.sound:
            measured |= field_modulations(atoms, self.size, self.sound)
        else:
            measured |= field_shapes(receptive_fields(atoms))
        if self.noise:
            measured |= denoise(snapshot, held_out, self.size, self.noise, sample)
        return measured, atoms

    def _budget(self) -> dict[str, Any]:
        values = {key: getattr(self, key) for key in BUDGET}
        return values | {"sound": None if self.sound is None else list(self.sound)}

    def _settings(self, row: Mapping[str, Any], budget: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the atoms of a learner: they are drawn beside results of the same settings only."""
        return {"task": self.name, "learner": row["learner"], "config": row["config"], "budget": budget}


def _path(folder: Path, learner: str, seed: int) -> Path:
    return Path(folder, "atoms", f"{learner}-{seed}.safetensors")
