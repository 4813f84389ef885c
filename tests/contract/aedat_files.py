"""AEDAT4 files with several streams and a table of packets, built field by field for tests."""

from __future__ import annotations

from struct import pack

import lz4.frame
import numpy as np

EVENT = np.dtype([("time", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "?"), ("pad", "V3")])


def packet(kind: bytes, events: list[tuple[int, int, int, bool]] | np.ndarray) -> bytes:
    """A buffer with its size, an identifier, and one table with one vector of events."""
    records = np.array([(*event, b"") for event in events], EVENT) if isinstance(events, list) else events
    body = pack("<I4s", 16, kind) + b"\0\0" + pack("<HHH", 6, 8, 4) + pack("<iI", 6, 4)
    body += pack("<I", len(records)) + records.tobytes()
    return pack("<I", len(body)) + body


def table(entries: list[tuple[int, int, int, int, int, int]]) -> bytes:
    """The table at the end of a file: place, stream, bytes, elements, first and last time of each packet."""
    parts, places = b"", []
    for place, stream, size, elements, first, last in entries:
        layout = pack("<HH5H", 14, 48, 12, 4, 20, 28, 36)
        places.append(len(parts) + len(layout))
        parts += layout + pack("<iiiqqqq", len(layout), stream, size, place, elements, first, last) + b"\0" * 4
    head = 4 + 4 + 2 + 6 + 8  # root, identifier, padding, layout, table
    vector = head
    start = vector + 4 + 4 * len(entries)
    offsets = b"".join(pack("<I", start + at - (vector + 4 + 4 * n)) for n, at in enumerate(places))
    body = pack("<I4s", 16, b"FTAB") + b"\0\0" + pack("<HHH", 6, 8, 4) + pack("<iI", 6, vector - 20)
    body += pack("<I", len(entries)) + offsets + parts
    return pack("<I", len(body)) + body


def recording(
    streams: dict[int, str],
    packets: list[tuple[int, list | np.ndarray]],
    size: tuple[int, int] = (3, 4),
    table_at: int | None = None,
    stated: dict[int, int] | None = None,
    version: str = "2.0",
) -> bytes:
    """A file compressed by LZ4.

    Args:
        streams: kind of each stream (EVTS, FRME, IMUS, TRIG) by number.
        packets: stream and events of each packet; of other kinds, the list is ignored.
        size: ``(height, width)`` of every camera.
        table_at: byte of the table that the header states; default: the right one.
        stated: elements that the table states instead of the right ones, by packet.
        version: of the description.
    """
    nodes = ""
    for number, kind in streams.items():
        info = f'<attr key="sizeX" type="int">{size[1]}</attr><attr key="sizeY" type="int">{size[0]}</attr>'
        nodes += (
            f'<node name="{number}" path="/outInfo/{number}/"><attr key="typeIdentifier" type="string">{kind}</attr>'
        )
        nodes += f'<node name="info" path="/outInfo/{number}/info/">{info}</node></node>'
    text = f'<dv version="{version}"><node name="outInfo" path="/outInfo/">{nodes}</node></dv>'.encode()
    start = 14 + 4 + 48 + len(text) + 1
    content, entries, packed = b"", [], {}
    for at, (number, events) in enumerate(packets):
        if (number, id(events)) not in packed:
            packed[number, id(events)] = lz4.frame.compress(packet(streams[number].encode(), events))
        body = packed[number, id(events)]
        times = [int(event[0]) for ends in (events[:1], events[-1:]) for event in ends] or [0]
        elements = (stated or {}).get(at, len(events))
        entries.append((start + len(content) + 8, number, len(body), elements, times[0], times[-1]))
        content += pack("<ii", number, len(body)) + body
    end = start + len(content) if table_at is None else table_at
    head = pack("<I4s", 24, b"IOHE") + b"\0" * 6 + pack("<HHHHH", 10, 20, 4, 12, 8)
    head += pack("<iiIq", 10, 1, 12, end) + pack("<I", len(text)) + text + b"\0"
    assert 4 + len(head) + 14 == start, (len(head), start)
    return b"#!AER-DAT4.0\r\n" + pack("<I", len(head)) + head + content + lz4.frame.compress(table(entries))
