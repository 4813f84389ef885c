"""AEDAT4: recordings of iniVation's event cameras, packets of flatbuffers, with LZ4, Zstandard or no compression."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from struct import Struct, error, pack, unpack_from
from typing import IO, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from neurosparse.atomic import writing
from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _camera, _flatbuffers, _pixels, _prophesee
from neurosparse.io._camera import Salvage
from neurosparse.io._flatbuffers import LIMIT, Packed
from neurosparse.io._library import RATIO, ROOM
from neurosparse.io._pixels import Damage, Note, Pixels, PixelSource
from neurosparse.kernels import evt as kernels

__all__ = ["read", "salvage", "scan", "stream", "write", "write_blocks"]

MAGIC = b"#!AER-DAT4.0\r\n"
RECORD = np.dtype([("time", "<i8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1"), ("pad", "V3")])
SIDE, LAST_TIME = 1 << 15, (1 << 53) - 1  # microseconds; larger ones are not exact in float64 seconds
COMPRESSIONS = ("none", "lz4", "lz4", "zstd", "zstd")  # by their number in the header; the second is "high"
PACKET = Struct("<I I4s2xHHHiII")  # size, root, name, layout and place of one table with one vector
HEADER = Struct("<I I4s6xHHHHHiiIqI")
EVENTS = 1 << 12  # per packet that we write
VERSIONS, OURSELVES = ("2.0", "1.0"), "neurosparse"  # of the description; the source that our files name
KINDS = {"FRME": "frames", "IMUS": "inertial data (IMU)", "TRIG": "triggers"}  # of packets that hold no events


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
    on_error: str = "raise",
) -> EventTensor:
    """The events of one camera, exact to the microsecond; frames, inertial data and triggers are left out.

    Args:
        path: the file.
        dt: seconds per step; a coarser step keeps microseconds as offsets. Default: 1e-6, or what :func:`write` noted.
        size: ``(height, width)`` of the sensor, where the header does not state it.
        camera: number of its stream, where a file holds events of several cameras.
        on_error: ``"raise"``, ``"drop"`` or ``"sort"``, as in :func:`neurosparse.io.evt.read`.

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x. Times count from 1970, so ``t0`` is the time
        of the first event, or what :func:`write` noted.

    Raises:
        MissingFileError: no such file.
        InputError: not AEDAT4, several cameras, another size than the header states, time that runs backwards, an
            event outside the sensor, packets that differ from the table at the end of the file, a damaged or cut-off
            file, lz4 or zstandard not installed. :func:`salvage` reads what precedes the damage.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> step, sample, unit = torch.tensor([0, 7]), torch.tensor([0, 0]), torch.tensor([5, 0])
        >>> spikes = EventTensor.from_aer(step, sample, unit, shape=(9, 1, 2, 2, 3), dt=1e-6, t0=1605537493.718345)
        >>> with TemporaryDirectory() as folder:
        ...     write(spikes, f"{folder}/a.aedat4")
        ...     again = read(f"{folder}/a.aedat4")
        >>> again.shape, again.times().tolist()
        ((9, 1, 2, 2, 3), [1605537493718345000, 1605537493718352000])

    Source: iniVation, "AEDAT 4 file format", DV software documentation.
    """
    return _camera.read(scan(path, camera, "io.aedat.read", on_error), dt, size)


def stream(
    path: str | PathLike[str],
    events: int = 1 << 20,
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
    on_error: str = "raise",
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _camera.stream(scan(path, camera, "io.aedat.stream", on_error), events, dt, size)


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
    on_error: str = "raise",
) -> Salvage:
    """The events that precede the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _camera.salvage(scan(path, camera, "io.aedat.salvage", on_error), dt, size)


class _Stream(NamedTuple):
    """A stream of a file: what its packets hold; of events: size of the sensor, our note, fields without a place."""

    kind: str
    size: tuple[int, int] | None = None
    note: Note | None = None
    fields: tuple[str, ...] = ()


