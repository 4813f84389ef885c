"""The architecture: which subpackage imports which, what is installed, what loads, how long files are."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import neurosparse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neurosparse"

# The arrows: a subpackage may import itself and these, no others.
GROUND = ("errors", "checks", "atomic")
BELOW = (*GROUND, "kernels", "events")
MODELS = ("neurons", "coding", "predictive", "baselines", "simulate")
QUANTITIES = ("meter", "energy", "analysis")
ARROWS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "checks": ("errors",),
    "atomic": ("errors",),
    "shell": (),
    "kernels": GROUND,
    "events": (*GROUND, "kernels"),
    **dict.fromkeys(MODELS, BELOW),
    "meter": BELOW,  # kernels: their gradients are counted from the arguments that they take
    "energy": (*GROUND, "events", "meter"),
    "analysis": (*GROUND, "events"),
    "plot": (*GROUND, "events", *QUANTITIES),
    "io": (*BELOW, "neurons"),
    "learning": (*BELOW, "neurons"),
    "experiments": (*BELOW, *MODELS, *QUANTITIES, "learning", "plot", "io", "report"),
    "report": (*BELOW, *MODELS, *QUANTITIES, "plot", "io"),
    "cli": (*BELOW, *MODELS, *QUANTITIES, "plot", "io", "experiments", "report", "shell", "terminal", "__init__"),
    "terminal": ("experiments",),
    "__init__": ("errors",),
}

# Libraries that only these places may name at all.
ONLY_IN = {
    "matplotlib": ("plot/",),
    "numba": ("kernels/dispatch.py",),
    "triton": ("kernels/scan/triton.py",),
    "typer": ("cli.py",),
}
# Libraries too heavy to load before they are used. The command line is not part of `import neurosparse`.
HEAVY = (
    "numba",
    "sklearn",
    "scipy",
    "matplotlib",
    "brian2",
    "snntorch",
    "pandas",
    "typer",
    "rich",
    "jinja2",
    "pynwb",
    "h5py",
    "neo",
    "nir",
)
LOADS_AT_ONCE = ("cli.py", "terminal.py", "coding/dictionary_learning.py")


class Import:
    """What one import names, where it stands, and when it runs: "at once", in a "function", or for "types" only."""

    def __init__(self, file: str, name: str, line: int, when: str):
        self.file, self.name, self.line, self.when = file, name, line, when

    @property
    def part(self) -> str:
        return self.file.split("/")[0].removesuffix(".py")

    @property
    def target(self) -> str | None:
        """The subpackage, or the module at top level, that is imported; None for other libraries."""
        if self.name.split(".")[0] != "neurosparse":
            return None
        return (*self.name.split("."), "__init__")[1]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def imports(package: Path) -> list[Import]:
    known = modules(package)
    return [
        Import(file.relative_to(package).as_posix(), name, node.lineno, when)
        for file in sorted(package.rglob("*.py"))
        for node, when in _import_nodes(ast.parse(file.read_text(encoding="utf-8")))
        for name in _names(node, ("neurosparse", *file.relative_to(package).parts[:-1]), known)
    ]


def modules(package: Path) -> set[str]:
    """Names of all modules and subpackages."""
    paths = [path.relative_to(package) for path in package.rglob("*") if path.suffix == ".py" or path.is_dir()]
    return {_module(path) for path in paths if "__pycache__" not in path.parts}


def _module(path: Path) -> str:
    return ".".join(("neurosparse", *path.with_suffix("").parts)).removesuffix(".__init__")


def _import_nodes(node: ast.AST, when: str = "at once") -> Iterator[tuple[Any, str]]:
    for child in ast.iter_child_nodes(node):
        inside = when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = "function"
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            inside = "types"
        by_name = isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in (
            "import_module",
            "__import__",
        )
        if by_name or isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        yield from _import_nodes(child, inside)


def _names(node: ast.AST, parents: tuple[str, ...], known: set[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = parents[: len(parents) + 1 - node.level] if node.level else ()
        module = ".".join((*base, *([node.module] if node.module else [])))
        inner = [f"{module}.{alias.name}" for alias in node.names]
        return sorted({name if name in known else module for name in inner})  # a module, or a name inside one
    assert isinstance(node, ast.Call)
    return [str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)]


def forbidden_arrows(package: Path) -> list[str]:
    return [
        str(each)
        for each in imports(package)
        if each.target and each.target != each.part and each.target not in ARROWS.get(each.part, ())
    ]


def unknown_parts(package: Path) -> set[str]:
    return {each.part for each in imports(package)} - set(ARROWS)


def hidden_imports(package: Path) -> list[str]:
    return [
        str(each) for each in imports(package) if each.target and each.when == "function" and each.file != "__init__.py"
    ]


def misplaced_libraries(package: Path) -> list[str]:
    return [
        str(each)
        for each in imports(package)
        for places in [ONLY_IN.get(each.name.split(".")[0])]
        if places and not each.file.startswith(places)
    ]


def eager_libraries(package: Path) -> list[str]:
    return [
        str(each)
        for each in imports(package)
        if each.name.split(".")[0] in HEAVY and each.when == "at once" and not each.file.startswith(LOADS_AT_ONCE)
    ]


def circle_of_subpackages(package: Path) -> list[str]:
    """Subpackages that import each other in a circle, as a path that ends where it began; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for each in imports(package):
        if each.target and each.target != each.part and each.file != "__init__.py":
            graph.setdefault(each.part, set()).add(each.target)
    return _circle(graph)


