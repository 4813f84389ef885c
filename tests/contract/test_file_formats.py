"""One contract for every file format: events survive a round trip, or the error names what the format cannot hold."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse import cli
from neurosparse.io.formats import FORMATS, FileContent

START = datetime(2020, 1, 1, tzinfo=UTC)
every_format = pytest.mark.parametrize("name", FORMATS)
CAMERAS = [name for name, format in FORMATS.items() if format.scan]
MICRO_DT = [1e-6, 1e-3, 2.5e-4, 1e-3 / 3]


@st.composite
def recordings(draw, name):
    """Spikes of one recording in a shape that the format holds, with repeats, silent units and silence at the end."""
    camera = name in CAMERAS
    units = (2, 34, 34) if name == "nmnist" else (2, 3, 5) if camera or draw(st.booleans()) else (7,)
    units = units if name in ("tonic", *CAMERAS) else (int(np.prod(units)),)
    unit = st.integers(0, int(np.prod(units)) - 1)
    spikes = draw(st.lists(st.tuples(st.integers(0, 30_000), unit), min_size=1, max_size=12))
    times, flat = torch.tensor([t for t, _ in spikes]).double() / 1e6, torch.tensor([u for _, u in spikes])
    duration = None if "silence" not in FORMATS[name].holds else draw(st.sampled_from([0.0301, 0.05, 40.0]))
    dt = draw(st.sampled_from(MICRO_DT))
    events = ns.EventTensor.from_times(times, flat, n_units=int(np.prod(units)), dt=dt, duration=duration)
    return ns.io._pixels.with_units(events, units)


def size_of(events):
    return tuple(events.shape[-2:]) if len(events.shape) == 5 else (1, events.shape[-1])


def assert_same(a, b):
    for fact in ("shape", "dt", "t0", "axis", "binary"):
        assert getattr(a, fact) == getattr(b, fact), fact
    for part in ("row", "index", "offset", "lengths"):
        left, right = getattr(a, part), getattr(b, part)
        assert (left is None) == (right is None) and (left is None or torch.equal(left, right)), part


@every_format
@settings(max_examples=6)
@given(data=st.data())
def test_events_survive_a_round_trip(tmp_path_factory, name, data):
    events = data.draw(recordings(name))
    path = tmp_path_factory.mktemp("formats") / f"a{FORMATS[name].suffixes[0]}"
    FORMATS[name].write(FileContent(events), path, START)
    assert ns.io.files.identify(path) in (name, "evt2")
    assert_same(ns.io.files.read(path, events.dt, size_of(events), name), events)
    facts = ns.io.files.info(path, events.dt, size_of(events), name)
    assert (facts["events"], facts["shape"]) == (events.n_events, list(events.shape))
    assert facts["duration"] == pytest.approx(events.shape[0] * events.dt)


@every_format
def test_events_that_the_format_cannot_hold_are_refused(tmp_path, name):
    axes, path = FORMATS[name].axes, tmp_path / f"a{FORMATS[name].suffixes[0]}"
    if not axes:
        pytest.skip("holds every event tensor")
    units = (2, 34, 34) if 3 in axes else (7,)
    one = torch.tensor([0])
    graded = ns.EventTensor.from_aer(one, one, one, one + 2.5, shape=(1, 1, *units), dt=1e-3)
    untimed = ns.EventTensor.from_aer(one, one, one, shape=(1, 1, *units))
    square = ns.EventTensor.from_aer(one, one, one, shape=(1, 1, 3, 3), dt=1e-3)
    path.write_bytes(b"kept")
    for events in (graded, untimed, square):
        with pytest.raises(ns.InputError, match="expected"):
            FORMATS[name].write(FileContent(events), path, START)
    assert path.read_bytes() == b"kept" and [file.name for file in tmp_path.iterdir()] == [path.name]


@every_format
@pytest.mark.parametrize("content", [b"", b"garbage" * 9, b"\0" * 64])
def test_random_bytes_are_refused(tmp_path, name, content):
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    path.write_bytes(content)
    for reader in (ns.io.files.read, ns.io.files.salvage, ns.io.files.info):
        try:
            reader(path, dt=1e-3, size=(34, 34), format=name)
        except ns.InputError as error:
            assert "expected" in str(error)
        else:
            assert name == "nmnist" and content.startswith((b"g", b"\0")), "only N-MNIST has no header"
    with pytest.raises(ns.MissingFileError):
        ns.io.files.info(tmp_path / "none", format=None)


@every_format
def test_a_cut_file_is_refused_or_reports_what_is_lost(tmp_path, name):
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    units = (2, 34, 34) if 3 in FORMATS[name].axes else (7,)
    events = ns.EventTensor.from_times([1e-6 * i**2 for i in range(30)], [i % 7 for i in range(30)], n_units=7, dt=1e-6)
    step, _, unit, _ = events.aer()
    events = ns.EventTensor.from_aer(step, step * 0, unit, shape=(events.shape[0], 1, *units), dt=1e-6)
    FORMATS[name].write(FileContent(events), path, START)
    whole = path.read_bytes()
    for end in sorted({*range(0, len(whole), max(1, len(whole) // 30)), len(whole) - 1}):
        path.write_bytes(whole[:end])
        try:
            found, lost = ns.io.files.salvage(path, 1e-6, (34, 34), name)
        except ns.InputError:
            continue
        n = found.n_events
        assert found.times().tolist() == events.times().tolist()[:n] and found.index.tolist() == unit.tolist()[:n]
        if n < 30 and name != "nmnist":  # nothing in those files says how many there should be
            assert lost and f"kept {n} events" in lost


# ---- from one format to another


@pytest.fixture
def convert(tmp_path):
    return lambda source, target, **options: ns.io.files.convert(tmp_path / source, tmp_path / target, **options)


@pytest.fixture
def recording(tmp_path):
    """Two spikes of 2312 pixels on a camera's clock, saved as ``a.safetensors``."""
    step, unit = torch.tensor([3, 20_000]), torch.tensor([5, 2000])
    events = ns.EventTensor.from_aer(step, step * 0, unit, shape=(20_001, 1, 2, 34, 34), dt=1e-6)
    events.save(tmp_path / "a.safetensors")
    return events


