"""Operation counts of a network: exact integers, one row per layer and kind of operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from neurosparse.errors import InputError
from neurosparse.events.operation import worst_leak

__all__ = ["COUNTS", "PROPERTIES", "SYNAPTIC", "CountGrid", "OperationCounts"]

#: Kinds of rows that multiply and accumulate; the others are scalar operations.
SYNAPTIC = ("linear", "conv", "matmul", "embedding")
#: Columns that are sums over samples; the others describe the layer.
COUNTS = (
    "dense_ops",
    "effective_macs",
    "effective_acs",
    "skipped_zero_inputs",
    "skipped_zero_weights",
    "bias_adds",
    "state_updates",
    "comparisons",
    "elementwise",
    "spikes_out",
    "input_cells",
    "input_events",
    "routed_events",
    "output_cells",
    "charged_rows",
    "constant_rows",
    "active_cells",
    "bytes_read",
    "bytes_written",
)
PROPERTIES = (
    "weights",
    "nonzero_weights",
    "shared_weights",
    "shared_nonzero_weights",
    "weight_bits",
    "input_bits",
    "output_bits",
    "state_bits",
)
STATE_BITS = 32  # of a neuron that declares no other number
SHOWN = ("dense_ops", "effective_macs", "effective_acs", "state_updates", "comparisons", "elementwise")
SHOWN += ("spikes_out", "bytes_read", "bytes_written")


class CountGrid:
    """Sums of int64 counts by step and sample; the grid grows with the largest step and sample.

    Example:
        >>> grid = CountGrid()
        >>> grid.add("dense_ops", torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.tensor([4, 5, 6]))
        >>> grid.columns["dense_ops"].tolist()
        [[4, 0], [5, 6]]
    """

    def __init__(self) -> None:
        self.columns: dict[str, Tensor] = {}

    def add(self, column: str, step: Tensor, sample: Tensor, amount: Tensor) -> None:
        """Add amounts at (step, sample); a cell may occur more than once."""
        if not len(step):
            return
        old = self.columns.get(column, torch.zeros(0, 0, dtype=torch.int64))
        shape = [max(size, int(index.max()) + 1) for size, index in zip(old.shape, (step, sample), strict=True)]
        grid = torch.zeros(shape, dtype=torch.int64)
        grid[: old.shape[0], : old.shape[1]] = old
        self.columns[column] = grid.index_put_((step, sample), amount.cpu().long(), accumulate=True)

    def grids(self, samples: int) -> dict[str, Tensor]:
        """All columns, each ``(steps, samples)``."""
        steps = max(len(grid) for grid in self.columns.values())
        return {
            name: pad(grid, (0, samples - grid.shape[1], 0, steps - grid.shape[0]))
            for name, grid in self.columns.items()
        }


@dataclass(frozen=True, repr=False)
class OperationCounts:
    """Exact operation counts of a recorded run, summed over its samples.

    A row is a mapping with ``layer`` and ``kind`` (``linear``, ``conv``, ``matmul`` of two signals, ``embedding``;
    ``neuron``, ``compare``, ``elementwise``), and

    * ``dense_ops``: multiply-accumulates if no zero is skipped (zero padding of a convolution is not counted);
    * ``effective_macs``, ``effective_acs``: pairs of a non-zero input and a non-zero weight; accumulates (ACs) where
      the inputs are spikes, multiply-accumulates (MACs) otherwise;
    * ``skipped_zero_inputs``, ``skipped_zero_weights``: dense operations whose input, or whose weight, is zero; those
      with both zero are in both columns;
    * ``bias_adds``, ``state_updates``, ``comparisons``, ``elementwise``: scalar operations;
    * ``spikes_out``: spikes of the neurons; ``active_cells``: number of steps times the number of (sample, unit) cells
      that fired at least once;
    * ``input_cells``, ``input_events`` (non-zero input cells), ``routed_events`` (spikes into this layer),
      ``output_cells``, ``charged_rows`` (computed pairs of a step and a sample);
    * ``bytes_read``, ``bytes_written``: compulsory traffic, each operand once per sample, neuron states once per
      update, of an embedding the rows that are looked up;
    * ``constant_rows``: rows that were not computed, because their input was declared to be constant;
    * ``weights``, ``nonzero_weights`` (of a matmul: the second signal, per sample), ``shared_weights`` and
      ``shared_nonzero_weights`` (those that an earlier row holds too), ``weight_bits``, ``input_bits``,
      ``output_bits``: properties of the layer, not summed over samples;
    * ``state_bits`` of a neuron's state, and ``leak``, the arithmetic of its decay as it ran: ``"none"`` (a decay of
      exactly 1), ``"shift"`` (exactly ``1 - 2^-k``), ``"multiply"``, or None if it is not known;
    * ``phase``: ``forward``, ``backward`` or ``update``. A row of kind ``idle`` has weights that no operation read.

    Args:
        rows: one mapping per layer and kind, in order of first use.
        samples: number of samples that the rows are sums over.
        uncounted: ``layer, function, calls`` of all functions whose operations are not known.
        suggestions: ``layer, producer, argument`` of layers whose inputs were 0 and 1 in all calls without being
            declared spikes, and the argument of :func:`neurosparse.record` that declares them, or ``ns.spikes(x)``
            for a tensor that its module does not return.
        detail: after ``record(..., detail=True)``, by (layer, kind): int64 tensors ``(steps, samples)`` that sum to the
            columns of the row, for ``dense_ops``, effective operations, ``input_events``, ``spikes_out`` and scalar
            work. A layer that runs again in one call counts as the next step. Rows whose operations mix steps and
            samples (heads folded into the batch, lookups) are left out.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=12, effective_acs=5)
        >>> both = OperationCounts((row,), samples=2) + OperationCounts((row,), samples=2)
        >>> both.rows[0]["dense_ops"], both.per_sample[0]["effective_acs"], both.totals["effective_acs"]
        (24, 2.5, 10)
    """

    rows: tuple[Mapping[str, Any], ...]
    samples: int
    uncounted: tuple[Mapping[str, Any], ...] = ()
    suggestions: tuple[Mapping[str, str], ...] = ()
    detail: Mapping[tuple[str, str], Mapping[str, Tensor]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple({**_blank(row.get("kind", "")), **row} for row in self.rows))

    @property
    def per_sample(self) -> tuple[dict[str, Any], ...]:
        """The rows with their counts divided by the number of samples."""
        return tuple({**row, **{name: row[name] / max(self.samples, 1) for name in COUNTS}} for row in self.rows)

    @property
    def totals(self) -> dict[str, int]:
        """Counts summed over the rows; distinct weights and non-zero weights of the model, idle ones included."""
        weighted = [row for row in self.rows if row["kind"] != "matmul" and row["phase"] == "forward"]
        counts = {name: sum(row[name] for row in self.rows) for name in COUNTS}
        names = ("weights", "nonzero_weights")
        return counts | {name: sum(row[name] - row[f"shared_{name}"] for row in weighted) for name in names}

    def to_json(self) -> dict[str, Any]:
        """The counts as plain values for a file, without zeros and defaults and without `detail`.

        `from_json` returns equal counts, of which :func:`neurosparse.estimate` is the same to the last bit.

        Example:
            >>> OperationCounts((dict(layer="fc", kind="linear", dense_ops=12),), samples=2).to_json()
            {'samples': 2, 'rows': [{'layer': 'fc', 'kind': 'linear', 'dense_ops': 12}]}
        """
        found: dict[str, Any] = {"samples": self.samples, "rows": [_short(row) for row in self.rows]}
        notes = {"uncounted": self.uncounted, "suggestions": self.suggestions}
        return found | {name: [dict(entry) for entry in entries] for name, entries in notes.items() if entries}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OperationCounts:
        """The inverse of :meth:`to_json`.

        Raises:
            InputError: something else.

        Example:
            >>> counts = OperationCounts((dict(layer="fc", kind="linear", dense_ops=12),), samples=2)
            >>> OperationCounts.from_json(counts.to_json()) == counts
            True
        """
        if not isinstance(data, Mapping) or not {"samples", "rows"} <= set(data):
            got = f"keys {sorted(data)}" if isinstance(data, Mapping) else f"data of type {type(data).__name__}"
            raise InputError("OperationCounts.from_json", got=got, expected="samples and rows, as to_json writes them")
        uncounted, suggestions = (tuple(data.get(name, ())) for name in ("uncounted", "suggestions"))
        return cls(tuple(data["rows"]), data["samples"], uncounted, suggestions)

    def __add__(self, other: OperationCounts) -> OperationCounts:
        """Counts of two runs of one model together: rows of the same layer and kind are summed."""
        if not isinstance(other, OperationCounts):
            return NotImplemented
        rows = {(row["layer"], row["kind"], row["phase"]): dict(row) for row in self.rows}
        partly = {row["layer"] for row in (*self.rows, *other.rows) if row["kind"] == "idle"}
        for row in other.rows:
            key = (row["layer"], row["kind"], row["phase"])
            rows[key] = _joined(rows[key], row, row["layer"] in partly) if key in rows else dict(row)
        calls = {(entry["layer"], entry["function"]): dict(entry) for entry in self.uncounted}
        for entry in other.uncounted:
            known = calls.get((entry["layer"], entry["function"]), {"calls": 0})
            calls[entry["layer"], entry["function"]] = {**entry, "calls": entry["calls"] + known["calls"]}
        keys = dict.fromkeys((layer, kind) for layer, kind, _ in rows)
        detail = {
            key: _side_by_side(self, other, key) for key in keys if _has_detail(self, key) and _has_detail(other, key)
        }
        samples, suggestions = self.samples + other.samples, _in_both(self, other)
        return OperationCounts(_with_idle(rows, self, other), samples, tuple(calls.values()), suggestions, detail)

    def __radd__(self, other: Any) -> OperationCounts:
        """The start of a ``sum`` of counts."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        header, *body = _table(self)
        widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
        pad = [zip(line, widths, strict=True) for line in [header, *body]]
        lines = ["  ".join(cell.rjust(width) for cell, width in line) for line in pad]
        notes = [f"NOT COUNTED: {_uncounted(self)}"] if self.uncounted else []
        notes += [_suggestion(entry) for entry in self.suggestions]
        return "\n".join([f"Operation counts of {self.samples} samples, per sample:", *lines, *notes])

    def _repr_html_(self) -> str:
        header, *body = _table(self)
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
        warning = f'<p style="color:red"><b>Not counted:</b> {escape(_uncounted(self))}</p>' if self.uncounted else ""
        warning += "".join(f"<p>{escape(_suggestion(entry))}</p>" for entry in self.suggestions)
        return f"<table><caption>{self.samples} samples, per sample</caption><tr>{head}</tr>{lines}</table>{warning}"


