"""k-winners-take-all: the k largest, the first of equal values; gradients of winners only."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurosparse.coding import KWTA, kwta
from neurosparse.errors import InputError
from neurosparse.events import EventTensor


@given(
    steps=st.integers(1, 3),
    samples=st.integers(1, 3),
    rows=st.data(),
    units=st.integers(1, 8),
)
def test_winners_are_the_first_k_of_a_stable_ranking(steps, samples, rows, units):
    """Small integers, so that ties are everywhere; the oracle ranks Python tuples (-value, index)."""
    k = rows.draw(st.integers(1, units))
    values = rows.draw(st.lists(st.integers(-2, 2), min_size=steps * samples * units, max_size=steps * samples * units))
    x = torch.tensor(values, dtype=torch.float32).view(steps, samples, units)
    expected = torch.zeros_like(x)
    for row, out in zip(x.view(-1, units), expected.view(-1, units), strict=True):
        for unit in sorted(range(units), key=lambda u: (-float(row[u]), u))[:k]:
            out[unit] = row[unit]
    sent = kwta(x, k)
    assert torch.equal(sent.dense(), expected)
    assert sent.n_events == int((expected != 0).sum())
    assert torch.equal(kwta(EventTensor.from_dense(x), k).dense(), expected)


def test_exactly_k_events_in_every_row():
    sent = kwta(torch.randn(4, 5, 3, 6, generator=torch.Generator().manual_seed(0)), 7)
    assert sent.shape == (4, 5, 3, 6) and torch.bincount(sent.row).tolist() == [7] * 20


def test_the_first_of_many_equals_win():
    x = torch.ones(1, 1, 5000)
    assert kwta(x, 100).index.tolist() == list(range(100))


def test_gradient_reaches_winners_only():
    x = torch.tensor([[[3.0, -1.0, 2.0, 0.5]]], requires_grad=True)
    kwta(x, 2).dense().backward(torch.tensor([[[5.0, 6.0, 7.0, 8.0]]]))
    assert x.grad.tolist() == [[[5.0, 0.0, 7.0, 0.0]]]


def test_time_and_lengths_are_kept_and_padding_stays_silent():
    events = EventTensor.from_dense(
        torch.tensor([[[1.0, 2.0], [1.0, 2.0]], [[0.0, 0.0], [3.0, 4.0]]]),
        dt=1e-3,
        t0=0.5,
        lengths=torch.tensor([1, 2]),
    )
    sent = kwta(events, 1)
    assert (sent.dt, sent.t0, sent.axis) == (1e-3, 0.5, "time") and sent.lengths.tolist() == [1, 2]
    after_linear = torch.nn.functional.linear(events, torch.eye(2), torch.ones(2))  # a bias makes padding non-zero
    padded = kwta(after_linear, 1)
    assert padded.dt == 1e-3 and padded.aer().step.tolist() == [0, 0, 1]


def test_a_ranking_costs_a_heap_of_k():
    x = torch.randn(3, 4, 50)
    sent = kwta(x, 5)
    (cost,) = kwta.describe(sent, x, 5)
    assert cost.kind == "compare" and cost.output is sent
    assert cost.comparisons == 3 * 4 * 50 * math.ceil(math.log2(6))
    constant = x[:1].expand(3, 4, 50)
    (cost,) = kwta.describe(kwta(constant, 5), constant, 5)
    assert cost.comparisons == 4 * 50 * math.ceil(math.log2(6))
    (cost,) = kwta.describe(
        ragged := kwta(EventTensor.from_dense(torch.zeros(3, 2, 8), lengths=torch.tensor([1, 3])), 1), x, 1
    )
    assert cost.comparisons == ragged.n_rows * 8 == 4 * 8


@pytest.mark.parametrize(("fraction", "winners"), [(0.05, 5), (0.001, 1), (1.0, 100), (0.5, 50)])
def test_fraction_of_the_units(fraction, winners):
    x = torch.rand(1, 2, 10, 10) + 1
    for layer in (KWTA(fraction=fraction), KWTA(k=winners)):
        assert layer(x).n_events == 2 * winners
        assert copy.deepcopy(layer)(x).n_events == pickle.loads(pickle.dumps(layer))(x).n_events == 2 * winners


@pytest.mark.parametrize("k", [0, -1, 5, 1.0, True, None])
def test_k_out_of_range(k):
    with pytest.raises(InputError, match="k=.*1 to 4"):
        kwta(torch.zeros(1, 1, 4), k)


def test_bad_rows():
    with pytest.raises(InputError, match="steps, samples"):
        kwta(torch.zeros(2, 4), 1)
    with pytest.raises(InputError, match="NaN"):
        kwta(torch.full((1, 1, 2), torch.nan), 1)


@pytest.mark.parametrize("options", [{}, {"k": 1, "fraction": 0.1}, {"fraction": 0.0}, {"fraction": 1.1}, {"k": 0}])
def test_bad_layer(options):
    with pytest.raises(InputError, match="KWTA"):
        KWTA(**options)


@pytest.mark.parametrize("within", ["channel", "position"])
def test_units_compete_within_a_channel_or_a_position(within):
    """Ranked by hand, one competing group at a time."""
    x = torch.randint(-2, 3, (2, 3, 4, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    sent = kwta(x, 2, within=within).dense().flatten(3)
    groups, answers = (x.flatten(3), sent) if within == "channel" else (x.flatten(3).mT, sent.mT)
    for row, out in zip(groups.flatten(0, 2), answers.flatten(0, 2), strict=True):
        winners = sorted(range(len(row)), key=lambda u: (-float(row[u]), u))[:2]
        assert out.tolist() == [float(row[u]) if u in winners else 0.0 for u in range(len(row))]


def test_straight_through_passes_every_gradient():
    x = torch.tensor([[[3.1, -1.7, 2.3, 0.5]]], requires_grad=True)
    sent = kwta(x, 2, straight_through=True)
    assert torch.equal(sent.dense(), torch.tensor([[[3.1, 0.0, 2.3, 0.0]]]))
    sent.dense().backward(torch.tensor([[[5.0, 6.0, 7.0, 8.0]]]))
    assert x.grad.tolist() == [[[5.0, 6.0, 7.0, 8.0]]]


def test_boosting_brings_every_unit_to_its_share():
    """Unboosted, units with larger means always win; boosted, no unit is silent, and values stay what they are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 4000, 20, generator=generator) + torch.linspace(0.5, 1, 20)
    share = {}
    for boost in (0.0, 5.0):
        layer = KWTA(k=2, boost=boost, memory=200)
        wins = torch.cat([layer(batch).counts() for batch in x.split(50, 1)])[2000:]
        share[boost] = wins.mean(0)
    assert share[0.0].min() < 0.005
    assert share[5.0].min() > 0.03
    layer.eval()
    duty, sent = layer.duty.clone(), layer(x[:, :100])
    assert torch.equal(layer.duty, duty)
    assert torch.equal(sent.dense()[sent.dense() != 0], x[:, :100][sent.dense() != 0])


