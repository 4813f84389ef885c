"""Names and words that the field's own have replaced do not come back."""

import ast
import io
import json
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).name

# Identifiers that were renamed; the new name stands in the table of CONTRIBUTING.md.
NAMES = re.compile(
    r"\b(Pupil|find_pupils|[Ll]edgers?|Lesson|show_bars|BarTask|show_recall|in_paint|Painting|surprise_of|"
    r"price_of_silence|EnergyRose|GatedUnits|as_published|Wish|what_if|retreat|thaw|load_bar_task|load_memory_task|"
    r"scan_law|[Oo]pponents?|contest|[Cc]ontestants?|dealer|show_fields|_rivals|ns\.measure|neurosparse\.measure|neurosparse\.contest|test_house|tests/laws)\b"
)
# In prose the subject is a quantity or an algorithm; networks, units and functions are not persons.
PROSE = re.compile(
    r"\b(wants?|wanted|hears?|heard|unheard|is told|are told|told of|meets|whoever|nobody|somebody|anybody|"
    r"rivals?|opponents?|pupils?|ledgers?|housekeeping|untaught|taught|teaches)\b",
    re.IGNORECASE,
)


def tracked(*suffixes: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and texts that people read: comments and docstrings, Markdown without its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[0] if node.body else None
                if (
                    isinstance(body, ast.Expr)
                    and isinstance(body.value, ast.Constant)
                    and isinstance(body.value.value, str)
                ):
                    yield body.lineno, body.value.value
    elif path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "markdown":
                yield 0, "".join(cell["source"])
    else:
        yield 0, re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def old_names(paths: list[Path]) -> list[str]:
    return [
        f"{path.name}:{number}: {found.group()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for found in NAMES.finditer(line)
    ]


def old_words(paths: list[Path]) -> list[str]:
    return [
        f"{path.name}:{number}: {found.group()} ... {text[max(0, found.start() - 40) : found.end() + 20]!r}"
        for path in paths
        for number, text in prose_of(path)
        for found in PROSE.finditer(text)
    ]


def test_no_name_that_was_replaced() -> None:
    paths = [
        path
        for path in tracked(".py", ".md", ".ipynb", ".toml", ".html", ".j2")
        if path.name not in (HERE, "CHANGELOG.md")
    ]
    assert not old_names(paths)


def test_no_word_that_makes_a_person_of_a_function() -> None:
    assert not old_words([path for path in tracked(".py", ".md", ".ipynb") if path.name not in (HERE, "CHANGELOG.md")])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""A unit that wants to fire."""'),
        ("a.py", "x = 1  # nobody reads this"),
        ("a.md", "The network meets its rival."),
        ("a.py", "class Ledger: ..."),
    ],
)
def test_each_check_can_fail(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert old_names([tmp_path / name]) or old_words([tmp_path / name])
    (tmp_path / name).write_text('"""A leaky integrator."""\n')
    assert not old_names([tmp_path / name]) and not old_words([tmp_path / name])
