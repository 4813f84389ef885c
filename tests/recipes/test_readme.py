"""What the documents say is so: examples run as printed, links lead somewhere, the table is the committed results."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")  # relative ones: no colon


def examples(document: Path) -> list[str]:
    """The programs of a document: a block that begins with an import stands alone, any other goes on with the last."""
    programs: list[str] = []
    for block in BLOCK.findall(document.read_text(encoding="utf-8")):
        if programs and not block.startswith(("import ", "from ")):
            programs[-1] += block
        else:
            programs.append(block)
    return programs


# Examples of the README run in `make test`, those of the other pages in `make check-slow`.
EXAMPLES = [
    pytest.param(code, id=f"{document.name}-{i}", marks=() if document.name == "README.md" else pytest.mark.slow)
    for document in DOCUMENTS
    for i, code in enumerate(examples(document))
]


def test_the_readme_has_examples() -> None:
    assert len(examples(ROOT / "README.md")) == 3, "one for each kind of user"


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_runs_as_printed(code: str, tmp_path: Path) -> None:
    # A process of its own, as a reader would run it: Brian2 and matplotlib keep global state.
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    strict = ["-W", "error", "-W", "ignore::DeprecationWarning"]  # Brian2 calls pyparsing by its old names
    result = subprocess.run([sys.executable, *strict, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_show_the_committed_numbers(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    text = document.read_text(encoding="utf-8")
    assert tables["filled"](text) == text, "run `python docs/tables.py`"


def test_the_readme_is_short_and_shows_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 130 and "<!-- headline:" in text
    assert "<!-- models:digits -->" in (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
