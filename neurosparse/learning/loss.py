"""Losses on firing rates, first-spike times, membranes and activity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import as_tensor, number, one_of, positive
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, dense_of, timing_of
from neurosparse.events.checks import silence_padding

__all__ = ["activity_loss", "first_spikes", "latency_loss", "membrane_loss", "rate_loss"]


def _classes(where: str, shape: tuple[int, ...], target: Tensor) -> Tensor:
    """The class of each sample, from whole numbers below the number of outputs."""
    target = as_tensor(where, "target", target, "the class of each sample")
    if len(shape) != 3 or target.shape != shape[1:2]:
        got = f"outputs {tuple(shape)} and targets {tuple(target.shape)}"
        swapped = len(shape) == 3 and target.shape == shape[:1]
        fix = "Time comes first: transpose(0, 1)." if swapped else "Time comes first; the target is one class a sample."
        raise InputError(where, got=got, expected="(steps, samples, classes) and (samples)", fix=fix)
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise InputError(where, got=f"targets of {target.dtype}", expected="whole numbers", fix="Pass target.long().")
    on_cpu = target.device.type == "cpu"  # of a GPU the range would have to be copied at each step
    if on_cpu and target.numel() and not (target.min() >= 0 and target.max() < shape[2]):
        got = f"targets from {int(target.min())} to {int(target.max())}"
        raise InputError(where, got=got, expected=f"0 to {shape[2] - 1}, one of {shape[2]} outputs")
    return target.long()


def rate_loss(spikes: EventTensor, target: Tensor) -> Tensor:
    """Cross entropy of firing rates: ``softmax`` over the classes' mean spikes per step.

    Args:
        spikes: of the output layer ``(steps, samples, classes)``.
        target: class of each sample ``(samples)``.

    Raises:
        InputError: other shapes.

    Example:
        >>> spikes = EventTensor.from_dense(torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]), spikes=True)
        >>> rate_loss(spikes, torch.tensor([0])).item() < rate_loss(spikes, torch.tensor([1])).item()
        True

    Source: Eshraghian et al. 2023, "Training spiking neural networks using lessons from deep learning", section 4.1.
    """
    target = _classes("rate_loss", tuple(spikes.shape), target)
    steps = spikes.shape[0] if spikes.lengths is None else spikes.lengths.clamp(min=1)[:, None]
    return F.cross_entropy(spikes.counts() / steps, target)


def first_spikes(spikes: EventTensor | Tensor) -> Tensor:
    """Step of each unit's first spike, and the sample's number of steps where it has none.

    ``T = sum over t of the product over k <= t of (1 - s[k])`` counts the steps before the first spike; it is smooth.
    Steps beyond a sample's length are left out.

    Args:
        spikes: ``(steps, samples, *units)``, 0 or 1.

    Returns:
        ``(samples, *units)`` with a gradient where there is a graph.

    Example:
        >>> first_spikes(torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])).tolist()
        [[1.0, 3.0]]
    """
    dense, timing = dense_of(spikes), timing_of(spikes)
    dense = dense.to(torch.get_default_dtype()) if dense.dtype == torch.bool else dense
    before = (1 - dense).cumprod(0)
    return before.sum(0) if timing is None else silence_padding(before, timing).sum(0)


def latency_loss(spikes: EventTensor | Tensor, target: Tensor, tau: float = 1.0) -> Tensor:
    """Cross entropy of first-spike times: ``softmax(-T / tau)``, so the class that fires first is the most probable.

    Args:
        spikes: of the output layer ``(steps, samples, classes)``.
        target: class of each sample ``(samples)``.
        tau: scale of differences in steps.

    Raises:
        InputError: other shapes, or tau not above 0.

    Example:
        >>> spikes = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> round(latency_loss(spikes, torch.tensor([0])).item(), 3)  # one step ahead: log(1 + 1/e)
        0.313

    Source: Mostafa 2017, "Supervised learning based on temporal coding in spiking neural networks".
    """
    target = _classes("latency_loss", tuple(spikes.shape), target)
    return F.cross_entropy(-first_spikes(spikes) / positive("latency_loss", "tau", tau), target)


def membrane_loss(membrane: Tensor, target: Tensor, over: str = "max") -> Tensor:
    """Cross entropy of a readout's membrane, at its maximum over time or on average.

    Args:
        membrane: ``(steps, samples, classes)``, of :class:`neurosparse.neurons.Readout` for example.
        target: class of each sample ``(samples)``.
        over: ``"max"``, ``"mean"`` or ``"last"``, taken over the steps that are data; a sample without steps has
            scores of 0.

    Raises:
        InputError: other shapes, or another ``over``.

    Example:
        >>> membrane = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
        >>> [round(membrane_loss(membrane, torch.tensor([0]), over).item(), 3) for over in ("max", "last")]
        [0.313, 1.313]

    Source: Cramer et al. 2022, "The Heidelberg spiking data sets", for the maximum over time.
    """
    target = _classes("membrane_loss", tuple(membrane.shape), target)
    one_of("membrane_loss", "over", over, ("max", "mean", "last"))
    membrane, timing = dense_of(membrane), timing_of(membrane)
    steps = torch.arange(len(membrane), device=membrane.device)[:, None]
    full = torch.full(target.shape, len(membrane), device=membrane.device)
    lengths = full if timing is None or timing.lengths is None else timing.lengths
    inside = (steps < lengths)[..., None]
    if over == "mean" or not len(membrane):
        scores = torch.where(inside, membrane, 0).sum(0) / lengths.clamp(min=1)[:, None]
    elif over == "max":
        scores = membrane.masked_fill(~inside, -torch.inf).amax(0)
    else:
        scores = membrane[(lengths - 1).clamp(min=0), torch.arange(len(lengths))]
    return F.cross_entropy(torch.where((lengths > 0)[:, None], scores, 0), target)


def activity_loss(spikes: EventTensor, target: float = 0.0) -> Tensor:
    """Squared distance of each unit's mean spikes per step from a target: a penalty on silent or very active units.

    Args:
        spikes: of a hidden layer ``(steps, samples, *units)``.
        target: spikes per step, 0 to 1.

    Raises:
        InputError: a target outside 0..1.

    Example:
        >>> activity_loss(EventTensor.from_dense(torch.ones(4, 1, 2), spikes=True), target=0.5).item()
        0.25

    Source: Zenke & Vogels 2021, "The remarkable robustness of surrogate gradient learning".
    """
    target = number("activity_loss", "target", target, 0, 1)
    steps = spikes.n_rows / max(spikes.shape[1], 1)
    return (spikes.counts().mean(0) / max(steps, 1) - target).square().mean()