def _blank(kind: str) -> dict[str, Any]:
    """A row without operations."""
    words = {"layer": "", "kind": kind, "phase": "forward", "leak": None}
    return words | dict.fromkeys(COUNTS + PROPERTIES, 0) | {"state_bits": STATE_BITS if kind == "neuron" else 0}


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without zeros and defaults, with Python's own numbers."""
    blank = _blank("") | {"state_bits": _blank(row["kind"])["state_bits"]}
    kept = {name: value for name, value in row.items() if name not in blank or value != blank[name]}
    return {name: value.item() if hasattr(value, "item") else value for name, value in kept.items()}


def _in_both(left: OperationCounts, right: OperationCounts) -> tuple[Mapping[str, str], ...]:
    """Suggestions that hold for both runs; a layer without any event in one of them keeps those of the other."""
    ran = [{row["layer"] for row in counts.rows if row["input_events"]} for counts in (left, right)]
    both = [entry for entry in left.suggestions if entry in right.suggestions or entry["layer"] not in ran[1]]
    return (*both, *(entry for entry in right.suggestions if entry["layer"] not in ran[0]))


def _with_idle(rows: dict[tuple[str, str, str], dict[str, Any]], *runs: OperationCounts) -> tuple[dict[str, Any], ...]:
    """Rows in which idle weights are those that no run has read; a run that names none of a layer has read them all."""
    named = [{row["layer"] for row in run.rows if row["kind"] == "idle"} for run in runs]
    for (layer, kind, _), row in rows.items():
        for name in ("weights", "nonzero_weights") if kind == "idle" else ():
            every = max(_held(run.rows, layer, name) for run in runs)
            read = _held((other for other in rows.values() if other["kind"] != "idle"), layer, name)
            row[name] = max(0, every - read) if all(layer in names for names in named) else 0
    return tuple(row for row in rows.values() if row["kind"] != "idle" or row["weights"])


