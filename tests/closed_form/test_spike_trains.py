"""Statistics of spike trains whose values are known: clocks, Bernoulli trains, trains with a common source."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurosparse.analysis import count_correlation, fano_factor, spike_train_statistics, window_counts
from neurosparse.errors import InputError
from neurosparse.events import EventTensor


def bernoulli(p: float, steps: int, units: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(steps, 1, units, generator=torch.Generator().manual_seed(seed)) < p


def test_a_bernoulli_train_is_a_little_more_regular_than_a_poisson_process() -> None:
    """Its intervals are geometric, with cv^2 = 1 - p, and its counts binomial, with variance over mean 1 - p."""
    p = 0.3
    events = EventTensor.from_dense(bernoulli(p, 20_000, 20), dt=2e-3)
    found = spike_train_statistics(events)
    assert found.rate.mean() == pytest.approx(p / 2e-3, rel=0.01)
    assert found.cv.mean() == pytest.approx(np.sqrt(1 - p), rel=0.01)
    assert fano_factor(events, 50).mean() == pytest.approx(1 - p, rel=0.04)
    # cv2 and lv are means over pairs of independent geometric intervals, summed here.
    k = np.arange(1, 200)
    weight = np.outer(*[p * (1 - p) ** (k - 1)] * 2)
    contrast = np.abs(k[:, None] - k) / (k[:, None] + k)
    assert found.cv2.mean() == pytest.approx((weight * 2 * contrast).sum(), rel=0.01)
    assert found.lv.mean() == pytest.approx((weight * 3 * contrast**2).sum(), rel=0.01)


def test_a_clock_is_regular_and_one_that_slows_down_is_so_between_neighbours() -> None:
    clock = torch.arange(0, 1000, 10)
    slowing = torch.cumsum(torch.arange(1, 40), 0)
    step, unit = torch.cat([clock, slowing]), torch.tensor([0] * len(clock) + [1] * len(slowing))
    found = spike_train_statistics(EventTensor.from_aer(step, 0 * step, unit, shape=(1000, 1, 2)))
    assert found.cv[0, 0] == found.cv2[0, 0] == found.lv[0, 0] == 0 and found.unit == "steps"
    # Intervals 2 to 39: their variance is (38^2 - 1) / 12, their mean 20.5.
    assert found.cv[0, 1] == pytest.approx(np.sqrt((38**2 - 1) / 12) / 20.5)
    assert found.cv2[0, 1] == pytest.approx(np.mean([2 / (2 * k + 1) for k in range(2, 39)])) and found.lv[0, 1] < 0.03


def test_intervals_are_exact_to_the_nanosecond_and_every_sample_has_trains_of_its_own() -> None:
    times = torch.tensor([0.3, 0.3000001, 0.7], dtype=torch.float64)
    found = spike_train_statistics(EventTensor.from_times(times, [0, 0, 0], n_units=1, dt=0.1))
    assert found.intervals.tolist() == [100 * 1e-9, 399_999_900 * 1e-9]
    step, sample = torch.tensor([0, 2, 4, 1, 5]), torch.tensor([0, 0, 0, 1, 1])
    found = spike_train_statistics(EventTensor.from_aer(step, sample, 0 * step, shape=(6, 2, 1), dt=0.5))
    assert found.intervals.tolist() == [1.0, 1.0, 2.0] and found.train.tolist() == [0, 0, 1]


@pytest.mark.parametrize("spikes", [0, 1, 2])
def test_fewer_than_three_spikes_have_a_rate_but_no_irregularity(spikes: int) -> None:
    step = torch.arange(spikes)
    found = spike_train_statistics(EventTensor.from_aer(step, 0 * step, 0 * step, shape=(10, 1, 1), dt=0.1))
    assert found.rate.item() == spikes and found.spikes.item() == spikes
    assert np.isnan([found.cv.item(), found.cv2.item(), found.lv.item()]).all()
    assert "cv           0       nan" in repr(found)


def test_a_recording_that_ends_early_has_the_rate_of_what_was_recorded() -> None:
    x = torch.zeros(10, 2, 1, dtype=torch.bool)
    x[:4, 1] = x[::2, 0] = True
    events = EventTensor.from_dense(x, dt=0.1, lengths=torch.tensor([10, 4]))
    assert spike_train_statistics(events).rate[:, 0].tolist() == [5.0, 10.0]
    assert window_counts(events, 3).tolist() == [[2.0], [1.0], [2.0], [3.0]], "three whole windows, then one"


def test_a_common_source_correlates_counts_by_its_share() -> None:
    """A step holds one spike, common or own: p = c + (1 - c) q, and its covariance is c (1 - c) (1 - q)^2."""
    common, own = bernoulli(0.2, 40_000, 1), bernoulli(0.1, 40_000, 6, seed=1)
    found = count_correlation(EventTensor.from_dense(common | own), 5)
    p = 0.28
    share = 0.2 * 0.8 * 0.9**2 / (p * (1 - p))
    assert found[np.triu_indices(6, 1)] == pytest.approx(share, abs=0.03)
    assert np.diag(found) == pytest.approx(1)


def test_a_silent_unit_has_no_fano_factor_and_no_correlation() -> None:
    x = bernoulli(0.3, 100, 2)
    x[..., 1] = False
    events = EventTensor.from_dense(x)
    assert np.isnan(fano_factor(events, 10)).tolist() == [False, True] and np.isnan(fano_factor(events, 100)).all()
    assert np.isnan(count_correlation(events, 10)).tolist() == [[False, True], [True, True]]


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 12), window=st.integers(1, 12), samples=st.integers(1, 3))
def test_windows_hold_every_spike_of_whole_windows(seed: int, steps: int, window: int, samples: int) -> None:
    x = torch.rand(steps, samples, 3, generator=torch.Generator().manual_seed(seed)) < 0.5
    events = EventTensor.from_dense(x)
    if window > steps:
        with pytest.raises(InputError, match="windows"):
            window_counts(events, window)
        return
    whole = steps // window
    summed = x[: whole * window].view(whole, window, samples, 3).sum(1)
    assert np.array_equal(window_counts(events, window), summed.transpose(0, 1).reshape(-1, 3).numpy())


BAD = {
    "graded": (spike_train_statistics, torch.rand(3, 1, 2)),
    "no step": (spike_train_statistics, torch.zeros(0, 1, 2, dtype=torch.bool)),
    "half a step": (lambda events: window_counts(events, 0.5), torch.ones(3, 1, 2, dtype=torch.bool)),
    "no window": (lambda events: fano_factor(events, 0), torch.ones(3, 1, 2, dtype=torch.bool)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str) -> None:
    measure, x = BAD[case]
    with pytest.raises(InputError, match="got .*; expected"):
        measure(EventTensor.from_dense(x))
