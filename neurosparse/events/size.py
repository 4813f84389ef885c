r"""Exact sizes of events in the storage formats of the field.

With ``n`` events, ``R`` rows that are data, ``U`` units and ``v`` bits per value (0 for unit spikes):

========  =====================================================================
dense     ``R U max(v, 1)``
bitmap    ``R U + n v``
aer       ``n (ceil log2 R + ceil log2 U + v)``
csr       ``(R + 1) ceil log2(n + 1) + n (ceil log2 U + v)``
rle       ``5 + b * tokens + n v``: sample by sample, the silent cells before each event and
          before the sample's end, in tokens of ``b`` bits (1 to 32, the best; 5 bits say which);
          the token ``2**b - 1`` means "that many, and more follows"
n:m       ``R ceil(U / m) n (ceil log2 m + v)``: of each ``m`` units ``n`` values and their places
========  =====================================================================

Sub-step times of recordings (their rle counts the cells from one event to the next, 0 where they share one) need
``ceil log2(nanoseconds per step)`` bits more per event; dense and bitmap cannot hold them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events.parts import EventParts
from neurosparse.events.reading import addresses
from neurosparse.events.timing import NANO, decimal

__all__ = ["address_bits", "bits"]


def address_bits(n: int) -> int:
    """``ceil log2 n``: bits of an index into ``n`` items."""
    return max(n - 1, 0).bit_length()


def bits(events: EventParts, format: str, value_bits: int | None = None) -> int:
    """Exact size of ``events`` in ``format``, in bits; ``value_bits`` where a value has fewer than its dtype."""
    n, rows, units, value = events.n_events, events.n_rows, events.n_units, events.value
    v = 0 if value is None else value.element_size() * 8 if value_bits is None else value_bits
    time = 0
    if events.offset is not None:
        if format in ("dense", "bitmap") or ":" in format:
            fix = "Bin them first, or use 'aer', 'csr' or 'rle'."
            raise InputError("EventTensor.bits", got=f"sub-step times in {format!r}", expected="a grid", fix=fix)
        time = address_bits(math.ceil(decimal(events.dt or 0.0) * NANO))
    if format == "dense":
        return rows * units * max(v, 1)
    if format == "bitmap":
        return rows * units + n * v
    if format == "aer":
        return n * (address_bits(rows) + address_bits(units) + v + time)
    if format == "csr":
        return (rows + 1) * address_bits(n + 1) + n * (address_bits(units) + v + time)
    if format == "rle":
        return _run_lengths(events) + n * (v + time)
    kept, _, group = format.partition(":")
    if kept.isdecimal() and group.isdecimal() and 0 < int(kept) < int(group):
        return rows * _groups(events, int(kept), int(group)) * int(kept) * (v + address_bits(int(group)))
    known = "'dense', 'bitmap', 'aer', 'csr', 'rle' or a pattern such as '2:4'"
    raise InputError("EventTensor.bits", got=f"{format!r}", expected=known)


def _groups(events: EventParts, kept: int, group: int) -> int:
    """Groups in a row, if none holds more than it may."""
    groups = -(-events.n_units // group)
    most = int(torch.bincount(events.row * groups + events.index.long() // group).max()) if events.n_events else 0
    if most > kept:
        got, fix = f"{most} events in {group} neighbouring units", "Prune to that pattern first."
        raise InputError("EventTensor.bits", got=got, expected=f"at most {kept} of {group}", fix=fix)
    return groups


def _run_lengths(events: EventParts) -> int:
    gaps = _gaps(events)
    return 5 + min(b * int((gaps.div(2**b - 1, rounding_mode="floor") + 1).sum()) for b in range(1, 33))


def _gaps(events: EventParts) -> Tensor:
    """Silent cells before each event and each sample's end: independent of order and padding of samples."""
    step, sample, unit, _ = addresses(events)
    lengths = events.lengths
    if lengths is None:
        lengths = torch.full((events.shape[1],), events.shape[0], device=step.device)
    owner, order = torch.sort(torch.cat([sample, torch.arange(len(lengths), device=step.device)]), stable=True)
    cell = torch.cat([step * events.n_units + unit, lengths * events.n_units])[order]
    taken = 0 if events.offset is not None else 1  # cells that an event uses up: events of a recording may share one
    before = torch.cat([cell.new_zeros(1), cell + taken])[:-1]
    first = torch.cat([owner.new_full((1,), -1), owner])[:-1] != owner
    return cell - before.masked_fill(first, 0)
