"""Evaluation of a dictionary: quality and sparseness of its codes, shapes of its receptive fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from neurosparse.analysis import ReceptiveFields, modulations, sparsity
from neurosparse.experiments.provenance import stat
from neurosparse.experiments.receptive_fields.learners import DictionarySnapshot

__all__ = ["code_quality", "field_modulations", "field_shapes", "over_seeds"]


def code_quality(snapshot: DictionarySnapshot, x: Tensor) -> dict[str, Any]:
    """Signal-to-noise ratio in dB, active fraction and sparseness of the codes of patches (samples, features)."""
    codes = snapshot.encode(x)
    left = float((x - codes @ snapshot.atoms).square().sum())
    found = sparsity(codes)
    lifetime, population = found.vinje_gallant.mean()
    return {
        "snr": 10 * math.log10(float(x.square().sum()) / left) if left > 0 else None,
        "active_fraction": float((codes != 0).double().mean()),
        "lifetime_sparseness": lifetime,
        "population_sparseness": population,
        "silent": found.silent_units,
    }


def field_shapes(fields: ReceptiveFields) -> dict[str, Any]:
    """Gabor fits of the atoms: shares that are localised, oriented, band-pass; coverage; distance to macaque cells."""
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


def field_modulations(atoms: Tensor, size: int, sound: tuple[float, float]) -> dict[str, Any]:
    """Spectro-temporal receptive fields of the atoms: medians over those that are not silent."""
    found = modulations(atoms, (size, size), *sound)
    names = ("rate", "scale", "separability")
    medians = {name: float(np.nanmedian(getattr(found, name))) for name in names}
    return medians | {"directional": float(np.nanmedian(np.abs(found.direction)))}


def over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means and deviations of numbers over seeds; everything else is that of the first seed."""
    numbers = {key for key, value in found[0].items() if value is None or isinstance(value, int | float)}
    tables = {key for key, value in found[0].items() if isinstance(value, Mapping)}
    rows = {key: stat(one[key] for one in found) for key in found[0] if key in numbers}
    rows |= {key: {name: stat(one[key][name] for one in found) for name in found[0][key]} for key in tables}
    return rows | {key: value for key, value in found[0].items() if key not in numbers | tables}
