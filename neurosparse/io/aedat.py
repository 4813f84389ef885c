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

from neurosparse.atomic import write_atomically
from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.io import _pixels, _prophesee
from neurosparse.io._library import library
from neurosparse.io._pixels import Damage, Note, Pixels, PixelSource, Salvage

__all__ = ["read", "salvage", "scan", "stream", "write"]

MAGIC = b"#!AER-DAT4.0\r\n"
RECORD = np.dtype([("time", "<i8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1"), ("pad", "V3")])
SIDE, LAST_TIME = 1 << 15, (1 << 53) - 1  # microseconds; larger ones are not exact in float64 seconds
LIMIT = 1 << 26  # most bytes of a header or a packet, compressed and decompressed
COMPRESSIONS = ("none", "lz4", "lz4", "zstd", "zstd")  # by their number in the header; the second is "high"
PACKET = Struct("<I I4s2xHHHiII")  # size, root, name, layout and place of one table with one vector
HEADER = Struct("<I I4s6xHHHHHiiIqI")
EVENTS = 1 << 12  # per packet that we write


def read(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
) -> EventTensor:
    """The events of one camera, exact to the microsecond; frames, inertial data and triggers are left out.

    Args:
        path: the file.
        dt: seconds per step; a coarser step keeps microseconds as offsets. Default: 1e-6, or what :func:`write` noted.
        size: ``(height, width)`` of the sensor, where the header does not state it.
        camera: number of its stream, where a file holds events of several cameras.

    Returns:
        Spikes ``(steps, 1, 2, height, width)``: polarity (off, on), y, x. Times count from 1970, so ``t0`` is the time
        of the first event, or what :func:`write` noted.

    Raises:
        MissingFileError: no such file.
        InputError: not AEDAT4, several cameras, time that runs backwards, an event outside the sensor, a damaged or
            cut-off file, lz4 or zstandard not installed. :func:`salvage` reads what precedes the damage.

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
    return _pixels.read(scan(path, camera, "io.aedat.read"), dt, size, "io.aedat.salvage")


def stream(
    path: str | PathLike[str],
    events: int = 1 << 20,
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
) -> Iterator[EventTensor]:
    """A recording of any length in chunks of about ``events`` events, as :func:`neurosparse.io.evt.stream`."""
    return _pixels.stream(scan(path, camera, "io.aedat.stream"), events, dt, size)


def salvage(
    path: str | PathLike[str],
    dt: float | None = None,
    size: tuple[int, int] | None = None,
    camera: int | None = None,
) -> Salvage:
    """The events that precede the damage of a damaged file, as :func:`neurosparse.io.evt.salvage`."""
    return _pixels.salvage(scan(path, camera, "io.aedat.salvage"), dt, size)


class _Header(NamedTuple):
    compression: str
    end: int  # byte after the last packet; negative: the end of the file
    cameras: dict[int, tuple[tuple[int, int] | None, Note | None]]


def scan(path: str | PathLike[str], camera: int | None = None, where: str = "io.aedat.scan") -> PixelSource:
    """The decoded columns of a file in blocks, as :func:`neurosparse.io.evt.scan`."""
    with _pixels.open_file(where, path) as file:
        header = _read_header(where, file)
        start = file.tell()
    found = list(header.cameras)
    if camera is not None:
        camera = whole(where, "camera", camera, 0)
    elif len(found) == 1:
        (camera,) = found
    if camera not in header.cameras:
        got = f"camera={camera} for a file with event streams {found}"
        expected = "the number of one of its streams" if found else "a stream of events"
        raise InputError(where, got=got, expected=expected, fix="Pass camera=." if found else "")
    size, note = header.cameras[camera]
    return PixelSource(where, Path(path).name, size, note, _blocks(where, path, start, header, camera), epoch=True)


def _blocks(where: str, path: str | PathLike[str], start: int, header: _Header, camera: int) -> Iterator[Pixels]:
    last = 0
    with open(path, "rb") as file:
        file.seek(start)
        while header.end < 0 or file.tell() < header.end:
            at, head = file.tell(), file.read(8)
            if not head and header.end < 0:
                return
            try:
                stream, size = unpack_from("<ii", head)
                body = file.read(size) if 0 <= size <= LIMIT else b""
                if size != len(body):
                    raise ValueError(f"{len(body)} of {size} bytes")
                if stream != camera:
                    continue
                records = _records(_unpacked(where, header.compression, body))
            except InputError:
                raise
            except Exception as reason:  # lz4 and zstandard raise errors of their own on damaged data
                got = f"a packet at byte {at}: {str(reason) or type(reason).__name__}"
                raise Damage(where, got=got, expected="whole packets", fix="Fetch the file again.") from reason
            block = Pixels(records["time"].copy(), records["x"], records["y"], records["on"] > 0)
            yield from _pixels.in_order(where, block, last)
            last = int(block.time[-1]) if len(block.time) else last


def _field(table: bytes, at: int, number: int) -> int:
    """Byte at which a field of a flatbuffer's table starts; 0 for a field that is absent."""
    layout = at - unpack_from("<i", table, at)[0]
    if layout < 0 or at < 0:
        raise ValueError("a table outside its buffer")
    size = unpack_from("<H", table, layout)[0]
    offset = unpack_from("<H", table, layout + 4 + 2 * number)[0] if size > 4 + 2 * number else 0
    return at + offset if offset else 0


