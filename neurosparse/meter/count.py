"""Operation counts of a recorded run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.tape import Tape

__all__ = ["count"]


def count(tape: Tape, strict: bool = False) -> OperationCounts:
    r"""Exact operation counts of a recorded run.

    Effective operations of a layer are pairs of a non-zero input and a non-zero weight, :math:`\sum_u n_u f_u`, where
    :math:`n_u` is the number of non-zero inputs of unit :math:`u` and :math:`f_u` its fan-out, the number of its
    non-zero weights (exact at the borders of a convolution).

    Args:
        tape: from :func:`record`.
        strict: raise if the operations of any function are not known.

    Returns:
        the counts, summed over the samples.

    Raises:
        InputError: nothing was recorded, or the recording still runs; or ``strict`` and a function is uncounted.

    Example:
        >>> from neurosparse.meter.record import record
        >>> from torch import nn, tensor
        >>> layer = nn.Linear(3, 2)
        >>> with record(layer) as tape:
        ...     _ = layer(tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]))
        >>> count(tape).rows[0]["effective_macs"]
        6

    Source: the definition of effective synaptic operations is that of NeuroBench (Yik et al. 2025), with spikes
        declared instead of guessed from values.
    """
    if not isinstance(tape, Tape):
        got, fix = f"a tape of type {type(tape).__name__}", "Pass the tape of `with ns.record(model) as tape`."
        raise InputError("count", got=got, expected="a Tape", fix=fix)
    if tape.running:
        fix = "Call ns.count(tape) after the `with` block."
        raise InputError("count", got="the tape of a recording that runs", expected="one that has ended", fix=fix)
    if not (tape.samples or tape.rows or tape.uncounted):
        fix = "Call the recorded model itself inside `with record(model)`, and not a compiled copy of it."
        raise InputError("count", got="an empty tape", expected="a model that ran", fix=fix)
    if strict and tape.uncounted:
        names = ", ".join(sorted({f"{function} in {layer}" for layer, function in tape.uncounted}))
        fix = "Express them by counted functions, or drop strict=True and report counts.uncounted."
        raise InputError("count", got=f"uncounted {names}", expected="countable operations only", fix=fix)
    rows = [_row(tape, key, columns) for key, columns in tape.rows.items()]
    rows += [{"layer": layer, "kind": "idle", **asdict(held)} for layer, held in tape.idle.items()]
    uncounted = ({"layer": layer, "function": name, "calls": calls} for (layer, name), calls in tape.uncounted.items())
    detail = {
        (layer, kind): cells.grids(tape.samples)
        for (layer, kind, phase), cells in tape.cells.items()
        if phase == "forward" and (layer, kind, phase) not in tape.unplaced
    }
    return OperationCounts(tuple(rows), tape.samples, tuple(uncounted), tape.suggestions(), detail)


def _row(tape: Tape, key: tuple[str, str, str], columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the counts with its distinct weights."""
    layer, kind, phase = key
    row = {**columns, "layer": layer, "kind": kind, "phase": phase, "active_cells": tape.active_cells(key)}
    row["bytes_read"] = columns.get("bytes_read", 0) + tape.weight_bytes(key)
    held = tape.weights.rows.get(key)
    if held is not None:
        row |= asdict(held)
    return row
