r"""The scan forward: the neurons of a layer over all steps of a sample, from a dense current or from input events.

The reference is `neurosparse.kernels.scan.reference.scan_reference`. One sample at a time, so that its state stays in
cache: the current of a step is read, or made from the weight rows of its events; recurrent spikes add theirs; the
neurons leak, fire and reset; the events are emitted without a search through a dense tensor. Of every step the scan
keeps what backward reads (:class:`Kept`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.kernels.dispatch import block_width, kernel, prange, workers
from neurosparse.kernels.event_linear import add_events
from neurosparse.kernels.rows import copy_row, values_of
from neurosparse.kernels.scan.cell import Constants, Learned, Start, States, Switches
from neurosparse.kernels.scan.reference import refuse_nan
from neurosparse.kernels.scan.step import (
    ADAPTIVE,
    SYNAPTIC,
    adapt,
    add_row,
    count_fired,
    emit,
    filter_row,
    fire,
    has_nan,
    hold,
    leak,
    mark_due,
    raise_threshold,
    reset_late,
    reset_row,
    spikes_of,
    wait,
)
from neurosparse.kernels.weight_grad import to_blocks

__all__ = [
    "Kept",
    "KeptArrays",
    "Scanned",
    "Source",
    "dense_source",
    "event_source",
    "kept_buffers",
    "scan_forward",
    "width_of",
]


TOGETHER = 8  # samples that pass a step together: their rows lie side by side in memory, their states stay in cache


class Source(NamedTuple):
    """Where the current comes from: a dense one ``(steps, samples, units)``, or events, weights in blocks and bias."""

    current: np.ndarray
    row_ptr: np.ndarray
    index: np.ndarray
    value: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


class Kept(NamedTuple):
    """What backward reads ``(steps, samples, units)``: codes, membranes, hidden states; empty where it does not."""

    code: Tensor
    membrane: Tensor
    hidden: Tensor


class KeptArrays(NamedTuple):
    code: np.ndarray
    membrane: np.ndarray
    hidden: np.ndarray


class _Work(NamedTuple):
    """Rows of every task to compute in, the units that fired last, and no values; ``words``: the memory of ``code``."""

    code: np.ndarray
    words: np.ndarray
    membrane: np.ndarray
    drive: np.ndarray
    returning: np.ndarray
    level: np.ndarray
    sent: np.ndarray
    none: np.ndarray


@kernel
def _current(row, r, block, lo, hi, source):
    """The current of one row of a block, from its events."""
    copy_row(row, source.bias[lo:hi])
    add_events(row, source.row_ptr[r], source.row_ptr[r + 1], source.index, source.value, source.weights[block])


@kernel
def _returning(row, t, b, n_sent, constants, start, sent, none):
    """The recurrent current of one row, from the units that fired in the step before."""
    if t == 0:
        copy_row(row, start.returning[b])
    else:
        copy_row(row, constants.bias)
        add_events(row, 0, n_sent, sent, none, constants.weights)


@kernel
def _fire(u, v, level, limit, size, code, switches, waiting):
    """Spikes of one row from its membranes ``u``, and the membrane after them in ``v``."""
    fire(code, u, level, size, switches.closed)
    if waiting.shape[0] > 0:
        wait(code, waiting, switches.refractory)
    if switches.delayed:
        mark_due(code, v, limit)
    reset_row(v, u, code, limit, switches.reset, switches.delayed)


@kernel
def _step(t, b, task, block, lo, hi, source, constants, switches, start, kept, counts, rows):
    """One step of one sample and block. Returns whether a NaN was in a membrane that may be lost."""
    samples, n, bad, dense = counts.shape[2], hi - lo, False, source.current.shape[0] > 0
    v, waiting = start.membrane[b, lo:hi], start.waiting[b, lo:hi]  # empty where there is none
    beta, limit, size = constants.beta[lo:hi], constants.threshold[lo:hi], constants.size[lo:hi]
    row, back, raised = rows.drive[task, :n], rows.returning[task, :n], rows.level[task, :n]
    loop, waits, dynamics = constants.weights.shape[0] > 0, waiting.shape[0] > 0, switches.dynamics
    code = kept.code[t, b, lo:hi]
    u = kept.membrane[t, b, lo:hi] if switches.keeps_membrane else rows.membrane[task, :n]
    drive, level = source.current[t, b, lo:hi] if dense else row, limit
    if not dense:
        _current(row, t * samples + b, block, lo, hi, source)
    if loop:
        _returning(back, t, b, counts[0, t - 1, b], constants, start, rows.sent[b], rows.none)
        if dynamics:
            add_row(back, drive)
            drive = back
    if dynamics == SYNAPTIC:
        filter_row(start.hidden[b, lo:hi], drive, constants.decay[lo:hi], raised)
        drive = raised
    elif dynamics == ADAPTIVE:
        adapt(start.hidden[b, lo:hi], start.sent[b, lo:hi], constants.decay[lo:hi])
        raise_threshold(raised, limit, constants.strength[lo:hi], start.hidden[b, lo:hi])
        level = raised
    if switches.keeps_hidden:
        copy_row(kept.hidden[t, b, lo:hi], start.hidden[b, lo:hi])
    leak(u, v, drive, beta)
    if loop and not dynamics:
        add_row(u, back)
    if waits or switches.delayed:  # both may drop a NaN before the end
        bad |= has_nan(u)
    if switches.delayed:
        reset_late(u, v, limit, switches.reset)
    if waits:
        hold(u, v, waiting)
    _fire(u, v, level, limit, size, code, switches, waiting)
    if dynamics == ADAPTIVE:
        spikes_of(code, start.sent[b, lo:hi])
    if loop:
        copy_row(rows.code[task, :n], code)
        emit(rows.words[task], rows.sent[b], 0, 0)
    counts[block, t, b] = count_fired(code)
    return bad


@kernel
def _silence(kept, t, b, lo, hi):
    """Nothing happens in padding; rows that are not kept are empty."""
    code, membrane, hidden = kept.code[t, b, lo:hi], kept.membrane[t, b, lo:hi], kept.hidden[t, b, lo:hi]
    for k in range(code.shape[0]):
        code[k] = 0
    for k in range(membrane.shape[0]):
        membrane[k] = 0
    for k in range(hidden.shape[0]):
        hidden[k] = 0


@kernel
def _task(task, n_workers, source, constants, switches, start, kept, counts, rows, lengths, wrong):
    """The samples of one worker, in one block of units."""
    steps, samples, width = counts.shape[1], counts.shape[2], rows.code.shape[1]
    block = task // n_workers
    lo, hi = block * width, min((block + 1) * width, constants.beta.shape[0])
    together = max(min((samples + n_workers - 1) // n_workers, TOGETHER), 1)
    for first in range(task % n_workers * together, samples, n_workers * together):
        for t in range(steps):
            for b in range(first, min(first + together, samples)):
                if t < lengths[b]:
                    bad = _step(t, b, task, block, lo, hi, source, constants, switches, start, kept, counts, rows)
                    wrong[task] |= bad
                else:
                    _silence(kept, t, b, lo, hi)


@kernel
def _forward_loop(n_workers, source, constants, switches, start, kept, counts, rows, lengths, wrong):
    """Scan every block of units for every worker's samples; ``counts[block, t, b]`` spikes of each row."""
    for task in prange(rows.code.shape[0]):
        _task(task, n_workers, source, constants, switches, start, kept, counts, rows, lengths, wrong)


