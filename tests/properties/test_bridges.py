"""Spike trains of other libraries: times exact to the nanosecond, clocks, units, order, and what is left out."""

from datetime import UTC, datetime

import brian2
import h5py
import neo
import numpy as np
import pynapple
import pynwb
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import neurosparse as ns

START = datetime(2020, 1, 1, tzinfo=UTC)
EPOCH = 1_605_537_493_718_345  # microseconds since 1970
SIMULATIONS = 3  # each costs a second
brian2.prefs.codegen.target = "numpy"


def spikes_of(events):
    return sorted(zip(events.times().tolist(), events.index.tolist(), strict=True))


@settings(max_examples=60)
@given(
    st.sampled_from([0, 1, 2**31, EPOCH, 2**52 + 1]),
    st.lists(st.integers(0, 10**7), min_size=1, max_size=30).map(sorted),
    st.sampled_from([1e-6, 3e-6, 1e-3, 1 / 3e3, 0.1]),
    st.sampled_from(["<i8", ">i8", "<u8"]),
    st.booleans(),
)
def test_integer_microseconds_stay_exact(first, later, dt, kind, title):
    """Times since 1970 have 51 bits of microseconds: as float64 seconds they would be off by up to 119 ns."""
    polarity = (("p", "on"), "?") if title else ("p", "i1")
    records = np.zeros(len(later), [("t", kind), ("x", "<u2"), ("y", "<u2"), polarity])
    records["t"] = first + np.array(later)
    records["x"] = np.arange(len(later)) % 7
    events = ns.io.tonic.read(records, (7, 3, 2), dt=dt)
    assert spikes_of(events) == sorted((1000 * (first + t), i % 7) for i, t in enumerate(later))
    if dt == 1e-6:
        assert ns.io.tonic.write(events)["t"].tolist() == records["t"].tolist()


def written_shd(path, times, kind, unit=None):
    with h5py.File(path, "w") as file:
        for name, dtype, value in (("times", kind, times), ("units", "u2", np.arange(len(times)))):
            file.create_dataset(f"spikes/{name}", (1,), h5py.vlen_dtype(np.dtype(dtype)))[0] = value
        file["labels"] = np.array([3])
        if unit is not None:
            file["spikes/times"].attrs["unit"] = unit
    return path


UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
SPELLINGS = {"s": "seconds", "ms": "ms", "us": "microsecond", "ns": "Nanoseconds"}


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 4000), min_size=1, max_size=20),
    st.sampled_from(["i4", "u8", "i8", "f4", "f8", "f2"]),
    st.sampled_from([None, *UNITS]),
    st.booleans(),
)
def test_the_unit_of_shd_times_is_stated_or_asked(tmp_path_factory, times, kind, unit, in_file):
    values = np.array(times).astype(kind)
    stated = SPELLINGS[unit] if unit and in_file else None
    path = written_shd(tmp_path_factory.mktemp("shd") / "a.h5", values, kind, stated)
    asked = None if in_file else unit
    if unit is None and values.dtype.kind != "f":
        with pytest.raises(ns.InputError, match="without a unit.*Pass time_unit="):
            ns.io.shd.read(path, dt=1e-3)
        return
    events = ns.io.shd.read(path, dt=1e-3, time_unit=asked).events
    assert spikes_of(events) == sorted((int(t) * UNITS[unit or "s"], i) for i, t in enumerate(values))


@settings(max_examples=SIMULATIONS, phases=[Phase.generate])
@given(data=st.data())
def test_old_spikes_of_brian2_keep_the_times_of_their_clock(data):
    """The clock gets another dt between runs; spikes of earlier runs are not on its steps."""
    durations = [1e-4, 2e-4, 2.5e-4, 5e-4, 1e-3]
    group = brian2.NeuronGroup(3, "v : 1", threshold="rand() < 0.3", clock=brian2.Clock(dt=1e-4 * brian2.second))
    monitor = brian2.SpikeMonitor(group)
    network = brian2.Network(group, monitor)
    for dt in data.draw(st.lists(st.sampled_from(durations), min_size=1, max_size=3)):
        group.clock.dt = dt * brian2.second
        network.run(10 * brian2.ms, namespace={})
    group.clock.dt = data.draw(st.sampled_from(durations)) * brian2.second
    expected = sorted(
        zip(np.rint(np.asarray(monitor.t) * 1e9).astype(int).tolist(), np.asarray(monitor.i).tolist(), strict=True)
    )
    for dt in (None, 1e-3, 1e-4):
        assert spikes_of(ns.io.brian2.read(monitor, dt=dt)) == expected


