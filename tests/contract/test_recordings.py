"""Spike trains in foreign formats: one contract for exact times, silent units, silence and invalid input."""

from datetime import UTC, datetime
from types import SimpleNamespace

import h5py
import neo
import numpy as np
import pynwb
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns

START = datetime(2020, 1, 1, tzinfo=UTC)
DT = 1e-3


def by_brian2(events, folder):
    times, source = events.times().numpy() / 1e9, range(events.shape[2])
    monitor = SimpleNamespace(i=events.index.numpy(), t=times, source=source)
    return ns.io.brian2.read(monitor, dt=DT, duration=events.shape[0] * DT)


def by_nwb(events, folder):
    ns.io.nwb.write(events, folder / "a.nwb", START)
    return ns.io.nwb.read(folder / "a.nwb", dt=DT).events


def by_neo(events, folder):
    return ns.io.neo.read(ns.io.neo.write(events), dt=DT).events


def by_pynapple(events, folder):
    group = ns.io.pynapple.write(events)
    ns.io.pynapple.save(events, folder / "a.npz")
    events, again = (ns.io.pynapple.read(source, dt=DT).events for source in (group, folder / "a.npz"))
    assert times_and_units(events) == times_and_units(again) and events.shape == again.shape, (
        "the file and the group hold the same spikes"
    )
    return again


FORMATS = {"brian2": by_brian2, "nwb": by_nwb, "neo": by_neo, "pynapple": by_pynapple}
every_format = pytest.mark.parametrize("through", FORMATS.values(), ids=FORMATS)


@st.composite
def recordings(draw):
    """Nanoseconds of a few units, some of them silent, over some whole steps that may end in silence."""
    units, steps = draw(st.integers(1, 4)), draw(st.integers(1, 3_000_000))
    spikes = draw(st.lists(st.tuples(st.integers(0, steps * 10**6 - 1), st.integers(0, units - 1)), max_size=12))
    times, unit = torch.tensor([t for t, _ in spikes]).double() / 1e9, torch.tensor([u for _, u in spikes]).long()
    return ns.EventTensor.from_times(times, unit, n_units=units, dt=DT, duration=steps / 1000), sorted(spikes)


def times_and_units(events):
    return sorted(zip(events.times().tolist(), events.index.tolist(), strict=True))


@every_format
@settings(max_examples=15)  # NWB writes a file of 180 kB for each
@given(recording=recordings())
def test_times_units_and_duration_survive(tmp_path_factory, through, recording):
    events, spikes = recording
    again = through(events, tmp_path_factory.mktemp("recording"))
    assert times_and_units(again) == spikes
    assert again.shape == events.shape and again.binary and (again.dt, again.t0, again.axis) == (DT, 0.0, "time")


@every_format
def test_silence_survives(tmp_path, through):
    silent = ns.EventTensor.from_times([], [], n_units=3, dt=DT, duration=2.5)
    again = through(silent, tmp_path)
    assert again.shape == (2500, 1, 3) and again.n_events == 0


@every_format
def test_two_spikes_of_a_unit_in_one_step_survive(tmp_path, through):
    events = ns.EventTensor.from_times([0.0001, 0.0001, 0.0009], [1, 1, 1], n_units=2, dt=DT)
    assert times_and_units(through(events, tmp_path)) == [(100_000, 1), (100_000, 1), (900_000, 1)]


@pytest.mark.parametrize("through", [by_nwb, by_neo, by_pynapple])
@pytest.mark.parametrize("t0", [-0.5, 0.1, 86_400.0001])
def test_the_start_survives(tmp_path, through, t0):
    events = ns.EventTensor.from_times([t0, t0 + 0.3], [0, 1], n_units=2, dt=DT, duration=1.0, t0=t0)
    again = through(events, tmp_path)
    assert (again.t0, again.shape) == (t0, (1000, 1, 2)) and times_and_units(again) == times_and_units(events)


def test_samples_of_any_length_are_the_segments_of_a_block():
    parts = [
        ns.EventTensor.from_times(
            torch.rand(9, generator=torch.Generator().manual_seed(n)).double() * n,
            [0, 1, 2] * 3,
            n_units=3,
            dt=DT,
            duration=float(n),
        )
        for n in (1, 3, 2)
    ]
    events = torch.utils.data.default_collate(parts)
    block = ns.io.neo.write(events, ["a", "b", "c"])
    again, units = ns.io.neo.read(block, dt=DT)
    assert units == ["a", "b", "c"] and again.lengths.tolist() == [1000, 3000, 2000]
    for sample, one in enumerate(parts):
        assert times_and_units(again.samples(sample)) == times_and_units(one)
        assert times_and_units(ns.io.neo.read(block.segments[sample], dt=DT).events) == times_and_units(one)


