"""Recordings of event cameras: the specification, the counts of other decoders, chunks, damage, memory."""

import contextlib
import json
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.io import _pixels

HEADER = {2: b"% evt 2.0\n% geometry 64x48\n% end\n", 3: b"% evt 3.0\n% geometry 64x48\n% end\n"}
DTYPE = {2: "<u4", 3: "<u2"}
GOLDEN = {
    "evt2_sample.raw": (ns.io.evt, {}),
    "evt3_sample.raw": (ns.io.evt, {}),
    "sample.aedat4": (ns.io.aedat, {}),
    "sample_ncars.dat": (ns.io.dat, {"size": (100, 120)}),
    "sample_nmnist.bin": (ns.io.nmnist, {}),
}


def columns(events):
    """Microsecond, x, y, polarity of each event, in order."""
    height, width = events.shape[3:]
    unit = events.index.long()
    return (events.times() // 1000, unit % width, unit // width % height, unit // (height * width))


@pytest.mark.parametrize("name", GOLDEN)
def test_real_recordings_agree_with_other_decoders(shared_data, name):
    """EVT 3.0 by its specification: two other decoders differ from it in the times of some events."""
    folder = shared_data("events/formats")
    golden = json.loads((folder / "GOLDEN.json").read_text())[name]
    module, options = GOLDEN[name]
    events = module.read(folder / name, **options)
    t, x, y, p = columns(events)
    found = {"n": len(t), "t_first": t.min(), "t_last": t.max(), "n_on": p.sum(), "sum_x": x.sum(), "sum_y": y.sum()}
    found |= {"x_min": x.min(), "x_max": x.max(), "y_min": y.min(), "y_max": y.max(), "sum_dt": (t - t.min()).sum()}
    assert {key: int(value) for key, value in found.items()} == {key: golden[key] for key in found}
    block = next(part for part in module.scan(folder / name).blocks if len(part.time))
    first = [[int(value) for value in event] for event in zip(*(column[:3] for column in block), strict=True)]
    assert first == golden["first3"], "a block keeps the order of the file"
    joined = ns.cat(list(module.stream(folder / name, events=4000, **options)), 0)
    assert joined.shape == events.shape and joined.t0 == events.t0
    assert torch.equal(joined.row, events.row) and torch.equal(joined.index, events.index)


# ---- the specification, word by word


def by_the_specification(version, words):
    """Events of all words before the first invalid one, decoded word by word from the tables of the specification."""
    found, high, lap, low, y, base, sign = [], None, 0, 0, None, 0, 0
    high_bits, low_bits = (28, 6) if version == 2 else (12, 12)
    for word in words:
        kind, pixels = word >> (28 if version == 2 else 12), []
        if kind == 8:
            new = word & ((1 << high_bits) - 1)
            if high is not None and new < high:
                near = 1 << high_bits - 6
                if high < (1 << high_bits) - near or new >= near:
                    break
                lap += 1
            low = low if new == high else 0
            high = new
        elif version == 2 and kind in (0, 1):
            low, pixels = word >> 22 & 63, [(word >> 11 & 2047, word & 2047, kind)]
        elif version == 3 and kind == 0:
            y = word & 2047
        elif version == 3 and kind == 2:
            base, sign = word & 2047, word >> 11 & 1
            pixels = [(base, y, sign)]
        elif version == 3 and kind == 3:
            base, sign = word & 2047, word >> 11 & 1
        elif version == 3 and kind in (4, 5):
            size = 12 if kind == 4 else 8
            pixels = [(base + bit, y, sign) for bit in range(size) if word >> bit & 1]
            base += size
        elif version == 3 and kind == 6:
            low = word & 4095
        elif kind not in ((10, 14, 15) if version == 2 else (7, 10, 14, 15)):
            break
        if pixels and high is not None and pixels[0][1] is not None:
            time = (lap << high_bits | high) << low_bits | low
            if found and time < found[-1][0]:
                break
            found += [(time, *pixel) for pixel in pixels]
    return found


@st.composite
def words(draw, version):
    """Words of every kind; times mostly increase, and are sometimes at the end of their range or invalid."""
    high_bits = 28 if version == 2 else 12
    last = (1 << high_bits) - 1
    high, found = draw(st.sampled_from([0, 5, last - 1])), []
    for _ in range(draw(st.integers(0, 30))):
        kind = draw(
            st.sampled_from((0, 1, 8, 8, 10, 14, 15) if version == 2 else (0, 2, 2, 3, 4, 5, 6, 7, 8, 8, 10, 15))
        )
        rest = draw(st.integers(0, (1 << high_bits) - 1))
        if kind == 8:
            high = draw(st.sampled_from([high, high, high + 1, high + 1, high - 1, rest]))
            rest = high & last
        kind = draw(st.sampled_from([kind] * 20 + [9]))
        found.append(kind << high_bits | rest)
    return found


@pytest.mark.parametrize("version", [2, 3])
@given(data=st.data())
def test_words_are_decoded_by_the_specification(tmp_path_factory, version, data):
    content = data.draw(words(version))
    path = tmp_path_factory.mktemp("evt") / "a.raw"
    path.write_bytes(HEADER[version].replace(b"64x48", b"4096x2048") + np.array(content, DTYPE[version]).tobytes())
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of events before the first time
        try:
            for block in ns.io.evt.scan(path).blocks:
                found += zip(*(column.tolist() for column in block), strict=True)
        except ns.InputError as error:
            assert "backwards" in str(error) or "word" in str(error)
    assert found == by_the_specification(version, content)


def usual_words(draw, version, n):
    """Words of a recording: mostly events in order, some vectors and unread words, wraps of the clock, rare damage."""
    found, time, lap = (
        [],
        int(draw.integers(1 << (34 if version == 2 else 24))) & ~63,
        1 << (34 if version == 2 else 24),
    )
    shift, kind_at = (6, 28) if version == 2 else (12, 12)
    high = -1
    while len(found) < n:
        time += int(draw.choice([0, 0, 1, 3, 60, lap // 100], p=[0.5, 0.2, 0.2, 0.08, 0.01, 0.01]))
        now = time - 200 * (draw.random() < 0.0005)
        if now >> shift != high:
            step = 1 if high >= 0 and now % lap < lap // 2 and high % (lap >> shift) > now % lap >> shift else 0
            found += [8 << kind_at | (lap >> shift) - 1, 8 << kind_at] * step  # through the wrap
            high = now >> shift
            found.append(8 << kind_at | high & ((1 << kind_at) - 1))
        x, y, sign = (int(draw.integers(top)) for top in (2048, 2048, 2))
        if version == 2:
            found.append(sign << 28 | (now & 63) << 22 | x << 11 | y)
        else:
            found += [6 << 12 | now & 4095] * (draw.random() < 0.9) + [y] * (draw.random() < 0.7)
            vectors = [kind << 12 | int(draw.integers(1 << 12)) for kind in draw.choice([4, 5], draw.integers(1, 9))]
            found += [3 << 12 | sign << 11 | x, *vectors] if draw.random() < 0.1 else [2 << 12 | sign << 11 | x]
        unread = draw.choice([10, 14, 15]) if draw.random() < 0.01 else 9 if draw.random() < 0.0005 else 0
        found += [int(unread) << kind_at] * bool(unread)
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("version", [2, 3])
def test_long_runs_of_words_are_decoded_by_the_specification(tmp_path, monkeypatch, version, seed):
    """Across the ends of blocks, with damage at any place of a block."""
    draw = np.random.default_rng(seed)
    content, empty = usual_words(draw, version, 3000), _pixels.empty
    monkeypatch.setattr(_pixels, "BLOCK", int(draw.choice([64, 256, 1 << 20])))
    monkeypatch.setattr(_pixels, "empty", lambda: empty(max(12, _pixels.BLOCK // 4)))
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER[version].replace(b"64x48", b"4096x2048") + np.array(content, DTYPE[version]).tobytes())
    found = []
    with contextlib.suppress(ns.InputError):  # damage, at the place where the specification ends
        for block in ns.io.evt.scan(path).blocks:
            found += zip(*(column.tolist() for column in block), strict=True)
    assert found == by_the_specification(version, content)


def test_the_clocks_wrap(tmp_path):
    """28 bits of EVT 2.0 after 4.8 hours, 12 bits of EVT 3.0 after 16.8 s, 32 bits of DAT after 71 minutes."""
    two = [8 << 28 | 0xFFFFFFF, 63 << 22, 8 << 28, 1 << 28 | 1 << 22]
    three = [8 << 12 | 4095, 6 << 12 | 4095, 0, 2 << 12, 8 << 12, 6 << 12 | 1, 2 << 12]
    for version, content, laps in ((2, two, 1 << 34), (3, three, 1 << 24)):
        (tmp_path / "a.raw").write_bytes(HEADER[version] + np.array(content, DTYPE[version]).tobytes())
        assert columns(ns.io.evt.read(tmp_path / "a.raw"))[0].tolist() == [laps - 1, laps + 1]
    records = np.array([(1 << 32) - 1, 0, 1, 0], "<u4").tobytes()
    (tmp_path / "a.dat").write_bytes(b"% Height 2\n% Width 2\n\x0c\x08" + records)
    assert columns(ns.io.dat.read(tmp_path / "a.dat"))[0].tolist() == [(1 << 32) - 1, (1 << 32) + 1]


def test_events_before_the_first_time_are_left_out_with_a_warning(tmp_path):
    (tmp_path / "a.raw").write_bytes(HEADER[2] + np.array([0, 8 << 28 | 1, 1], "<u4").tobytes())
    with pytest.warns(UserWarning, match="1 events come before the first word of time"):
        assert columns(ns.io.evt.read(tmp_path / "a.raw"))[0].tolist() == [64]


# ---- damage


def recording(n=40):
    step = torch.arange(n) * 97
    return ns.EventTensor.from_aer(step, step * 0, step % 24, shape=(5000, 1, 2, 3, 4), dt=1e-6, t0=2.0)


WRITERS = {
    "evt2": (ns.io.evt, lambda events, path: ns.io.evt.write(events, path, 2)),
    "evt3": (ns.io.evt, lambda events, path: ns.io.evt.write(events, path, 3)),
    "dat": (ns.io.dat, ns.io.dat.write),
    "aedat4": (ns.io.aedat, ns.io.aedat.write),
    "lz4": (ns.io.aedat, lambda events, path: ns.io.aedat.write(events, path, "lz4")),
    "zstd": (ns.io.aedat, lambda events, path: ns.io.aedat.write(events, path, "zstd")),
}
every_camera = pytest.mark.parametrize(("module", "write"), WRITERS.values(), ids=WRITERS)


@every_camera
@given(data=st.data())
def test_a_damaged_file_yields_valid_events_or_an_error(tmp_path_factory, module, write, data):
    """Bytes changed, removed or added: an error, or ordered events on the sensor and a sentence on what is lost."""
    path = tmp_path_factory.mktemp("camera") / "a"
    write(recording(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.sampled_from(["bit", "cut", "remove", "insert"]))
        if kind == "bit" and content:
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[at:]
        elif kind == "remove":
            del content[at : at + data.draw(st.integers(1, 9))]
        else:
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of events before the first time
        try:
            events, lost = module.salvage(path)
        except ns.InputError as error:
            assert "expected" in str(error)
            return
        if lost:
            assert f"kept {events.n_events:,} events" in lost and "expected" in lost
            with pytest.raises(ns.InputError, match=f"{events.n_events:,} events precede it"):
                module.read(path)
    assert bool((events.row.diff() >= 0).all()) and int(events.index.max() if events.n_events else 0) < events.n_units


@every_camera
def test_events_before_the_damage_are_yielded_first(tmp_path, module, write):
    path = tmp_path / "a"
    write(recording(), path)
    path.write_bytes(path.read_bytes()[:-1])
    chunks = []
    with pytest.raises(ns.InputError):
        for chunk in module.stream(path, events=10):
            chunks.append(chunk)
    found = ns.cat(chunks, 0) if len(chunks) > 1 else chunks[0]
    events, lost = module.salvage(path)
    assert torch.equal(found.times(), events.times()) and lost
    assert events.times().tolist() == recording().times().tolist()[: events.n_events]


@pytest.mark.parametrize("name", ["evt2", "evt3", "dat", "aedat4"])
def test_time_that_runs_backwards_is_detected(tmp_path, name):
    module, write = WRITERS[name]
    early, late = recording(3), recording(3)
    late = ns.EventTensor(
        late.shape, late.timing.with_(t0=4.0), late.dtype, binary=True, row=late.row, index=late.index
    )
    write(late, tmp_path / "late")
    write(early, tmp_path / "early")
    cut = {"evt2": b"% end\n", "evt3": b"% end\n", "dat": b"\x0c\x08", "aedat4": b"</dv>\0"}[name]
    tail = (tmp_path / "early").read_bytes().split(cut, 1)[1]
    (tmp_path / "both").write_bytes((tmp_path / "late").read_bytes() + tail)
    with pytest.raises(ns.InputError, match="3 events precede it") as error:
        module.read(tmp_path / "both")
    assert "time that runs backwards" in str(error.value)


def test_a_file_without_a_size_needs_the_argument(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"% evt 2.0\n" + np.array([8 << 28 | 1, 5 << 11 | 2], "<u4").tobytes())
    with pytest.raises(ns.InputError, match=r"Pass size="):
        ns.io.evt.read(tmp_path / "a.raw")
    assert ns.io.evt.read(tmp_path / "a.raw", size=(3, 6)).shape == (65, 1, 2, 3, 6)
    with pytest.raises(ns.InputError, match="x < 5"):
        ns.io.evt.read(tmp_path / "a.raw", size=(3, 5))


def test_several_cameras_need_the_argument(tmp_path):
    ns.io.aedat.write(recording(), tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    with pytest.raises(ns.InputError, match=r"event streams \[0\]"):
        ns.io.aedat.read(tmp_path / "a", camera=4)
    (tmp_path / "a").write_bytes(content.replace(b"EVTS</attr>", b"IMUS</attr>"))
    with pytest.raises(ns.InputError, match=r"event streams \[\]"):
        ns.io.aedat.read(tmp_path / "a")


# ---- streams


def test_memory_depends_on_the_chunk_and_not_on_the_file(tmp_path):
    """32 MB of words are over 100 MB when decoded; a chunk holds a hundredth."""
    path, n = tmp_path / "large.raw", 1 << 20
    block = np.empty(n, "<u4")
    block[:] = (np.arange(n) % 60).astype("<u4") << 11 | 1 << 28
    with path.open("wb") as file:
        file.write(HEADER[2])
        for lap in range(8):
            block[:: n // 1024] = 8 << 28 | (np.arange(1024) + lap * 1024)
            file.write(block.tobytes())
    next(ns.io.evt.stream(path, events=1 << 16))  # compiles
    tracemalloc.start()
    total = sum(chunk.n_events for chunk in ns.io.evt.stream(path, events=1 << 16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 8 * (n - 1024) and peak < 24 << 20


def test_a_step_larger_than_a_chunk_is_refused(tmp_path):
    ns.io.evt.write(recording(), tmp_path / "a.raw")
    with pytest.raises(ns.InputError, match="over 5 events in a step"):
        list(ns.io.evt.stream(tmp_path / "a.raw", events=5, dt=1e-3))