def test_conversion_through_every_format_is_the_identity(convert, tmp_path, recording):
    """From our format through those of cameras, speech and neuroscience, and back."""
    way = [
        "a.safetensors",
        "a.raw",
        "b.raw",
        "a.dat",
        "a.aedat4",
        "a.bin",
        "a.npy",
        "a.npz",
        "a.nwb",
        "a.h5",
        "b.safetensors",
    ]
    row = {"units": (2312,)}
    options = {
        "b.raw": {"to_format": "evt3"},
        "a.npy": {"size": (34, 34)},
        "a.npz": {"dt": 1e-6, "size": (34, 34), **row},
    }
    options |= {"a.nwb": {"dt": 1e-6, "start": START}, "a.h5": {"dt": 1e-6}, "b.safetensors": {"units": (2, 34, 34)}}
    for source, target in pairwise(way):
        facts = convert(source, target, **options.get(target, {}))
        assert (facts["events"], facts["lost"]) == (2, None), target
    assert_same(ns.load_events(tmp_path / "b.safetensors"), recording)


def test_losses_must_be_named(convert, tmp_path):
    spikes = ns.EventTensor.from_times([0.0001, 0.0002, 0.5], [0, 0, 1], n_units=2, dt=1e-3, duration=2.0)
    ns.io.nwb.write(spikes, tmp_path / "a.nwb", START, units=[6, 191])
    with pytest.raises(ns.InputError, match="no dt"):
        convert("a.nwb", "a.safetensors")
    with pytest.raises(ns.InputError, match="drop ids"):
        convert("a.nwb", "a.safetensors", dt=1e-3)
    assert convert("a.nwb", "a.npz", dt=1e-3)["lost"] is None
    assert ns.io.pynapple.read(tmp_path / "a.npz", dt=1e-3).units == [6, 191], (
        "ids survive between formats that hold them"
    )
    assert convert("a.nwb", "a.safetensors", dt=1e-3, drop=["ids"])["lost"] == "ids"
    assert_same(ns.load_events(tmp_path / "a.safetensors"), spikes)
    with pytest.raises(ns.InputError, match="duplicate"):
        convert("a.nwb", "b.safetensors", dt=1e-3, drop=["ids"], on_collision="error")
    convert("a.nwb", "b.safetensors", dt=1e-3, drop=["ids"], on_collision="sum")
    assert ns.load_events(tmp_path / "b.safetensors").value.tolist() == [2.0, 1.0]
    with pytest.raises(ns.InputError, match="steps of silence"):
        convert("a.safetensors", "a.npy")
    assert convert("a.safetensors", "a.npy", drop=["silence"])["lost"] == "1499 steps of silence"
    with pytest.raises(ns.InputError, match="drop='nonsense'"):
        convert("a.safetensors", "a.npy", drop=["nonsense"])
    ns.io.shd.write(ns.cat([spikes, spikes]), torch.tensor([3, 4]), tmp_path / "a.h5")
    with pytest.raises(ns.InputError, match="drop labels"):
        convert("a.h5", "c.safetensors")
    with pytest.raises(ns.InputError, match=r"\(2000, 2, 2\)"):
        convert("a.h5", "c.npz", drop=["labels"])
    convert("a.h5", "c.npz", drop=["labels"], sample=1)
    assert ns.io.pynapple.read(tmp_path / "c.npz", dt=1e-3).events.times().tolist() == spikes.times().tolist()


