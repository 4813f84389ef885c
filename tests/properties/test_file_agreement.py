"""Every pair of formats, random recordings and options: info, read and convert agree; what is written is read."""

import random
import warnings
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
import torch

import neurosparse as ns
from neurosparse.io._pixels import with_units
from neurosparse.io.formats import FORMATS, FileContent

START = datetime(2020, 1, 1, tzinfo=UTC)
CAMERAS = [name for name, format in FORMATS.items() if format.scan]
SLOW = ("nwb", "pynapple")  # a third of a second for each file
EPOCH = 1_600_000_000.0


def drawn(draw: random.Random, name: str) -> ns.EventTensor:
    """Spikes of one recording at microseconds: repeats, silent units, silence at the end, any start."""
    axes = draw.choice([*FORMATS[name].axes, *FORMATS[name].axes, *FORMATS[name].axes, 1, 2, 3])
    units = draw.choice(
        {
            1: [(7,), (7,) if name in SLOW else (2312,)],
            2: [(3, 4)],
            3: [(2, 34, 34), (2, 34, 34), (2, 3, 5), (2, 240, 300)],
        }[axes]
    )
    units = (2, 34, 34) if name == "nmnist" and draw.random() < 0.9 else units
    n_units, n = int(np.prod(units)), draw.choice([0, 1, 5, 5, 40, 40])
    times = sorted(draw.choice([0, 5, 1000, 29_999, draw.randrange(30_000)]) for _ in range(n))
    t0 = draw.choice([0.0, 0.0, 0.0, 0.002, 20_000.0, EPOCH])
    dt = draw.choice([1e-6, 1e-6, 1e-3, 2.5e-4])
    unit = torch.tensor([draw.randrange(n_units) for _ in times], dtype=torch.int64)
    time = torch.tensor([time * 1000 + round(t0 * 1e9) for time in times], dtype=torch.int64)
    silence = "silence" in FORMATS[name].holds or draw.random() < 0.2
    stop = draw.choice([None, 30_000 * 1000 + round(t0 * 1e9)]) if silence else None
    parts = ns.events.build.nanosecond_parts("test", time, unit, n_units, dt, t0, stop)
    return with_units(ns.EventTensor._of(parts), units)


def options_of(draw: random.Random, events: ns.EventTensor, name: str) -> dict:
    """Options of the reader: those it needs, and sometimes one that is wrong or that it does not take."""
    found, format = {}, FORMATS[name]
    if format.continuous or draw.random() < 0.3:
        found["dt"] = draw.choice([1e-6, 1e-3, 3e-4])
    known = tuple(events.shape[-2:]) if len(events.shape) == 5 else (1, events.shape[-1])
    if (not format.states and draw.random() < 0.9) or draw.random() < 0.2:
        found["size"] = known
    if draw.random() < 0.15:
        found["size"] = draw.choice([(known[0] + 1, known[1]), (known[0], known[1] + 1)])
    if draw.random() < 0.15:
        found |= draw.choice([{"camera": 0}, {"camera": 5}, {"on_error": "drop"}, {"on_error": "sort"}, {"t0": 0.0}])
    return found


def facts(events: ns.EventTensor) -> tuple:
    return events.n_events, events.shape, events.dt, events.t0


def outcome(work):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return work()
        except ns.InputError as error:
            assert "expected" in str(error), error
            return None