@settings(max_examples=SIMULATIONS, phases=[Phase.generate])
@given(
    st.lists(st.integers(0, 40), max_size=5, unique=True),
    st.booleans(),
    st.sampled_from([0, 25]),
    st.sampled_from([0, 1, 9]),
    st.integers(1, 2),
)
def test_a_network_runs_on_after_respond(times, past, period, count, calls):
    """As if respond had not been called: state, time, spikes of the source and of the monitor."""

    def network():
        at = 1e-4 * np.array(sorted(t for t in times if not period or t < period))
        brian2.defaultclock.dt = 0.1 * brian2.ms  # whatever another test has set
        source = brian2.SpikeGeneratorGroup(2, np.zeros(len(at)), at * brian2.second, period=period * 0.1 * brian2.ms)
        cells = brian2.NeuronGroup(2, "dv/dt = -v / (1 * ms) : 1", threshold="v > 1", reset="v = 0", method="exact")
        synapses = brian2.Synapses(source, cells, on_pre="v_post += 0.7")
        synapses.connect()
        monitors = brian2.SpikeMonitor(source), brian2.SpikeMonitor(cells)
        found = brian2.Network(source, cells, synapses, *monitors)
        if past:
            found.run(2 * brian2.ms, namespace={})
        return found, source, *monitors

    inputs = ns.EventTensor.from_dense(torch.ones(count + 1, 2, 2), dt=1e-4, spikes=True)
    untouched, _, *expected = network()
    network_of_two, source, *found = network()
    for _ in range(calls):
        ns.io.brian2.respond(network_of_two, source, found[1], inputs, namespace={})
    for each in (untouched, network_of_two):
        each.run(4 * brian2.ms, namespace={})
    for mine, other in zip(found, expected, strict=True):
        assert np.array_equal(mine.t, other.t) and np.array_equal(mine.i, other.i)
    assert not network_of_two._stored_state


def nwb_file(path, trains, intervals=None, module=None):
    session = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=START)
    table = pynwb.misc.Units(name="units", description="x") if module else session
    for train in trains:
        observed = {} if intervals is None else {"obs_intervals": np.array(intervals, np.float64)}
        table.add_unit(spike_times=np.array(train, np.float64), **observed)
    if module:
        session.create_processing_module(module, "x").add(table)
    with pynwb.NWBHDF5IO(str(path), "w") as file:
        file.write(session)
    return path


@settings(max_examples=SIMULATIONS, phases=[Phase.generate])
@given(
    st.lists(st.lists(st.integers(-(10**9), 10**10), max_size=6), min_size=1, max_size=3).filter(any),
    st.booleans(),
    st.sampled_from([None, "ecephys"]),
)
def test_sound_nwb_files_are_read_with_an_option(tmp_path_factory, trains, observed, module):
    """Spikes before the session or after the end of observation, unsorted, in a processing module."""
    seconds = [[t / 1e9 for t in train] for train in trains]
    path = nwb_file(tmp_path_factory.mktemp("nwb") / "a.nwb", seconds, [[0, 1]] if observed else None, module)
    unsorted = any(train != sorted(train) for train in trains)
    flat = [t for train in trains for t in train]
    options = {"t0": min(flat) / 1e9} if min(flat) < 0 else {}
    if observed:
        options["duration"] = max(flat) / 1e9 + 2.0
    if options and (min(flat) < 0 or max(flat) > 10**9) and not unsorted:
        with pytest.raises(ns.InputError, match="Pass (t0|duration)="):
            ns.io.nwb.read(path, dt=1e-3)
    if unsorted:
        with pytest.warns(UserWarning, match="not in order"):
            found = ns.io.nwb.read(path, dt=1e-3, **options)
    else:
        found = ns.io.nwb.read(path, dt=1e-3, **options)
    assert spikes_of(found.events) == sorted((t, unit) for unit, train in enumerate(trains) for t in train)
    assert ns.io.nwb.left_out(path) == []


