r"""The scan back in time: gradients of the current, of constants, and of the weights that made the current.

Sample by sample, so that what is carried from step to step stays in cache. Each worker sums up gradients of constants;
rows of the current's gradient are taken in chunks for the gradient of weights, by their input events and by the spikes
that came back. With recurrent weights the gradient returns through them after each step, in one product over samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers
from neurosparse.kernels.rows import copy_row, values_of
from neurosparse.kernels.scan.cell import Constants, Learned, States, Switches
from neurosparse.kernels.scan.forward import TOGETHER, Kept, KeptArrays, width_of
from neurosparse.kernels.scan.step import ADAPTIVE, BOXCAR, GIVEN, SYNAPTIC, filter_row
from neurosparse.kernels.scan.step_back import (
    adapt_back,
    add_times,
    distances,
    lower_by_adaptation,
    membrane_back,
    membrane_back_held,
    read_slope,
    silence,
    silence_waiting,
    slopes,
    subtract_times,
    sum_decay,
    sum_size,
    sum_threshold,
    times,
)
from neurosparse.kernels.weight_grad import CHUNK, accumulate, add_scaled, from_blocks, join, sorting_buffers

__all__ = ["Gradients", "Scan", "one_step_if_equal", "scan_backward"]


class Scan(NamedTuple):
    """A scan that was made: its switches, constants and states as in the scan forward, what it kept, its events.

    ``slope``: of a surrogate that is a Python function, else empty. ``events``: the ``row_ptr``, ``index``, ``value``
    and the number of units of an input whose weights get a gradient too.
    """

    switches: Switches
    constants: list[Tensor]
    states: list[Tensor]
    lengths: Tensor
    kept: Kept
    slope: Tensor
    row_ptr: Tensor
    index: Tensor
    events: tuple[Tensor, Tensor, Tensor | None, int] | None = None


class Gradients(NamedTuple):
    """Of the current ``(rows, units)`` where it is kept, of the constants (empty where not learned), weight, bias."""

    current: Tensor
    constants: list[Tensor]
    weight: Tensor
    bias: Tensor


class _Totals(NamedTuple):
    """Sums of every worker ``(workers, units)``; empty where nothing learns."""

    beta: np.ndarray
    threshold: np.ndarray
    size: np.ndarray
    decay: np.ndarray
    strength: np.ndarray
    bias: np.ndarray
    workers: np.ndarray


class _Carry(NamedTuple):
    """Gradients of membrane and hidden state ``(samples, units)``, that of the spikes through recurrent weights, and
    the states before the first step.
    """

    membrane: np.ndarray
    hidden: np.ndarray
    returned: np.ndarray
    first_membrane: np.ndarray
    first_hidden: np.ndarray


class _WorkBack(NamedTuple):
    """Rows of every task to compute in."""

    slope: np.ndarray
    distance: np.ndarray
    to_distance: np.ndarray
    to_membrane: np.ndarray


class _Table(NamedTuple):
    """Events and the gradient ``(tasks, in, width)`` of the weights that they pass, with memory to sort them in."""

    row_ptr: np.ndarray
    index: np.ndarray
    value: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    order: np.ndarray
    scales: np.ndarray


class _Chunk(NamedTuple):
    """Rows of every task whose gradients wait for the gradient of weights, and their places in ``store``."""

    rows: np.ndarray
    places: np.ndarray
    store: np.ndarray


@kernel
def _slope(t, b, lo, hi, slope, kept, constants, switches, needs_distance, rows, task):
    """Slope, and where it is needed the distance to threshold, of one row."""
    n, limit, code = hi - lo, constants.threshold[lo:hi], kept.code[t, b, lo:hi]
    found, distance = rows.slope[task, :n], rows.distance[task, :n]
    if needs_distance:
        distances(distance, kept.membrane[t, b, lo:hi], limit)
        if switches.dynamics == ADAPTIVE:
            lower_by_adaptation(distance, kept.hidden[t, b, lo:hi], constants.strength[lo:hi])
    if switches.shape == BOXCAR:
        read_slope(found, code, constants.height[lo:hi])
        return
    if switches.shape == GIVEN:
        copy_row(found, slope[t, b, lo:hi])
    else:
        slopes(found, distance, constants.size[lo:hi], switches.shape)
    if switches.waits:
        silence_waiting(found, code)


@kernel
def _step_back(t, b, lo, hi, worker, task, grad, slope, kept, constants, switches, carry, totals, rows, to_input):
    """One row: its gradient ``to_input`` of the current, and what it adds to those of constants."""
    n, dynamics = hi - lo, switches.dynamics
    code, carried, hidden = kept.code[t, b, lo:hi], carry.membrane[b, lo:hi], carry.hidden[b, lo:hi]
    found, distance, to_distance = rows.slope[task, :n], rows.distance[task, :n], rows.to_distance[task, :n]
    sums_size = totals.size.shape[0] > 0
    _slope(t, b, lo, hi, slope, kept, constants, switches, sums_size or switches.shape > BOXCAR, rows, task)
    times(to_distance, grad, found)
    if carry.returned.shape[0] > 0:
        add_times(to_distance, carry.returned[b], found)
    if dynamics == ADAPTIVE:
        add_times(to_distance, hidden, found)
        adapt_back(hidden, to_distance, constants.decay[lo:hi], constants.strength[lo:hi])
        if totals.strength.shape[0] > 0:
            subtract_times(totals.strength[worker, lo:hi], to_distance, kept.hidden[t, b, lo:hi])
    if sums_size:
        sum_size(totals.size[worker, lo:hi], to_distance, distance, constants.size[lo:hi], switches.shape)
    if totals.threshold.shape[0] > 0:
        total = totals.threshold[worker, lo:hi]
        sum_threshold(total, to_distance, code, carried, switches.reset, switches.delayed)
    to_membrane = rows.to_membrane[task, :n] if dynamics == SYNAPTIC else to_input
    if switches.delayed or switches.waits:
        reset = switches.reset
        membrane_back_held(to_distance, code, constants.beta[lo:hi], carried, to_membrane, reset, switches.delayed)
    else:
        membrane_back(to_distance, code, constants.beta[lo:hi], carried, to_membrane, switches.reset)
    if totals.beta.shape[0] > 0:
        _sum_beta(t, b, lo, hi, totals.beta[worker, lo:hi], to_membrane, kept, constants, switches, carry)
    if dynamics == SYNAPTIC:
        filter_row(hidden, to_membrane, constants.decay[lo:hi], to_input)
    if totals.decay.shape[0] > 0:
        before = kept.hidden[t - 1, b, lo:hi] if t > 0 else carry.first_hidden[b, lo:hi]
        add_times(totals.decay[worker, lo:hi], to_input if dynamics == SYNAPTIC else hidden, before)


@kernel
def _sum_beta(t, b, lo, hi, total, to_membrane, kept, constants, switches, carry):
    if t == 0:
        add_times(total, to_membrane, carry.first_membrane[b, lo:hi])
    else:
        before, code = kept.membrane[t - 1, b, lo:hi], kept.code[t - 1, b, lo:hi]
        sum_decay(total, to_membrane, before, code, constants.threshold[lo:hi], switches.reset, switches.delayed)


@kernel
def _accumulate(table, task, lo, rows, places, store):
    found = (table.row_ptr, table.index, table.value, table.starts[task], table.order[task], table.scales[task])
    accumulate(table.weights[task], store, lo, rows, places, *found)


@kernel
def _flush(n, first, samples, task, lo, inputs, loop, chunk):
    """Gradients of weights from the rows that wait; a first step had no spikes before it."""
    rows, places = chunk.rows[task, :n], chunk.places[task, :n]
    if inputs.weights.shape[0] > 0:
        _accumulate(inputs, task, lo, rows, places, chunk.store)
    if loop.weights.shape[0] > 0 and first > 0:
        for i in range(n):
            rows[i] -= samples
        _accumulate(loop, task, lo, rows, places, chunk.store)


@kernel
def _task_back(
    task, worker, lo, hi, first, stop, grad, moves, slope, kept, constants, switches, carry, totals, rows, inputs, loop,
    chunk, lengths, keep,
):  # fmt: skip
    """The samples of one worker, in one block of units."""
    samples, n_workers, n = lengths.shape[0], totals.workers.shape[0], np.int64(0)
    returns, one = carry.returned.shape[0] > 0, constants.beta.dtype.type(1)
    together = max(min((samples + n_workers - 1) // n_workers, TOGETHER), 1)
    for group in range(worker * together, samples, n_workers * together):
        for back in range(stop - first):
            t = stop - 1 - back
            for b in range(group, min(group + together, samples)):
                r = t * samples + b
                place = r if keep else b if returns else task * chunk.rows.shape[1] + n
                to_input = chunk.store[place, lo:hi]
                if t >= lengths[b]:
                    if keep or returns:
                        silence(to_input)
                    continue
                row = grad[t * moves, b, lo:hi]
                _step_back(
                    t, b, lo, hi, worker, task, row, slope, kept, constants, switches, carry, totals, rows, to_input
                )
                if totals.bias.shape[0] > 0:
                    add_scaled(totals.bias[worker, lo:hi], to_input, one)
                chunk.rows[task, n] = r
                chunk.places[task, n] = place
                n += 1
                if n == chunk.rows.shape[1]:
                    _flush(n, first, samples, task, lo, inputs, loop, chunk)
                    n = np.int64(0)
    _flush(n, first, samples, task, lo, inputs, loop, chunk)


@kernel
def _backward_loop(
    first, stop, grad, moves, slope, kept, constants, switches, carry, totals, rows, inputs, loop, chunk, lengths, keep
):
    """Steps ``stop - 1`` down to ``first``; one step at a time where weights are recurrent."""
    n_workers, units, width = totals.workers.shape[0], constants.beta.shape[0], rows.slope.shape[1]
    for task in prange(rows.slope.shape[0]):
        lo = task // n_workers * width
        _task_back(
            task, task % n_workers, lo, min(lo + width, units), first, stop, grad, moves, slope, kept, constants,
            switches, carry, totals, rows, inputs, loop, chunk, lengths, keep,
        )  # fmt: skip


def one_step_if_equal(grad: Tensor) -> Tensor:
    """Gradients that are the same memory at every step (of counts, of a mean) shrink to one step."""
    return (grad[:1] if grad.stride(0) == 0 else grad).contiguous()


def _table(events: tuple[Tensor, Tensor, Tensor | None, int] | None, like: Tensor, tasks: int, width: int) -> _Table:
    if events is None:
        none, no_rows = like.new_empty(0).numpy(), np.empty(0, np.int32)
        buffers = no_rows[None], no_rows[None], none[None]
        return _Table(np.empty(0, np.int64), no_rows, none, np.empty((0, 0, 0), none.dtype), *buffers)
    row_ptr, index, value, n_in = events
    weights = like.new_zeros(tasks, n_in, width)
    arrays = row_ptr.numpy(), index.numpy(), values_of(value, like), weights.numpy()
    return _Table(*arrays, *sorting_buffers(row_ptr, value, weights))


def scan_backward(grad: Tensor, scan: Scan, learned: list[bool], keep_current: bool) -> Gradients:
    """Gradients from that of the spikes ``(steps, samples, units)``; ``learned`` in the order of :class:`Learned`."""
    steps, samples, units = grad.shape
    constants, learns, start = Learned(*scan.constants), Learned(*learned), States(*scan.states)
    like, recurrent = constants.beta, len(constants.recurrent) > 0
    width, n_workers = width_of(units, recurrent), workers()
    blocks = max(-(-units // width), 1)
    tasks = blocks * n_workers
    summed = learns.beta, learns.threshold, learns.size, learns.decay, learns.strength, scan.events is not None
    sums = [like.new_zeros((n_workers, units) if needed else (0, 0)) for needed in summed]
    bias_of_loop = like.new_zeros(units) if learns.recurrent_bias else like.new_empty(0)
    places = steps * samples if keep_current else samples if recurrent else tasks * CHUNK
    store = like.new_empty(places, blocks * width)  # the last block writes past the units it has
    carried, hidden = torch.zeros_like(start.membrane), torch.zeros_like(start.hidden)
    returned = like.new_zeros((samples, units) if recurrent else (0, 0))
    carry = (carried, hidden, returned, start.membrane.contiguous(), start.hidden.contiguous())
    grad = one_step_if_equal(grad)
    inputs = _table(scan.events, like, tasks, width)
    loop = _table((scan.row_ptr, scan.index, None, units) if learns.recurrent else None, like, tasks, width)
    arrays = (
        scan.slope.numpy(),
        KeptArrays(*(part.numpy() for part in scan.kept)),
        Constants.of(scan.constants),
        scan.switches,
        _Carry(*(part.numpy() for part in carry)),
        _Totals(*(part.numpy() for part in [*sums, torch.empty(n_workers)])),
        _WorkBack(*like.new_empty(4, tasks, width).numpy()),
        inputs,
        loop,
        _Chunk(np.empty((tasks, CHUNK), np.int64), np.empty((tasks, CHUNK), np.int64), store.numpy()),
        scan.lengths.numpy(),
        keep_current,
    )
    moves = int(len(grad) == steps)
    rows = like.new_zeros(samples, units)
    for stop in range(steps, 0, -1) if recurrent else [steps]:
        first = stop - 1 if recurrent else 0
        _backward_loop(first, stop, grad.numpy(), moves, *arrays)
        if recurrent:
            rows = (store[first * samples : stop * samples] if keep_current else store)[:, :units]
            torch.mm(rows, constants.recurrent, out=returned)
            if learns.recurrent_bias:
                bias_of_loop += rows.sum(0)
    *of_units, to_bias = [part.sum(0) if len(part) else like.new_empty(0) for part in sums]
    weight_of_loop = like.new_empty(0, 0)
    if learns.recurrent:
        weight_of_loop = from_blocks(join(torch.from_numpy(loop.weights), n_workers), units)
        weight_of_loop.addmm_(rows.t(), start.sent)  # of the first step, whose spikes were given
    weight = like.new_empty(0, 0)
    if scan.events is not None:
        weight = from_blocks(join(torch.from_numpy(inputs.weights), n_workers), units)
    current = store[:, :units].contiguous() if keep_current else store[:0, :units]
    return Gradients(current, [*of_units, weight_of_loop, bias_of_loop], weight, to_bias)
