"""The main job and its parts as a user types them."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from neurosparse import cli, report, terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def neurosparse(capsys, monkeypatch):
    """Run with arguments, without worker processes; exit code, stdout, stderr."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_compare_writes_page_numbers_and_table(toy, tmp_path):
    """The installed command, with its worker processes."""
    command = [f"{sys.prefix}/bin/neurosparse", "compare", str(toy), "--seeds", "1", "--only", "relu", "--only", "lif"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "relu" in done.stdout and "lif" in done.stdout and "Energies are estimates" in done.stdout
    results = report.load(tmp_path / "runs" / "toy" / "results.json")
    assert [row["name"] for row in results["models"]] == ["relu", "lif"] and results["seeds"] == [0]
    assert results["command"].startswith("neurosparse compare") and results["command"].endswith("--only lif")
    assert "A toy" in (tmp_path / "runs" / "toy" / "report.html").read_text("utf-8")


def test_compare_prints_json_and_writes_where_it_is_told(neurosparse, toy, tmp_path):
    code, out, err = neurosparse("compare", toy, "--seeds", 1, "--only", "relu", "--out", tmp_path / "there", "--json")
    assert code == 0, err
    assert json.loads(out) == report.load(tmp_path / "there" / "results.json")
    assert "training relu" in err, "progress goes to stderr"


def test_train_says_how_it_went_and_can_be_asked_again(neurosparse, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = neurosparse("train", toy, "relu", "--seed", 3, "--json")
    assert code == 0 and err == "", "no progress bar beside JSON"
    facts = json.loads(out)
    assert (facts["model"], facts["seed"], facts["learning_rate"], facts["steps"]) == ("relu", 3, 0.001, 60)
    assert len(facts["losses"]) == 6 and facts["losses"][-1] < facts["losses"][0]
    assert (tmp_path / facts["weights"]).parent == tmp_path / "runs" / "toy" / "checkpoints"
    again = json.loads(neurosparse("train", toy, "relu", "--seed", 3, "--resume", "--json")[1])
    assert again == facts, "what is done is not done again, to the microsecond"
    anew = json.loads(neurosparse("train", toy, "relu", "--seed", 3, "--json")[1])
    assert anew["losses"] == facts["losses"] and anew["seconds"] != facts["seconds"]
    code, out, err = neurosparse("train", toy, "relu", "--seed", 3)
    assert code == 0 and err == "" and out.startswith("model"), "no progress bar without a terminal"


def test_train_shows_its_progress_in_a_terminal(neurosparse, toy, tmp_path, monkeypatch):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=160, color_system=None)
    monkeypatch.setattr(terminal, "Console", lambda **_: console)
    monkeypatch.chdir(tmp_path)
    code, out, _ = neurosparse("train", toy, "lif")
    assert code == 0 and out.startswith("model")
    last = shown.getvalue().split("60/60")[-1]
    assert re.search(r"epoch 6, loss \d\S*, accuracy \d+\.\d %, density \d+\.\d %", last)
    shown.truncate(0)
    assert neurosparse("train", toy, "lif", "--json")[0] == 0 and not shown.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "models/digits", "nonesuch"), "lif-int8"),
        (("train", "models/nonesuch", "relu"), "models/digits"),
        (("compare", "models/nonesuch"), "models/digits"),
        (("compare", "models/digits", "--only", "nonesuch", "--out", "nowhere"), "lif-int8"),
    ],
)
def test_bad_names_end_in_one_sentence(neurosparse, monkeypatch, arguments, message):
    monkeypatch.chdir(ROOT)
    code, out, err = neurosparse(*arguments)
    last = err.strip().splitlines()[-1]
    assert (code, out) == (2, "") and "got" in last and "expected" in last and message in last
    assert not (ROOT / "nowhere").exists()
