"""Property 5: order of samples, batching and padding change nothing that is counted; counts add up."""

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

import neurosparse as ns

FORMATS = ("dense", "bitmap", "aer", "csr", "rle")


@given(es.grid_events(low=1), st.data())
def test_order_of_samples(events, data):
    order = data.draw(st.permutations(range(events.shape[1])))
    turned = events.samples(list(order))
    assert turned.n_events == events.n_events and turned.density == events.density
    assert torch.equal(turned.counts(), events.counts()[list(order)])
    for format in FORMATS:
        assert turned.bits(format) == events.bits(format), format


@given(es.grid_events(low=1))
def test_counts_add_up_over_samples_and_steps(events):
    alone = [events.samples([i]) for i in range(events.shape[1])]
    assert sum(one.n_events for one in alone) == events.n_events
    assert torch.equal(torch.cat([one.counts() for one in alone]), events.counts())
    assert sum(one.n_rows for one in alone) == events.n_rows
    half = events.shape[0] // 2
    parts = events.steps(0, half), events.steps(half, events.shape[0])
    assert torch.equal(parts[0].counts() + parts[1].counts(), events.counts())
    assert parts[0].n_rows + parts[1].n_rows == events.n_rows


@given(es.grid_events(low=1), st.integers(0, 5))
def test_padding(events, more):
    """The same data in a longer tensor: everything but the shape stays."""
    steps, samples, *units = events.shape
    lengths = torch.full((samples,), steps) if events.lengths is None else events.lengths
    longer = torch.cat([events.dense(), events.dense().new_zeros(more, samples, *units)])
    named = {"dt": events.dt, "t0": events.t0, "axis": events.axis, "spikes": events.binary}
    padded = ns.EventTensor.from_dense(longer, lengths=lengths, **named)
    assert (padded.n_events, padded.n_rows, padded.density) == (events.n_events, events.n_rows, events.density)
    assert torch.equal(padded.counts(), events.counts())
    for format in FORMATS:
        assert padded.bits(format) == events.bits(format), format
    if events.dt is not None and bool((lengths > 0).all()):
        assert torch.equal(padded.rates(), events.rates())


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**31))
def test_ragged_recordings_collate(steps, dense, seed):
    generator = torch.Generator().manual_seed(seed)
    values = [torch.rand(n, 1, 3, generator=generator).round() for n in steps]
    items = [ns.EventTensor.from_dense(x, dt=1e-3, spikes=True) for x in values]
    batch = default_collate(items if dense else [es.as_events(item) for item in items])
    assert batch.shape == (max(steps), len(steps), 3) and batch.dt == 1e-3 and batch.binary
    assert batch.n_events == sum(item.n_events for item in items)
    assert torch.equal(batch.rates(), torch.cat([item.rates() for item in items]))
    for i, item in enumerate(items):
        es.assert_same(es.as_events(batch.samples(i).steps(0, steps[i])).detach(), _with_length(item, batch, steps[i]))


def _with_length(item: ns.EventTensor, batch: ns.EventTensor, steps: int) -> ns.EventTensor:
    lengths = None if batch.lengths is None else torch.tensor([steps])
    return es.as_events(ns.EventTensor.from_dense(item.dense(), dt=1e-3, spikes=True, lengths=lengths))


def test_rates_are_counts_over_each_sample_s_own_duration():
    x = torch.zeros(10, 2, 1)
    x[:4, 0], x[:4, 1] = 1, 1
    rates = ns.EventTensor.from_dense(x, dt=1e-3, lengths=torch.tensor([10, 5])).rates()
    torch.testing.assert_close(rates, torch.tensor([[400.0], [800.0]]))
    with pytest.raises(ns.InputError, match="a sample without steps"):
        ns.EventTensor.from_dense(torch.zeros(2, 2, 1), dt=1e-3, lengths=torch.tensor([2, 0])).rates()


def test_counts_stay_exact_in_half_precision():
    assert ns.EventTensor.from_dense(torch.ones(2049, 1, 1, dtype=torch.float16)).counts().item() == 2049


def test_a_constant_current_stays_constant_in_a_batch():
    one = ns.constant_current(torch.tensor([[1.0, 2.0]]), steps=4, dt=1e-3)
    batch = default_collate([one, one, one])
    assert batch.constant and batch.samples([2, 0]).constant and batch.detach().constant and batch.to("cpu").constant
    assert torch.equal(batch.dense(), torch.tensor([1.0, 2.0]).expand(4, 3, 2))
