"""NIR's data: size, silence, start and step of events survive a round trip, and no time is floored."""

import tempfile
from pathlib import Path

import event_strategies as es
import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.errors import InputError, MissingFileError


@st.composite
def timed(draw):
    """Events with one axis of units, in seconds, with samples of one length."""
    shape = draw(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(1, 4)))
    values = draw(es.arrays(shape, "float64", st.sampled_from([0.0, 0.0, 1.0, -2.5])))
    spikes = draw(st.booleans())
    dt, t0 = draw(st.sampled_from([1e-3, 1e-4, 0.1, 1e-6, 1e-3 / 3, 0.3])), draw(st.sampled_from([0.0, 0.5, 0.1]))
    events = ns.EventTensor.from_dense((values != 0).float() if spikes else values, dt, t0=t0, spikes=spikes)
    return es.as_events(events) if draw(st.booleans()) else events


@given(timed() | es.recordings(), st.booleans())
def test_events_survive_a_round_trip(events, by_file):
    if by_file:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.h5"
            ns.io.nir.data.write({"lif": events}, path)
            back = ns.io.nir.data.read(path, events.dt, t0=events.t0)["lif"]["spikes" if events.binary else "values"]
    else:
        back = ns.io.nir.data.read(ns.io.nir.data.write(events), events.dt, t0=events.t0)
    es.assert_same(back, events)


@given(timed())
def test_grids_survive_a_round_trip(events):
    events = ns.EventTensor.from_dense(events.dense(), events.dt, spikes=events.binary)
    data = ns.io.nir.data.write(events, form="grid")
    assert data.data.shape == (events.shape[1], events.shape[0], events.shape[2]) and data.dt == events.dt
    assert data.data.dtype == (bool if events.binary else np.float64)
    es.assert_same(ns.io.nir.data.read(data), events)


@given(st.data())
def test_nirs_fields_hold_the_same_events(data):
    """By NIR's own fields: times are steps times dt, silence is -1 at infinity, the end is steps times dt."""
    events = data.draw(timed())
    found = ns.io.nir.data.write(events)
    assert (found.n_neurons, found.n_samples) == (events.shape[2], events.shape[1])
    assert found.t_max == pytest.approx(events.t0 + events.shape[0] * events.dt)
    assert (np.diff(np.where(np.isinf(found.time), 1e9, found.time), axis=1) >= 0).all()
    for sample in range(events.shape[1]):
        at = found.idx[sample] >= 0
        assert np.isinf(found.time[sample][~at]).all()
        dense = np.zeros(events.shape[::2])
        steps = np.rint((found.time[sample][at] - events.t0) / events.dt).astype(int)
        dense[steps, found.idx[sample][at]] = 1 if events.binary else found.value[sample][at]
        np.testing.assert_array_equal(dense, events.dense()[:, sample].numpy())


def test_a_grid_survives_where_nirs_own_conversion_loses_spikes():
    """A spike in every step: of 1000 steps of 0.1 s, flooring loses some, and moves their spikes one step back."""
    events = ns.EventTensor.from_dense(torch.ones(1000, 1, 1), 0.1, spikes=True)
    data = ns.io.nir.data.write(events, form="grid").to_event(n_events=1000)
    assert data.to_time_gridded(0.1).data.sum() < 1000
    es.assert_same(ns.io.nir.data.read(data, 0.1), events)


def test_float32_times_are_rounded_to_their_step():
    steps = np.arange(0, 20_000, 7)
    data = nir.EventData(np.zeros((1, len(steps)), int), (steps * 1e-3).astype(np.float32)[None], 1, 20.0)
    assert ns.io.nir.data.read(data, 1e-3).aer().step.tolist() == steps.tolist()


def test_times_between_steps_keep_their_rest():
    data = nir.EventData(np.array([[0, 1], [1, -1]]), np.array([[0.0012, 0.003], [0.0041, np.inf]]), 2, 0.0105)
    events = ns.io.nir.data.read(data, 1e-3)
    assert events.shape == (11, 2, 2)
    assert sorted(events.times().tolist()) == [1_200_000, 3_000_000, 4_100_000]


def test_two_events_in_one_cell_need_on_collision():
    data = nir.EventData(np.array([[0, 0]]), np.array([[0.1, 0.1]]), 1, 0.5)
    with pytest.raises(InputError, match="duplicate"):
        ns.io.nir.data.read(data, 0.1)
    assert ns.io.nir.data.read(data, 0.1, on_collision="any").n_events == 1


EVENTS = ns.EventTensor.from_dense(torch.ones(2, 2, 2), 0.1, spikes=True)
ONE = np.array([[0]])
REFUSED = {
    "no dt": (lambda: ns.io.nir.data.read(ns.io.nir.data.write(EVENTS)), "expected dt"),
    "another dt": (lambda: ns.io.nir.data.read(ns.io.nir.data.write(EVENTS, form="grid"), 0.2), "the data's dt=0.1"),
    "a unit": (lambda: ns.io.nir.data.read(nir.EventData(ONE + 3, ONE * 0.1, 3, 1.0), 0.1), "units 3 to 3"),
    "late": (lambda: ns.io.nir.data.read(nir.EventData(ONE, ONE + 1.0, 3, 1.0), 0.1), "t_max = 1 s"),
    "early": (lambda: ns.io.nir.data.read(nir.EventData(ONE, ONE - 0.1, 3, 1.0), 0.1), "times from -0.1"),
    "never": (lambda: ns.io.nir.data.read(nir.EventData(ONE, ONE * np.nan, 3, 1.0), 0.1), "times from nan"),
    "a value between": (
        lambda: ns.io.nir.data.read(nir.ValuedEventData(ONE, ONE + 0.25, 1, 1.0, ONE + 1.0), 0.1),
        "between steps",
    ),
    "a form": (lambda: ns.io.nir.data.write(EVENTS, form="csr"), "'events', 'grid'"),
    "no time": (lambda: ns.io.nir.data.write(ns.EventTensor.from_dense(torch.ones(2, 2, 2))), "Build it with dt"),
    "images": (lambda: ns.io.nir.data.write(ns.EventTensor.from_dense(torch.ones(2, 2, 2, 2), 0.1)), "Flatten"),
    "lengths": (
        lambda: ns.io.nir.data.write(
            ns.EventTensor.from_dense(torch.tensor([[[1.0]], [[0.0]]]), 0.1, lengths=torch.tensor([1]))
        ),
        "one sample at a time",
    ),
    "a start": (
        lambda: ns.io.nir.data.write(ns.EventTensor.from_dense(torch.ones(2, 2, 2), 0.1, t0=0.5), form="grid"),
        "t0=0.5",
    ),
    "sub-step times": (
        lambda: ns.io.nir.data.write(ns.EventTensor.from_times([0.15], [0], n_units=1, dt=0.1), form="grid"),
        "sub-step times",
    ),
    "no data": (lambda: ns.io.nir.data.read(7, 0.1), "NIR's data, or a path"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_field_is_refused(name):
    attempt, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        attempt()


def test_damaged_and_missing_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError):
        ns.io.nir.data.read(tmp_path / "nowhere.h5")
    path = tmp_path / "data.h5"
    ns.io.nir.data.write(EVENTS, path)
    assert torch.equal(ns.io.nir.data.read(path, 0.1)["input"]["spikes"].dense(), EVENTS.dense())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="data of a NIR graph"):
        ns.io.nir.data.read(path, 0.1)
