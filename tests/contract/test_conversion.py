"""Conversion: every loss is named, single wrong events can be left out or sorted, times can start at 0."""

import json
from datetime import UTC, datetime

import h5py
import numpy as np
import pynapple as nap
import pytest
import torch
from aedat_files import recording

import neurosparse as ns
from neurosparse import cli
from neurosparse.io import _conversion

START, T0 = datetime(2020, 1, 1, tzinfo=UTC), 1_600_000_000_000_000
EVENTS = [(T0 + 7 * i, i % 4, i % 3, bool(i % 2)) for i in range(20)]


@pytest.fixture
def convert(tmp_path):
    return lambda source, target, **options: ns.io.files.convert(tmp_path / source, tmp_path / target, **options)


def _camera(folder, name="a.safetensors", dt=1e-6, steps=1000, t0=0.0):
    step = torch.tensor([0, 3, 3, 500])
    events = ns.EventTensor.from_aer(
        step, step * 0, torch.tensor([0, 5, 7, 23]), shape=(steps, 1, 2, 3, 4), dt=dt, t0=t0
    )
    events.save(folder / name)
    return events


# ---- losses


def test_packets_that_hold_no_events_are_named(convert, tmp_path):
    streams = {0: "EVTS", 1: "FRME", 2: "IMUS", 3: "TRIG", 4: "POSE"}
    packets = [(0, EVENTS), (1, []), (2, []), (3, []), (1, []), (4, [])]
    (tmp_path / "a.aedat4").write_bytes(recording(streams, packets))
    lost = convert("a.aedat4", "b.aedat4")["lost"]
    for name in ("packets of frames: 2", "inertial data (IMU): 1", "packets of triggers: 1", "packets of POSE: 1"):
        assert name in lost
    assert ns.io.files.info(tmp_path / "a.aedat4")["left_out"] == lost
    assert convert("b.aedat4", "c.aedat4")["lost"] is None


def test_triggers_and_extensions_and_lines_of_a_header_are_named(convert, tmp_path):
    words = [8 << 28 | 1, 1 << 28, 10 << 28, 14 << 28, 15 << 28, 10 << 28]
    head = b"% Date 2020-01-01\n% evt 2.0\n% geometry 4x3\n% serial_number 7\n% end\n"
    (tmp_path / "a.raw").write_bytes(head + np.array(words, "<u4").tobytes())
    lost = convert("a.raw", "b.dat")["lost"]
    assert lost == "header fields: Date, serial_number; triggers: 2; words of extensions: 2"
    assert ns.io.files.info(tmp_path / "a.raw")["left_out"] == lost


def test_epochs_and_columns_of_pynapple_are_named(convert, tmp_path):
    support = nap.IntervalSet([0, 5], [1, 6])
    trains = {0: nap.Ts([0.1, 5.1], time_support=support), 1: nap.Ts([5.2], time_support=support)}
    nap.TsGroup(trains, time_support=support, metadata={"area": ["a", "b"]}).save(str(tmp_path / "a.npz"))
    lost = convert("a.npz", "b.safetensors", dt=1e-3)["lost"]
    assert "metadata of the units" in lost and "2 epochs" in lost


def test_data_sets_of_an_shd_file_are_named(convert, tmp_path):
    spikes = ns.EventTensor.from_times([0.5], [0], n_units=2, dt=1e-3)
    ns.io.shd.write(spikes, torch.tensor([4]), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["extra/speaker"] = [3]
    assert convert("a.h5", "b.h5")["lost"] == "extra"


@pytest.mark.parametrize("large", [0, 1 << 25])
@pytest.mark.parametrize("target", ["b.raw", "b.safetensors"])
def test_merged_spikes_and_their_times_are_named(convert, tmp_path, monkeypatch, target, large):
    monkeypatch.setattr(_conversion, "LARGE", large)
    events = [(0, 1, 1, True), (400, 1, 1, True), (400, 2, 1, True), (1000, 1, 1, True)]
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, [(0, events)]))
    found = convert("a.aedat4", target, dt=1e-3, on_collision="any", rebase=True)
    assert found["events"] == 3
    assert found["lost"] == (
        "times of 2 events between steps (on_collision='any'); 1 of 4 events of a unit in one step (on_collision='any')"
    )
    with pytest.raises(ns.InputError, match="duplicate"):
        convert("a.aedat4", target, dt=1e-3, on_collision="error")


