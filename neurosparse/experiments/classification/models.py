"""Files of models: a TOML file is a model of a family, a Python file a model of its own."""

from __future__ import annotations

from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

from neurosparse.checks import one_of
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.classification.config import Compression, ModelConfig, keys
from neurosparse.experiments.classification.families import FAMILIES
from neurosparse.experiments.classification.python_model import PythonModel
from neurosparse.experiments.folder import read_table, refuse_unknown

__all__ = ["find_models", "make_model", "read_model", "read_models"]

RENAMED = {
    "pruned": "sparsity",
    "pruning": "pruning_method",
    "longer": "epoch_factor",
    "quantised": 'quantization = "ptq" or "qat"',
    "target": "loss",
}
NO_MODELS = ("train", "data")
"""Python files of a task folder that are not models."""


def read_model(path: str | PathLike[str]) -> ModelConfig:
    """Read one file of one model; the file's name is the model's name.

    Args:
        path: for example ``models/digits/lif.toml``.

    Returns:
        the configuration, of the class of its family.

    Raises:
        MissingFileError: no such file, naming the models that exist.
        InputError: not TOML, an unknown key, a value out of range.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "lif.toml").write_text('family = "lif"\\nsteps = 8')
        ...     read_model(Path(folder, "lif.toml")).steps
        8
    """
    found = read_models(path)
    if len(found) > 1:
        got = f"{len(found)} operating points"
        raise InputError(f"model {Path(path).stem!r}", got=got, expected="one", fix=f"Name {found[0].name!r}.")
    return found[0]


def read_models(path: str | PathLike[str]) -> list[ModelConfig]:
    """Read one file. One number of a TOML file may be a list: one model for each, ``rigl-0.8``, ``rigl-0.9``, ...

    Args:
        path: for example ``models/lenet-300-100/rigl.toml``.

    Returns:
        the models, in the order of the list.

    Raises:
        MissingFileError, InputError: those of :func:`read_model`, and more than one list.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "pruned.toml").write_text('family = "relu"\\nsparsity = [0.8, 0.9]')
        ...     [model.name for model in read_models(Path(folder, "pruned.toml"))]
        ['pruned-0.8', 'pruned-0.9']
    """
    path = Path(path)
    if path.suffix == ".py":
        return [PythonModel(path.stem, path=path)]
    where = f"model {path.stem!r}"
    table = read_table(path, where)
    family, table = _family(where, table)
    own, shared = keys(family)
    numbers = {key for key, is_number in (own | shared).items() if is_number}
    lists = [key for key, value in table.items() if key in numbers and isinstance(value, list)]
    if not lists:
        return [_config(family, path.stem, table)]
    if len(lists) > 1 or not table[lists[0]]:
        raise InputError(where, got=f"lists of {', '.join(lists)}", expected="at most one list, of numbers")
    (key,) = lists
    if any(one == other for one, other in combinations(table[key], 2)):
        raise InputError(where, got=f"{key}={table[key]}", expected="different numbers, a model for each")
    return [_config(family, f"{path.stem}-{value}", table | {key: value}) for value in table[key]]


def make_model(name: str, **table: Any) -> ModelConfig:
    """A model from the keys of a TOML file.

    Raises:
        InputError: no family, an unknown key, a value out of range.

    Example:
        >>> make_model("mine", family="relu", sparsity=0.9).compression.sparsity
        0.9
    """
    family, table = _family(f"model {name!r}", table)
    return _config(family, name, table)


def _family(where: str, table: dict[str, Any]) -> tuple[type[ModelConfig], dict[str, Any]]:
    """The class of a table's family, and the other keys, which are known."""
    if "family" not in table:
        raise InputError(where, got="no family", expected=f"family = one of {', '.join(FAMILIES)}")
    for key in table:
        if key in RENAMED:
            raise InputError(where, got=f"key {key!r}", expected=RENAMED[key], fix="The key was renamed.")
    family = FAMILIES[one_of(where, "family", table["family"], FAMILIES)]
    own, shared = keys(family)
    refuse_unknown(table, ["family", *own, *shared], f"{where} of family {family.family!r}")
    return family, {key: value for key, value in table.items() if key != "family"}


def _config(family: type[ModelConfig], name: str, table: dict[str, Any]) -> ModelConfig:
    own, shared = keys(family)
    given: dict[str, Any] = {key: value for key, value in table.items() if key in own}
    compression = {key: value for key, value in table.items() if key in shared}
    try:
        if compression:
            given["compression"] = Compression(**compression)
    except InputError as error:
        raise InputError(f"model {name!r}: {error}") from error
    return family(name, fixed=tuple(key for key in family.space if key in table), **given)


def find_models(folder: Path, only: tuple[str, ...] = (), shared: Path | None = None) -> list[ModelConfig]:
    """The models of a task folder, by name.

    Args:
        folder: the task's folder.
        only: names of some, in this order, of files or of single operating points; all by default.
        shared: another folder whose models the task has, too; of two files of a name, the task's own is read.

    Raises:
        MissingFileError: no model of that name, or no model at all.
        InputError: those of :func:`read_models`, two models of one name.
    """
    files = {path.stem: path for place in (shared, folder) if place is not None for path in _files(place)}
    if not files:
        raise MissingFileError("task", got=str(folder), expected="a TOML file per model", fix="Add relu.toml.")
    found: dict[str, ModelConfig] = {}
    for name in dict.fromkeys(only) or sorted(files):
        for model in _named(files, name):
            if found.setdefault(model.name, model) != model:
                got = f"two models {model.name!r}, one of {name}{files[name].suffix}" if name in files else name
                raise InputError("task", got=got, expected="a name for each model", fix="Rename one of the files.")
    return list(found.values())


def _files(folder: Path) -> list[Path]:
    """The files of models.

    Raises:
        InputError: a Python and a TOML file of one name.
    """
    scripts = [path for path in folder.glob("*.py") if path.stem not in NO_MODELS]
    tables = list(folder.glob("*.toml"))
    for name in {path.stem for path in scripts} & {path.stem for path in tables}:
        got = f"{name}.py and {name}.toml"
        raise InputError("task", got=got, expected="a name for each model", fix="Rename one of the files.")
    return [*scripts, *tables]


def _named(files: dict[str, Path], name: str) -> list[ModelConfig]:
    """All operating points of a file, or the one of that name."""
    if name in files:
        return read_models(files[name])
    whole = name.rpartition("-")[0]
    points = [model for model in read_models(files[whole]) if model.name == name] if whole in files else []
    if not points:
        known = ", ".join(sorted(files))
        raise MissingFileError("model", got=name, expected=f"one of: {known}", fix="Check the name.")
    return points
