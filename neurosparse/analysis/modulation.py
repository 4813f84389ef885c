"""Spectro-temporal receptive fields: best rate and scale, separability, and direction of sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosparse.analysis.gabor import check_atoms
from neurosparse.checks import positive

__all__ = ["Modulations", "modulations"]

PADDED = 128  # frequencies along each axis among which the peak is searched


@dataclass(frozen=True, repr=False, eq=False)
class Modulations:
    """The result of `modulations`, per atom; NaN for an atom of zeros. ``print`` shows a table.

    Args:
        rate: frequency of the peak along time, hertz, 0 or more.
        scale: frequency of the peak along the bands, cycles per unit of ``band``, 0 or more.
        separability: share of its energy in the best product of one function of time and one of frequency, up to 1.
        direction: energy of rising sweeps less that of falling ones, over both, -1 to 1.
    """

    rate: np.ndarray
    scale: np.ndarray
    separability: np.ndarray
    direction: np.ndarray

    def __repr__(self) -> str:
        lines = [f"{'':14}{'25 %':>10}{'median':>10}{'75 %':>10}"]
        for name, unit in {"rate": "Hz", "scale": "cycles", "separability": "", "direction": ""}.items():
            known = getattr(self, name)[np.isfinite(getattr(self, name))]
            quarters = np.quantile(known, [0.25, 0.5, 0.75]) if known.size else [np.nan] * 3
            lines.append(f"{name:14}{quarters[0]:10.3g}{quarters[1]:10.3g}{quarters[2]:10.3g} {unit}".rstrip())
        return "\n".join(lines)


def modulations(atoms: Any, shape: tuple[int, int], band: float, dt: float) -> Modulations:
    """Best rate and scale, separability and direction of spectro-temporal fields.

    Rate and scale are where the amplitude of the two-dimensional Fourier transform is largest, on 128 frequencies along
    each axis. With singular values ``s`` of the field, its separability is ``s_1^2 / sum s_k^2``. A sweep rises where
    rate and scale have opposite signs.

    Args:
        atoms: ``(atoms, features)``, tensor or array; bands from low to high, each with its steps.
        shape: ``(bands, steps)``.
        band: width of a band, in octaves, mel, kilohertz, or another unit of scale.
        dt: seconds per step.

    Raises:
        InputError: as `neurosparse.fit_gabor`, or a width that is not above 0.

    Example:
        >>> band, step = np.mgrid[:24, :24]
        >>> ripple = np.cos(2 * np.pi * (step / 8 - band / 12))  # 12.5 hertz, a cycle in 12 bands, rising
        >>> found = modulations(ripple.reshape(1, -1), (24, 24), band=0.25, dt=0.01)
        >>> found.rate.tolist(), found.scale.round(2).tolist(), (found.direction > 0.9).tolist()
        ([12.5], [0.34], [True])

    Source:
        Depireux, Simon, Klein & Shamma 2001 (separability, direction); Singh & Theunissen 2003 (modulation spectra).
    """
    images, (bands, steps) = check_atoms("modulations", atoms, shape)
    band, dt = positive("modulations", "band", band), positive("modulations", "dt", dt, unit="seconds")
    fields = images.cpu().double().numpy().reshape(-1, bands, steps)
    sides = max(PADDED, bands), max(PADDED, steps)
    power = np.abs(np.fft.fft2(fields, sides)) ** 2
    vertical, horizontal = np.fft.fftfreq(sides[0]), np.fft.fftfreq(sides[1])
    peak = power.reshape(len(power), -1).argmax(1)
    row, column = np.unravel_index(peak, sides)
    sign = np.sign(vertical[:, None] * horizontal)
    falling, rising = ((power * (sign == one)).sum((1, 2)) for one in (1, -1))
    singular = np.linalg.svd(fields, compute_uv=False) ** 2
    silent = ~fields.any((1, 2))
    with np.errstate(invalid="ignore"):
        found = (
            np.abs(horizontal[column]) / dt,
            np.abs(vertical[row]) / band,
            singular[:, 0] / singular.sum(1),
            (rising - falling) / (rising + falling),
        )
    return Modulations(*(np.where(silent, np.nan, each) for each in found))