def test_a_damaged_recording_is_converted_in_part_on_request(convert, tmp_path, recording):
    convert("a.safetensors", "a.dat")
    whole = (tmp_path / "a.dat").read_bytes()
    (tmp_path / "a.dat").write_bytes(whole[:-3])
    with pytest.raises(ns.InputError, match="1 events precede it"):
        convert("a.dat", "a.raw")
    assert not (tmp_path / "a.raw").exists()
    facts = convert("a.dat", "a.raw", partial=True)
    assert facts["events"] == 1 and "kept 1 events" in facts["lost"]


def test_steps_of_another_duration_keep_every_time():
    spikes = ns.EventTensor.from_times([0.002, 0.0025, 0.0025], [1, 0, 0], n_units=2, dt=5e-4, duration=0.0055)
    for dt in (1e-3, 1e-6, 1e-3 / 3):
        again = ns.io.files.retime(spikes, dt)
        direct = ns.EventTensor.from_times([0.002, 0.0025, 0.0025], [1, 0, 0], n_units=2, dt=dt, duration=0.0055)
        assert_same(again, direct)
    lengths = torch.tensor([3, 5])
    ragged = ns.EventTensor.from_aer(*[torch.tensor(x) for x in ([2, 4], [0, 1], [0, 0])], shape=(5, 2, 1), dt=5e-4)
    ragged = ns.EventTensor(
        ragged.shape,
        ragged.timing.with_(lengths=lengths),
        ragged.dtype,
        binary=True,
        row=ragged.row,
        index=ragged.index,
    )
    assert ns.io.files.retime(ragged, 1e-3).lengths.tolist() == [2, 3]
    with pytest.raises(ns.InputError, match="graded"):
        ns.io.files.retime(ns.EventTensor.from_dense(torch.ones(2, 1, 1), dt=1e-3), 1e-2)