@pytest.mark.parametrize("name", ["a.safetensors", "a.raw", "a.npz"])
def test_an_end_between_two_steps_is_named(convert, tmp_path, name):
    """One second in steps of 0.3 s ends at 1.2 s."""
    spikes = ns.EventTensor.from_times([0.1, 0.5], [0, 23], n_units=24, dt=0.1, duration=1.0)
    camera = ns.io._pixels.with_units(spikes, (2, 3, 4))
    ns.io.files.write(spikes if name == "a.npz" else camera, tmp_path / name)
    found = convert(name, "b.safetensors", dt=0.3)
    assert found["lost"] == "the end at 1.0 s, now at 1.2 s, 4 steps of 0.3 s"
    assert convert(name, "b.safetensors", dt=0.1)["lost"] is None


def test_other_samples_and_ids_and_lengths_are_named(convert, tmp_path):
    one = ns.EventTensor.from_times([0.5], [0], n_units=2, dt=1e-3, duration=1.0)
    two = ns.EventTensor.from_times([0.5, 1.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
    torch.utils.data.default_collate([one, two]).save(tmp_path / "a.safetensors")
    lost = convert("a.safetensors", "b.npz", sample=0)["lost"]
    assert lost.startswith("1 other samples")
    ns.io.nwb.write(one, tmp_path / "a.nwb", START, units=[7, 9])
    assert convert("a.nwb", "c.safetensors", dt=1e-3, units=(1, 2))["lost"] == "ids"


def test_a_start_that_the_target_cannot_hold_is_named(convert, tmp_path):
    step = torch.tensor([0, 9])
    ns.EventTensor.from_aer(step, step * 0, step, shape=(10, 1, 2, 34, 34), dt=1e-3, t0=2.0).save(
        tmp_path / "a.safetensors"
    )
    for target in ("b.bin", "b.npy"):
        lost = convert("a.safetensors", target)["lost"]
        assert lost == "t0 of 2.0 s: time before it is silence from 0.0 s on"


def test_an_option_that_a_format_does_not_take_is_refused(convert, tmp_path):
    _camera(tmp_path)
    for options, message in (
        ({"camera": 1}, "camera=1 for a.safetensors"),
        ({"on_error": "drop"}, "on_error='drop' for a.safetensors"),
        ({"t0": 1.0}, "t0=1.0 for"),
        ({"start": START}, "expected it for nwb alone"),
        ({"size": (9, 9)}, r"expected size=\(3, 4\)"),
        ({"on_error": "mend"}, "'raise', 'drop', 'sort'"),
    ):
        with pytest.raises(ns.InputError, match=message):
            convert("a.safetensors", "b.raw", **options)
    assert not (tmp_path / "b.raw").exists()


# ---- times that count from 1970


@pytest.mark.parametrize("target", ["b.raw", "b.dat", "b.h5", "b.npz"])
def test_rebase_lets_times_count_from_the_start(convert, tmp_path, target):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, [(0, EVENTS)]))
    options = {"units": (24,)} if target in ("b.h5", "b.npz") else {}
    with pytest.raises(ns.InputError, match="rebase=True"):
        convert("a.aedat4", target, **options)
    found = convert("a.aedat4", target, rebase=True, **options)
    assert found["t0"] == T0 / 1e6 and f"t0 of {T0 / 1e6} s" in found["lost"]
    again = ns.io.files.read(tmp_path / target, dt=1e-6)
    assert again.t0 == 0 and again.times().tolist() == [7000 * i for i in range(20)]


def test_times_between_microseconds_are_not_blamed_on_their_size(convert, tmp_path):
    times = [0.0000005, 0.1]
    ns.EventTensor.from_times(times, [0, 1], n_units=24, dt=1e-3).save(tmp_path / "a.safetensors")
    with pytest.raises(ns.InputError, match="a time of 500 ns; expected times of whole microseconds"):
        convert("a.safetensors", "b.raw", units=(2, 3, 4))
    assert convert("a.safetensors", "b.raw", units=(2, 3, 4), dt=1e-6, on_collision="any")["events"] == 2


# ---- single events that are wrong


def swapped(n=6):
    """Two events exchanged, and one off the sensor."""
    events = list(EVENTS)
    events[n], events[n + 1] = events[n + 1], events[n]
    return [*events, (EVENTS[-1][0], 9, 9, True)]


