"""Property 3: size is explicit. Trailing silence, silent units, lengths, t0 and offsets survive every conversion."""

import copy
import pickle
import tempfile
from pathlib import Path

import event_strategies as es
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns


def through_file(events: ns.EventTensor) -> ns.EventTensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.safetensors"
        events.save(path)
        return ns.load_events(path)


JOURNEYS = {
    "file": through_file,
    "pickle": lambda events: pickle.loads(pickle.dumps(events)),
    "deepcopy": copy.deepcopy,
    "to": lambda events: events.to("cpu"),
    "detach": lambda events: events.detach(),
    "all steps": lambda events: events.steps(0, events.shape[0]),
    "all samples": lambda events: events.samples(slice(None)),
    "cat of one": lambda events: ns.cat([events]),
}


@pytest.mark.parametrize("journey", JOURNEYS)
@given(events=es.any_events())
def test_nothing_is_lost(journey, events):
    es.assert_same(JOURNEYS[journey](events), events)


@given(es.any_events(), st.integers(0, 8))
def test_steps_cut_and_joined_again(events, at):
    at = min(at, events.shape[0])
    if events.lengths is not None and bool((events.lengths < at).any()):
        return  # such samples end before the cut; joining them is refused (below)
    es.assert_same(ns.cat([events.steps(0, at), events.steps(at, events.shape[0])], dim=0), events)


@given(es.grid_events(low=1), st.data())
def test_samples_cut_and_joined_again(events, data):
    at = data.draw(st.integers(0, events.shape[1]))
    left, right = events.samples(slice(0, at)), events.samples(slice(at, None))
    es.assert_same(ns.cat([left, right]), events)


@given(es.grid_events(low=1), st.data())
def test_units_cut_and_joined_again(events, data):
    at = data.draw(st.integers(0, events.shape[2]))
    named = {"dt": events.dt, "t0": events.t0, "axis": events.axis, "lengths": events.lengths, "spikes": events.binary}
    parts = [ns.EventTensor.from_dense(x, **named) for x in (events.dense()[:, :, :at], events.dense()[:, :, at:])]
    es.assert_same(ns.cat(parts, dim=2), events)


@given(es.grid_events(low=1), st.data())
def test_samples_may_be_taken_in_any_order_and_twice(events, data):
    idx = data.draw(st.lists(st.integers(0, events.shape[1] - 1), max_size=6))
    chosen = events.samples(torch.tensor(idx, dtype=torch.int64))
    assert torch.equal(chosen.dense(), events.dense()[:, idx])
    assert (chosen.lengths is None) == (events.lengths is None)
    if events.lengths is not None:
        assert chosen.lengths.tolist() == [events.lengths.tolist()[i] for i in idx]


@given(es.grid_events(low=1), st.integers(-7, 7), st.integers(-7, 7))
def test_steps_are_a_python_slice(events, start, stop):
    ends_early = events.lengths is not None and bool((events.lengths < events.shape[0]).any())
    if ends_early and min(start, stop) < 0:  # the end of the batch is not that of each sample
        with pytest.raises(ns.InputError, match="counted from the end"):
            events.steps(start, stop)
        return
    part = events.steps(start, stop)
    assert torch.equal(part.dense(), events.dense()[start:stop])
    if events.lengths is not None:
        first, last, _ = slice(start, stop).indices(events.shape[0])
        expected = [max(0, min(n, last) - first) for n in events.lengths.tolist()]
        assert part.lengths.tolist() == expected


def test_silence_is_size():
    empty = torch.zeros(0, dtype=torch.int64)
    silent = ns.EventTensor.from_aer(
        empty, empty, empty, shape=(7, 2, 3), dt=1e-3, t0=2.0, lengths=torch.tensor([7, 0])
    )
    for journey in JOURNEYS.values():
        again = journey(silent)
        assert (again.shape, again.t0, again.lengths.tolist()) == ((7, 2, 3), 2.0, [7, 0])
        assert again.counts().tolist() == [[0.0] * 3] * 2


ONE = ns.EventTensor.from_dense(torch.ones(2, 2, 1), dt=1e-3)


@pytest.mark.parametrize(
    ("other", "dim", "sentence"),
    [
        (ns.EventTensor.from_dense(torch.ones(2, 2, 1), dt=2e-3), 1, "one dt"),
        (ns.EventTensor.from_dense(torch.ones(2, 2, 1), dt=1e-3, axis="iteration"), 1, "one axis"),
        (ns.EventTensor.from_dense(torch.ones(2, 2, 1), dt=1e-3, t0=1.0), 1, "one start"),
        (ns.EventTensor.from_dense(torch.ones(2, 2, 2), dt=1e-3), 1, "equal but for axis 1"),
        (ns.EventTensor.from_dense(torch.ones(2, 2, 1), dt=1e-3), 3, "a whole number, -3 to 2"),
        (torch.ones(2, 2, 1), 1, "EventTensors"),
    ],
)
def test_joining_what_does_not_fit_is_refused(other, dim, sentence):
    with pytest.raises(ns.InputError, match=sentence):
        ns.cat([ONE, other], dim=dim)


def test_joining_steps_after_an_early_end_is_refused():
    early = ns.EventTensor.from_dense(torch.zeros(2, 2, 1), dt=1e-3, lengths=torch.tensor([1, 2]))
    with pytest.raises(ns.InputError, match="no steps after a sample has ended"):
        ns.cat([early, ONE], dim=0)
    with pytest.raises(ns.InputError, match="end together"):
        ns.cat([early, ONE], dim=2)
    with pytest.raises(ns.InputError, match="EventTensors"):
        ns.cat([])
