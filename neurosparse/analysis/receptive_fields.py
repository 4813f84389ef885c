"""Receptive fields of a dictionary: localised, oriented and band-pass shares, coverage, distance to macaque V1."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neurosparse.analysis.gabor import HALF, GaborFit, check_atoms, fit_gabor
from neurosparse.checks import si
from neurosparse.errors import InputError

__all__ = ["Coverage", "ReceptiveFields", "Shares", "macaque_cells", "macaque_distance", "receptive_fields"]

DESCRIBED = 0.25  # a Gabor function describes an atom if its residual is at most this share of the energy
LOCALISED = 0.5  # of the area
ORIENTED = math.radians(90)  # full width at half amplitude
RESULTANT = 0.5  # length of the resultant over twice the angle: 0 for all orientations alike, 1 for a single one
BAND_PASS = 0.5  # amplitude at frequency 0 over the largest
PADDED = 64  # frequencies along each axis of spectra and coverage


@dataclass(frozen=True)
class Shares:
    """Shares of all atoms, 0 to 1, of each property and of the three together."""

    localised: float
    oriented: float
    band_pass: float
    all_three: float


@dataclass(frozen=True)
class Coverage:
    """Shares that lie within the half-amplitude contour of at least one field.

    Args:
        position: of the pixels.
        frequency: of the Fourier plane between the least frequency of a fit and Nyquist's.
    """

    position: float
    frequency: float


@dataclass(frozen=True, repr=False, eq=False)
class ReceptiveFields:
    """The result of `receptive_fields`; ``print`` shows a table.

    Args:
        fit: the Gabor function of each atom.
        described: ``(atoms)``, whether the residual is at most a quarter of the energy of the atom, and the fit is not
            cut off (``GaborFit.cut_off``), as that of a single pixel is.
        by_fit: shares by the Gabor functions; an atom that is not described has no property.
        by_energy: shares by the energy of image and spectrum, without a Gabor function.
        coverage: of the described atoms.
        macaque: distance of the described atoms' ``(n_x, n_y)`` to those of macaque simple cells, octaves.
    """

    fit: GaborFit
    described: np.ndarray
    by_fit: Shares
    by_energy: Shares
    coverage: Coverage
    macaque: float

    def __repr__(self) -> str:
        pairs = [(name.replace("_", " "), getattr(self.by_fit, name), getattr(self.by_energy, name)) for name in SHARES]
        lines = [f"{name:22}{100 * fit:8.0f} %{100 * energy:8.0f} %" for name, fit, energy in pairs]
        rest = [
            f"{'described':22}{100 * self.described.mean():8.0f} %  leaving at most {DESCRIBED:.0%} of energy",
            f"{'positions covered':22}{100 * self.coverage.position:8.0f} %",
            f"{'frequencies covered':22}{100 * self.coverage.frequency:8.0f} %",
            f"{'distance to macaque':22}{self.macaque:8.2f} octaves in (n_x, n_y)",
        ]
        return "\n".join([f"{'':22}{'by fit':>10}{'by energy':>10}", *lines, *rest, "", repr(self.fit)])


SHARES = tuple(Shares.__annotations__)


def receptive_fields(atoms: Any, shape: tuple[int, int] | None = None) -> ReceptiveFields:
    """Receptive fields of a dictionary: Gabor fits, localised, oriented and band-pass shares, coverage, distance to
    macaque V1.

    ================  ==============================================  ===============================================
    an atom is        by its fit (if described)                       by its energy
    ================  ==============================================  ===============================================
    localised         half-amplitude ellipse within half of the area  root of the determinant of the covariance of the
                                                                      place of its energy at most half an even spread's
    oriented          orientation tuning at most 90 degrees wide      ``|sum P exp(2i angle)| >= sum P / 2``, power P
    band-pass         amplitude at frequency 0 below half the peak's  the same, read off the spectrum (atoms of patches
                                                                      without a mean have none there)
    ================  ==============================================  ===============================================

    Args:
        atoms: ``(atoms, features)``, tensor or array.
        shape: ``(height, width)`` of an atom; None: square.

    Raises:
        InputError: as `fit_gabor`.

    Example:
        >>> row, column = np.mgrid[:16, :16]
        >>> stripes = np.cos(2 * np.pi * 0.2 * (column - 7)) * np.exp(-((column - 7) ** 2 + (row - 8) ** 2) / 12)
        >>> found = receptive_fields(np.stack([stripes, 0 * stripes]).reshape(2, -1))
        >>> found.by_fit
        Shares(localised=0.5, oriented=0.5, band_pass=0.5, all_three=0.5)

    Source:
        Olshausen & Field 1996 (localised, oriented, band-pass; coverage); Ringach 2002 (macaque cells).
    """
    images, shape = check_atoms("receptive_fields", atoms, shape)
    fit = fit_gabor(images, shape)
    with np.errstate(invalid="ignore"):
        described = (fit.residual <= DESCRIBED) & ~fit.cut_off
        properties = (
            described & (2 * math.log(2) * math.pi * fit.sigma_x * fit.sigma_y <= LOCALISED * math.prod(shape)),
            described & (fit.orientation_bandwidth <= ORIENTED),
            described & np.isfinite(fit.bandwidth),
        )
    distance = macaque_distance(fit.n_x[described], fit.n_y[described]) if described.any() else math.nan
    by_energy = _shares(*_energy(images.cpu().numpy().reshape(-1, *shape)))
    return ReceptiveFields(fit, described, _shares(*properties), by_energy, _coverage(fit, described), distance)


def _shares(*properties: np.ndarray) -> Shares:
    return Shares(*(float(each.mean()) for each in (*properties, np.logical_and.reduce(properties))))


def _energy(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Localised, oriented, band-pass by the energy of image and spectrum; an atom of zeros is none of them."""
    n, *shape = images.shape
    energy = images**2 / np.maximum((images**2).sum((1, 2), keepdims=True), np.finfo(float).tiny)
    place = np.stack([axis.ravel() for axis in np.indices(shape)], 1)
    away = place - (energy.reshape(n, -1) @ place)[:, None]
    spread = np.einsum("np,npi,npj->nij", energy.reshape(n, -1), away, away)
    even = math.sqrt(math.prod((side**2 - 1) / 12 for side in shape))
    spectrum = np.abs(np.fft.fft2(images, (max(PADDED, shape[0]), max(PADDED, shape[1])))) ** 2
    vertical, horizontal = (np.fft.fftfreq(side) for side in spectrum.shape[1:])
    angle = np.arctan2(vertical[:, None], horizontal)
    # Frequencies above Nyquist's, in the corners, would favour the diagonals.
    power = spectrum * (np.hypot(vertical[:, None], horizontal) <= 0.5)
    nonzero = images.any((1, 2))
    localised = np.sqrt(np.maximum(np.linalg.det(spread), 0)) <= LOCALISED * even
    resultant = np.abs((power * np.exp(2j * angle)).sum((1, 2)))
    total = power[:, 1:].sum((1, 2)) + power[:, 0, 1:].sum(1)  # frequency 0 has no angle
    zero, peak = spectrum[:, 0, 0] ** 0.5, spectrum.max((1, 2)) ** 0.5
    return nonzero & localised, nonzero & (resultant >= RESULTANT * total), nonzero & (zero < BAND_PASS * peak)