class _Header(NamedTuple):
    compression: str
    table: int  # byte after the last packet, where a table of all packets begins; negative: there is none
    streams: dict[int, _Stream]


def scan(
    path: str | PathLike[str], camera: int | None = None, where: str = "io.aedat.scan", on_error: str = "raise"
) -> PixelSource:
    """The decoded columns of a file in blocks, as :func:`neurosparse.io.evt.scan`."""
    on_error = _pixels.on_error_of(where, on_error)
    with _pixels.open_file(where, path) as file:
        header = _read_header(where, file)
        start = file.tell()
    found = [number for number, stream in header.streams.items() if stream.kind == "EVTS"]
    if camera is not None:
        camera = whole(where, "camera", camera, 0)
    elif len(found) == 1:
        (camera,) = found
    if camera is None or camera not in found:
        got = f"camera={camera} for a file with event streams {found}"
        expected = "the number of one of its streams" if found else "a stream of events"
        raise InputError(where, got=got, expected=expected, fix=f"Pass camera={found[0]}." if found else "")
    stream = header.streams[camera]
    source = PixelSource(where, Path(path).name, stream.size, stream.note, iter(()), epoch=True, on_error=on_error)
    others = (f"stream {n} of {_named(other.kind, n)}" for n, other in header.streams.items() if n != camera)
    source.fields = (*stream.fields, *others)
    source.blocks = _blocks(source, path, start, header, camera)
    return source


def _blocks(
    source: PixelSource, path: str | PathLike[str], start: int, header: _Header, camera: int
) -> Iterator[Pixels]:
    """Packets, several of them in a block."""
    block, n, last, damage = _pixels.empty(), 0, 0, None
    try:
        for words in _packets(source, path, start, header, camera):
            size = len(words) // 2
            if n + size > len(block.time):
                yield block.where(slice(n))
                block, n = _pixels.empty(max(size, _pixels.EVENTS)), 0
            part = block.where(slice(n, n + size))
            decreases = kernels.aedat(words, last, *part)
            if decreases and source.on_error == "raise":
                yield block.where(slice(n))
                n = 0
                yield from _pixels.in_order(source.where, part, last)
            n, last = n + size, int(part.time[-1]) if size else last
    except Damage as reason:
        damage = reason
    yield block.where(slice(n))
    if damage:
        raise damage