def one(draw: random.Random, source: str, target: str, folder) -> str:
    """Write, read, describe and convert one recording; returns what became of it."""
    events = drawn(draw, source)
    path, result = (folder / f"{side}{FORMATS[name].suffixes[0]}" for side, name in (("a", source), ("b", target)))
    written = outcome(lambda: FORMATS[source].write(FileContent(events), path, START) or True)
    if not written:
        return "not written"
    options = options_of(draw, events, source)
    read = outcome(lambda: ns.io.files.read(path, format=source, **options))
    info = outcome(lambda: ns.io.files.info(path, format=source, **options))
    if read is None:
        assert info is None or None in info["shape"] or "size" not in options, (source, options)
        assert (
            outcome(lambda: ns.io.files.convert(path, result, from_format=source, to_format=target, **options)) is None
        )
        return "not read"
    assert info is not None, (source, options)
    assert (info["events"], tuple(info["shape"]), info["dt"], info["t0"]) == facts(read), (source, options)
    if read.n_events:
        assert (info["first"], info["last"]) == (int(read.times().min()) / 10**9, int(read.times().max()) / 10**9)
    plan = {"to_format": target, "from_format": source, "drop": draw.choice([(), ("silence",)])}
    plan |= {"units": (events.n_units,)} if draw.random() < 0.4 else {}
    plan |= {"rebase": True} if draw.random() < 0.4 else {}
    plan |= {"start": START} if target == "nwb" else {}
    found = outcome(lambda: ns.io.files.convert(path, result, **plan, **options))
    if found is None:
        assert not result.exists(), "a refused conversion leaves nothing"
        return "not converted"
    back = {"dt": read.dt} if FORMATS[target].continuous else {}
    shape = found["shape"]
    if not FORMATS[target].states:
        back["size"] = tuple(shape[-2:]) if len(shape) == 5 else (1, shape[-1])
    again = ns.io.files.read(result, format=target, **back)
    since = int(Fraction(repr(read.t0)) * 10**9) if plan.get("rebase") else 0
    key = [(read.times() - since, read.index), (again.times(), again.index)]
    (a, i), (b, j) = ((time.numpy(), index.numpy()) for time, index in key)
    order, other = np.lexsort((i, a)), np.lexsort((j, b))
    assert np.array_equal(a[order], b[other]) and np.array_equal(i[order], j[other]), (source, target, plan)
    assert found["events"] == again.n_events and found["t0"] == read.t0
    same = again.t0 == read.t0 - (read.t0 if plan.get("rebase") else 0) and again.shape[0] == read.shape[0]
    assert same or found["lost"] or again.dt != read.dt, (source, target, plan, found)
    return "converted"


def run(seed: int, source: str, target: str, count: int, tmp_path) -> dict[str, int]:
    draw, counts = random.Random(f"{seed} {source} {target}"), {}
    for number in range(count):
        folder = tmp_path / f"{source}-{target}-{number}"
        folder.mkdir()
        became = one(draw, source, target, folder)
        counts[became] = counts.get(became, 0) + 1
    return counts


@pytest.mark.parametrize("source", [name for name in FORMATS if name not in SLOW])
def test_info_read_and_convert_agree(tmp_path, source):
    total = {}
    for target in FORMATS:
        if target in SLOW and source not in ("evt2", "shd"):
            continue
        for became, n in run(0, source, target, 1 if target in SLOW else 3, tmp_path).items():
            total[became] = total.get(became, 0) + n
    assert total.get("converted", 0) > 0


# ---- headers


def mutated(draw: random.Random, content: bytes) -> bytes:
    """A digit or a line of the text header changed, removed or repeated."""
    end = max(content.rfind(mark, 0, 4096) for mark in (b"% end", b"% Width", b"</dv>", b"% neurosparse"))
    head = bytearray(content[: max(end, 0) + 24])
    digits = [at for at, byte in enumerate(head) if chr(byte).isdigit()]
    match draw.randrange(3):
        case 0 if digits:
            at = draw.choice(digits)
            head[at : at + 1] = str(draw.randrange(10)).encode()
        case 1:
            lines = bytes(head).split(b"\n")
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            head = bytearray(b"\n".join(lines))
        case _:
            at = draw.randrange(len(head))
            head[at] ^= 1 << draw.randrange(8)
    return bytes(head) + content[max(end, 0) + 24 :]


def headers(seed: int, name: str, count: int, tmp_path) -> dict[str, int]:
    """Events of a file whose header was changed are those written, fewer with an error, or other values of metadata."""
    draw, counts = random.Random(f"{seed} {name}"), {"read": 0, "refused": 0}
    step = torch.tensor([0, 5, 70, 900])
    events = ns.EventTensor.from_aer(step, step * 0, torch.tensor([3, 29, 0, 11]), shape=(1000, 1, 2, 3, 5), dt=1e-6)
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    FORMATS[name].write(FileContent(events), path, None)
    sound = path.read_bytes()
    for _ in range(count):
        path.write_bytes(mutated(draw, sound))
        found = outcome(lambda: ns.io.files.read(path, format=name))
        info = outcome(lambda: ns.io.files.info(path, format=name))
        counts["refused" if found is None else "read"] += 1
        if found is not None:
            assert info is not None and info["events"] == found.n_events == 4
            assert (tuple(info["shape"]), info["dt"], info["t0"]) == (found.shape, found.dt, found.t0)
    return counts


@pytest.mark.parametrize("name", [name for name in CAMERAS if name != "nmnist"])
def test_changed_headers_never_lose_events_silently(tmp_path, name):
    assert headers(0, name, 60, tmp_path)["refused"] > 0