# ---- the command line


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_convert_and_info_on_the_command_line(run, tmp_path, recording):
    a, b = tmp_path / "a.safetensors", tmp_path / "b.npz"
    code, out, err = run("convert", a, b, "--units", "2312", "--json")
    assert (code, err) == (0, "") and json.loads(out)["shape"] == [20_001, 1, 2312]
    facts = json.loads(run("info", b, "--json")[1])
    assert (facts["format"], facts["dt"], facts["shape"], facts["events"]) == ("pynapple", 1e-3, [21, 1, 2312], 2)
    assert (
        facts["rate"] == pytest.approx(2 / 0.019997)
        and facts["duration"] == 0.021
        and facts["bytes"] == b.stat().st_size
    )
    cut = tmp_path / "cut.raw"
    run("convert", a, cut)
    cut.write_bytes(cut.read_bytes()[:-2])
    code, out, err = run("convert", cut, tmp_path / "c.dat", "--partial", "--json")
    assert code == 0 and json.loads(out)["events"] == 1 and err.startswith("Lost: cut.raw: kept 1 events")
    code, out, err = run("info", cut)
    assert code == 2 and "1 events precede it" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.safetensors", "b.npz"), "--units"),
        (("a.safetensors", "b.xyz"), "a name that ends in .safetensors, .raw, .dat"),
        (("a.safetensors", "b.nwb", "--units", "2312"), "2020-01-01T00:00+00:00"),
        (("a.safetensors", "b.raw", "--units", "2xmany"), "2312 or 2x34x34"),
        (("a.safetensors", "b.raw", "--units", "2x3x5"), "2312 units"),
        (("a.safetensors", "b.raw", "--to", "gif"), "'neurosparse', 'evt2', 'evt3'"),
        (("none.raw", "b.raw"), "a recording"),
        (("garbage", "b.raw"), "a file of neurosparse, evt2, evt3"),
        (("empty.raw", "b.raw"), "an empty file"),
        (("a.safetensors", "nowhere/b.raw"), "an existing folder"),
    ],
)
def test_invalid_input_is_one_sentence(run, tmp_path, monkeypatch, recording, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("garbage").write_text("hello, this is no recording")
    Path("empty.raw").write_text("")
    code, out, err = run("convert", *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "got" in err and message in err, err
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(("b.", "."))]


@pytest.mark.parametrize("dt", ["-1", "0", "nan", "inf", "1e-12", "1e300"])
def test_an_invalid_dt_is_refused_in_every_format(run, tmp_path, recording, dt):
    recording.save(tmp_path / "a.safetensors")
    for name in ("a.raw", "a.npz"):
        code, _, err = run(
            "convert", tmp_path / "a.safetensors", tmp_path / name, *(["--units", "2312"] * (name == "a.npz"))
        )
        assert code == 0, err
        for command in (("info", tmp_path / name), ("convert", tmp_path / name, tmp_path / "b.dat")):
            code, out, err = run(*command, f"--dt={dt}")
            assert (code, out) == (2, "") and err.count("\n") == 1 and "seconds per step" in err, err
    assert not (tmp_path / "b.dat").exists()


# ---- single formats


def test_shd_in_the_layout_of_its_authors(tmp_path):
    """Seconds in half precision, samples of different lengths, a unit and a recording without spikes."""
    times = [np.array([0.0005, 0.25, 0.5], np.float16), np.zeros(0, np.float16), np.array([0.125], np.float16)]
    units = [np.array([3, 699, 3], np.uint16), np.zeros(0, np.uint16), np.array([0], np.uint16)]
    with h5py.File(tmp_path / "shd.h5", "w") as file:
        for name, trains, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            data = file.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(kind))
            for i, train in enumerate(trains):
                data[i] = train
        file["labels"] = np.array([11, 0, 19])
    events, labels = ns.io.shd.read(tmp_path / "shd.h5")
    assert events.shape == (501, 3, 700) and labels.tolist() == [11, 0, 19] and events.lengths.tolist() == [501, 0, 126]
    exact = [round(float(t) * 1e9) for train in times for t in train]
    assert sorted(events.times().tolist()) == sorted(exact)
    assert events.counts()[0, 3] == 2 and events.counts().sum() == 4
    parts = list(ns.io.shd.stream(tmp_path / "shd.h5", samples=2, duration=1.0))
    assert [part.events.shape for part in parts] == [(1000, 2, 700), (1000, 1, 700)]
    assert torch.cat([part.labels for part in parts]).tolist() == [11, 0, 19]
    assert_same(parts[0].events, ns.io.shd.read(tmp_path / "shd.h5", samples=slice(0, 2), duration=1.0).events)
    with pytest.raises(ns.InputError, match="n_units"):
        ns.io.shd.read(tmp_path / "shd.h5", n_units=600)