def test_wrong_events_are_left_out_or_sorted_on_request(convert, tmp_path):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, [(0, swapped()[:10]), (0, swapped()[10:])]))
    (tmp_path / "order.aedat4").write_bytes(recording({0: "EVTS"}, [(0, swapped()[:-1])]))
    with pytest.raises(ns.InputError, match="on_error='drop' or on_error='sort'"):
        convert("a.aedat4", "b.aedat4")
    lost = convert("a.aedat4", "b.aedat4", on_error="drop")["lost"]
    assert "events off the sensor, dropped: 1" in lost and "events earlier than one before them, dropped: 1" in lost
    kept = [event for event in swapped()[:-1] if event != EVENTS[6]]
    times = [each[0] for each in kept]
    assert (ns.io.aedat.read(tmp_path / "b.aedat4").times() // 1000).tolist() == times
    with pytest.warns(UserWarning, match="dropped: 1; .* dropped: 1"):
        assert ns.io.files.read(tmp_path / "a.aedat4", on_error="drop").n_events == 19
    assert ns.io.files.info(tmp_path / "a.aedat4", on_error="drop")["events"] == 19
    with pytest.raises(ns.InputError, match="on_error='drop'"):
        convert("a.aedat4", "b.aedat4", on_error="sort")
    found = convert("order.aedat4", "b.aedat4", on_error="sort")
    assert found["lost"] == "events earlier than one before them, sorted: 1" and found["events"] == 20
    assert (ns.io.aedat.read(tmp_path / "b.aedat4").times() // 1000).tolist() == [each[0] for each in EVENTS]


@pytest.mark.parametrize(("name", "version"), [("a.raw", 2), ("a.raw", 3), ("a.dat", None), ("a.bin", None)])
def test_events_out_of_order_can_be_sorted_in_every_format(tmp_path, name, version):
    """Two recordings one behind the other: the second starts before the first ends."""
    step = torch.tensor([100, 9000, 70_000])
    events = ns.EventTensor.from_aer(step, step * 0, step % 24, shape=(70_001, 1, 2, 34, 34), dt=1e-6)
    options = {} if version is None else {"version": version}
    module = {"a.raw": ns.io.evt, "a.dat": ns.io.dat, "a.bin": ns.io.nmnist}[name]
    module.write(events, tmp_path / name, **options)
    content = (tmp_path / name).read_bytes()
    start = {"a.raw": content.find(b"% end\n") + 6, "a.dat": content.find(b"\x0c\x08") + 2, "a.bin": 0}[name]
    head = b"\n".join(line for line in content[:start].split(b"\n") if b"neurosparse" not in line)
    (tmp_path / name).write_bytes(head + 2 * content[start:])
    with pytest.raises(ns.InputError, match="3 events precede it"):
        module.read(tmp_path / name)
    with pytest.warns(UserWarning, match="sorted: 2"):
        found = module.read(tmp_path / name, dt=1e-6, on_error="sort")
    assert (found.times() // 1000).tolist() == [100, 100, 9000, 9000, 70_000, 70_000]
    with pytest.warns(UserWarning, match="dropped: 2"):
        found = module.read(tmp_path / name, dt=1e-6, on_error="drop")
    assert (found.times() // 1000).tolist() == [100, 9000, 70_000, 70_000]


def test_one_of_two_cameras(convert, tmp_path):
    packets = [(0, EVENTS[:10]), (1, EVENTS[10:])]
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS", 1: "EVTS"}, packets))
    for work in (ns.io.files.read, ns.io.files.info):
        with pytest.raises(ns.InputError, match="Pass camera=0"):
            work(tmp_path / "a.aedat4")
        work(tmp_path / "a.aedat4", camera=1)
    found = convert("a.aedat4", "b.aedat4", camera=1)
    assert found["events"] == 10 and "packets of events of camera 0: 1" in found["lost"]
    assert (ns.io.aedat.read(tmp_path / "b.aedat4").times() // 1000).tolist() == [each[0] for each in EVENTS[10:]]


# ---- the command line


def test_the_options_of_conversion_on_the_command_line(tmp_path, capsys):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS", 1: "EVTS"}, [(0, EVENTS), (1, swapped())]))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        return int(ended.value.code or 0), *capsys.readouterr()

    source, target = tmp_path / "a.aedat4", tmp_path / "b.raw"
    assert "Pass --camera 0." in run("info", source)[2]
    assert "--rebase" in run("convert", source, target, "--camera", 0)[2]
    code, out, err = run("convert", source, target, "--camera", 0, "--rebase", "--json")
    assert code == 0 and json.loads(out)["t0"] == T0 / 1e6 and "t0 of" in err
    assert "--on-error drop or --on-error sort" in run("info", source, "--camera", 1)[2]
    code, out, err = run("convert", source, target, "--camera", 1, "--rebase", "--on-error", "drop", "--json")
    assert code == 0 and "off the sensor, dropped: 1" in json.loads(out)["lost"] and "dropped: 1" in err
    assert str(T0 / 1e6) in run("info", source, "--camera", 0)[1], "times since 1970 are printed in full"
