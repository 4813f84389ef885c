"""The contest of receptive fields: the same photographs and budget for every way to learn a dictionary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from neurosparse.analysis.modulation import modulations
from neurosparse.analysis.receptive_fields import ReceptiveFields, receptive_fields
from neurosparse.analysis.sparsity import sparsity
from neurosparse.errors import InputError
from neurosparse.experiments.provenance import origin, stat
from neurosparse.experiments.receptive_fields.denoising import denoise
from neurosparse.experiments.receptive_fields.learners import Stage
from neurosparse.experiments.receptive_fields.task import FieldTask, LearnerConfig, load_field_task, load_learners

__all__ = ["FieldWatch", "Look", "learn_fields"]


class Look(NamedTuple):
    """A dictionary on its way, as whoever draws it sees it; the last one of a training is ``final``."""

    pupil: str
    seed: int
    batch: int
    batches: int
    stage: Stage
    final: bool


FieldWatch = Callable[[Look], None]


def learn_fields(
    folder: str | PathLike[str],
    *,
    only: tuple[str, ...] = (),
    seeds: Sequence[int] = (0, 1, 2),
    watch: FieldWatch = lambda look: None,
) -> dict[str, Any]:
    """Let every learner of a task see the same number of patches, and measure what it made of them.

    Measured on patches of photographs that were held out: signal-to-noise ratio, active fraction and sparseness of the
    codes; and the atoms themselves: which are localised, oriented, band-pass, and how far their shapes are from
    those of macaque simple cells. Of spectrograms: their best rate and scale, separability and direction.

    Args:
        folder: the task's folder.
        only: names of learners; all by default.
        seeds: one training each.
        watch: called after each batch.

    Returns:
        Plain JSON-able values: a row for each learner, means and standard deviations over the seeds.

    Raises:
        InputError: no such task or learner, a damaged file, no seed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> script = '''
        ... import torch, neurosparse as ns
        ... image = {"noise": torch.rand(40, 40, generator=torch.Generator().manual_seed(0))}
        ... task = ns.experiments.FieldTask("toy", "A toy", lambda: (image, image), 8, 4, 50, 3, held_out=50)
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text(script)
        ...     _ = Path(folder, "l1.toml").write_text('learner = "online"\\npenalty = {name = "l1", weight = 0.3}')
        ...     results = learn_fields(folder, seeds=[0])
        >>> results["learners"][0]["patches"]
        150
    """
    task, pupils = load_field_task(folder), load_learners(folder, only)
    if not len(seeds):
        raise InputError("learn_fields", got="no seed", expected="at least one", fix="Pass seeds=[0].")
    train, held_out = task.images()
    rows = []
    for pupil in pupils:
        found = [_learn(task, pupil, seed, train, held_out, watch) for seed in seeds]
        about = {"name": pupil.name, "note": pupil.note, "learner": pupil.learner, "config": pupil.options}
        rows.append(about | {"patches": task.batches * task.batch_size} | _over_seeds(found))
    header = {"task": task.name, "title": task.title, "seeds": list(seeds)}
    budget = {
        key: getattr(task, key) for key in ("size", "atoms", "batch_size", "batches", "held_out", "noise", "sound")
    }
    photographs = {"train": sorted(train), "held_out": sorted(held_out)}
    return header | origin(None) | {"budget": budget, "photographs": photographs, "learners": rows}


def _learn(
    task: FieldTask,
    pupil: LearnerConfig,
    seed: int,
    train: Mapping[str, Tensor],
    held_out: Mapping[str, Tensor],
    watch: FieldWatch,
) -> dict[str, Any]:
    """One training; at every doubling of the patches seen, how well it codes patches held out."""
    sample, seconds, curve, begun = task.sample(held_out), 0.0, [], time.perf_counter()
    stages = pupil.stages(task.stream(train, seed), task.atoms, seed)
    for batch, stage in zip(range(1, task.batches + 1), stages, strict=False):
        seconds += time.perf_counter() - begun
        final = batch == task.batches
        if final or batch & (batch - 1) == 0:  # a power of two
            curve.append({"patches": batch * task.batch_size, "seconds": seconds} | _codes(stage, sample))
        watch(Look(pupil.name, seed, batch, task.batches, stage, final))
        begun = time.perf_counter()
    about = {"seconds": seconds, "dead": stage.dead, "curve": curve}
    shapes = _sounds(task, stage.atoms) if task.sound else _shapes(receptive_fields(stage.atoms))
    measured = _codes(stage, sample) | about | shapes
    return measured | (denoise(stage, held_out, task.size, task.noise, sample) if task.noise else {})


def _codes(stage: Stage, x: Tensor) -> dict[str, Any]:
    """How well and how sparsely patches are coded."""
    codes = stage.encode(x)
    left = float((x - codes @ stage.atoms).square().sum())
    found = sparsity(codes)
    lifetime, population = found.vinje_gallant.mean()
    return {
        "snr": 10 * math.log10(float(x.square().sum()) / left) if left > 0 else math.inf,
        "active_fraction": float((codes != 0).double().mean()),
        "lifetime_sparseness": lifetime,
        "population_sparseness": population,
        "silent": found.silent_units,
    }


def _shapes(fields: ReceptiveFields) -> dict[str, Any]:
    """What the atoms look like."""
    some = fields.described.any()
    return {
        **asdict(fields.by_fit),
        "described": float(fields.described.mean()),
        "positions_covered": fields.coverage.position,
        "frequencies_covered": fields.coverage.frequency,
        "macaque_distance": fields.macaque if some else None,
        "n_x": float(np.median(fields.fit.n_x[fields.described])) if some else None,
        "n_y": float(np.median(fields.fit.n_y[fields.described])) if some else None,
    }


def _sounds(task: FieldTask, atoms: Tensor) -> dict[str, Any]:
    """What the atoms want to hear: medians over those that live."""
    found = modulations(atoms, (task.size, task.size), *(task.sound or (1.0, 1.0)))
    names = ("rate", "scale", "separability")
    medians = {name: float(np.nanmedian(getattr(found, name))) for name in names}
    return medians | {"directional": float(np.nanmedian(np.abs(found.direction)))}


def _over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means and spreads of numbers; of everything else, what the first seed found."""
    numbers = {key for key, value in found[0].items() if value is None or isinstance(value, int | float)}
    tables = {key for key, value in found[0].items() if isinstance(value, Mapping)}
    rows = {key: stat(one[key] for one in found) for key in found[0] if key in numbers}
    rows |= {key: {name: stat(one[key][name] for one in found) for name in found[0][key]} for key in tables}
    return rows | {key: value for key, value in found[0].items() if key not in numbers | tables}
