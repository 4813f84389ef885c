"""Atomic writing of files: all of a file or none of it, with an optional checksum over every bit.

Every file that the package writes goes through this module. The content is written into a temporary file beside the
target, which takes the target's name at the end. Its writer holds a lock on it: a temporary file without a lock was
left by a killed process, and the next write into that folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from neurosparse.errors import InputError, MissingFileError, UnwritableFileError

if sys.platform == "win32":  # there an open file cannot be removed: it needs no lock
    fcntl = None
else:
    import fcntl

__all__ = [
    "CHECKSUM",
    "PREFIX",
    "UNSEALED",
    "is_sealed",
    "make_folder",
    "seal",
    "write_atomically",
    "write_together",
    "writing",
]

# CRC-32 of the whole file with these eight digits in place of its own: no bit is left out.
CHECKSUM, UNSEALED = b'"crc32":"', "00000000"
PREFIX = ".neurosparse-"  # of temporary files: short, so that the longest name of a target has room
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a limit on the size of files
PATIENCE = 2.0  # seconds in which a pipe must get a reader


def write_atomically(path: str | PathLike[str], content: bytes, where: str = "save") -> None:
    """Write a file as a whole, or leave what was there before; see :func:`writing`."""
    write_together({path: content}, where)


def write_together(files: Mapping[str | PathLike[str], bytes], where: str = "save") -> None:
    """Write files that belong together: the first takes its name when the content of all is on the disk."""
    with ExitStack() as drafts:
        for path, content in files.items():
            file = drafts.enter_context(writing(path, where))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def writing(path: str | PathLike[str], where: str = "save") -> Iterator[BinaryIO]:
    """A file for binary writing, which takes the place of ``path`` when the block ends without an error.

    A new file has the mode of the umask; a file that is replaced keeps its mode. Symbolic links are followed. Pipes and
    character devices are written through. Folders, block devices and write-protected files are refused.

    Args:
        path: where the file goes; its folder exists.
        where: the public name that writes, for messages.

    Raises:
        MissingFileError: no such folder.
        UnwritableFileError: the file cannot be written; what was there is unchanged.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with writing(f"{folder}/a.txt") as file:
        ...         _ = file.write(b"content")
        ...     Path(folder, "a.txt").read_bytes()
        b'content'
    """
    with _sentence(path, where):
        target, found = _target(path, where)
        file, name = _draft(target, found)
    done = False
    try:
        try:
            yield file
        except OSError as error:
            if error.errno in FULL:
                raise _unwritable(path, where, error) from error
            raise  # of what the block reads
        with _sentence(path, where):
            _commit(file, name, target, found)
        done = True
    finally:
        if name is not None and not done:
            with contextlib.suppress(OSError):  # the disk may be gone
                os.unlink(name)
        with contextlib.suppress(OSError):  # closing tries again to write what a full disk did not take
            file.close()


def make_folder(path: str | PathLike[str], where: str = "save") -> Path:
    """Make a folder and those above it, unless they exist.

    Raises:
        UnwritableFileError: it cannot be made.
    """
    with _sentence(path, where):
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _sentence(path: str | PathLike[str], where: str) -> Iterator[None]:
    """Errors of the operating system as one sentence."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise _unwritable(path, where, error) from error
    except (TypeError, ValueError) as error:  # not a path; a null character in it
        raise InputError(where, got=f"path={path!r}", expected="the path of a file") from error


def _unwritable(path: str | PathLike[str], where: str, error: OSError) -> UnwritableFileError:
    # The reason first: a long message is cut at its end.
    got = f"{error.strerror or error} for {os.fspath(path)}"
    expected, fix = "a file that can be written", "What was there is unchanged; pass another path."
    return UnwritableFileError(where, got=got, expected=expected, fix=fix)


