"""The disk cache of compiled kernels: one folder for each state of the kernels' sources.

numba finds a compiled function by the source of its own file, and so misses an edit of a kernel that it calls in
another file. The folder is named by a hash over all files of ``neurosparse.kernels``. A cache that is full, damaged or
not writable costs a compilation, never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["KernelCache", "cache_folder", "cache_places", "source_hash"]

KERNELS = Path(__file__).parent
PREFIX, KEPT = "kernels-", 4  # folders of other states of the sources that stay: branches, versions
PATIENCE = 2.0  # seconds of compiling before a line says so
REMEDY = "every process compiles them again. Set NUMBA_CACHE_DIR to a folder that can be written."

_said: set[str] = set()
_spent = 0.0  # seconds of compiling in this process


def source_hash(folder: Path = KERNELS) -> str:
    """A hash over the names and contents of all Python files of a folder, and over the version of Python."""
    found = hashlib.sha256(sys.version.encode())
    for file in sorted(folder.rglob("*.py")):
        content = file.read_bytes()
        found.update(f"{file.relative_to(folder).as_posix()} {len(content)} ".encode() + content)
    return found.hexdigest()[:16]


def cache_places() -> list[Path]:
    """Where compiled kernels may lie: NUMBA_CACHE_DIR; else beside the sources, or in the user's folder for caches."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen) / "neurosparse"]
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return [KERNELS / "__pycache__", user / "neurosparse"]


def cache_folder(key: str, places: Sequence[Path]) -> Path | None:
    """The folder of this state of the sources in the first place that can be written; None where there is none.

    Of the folders beside it, the most recently used stay.
    """
    for place in places:
        folder = place / f"{PREFIX}{key}"
        try:
            new = not folder.is_dir()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                os.utime(folder)
        except OSError:
            continue
        if new:
            _remove_stale(place)
        return folder
    _say(f"no folder for compiled kernels in {' or '.join(map(str, places))}: {REMEDY}")
    return None


def _remove_stale(place: Path) -> None:
    with contextlib.suppress(OSError):  # another process may remove them, too
        for folder in sorted(place.glob(f"{PREFIX}*"), key=os.path.getmtime, reverse=True)[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)


class KernelCache:
    """numba's cache of one function, whose failures cost a compilation.

    numba's ``load_overload`` first prepares numba for compilation, which takes .4 s in each process. A compiled
    function needs none of it, so the function is read by ``_load_overload``; the compiler prepares itself.

    Args:
        cache: numba's, with ``load_overload``, ``save_overload`` and ``flush``.
        name: of the kernel's file, for the line that says what is compiled.
        before_compiling: called when the function is not in the cache.
    """

    def __init__(self, cache: Any, name: str, before_compiling: Callable[[], None]):
        self._cache, self._name, self._before_compiling = cache, name, before_compiling
        self._load = getattr(cache, "_load_overload", cache.load_overload)
        self._began, self._line = 0.0, threading.Timer(0, _say)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function, or None: then numba compiles it and calls :meth:`save_overload`."""
        found = None
        try:
            found = self._load(signature, target)
        except Exception:  # a truncated file may fail in any way; without its index it is written anew
            with contextlib.suppress(Exception):
                self._cache.flush()
        if found is None:
            self._began = time.monotonic()
            self._line = threading.Timer(max(PATIENCE - _spent, 0), _say, [f"compiling kernels (once): {self._name}"])
            self._line.daemon = True
            self._line.start()
            self._before_compiling()
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a function that numba has just compiled."""
        global _spent
        self._line.cancel()
        _spent += time.monotonic() - self._began
        try:
            self._cache.save_overload(signature, compiled)
        except Exception as error:
            _say(f"compiled kernels could not be saved ({error}): {REMEDY}")


def _say(text: str) -> None:
    """One line on stderr, once in a process."""
    if text not in _said and sys.stderr is not None:
        _said.add(text)
        print(f"neurosparse: {text}", file=sys.stderr, flush=True)