def _vector(table: bytes, field: int, width: int) -> tuple[int, int]:
    """Start and length of a vector of a flatbuffer."""
    at = field + unpack_from("<I", table, field)[0]
    length = unpack_from("<I", table, at)[0]
    if at + 4 + length * width > len(table):
        raise ValueError(f"{length} entries in {len(table)} bytes")
    return at + 4, length


def _records(packet: bytes) -> np.ndarray:
    if packet[8:12] != b"EVTS":
        raise ValueError(f"{packet[8:12]!r}, no events")
    table = packet[4:]
    field = _field(table, unpack_from("<I", table)[0], 0)
    start, length = _vector(table, field, RECORD.itemsize) if field else (0, 0)
    return np.frombuffer(table, RECORD, length, start)


def _unpacked(where: str, compression: str, body: bytes) -> bytes:
    """A decompressed packet, at most LIMIT bytes, whatever size a damaged one states."""
    if compression == "none":
        return body
    if compression == "lz4":
        lz4 = library(where, "lz4.frame", "aedat")
        size = lz4.get_frame_info(body)["content_size"]
        step = size if 0 < size <= LIMIT else _pixels.BLOCK
        tool, content = lz4.LZ4FrameDecompressor(), bytearray()
        while not tool.eof:
            piece = tool.decompress(body, max_length=step)
            content += piece
            body = b""
            if (not piece and tool.needs_input) or len(content) > LIMIT:
                raise ValueError("it ends too early or is too large")
        return bytes(content)
    zstandard = library(where, "zstandard", "aedat")
    with zstandard.ZstdDecompressor(max_window_size=LIMIT).stream_reader(body) as reader:
        content = bytearray()
        while piece := reader.read(_pixels.BLOCK):
            content += piece
            if len(content) > LIMIT:
                raise ValueError("it is too large")
    return bytes(content)


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
        size = unpack_from("<I", file.read(4))[0]
        table = file.read(size) if size <= LIMIT else b""
        root = unpack_from("<I", table)[0]
        compression, end, info = (_field(table, root, number) for number in range(3))
        number = unpack_from("<i", table, compression)[0] if compression else 0
        start, length = _vector(table, info, 1) if info else (0, 0)
        text = table[start : start + length].decode()
        position = unpack_from("<q", table, end)[0] if end else -1
        if not 0 <= number < len(COMPRESSIONS) or "<!" in text:
            raise ValueError(f"compression {number}" if "<!" not in text else "declarations in its description")
        cameras = _cameras(where, ElementTree.fromstring(text))
    except (error, ValueError, ElementTree.ParseError) as reason:
        fix = "Fetch the file again."
        raise InputError(where, got=f"a damaged header ({reason})", expected="a valid header", fix=fix) from reason
    return _Header(COMPRESSIONS[number], position, cameras)


def _cameras(where: str, tree: ElementTree.Element) -> dict[int, tuple[tuple[int, int] | None, Note | None]]:
    """Size of the sensor and our note, by number of each stream of events."""
    found = {}
    for node in tree.iterfind(".//node[attr]"):
        if node.findtext("attr[@key='typeIdentifier']") != "EVTS":
            continue
        about = {attr.get("key", ""): attr.text or "" for attr in node.iterfind("node[@name='info']/attr")}
        width, height = int(about.get("sizeX", 0)), int(about.get("sizeY", 0))
        size = (height, width) if 0 < height < SIDE and 0 < width < SIDE else None
        found[int(node.get("name", ""))] = (size, _prophesee.note_of(where, about))
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
    where = "io.aedat.write"
    one_of(where, "compression", compression, ("none", "lz4", "zstd"))
    packed = {
        "none": lambda body: body,
        "lz4": lambda body: library(where, "lz4.frame", "aedat").compress(body),
        "zstd": lambda body: library(where, "zstandard", "aedat").compress(body),
    }[compression]
    columns, note = _pixels.columns(where, events, LAST_TIME, SIDE - 1)
    records = np.zeros(len(columns.time), RECORD)
    records["time"], records["x"], records["y"], records["on"] = columns
    parts = [MAGIC, _header(COMPRESSIONS.index(compression), _description(events.shape, note))]
    for first in range(0, len(records), EVENTS):
        some = records[first : first + EVENTS]
        body = packed(_packet(some.tobytes(), len(some)))
        parts += [pack("<ii", 0, len(body)), body]
    write_atomically(path, b"".join(parts), where)


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


def _description(shape: tuple[int, ...], note: Note) -> bytes:
    """The streams of a file in XML, in the layout of iniVation's DV."""

    def attr(key: str, kind: str, value: object) -> str:
        return f"<attr key={quoteattr(key)} type={quoteattr(kind)}>{value}</attr>"

    info = attr("sizeX", "int", shape[4]) + attr("sizeY", "int", shape[3]) + attr("source", "string", "neurosparse")
    info += attr(_prophesee.OURS, "string", note)
    stream = attr("originalModuleName", "string", "neurosparse") + attr("originalOutputName", "string", "events")
    stream += attr("typeDescription", "string", "Array of events (polarity ON/OFF).")
    stream += attr("typeIdentifier", "string", "EVTS") + f'<node name="info" path="/outInfo/0/info/">{info}</node>'
    node = f'<node name="outInfo" path="/outInfo/"><node name="0" path="/outInfo/0/">{stream}</node></node>'
    return f'<dv version="2.0">{node}</dv>'.encode()
