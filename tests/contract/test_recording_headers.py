"""Versions, sizes, tables and counts that a recording states: each is read, and a contradiction is an error."""

import numpy as np
import pytest
import torch
from aedat_files import EVENT, recording

import neurosparse as ns

EVENTS = [(1_600_000_000_000_000 + 7 * i, i % 4, i % 3, bool(i % 2)) for i in range(20)]
HALVES = [(0, EVENTS[:10]), (0, EVENTS[10:])]


def columns(events):
    """Microsecond, x, y, polarity of each event, in order."""
    height, width = events.shape[3:]
    unit = events.index.long()
    parts = (events.times() // 1000, unit % width, unit // width % height, unit // (height * width))
    return list(zip(*(part.tolist() for part in parts), strict=True))


def dat(version, x, y, on):
    """One event by the layout of a version: 9, 8 and 1 bits, or 14, 14 and 4."""
    address = on << 17 | y << 9 | x if version == 1 else on << 28 | y << 14 | x
    head = f"% Version {version}\n% Width 304\n% Height 240\n".encode()
    return head + b"\x0c\x08" + np.array([5, address], "<u4").tobytes()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("x", "y", "on"), [(12, 0, 1), (300, 32, 0), (7, 64, 1), (303, 239, 1)])
def test_dat_has_two_layouts_by_version(tmp_path, version, x, y, on):
    (tmp_path / "a.dat").write_bytes(dat(version, x, y, on))
    assert columns(ns.io.dat.read(tmp_path / "a.dat")) == [(5, x, y, on)]


EVT = np.array([8 << 28 | 1, 1 << 28 | 5 << 11 | 2], "<u4").tobytes()


@pytest.mark.parametrize(
    ("head", "name", "message"),
    [
        (b"% Version 3\n% Width 9\n% Height 9\n\x0c\x08", "a.dat", "% Version 3; expected version 1 or 2"),
        (b"% Version 1\n% Version 2\n\x0c\x08", "a.dat", "% Version 1 and % Version 2"),
        (b"% evt 2.0\n% format EVT3;height=9;width=9\n% end\n", "a.raw", "% evt 2.0 and % format EVT3"),
        (b"% evt 2.1\n% end\n", "a.raw", "% evt 2.1"),
        (b"% format EVT2;endianness=big;height=9;width=9\n% end\n", "a.raw", "endianness=big"),
        (b"% evt 2.0\n% geometry 9x8\n% format EVT2;height=9;width=9\n% end\n", "a.raw", "8 x 9 and 9 x 9"),
        (b"% evt 2.0\n% geometry 9x8\n% geometry 8x9\n% end\n", "a.raw", "geometry 9x8 and % geometry 8x9"),
        (
            b"% evt 2.0\n% geometry 9x8\n% neurosparse steps=9 dt=1.0 t0=0.0 events=2\n% end\n",
            "a.raw",
            "2 before 9.0 s",
        ),
        (
            b"% evt 2.0\n% geometry 9x8\n% neurosparse steps=1 dt=1e-06 t0=0.0 events=1\n% end\n",
            "a.raw",
            "before 1e-06 s",
        ),
    ],
)
def test_a_header_that_contradicts_itself_or_its_events_is_refused(tmp_path, head, name, message):
    (tmp_path / name).write_bytes(head + EVT)
    for reader in (ns.io.files.read, ns.io.files.info):
        with pytest.raises(ns.InputError, match=message):
            reader(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table_at": 300}, "no table of packets at byte 300"),
        ({"table_at": 10**6}, "no table of packets at byte 1,000,000"),
        ({"stated": {1: 11}}, "events 10, in the table .* events 11"),
        ({"version": "3.0"}, "version 3.0"),
    ],
)
def test_the_table_of_an_aedat4_file_is_checked(tmp_path, options, message):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, HALVES, **options))
    for reader in (ns.io.files.read, ns.io.files.info):
        with pytest.raises(ns.InputError, match=message):
            reader(tmp_path / "a.aedat4")
    if "version" not in options:
        events, lost = ns.io.aedat.salvage(tmp_path / "a.aedat4")
        assert events.n_events == 20 and "table" in lost


def test_an_aedat4_file_with_its_table_is_read(tmp_path):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, HALVES))
    assert columns(ns.io.aedat.read(tmp_path / "a.aedat4")) == [tuple(map(int, event)) for event in EVENTS]


def test_a_packet_of_a_stream_that_the_header_does_not_list_is_damage(tmp_path):
    content = recording({0: "EVTS", 7: "FRME"}, [*HALVES, (7, [])]).replace(b'name="7"', b'name="6"')
    (tmp_path / "a.aedat4").write_bytes(content)
    with pytest.raises(ns.InputError, match="stream 7, which the header does not list"):
        ns.io.aedat.read(tmp_path / "a.aedat4")