def _target(path: str | PathLike[str], where: str) -> tuple[Path, os.stat_result | None]:
    """The file behind all symbolic links, and what lies there now."""
    path = Path(path)
    target = Path(os.path.realpath(path))
    try:
        found = path.stat()
    except FileNotFoundError:
        if not target.parent.exists():
            got, fix = str(path), f"Create {target.parent} first."
            raise MissingFileError(where, got=got, expected="a path in an existing folder", fix=fix) from None
        return target, None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if stat.S_ISBLK(found.st_mode):
        raise OSError(errno.ENOTSUP, "a block device")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "a write-protected file")
    # /dev/stdout may lead to a file without a name.
    return (target if target.exists() else path), found


def _is_special(found: os.stat_result | None) -> bool:
    return found is not None and not stat.S_ISREG(found.st_mode)


def _draft(target: Path, found: os.stat_result | None) -> tuple[BinaryIO, Path | None]:
    """A new temporary file beside the target, locked; without a name where the target is written through."""
    if _is_special(found):
        return tempfile.TemporaryFile(), None  # pyright: ignore[reportReturnType]
    _remove_left(target.parent)
    # Never more readable than the file that it replaces, not for a moment.
    mode = 0o666 if found is None else stat.S_IMODE(found.st_mode) & 0o666
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        name = target.with_name(f"{PREFIX}{secrets.token_hex(8)}")
        handle = os.open(name, flags, mode)
        try:
            if _lock(handle, wait=True) and os.fstat(handle).st_nlink:
                return os.fdopen(handle, "w+b"), name
        except BaseException:
            os.unlink(name)
            os.close(handle)
            raise
        os.close(handle)  # another process removed it before it was locked


def _commit(file: BinaryIO, name: Path | None, target: Path, found: os.stat_result | None) -> None:
    file.flush()
    if name is None:
        file.seek(0)
        with _special(target, found) as out:
            shutil.copyfileobj(file, out)
        return
    os.fsync(file.fileno())
    if found is not None:
        _keep_owner_and_mode(name, found)
    if fcntl is None:
        file.close()
    os.replace(name, target)
    file.close()


def _keep_owner_and_mode(name: Path, found: os.stat_result) -> None:
    new = name.stat()
    if (new.st_uid, new.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(name, found.st_uid, found.st_gid)
    os.chmod(name, stat.S_IMODE(found.st_mode))


def _special(target: Path, found: os.stat_result | None) -> BinaryIO:
    """A pipe or a character device, open for writing."""
    is_pipe = found is not None and stat.S_ISFIFO(found.st_mode)
    flags = os.O_WRONLY | (os.O_NONBLOCK if is_pipe else 0)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            handle = os.open(target, flags)
            break
        except OSError as error:
            if not is_pipe or error.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline:
                raise OSError(errno.ENXIO, "a pipe that no process reads") from None
            time.sleep(0.02)
    if is_pipe:
        os.set_blocking(handle, True)
    return os.fdopen(handle, "wb")


def _remove_left(folder: Path) -> None:
    """Remove the temporary files of processes that do not run any more."""
    with contextlib.suppress(OSError):  # a folder that can be written but not listed
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError):  # of another user, or another process removed it
                    _remove_unlocked(folder / name)


def _remove_unlocked(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(handle, wait=False):
            path.unlink()
    finally:
        os.close(handle)


def _lock(handle: int, wait: bool) -> bool:
    """Lock an open file until it is closed or its process ends; False if another process has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return wait  # a file system without locks: nothing is removed there
    return True


def seal(content: bytes) -> bytes:
    """A safetensors file whose header says ``"crc32":"00000000"`` with its checksum in that place."""
    start = content.index(CHECKSUM) + len(CHECKSUM)
    return content[:start] + f"{zlib.crc32(content):08x}".encode() + content[start + len(UNSEALED) :]


def is_sealed(content: bytes) -> bool:
    """Whether a file is, bit by bit, what was sealed."""
    if CHECKSUM not in content:
        return False
    start = content.index(CHECKSUM) + len(CHECKSUM)
    return seal(content[:start] + UNSEALED.encode() + content[start + len(UNSEALED) :]) == content
