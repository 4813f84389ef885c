"""Download of data sets: each file is put in place only after its checksum was verified."""

import gzip
import hashlib
import http.client
import shutil
import urllib.request
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from neurosparse.atomic import make_folder, writing
from neurosparse.errors import InputError
from neurosparse.io.manifest import DataFile, Manifest, home

__all__ = ["fetch", "is_sound"]

_BLOCK = 1 << 20


def fetch(manifest: Manifest, to: str | Path | None = None) -> dict[str, Path]:
    """Download the files of a data set that are missing or damaged; verify each before it is put in place.

    Args:
        manifest: the data set.
        to: the folder, created if missing; default: ``$NEUROSPARSE_DATA/NAME`` or ``~/.cache/neurosparse/NAME``.

    Returns:
        Path by file name; empty for a data set of an installed package.

    Raises:
        InputError: the network fails, or the download is truncated or has another checksum; it is deleted.

    Example:
        >>> fetch(Manifest("digits", "Handwritten digits", "CC BY 4.0", "1998", source="sklearn:load_digits"))
        {}
    """
    folder = Path(to) if to else home(manifest)
    paths = {file.name: folder / file.name for file in manifest.files}
    for file in manifest.files:
        if not is_sound(paths[file.name], file):
            _download(file, paths[file.name])
    return paths


def _download(file: DataFile, target: Path) -> None:
    from rich.console import Console
    from rich.progress import wrap_file

    console = Console(stderr=True)
    make_folder(target.parent, "fetch")
    try:
        with writing(target, "fetch") as out, urllib.request.urlopen(file.url, timeout=60) as response:
            size, quiet = int(response.headers.get("Content-Length", 0)), not console.is_terminal
            with wrap_file(response, size, description=file.name, console=console, disable=quiet) as stream:
                shutil.copyfileobj(stream, out, _BLOCK)
            out.seek(0)
            if not _matches(out, file):
                expected = f"{file.bytes} bytes of content with sha256 {file.sha256}"
                raise InputError("fetch", got=f"other content from {file.url}", expected=expected, fix="Try again.")
    except InputError:
        raise
    except (OSError, http.client.HTTPException) as error:
        fix = "Check the network, then try again."
        raise InputError("fetch", got=f"{error} from {file.url}", expected=file.name, fix=fix) from error


def is_sound(path: Path, file: DataFile) -> bool:
    """Whether a file has the size and checksum of the manifest; it is decompressed if ``file.name`` ends in .gz."""
    try:
        with path.open("rb") as content:
            return _matches(content, file)
    except OSError:
        return False


def _matches(content: BinaryIO, file: DataFile) -> bool:
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(content) if file.name.endswith(".gz") else nullcontext(content) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except (EOFError, OSError, zlib.error):
        return False
    return size == file.bytes and digest.hexdigest() == file.sha256
