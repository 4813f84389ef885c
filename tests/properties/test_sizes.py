"""The exact size of events: independent formulas, and run lengths by an encoder and a decoder."""

import math
from itertools import pairwise

import event_strategies as es
import pytest
import torch
from hypothesis import given

import neurosparse as ns


def bits_to_tell_apart(n: int) -> int:
    """The smallest b with 2**b >= n, found by doubling."""
    b = 0
    while 2**b < n:
        b += 1
    return b


@given(es.grid_events())
def test_formulas(events):
    n, rows, units = events.n_events, events.n_rows, math.prod(events.shape[2:])
    lengths = [events.shape[0]] * events.shape[1] if events.lengths is None else events.lengths.tolist()
    assert rows == sum(lengths)
    v = (
        0
        if events.binary
        else {"float32": 32, "float64": 64, "float16": 16, "int64": 64, "uint8": 8}[
            str(events.dtype).removeprefix("torch.")
        ]
    )
    index = bits_to_tell_apart(units)
    assert events.bits("dense") == rows * units * max(v, 1)
    assert events.bits("bitmap") == rows * units + n * v
    assert events.bits("aer") == n * (bits_to_tell_apart(rows) + index + v)
    assert events.bits("csr") == (rows + 1) * bits_to_tell_apart(n + 1) + n * (index + v)


def run_lengths(events: ns.EventTensor, b: int) -> list[int]:
    """Tokens of b bits, cell by cell: the definition in docs/format.md."""
    tokens, most = [], 2**b - 1
    lengths = [events.shape[0]] * events.shape[1] if events.lengths is None else events.lengths.tolist()
    for sample, length in enumerate(lengths):
        gap = 0
        for cell in [*(events.dense()[:length, sample] != 0).flatten().tolist(), True]:  # the end closes the last gap
            if cell:
                tokens += [most] * (gap // most) + [gap % most]
                gap = 0
            else:
                gap += 1
    return tokens


def decode(tokens: list[int], b: int, lengths: list[int], units: int) -> list[list[bool]]:
    """Cells of each sample, from tokens and sizes alone."""
    samples, tokens = [], iter(tokens)
    for length in lengths:
        cells: list[bool] = []
        while len(cells) <= length * units:
            token = next(tokens)
            while token == 2**b - 1:
                cells += [False] * token
                token = next(tokens)
            cells += [False] * token + [True]
        samples.append(cells[:-1])
    assert next(tokens, None) is None
    return samples


@given(es.grid_events())
def test_run_lengths(events):
    v = 0 if events.binary else events.value.element_size() * 8
    coded = {b: run_lengths(events, b) for b in range(1, 33)}
    best = min(coded, key=lambda b: b * len(coded[b]))
    assert events.bits("rle") == 5 + best * len(coded[best]) + events.n_events * v
    lengths = [events.shape[0]] * events.shape[1] if events.lengths is None else events.lengths.tolist()
    cells = [(events.dense()[:length, s] != 0).flatten().tolist() for s, length in enumerate(lengths)]
    assert decode(coded[best], best, lengths, events.n_units) == cells


@given(es.recordings())
def test_sub_step_times_are_counted(events):
    if events.offset is None:
        return
    n, rows = events.n_events, events.n_rows
    index = bits_to_tell_apart(events.n_units)
    time = bits_to_tell_apart(math.ceil(round(events.dt * 1e9, 3)))
    assert int(events.offset.max()) < 2**time
    assert events.bits("aer") == n * (bits_to_tell_apart(rows) + index + time)
    assert events.bits("csr") == (rows + 1) * bits_to_tell_apart(n + 1) + n * (index + time)
    for format in ("dense", "bitmap"):
        with pytest.raises(ns.InputError, match="sub-step times"):
            events.bits(format)
    assert "sub-step" not in events._repr_html_()


def decoded_recording(gaps: list[int], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(step, unit) of each event of a recording, from its gaps alone."""
    cells = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    assert cells.pop() == shape[0] * shape[2]
    return [divmod(cell, shape[2]) for cell in cells]


@given(es.recordings())
def test_run_lengths_of_recordings(events):
    """Events may share a cell, so the gaps are distances from one event to the next, 0 where they share one."""
    if events.offset is None:
        return
    cells = [step * events.n_units + unit for step, unit in _addresses(events)]
    gaps = [b - a for a, b in pairwise([0, *cells, events.shape[0] * events.n_units])]
    assert decoded_recording(gaps, events.shape) == _addresses(events)
    tokens = min(b * sum(gap // (2**b - 1) + 1 for gap in gaps) for b in range(1, 33))
    time = bits_to_tell_apart(math.ceil(round(events.dt * 1e9, 3)))
    assert events.bits("rle") == 5 + tokens + events.n_events * time


def _addresses(events: ns.EventTensor) -> list[tuple[int, int]]:
    return list(zip(events.aer().step.tolist(), events.aer().unit.tolist(), strict=True))


def test_unknown_formats_are_refused():
    with pytest.raises(ns.InputError, match="'coo'"):
        ns.EventTensor.from_dense(torch.ones(1, 1, 1)).bits("coo")


def test_where_the_formats_cross():
    """1024 units, 16-bit indices: compressed rows beat a bitmap below 6.1 % density."""
    for density, winner in ((0.055, "csr"), (0.065, "bitmap")):
        x = torch.zeros(1000, 1, 1024)
        x.view(1000, -1)[:, : round(1024 * density)] = 1
        events = ns.EventTensor.from_dense(x, spikes=True)
        csr16 = events.n_events * 16 + 1001 * 20
        assert min({"csr": csr16, "bitmap": events.bits("bitmap")}.items(), key=lambda kv: kv[1])[0] == winner
