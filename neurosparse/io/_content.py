"""The content of a file of any format: one way for info, read, salvage and convert, with the same checks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from neurosparse.checks import one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import EventTensor
from neurosparse.io._arguments import check_dt, check_size
from neurosparse.io._pixels import PixelSource, on_error_of
from neurosparse.io.formats import FORMATS, FileContent, Format, ReadOptions

__all__ = ["Opened", "by_suffix", "find_format", "identify", "open_recording", "read_options"]


class Opened(NamedTuple):
    """A file of a known format and the options of its reader, checked.

    Cameras have a ``source``, whose blocks can be read once; the others have their ``content``, in steps of the file.
    """

    name: str
    path: Path
    options: ReadOptions
    source: PixelSource | None
    content: FileContent | None


def identify(path: Path) -> str:
    """The format of a file, a key of ``FORMATS``, by its first bytes and its suffix."""
    if not path.is_file():
        raise MissingFileError("io.files", got=str(path), expected="a recording", fix="Check the path.")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InputError("io.files", got=f"{path.name}, an empty file", expected="a recording", fix="Fetch it again.")
    by_content = [name for name, format in FORMATS.items() if format.begins(head)]
    suffixed = by_suffix(path)
    both = [name for name in by_content if name in suffixed]
    if not (found := both or by_content or suffixed):
        got, expected = f"{path.name}, which begins with {head[:8]!r}", f"a file of {', '.join(FORMATS)}"
        raise InputError("io.files", got=got, expected=expected, fix="Name its format: format=, or --from.")
    return found[0]


def by_suffix(path: Path) -> list[str]:
    """Formats whose files end as this path does."""
    return [name for name, format in FORMATS.items() if path.suffix.lower() in format.suffixes]


def find_format(name: str) -> Format:
    """A format by its name."""
    return FORMATS[one_of("io.files", "format", name, tuple(FORMATS))]


def read_options(where: str, dt: Any = None, size: Any = None, on_error: Any = "raise", **others: Any) -> ReadOptions:
    """Options of a reader, checked before a file is opened; what a format alone can check is left to it."""
    return ReadOptions(check_dt(where, dt), check_size(where, size), on_error=on_error_of(where, on_error), **others)


def open_recording(where: str, path: Path, name: str | None, options: ReadOptions, quiet: bool = False) -> Opened:
    """Open a file; an option that its format does not take is an error.

    ``quiet``: what the reader warns of is no warning but joins what the file holds beside its events.
    """
    name = name or identify(path)
    format = find_format(name)
    for option, plain in ReadOptions._field_defaults.items():
        if option not in ("dt", "size", *format.takes) and getattr(options, option) != plain:
            got = f"{option}={getattr(options, option)!r} for {path.name}"
            takes = ", ".join(f"{name}=" for name in ("dt", "size", *format.takes))
            raise InputError(where, got=got, expected=f"options of {name}: {takes}", fix="Omit it.")
    if format.scan is not None:
        return Opened(name, path, options, format.scan(path, options), None)
    with warnings.catch_warnings(record=quiet) as found:
        if quiet:
            warnings.simplefilter("always")
        content = format.read(path, options)
    said = (str(warning.message).removesuffix(".") for warning in found or ())
    content = content._replace(left_out=(*content.left_out, *said))
    _check_size(where, path, content.events, options.size)
    return Opened(name, path, options, None, content)


def _check_size(where: str, path: Path, events: EventTensor, size: tuple[int, int] | None) -> None:
    """A size that contradicts what the file states."""
    if size is None:
        return
    units = events.shape[2:]
    stated = (1, units[0]) if len(units) == 1 else units[-2:]
    if size != stated:
        got, expected = f"size={size} for {path.name}", f"size={tuple(stated)}, as the file states"
        raise InputError(where, got=got, expected=expected, fix="Omit it.")
