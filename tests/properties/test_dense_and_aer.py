"""Properties 1 and 4: dense and address forms are exact inverses; a lossy conversion needs a name."""

from collections import Counter

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns

TENSORS = es.shapes().flatmap(lambda s: st.sampled_from([*es.DTYPES, "bool"]).flatmap(lambda d: es.arrays(s, d)))


@given(TENSORS)
def test_dense_is_the_inverse_of_from_dense(x):
    dense = ns.EventTensor.from_dense(x).dense()
    assert dense.dtype == x.dtype and dense.shape == x.shape
    assert torch.equal(dense, x)
    if x.is_floating_point():
        assert torch.equal(torch.signbit(dense), torch.signbit(x))  # -0.0 too


@given(TENSORS)
def test_event_form_holds_every_value(x):
    events = es.as_events(ns.EventTensor.from_dense(x))
    assert torch.equal(events.dense().to(x.dtype), x)
    assert events.n_events == sum(v != 0 for v in x.flatten().tolist())


@given(es.shapes().flatmap(lambda s: st.tuples(es.arrays(s, "float64"), es.arrays(s, "float64", es.finite()))))
def test_gradient_of_dense_is_the_identity(pair):
    x, grad = pair
    x = x.clone().requires_grad_()
    ns.EventTensor.from_dense(x).dense().backward(grad)
    assert x.grad is not None and torch.equal(x.grad, grad)


@given(es.grid_events(), st.randoms(use_true_random=False))
def test_addresses_in_any_order(events, random):
    step, sample, unit, value = events.aer()
    order = list(range(events.n_events))
    random.shuffle(order)
    order = torch.tensor(order, dtype=torch.int64)
    named = {"shape": events.shape, "dt": events.dt, "t0": events.t0, "axis": events.axis, "lengths": events.lengths}
    shuffled = (step[order], sample[order], unit[order], None if value is None else value[order])
    es.assert_same(ns.EventTensor.from_aer(*shuffled, **named), events)


@given(es.shapes(1).filter(lambda s: len(s) == 4).flatmap(lambda s: es.arrays(s, "float32", es.finite())))
def test_units_may_come_as_coordinates(x):
    step, sample, *unit = x.nonzero().unbind(1)
    at = x[step, sample, unit[0], unit[1]]
    events = ns.EventTensor.from_aer(step, sample, torch.stack(unit, 1), at, shape=x.shape)
    assert torch.equal(events.dense(), x)


@given(es.grid_events())
def test_rows_are_sorted_and_pointers_agree(events):
    cell = events.row * max(events.n_units, 1) + events.index
    assert bool((cell.diff() > 0).all())
    assert events.row.dtype == torch.int64 and events.index.dtype == torch.int32
    per_row = Counter(events.row.tolist())
    n_rows = events.shape[0] * events.shape[1]
    assert events.row_ptr.diff().tolist() == [per_row[r] for r in range(n_rows)]


CELLS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2), st.integers(-3, 3)), min_size=1, max_size=15
)


def _from_cells(cells, graded, **options):
    step, sample, unit, value = (torch.tensor(part) for part in zip(*cells, strict=True))
    return ns.EventTensor.from_aer(step, sample, unit, value if graded else None, shape=(3, 2, 3), **options)


@given(CELLS)
def test_collisions_are_refused_summed_or_one(cells):
    total, times = Counter(), Counter()
    for *cell, value in cells:
        total[tuple(cell)] += value
        times[tuple(cell)] += 1
    summed = _from_cells(cells, graded=True, on_collision="sum")
    assert {tuple(c): v for *c, v in zip(*(p.tolist() for p in summed.aer()), strict=True)} == {
        cell: value for cell, value in total.items() if value
    }
    counted = _from_cells(cells, graded=False, on_collision="sum")
    assert counted.dense().sum().item() == len(cells)
    once = _from_cells(cells, graded=False, on_collision="any")
    assert once.binary and set(zip(*(p.tolist() for p in once.aer()[:3]), strict=True)) == set(times)
    if max(times.values()) > 1:
        with pytest.raises(ns.InputError, match="duplicate"):
            _from_cells(cells, graded=False)


@given(es.grid_events(), st.integers(1, 4))
def test_bins_add_what_they_merge(events, k):
    binned = events.bin(k, on_collision="sum")
    steps, samples, *units = events.shape
    expected = torch.zeros(-(-steps // k), samples, *units, dtype=torch.float64)
    for step in range(steps):
        expected[step // k] += events.dense()[step].double()
    if bool(expected.isfinite().all()) and events.dtype in (torch.float64, torch.int64, torch.bool):
        torch.testing.assert_close(binned.dense().double(), expected, rtol=1e-12, atol=1e-12)
    assert binned.shape == expected.shape
    if events.lengths is not None:
        assert binned.lengths.tolist() == [-(-n // k) for n in events.lengths.tolist()]
    spikes = events.bin(k, on_collision="any")
    assert spikes.binary and spikes.n_events <= events.n_events
    if k == 1:
        es.assert_same(events.bin(1), events)


@given(es.shapes(1).flatmap(lambda s: es.arrays(s, "float64", es.finite())))
def test_levels_are_the_sum_of_changes(x):
    levels = ns.EventTensor.from_dense(x).cumulate().dense()
    so_far = torch.zeros_like(x[0])
    for step, change in enumerate(x):
        so_far = so_far + change
        assert torch.equal(levels[step], so_far)  # dyadic numbers add exactly


def test_zero_values_are_silence_and_spikes_are_declared():
    x = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    assert not ns.EventTensor.from_dense(x).binary  # never guessed from the values
    assert ns.EventTensor.from_dense(x, spikes=True).binary
    at = torch.arange(3)
    assert ns.EventTensor.from_aer(at, at * 0, at * 0, x.flatten(), shape=(3, 1, 1)).n_events == 2


@pytest.mark.parametrize("bad", [[[0.5]], [[True]]])
def test_floats_are_never_floored_to_a_step(bad):
    at = torch.tensor(bad).flatten()
    with pytest.raises(ns.InputError, match="expected integers"):
        ns.EventTensor.from_aer(at, torch.tensor([0]), torch.tensor([0]), shape=(2, 1, 1))
