"""Text header of Prophesee's recordings: lines of ``% key value``, often closed by ``% end``."""

from __future__ import annotations

import re
from typing import IO

from neurosparse.errors import InputError
from neurosparse.io._pixels import Note, checked_note

__all__ = ["OURS", "fields", "header_text", "note_of", "read_header", "size_of"]

OURS = "neurosparse"  # key of the line with our note, which other tools skip
LONGEST = 1 << 16
# Lines that decide how a file is read; two that differ are a contradiction.
READ = ("evt", "format", "geometry", "height", "width", "version", "plugin_name", OURS)
# (height, width) of sensors; early recordings state only the plugin that recorded them.
SENSORS = {"gen3": (480, 640), "gen41": (720, 1280), "imx636": (720, 1280), "genx320": (320, 320)}


def read_header(where: str, file: IO[bytes]) -> dict[str, str]:
    """Keys and values; the position in the file is then that of the first event."""
    found: dict[str, str] = {}
    while file.peek(2)[:2] == b"% ":  # type: ignore[attr-defined]
        line = file.readline(LONGEST)
        if not line.endswith(b"\n") or file.tell() > LONGEST:
            raise InputError(where, got="a header that does not end", expected=f"at most {LONGEST} bytes of text")
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        if key.lower() in READ and found.get(key, value.strip()) != value.strip():
            got = f"header lines % {key} {found[key]} and % {key} {value.strip()}"
            raise InputError(where, got=got, expected="one of them", fix="Fetch or export the file again.")
        found[key] = value.strip()
        if key == "end":
            return found
    if found and not file.peek(1):  # type: ignore[attr-defined]
        raise InputError(where, got="a header without events", expected="events", fix="The file is cut off.")
    return found


def fields(header: dict[str, str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Names of lines that events have no place for; ``known``: those that the format reads."""
    read = {*known, "end", "geometry", "height", "width", OURS}
    return tuple(key for key in header if key.lower() not in read and not key.lower().startswith("data"))


def size_of(where: str, header: dict[str, str]) -> tuple[int, int] | None:
    """``(height, width)`` of the sensor, where the header states it or names a known sensor."""
    stated = " ".join(f"{key}={value}" for key, value in header.items()).lower()
    sizes = {(int(height), int(width)) for width, height in re.findall(r"\bgeometry=(\d{1,5})x(\d{1,5})\b", stated)}
    heights, widths = (re.findall(rf"\b{name}=(\d{{1,5}})\b", stated) for name in ("height", "width"))
    sizes |= {(int(height), int(width)) for height in heights for width in widths}
    if len(sizes) > 1:
        got = f"a header with sensors of {' and '.join(f'{h} x {w}' for h, w in sorted(sizes))} pixels"
        raise InputError(where, got=got, expected="one size", fix="Fetch or export the file again.")
    plugin = header.get("plugin_name", "")
    named = next((size for name, size in SENSORS.items() if f"_{name}_" in f"{plugin}_"), None)
    return next(iter(sizes), named)


def note_of(where: str, header: dict[str, str]) -> Note | None:
    """The note of :func:`header_text`; None in files of other writers."""
    if OURS not in header:
        return None
    try:
        return checked_note(**dict(part.split("=") for part in header[OURS].split()))
    except (ValueError, TypeError) as error:
        got, fix = f"the line {OURS} {header[OURS]}", "Fetch or export the file again."
        raise InputError(where, got=got, expected="steps, dt and t0", fix=fix) from error


def header_text(lines: dict[str, object], note: Note) -> bytes:
    """The header of a recording, our note included."""
    pairs = {**lines, OURS: note, "end": ""}
    return "".join(f"{f'% {key} {value}'.rstrip()}\n" for key, value in pairs.items()).encode()