VALUED = {
    "Tsd": lambda t: pynapple.Tsd(t, t),
    "TsdFrame": lambda t: pynapple.TsdFrame(t, np.stack([t, t], 1)),
    "TsdTensor": lambda t: pynapple.TsdTensor(t, np.ones((len(t), 2, 2))),
    "TsGroup of Tsd": lambda t: pynapple.TsGroup({0: pynapple.Tsd(t, t)}),
}


@pytest.mark.parametrize("kind", VALUED)
def test_values_of_pynapple_are_refused(tmp_path, kind):
    source = VALUED[kind](np.array([0.1, 0.2, 0.3]))
    source.save(str(tmp_path / "a.npz"))
    for each in (source, tmp_path / "a.npz"):
        with pytest.raises(ns.InputError, match="which holds values.*pass nap.Ts"):
            ns.io.pynapple.read(each, dt=1e-3)
    pynapple.IntervalSet(0, 1).save(str(tmp_path / "b.npz"))
    with pytest.raises(ns.InputError, match="IntervalSet"):
        ns.io.pynapple.read(tmp_path / "b.npz", dt=1e-3)


def test_readers_name_what_they_leave_out(tmp_path):
    epochs = pynapple.IntervalSet([0, 2], [1, 3])
    group = pynapple.TsGroup({3: pynapple.Ts([0.5, 2.5])}, time_support=epochs, metadata={"area": ["CA1"]})
    group.save(str(tmp_path / "a.npz"))
    assert ns.io.pynapple.left_out(group) == ["column 'area'", "the borders of 2 epochs"]
    assert ns.io.pynapple.left_out(tmp_path / "a.npz") == ["metadata of the units", "the borders of 2 epochs"]
    session = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=START, lab="ours")
    session.add_unit_column(name="quality", description="x")
    session.add_unit(spike_times=[0.5], quality="good", waveform_mean=np.ones(4))
    session.add_acquisition(pynwb.TimeSeries(name="lfp", data=np.ones(3), unit="V", rate=1.0))
    session.add_trial(start_time=0.0, stop_time=1.0)
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as file:
        file.write(session)
    expected = {"acquisition/lfp", "general/lab", "intervals/trials", "units/quality", "units/waveform_mean"}
    assert set(ns.io.nwb.left_out(tmp_path / "a.nwb")) == expected
    train = neo.SpikeTrain([0.5], units="s", t_stop=1)
    train = neo.SpikeTrain([0.5], units="s", t_stop=1, waveforms=np.ones((1, 1, 4)) * train.units, area="CA1")
    segment = neo.Segment()
    segment.spiketrains.append(train)
    segment.epochs.append(neo.Epoch([0.1], [0.2], units="s"))
    assert ns.io.neo.left_out(segment) == ["epochs", "waveforms of trains", "annotation 'area' of trains"]
    with h5py.File(written_shd(tmp_path / "a.h5", np.ones(2), "f8"), "a") as file:
        file["extra/speaker"] = np.array([4])
    assert ns.io.shd.left_out(tmp_path / "a.h5") == ["extra"]


def _claims(path, names, attributes=()):
    """Data sets of a billion elements that take no room in the file."""
    with h5py.File(path, "a") as file:
        for name, kind in names.items():
            old = dict(file[name].attrs) if name in file else {}
            if name in file:
                del file[name]
            found = file.create_dataset(name, (10**9,), kind, chunks=(10**6,))
            for key in old:
                found.attrs[key] = old[key]
    return path


def _nwb_claims(path, name, kind):
    return _claims(nwb_file(path, [[0.5]]), {name: kind})


def _npz_claims(path):
    arrays = {"t": np.zeros(10_000_000), "index": np.zeros(10, int), "keys": np.zeros(1, int)}
    np.savez_compressed(path, start=np.zeros(1), end=np.ones(1), type=np.array(["TsGroup"]), **arrays)
    return path