def _coverage(fit: GaborFit, chosen: np.ndarray) -> Coverage:
    height, width = fit.shape
    theta, sigma_x, sigma_y = fit.theta[chosen], fit.sigma_x[chosen], fit.sigma_y[chosen]
    row, column = fit.centre[chosen].T
    rows, columns = np.indices((height, width)).reshape(2, -1)
    radius = math.sqrt(2 * math.log(2))
    pixels = _inside(columns[:, None] - column, row - rows[:, None], theta, radius * sigma_x, radius * sigma_y)
    right, up = np.meshgrid(
        np.fft.fftfreq(PADDED), np.fft.fftfreq(PADDED)[: PADDED // 2]
    )  # the other half is its mirror image
    inside = (np.hypot(right, up) <= 0.5) & (np.hypot(right, up) >= 0.25 / max(fit.shape))
    covered = np.zeros(int(inside.sum()), dtype=bool)
    for sign in (1, -1):
        there = right[inside][:, None] - sign * fit.peak_frequency[chosen] * np.cos(theta)
        above = up[inside][:, None] - sign * fit.peak_frequency[chosen] * np.sin(theta)
        covered |= _inside(there, above, theta, HALF / sigma_x, HALF / sigma_y).any(1)
    return Coverage(float(pixels.any(1).mean()), float(covered.mean()))


def _inside(right: np.ndarray, up: np.ndarray, theta: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Whether points lie in ellipses whose first axis points to theta."""
    x, y = right * np.cos(theta) + up * np.sin(theta), up * np.cos(theta) - right * np.sin(theta)
    return (x / along) ** 2 + (y / across) ** 2 <= 1


@cache
def macaque_cells() -> tuple[np.ndarray, np.ndarray]:
    """Simple cells of macaque V1 by ``(n_x, n_y)``: edges of the bins (the same for both) and counts ``[n_x, n_y]``.

    Source:
        Ringach 2002, binned by Dapello et al. 2020; ``macaque.csv``.
    """
    with Path(__file__).with_name("macaque.csv").open(newline="", encoding="utf-8") as table:
        cells = list(csv.DictReader(table))
    edges = sorted({float(cell[f"n_x_{end}"]) for cell in cells for end in ("low", "high")})
    counts = np.zeros((len(edges) - 1, len(edges) - 1))
    for cell in cells:
        counts[edges.index(float(cell["n_x_low"])), edges.index(float(cell["n_y_low"]))] = float(cell["cells"])
    return np.array(edges), counts


def macaque_distance(n_x: np.ndarray, n_y: np.ndarray) -> float:
    """Distance of fields to macaque simple cells: Wasserstein distance in the ``(n_x, n_y)`` plane, in octaves.

    The fields are binned as the cells were, in log2; unlike a comparison bin by bin, a near bin is a smaller distance
    than a far one. Bins of the same width continue above the highest edge; values below the lowest edge (0.1, a blob)
    are in the lowest bin. Two samples of one distribution have a distance above 0: about 0.2 octaves for 79 cells and
    500 fields drawn from these counts.

    Args:
        n_x, n_y: of at least one field, as in `GaborFit`.

    Raises:
        InputError: no field, or one that is negative or not finite.

    Example:
        >>> near, far = (macaque_distance(np.array([n]), np.array([n])) for n in (0.4, 3.0))
        >>> near < far
        True
    """
    from scipy.stats import wasserstein_distance_nd

    counts_x, counts_y = (
        si("macaque_distance", name, n, "plain numbers", finite=False) for name, n in (("n_x", n_x), ("n_y", n_y))
    )
    if counts_x.ndim != 1 or counts_x.shape != counts_y.shape:
        got = f"n_x of shape {counts_x.shape} and n_y of shape {counts_y.shape}"
        raise InputError("macaque_distance", got=got, expected="one of each per field")
    fields = np.stack([counts_x, counts_y], 1)
    if not len(fields) or not (np.isfinite(fields) & (fields >= 0)).all():
        fix = "Leave out atoms without a fit."
        raise InputError("macaque_distance", got=f"{len(fields)} fields", expected="n_x and n_y, 0 or more", fix=fix)
    edges, counts = macaque_cells()
    width = math.log2(edges[-1] / edges[0]) / len(counts)
    bins = np.floor(np.log2(np.maximum(fields / edges[0], 1)) / width)
    places, weights = np.unique(bins, axis=0, return_counts=True)
    cells = np.argwhere(counts)
    return float(wasserstein_distance_nd(places * width, cells * width, weights, counts[counts > 0]))
