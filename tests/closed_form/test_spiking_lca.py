"""Spiking LCA against theory: one neuron's rate, crossings by Lambert's W, errors that fall as one over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from neurosparse.coding import NotConverged, elastic_net, l1, nonnegative_l1, solve
from neurosparse.coding.spiking_lca import TIME_CONSTANT
from neurosparse.kernels.spiking_lca import crossing_reference, fire, fire_reference

pytestmark = pytest.mark.filterwarnings("ignore::neurosparse.coding.NotConverged")


def data(samples: int = 6, atoms: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.randn(atoms, 16, generator=generator, dtype=torch.float64)
    x = torch.randn(samples, 16, generator=generator, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True), dictionary / dictionary.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("drive", "weight"), [(0.7317, 0.2), (0.3071, 0.2), (0.2, 0.2), (0.1, 0.2), (-3.0, 0.2)])
def test_one_neuron_fires_at_its_drive_less_the_threshold(drive, weight):
    """dv/dt = b - lambda from 0 to lambda: a spike every lambda / (b - lambda) time constants, or never."""
    code = solve(torch.tensor([[drive]]), torch.eye(1), nonnegative_l1(weight), "spiking", tol=1e-9, steps=40)
    expected = int(int(code.iterations) * max(drive - weight, 0) / weight + 1e-4)
    assert code.events.n_events == expected and code.a.item() == pytest.approx(max(drive - weight, 0), abs=weight / 10)
    times = torch.arange(1, expected + 1) * (weight / max(drive - weight, 1e-9)) * TIME_CONSTANT * 1e9
    torch.testing.assert_close(code.events.times().double(), times.double(), atol=1e3, rtol=0)  # data are float32


finite = st.floats(-3, 3, allow_subnormal=False)


@settings(max_examples=300)
@given(membrane=st.floats(-5, 1), drive=finite, inhibition=finite)
def test_crossings_by_lambert(membrane, drive, inhibition):
    """b t + c e^-t = k has the roots t = k / b + W(-(c / b) e^(-k / b)), one for each real branch."""
    k = 1 - membrane + inhibition
    found = crossing_reference(*(torch.tensor([part], dtype=torch.float64) for part in (membrane, drive, inhibition)))
    if membrane >= 1:
        roots = [0.0]
    elif abs(drive) < 1e-3:  # almost flat: the formula would overflow
        return
    else:
        branches = (lambertw(-(inhibition / drive) * np.exp(-k / drive), branch) for branch in (0, -1))
        roots = [k / drive + w.real for w in branches if np.isfinite(w) and abs(w.imag) < 1e-9]
        if abs(np.e * (inhibition / drive) * np.exp(-k / drive) - 1) < 1e-6:  # only touches: a matter of rounding
            return
    first = min((root for root in roots if root >= 0), default=np.inf)
    assert found.item() == pytest.approx(first, rel=1e-9, abs=1e-9)


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), duration=st.floats(0.5, 4), excitation=st.floats(0, 0.5))
def test_the_kernel_is_the_law(seed, duration, excitation):
    """The same neurons at the same times, from any state, whether spikes inhibit or excite."""
    generator = torch.Generator().manual_seed(seed)
    shape = {"generator": generator, "dtype": torch.float64}
    drive, weights = torch.randn(3, 7, **shape) * 2, torch.rand(7, 7, **shape) - excitation
    start = torch.rand(3, 7, **shape), torch.randn(3, 7, **shape)
    ours, reference = ([part.clone() for part in start] for _ in range(2))
    fast, slow = fire(drive, weights, *ours, duration), fire_reference(drive, weights, *reference, duration)
    assert torch.equal(fast.counts, slow.counts)
    for mine, theirs in zip((*fast.sent, *ours), (*slow.sent, *reference), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-9)


def test_no_spike_is_missed_by_looking_too_late():
    """Excited for a while, then sinking: the membrane gains 4 (1 - e^-t) - t / 2, at most 3.5 - log(8) / 2 = 2.46."""
    state = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), -4.0, dtype=torch.float64)
    spikes = fire(torch.full((1, 1), -0.5, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), *state, 20.0)
    assert spikes.counts.item() == 2


@pytest.mark.parametrize("penalty", [nonnegative_l1(0.1), l1(0.1), elastic_net(0.2, 0.5)], ids=str)
def test_errors_fall_as_one_over_time(penalty):
    """Tang, Lin & Davies: rates come within 1 / T of the optimum, with no floor from a grid or a spike's size."""
    x, dictionary = data()
    optimum = solve(x, dictionary, penalty, "fista", tol=1e-10, steps=100_000)
    for steps in (40, 160, 640, 2560):
        code = solve(x, dictionary, penalty, "spiking", tol=1e-9, steps=steps)
        # The last spike that a membrane still owes is worth lambda; half of the time is averaged.
        assert (code.a - optimum.a).abs().max() < 10 * penalty.weight / steps
        assert torch.all(code.objective / optimum.objective - 1 < 1 / steps)
        assert torch.all(code.gap < 5 / steps)


def test_any_norm_of_atoms_and_any_scale_of_data():
    x, dictionary = data()
    norms = torch.linspace(0.5, 2.0, len(dictionary), dtype=torch.float64)[:, None]
    code = solve(x, dictionary * norms, l1(0.1), "spiking", tol=1e-2)
    exact = solve(x, dictionary * norms, l1(0.1), "coordinate_descent", tol=1e-10)
    assert (code.a - exact.a).abs().max() < 0.05
    scaled = solve(
        2.0**10 * x, dictionary * norms, l1(102.4), "spiking", tol=1e-2
    )  # powers of two: not one bit differs
    assert torch.equal(scaled.a, 2.0**10 * code.a) and torch.equal(scaled.events.times(), code.events.times())


def test_a_warm_start_spares_the_transient():
    x, dictionary = data()
    optimum = solve(x, dictionary, l1(0.1), "fista", tol=1e-10, steps=100_000).a
    with pytest.warns(NotConverged):
        cold = solve(x, dictionary, l1(0.1), "spiking", tol=1e-9, steps=10)
        warm = solve(x, dictionary, l1(0.1), "spiking", tol=1e-9, steps=10, warm_start=optimum)
    assert (warm.a - optimum).abs().max() < 0.1 / 10 * 2 < (cold.a - optimum).abs().max()


def test_spikes_are_a_recording():
    """Binary where codes are not negative, signed where they are; in order of time, to the nanosecond."""
    x, dictionary = data()
    binary = solve(x, dictionary, nonnegative_l1(0.1), "spiking").events
    signed = solve(x, dictionary, l1(0.1), "spiking").events
    assert binary.value is None and set(signed.value.tolist()) == {-1.0, 1.0}
    for events in (binary, signed):
        assert events.axis == "time" and events.dt == TIME_CONSTANT
        times, step = events.times(), events.aer().step
        assert torch.all(times // round(TIME_CONSTANT * 1e9) == step) and torch.all(step.diff() >= 0)
        assert torch.all(events.rates() <= 1e9)
        same = (events.row.diff() == 0) & (events.index.diff() == 0)
        assert same.any() and torch.all(times.diff()[same] > 0)  # a neuron that fires twice in a step does so in turn
