"""Gabor fits of receptive fields (Jones & Palmer 1987): the nearest Gabor function of each atom and its properties."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.analysis.gabor_fit import best_fits, limits, waves
from neurosparse.checks import tensor, whole
from neurosparse.errors import InputError
from neurosparse.events.show import html_table

__all__ = ["HALF", "GaborFit", "check_atoms", "fit_gabor"]

HALF = math.sqrt(2 * math.log(2)) / (2 * math.pi)  # half width at half amplitude of a Gaussian's spectrum, x sigma
CHUNK = 2**18  # atoms x pixels that are fitted at once
TUNING = 4096  # frequencies at which a tuning curve is evaluated
NOISE = 1e-6  # an atom that varies by less than this part of its norm is constant to float32


@dataclass(frozen=True, repr=False, eq=False)
class GaborFit:
    """The Gabor function nearest to each atom, float64; NaN where an atom is zero or constant.

    ``amplitude exp(-x'^2 / (2 sigma_x^2) - y'^2 / (2 sigma_y^2)) cos(2 pi frequency x' + phase)``, where ``x'`` runs
    along the wave vector, across the stripes, and ``y'`` along the stripes (Ringach 2002).

    A field of less than about 0.15 cycles per ``sigma_x`` does not determine ``frequency``: an edge is fitted as well
    by half of it and twice the amplitude. Derived properties therefore use ``peak_frequency``, which is determined, and
    equals ``frequency`` within 12 % from 0.2 cycles on, 2 % from 0.25.

    Args:
        centre: ``(atoms, 2)`` row and column, pixels; the first pixel is at (0, 0).
        sigma_x, sigma_y: of the envelope across and along the stripes, pixels.
        theta: direction of the wave vector in radians, 0 to pi, counter-clockwise; 0: vertical stripes.
        frequency: cycles per pixel.
        phase: radians, -pi to pi, at the centre; 0: even, pi / 2: odd.
        amplitude: in the unit of the atom, positive.
        residual: share of the energy of the atom that is not explained.
        shape: ``(height, width)``.
    """

    centre: np.ndarray
    sigma_x: np.ndarray
    sigma_y: np.ndarray
    theta: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    amplitude: np.ndarray
    residual: np.ndarray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.residual)

    @cached_property
    def _tuning(self) -> np.ndarray:
        """Peak, lower and upper half of the spectrum along the wave vector, cycles per pixel: ``(3, atoms)``.

        Per ``sigma_x``: ``|exp(i phase) g(k - n) + exp(-i phase) g(k + n)|`` with ``g(k) = exp(-2 pi^2 k^2)``.
        """
        n = (self.sigma_x * self.frequency)[:, None]
        k = np.linspace(0, 1, TUNING) * (n + 0.5)
        near, far = (np.exp(-2 * (math.pi * (k + sign * n)) ** 2) for sign in (-1, 1))
        power = near**2 + far**2 + 2 * near * far * np.cos(2 * self.phase)[:, None]
        inside = power >= power.max(1, keepdims=True) / 4
        places = power.argmax(1), inside.argmax(1), TUNING - 1 - inside[:, ::-1].argmax(1)
        return np.stack([k[np.arange(len(self)), place] for place in places]) / self.sigma_x

    @property
    def peak_frequency(self) -> np.ndarray:
        """Where the spectrum of the fitted function is largest, cycles per pixel; 0 for a blob."""
        return self._tuning[0]

    @property
    def n_x(self) -> np.ndarray:
        """``sigma_x`` in cycles of the peak frequency: grows with the number of subfields."""
        return self.sigma_x * self.peak_frequency

    @property
    def n_y(self) -> np.ndarray:
        """``sigma_y`` in cycles of the peak frequency: the length of the subfields."""
        return self.sigma_y * self.peak_frequency

    @property
    def aspect(self) -> np.ndarray:
        """``sigma_y / sigma_x``."""
        return self.sigma_y / self.sigma_x

    @property
    def orientation(self) -> np.ndarray:
        """Of the stripes, radians from the horizontal, 0 to pi, counter-clockwise."""
        return (self.theta + math.pi / 2) % math.pi

    @property
    def bandwidth(self) -> np.ndarray:
        """Full width of the spatial-frequency tuning at half amplitude, octaves; infinite if it reaches frequency 0."""
        with np.errstate(divide="ignore"):
            return np.log2(self._tuning[2] / self._tuning[1])

    @property
    def orientation_bandwidth(self) -> np.ndarray:
        """Full width of the orientation tuning at half amplitude, radians."""
        return 2 * np.arctan2(HALF, self.n_y)

    @property
    def at_limit(self) -> np.ndarray:
        """Whether sigma, frequency or centre is at a limit of the search: such a number is a bound."""
        low, high = (limit.numpy() for limit in limits(self.shape))
        found = _parameters(self)
        return np.any((found <= low + 1e-9) | (found >= high - 1e-9), axis=1)

    @property
    def cut_off(self) -> np.ndarray:
        """Whether the narrowest sigma, the border of the atom or Nyquist's frequency stopped the search: pixels do not
        determine such a Gabor function. At the other limits are functions of the family: gratings, blobs and edges."""
        low, high = (limit.numpy() for limit in limits(self.shape))
        found = _parameters(self)
        border = (found[:, :2] <= low[:2] + 1e-9) | (found[:, :2] >= high[:2] - 1e-9)
        return border.any(1) | (found[:, 2:4] <= low[2:4] + 1e-9).any(1) | (found[:, 5] >= high[5] - 1e-9)

    @property
    def n_unfitted(self) -> int:
        """Number of atoms that are zero or constant."""
        return int(np.isnan(self.residual).sum())

    def fields(self) -> np.ndarray:
        """The fitted functions ``(atoms, features)``; NaN where there is none."""
        basis = waves(torch.from_numpy(_parameters(self)), self.shape)[2].numpy()
        weights = self.amplitude[:, None] * np.stack([np.cos(self.phase), -np.sin(self.phase)], 1)
        return np.einsum("nk,nkp->np", weights, basis)

    def __repr__(self) -> str:
        title, head, rows = self._summary()
        lines = [f"{name:22}{''.join(f'{cell:>9}' for cell in cells)}  {unit}" for name, *cells, unit in rows]
        return "\n".join([title, f"{'':22}{''.join(f'{cell:>9}' for cell in head[1:4])}", *lines])

    def _repr_html_(self) -> str:
        title, head, rows = self._summary()
        return html_table(title, rows, head)

    def _summary(self) -> tuple[str, list[str], list[list[str]]]:
        """What was fitted; and deciles and median of each property over the fitted atoms, with its unit."""
        properties = {
            "residual": (self.residual, "share of energy"),
            "peak frequency": (self.peak_frequency, "cycles per pixel"),
            "bandwidth": (self.bandwidth, "octaves"),
            "orientation bandwidth": (np.degrees(self.orientation_bandwidth), "degrees"),
            "aspect": (self.aspect, "sigma_y / sigma_x"),
            "n_x": (self.n_x, "cycles"),
            "n_y": (self.n_y, "cycles"),
        }
        height, width = self.shape
        title = f"{len(self)} atoms of {height} x {width}, {self.n_unfitted} without a fit"
        title += f", {self.at_limit.sum()} at a limit"
        rows = []
        for name, (values, unit) in properties.items():
            known = np.sort(values[~np.isnan(values)])  # by rank: infinities have no mean
            levels = [known[round(q * (known.size - 1))] if known.size else math.nan for q in (0.1, 0.5, 0.9)]
            rows.append([name, *(f"{level:.3g}" for level in levels), unit])
        return title, ["", "10 %", "median", "90 %", "unit"], rows


def _parameters(fit: GaborFit) -> np.ndarray:
    logs = [np.log(fit.sigma_x), np.log(fit.sigma_y), fit.theta, np.log(fit.frequency)]
    return np.column_stack([fit.centre, *logs])


def fit_gabor(atoms: Any, shape: tuple[int, int] | None = None) -> GaborFit:
    """Fit a two-dimensional Gabor function to every atom, all at once.

    Least squares over eight parameters (`GaborFit`). Amplitude and phase are solved for; Levenberg-Marquardt finds the
    others in float64, from several starts that a coarse bank of Gabor functions suggests. Limits: centres within the
    atom, sigmas from half a pixel to its longer side, frequencies from a quarter of a cycle along that side to half a
    cycle per pixel (Nyquist).

    Args:
        atoms: ``(atoms, features)``, tensor or array; a tensor is fitted on its device.
        shape: ``(height, width)`` of an atom; None: square.

    Returns:
        one fit per atom, the best of the starts; a better local minimum may exist.

    Raises:
        InputError: NaN or infinity, not two axes, features that do not fill ``shape``, fewer than 9 pixels.

    Example:
        >>> row, column = np.mgrid[:16, :16]
        >>> stripes = np.cos(2 * np.pi * 0.2 * (column - 7)) * np.exp(-((column - 7) ** 2 + (row - 8) ** 2) / 18)
        >>> fit = fit_gabor(stripes.reshape(1, -1))
        >>> fit.frequency.round(3), fit.sigma_x.round(3), bool(fit.residual[0] < 1e-6)
        (array([0.2]), array([3.]), True)

    Source:
        Jones & Palmer 1987 (Gabor fits of receptive fields); Ringach 2002 (n_x and n_y).
    """
    images, shape = check_atoms("fit_gabor", atoms, shape)
    norm = images.norm(dim=1)
    varies = (images - images.mean(1, keepdim=True)).norm(dim=1) > NOISE * norm
    unit = images[varies] / norm[varies, None]
    found = images.new_full((len(images), 9), math.nan)
    parts = [best_fits(part, shape) for part in unit.split(max(1, CHUNK // images.shape[1]))]
    if len(unit):
        p, amplitude, residual = (torch.cat(column) for column in zip(*parts, strict=True))
        found[varies] = torch.cat([p, amplitude * norm[varies, None], residual[:, None]], 1)
    row, column, log_x, log_y, theta, log_f, cosine, sine, residual = found.cpu().numpy().T
    turns = np.floor(theta / math.pi)
    theta = theta - turns * math.pi
    whole = theta >= math.pi  # just below a half turn, to rounding
    theta, turned = np.where(whole, 0.0, theta), (turns + whole) % 2 == 1  # half a turn more: the wave runs backwards
    return GaborFit(
        centre=np.stack([row, column], 1),
        sigma_x=np.exp(log_x),
        sigma_y=np.exp(log_y),
        theta=theta,
        frequency=np.exp(log_f),
        phase=np.arctan2(np.where(turned, sine, -sine), cosine),
        amplitude=np.hypot(cosine, sine),
        residual=residual,
        shape=shape,
    )


def check_atoms(where: str, atoms: Any, shape: tuple[int, int] | None) -> tuple[Tensor, tuple[int, int]]:
    """Atoms as float64 ``(atoms, features)`` and the shape of one."""
    images = tensor(where, "atoms", atoms, "atoms, features", "Flatten each atom.").detach().double()
    if not images.numel():
        raise InputError(where, got=f"atoms of shape {tuple(images.shape)}", expected="at least one atom and feature")
    side = math.isqrt(images.shape[1])
    shape = (side, side) if shape is None else shape
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise InputError(where, got=f"shape={shape!r}", expected="(height, width)")
    height, width = (whole(where, "shape", extent) for extent in shape)
    if height * width != images.shape[1] or min(height, width) < 3:
        got = f"{images.shape[1]} features and shape {(height, width)}"
        expected = "height x width = features, each at least 3"
        raise InputError(where, got=got, expected=expected, fix="Pass shape=(height, width).")
    return images, (height, width)
