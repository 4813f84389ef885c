"""Hypothesis strategies for events of every kind, and what it means for two of them to be the same."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import neurosparse as ns

STEP_SECONDS = [1e-3, 1e-4, 0.1, 1 / 3e-3, 1.25e-8, 1e-6, 2.0, 1e-3 / 3]
DTYPES = ["float32", "float64", "float16", "int64", "uint8"]
# Silence twice, then what floats can do to those who compare with zero.
FLOATS = [0.0, -0.0, 1.0, -2.5, 0.1, float("inf"), float("-inf"), 1e-45, 6e-8, 65504.0]


def shapes(low: int = 0, steps: int = 6, samples: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    units = st.lists(st.integers(low, 4), min_size=1, max_size=2)
    return st.tuples(st.integers(low, steps), st.integers(low, samples), units).map(lambda s: (*s[:2], *s[2]))


def finite(dtype: str = "float64") -> st.SearchStrategy[float]:
    """Small dyadic numbers: sums and products of a few of them are exact."""
    return st.integers(-32, 32).map(lambda n: n / 8)


def arrays(shape: Any, dtype: str, elements: st.SearchStrategy | None = None) -> st.SearchStrategy[Tensor]:
    kind = np.dtype(dtype)
    if elements is None and kind.kind == "f":
        elements = st.sampled_from(FLOATS) | st.floats(width=16, allow_nan=False)
    if elements is None:
        elements = st.sampled_from([0, 0, 1, 2, 7])
    exact = elements.map(lambda x: kind.type(x).item())
    return hnp.arrays(kind, shape, elements=st.just(kind.type(0).item()) | exact).map(torch.from_numpy)


@st.composite
def lengths_for(draw: st.DrawFn, shape: tuple[int, ...]) -> Tensor | None:
    if draw(st.booleans()):
        return None
    return torch.tensor(
        draw(st.lists(st.integers(0, shape[0]), min_size=shape[1], max_size=shape[1])), dtype=torch.int64
    )


def silence_beyond(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Zero every step of a sample at or after its length, one at a time."""
    x = x.clone()
    for sample, length in enumerate([] if lengths is None else lengths.tolist()):
        x[length:, sample] = 0
    return x


def timings() -> st.SearchStrategy[dict[str, Any]]:
    timed = st.fixed_dictionaries(
        {
            "axis": st.just("time"),
            "dt": st.sampled_from(STEP_SECONDS),
            "t0": st.sampled_from([0.0, 0.5, -1.5, 1e-9, 0.1]),
        }
    )
    untimed = st.fixed_dictionaries({"axis": st.sampled_from(["time", "iteration", None])})
    return timed | untimed


@st.composite
def grid_events(draw: st.DrawFn, shape: tuple[int, ...] | None = None, low: int = 0, dtype: str | None = None) -> Any:
    """Events on the step grid: spikes or graded, held dense or as events, with and without lengths."""
    shape = draw(shapes(low)) if shape is None else shape
    timing, lengths = draw(timings()), draw(lengths_for(shape))
    kind = draw(st.sampled_from(["graded", "spikes", "bool"]))
    if kind == "graded":
        values = draw(arrays(shape, dtype or draw(st.sampled_from(DTYPES)), None if dtype is None else finite()))
    else:
        values = draw(arrays(shape, "bool", st.booleans()))
    x = silence_beyond(values, lengths)
    if kind == "spikes":
        x = x.to(torch.float64 if dtype == "float64" else torch.float32)
    events = ns.EventTensor.from_dense(x, lengths=lengths, spikes=kind == "spikes", **timing)
    return as_events(events) if draw(st.booleans()) else events


def as_events(held: ns.EventTensor) -> ns.EventTensor:
    """The same through coordinates, so that no dense twin is held."""
    step, sample, unit, value = held.aer()
    named = {"shape": held.shape, "dt": held.dt, "t0": held.t0, "axis": held.axis, "lengths": held.lengths}
    return ns.EventTensor.from_aer(step, sample, unit, value, **named)


@st.composite
def recordings(draw: st.DrawFn) -> ns.EventTensor:
    """Sub-step times of one recording, several in a step or a cell."""
    n_units = draw(st.integers(1, 4))
    spikes = draw(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, n_units - 1)), max_size=12))
    times = [t * 1e-6 for t, _ in spikes]
    dt = draw(st.sampled_from([1e-3, 1e-4, 1e-3 / 3]))
    units = [u for _, u in spikes]
    return ns.EventTensor.from_times(
        times, units, n_units=n_units, dt=dt, duration=draw(st.sampled_from([0.0031, 0.01]))
    )


def any_events() -> st.SearchStrategy[ns.EventTensor]:
    return grid_events() | recordings()


def assert_same(a: ns.EventTensor, b: ns.EventTensor) -> None:
    """Every public fact agrees, bit for bit."""
    for name in ("shape", "axis", "dt", "t0", "binary", "n_events", "n_rows", "density"):
        assert getattr(a, name) == getattr(b, name), name
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in ("row", "index", "value", "offset", "lengths")}
    for name, (left, right) in pairs.items():
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.dtype == right.dtype and torch.equal(left, right), name
    if a.dt is not None:
        assert torch.equal(a.times(), b.times())
    if a.offset is None:
        assert torch.equal(a.dense().to(torch.float64), b.dense().to(torch.float64))