def test_duty_is_an_average_over_rows_whatever_the_batches():
    """Unit 0 always wins: from k / n, its duty nears one as (1 - 1 / memory)^rows."""
    x = torch.tensor([1.0, 0.1, 0.1, 0.1]).expand(1, 60, 4)
    for rows in (60, 7):
        layer = KWTA(k=1, boost=0.01, memory=50)
        for batch in x.split(rows, 1):
            layer(batch)
        expected = [1 - 0.75 * (1 - 1 / 50) ** 60] + [0.25 * (1 - 1 / 50) ** 60] * 3
        torch.testing.assert_close(layer.duty, torch.tensor(expected))


def test_a_trained_boost_is_loaded_into_a_fresh_layer():
    trained = KWTA(k=2, boost=3.0)
    trained(torch.rand(1, 30, 6))
    fresh = torch.nn.Sequential(KWTA(k=2, boost=3.0))
    fresh.load_state_dict(torch.nn.Sequential(trained).state_dict())
    x = torch.rand(1, 9, 6)
    assert torch.equal(fresh.eval()(x).dense(), trained.eval()(x).dense())
    assert torch.equal(fresh[0].duty, trained.duty)


@pytest.mark.parametrize(("within", "winners"), [(None, 18), ("channel", 6 * 3), ("position", 6 * 3)])
def test_a_fraction_is_one_of_those_that_compete(within, winners):
    x = torch.rand(1, 5, 6, 2, 3) + 1
    assert KWTA(fraction=0.5, within=within)(x).counts().sum((1, 2, 3)).tolist() == [winners] * 5