@pytest.mark.parametrize("dt", [1e-3, 1e-6, 2e-3])
def test_shd_keeps_lengths_and_labels(tmp_path, dt):
    one = ns.EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=3, dt=1e-3, duration=2.0)
    two = ns.EventTensor.from_times([0.0301], [2], n_units=3, dt=1e-3, duration=1.001)
    both = torch.utils.data.default_collate([one, two])
    ns.io.shd.write(both, torch.tensor([5, 6]), tmp_path / "a.h5")
    again, labels = ns.io.shd.read(tmp_path / "a.h5", dt=dt)
    assert_same(again, ns.io.files.retime(both, dt))
    assert labels.tolist() == [5, 6]


def test_tonic_arrays_equal_the_recording_of_the_camera(shared_data):
    """The same recording by the reader of the file and by the array of tonic."""
    events = ns.io.nmnist.read(shared_data("events/formats/sample_nmnist.bin"), dt=1e-3)
    array = ns.io.tonic.write(events)
    golden = json.loads(shared_data("events/formats/GOLDEN.json").read_text())["sample_nmnist.bin"]
    assert [list(record)[2:3] + [int(record[k]) for k in "xyp"] for record in array[:3]] == golden["first3"]
    assert_same(ns.io.tonic.read(array, (34, 34, 2), dt=1e-3), events)


@pytest.mark.parametrize(
    ("records", "size", "message"),
    [
        ([(1, 1, 9, True), (1, 1, 8, True)], (4, 4, 2), "backwards"),
        ([(4, 1, 9, True)], (4, 4, 2), "0 <= x < 4"),
        ([(1, 1, 9, True)], (4, 4, 1), "0 <= p < 1"),
        ([(1, 1, -9, True)], (4, 4, 2), "backwards"),
    ],
)
def test_invalid_tonic_arrays_are_refused(records, size, message):
    with pytest.raises(ns.InputError, match=message):
        ns.io.tonic.read(np.array(records, ns.io.tonic.CAMERA), size)
    with pytest.raises(ns.InputError, match="integers"):
        ns.io.tonic.read(np.zeros(3, [("x", "i2"), ("t", "f8"), ("p", "?")]), (4, 1, 1))


@pytest.mark.parametrize(
    ("module", "read"),
    [
        ("lz4.frame", lambda folder: ns.io.aedat.write(camera(), folder / "a", "lz4")),
        ("zstandard", lambda folder: ns.io.aedat.write(camera(), folder / "a", "zstd")),
        ("h5py", lambda folder: ns.io.shd.read(folder / "a")),
        ("pynwb", lambda folder: ns.io.nwb.read(folder / "a", dt=1e-3)),
        ("neo", lambda folder: ns.io.neo.write(camera())),
        ("pynapple", lambda folder: ns.io.pynapple.write(camera())),
    ],
)
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, module, read):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ns.InputError, match=r'pip install "neurosparse\['):
        read(tmp_path)


def camera():
    one = torch.tensor([0])
    return ns.EventTensor.from_aer(one, one, one, shape=(1, 1, 2, 2, 2), dt=1e-3)
