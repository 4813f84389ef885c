"""Download of data sets: each file is put in place only after its checksum was verified."""

import gzip
import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.request
import zlib
from pathlib import Path

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

    console, part = Console(stderr=True), None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".fetch-")
        part = Path(name)
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(file.url, timeout=60) as response:
            size, quiet = int(response.headers.get("Content-Length", 0)), not console.is_terminal
            with wrap_file(response, size, description=file.name, console=console, disable=quiet) as stream:
                shutil.copyfileobj(stream, out, _BLOCK)
        if not is_sound(part, file):
            expected = f"{file.bytes} bytes of content with sha256 {file.sha256}"
            raise InputError("fetch", got=f"other content from {file.url}", expected=expected, fix="Try again.")
        part.chmod(0o644)  # temporary files are readable by their owner only
        os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:
        fix = f"Check the network and {target.parent}, then try again."
        raise InputError("fetch", got=f"{error} from {file.url}", expected=file.name, fix=fix) from error
    finally:
        if part:
            part.unlink(missing_ok=True)


def is_sound(path: Path, file: DataFile) -> bool:
    """Whether a file has the size and checksum of the manifest; it is decompressed if ``file.name`` ends in .gz."""
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(path) if file.name.endswith(".gz") else path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except (EOFError, OSError, zlib.error):
        return False
    return size == file.bytes and digest.hexdigest() == file.sha256