def _packets(
    source: PixelSource, path: str | PathLike[str], at: int, header: _Header, camera: int
) -> Iterator[np.ndarray]:
    """Events of each packet of a camera, two words of 64 bits each, from byte ``at`` on."""
    where, seen = source.where, []
    unpack = Packed(where, header.compression, Path(path))
    with open(path, "rb", buffering=_pixels.BLOCK) as file:
        table, wrong = _table(file, header.table, unpack)
        file.seek(at)
        while table is None or at < header.table:
            head = file.read(8)
            if not head and header.table < 0:
                return
            try:
                if wrong and not head:
                    raise ValueError("the end of the file")
                stream, size = unpack_from("<ii", head)
                body = file.read(size) if 0 <= size <= LIMIT else b""
                if size != len(body):
                    raise ValueError(f"{len(body)} of {size} bytes")
                if stream not in header.streams:
                    raise ValueError(f"stream {stream}, which the header does not list")
                words = _words(unpack(body)) if stream == camera else None
            except InputError:
                raise
            except Exception as reason:  # lz4 and zstandard raise errors of their own on damaged data
                got = wrong or f"a packet at byte {at}: {str(reason) or type(reason).__name__}"
                raise Damage(where, got=got, expected="whole packets", fix="Fetch the file again.") from reason
            seen.append((at + 8, stream, size, -1 if words is None else len(words) // 2))
            at += 8 + size
            if words is None:
                _count(source, header.streams[stream].kind, stream)
            else:
                yield words
    if stated := _differ(seen, table):
        raise Damage(where, got=stated, expected="the packets of the table at the end", fix="Fetch the file again.")


def _count(source: PixelSource, kind: str, stream: int) -> None:
    """A packet that is not read."""
    source.left_out[f"packets of {_named(kind, stream)}"] += 1


def _named(kind: str, stream: int) -> str:
    return f"events of camera {stream}" if kind == "EVTS" else KINDS.get(kind, kind)


def _table(file: IO[bytes], at: int, unpack: Packed) -> tuple[list[tuple[int, ...]] | None, str]:
    """The table of packets at the end of a file (None: there is none), and what is wrong with it."""
    if at < 0:
        return None, ""
    file.seek(at)
    try:
        return _flatbuffers.table(unpack(file.read(LIMIT))), ""
    except InputError:
        raise
    except Exception as reason:  # as of packets
        return None, f"no table of packets at byte {at:,}, where the header states it ({reason})"


def _differ(seen: list[tuple[int, ...]], table: list[tuple[int, ...]] | None) -> str:
    """How packets (place, stream, bytes, events; -1: not read) differ from the table of a file."""
    if table is None:
        return ""
    for found, stated in zip(sorted(seen), sorted(table), strict=False):
        if found[:3] != stated[:3] or found[3] not in (-1, stated[3]):
            names = ("byte", "stream", "bytes", "events")
            both = [", ".join(f"{name} {n}" for name, n in zip(names, row, strict=True)) for row in (found, stated)]
            return f"a packet of {both[0]}, in the table {both[1]}"
    return "" if len(seen) == len(table) else f"{len(seen):,} packets and {len(table):,} in the table"


def _words(packet: bytes) -> np.ndarray:
    """Events of a packet, two words each."""
    table, root = _flatbuffers.root(packet, b"EVTS")
    field = _flatbuffers.field(table, root, 0)
    start, length = _flatbuffers.vector(table, field, RECORD.itemsize) if field else (0, 0)
    words = np.frombuffer(table, "<u8", 2 * length, start)
    return words if words.flags.aligned else words.copy()


def _read_header(where: str, file: IO[bytes]) -> _Header:
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        raise InputError(
            where,
            got=f"a file that begins with {magic!r}",
            expected=f"{MAGIC!r}",
            fix="Check that this is an AEDAT4 file.",
        )
    try:
        size = unpack_from("<I", head := file.read(4))[0]
        table, root = _flatbuffers.root(head + (file.read(size) if size <= LIMIT else b""), b"IOHE")
        compression, end, info = (_flatbuffers.field(table, root, number) for number in range(3))
        number = unpack_from("<i", table, compression)[0] if compression else 0
        start, length = _flatbuffers.vector(table, info, 1) if info else (0, 0)
        text = bytes(table[start : start + length]).decode()
        position = unpack_from("<q", table, end)[0] if end else -1
        if not 0 <= number < len(COMPRESSIONS) or "<!" in text:
            raise ValueError(f"compression {number}" if "<!" not in text else "declarations in its description")
        tree = ElementTree.fromstring(text)
        if tree.tag != "dv" or tree.get("version") not in VERSIONS:
            raise ValueError(f"a description {tree.tag!r} of version {tree.get('version')}")
        streams = _streams(where, tree)
    except (error, ValueError, ElementTree.ParseError) as reason:
        fix = "Fetch the file again."
        raise InputError(where, got=f"a damaged header ({reason})", expected="a valid header", fix=fix) from reason
    return _Header(COMPRESSIONS[number], position, streams)


def _streams(where: str, tree: ElementTree.Element) -> dict[int, _Stream]:
    """The streams of a file, by number."""
    found = {}
    for node in tree.iterfind(".//node[attr]"):
        kind = node.findtext("attr[@key='typeIdentifier']")
        if kind is None:
            continue
        number = int(node.get("name", ""))
        if number in found:
            raise ValueError(f"two streams {number}")
        about = {attr.get("key", ""): attr.text or "" for attr in node.iterfind("node[@name='info']/attr")}
        width, height = int(about.get("sizeX", 0)), int(about.get("sizeY", 0))
        size = (height, width) if 0 < height < SIDE and 0 < width < SIDE else None
        if size is None and (width or height):
            raise ValueError(f"a sensor of {width} x {height} pixels")
        if kind != "EVTS":
            found[number] = _Stream(kind)
            continue
        known = ("sizeX", "sizeY", _prophesee.OURS, *(["source"] if about.get("source") == OURSELVES else []))
        fields = tuple(key for key in about if key not in known)
        found[number] = _Stream(kind, size, _prophesee.note_of(where, about), fields)
    return found


def write(events: EventTensor, path: str | PathLike[str], compression: str = "none") -> None:
    """Write one recording; all of the file or none of it. An attribute keeps what AEDAT4 cannot (end, ``dt``, ``t0``).

    Args:
        events: spikes ``(steps, 1, 2, height, width)`` at whole microseconds.
        path: the file to write.
        compression: ``"none"``, ``"lz4"`` or ``"zstd"``.

    Raises:
        InputError: another shape, graded events, times that are no whole microseconds or negative, another
            compression or one that is not installed.

    Example: see :func:`read`.
    """
    columns, note = _pixels.columns("io.aedat.write", events, SIDE - 1)
    write_blocks(iter([columns]), path, (events.shape[3], events.shape[4]), note, compression)


def write_blocks(
    blocks: Iterator[Pixels],
    path: str | PathLike[str],
    size: tuple[int, int],
    note: Note,
    compression: str = "none",
    where: str = "io.aedat.write",
) -> None:
    """Write a recording that arrives in blocks, as :func:`neurosparse.io.evt.write_blocks`."""
    compression = one_of(where, "compression", compression, ("none", "lz4", "zstd"))
    _pixels.check_sensor(where, (note.steps, 1, 2, *size), SIDE - 1)
    pack_body, unpacked = _flatbuffers.packer(where, compression), 0
    with writing(path, where) as file:
        file.write(MAGIC + _header(COMPRESSIONS.index(compression), _description(size, note)))
        for block in blocks:
            _pixels.fitting(where, block.time, LAST_TIME)
            records = np.zeros(len(block.time), RECORD)
            records["time"], records["x"], records["y"], records["on"] = block
            for first in range(0, len(records), EVENTS):
                some = records[first : first + EVENTS]
                content = _packet(some.tobytes(), len(some))
                body, unpacked = pack_body(content), unpacked + len(content)
                file.write(pack("<ii", 0, len(body)) + body)
        if unpacked > ROOM + RATIO * file.tell():
            got, fix = (
                f"events that {compression} makes very small, as a damaged file could",
                "Pass compression='none'.",
            )
            raise InputError(where, got=got, expected="events of a recording", fix=fix)


def _packet(records: bytes, count: int) -> bytes:
    size = PACKET.size - 4 + len(records)
    return PACKET.pack(size, 16, b"EVTS", 6, 8, 4, 6, 4, count) + records


def _header(compression: int, description: bytes) -> bytes:
    size = HEADER.size - 4 + len(description) + 1
    return (
        HEADER.pack(size, 24, b"IOHE", 10, 20, 4, 12, 8, 10, compression, 12, -1, len(description))
        + description
        + b"\0"
    )


def _description(size: tuple[int, int], note: Note) -> bytes:
    """The streams of a file in XML, in the layout of iniVation's DV."""

    def attr(key: str, kind: str, value: object) -> str:
        return f"<attr key={quoteattr(key)} type={quoteattr(kind)}>{value}</attr>"

    info = attr("sizeX", "int", size[1]) + attr("sizeY", "int", size[0]) + attr("source", "string", OURSELVES)
    info += attr(_prophesee.OURS, "string", note)
    stream = attr("originalModuleName", "string", OURSELVES) + attr("originalOutputName", "string", "events")
    stream += attr("typeDescription", "string", "Array of events (polarity ON/OFF).")
    stream += attr("typeIdentifier", "string", "EVTS") + f'<node name="info" path="/outInfo/0/info/">{info}</node>'
    node = f'<node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">{stream}</node></node>'
    return f'<dv version="2.0">{node}</dv>'.encode()
