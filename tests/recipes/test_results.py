"""Committed results: each names a command that a reader can type, and says whether later changes made it stale."""

import json
import os
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from neurosparse.cli import app
from neurosparse.errors import MissingFileError
from neurosparse.experiments import Task, load_task

ROOT = Path(__file__).parents[2]
RESULTS = sorted([*ROOT.glob("docs/results/*.json"), *ROOT.glob("benchmarks/out/*.json")])
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def faults(result: dict[str, Any]) -> list[str]:
    """What keeps a reader from repeating the result, or from its mark of age."""
    found = []
    if "stale" not in result or result["stale"] in ("", False, True):
        found.append("stale is neither null nor a sentence")
    program, *words = shlex.split(result.get("command") or "") or [""]
    match program:
        case "neurosparse":
            found += _task_faults(words)
        case "make":
            found += _make_faults(words)
        case "python":
            found += [] if words and (ROOT / words[0]).is_file() else [f"no script {words[:1]}"]
        case _:
            found.append(f"command {result.get('command')!r} is not of neurosparse, make or python")
    return found


def _task_faults(words: list[str]) -> list[str]:
    verb, task = [*words, "", ""][:2]
    if verb not in VERBS or not (ROOT / task / "train.py").is_file():
        return [f"no command {verb} or no task {task}"]
    names = [name for option, name in pairwise(words) if option == "--only"]
    return [f"no {name} in {task}" for name in names if not _has(ROOT / task, name)]


def _has(folder: Path, name: str) -> bool:
    """Whether a task has a file or, in a grid, a model of that name; its own or of the folder that it shares."""
    if (folder / f"{name}.toml").is_file():
        return True
    task = load_task(folder)
    try:
        return isinstance(task, Task) and bool(task.models((name,)))
    except MissingFileError:
        return False


def _make_faults(words: list[str]) -> list[str]:
    """The commands of a target, which are not run; the last script is the one that writes the result."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    scripts = [word for word in done.stdout.split() if word.endswith(".py")]
    known = done.returncode == 0 and scripts and (ROOT / scripts[-1]).is_file()
    return [] if known else [f"make {shlex.join(words)} runs no script of the project"]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_result_can_be_repeated(path: Path) -> None:
    assert not faults(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_index_lists_a_result_with_its_command(path: Path) -> None:
    command = json.loads(path.read_text(encoding="utf-8"))["command"]
    rows = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in rows if f"| `{command}` | `{path.name}` |" in row]


@pytest.mark.parametrize(
    "result",
    [
        {"command": "make parity"},
        {"command": "make parity", "stale": ""},
        {"stale": None},
        {"command": None, "stale": None},
        {"command": "fin2.py compare models/digits --seeds 3", "stale": None},
        {"command": "neurosparse nonesuch models/digits", "stale": None},
        {"command": "neurosparse compare models/nonesuch", "stale": None},
        {"command": "neurosparse compare models/digits --only nonesuch", "stale": None},
        {"command": "neurosparse compare models/digits --only lif-3", "stale": None},
        {"command": "python benchmarks/nonesuch.py", "stale": None},
        {"command": "make nonesuch", "stale": None},
        {"command": "make bench-nonesuch", "stale": None},
    ],
    ids=lambda result: str(result.get("command")),
)
def test_the_check_can_fail(result: dict[str, Any]) -> None:
    assert faults(result)
    assert not faults({"command": "make parity", "stale": "Counted before convolutions had groups."})