@pytest.mark.parametrize("size", [(0, 4), (-3, 4), (40_000, 4)])
def test_an_impossible_sensor_is_refused(tmp_path, size):
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, HALVES, size=size))
    for reader in (ns.io.files.read, ns.io.files.info):
        with pytest.raises(ns.InputError, match=f"a sensor of 4 x {size[0]} pixels"):
            reader(tmp_path / "a.aedat4", size=(3, 4))


def test_a_named_version_that_contradicts_the_file_is_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"% evt 2.0\n% geometry 9x8\n% end\n" + EVT)
    for reader in (ns.io.files.read, ns.io.files.info, ns.io.files.salvage):
        with pytest.raises(ns.InputError, match="of EVT 2.0; expected EVT 3.0"):
            reader(tmp_path / "a.raw", format="evt3")


def test_the_clock_of_nmnist_keeps_its_overflows_in_files_above_a_block(tmp_path):
    """Three blocks of a MiB; the second and the third hold no overflow of their own."""
    rows = np.zeros((3 * (1 << 20) // 5, 5), np.uint8)
    rows[:, 4] = 9
    rows[10], rows[20] = [0, 240, 0, 0, 9], [0, 240, 0, 0, 9]
    (tmp_path / "a.bin").write_bytes(rows.tobytes())
    time = ns.io.nmnist.read(tmp_path / "a.bin").times() // 1000
    values, counts = torch.unique(time, return_counts=True)
    assert values.tolist() == [9, 9 + 8192, 9 + 2 * 8192]
    assert counts.tolist() == [10, 9, len(rows) - 21], "an event for each record but the two overflows"


@pytest.mark.parametrize("name", ["a.raw", "a.dat", "a.aedat4"])
def test_a_size_that_contradicts_the_file_is_refused_by_every_function(tmp_path, name):
    one = torch.tensor([0])
    ns.io.files.write(ns.EventTensor.from_aer(one, one, one, shape=(3, 1, 2, 5, 6), dt=1e-6), tmp_path / name)
    for work in (
        lambda **o: ns.io.files.read(tmp_path / name, **o),
        lambda **o: ns.io.files.info(tmp_path / name, **o),
        lambda **o: ns.io.files.convert(tmp_path / name, tmp_path / "b.raw", **o),
    ):
        with pytest.raises(ns.InputError, match=r"size=\(9, 9\) for a.*; expected size=\(5, 6\)"):
            work(size=(9, 9))
        work(size=(5, 6))


def test_the_size_of_a_file_without_one_is_honoured_by_every_function(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes([200, 179, 0, 0, 9]))
    for work in (
        lambda **o: ns.io.files.read(tmp_path / "a.bin", **o).shape,
        lambda **o: ns.io.nmnist.read(tmp_path / "a.bin", dt=1e-6, **o).shape,
        lambda **o: tuple(ns.io.files.info(tmp_path / "a.bin", **o)["shape"]),
        lambda **o: tuple(ns.io.files.convert(tmp_path / "a.bin", tmp_path / "b.dat", **o)["shape"]),
    ):
        assert work(size=(180, 240)) == (10, 1, 2, 180, 240)
        with pytest.raises(ns.InputError, match="x < 34 and y < 34. Check size="):
            work()
        with pytest.raises(ns.InputError, match="at most 240 x 256"):
            work(size=(250, 240))


def test_packets_of_an_aedat4_file_unpack_within_a_limit(tmp_path):
    """Each packet is sound; all together unpack to far more than those of recordings do."""
    many = np.zeros(1 << 20, EVENT)
    (tmp_path / "a.aedat4").write_bytes(recording({0: "EVTS"}, [(0, many)] * 6))
    with pytest.raises(ns.InputError, match="bytes that state"):
        ns.io.aedat.read(tmp_path / "a.aedat4")


def test_no_file_is_written_that_unpacks_beyond_the_limit_of_the_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(ns.io.aedat, "ROOM", 0)
    monkeypatch.setattr(ns.io.aedat, "RATIO", 2)
    times = torch.arange(50_000)
    regular = ns.EventTensor.from_aer(times, times * 0, times * 0, shape=(50_000, 1, 2, 1, 1), dt=1e-6)
    with pytest.raises(ns.InputError, match="compression='none'"):
        ns.io.aedat.write(regular, tmp_path / "b.aedat4", "zstd")
    ns.io.aedat.write(regular, tmp_path / "b.aedat4")
    assert ns.io.aedat.read(tmp_path / "b.aedat4").n_events == 50_000
