"""Task folders: no model and no data twice."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from neurosparse.errors import MissingFileError
from neurosparse.experiments import Task, load_task

ROOT = Path(__file__).parents[2]


def same(contents: Iterable[tuple[str, object]]) -> list[list[str]]:
    """Groups of names with equal contents."""
    found = defaultdict(list)
    for name, content in contents:
        found[content].append(name)
    return [names for names in found.values() if len(names) > 1]


def same_models(root: Path) -> list[list[str]]:
    return same((str(path), path.read_bytes()) for path in sorted(root.glob("models/*/*.toml")))


def same_data(root: Path) -> list[list[str]]:
    """Functions that make data with the same code, whatever their names and docstrings."""
    scripts = sorted([*root.glob("models/*/*.py"), *root.glob("datasets/*/*.py")])
    functions = [
        (f"{script}:{node.name}", tuple(map(ast.dump, node.body[bool(ast.get_docstring(node)) :])))
        for script in scripts
        for node in ast.parse(script.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and (node.name == "data" or script.name == "data.py")
    ]
    return same(functions)


def test_no_model_and_no_data_twice():
    assert not same_models(ROOT) and not same_data(ROOT)


def test_equal_files_are_found(tmp_path):
    for folder, note in (("a", "first"), ("b", "second")):
        (tmp_path / "models" / folder).mkdir(parents=True)
        (tmp_path / "models" / folder / "relu.toml").write_text('family = "relu"')
        (tmp_path / "models" / folder / "train.py").write_text(f'def data():\n    """{note}"""\n    return load(3)\n')
    assert len(same_models(tmp_path)) == len(same_data(tmp_path)) == 1
    (tmp_path / "models" / "b" / "relu.toml").write_text('family = "lif"')
    (tmp_path / "models" / "b" / "train.py").write_text("def data():\n    return load(4)\n")
    assert not same_models(tmp_path) and not same_data(tmp_path)


def test_a_task_has_the_models_of_the_folder_it_shares(tmp_path):
    script = "import neurosparse as ns\ntask = ns.Task('toy', 'A toy', None, (8,), 2, 1, 3, (0.01,), shared={!r})"
    for folder, shared in (("first", None), ("second", "first"), ("third", "nonesuch")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(script.format(shared))
    (tmp_path / "first" / "relu.toml").write_text('family = "relu"')
    (tmp_path / "first" / "lif.toml").write_text('family = "lif"')
    (tmp_path / "second" / "lif.toml").write_text('family = "lif"\nsteps = 4')
    models = load_task(tmp_path / "second", Task).models()
    assert [(model.name, model.steps) for model in models] == [("lif", 4), ("relu", 1)]
    with pytest.raises(MissingFileError, match="shared='nonesuch'"):
        load_task(tmp_path / "third", Task).models()


def test_digits_and_fashion_mnist_have_the_same_models():
    digits, fashion = (load_task(ROOT / "models" / name, Task).models() for name in ("digits", "fashion-mnist"))
    assert [model.name for model in digits] == [model.name for model in fashion]
    assert [model.settings for model in digits] == [model.settings for model in fashion]
