"""Files of models: a TOML file is a model of a family, a Python file a model of its own."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import combinations, product
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
NO_GRID = ("note", "layers")
"""Keys whose lists are no grids."""


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
    """Read one file. Keys of a TOML file may be lists: one model for each combination of their values.

    The values of one list follow the file's name: ``rigl-0.8``. Those of several follow in the file's order, numbers
    behind their key, words alone: ``lif-depth3-latency-bits8``; true and false as the key and ``no_`` before it.

    Args:
        path: for example ``models/lenet-300-100/rigl.toml``.

    Returns:
        the models; the last list varies fastest.

    Raises:
        MissingFileError, InputError: those of :func:`read_model`; an empty list, or one with a value twice.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "pruned.toml").write_text('family = "relu"\\nsparsity = [0.8, 0.9]')
        ...     _ = Path(folder, "grid.toml").write_text('family = "relu"\\ndepth = [1, 3]\\nbits = [8, 4]')
        ...     for name in ("pruned", "grid"):
        ...         print([model.name for model in read_models(Path(folder, f"{name}.toml"))])
        ['pruned-0.8', 'pruned-0.9']
        ['grid-depth1-bits8', 'grid-depth1-bits4', 'grid-depth3-bits8', 'grid-depth3-bits4']
    """
    path = Path(path)
    if path.suffix == ".py":
        return [PythonModel(path.stem, path=path)]
    family, points = _operating_points(path)
    return [_config(family, name, table) for name, table in points.items()]


def _operating_points(path: Path) -> tuple[type[ModelConfig], dict[str, dict[str, Any]]]:
    """The family of a TOML file, and the keys of each of its models, by name."""
    where = f"model {path.stem!r}"
    family, table = _family(where, read_table(path, where))
    lists = {key: values for key, values in table.items() if isinstance(values, list) and key not in NO_GRID}
    for key, values in lists.items():
        if not values or any(one == other for one, other in combinations(values, 2)):
            raise InputError(where, got=f"{key}={values}", expected="different values, a model for each")
    points: dict[str, dict[str, Any]] = {}
    for values in product(*lists.values()):
        point = dict(zip(lists, values, strict=True))
        words = [_label(key, value, alone=len(lists) == 1) for key, value in point.items()]
        name = "-".join((path.stem, *words))
        if name in points:
            got, fix = f"two combinations of the name {name!r}", "Write two files."
            raise InputError(where, got=got, expected="a name for each", fix=fix)
        points[name] = table | point
    return family, points


def _label(key: str, value: Any, alone: bool) -> str:
    """A value in the name of a model."""
    if isinstance(value, bool):
        return key if value else f"no_{key}"
    return str(value) if alone or isinstance(value, str) else f"{key}{value}"


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
    words = name.split("-")
    stems = ["-".join(words[:many]) for many in range(len(words) - 1, 0, -1)]
    expected = f"one of: {', '.join(sorted(files))}"
    for stem in stems:
        if stem in files and files[stem].suffix == ".toml":
            family, points = _operating_points(files[stem])
            if name in points:
                return [_config(family, name, points[name])]
            if len(points) > 1:
                near = get_close_matches(name, points, 3) or list(points)[:3]
                expected = f"a model of {stem}.toml, such as {', '.join(near)}"
    raise MissingFileError("model", got=name, expected=expected, fix="Check the name.")
