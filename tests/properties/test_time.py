"""Property 2: time is an integer step. The oracle is exact arithmetic on the decimals as they are written."""

import math
from fractions import Fraction

import event_strategies as es
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

import neurosparse as ns

STEPS = st.lists(st.integers(0, 10**6), min_size=1, max_size=10)
DTS = st.sampled_from(es.STEP_SECONDS) | st.floats(1e-8, 10.0)
STARTS = st.sampled_from([0.0, 0.1, 1e-9, -3.25, 1 / 3])


def nanoseconds(seconds: float) -> Fraction:
    return Fraction(repr(seconds)) * 10**9


def half_up(exact: Fraction) -> int:
    return math.floor(exact + Fraction(1, 2))


def at_steps(steps, dt, t0=0.0):
    steps = sorted(set(steps))
    zero = torch.zeros(len(steps), dtype=torch.int64)
    return steps, ns.EventTensor.from_aer(torch.tensor(steps), zero, zero, shape=(10**7, 1, 1), dt=dt, t0=t0)


@given(STEPS, DTS, STARTS)
@example([1, 3, 5], 1.25e-8, 0.0)  # exact halves of a nanosecond
@example([3_602_879], 1 / 3e-3, 0.0)
def test_time_of_a_step_is_rounded_once(steps, dt, t0):
    steps, events = at_steps(steps, dt, t0)
    assert events.times().tolist() == [half_up(nanoseconds(t0) + s * nanoseconds(dt)) for s in steps]


@pytest.mark.parametrize(("dt", "step"), [(1.7e-9, 45), (2.9e-10, 50), (1.00041e-6, 150), (7e-10, 45)])
def test_halves_of_a_nanosecond_are_decided_by_integers(dt, step):
    """Where the product of floats falls on the wrong side: 45 * 0.7 is 31.499999999999996."""
    _, events = at_steps([step], dt)
    assert events.times().tolist() == [half_up(step * nanoseconds(dt))]


@given(STEPS, DTS)
def test_times_on_bin_edges_fall_into_their_bins(steps, dt):
    steps, events = at_steps(steps, dt)
    seconds = [float(Fraction(time, 10**9)) for time in events.times().tolist()]
    assume(max(seconds) < 2**22)  # beyond 48 days float64 seconds hold no nanoseconds
    back = ns.EventTensor.from_times(seconds, [0] * len(steps), n_units=1, dt=dt)
    assert torch.equal(back.times(), events.times())
    assert back.aer().step.tolist() == steps
    assert back.offset is None and back.n_events == len(steps)  # none lost, none moved


TRAINS = st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 3)), max_size=12)


@given(TRAINS, st.sampled_from(es.STEP_SECONDS), STARTS)
def test_any_time_survives_to_the_nanosecond(spikes, dt, t0):
    start = half_up(nanoseconds(t0))
    times = [float(Fraction(start + after, 10**9)) for after, _ in spikes]
    times = [max(t, t0) for t in times]
    events = ns.EventTensor.from_times(times, [u for _, u in spikes], n_units=4, dt=dt, t0=t0)
    kept = sorted(zip(events.times().tolist(), events.index.tolist(), strict=True))
    assert kept == sorted((start + after, unit) for after, unit in spikes)
    for step, time in zip(events.aer().step.tolist(), events.times().tolist(), strict=True):
        begin, end = (half_up(nanoseconds(t0) + s * nanoseconds(dt)) for s in (step, step + 1))
        assert begin <= time < end


@given(TRAINS, st.integers(0, 40), st.sampled_from([1e-3, 1 / 3e-3, 1.25e-8]))
def test_slices_keep_their_times(spikes, start, dt):
    times = [t * 1e-9 for t, _ in spikes if t < 40 * dt * 1e9]
    events = ns.EventTensor.from_times(times, [0] * len(times), n_units=1, dt=dt, duration=41 * dt)
    before, after = events.steps(0, start), events.steps(start, events.shape[0])
    assert before.times().tolist() + after.times().tolist() == events.times().tolist()


@given(st.lists(st.integers(0, 3_000), max_size=10), st.sampled_from([0.25, 1.0, 128.0]))
def test_shifting_the_start_shifts_the_times_and_nothing_else(micros, shift):
    times = [t / 2**20 for t in micros]  # binary fractions: the shift adds no rounding
    units = [0] * len(times)
    named = {"n_units": 1, "dt": 1 / 1024, "duration": 4.0}
    a = ns.EventTensor.from_times(times, units, **named)
    b = ns.EventTensor.from_times([t + shift for t in times], units, t0=shift, **named)
    assert a.shape == b.shape and a.n_events == b.n_events
    assert torch.equal(a.aer().step, b.aer().step)
    assert torch.equal(a.rates(), b.rates())
    assert all(a.bits(f) == b.bits(f) for f in ("aer", "csr", "rle"))
    # Two roundings to whole nanoseconds apart.
    assert bool(((b.times() - a.times() - int(shift * 10**9)).abs() <= 1).all())


@pytest.mark.parametrize("dt", [1 / 3e-3, 1e-4, 0.1, 1e-3, 0.3])
def test_two_thousand_spikes_survive(dt):
    """The round trip in which a floor of float times loses 5 to 7 % of the spikes."""
    steps = torch.randint(0, 20_000, (2_000,), generator=torch.Generator().manual_seed(0)).unique()
    zero = torch.zeros_like(steps)
    events = ns.EventTensor.from_aer(steps, zero, zero, shape=(20_000, 1, 1), dt=dt)
    seconds = events.times().double() * 1e-9
    back = ns.EventTensor.from_times(seconds, zero, n_units=1, dt=dt)
    assert torch.equal(back.aer().step, steps)


def test_a_microsecond_recording_never_pays_for_empty_rows():
    spikes = ns.EventTensor.from_times([0.0, 86_399.999999], [0, 1], n_units=2, dt=1e-6)
    assert spikes.shape == (86_400_000_000, 1, 2)  # pointers alone would be 691 GB
    assert spikes.times().tolist() == [0, 86_399_999_999_000]
    assert spikes.steps(10**6, spikes.shape[0]).n_events == 1
    assert spikes.bin(10**6).shape == (86_400, 1, 2)


@pytest.mark.parametrize(
    ("times", "options", "sentence"),
    [
        ([-0.1], {}, "before t0"),
        ([float("nan")], {}, "NaN or infinity in times|times with NaN"),
        ([0.1], {"dt": 0.0}, "1e-09 <= dt"),
        ([0.1], {"dt": -1e-3}, "1e-09 <= dt"),
        ([0.1], {"dt": 1e-10}, "1e-09 <= dt"),
        ([0.1], {"duration": 0.1}, "an event at 0.1 s"),
        ([0.1], {"duration": float("nan")}, "0 <= duration"),
        ([0.1, 0.2], {}, "one unit per time"),
        ([0.1], {"n_units": 0}, "0 <= units < 0"),
    ],
)
def test_bad_times_are_refused(times, options, sentence):
    with pytest.raises(ns.InputError, match=sentence):
        ns.EventTensor.from_times(times, [0], **({"n_units": 1, "dt": 1e-3} | options))


def test_rates_and_times_ask_for_seconds():
    events = ns.EventTensor.from_dense(torch.ones(2, 1, 1))
    for method in ("rates", "times"):
        with pytest.raises(ns.InputError, match=rf"EventTensor\.{method}: got dt=None; .* pass dt=1e-3"):
            getattr(events, method)()
