"""Leaks of drawn neurons: what a row says is what exact fractions of the decays in use say."""

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurosparse.energy import Assumptions, estimate
from neurosparse.meter import OperationCounts, count, record
from neurosparse.neurons import LIF, Readout, adaptive, current_based

SHIFTS = [1 - 2.0**-k for k in (1, 2, 3, 7, 23, 24, 25, 30)]
NEAR = [value + step for value in (0.5, 0.75, 0.875) for step in (-(2.0**-40), -(2.0**-24), 2.0**-24, 2.0**-20)]
DECAYS = st.sampled_from([1.0, *SHIFTS, *NEAR, 0.0, 0.25, 0.9, 1 / 3]) | st.floats(0, 1)
UNITS = 3
POWERS = {Fraction(1, 2**k) for k in range(1, 1100)}


@st.composite
def constants(draw):
    """A number, one per unit, or either as a Parameter, in single or double precision."""
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    some = [1.0] if draw(st.booleans()) else SHIFTS  # also many that are all alike
    values = draw(st.lists(st.sampled_from(some) | DECAYS, min_size=UNITS, max_size=UNITS))
    if not draw(st.booleans()):
        return values[0] if draw(st.booleans()) else nn.Parameter(torch.tensor(values[0], dtype=dtype))
    found = torch.tensor(values, dtype=dtype)
    return nn.Parameter(found) if draw(st.booleans()) else found


def expected(values: list[Fraction]) -> str:
    lost = [1 - value for value in values]
    if not any(lost):
        return "none"
    return "shift" if all(not part or part in POWERS for part in lost) else "multiply"


def in_use(value, dtype: torch.dtype) -> list[Fraction]:
    """Decays as a current of this type multiplies them."""
    parts = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float64)
    return [Fraction(part) for part in parts.to(dtype).flatten().tolist()]


@given(constants(), constants(), st.sampled_from(["plain", "current", "adaptive", "readout"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_leak_of_a_row_is_that_of_the_exact_decays(beta, other, kind, double):
    dtype = torch.float64 if double else torch.float32
    used = in_use(beta, dtype)
    if kind == "readout":
        neurons = Readout(beta=beta)
    else:
        dynamics = {"current": current_based, "adaptive": lambda decay: adaptive(decay, 1.0)}.get(kind)
        neurons = LIF(beta=beta, dynamics=None if dynamics is None else dynamics(other))
        used += [] if dynamics is None else in_use(other, dtype)
    with record(neurons) as tape, torch.no_grad():
        neurons(torch.rand(2, 2, UNITS, dtype=dtype))
    (row,) = (row for row in count(tape).rows if row["kind"] == "neuron")
    assert row["leak"] == expected(used)
    states = 2 if kind in ("current", "adaptive") else 1
    assert row["state_updates"] == states * 2 * 2 * UNITS
    counts = OperationCounts(({**row, "spikes_out": 0},), 2)
    same = estimate(counts, dataflow="compute_only", assume=Assumptions(leak=row["leak"]))
    assert estimate(counts, dataflow="compute_only").nominal == same.nominal
