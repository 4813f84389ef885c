"""One contract for every encoder from signals to events."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns

ENCODERS = {
    "constant_current": lambda x, **o: ns.constant_current(x, steps=5, **o),
    "poisson": lambda x, **o: ns.poisson(x, steps=5, **o),
    "latency": lambda x, **o: ns.latency(x, steps=5, **o),
    "delta": lambda x, **o: ns.delta(x.expand(5, *x.shape), **o),
}
SIGNALS = st.lists(st.integers(0, 8), min_size=1, max_size=8).map(lambda v: torch.tensor(v).view(1, -1) / 8)


@pytest.fixture(params=ENCODERS)
def encode(request):
    return ENCODERS[request.param]


def test_makes_events_of_the_signal_s_units(encode):
    events = encode(torch.rand(3, 2, 4), dt=1e-3)
    assert isinstance(events, ns.EventTensor) and events.shape == (5, 3, 2, 4)
    assert (events.dt, events.axis, events.lengths) == (1e-3, "time", None)


def test_zero_is_silence(encode):
    assert encode(torch.zeros(2, 3)).n_events == 0


def test_order_of_samples_changes_no_sample_but_the_drawn_ones(encode):
    x = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    if encode is not ENCODERS["poisson"]:
        assert torch.equal(encode(x[[1, 0]]).dense(), encode(x).samples([1, 0]).dense())


@pytest.mark.parametrize("dt", [0.0, -1e-3, float("nan"), "1e-3"])
def test_bad_steps_are_refused(encode, dt):
    with pytest.raises(ns.InputError, match="dt > 0"):
        encode(torch.ones(1, 2), dt=dt)


def test_nan_is_refused(encode):
    with pytest.raises(ns.InputError, match="NaN"):
        encode(torch.tensor([[float("nan")]]))


def test_a_signal_without_samples_axis_is_refused(encode):
    with pytest.raises(ns.InputError, match="samples"):
        encode(torch.ones(3))


@pytest.mark.parametrize("encoder", [ns.poisson, ns.latency])
@pytest.mark.parametrize("bad", [-0.1, 1.1])
def test_probabilities_and_intensities_lie_in_the_unit_interval(encoder, bad):
    with pytest.raises(ns.InputError, match="0 <= x <= 1"):
        encoder(torch.tensor([[bad]]), steps=3)


@pytest.mark.parametrize("encoder", [ns.constant_current, ns.poisson, ns.latency])
@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_steps_are_whole(encoder, steps):
    with pytest.raises(ns.InputError, match="steps=.* a whole number, at least 1"):
        encoder(torch.ones(1, 1), steps=steps)


@given(SIGNALS)
def test_constant_current_is_one_memory(x):
    current = ns.constant_current(x, steps=7)
    assert current.constant and current.dense().untyped_storage().nbytes() == x.untyped_storage().nbytes()
    assert torch.equal(current.dense(), torch.stack([x] * 7)) and not current.binary


def test_poisson_fires_at_its_probability():
    p = torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]])
    n = 20_000
    rates = ns.poisson(p, steps=n, seed=3).counts() / n
    sigma = (p * (1 - p) / n).sqrt()
    assert bool(((rates - p).abs() <= 4.5 * sigma).all())  # 1 in 10^5 by chance; the seed is fixed


def test_poisson_steps_are_independent():
    x = ns.poisson(torch.tensor([[0.5]]), steps=20_000, seed=1).dense().flatten() - 0.5
    correlation = float((x[1:] * x[:-1]).mean() / (x * x).mean())
    assert abs(correlation) < 4.5 / math.sqrt(20_000)


def test_poisson_is_seeded_by_its_arguments_alone():
    x = torch.full((2, 3), 0.5)
    one = ns.poisson(x, 50, seed=7)
    torch.manual_seed(99)
    assert torch.equal(ns.poisson(x, 50, seed=7).dense(), one.dense())
    assert torch.equal(ns.poisson(x, 50, seed=torch.Generator().manual_seed(7)).dense(), one.dense())
    assert not torch.equal(ns.poisson(x, 50, seed=8).dense(), one.dense())
    before = torch.get_rng_state()
    ns.poisson(x, 50)
    assert torch.equal(torch.get_rng_state(), before)


@given(SIGNALS, st.integers(1, 20))
def test_the_stronger_the_earlier(x, steps):
    spikes = ns.latency(x, steps=steps)
    assert spikes.binary and spikes.n_events == int((x > 0).sum())  # one spike each, zero stays silent
    step, unit = spikes.aer().step, spikes.aer().unit
    strength = x[0, unit]
    assert bool((step[strength == 1] == 0).all())
    exact = (1 - strength.double()) * (steps - 1)
    assert bool(((step - exact).abs() <= 0.5).all())


@given(st.lists(st.integers(-16, 16), min_size=1, max_size=12), st.integers(0, 24))
def test_delta_tracks_the_signal_to_its_threshold(levels, eighths):
    x = (torch.tensor(levels) / 8).view(-1, 1, 1)
    threshold = eighths / 8
    changes = ns.delta(x, threshold=threshold)
    received = changes.cumulate().dense()
    assert bool(((received - x).abs() <= threshold).all())  # the error never accumulates
    assert bool((changes.dense()[changes.dense() != 0].abs() > threshold).all())
    if threshold == 0:
        assert torch.equal(received, x)


def test_delta_refuses_a_negative_threshold():
    with pytest.raises(ns.InputError, match="threshold >= 0"):
        ns.delta(torch.ones(2, 1, 1), threshold=-1.0)