def _held(rows: Iterable[Mapping[str, Any]], layer: str, name: str) -> int:
    """Distinct weights of a layer."""
    own = (row for row in rows if row["layer"] == layer and row["kind"] != "matmul" and row["phase"] == "forward")
    return sum(row[name] - row[f"shared_{name}"] for row in own)


def _has_detail(counts: OperationCounts, key: tuple[str, str]) -> bool:
    """Whether the counts of a row by step and sample are known, or there is no such row."""
    return key in counts.detail or all((row["layer"], row["kind"]) != key for row in counts.rows)


def _side_by_side(left: OperationCounts, right: OperationCounts, key: tuple[str, str]) -> dict[str, Tensor]:
    """Counts by step and sample of two runs: samples of the left first, steps of the longer one."""
    both = CountGrid()
    for counts, first in ((left, 0), (right, left.samples)):
        for name, grid in counts.detail.get(key, {}).items():
            step, sample = (grid >= 0).nonzero().unbind(1)
            both.add(name, step, sample + first, grid[step, sample])
    return both.grids(left.samples + right.samples)


def _joined(one: dict[str, Any], other: Mapping[str, Any], partly: bool) -> dict[str, Any]:
    """One row with the counts of two rows summed; ``partly``: each run may have read another part of the weights."""
    if one["weights"] != other["weights"] and one["kind"] != "matmul" and not partly:
        raise InputError(
            "OperationCounts.__add__",
            got=f"layer {one['layer']!r} with {one['weights']} and with {other['weights']} weights",
            expected="two runs of the same model",
            fix="Add counts of one model only.",
        )
    counts = {name: one[name] + other[name] for name in COUNTS}
    held = {name: max(one[name], other[name]) for name in PROPERTIES if not name.startswith("shared_")}
    return {**one, **counts, **held, "leak": worst_leak(one["leak"], other["leak"])}


def _table(counts: OperationCounts) -> list[list[str]]:
    """Header, rows and a total, as text."""
    total = {name: counts.totals[name] / max(1, counts.samples) for name in COUNTS}
    rows = [*(counts.per_sample if counts.samples else ()), {"layer": "total", "kind": "", "phase": "", **total}]
    about = ["layer", "kind"] + ["phase"] * any(row["phase"] != "forward" for row in counts.rows)
    return [[*about, *SHOWN]] + [
        [*(str(row[name]) for name in about), *(_text(row[name]) for name in SHOWN)] for row in rows
    ]


def _text(number: float) -> str:
    return f"{number:,.1f}" if number % 1 else f"{number:,.0f}"


def _uncounted(counts: OperationCounts) -> str:
    return ", ".join(f"{entry['function']} in {entry['layer']} ({entry['calls']} calls)" for entry in counts.uncounted)


def _suggestion(entry: Mapping[str, str]) -> str:
    how = f"pass {entry['argument']}"
    if entry["argument"].startswith("ns."):
        how = f"mark them with {entry['argument']} in {entry['producer']!r}"
    return f"Inputs of {entry['layer']} were 0 and 1 in all calls. If they are spikes, {how}."