SHD = {"spikes/times": h5py.vlen_dtype(np.float64), "spikes/units": h5py.vlen_dtype(np.uint16), "labels": "i8"}
CLAIMS = {
    "shd": (lambda folder: _claims(folder / "a.h5", SHD), ns.io.shd.read),
    "nwb times": (lambda folder: _nwb_claims(folder / "a.nwb", "units/spike_times", "f8"), ns.io.nwb.read),
    "nwb text": (
        lambda folder: _nwb_claims(folder / "a.nwb", "file_create_date", h5py.string_dtype()),
        ns.io.nwb.read,
    ),
    "pynapple": (lambda folder: _npz_claims(folder / "a.npz"), ns.io.pynapple.read),
    "nir": (lambda folder: _claims(folder / "a.nir", {"node/nodes/a/weight": "f8"}), ns.io.nir.read),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_small_files_that_state_large_arrays_are_refused(tmp_path, kind):
    make, read = CLAIMS[kind]
    path = make(tmp_path)
    assert path.stat().st_size < 2**18
    with pytest.raises(ns.InputError, match="bytes of arrays; expected at most"):
        read(path, dt=1e-3) if kind != "nir" else read(path)


def test_many_recordings_of_one_address_are_refused(tmp_path):
    """Every recording of the file is the same list in it: 3 MB in all, and 50 GB when read."""
    path, count = tmp_path / "a.h5", 40_000
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float64), ("units", np.uint32)):
            data = file.create_dataset(f"spikes/{name}", (count,), h5py.vlen_dtype(kind))
            data[0] = np.zeros(100_000, kind)
        file["labels"] = np.zeros(count, int)
        offsets = [file[f"spikes/{name}"].id.get_offset() for name in ("times", "units")]
    content = bytearray(path.read_bytes())
    for offset in offsets:
        content[offset : offset + 16 * count] = bytes(content[offset : offset + 16]) * count
    path.write_bytes(content)
    with pytest.raises(ns.InputError, match="bytes of arrays; expected at most"):
        ns.io.shd.read(path)


def test_messages_are_one_line_whatever_they_quote(tmp_path):
    error = ns.InputError("a\nb", got="x\n\x1b[31m" * 1000, expected="y\r\nz", fix="p\u2028q")
    assert str(error).isprintable() and len(str(error)) < 400
    long = ns.InputError("LIF: got " + "\x00" * 10**6)
    assert str(long).isprintable() and len(str(long)) < 10_000


def test_records_off_the_sensor_or_out_of_order_are_counted():
    records = np.array([(1, 1, 5, 1), (9, 1, 6, 1), (2, 1, 4, 0), (3, 1, 7, 1)], ns.io.tonic.CAMERA)
    with pytest.raises(ns.InputError, match="on_error='drop'"):
        ns.io.tonic.read(records, (4, 4, 2))
    with pytest.warns(UserWarning, match="1 events off the sensor, dropped; 1 events out of order, dropped"):
        assert ns.io.tonic.read(records, (4, 4, 2), on_error="drop").times().tolist() == [5000, 7000]
    with pytest.warns(UserWarning, match="1 events out of order, sorted"):
        events = ns.io.tonic.read(records[[0, 2, 3]], (4, 4, 2), on_error="sort")
    assert events.times().tolist() == [4000, 5000, 7000]


def test_the_table_of_units_is_named(tmp_path):
    session = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=START)
    module = session.create_processing_module("ecephys", "x")
    for name, second in (("first", 0.25), ("second", 0.5)):
        table = pynwb.misc.Units(name=name, description="x")
        table.add_unit(spike_times=np.array([second]))
        module.add(table)
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as file:
        file.write(session)
    with pytest.raises(ns.InputError, match="several tables of units.*Pass table='processing/ecephys/first'"):
        ns.io.nwb.read(tmp_path / "a.nwb", dt=1e-3)
    found = ns.io.nwb.read(tmp_path / "a.nwb", dt=1e-3, table="processing/ecephys/second")
    assert found.events.times().tolist() == [500_000_000]
    assert ns.io.nwb.left_out(tmp_path / "a.nwb", "processing/ecephys/second") == ["processing/ecephys/first"]
