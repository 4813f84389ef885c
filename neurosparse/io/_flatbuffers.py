"""Flatbuffers of AEDAT4: tables and vectors, the table of packets, and the compression of packets within limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import unpack_from
from typing import Any

from neurosparse.io._library import RATIO, ROOM, check_unpacked, library

__all__ = ["LIMIT", "Packed", "field", "packer", "root", "table", "vector"]

LIBRARIES = {"lz4": "lz4.frame", "zstd": "zstandard"}
_BLOCK = 1 << 20  # bytes of a packet of unknown size that are decompressed together
LIMIT = 1 << 26  # most bytes of a header or a packet, compressed and decompressed


Buffer = bytes | memoryview


def root(buffer: Buffer, kind: bytes) -> tuple[Buffer, int]:
    """A buffer without its size, which must be right, and the place of its root table; ``kind``: its identifier."""
    size = unpack_from("<I", buffer)[0]
    if buffer[8:12] != kind:
        raise ValueError(f"{bytes(buffer[8:12])!r}, not {kind.decode()}")
    if size != len(buffer) - 4:
        raise ValueError(f"{len(buffer) - 4} bytes where {size} are stated")
    return memoryview(buffer)[4:], unpack_from("<I", buffer, 4)[0]


def field(buffer: Buffer, at: int, number: int) -> int:
    """Byte at which a field of a table starts; 0 for a field that is absent."""
    layout = at - unpack_from("<i", buffer, at)[0]
    if layout < 0 or at < 0:
        raise ValueError("a table outside its buffer")
    size = unpack_from("<H", buffer, layout)[0]
    offset = unpack_from("<H", buffer, layout + 4 + 2 * number)[0] if size > 4 + 2 * number else 0
    return at + offset if offset else 0


def vector(buffer: Buffer, at: int, width: int) -> tuple[int, int]:
    """Start and length of a vector."""
    at += unpack_from("<I", buffer, at)[0]
    length = unpack_from("<I", buffer, at)[0]
    if at + 4 + length * width > len(buffer):
        raise ValueError(f"{length} entries in {len(buffer)} bytes")
    return at + 4, length


def table(buffer: Buffer) -> list[tuple[int, ...]]:
    """The packets that the table at the end of a file lists: byte of the content, stream, bytes, elements."""
    buffer, at = root(buffer, b"FTAB")
    entries = field(buffer, at, 0)
    start, length = vector(buffer, entries, 4) if entries else (0, 0)
    found = []
    for number in range(length):
        entry = start + 4 * number
        entry += unpack_from("<I", buffer, entry)[0]
        place, packet, elements = (field(buffer, entry, number) for number in range(3))
        stream, size = unpack_from("<ii", buffer, packet) if packet else (0, 0)
        numbers = [unpack_from("<q", buffer, at)[0] if at else 0 for at in (place, elements)]
        found.append((numbers[0], stream, size, numbers[1]))
    return found


class Packed:
    """Decompression of the packets of one file, within limits for each packet and for the file."""

    def __init__(self, where: str, compression: str, path: Path):
        self.where, self.path, self.unpacked = where, path, 0
        self.limit = ROOM + RATIO * path.stat().st_size
        self.library: Any = None if compression == "none" else library(where, LIBRARIES[compression], "aedat")
        self.unpack = {"none": bytes, "lz4": self._lz4, "zstd": self._zstd}[compression]

    def __call__(self, body: bytes) -> bytes:
        content = self.unpack(body)
        self.unpacked += len(content)
        if self.unpacked > self.limit:
            check_unpacked(self.where, self.path, self.unpacked)
        return content

    def _lz4(self, body: bytes) -> bytes:
        size = self.library.get_frame_info(body)["content_size"]
        step = size if 0 < size <= LIMIT else _BLOCK
        tool, pieces, total = self.library.LZ4FrameDecompressor(), [], 0
        while not tool.eof:
            piece = tool.decompress(body, max_length=step)
            pieces, total, body = [*pieces, piece], total + len(piece), b""
            if (not piece and tool.needs_input and not tool.eof) or total > LIMIT:
                raise ValueError("it ends too early or is too large")
        return b"".join(pieces)

    def _zstd(self, body: bytes) -> bytes:
        with self.library.ZstdDecompressor(max_window_size=LIMIT).stream_reader(body) as reader:
            content = bytearray()
            while piece := reader.read(_BLOCK):
                content += piece
                if len(content) > LIMIT:
                    raise ValueError("it is too large")
        return bytes(content)


def packer(where: str, compression: str) -> Callable[[bytes], bytes]:
    """The function that compresses one packet."""
    return bytes if compression == "none" else library(where, LIBRARIES[compression], "aedat").compress
