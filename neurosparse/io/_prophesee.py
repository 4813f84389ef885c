"""The text that begins recordings of Prophesee: lines of ``% key value``, which may end in ``% end``."""

from __future__ import annotations

import re
from typing import IO

from neurosparse.errors import InputError
from neurosparse.io._pixels import Note, noted

__all__ = ["note_of", "read_header", "size_of", "text"]

OURS = "neurosparse"  # key of the line that other tools skip
LONGEST = 1 << 16
# (height, width) of sensors whose early recordings name only the plugin that made them.
SENSORS = {"gen3": (480, 640), "gen41": (720, 1280), "imx636": (720, 1280), "genx320": (320, 320)}


def read_header(where: str, file: IO[bytes]) -> dict[str, str]:
    """Keys and values; the file is left where its events begin."""
    found: dict[str, str] = {}
    while file.peek(2)[:2] == b"% ":  # type: ignore[attr-defined]
        line = file.readline(LONGEST)
        if not line.endswith(b"\n") or file.tell() > LONGEST:
            raise InputError(where, got="a header without end", expected=f"at most {LONGEST} bytes of text")
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        found[key] = value.strip()
        if key == "end":
            return found
    if found and not file.peek(1):  # type: ignore[attr-defined]
        raise InputError(where, got="a header and nothing else", expected="events", fix="The file is cut off.")
    return found


def size_of(header: dict[str, str]) -> tuple[int, int] | None:
    """``(height, width)`` of the sensor, where the header says it or names a sensor."""
    text = " ".join(f"{key}={value}" for key, value in header.items()).lower()
    if found := re.search(r"\bgeometry=(\d{1,5})x(\d{1,5})\b", text):
        return int(found[2]), int(found[1])
    height, width = (re.search(rf"\b{name}=(\d{{1,5}})\b", text) for name in ("height", "width"))
    if height and width:
        return int(height[1]), int(width[1])
    plugin = header.get("plugin_name", "")
    return next((size for name, size in SENSORS.items() if f"_{name}_" in f"{plugin}_"), None)


def note_of(where: str, header: dict[str, str]) -> Note | None:
    """What :func:`text` wrote of a recording of ours."""
    if OURS not in header:
        return None
    try:
        return noted(**dict(part.split("=") for part in header[OURS].split()))
    except (ValueError, TypeError) as error:
        got, fix = f"the line {OURS} {header[OURS]}", "Fetch or export the file again."
        raise InputError(where, got=got, expected="steps, dt and t0", fix=fix) from error


def text(lines: dict[str, object], note: Note) -> bytes:
    """The header of a recording that we write."""
    pairs = {**lines, OURS: note, "end": ""}
    return "".join(f"{f'% {key} {value}'.rstrip()}\n" for key, value in pairs.items()).encode()
