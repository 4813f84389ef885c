"""Sparsity statistics of responses: six measures, each as lifetime and as population sparseness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from neurosparse.checks import number
from neurosparse.errors import InputError
from neurosparse.events.checks import silence_padding
from neurosparse.events.show import html_table
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import dense_of
from neurosparse.events.timing import timing_of

__all__ = ["Mean", "Sparsity", "Statistic", "sparsity"]


EXPECTED = "events or real numbers (stimuli, units)"


class Mean(NamedTuple):
    """Means over units and over stimuli."""

    lifetime: float
    population: float


@dataclass(frozen=True)
class Statistic:
    """One statistic, float64: ``lifetime`` per unit (over stimuli) and ``population`` per stimulus (over units).

    NaN where it is undefined: for a unit without activity, and over a single unit.
    """

    lifetime: np.ndarray
    population: np.ndarray

    def mean(self) -> Mean:
        """Means over the defined values; NaN if there are none.

        Example:
            >>> Statistic(np.array([1.0, np.nan]), np.array([np.nan])).mean()
            Mean(lifetime=1.0, population=nan)
        """
        defined = (values[~np.isnan(values)] for values in (self.lifetime, self.population))
        return Mean(*(float(values.mean()) if values.size else float("nan") for values in defined))


@dataclass(frozen=True, repr=False)
class Sparsity:
    """Sparseness of magnitudes ``r``; lifetime and population differ in meaning (Willmore & Tolhurst 2001).

    * ``treves_rolls``: ``a = mean(r)^2 / mean(r^2)``, 1/n (one-hot) to 1 (constant);
    * ``vinje_gallant``: ``S = (1 - a) / (1 - 1/n)``, 0 (constant) to 1 (one-hot);
    * ``hoyer``: ``(sqrt(n) - sum(r) / sqrt(sum(r^2))) / (sqrt(n) - 1)``, 0 to 1;
    * ``gini``: ``1 - 2 sum_k r_(k) / sum(r) (n - k + 1/2) / n``, r ascending, 0 to 1 - 1/n;
    * ``kurtosis``: ``m4 / m2^2 - 3`` (excess); it saturates on codes with exact zeros, so report another one too;
    * ``active_fraction``: share of ``r > eps``.

    ``silent_units`` and ``silent_stimuli`` are the numbers of those without activity: their statistics are NaN, their
    active fraction 0.
    """

    treves_rolls: Statistic
    vinje_gallant: Statistic
    hoyer: Statistic
    gini: Statistic
    kurtosis: Statistic
    active_fraction: Statistic
    silent_units: int
    silent_stimuli: int
    eps: float

    def __repr__(self) -> str:
        rows = [f"{name:16}{lifetime:>10}{population:>12}" for name, lifetime, population in self._means()]
        return "\n".join([f"{'':16}{'lifetime':>10}{'population':>12}", *rows, self._silence()])

    def _repr_html_(self) -> str:
        return html_table("Mean sparseness", self._means(), ("", "lifetime", "population"), self._silence())

    def _means(self) -> list[tuple[str, str, str]]:
        """Means of each statistic over units and over stimuli, as text."""
        names = ("treves_rolls", "vinje_gallant", "hoyer", "gini", "kurtosis", "active_fraction")
        means = {name: getattr(self, name).mean() for name in names}
        return [(name, f"{mean.lifetime:.4g}", f"{mean.population:.4g}") for name, mean in means.items()]

    def _silence(self) -> str:
        return f"{self.silent_units} silent units, {self.silent_stimuli} silent stimuli, active means > {self.eps:g}"


def sparsity(x: EventTensor | torch.Tensor | np.ndarray, eps: float = 0.0) -> Sparsity:
    """Sparsity statistics of responses, over stimuli (lifetime) and over units (population).

    The magnitudes ``r`` are the spike counts of events (or sums of ``|value|`` of graded ones), or ``|x|`` of an array.
    Equations: `Sparsity`.

    Args:
        x: events or a timed tensor ``(steps, stimuli, *units)``, whose steps are summed, or an array
            ``(stimuli, *units)``; at least two stimuli. A recording is one stimulus until it is cut into bins.
        eps: magnitudes up to this are not active, 0 or more.

    Returns:
        six statistics, each with ``.lifetime`` (units), ``.population`` (stimuli) and ``.mean()``.

    Raises:
        InputError: fewer than two axes, one stimulus, no unit, NaN or infinite values, a negative ``eps``.

    Example:
        >>> s = sparsity(np.eye(4))
        >>> s.treves_rolls.mean().lifetime, s.vinje_gallant.mean().population, s.active_fraction.lifetime
        (0.25, 1.0, array([0.25, 0.25, 0.25, 0.25]))

    Source:
        Treves & Rolls 1991; Vinje & Gallant 2000; Hoyer 2004; Hurley & Rickard 2009 (Gini).
    """
    eps, r = number("sparsity", "eps", eps, 0), _magnitudes(x)
    if r.ndim < 2 or 0 in r.shape:
        fix = "Give at least one stimulus and one unit, stimuli first."
        raise InputError("sparsity", got=f"shape {r.shape}", expected="(stimuli, units)", fix=fix)
    if not np.isfinite(r).all():
        raise InputError("sparsity", got="NaN or infinity", expected="finite values", fix="Replace or drop them first.")
    if len(r) < 2:
        fix = "Take bins of a recording as stimuli: recording.bin(steps, on_collision='sum').dense()[:, 0]."
        raise InputError("sparsity", got="one stimulus", expected="responses to several stimuli", fix=fix)
    r = r.reshape(len(r), -1)
    silent = ~r.any(axis=0), ~r.any(axis=1)
    measures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "treves_rolls": _treves_rolls,
        "vinje_gallant": _vinje_gallant,
        "hoyer": _hoyer,
        "gini": _gini,
        "kurtosis": _kurtosis,
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        # Scaled to a maximum of one, so that no square overflows and a constant has exactly no variance.
        by_unit, by_stimulus = (rows / rows.max(axis=1, keepdims=True) for rows in (r.T, r))
        statistics: dict[str, Any] = {
            name: Statistic(measure(by_unit), measure(by_stimulus) if r.shape[1] > 1 else np.full(len(r), np.nan))
            for name, measure in measures.items()
        }
    active = Statistic((r > eps).mean(axis=0), (r > eps).mean(axis=1))
    return Sparsity(
        **statistics,
        active_fraction=active,
        silent_units=int(silent[0].sum()),
        silent_stimuli=int(silent[1].sum()),
        eps=eps,
    )


def _magnitudes(x: EventTensor | torch.Tensor | np.ndarray) -> np.ndarray:
    timing = timing_of(x)
    if timing is not None and not isinstance(x, EventTensor):  # a timed tensor: its steps are summed, too
        x = silence_padding(dense_of(x).abs(), timing).sum(0)
    if not isinstance(x, EventTensor):
        try:
            values = np.asarray(x.detach().cpu().double() if isinstance(x, torch.Tensor) else x)
        except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors without dense values
            raise InputError("sparsity", got=f"x of {type(x).__name__}", expected=EXPECTED) from None
        if values.dtype.kind not in "biuf":
            raise InputError("sparsity", got=f"values of type {values.dtype}", expected=EXPECTED)
        return np.abs(values.astype(float))
    _, samples, *units = x.shape
    width = int(np.prod(units))
    cell = (x.row.cpu() % samples) * width + x.index.cpu()
    size = torch.ones(len(cell), dtype=torch.float64) if x.value is None else x.value.detach().cpu().double().abs()
    return torch.zeros(samples * width, dtype=torch.float64).index_add_(0, cell, size).view(samples, width).numpy()


def _treves_rolls(r: np.ndarray) -> np.ndarray:
    return r.mean(axis=1) ** 2 / (r**2).mean(axis=1)


def _vinje_gallant(r: np.ndarray) -> np.ndarray:
    return (1 - _treves_rolls(r)) / np.float64(1 - 1 / r.shape[1])


def _hoyer(r: np.ndarray) -> np.ndarray:
    root = np.sqrt(r.shape[1])
    return (root - r.sum(axis=1) / np.sqrt((r**2).sum(axis=1))) / (root - 1)


def _gini(r: np.ndarray) -> np.ndarray:
    n = r.shape[1]
    share = np.sort(r, axis=1) / r.sum(axis=1, keepdims=True)
    return 1 - 2 * share @ (n - np.arange(1, n + 1) + 0.5) / n


def _kurtosis(r: np.ndarray) -> np.ndarray:
    centred = r - r.mean(axis=1, keepdims=True)
    return (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2 - 3
