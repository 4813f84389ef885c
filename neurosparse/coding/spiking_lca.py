"""Spiking LCA (Tang, Lin & Davies 2017): integrate-and-fire neurons whose firing rates converge to the code."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosparse.coding.solver import (
    CHECK_EVERY,
    Solution,
    Solver,
    SparseCodingProblem,
    Transmissions,
    certificate,
    no_cost,
)
from neurosparse.events.operation import Operation, operation
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timing import NANO, Timing
from neurosparse.kernels.spiking_lca import Spikes, fire

__all__ = ["TIME_CONSTANT", "SpikingLCA", "in_time"]

TIME_CONSTANT = 0.01  # seconds, of a synapse; the dynamics have no other unit of time, so it is a label only
NANOSECONDS = round(TIME_CONSTANT * NANO)


class SpikingLCA(Solver):
    """Integrate-and-fire neurons with lateral inhibition; a code is a firing rate.

    ``dv_i/dt = mu_i - lambda``, and a spike when v reaches lambda, which subtracts lambda. The current is ``mu_i = b_i
    - lambda sum_j (d_i . d_j - [i = j]) s_j``, where every spike of neuron j adds 1 to ``s_j`` and ``s_j`` decays with
    the time constant. A neuron of rate ``a_i / lambda`` (spikes per time constant) has the average current ``a_i +
    lambda``: the averages obey the optimality conditions of the non-negative LASSO, up to ``1 / T``. A signed
    coefficient is a pair of neurons, one for each sign.

    Spike times are exact: there is no time grid. The code is the rate over the second half of the time so far, without
    the transient; the certificate is computed after 10, 20, 40, ... time constants. Each certificate costs one dense
    product, everything between two of them only accumulates.

    Source: Tang, Lin & Davies (2017), "Sparse coding by spiking neural networks: convergence theory and computational
    results" (arXiv 1705.05475); the model: Shapero, Zhu, Hasler & Rozell (2014).
    """

    steps, unit = 1280, "time constants"
    tol = 1e-2
    penalties = ("l1", "nonnegative_l1", "elastic_net")
    sends = "spikes"

    def run(
        self, problem: SparseCodingProblem, warm_start: Tensor | None, tol: float, steps: int, record: bool
    ) -> Solution:
        weight, signed = problem.penalty.weight, problem.penalty.name != "nonnegative_l1"
        start = torch.zeros_like(problem.drive) if warm_start is None else warm_start
        # Inside, everything is in units of lambda, on the CPU and in float64: a spike is 1.
        weights = _pairs(problem, signed)
        drive, level = (_neurons(part.double().cpu() / weight, signed) for part in (problem.drive, start))
        level = level.clamp(min=0)
        membrane, inhibition = 0.5 * (level > 0), level @ weights
        codes, active = start.clone(), torch.arange(len(start))
        iterations, sent, now = torch.zeros_like(active), [], 0
        while now < steps and len(active):
            before, now = now, min(max(2 * now, CHECK_EVERY), steps)
            spikes = _fired(drive[active] - 1, weights, membrane, inhibition, now - before, record)
            if record:
                sent.append(_sent(spikes, active, (before, now), start.shape[1]))
            rate = spikes.counts * (weight / (now - before))
            a = (rate[:, : start.shape[1]] - rate[:, start.shape[1] :] if signed else rate).to(start)
            codes[active], iterations[active] = a, now
            part = problem.subset(active)
            left = (certificate(part, a, part.inhibit(a))[1] <= tol).logical_not().nonzero()[:, 0].cpu()
            active, membrane, inhibition = active[left], membrane[left], inhibition[left]
        return Solution(codes, iterations.to(start.device), active, _joined(sent, signed, start) if record else None)


def _neurons(a: Tensor, signed: bool) -> Tensor:
    """One neuron for each coefficient, or one for each sign of it."""
    return torch.cat([a, -a], 1) if signed else a


@operation(no_cost)
def _pairs(problem: SparseCodingProblem, signed: bool) -> Tensor:
    """Lateral weights ``D D^T + ridge - I`` of the atoms of the neurons: what a spike subtracts from each current."""
    assert problem.weights is not None  # SpikingLCA.convolves is False
    weights = problem.weights().double().cpu().clone()
    weights.diagonal().add_(1 + problem.penalty.ridge)
    weights = _neurons(_neurons(weights, signed).T, signed)
    weights.diagonal().sub_(1)
    return weights


def _cost(spikes: Spikes, drive: Tensor, weights: Tensor, *_: object) -> list[Operation]:
    """Every spike accumulates its row of weights and updates two states of every neuron (current, membrane)."""
    samples, neurons = drive.shape
    each = spikes.counts.sum(1)
    first = (each.cumsum(0) - each).repeat_interleave(each)
    neuron = torch.arange(neurons).repeat(samples).repeat_interleave(spikes.counts.flatten())
    where = torch.arange(len(neuron)) - first, torch.arange(samples).repeat_interleave(each), neuron
    size = {"shape": (int(each.max()) if samples else 0, samples, neurons), "lengths": each}
    events = EventTensor.from_aer(*where, axis="iteration", **size)
    return [
        Operation("linear", input=events, weight=weights.T),
        Operation("neuron", output=events, state_updates=2 * len(neuron) * neurons),
    ]


@operation(_cost)
def _fired(
    drive: Tensor, weights: Tensor, membrane: Tensor, inhibition: Tensor, duration: float, record: bool
) -> Spikes:
    return fire(drive, weights, membrane, inhibition, duration, record)


@operation(no_cost)
def _sent(spikes: Spikes, active: Tensor, span: tuple[int, int], atoms: int) -> tuple[Tensor, ...]:
    """Step (in time constants), position, sign of each spike, and nanoseconds after the start of the step."""
    sample, neuron, time = spikes.sent
    time, neuron = span[0] + time, neuron.long()
    step = time.long().clamp(max=span[1] - 1)
    offset = ((time - step) * NANOSECONDS).long().clamp(max=NANOSECONDS - 1)
    return step, active[sample] * atoms + neuron % atoms, 1 - 2 * (neuron >= atoms).long(), offset


@operation(no_cost)
def _joined(sent: list[tuple[Tensor, ...]], signed: bool, like: Tensor) -> Transmissions:
    nothing = (torch.empty(0, dtype=torch.int64),) * 4
    step, position, sign, offset = (torch.cat(parts).to(like.device) for parts in zip(nothing, *sent, strict=True))
    return Transmissions(step, position, sign.to(like.dtype) if signed else None, offset)


def in_time(sent: Transmissions, shape: tuple[int, ...], iterations: Tensor) -> EventTensor:
    """Spikes as events: axis "time", one step per time constant, exact to the nanosecond."""
    assert sent.offset is not None
    units = math.prod(shape[1:])
    row, index = sent.step * shape[0] + sent.position // max(units, 1), sent.position % max(units, 1)
    by_time = sent.offset.argsort(stable=True)
    order = by_time[(row * units + index)[by_time].argsort(stable=True)]
    value, steps = None if sent.value is None else sent.value[order], int(iterations.max()) if shape[0] else 0
    parts = {"row": row[order], "index": index[order].int(), "value": value, "offset": sent.offset[order]}
    dtype = torch.float32 if value is None else value.dtype
    timing = Timing("time", TIME_CONSTANT, 0.0, iterations)
    return EventTensor((steps, *shape), timing, dtype, binary=value is None, **parts)
