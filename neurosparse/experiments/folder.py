"""Task folders: what every task offers, and how a folder's ``train.py`` and TOML files are read."""

from __future__ import annotations

import difflib
import runpy
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload, runtime_checkable

from neurosparse.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from neurosparse.report.columns import TextTable

__all__ = ["AnyTask", "Callback", "home_of", "load_script", "load_task", "read_table", "refuse_unknown", "task_folder"]

Callback = Callable[[str, int, int], None]
"""Called during a run with a message, the parts done, and how many there are in all."""

Kind = TypeVar("Kind")


@runtime_checkable
class AnyTask(Protocol):
    """What the ``task`` of a task folder's ``train.py`` offers, whatever its kind.

    A dataclass with a field ``home`` is given the path of its folder there by :func:`load_task`.
    """

    @property
    def name(self) -> str:
        """Names the folder of results, ``runs/NAME``."""
        ...

    @property
    def title(self) -> str:
        """One line for reports."""
        ...

    def run(
        self, seeds: Sequence[int] = (0, 1, 2), callback: Callback | None = None, *, folder: Path | None = None
    ) -> dict[str, Any]:
        """Run the experiment.

        A kind of task may have more keyword options: ``only``, names of some of its parts; ``device``; the command line
        passes on those that it has.

        Args:
            seeds: one repetition each.
            callback: called with a message, parts done, parts in all; None: never.
            folder: where checkpoints (in ``checkpoints/``), large arrays and pictures made on the way are kept, so that
                an interrupted call goes on; the one that is passed to :meth:`save`. None: nowhere.

        Returns:
            Plain JSON-able values, among them ``task``, ``title``, ``seeds`` and what `origin` returns.
        """
        ...

    def table(self, results: dict[str, Any]) -> TextTable:
        """The results for a terminal."""
        ...

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json``, pictures and page into a folder, each whole or not at all.

        Args:
            results: of :meth:`run`.
            folder: made if it does not exist. What :meth:`run` kept there is used: pictures that need it are left out
                where it is missing.

        Returns:
            The path of the page, or of the main picture.
        """
        ...


@overload
def load_task(folder: str | PathLike[str]) -> AnyTask: ...
@overload
def load_task(folder: str | PathLike[str], kind: type[Kind]) -> Kind: ...
def load_task(folder: str | PathLike[str], kind: type[Any] = AnyTask) -> Any:
    """The ``task`` of a folder's ``train.py``.

    Args:
        folder: the folder; ``digits`` is short for ``models/digits``.
        kind: the class that the task must have; by default any with ``run``, ``table`` and ``save``.

    Raises:
        MissingFileError: no such task, naming those that exist.
        InputError: a ``train.py`` that defines no ``task``, or one of another kind.

    Example:
        >>> load_task("nonesuch")
        Traceback (most recent call last):
        neurosparse.errors.MissingFileError: task: got nonesuch; expected a folder with a train.py. ...
    """
    home = task_folder(folder)
    found = getattr(load_script(home / "train.py"), "task", None)
    if not isinstance(found, kind):
        got = f"{home / 'train.py'} " + ("without a `task`" if found is None else f"with a {type(found).__name__}")
        expected = "`task` with run, table and save" if kind is AnyTask else f"`task`, a {kind.__name__}"
        fix = f"Use `neurosparse run {home}`." if isinstance(found, AnyTask) else ""
        raise InputError("task", got=got, expected=expected, fix=fix)
    if is_dataclass(found) and not isinstance(found, type) and "home" in {field.name for field in fields(found)}:
        return replace(found, home=home)
    return found


def load_script(path: str | PathLike[str]) -> SimpleNamespace:
    """The names that a Python file defines; ``sys.path`` and ``sys.modules`` stay as they are.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "model.py").write_text("WIDTH = 8")
        ...     load_script(Path(folder, "model.py")).WIDTH
        8
    """
    return SimpleNamespace(**runpy.run_path(str(path)))


def task_folder(folder: str | PathLike[str]) -> Path:
    """The folder itself, or the one of that name in ``models/``.

    Raises:
        MissingFileError: neither has a ``train.py``.
    """
    for candidate in (Path(folder), Path("models") / folder):
        if (candidate / "train.py").is_file():
            return candidate
    known = ", ".join(sorted(str(script.parent) for script in Path("models").glob("*/train.py"))) or "none here"
    fix = f"Tasks: {known}. Run from the project's folder."
    raise MissingFileError("task", got=str(folder), expected="a folder with a train.py", fix=fix)


def home_of(task: Any) -> Path:
    """The folder of a task whose models or learners stand there.

    Raises:
        InputError: a task that was not read by :func:`load_task`.
    """
    if task.home is None:
        fix = "Read it with ns.experiments.load_task(folder)."
        raise InputError(
            f"task {task.name!r}", got="a task without a folder", expected="the folder of its models", fix=fix
        )
    return task.home


def read_table(path: Path, where: str) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        MissingFileError: no such file, naming those beside it.
        InputError: not TOML.
    """
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.toml"))) or "none"
        raise MissingFileError(where, got=str(path), expected=f"one of: {known}", fix="Check the name.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(where, got=f"{path.name}: {error}", expected="TOML") from error


def refuse_unknown(table: Iterable[str], known: list[str], where: str) -> None:
    """Refuse a key that nothing reads.

    Raises:
        InputError: such a key, naming the nearest one that is read.
    """
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            fix = f"Did you mean {near[0]!r}?" if near else ""
            raise InputError(where, got=f"key {key!r}", expected=", ".join(known), fix=fix)
