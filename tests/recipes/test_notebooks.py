"""Notebooks: each runs from top to bottom without a warning, and is committed with its outputs."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LARGEST = 600_000  # bytes of a committed notebook, figures included


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_without_an_error_or_a_warning(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(shutil.copy(path, tmp_path), as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    lines = [line for out in outputs if out.get("name") == "stderr" for line in out.text.splitlines()]
    # The first run after an edit of the kernels says that they are compiled.
    assert not [line for line in lines if not line.startswith("neurosparse: compiling kernels")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_with_its_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run it once from top to bottom"
    outputs = [out for cell in cells for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error"]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert path.stat().st_size < LARGEST