@pytest.mark.parametrize(("unit", "nanoseconds"), [("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9)])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_any_unit_of_time_is_exact(unit, nanoseconds, dtype):
    far = 2**22 * 10**9 // nanoseconds - 2
    times = np.array([0, 3, 7, far // 3, far], dtype)
    train = neo.SpikeTrain(times, units=unit, t_stop=far + 1)
    assert ns.io.neo.read([train], dt=DT).events.times().tolist() == [int(t) * nanoseconds for t in times]


def test_a_start_in_milliseconds_is_exact_in_decimal():
    train = neo.SpikeTrain([5.0], units="ms", t_start=4.1, t_stop=20.1)
    assert ns.io.neo.read([train], dt=DT).events.t0 == 0.0041  # while 4.1 * 0.001 is 0.0040999999999999995


def test_float32_times_are_read_exactly():
    train = neo.SpikeTrain(np.array([0.1, 12345.678], np.float32), units="ms", t_stop=20_000)
    expected = [round(float(np.float32(t)) * 1e6) for t in (0.1, 12345.678)]
    assert ns.io.neo.read([train], dt=DT).events.times().tolist() == expected


def test_float32_times_in_any_unit_are_scaled_in_float64():
    train = neo.SpikeTrain(np.array([0.1, 123.4], np.float32), units="min", t_stop=200)
    expected = [round(float(np.float32(t)) * 60e9) for t in (0.1, 123.4)]
    assert ns.io.neo.read([train], dt=DT).events.times().tolist() == expected


def test_a_spike_at_the_very_end_is_kept():
    train = neo.SpikeTrain([0.5, 1.0], units="s", t_stop=1.0)
    assert times_and_units(ns.io.neo.read([train], dt=DT).events) == [(500_000_000, 0), (1_000_000_000, 0)]


def test_a_warning_is_given_for_units_that_were_not_always_observed():
    trains = [neo.SpikeTrain([0.5], units="s", t_stop=stop) for stop in (1.0, 2.0)]
    with pytest.warns(UserWarning, match="not observed all the time from 0.0 to 2.0 s"):
        assert ns.io.neo.read(trains, dt=DT).events.shape == (2000, 1, 2)


def test_lazy_trains_are_loaded():
    train = neo.SpikeTrain([0.5], units="s", t_stop=1.0, name="a")
    proxy = SimpleNamespace(load=lambda: train)
    assert ns.io.neo.read([proxy], dt=DT).units == ["a"]


def test_ids_of_units_are_those_of_the_file(tmp_path):
    events = ns.EventTensor.from_times([0.5, 0.25], [0, 2], n_units=3, dt=DT)
    ns.io.nwb.write(events, tmp_path / "a.nwb", START, units=[206, 6, 191], lab="ours")
    assert ns.io.nwb.read(tmp_path / "a.nwb", dt=DT).units == [206, 6, 191]
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as file:
        session = file.read()
        assert session.lab == "ours" and session.session_start_time == START
        assert session.units.to_dataframe().loc[191, "spike_times"].tolist() == [0.25]


def test_a_session_without_a_stated_end_ends_with_its_last_spike(tmp_path):
    """A file of another writer, without intervals of observation."""
    session = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=START)
    session.add_unit(spike_times=[0.0123, 0.5])
    session.add_unit(spike_times=[])
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as file:
        file.write(session)
    assert ns.io.nwb.read(tmp_path / "a.nwb", dt=DT).events.shape == (501, 1, 2)
    assert ns.io.nwb.read(tmp_path / "a.nwb", dt=DT, duration=2.0).events.shape == (2000, 1, 2)
    with pytest.raises(ns.InputError, match="an event at 0.5 s"):
        ns.io.nwb.read(tmp_path / "a.nwb", dt=DT, duration=0.4)


def written(path):
    events = ns.EventTensor.from_times([0.5, 0.25], [0, 2], n_units=3, dt=DT, duration=1.0)
    ns.io.nwb.write(events, path, START)
    return path


def _without_units(path):
    session = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=START)
    with pynwb.NWBHDF5IO(str(path), "w") as file:
        file.write(session)


def _shift(path, shift):
    with h5py.File(path, "r+") as file:
        file["units/spike_times"][:] += shift


def _misfit(path):
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][:] = [2, 1, 2]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "expected an NWB file. Check the path."),
        (lambda path: path.write_text("hello"), "expected a valid NWB file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5000]), "expected a valid NWB file"),
        (lambda path: h5py.File(path, "w").close(), "Missing NWB version"),
        (_without_units, "without spike times; expected a table of units"),
        (_misfit, "index does not fit"),
        (lambda path: _shift(path, 0.6), "an event at 1.1 s"),
        (lambda path: _shift(path, -0.3), "a time before t0"),
        (lambda path: _shift(path, np.nan), "not finite|finite seconds"),
    ],
    ids=range(9),
)
def test_damaged_files_are_refused(tmp_path, damage, complaint):
    damage(written(tmp_path / "a.nwb"))
    with pytest.raises(ns.InputError, match=complaint) as refusal:
        ns.io.nwb.read(tmp_path / "a.nwb", dt=DT)
    assert "\n" not in str(refusal.value)


