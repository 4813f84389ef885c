"""Manifest of a data set: name, licence, and files with their checksums, from one TOML file."""

import os
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from neurosparse.errors import InputError, MissingFileError

__all__ = ["DataFile", "Manifest", "data_folder", "home", "locate", "read_manifest"]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set. ``sha256`` and ``bytes`` describe its content, decompressed if its name ends in .gz."""

    name: str
    url: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """A data set: either the ``source`` in an installed package ("sklearn:load_digits"), or ``files`` with checksums.

    ``folders`` are where the system package ``package`` installs the files.
    """

    name: str
    title: str
    licence: str
    citation: str
    source: str | None = None
    package: str | None = None
    folders: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest: a table ``[dataset]`` and one ``[[file]]`` for each file.

    Args:
        path: the TOML file.

    Returns:
        The manifest, its keys and values checked.

    Raises:
        MissingFileError: there is no such file.
        InputError: not TOML; a missing, unknown or malformed key; both a source and files, or neither.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "manifest.toml"
        >>> _ = file.write_text('''
        ... [dataset]
        ... name = "digits"
        ... title = "Handwritten digits"
        ... licence = "CC BY 4.0"
        ... citation = "Alpaydin and Kaynak 1998"
        ... source = "sklearn:load_digits"
        ... ''')
        >>> read_manifest(file).source
        'sklearn:load_digits'
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError("read_manifest", got=f"no file at {path}", expected="a manifest", fix="Check the path.")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("read_manifest", got=f"{path}: {error}", expected="TOML", fix="Correct that line.") from error
    dataset, entries = tables.pop("dataset", None), tables.pop("file", [])
    if tables or not isinstance(dataset, dict) or not isinstance(entries, list):
        expected = "[dataset] and any number of [[file]]"
        raise InputError("read_manifest", got=f"other tables in {path}", expected=expected, fix="Remove the others.")
    files = tuple(_checked(DataFile, entry, path) for entry in entries)
    manifest = _checked(Manifest, dataset, path, files=files)
    if (manifest.source is None) == (not files):
        got = f"source={manifest.source!r} and {len(files)} files in {path}"
        raise InputError("read_manifest", got=got, expected="either a source or files", fix="Give one of the two.")
    return manifest


def locate(manifest: Manifest, root: str | Path | None = None) -> dict[str, Path]:
    """Find the files of a data set on this machine, in the first folder that has all of them.

    Args:
        manifest: the data set.
        root: the only folder to search. Default: ``$NEUROSPARSE_DATA/NAME``, then ``~/.cache/neurosparse/NAME``, then
            the manifest's own folders.

    Returns:
        Path by file name; empty for a data set of an installed package.

    Raises:
        MissingFileError: no folder has all files.

    Example:
        >>> locate(Manifest("digits", "Handwritten digits", "CC BY 4.0", "1998", source="sklearn:load_digits"))
        {}
    """
    folders = [Path(root)] if root else [home(manifest), _cache(manifest), *map(Path, manifest.folders)]
    for folder in folders:
        paths = {file.name: folder / file.name for file in manifest.files}
        if all(path.is_file() for path in paths.values()):
            return paths
    got = f"no complete {manifest.name} in {', '.join(map(str, dict.fromkeys(folders)))}"
    install = f", or install {manifest.package}" if manifest.package else ""
    fix = f"Run `neurosparse fetch {manifest.name}`{install}."
    raise MissingFileError("locate", got=got, expected=f"its {len(manifest.files)} files", fix=fix)


def data_folder(name: str) -> Path:
    """Folder of recordings without a manifest: ``$NEUROSPARSE_DATA/NAME``, or ``~/.cache/neurosparse/NAME``.

    Args:
        name: of the data set.

    Raises:
        MissingFileError: there is no such folder.

    Example:
        >>> from neurosparse.errors import MissingFileError
        >>> try:
        ...     data_folder("no such recordings")
        ... except MissingFileError as error:
        ...     print(str(error)[:11])
        data_folder
    """
    root = os.environ.get("NEUROSPARSE_DATA")
    folders = ([Path(root).expanduser() / name] if root else []) + [Path.home() / ".cache" / "neurosparse" / name]
    for folder in folders:
        if folder.is_dir():
            return folder
    got, fix = f"no {' or '.join(map(str, folders))}", f"See datasets/{name}/README.md for the source of the data."
    raise MissingFileError("data_folder", got=got, expected="a folder of recordings", fix=fix)


def home(manifest: Manifest) -> Path:
    """Folder of downloads of this data set: ``$NEUROSPARSE_DATA/NAME`` or ``~/.cache/neurosparse/NAME``."""
    root = os.environ.get("NEUROSPARSE_DATA")
    return Path(root) / manifest.name if root else _cache(manifest)


def _cache(manifest: Manifest) -> Path:
    return Path.home() / ".cache" / "neurosparse" / manifest.name


def _checked(kind: type, table: Any, path: Path, **given: Any) -> Any:
    """Build ``kind`` from a TOML table whose keys are its fields."""
    known = {field.name: field for field in fields(kind) if field.name not in given}
    table = table if isinstance(table, dict) else {}
    wrong = [name for name, value in table.items() if name not in known or not _fits(name, value)]
    wrong += [f"no {name}" for name, field in known.items() if field.default is MISSING and name not in table]
    if wrong:
        expected, fix = f"well-formed {', '.join(known)}", "Compare with datasets/fashion-mnist/manifest.toml."
        raise InputError("read_manifest", got=f"{', '.join(wrong)} in {path}", expected=expected, fix=fix)
    return kind(**{name: tuple(value) if name == "folders" else value for name, value in table.items()}, **given)


def _fits(name: str, value: object) -> bool:
    if name == "bytes":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "folders":
        return isinstance(value, list) and all(isinstance(folder, str) for folder in value)
    if not isinstance(value, str):
        return False
    if name == "url":
        return value.startswith(("http://", "https://"))
    # A name becomes a path below our folder of data and must not lead out of it.
    return name != "name" or (value == Path(value).name and value not in ("", ".", ".."))