def circle_of_files(package: Path) -> list[str]:
    """Files that import each other in a circle; imports for types count."""
    graph: dict[str, set[str]] = {}
    for each in imports(package):
        if each.target:
            graph.setdefault(_module(Path(each.file)), set()).add(each.name)
    return _circle(graph)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    path: list[str] = []
    done: set[str] = set()

    def walk(node: str) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        path.append(node)
        for after in sorted(graph.get(node, set()) - done):
            if found := walk(after):
                return found
        done.add(path.pop())
        return []

    return next((found for node in sorted(graph) if node not in done and (found := walk(node))), [])


def long_files(*folders: Path) -> list[str]:
    return [
        str(file) for folder in folders for file in folder.rglob("*.py") if file.read_text("utf-8").count("\n") > 400
    ]


CHECKS = (
    forbidden_arrows,
    unknown_parts,
    hidden_imports,
    misplaced_libraries,
    eager_libraries,
    circle_of_subpackages,
    circle_of_files,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps(check):
    assert not check(PACKAGE)


BROKEN = [
    (forbidden_arrows, {"neurons/lif.py": "from neurosparse.coding.kwta import kwta"}),
    (forbidden_arrows, {"neurons/lif.py": "from ..coding import kwta"}),
    (forbidden_arrows, {"events/tensor.py": "from neurosparse import LIF"}),
    (
        forbidden_arrows,
        {"events/tensor.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import neurosparse.io"},
    ),
    (forbidden_arrows, {"meter/count.py": "from neurosparse import neurons", "neurons/__init__.py": ""}),
    (forbidden_arrows, {"events/tensor.py": "import importlib\nx = importlib.import_module('neurosparse.plot')"}),
    (unknown_parts, {"misc/tool.py": "import os"}),
    (hidden_imports, {"meter/count.py": "def count():\n    from neurosparse.events import EventTensor"}),
    (hidden_imports, {"meter/count.py": "class A:\n  def b(self):\n    if 1:\n      from . import tape"}),
    (misplaced_libraries, {"report/page.py": "def draw():\n    import matplotlib.pyplot as plt"}),
    (misplaced_libraries, {"kernels/scan.py": "def scan():\n    from numba import njit"}),
    (eager_libraries, {"coding/lasso.py": "from scipy.linalg import solve"}),
    (eager_libraries, {"coding/lasso.py": "class A:\n    import sklearn"}),
    (circle_of_subpackages, {"meter/a.py": "import neurosparse.io.b", "io/b.py": "from neurosparse.meter import a"}),
    (circle_of_files, {"io/a.py": "from neurosparse.io.b import f", "io/b.py": "from neurosparse.io import a"}),
    (
        circle_of_files,
        {"io/a.py": "from . import b", "io/b.py": "from .c import f", "io/c.py": "import neurosparse.io.a"},
    ),
    (circle_of_files, {"io/__init__.py": "from .a import f", "io/a.py": "from neurosparse.io import g"}),
    (
        circle_of_files,
        {
            "io/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from neurosparse.io.b import B",
            "io/b.py": "from neurosparse.io.a import f",
        },
    ),
]


SOUND = {
    "events/tensor.py": "def f():\n    import scipy",
    "io/x.py": "from . import y",
}


@pytest.mark.parametrize(("check", "files"), BROKEN, ids=lambda part: getattr(part, "__name__", ""))
def test_each_check_can_fail(tmp_path, check, files):
    assert not check(_tree(tmp_path / "sound", SOUND))
    assert check(_tree(tmp_path / "broken", files))


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_files_stay_short(tmp_path):
    assert not long_files(PACKAGE, ROOT / "models", ROOT / "tests", ROOT / "datasets")
    (tmp_path / "long.py").write_text("\n" * 401)
    assert long_files(tmp_path)


def test_the_package_list_is_every_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = sorted(".".join(init.parent.relative_to(ROOT).parts) for init in PACKAGE.rglob("__init__.py"))
    assert listed == found


def test_a_name_that_is_missing_is_answered_by_the_nearest():
    for module, typed, meant in (
        (neurosparse, "PredictivNetwork", "PredictiveNetwork"),
        (neurosparse, "lif", "LIF"),
        (neurosparse.plot, "rastr", "raster"),
        (neurosparse.io, "nwbb", "nwb"),
        (neurosparse.coding, "DictionaryLearner", "DictionaryLearning"),
    ):
        with pytest.raises(AttributeError, match=f"has no attribute '{typed}'. Did you mean '{meant}'"):
            getattr(module, typed)
    assert not hasattr(neurosparse, "zzz")


@pytest.mark.parametrize("name", ["plot", "io"])
def test_the_names_of_a_subpackage_are_public_ones(name):
    module = getattr(neurosparse, name)
    assert dir(module) == sorted(module.__all__) and all(hasattr(module, each) for each in dir(module))


def test_the_import_is_light():
    """What `import neurosparse` loads over torch is ours or small, and events need nothing heavy either."""
    script = (
        f"import sys, torch; before = set(sys.modules); import neurosparse as ns\n"
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))\n"
        f"ns.EventTensor; print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_the_public_names():
    names = list(neurosparse.__all__)
    assert len(names) <= 70 and len(names) == len(set(names))
    assert set(names) <= set(dir(neurosparse))
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = neurosparse.nonesuch


@pytest.mark.parametrize("name", neurosparse.__all__)
def test_every_public_name_is_documented(name):
    thing = getattr(neurosparse, name)
    assert thing.__doc__, f"{name} has no docstring"
    if callable(thing) and not _is_record(thing):
        assert ">>>" in thing.__doc__, f"{name} shows no example"


def _is_record(thing: Any) -> bool:
    """Records are shown by the functions that return them."""
    return is_dataclass(thing) or hasattr(thing, "_fields")


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == neurosparse.__version__
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {project['version']} " in (ROOT / "CHANGELOG.md").read_text("utf-8")
