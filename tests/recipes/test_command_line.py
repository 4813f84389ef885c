"""The main job and its parts as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurosparse import report

NEUROSPARSE = Path(sys.prefix) / "bin" / "neurosparse"
ROOT = Path(__file__).parents[2]


def neurosparse(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command, on one thread, as wide as a table needs."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [str(NEUROSPARSE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=240)


def test_compare_writes_page_numbers_and_table(toy, tmp_path):
    done = neurosparse("compare", toy, "--seeds", 1, "--only", "relu", "--only", "lif", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "relu" in done.stdout and "lif" in done.stdout and "estimated energy" in done.stdout
    results = report.load(tmp_path / "runs" / "toy" / "results.json")
    assert [row["name"] for row in results["contestants"]] == ["relu", "lif"] and results["seeds"] == [0]
    assert results["command"].startswith("neurosparse compare") and results["command"].endswith("--only lif")
    page = (tmp_path / "runs" / "toy" / "report.html").read_text("utf-8")
    assert "A toy" in page and str(tmp_path / "runs") not in page
    again = neurosparse("compare", toy, "--seeds", 1, "--only", "relu", "--only", "lif", "--json", cwd=tmp_path)
    assert again.returncode == 0 and json.loads(again.stdout)["verdicts"] == results["verdicts"]


def test_train_says_how_it_went(toy, tmp_path):
    done = neurosparse("train", toy, "relu", "--seed", 3, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["contestant"], facts["seed"], facts["learning_rate"], facts["steps"]) == ("relu", 3, 0.001, 60)
    assert len(facts["losses"]) == 6 and facts["losses"][-1] < facts["losses"][0]
    assert not (toy / "touched").exists(), "the test part is for the contest"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "models/digits", "nonesuch"), "lif-int8"),
        (("train", "models/nonesuch", "relu"), "models/digits"),
        (("compare", "models/nonesuch"), "models/digits"),
        (("compare", "models/digits", "--only", "nonesuch", "--out", "{tmp}"), "lif-int8"),
    ],
)
def test_bad_names_end_in_one_sentence(arguments, message, tmp_path):
    done = neurosparse(*(str(part).format(tmp=tmp_path) for part in arguments), cwd=ROOT)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and done.stdout == ""
    assert "got" in last and "expected" in last and message in last and "Traceback" not in done.stderr