def _train(times=(0.5,), stop=1.0, unit="s", **options):
    return neo.SpikeTrain(list(times), units=unit, t_stop=stop, **options)


def _block(*segments):
    block = neo.Block()
    for trains in segments:
        block.segments.append(neo.Segment())
        block.segments[-1].spiketrains.extend(trains)
    return block


def _late(train):
    train.t_stop = 0.1 * train.units
    return train


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ([], "an empty list"),
        ([np.ones(3)], "list of ndarray"),
        (neo.Block(), "a block without segments"),
        (neo.Segment(), "an empty Segment"),
        (_block([_train(name="a")], [_train(name="b")]), "the same units"),
        (_block([_train()], [_train(), _train()]), "the same units"),
        (_block([_train()], [_train(t_start=0.5)]), "one start. Use segment.time_shift"),
        ([_train(unit="mV", t_start=0.0)], "a unit of time"),
        ([_late(_train())], "an event at 0.5 s"),
        ([_train((2.0**22,), 2.0**23)], "Subtract the start"),
    ],
    ids=range(10),
)
def test_invalid_sources_are_refused(source, complaint):
    with pytest.raises(ns.InputError, match=complaint):
        ns.io.neo.read(source, dt=DT)


@pytest.mark.parametrize(
    ("events", "units", "complaint"),
    [
        (ns.EventTensor.from_dense(torch.ones(2, 1, 2), dt=DT), None, "graded events"),
        (ns.EventTensor.from_dense(torch.ones(2, 1, 2) > 0), None, "dt=None"),
        (ns.EventTensor.from_dense(torch.ones(2, 1, 2, 2) > 0, dt=DT), None, "shape"),
        (ns.EventTensor.from_dense(torch.ones(2, 1, 2) > 0, dt=DT), [1], "1 names of units"),
        (ns.EventTensor.from_dense(torch.ones(2, 1, 2) > 0, dt=DT, t0=2.0**22), None, "48 days"),
    ],
    ids=range(5),
)
def test_events_that_a_format_cannot_hold_are_refused(tmp_path, events, units, complaint):
    for write in (
        lambda: ns.io.neo.write(events, units),
        lambda: ns.io.nwb.write(events, tmp_path / "a", START, units),
    ):
        with pytest.raises(ns.InputError, match=complaint):
            write()
    assert not any(tmp_path.iterdir())


def test_a_file_holds_one_sample(tmp_path):
    with pytest.raises(ns.InputError, match="events.samples"):
        ns.io.nwb.write(ns.EventTensor.from_dense(torch.ones(2, 3, 2) > 0, dt=DT), tmp_path / "a.nwb", START)
    with pytest.raises(ns.MissingFileError, match="existing folder"):
        ns.io.nwb.write(ns.EventTensor.from_dense(torch.ones(2, 1, 2) > 0, dt=DT), tmp_path / "b" / "a.nwb", START)


def test_a_real_session_is_read_exactly_and_survives_a_round_trip(shared_data, tmp_path):
    """Head-direction cells: ids, counts and times as h5py reads them from the file."""
    path = shared_data("neuro/A8604-211122.nwb")
    with h5py.File(path) as file:
        seconds, ends = file["units/spike_times"][:], file["units/spike_times_index"][:]
        ids = file["units/id"][:].tolist()
    events, units = ns.io.nwb.read(path, dt=DT)
    assert units == ids and events.counts()[0].tolist() == np.diff(ends, prepend=0).tolist()
    unit = np.repeat(np.arange(3), np.diff(ends, prepend=0))
    assert times_and_units(events) == sorted((round(t * 1e9), int(u)) for t, u in zip(seconds, unit, strict=True))
    ns.io.nwb.write(events, tmp_path / "again.nwb", START, units)
    again = ns.io.nwb.read(tmp_path / "again.nwb", dt=DT)
    assert (
        again.units == ids
        and times_and_units(again.events) == times_and_units(events)
        and again.events.shape == events.shape
    )