@kernel
def _emit_rows(worker, code, row_ptr, code_rows, word_rows, index):
    units = code.shape[1]
    for r in range(worker, code.shape[0], code_rows.shape[0]):
        if row_ptr[r + 1] > row_ptr[r]:
            copy_row(code_rows[worker, :units], code[r])
            emit(word_rows[worker], index, row_ptr[r], 0)


@kernel
def _emit_loop(code, row_ptr, code_rows, word_rows, index):
    """The units that fired in each row."""
    for worker in prange(code_rows.shape[0]):
        _emit_rows(worker, code, row_ptr, code_rows, word_rows, index)


def _code_rows(rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows of codes, of which those beyond the last unit stay silent, and the same memory as words of eight units."""
    code = torch.zeros(rows, -(-width // 8) * 8, dtype=torch.uint8)
    return code, code.view(torch.uint64)


def emitted(code: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """``(row_ptr, index)`` of codes ``(steps, samples, units)`` with ``counts`` spikes in each block, step, sample."""
    row_ptr = torch.cat([counts.new_zeros(1), counts.sum(0).flatten().cumsum(0)])
    index = torch.empty(int(row_ptr[-1]), dtype=torch.int32)
    if not code.numel():  # memory without bytes has no words
        return row_ptr, index
    parts = (code.flatten(0, 1), row_ptr, *_code_rows(workers(), code.shape[2]), index)
    _emit_loop(*(part.numpy() for part in parts))
    return row_ptr, index


def dense_source(current: Tensor) -> Source:
    """A dense current ``(steps, samples, units)``."""
    none, no_rows = current.new_empty(0).numpy(), torch.empty(0, dtype=torch.int64).numpy()
    weights = current.new_empty(0, 0, 0).numpy()
    return Source(current.contiguous().numpy(), no_rows, no_rows.astype(np.int32), none, weights, none)


def event_source(
    row_ptr: Tensor, index: Tensor, value: Tensor | None, weight: Tensor, bias: Tensor | None, width: int
) -> Source:
    """Events times weights ``(units, in)``, plus a bias, in blocks of ``width`` units."""
    bias = weight.new_zeros(len(weight)) if bias is None else bias.contiguous()
    value = torch.from_numpy(values_of(value, weight))
    parts = (weight.new_empty(0, 0, 0), row_ptr, index, value, to_blocks(weight, width), bias)
    return Source(*(part.numpy() for part in parts))


def width_of(units: int, recurrent: bool) -> int:
    """Units that are computed together: all of a recurrent layer, whose units need the spikes of all."""
    return -(-max(units, 1) // 16) * 16 if recurrent else block_width(units)


def kept_buffers(like: Tensor, shape: list[int], switches: Switches) -> Kept:
    """Empty tensors for what backward reads."""
    code = torch.empty(shape, dtype=torch.uint8)
    floats = (
        like.new_empty(shape if keeps else [*shape[:2], 0])
        for keeps in (switches.keeps_membrane, switches.keeps_hidden)
    )
    return Kept(code, *floats)


class Scanned(NamedTuple):
    """Events, what backward reads, and the states after the last step as they are in :class:`Start`."""

    row_ptr: Tensor
    index: Tensor
    kept: Kept
    membrane: Tensor
    hidden: Tensor
    waiting: Tensor


def scan_forward(
    source: Source, steps: int, constants: list[Tensor], states: list[Tensor], lengths: Tensor, switches: Switches
) -> Scanned:
    """The scan of a current; constants in the order of :class:`Learned`, states in that of :class:`States`."""
    beta, *_, weight, bias = Learned(*constants)
    membrane, hidden, sent, waiting = States(*(state.contiguous().clone() for state in states))
    (samples, units), width = membrane.shape, width_of(len(beta), len(weight) > 0)
    returning = beta.new_empty(0, 0)
    if len(weight):
        returning = torch.nn.functional.linear(sent, weight, bias if len(bias) else None).contiguous()
    kept = kept_buffers(beta, [steps, samples, units], switches)
    blocks = max(-(-units // width), 1)  # without units one empty block
    counts, tasks = torch.zeros(blocks, steps, samples, dtype=torch.int64), blocks * workers()
    fired = torch.empty(samples if len(weight) else 0, width, dtype=torch.int32)
    rows = (*_code_rows(tasks, width), *beta.new_empty(4, tasks, width), fired, beta.new_empty(0))
    start = Start(*(part.numpy() for part in (membrane, hidden, sent, waiting, returning)))
    wrong = np.zeros(tasks, np.bool_)
    _forward_loop(
        workers(),
        source,
        Constants.of(constants),
        switches,
        start,
        KeptArrays(*(part.numpy() for part in kept)),
        counts.numpy(),
        _Work(*(part.numpy() for part in rows)),
        lengths.numpy(),
        wrong,
    )
    refuse_nan(membrane.new_full((), np.nan) if wrong.any() else membrane)
    return Scanned(*emitted(kept.code, counts), kept, membrane, hidden, waiting)
