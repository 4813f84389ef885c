"""Spike-triggered average and spike-triggered covariance of a stimulus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosparse.checks import tensor, whole
from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import dense_of

__all__ = ["SpikeTriggeredCovariance", "spike_triggered_average", "spike_triggered_covariance"]

WINDOWS = 2**14  # windows in memory at once
RANK = 1e-9  # directions of a smaller part of the largest variance of the stimulus are left out


def spike_triggered_average(events: EventTensor, stimulus: Tensor, steps: int) -> Tensor:
    """Mean stimulus in the ``steps`` up to and including the step of a spike.

    ``STA[unit, s] = sum n[t, unit] stimulus[t - steps + 1 + s] / sum n[t, unit]`` over every step ``t`` whose window
    lies within the recording, with ``n`` spikes (or the value of a graded event). For Gaussian white noise and a neuron
    that filters and then rectifies, it is proportional to the filter.

    Args:
        events: ``(steps, samples, *units)``; several events of a cell each count.
        stimulus: ``(steps, samples, *features)``, shown at the same steps.
        steps: length of the window.

    Returns:
        ``(*units, steps, *features)``, float64, in order of time: the last is the step of the spike. NaN where a unit
        has no spike with a whole window.

    Raises:
        InputError: other steps or samples than the events, NaN, a window longer than the recording, negative counts.

    Example:
        >>> stimulus = torch.arange(5.0)[:, None, None]
        >>> spikes = EventTensor.from_dense(torch.tensor([True, False, True, True, False])[:, None, None])
        >>> spike_triggered_average(spikes, stimulus, 2).flatten().tolist()  # the first spike has no whole window
        [1.5, 2.5]

    Source:
        de Boer & Kuyper 1968; Chichilnisky 2001.
    """
    row, unit, weight, shown, steps = _aligned("spike_triggered_average", events, stimulus, steps)
    samples, units = events.shape[1], events.n_units
    total = shown.new_zeros(units).index_add_(0, unit, weight)
    sums = []
    for back in reversed(range(steps)):
        place = torch.stack([unit, row - back * samples])
        spikes = torch.sparse_coo_tensor(place, weight, (units, len(shown)), check_invariants=True)
        sums.append(torch.sparse.mm(spikes, shown))
    average = torch.stack(sums, 1) / total[:, None, None]
    return average.view(*events.shape[2:], steps, *np.shape(stimulus)[2:])


@dataclass(frozen=True, repr=False, eq=False)
class SpikeTriggeredCovariance:
    """Covariance of the windows before spikes, and of all windows; a window is ``(steps, *features)``, flat.

    Args:
        covariance: ``(units, window, window)``; NaN where there are fewer than two spikes.
        prior: ``(window, window)`` of the stimulus.
        spikes: ``(units)``, number of spikes with a whole window.
        shape: ``(steps, *features)``.
    """

    covariance: Tensor
    prior: Tensor
    spikes: Tensor
    shape: tuple[int, ...]

    def axes(self, unit: int = 0) -> tuple[Tensor, Tensor]:
        """Generalised eigenvectors of both covariances: ``C w = ratio P w``.

        A ratio above 1 is excitation of either sign (an axis of an energy model), one below 1 suppression. Directions
        without variance of the stimulus are left out.

        Returns:
            ratios, descending, and filters ``(ratios, steps, *features)`` of unit norm.
        """
        if not self.covariance[unit].isfinite().all():
            fix = "Record longer or choose another unit."
            got = f"{float(self.spikes[unit]):g} spikes of unit {unit}"
            raise InputError("SpikeTriggeredCovariance.axes", got=got, expected="at least 2", fix=fix)
        variance, direction = torch.linalg.eigh(self.prior)
        there = variance > RANK * variance[-1]
        whiten = direction[:, there] / variance[there].sqrt()
        ratio, axis = torch.linalg.eigh(whiten.T @ self.covariance[unit] @ whiten)
        filters = torch.nn.functional.normalize((whiten @ axis).T.flip(0))
        return ratio.flip(0), filters.view(-1, *self.shape)

    def __repr__(self) -> str:
        window = " x ".join(str(n) for n in self.shape)
        return f"SpikeTriggeredCovariance({len(self.spikes)} units, {int(self.spikes.sum())} spikes, window {window})"


def spike_triggered_covariance(events: EventTensor, stimulus: Tensor, steps: int) -> SpikeTriggeredCovariance:
    """Covariance of the stimulus in the ``steps`` up to and including the step of a spike.

    ``C = sum n (s - STA) (s - STA)^T / (sum n - 1)`` over the windows ``s`` with ``n`` spikes, and the same with
    ``n = 1`` for all whole windows of the stimulus, the prior ``P``. They differ along the filters of the neuron
    (`axes`).

    Args:
        events: ``(steps, samples, *units)``; several events of a cell each count.
        stimulus: ``(steps, samples, *features)``, shown at the same steps.
        steps: length of the window.

    Returns:
        the covariances of every unit (units flat) and of the stimulus.

    Raises:
        InputError: as `spike_triggered_average`.

    Example:
        >>> stimulus = torch.randn(4000, 1, 3, generator=torch.Generator().manual_seed(0))
        >>> energy = EventTensor.from_dense(stimulus[:, :, :1].abs() > 1.5)  # spikes for either sign
        >>> ratio, filters = spike_triggered_covariance(energy, stimulus, 1).axes()
        >>> filters[0].abs().round(decimals=1).tolist(), bool(ratio[0] > 3)
        ([[1.0, 0.0, 0.0]], True)

    Source:
        de Ruyter van Steveninck & Bialek 1988; Schwartz, Pillow, Rust & Simoncelli 2006.
    """
    row, unit, weight, shown, steps = _aligned("spike_triggered_covariance", events, stimulus, steps)
    samples = events.shape[1]
    every = torch.arange((steps - 1) * samples, len(shown), device=shown.device)
    if events.lengths is not None:
        every = every[every // samples < events.lengths[every % samples]]
    prior = _covariance(shown, every, shown.new_ones(len(every)), steps, samples)
    order = unit.argsort(stable=True)
    sizes = unit.bincount(minlength=events.n_units).tolist()
    parts = zip(row[order].split(sizes), weight[order].split(sizes), strict=True)
    covariance = torch.stack([_covariance(shown, *part, steps, samples) for part in parts])
    spikes = shown.new_zeros(events.n_units).index_add_(0, unit, weight)
    return SpikeTriggeredCovariance(covariance, prior, spikes, (steps, *np.shape(stimulus)[2:]))


def _aligned(
    where: str, events: EventTensor, stimulus: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Row, unit and weight of every event with a whole window, the stimulus ``(rows, features)``, the steps."""
    if not isinstance(events, EventTensor):
        raise InputError(where, got=f"events of type {type(events).__name__}", expected="an EventTensor")
    stimulus = dense_of(stimulus)
    axes = getattr(stimulus, "ndim", 3)
    axes = axes if isinstance(axes, int) else 3
    stimulus = tensor(where, "stimulus", stimulus, ", ".join(["steps", "samples", *["features"] * (axes - 2)]))
    if stimulus.shape[:2] != events.shape[:2]:
        got, fix = f"a stimulus of {tuple(stimulus.shape)}", "Give the stimulus of every step and sample."
        expected = f"{tuple(events.shape[:2])} as the events, then features"
        raise InputError(where, got=got, expected=expected, fix=fix)
    longest = events.shape[0] if events.lengths is None else int(events.lengths.max())
    steps = whole(where, "steps", steps, 1, longest, "Shorten the window.")
    shown = stimulus.detach().double().reshape(events.shape[0] * events.shape[1], -1)
    weight = torch.ones_like(events.row) if events.value is None else events.value.detach()
    if (weight < 0).any():
        fix = "Split positive and negative events."
        raise InputError(where, got="negative values", expected="counts, 0 or more", fix=fix)
    inside = events.row >= (steps - 1) * events.shape[1]
    return events.row[inside], events.index[inside].long(), weight[inside].to(shown), shown, steps


def _covariance(shown: Tensor, row: Tensor, weight: Tensor, steps: int, samples: int) -> Tensor:
    """Covariance of the windows that end at these rows, with these weights."""
    back = torch.arange(steps - 1, -1, -1, device=shown.device) * samples
    middle = shown.mean(0).repeat(steps)  # subtracted first, so that a large mean loses no digits
    size = len(middle)
    first, second = shown.new_zeros(size), shown.new_zeros(size, size)
    for rows, n in zip(row.split(WINDOWS), weight.split(WINDOWS), strict=True):
        window = shown[rows[:, None] - back].flatten(1) - middle
        first += n @ window
        second += window.T @ (n[:, None] * window)
    total = weight.sum()
    if total <= 1:
        return torch.full_like(second, torch.nan)
    return (second - torch.outer(first, first) / total) / (total - 1)
