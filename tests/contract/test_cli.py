"""The command line: results on stdout, one sentence on stderr and exit code 2 for bad input."""

import json
import os
import subprocess
import sys

import pytest
import torch

from neurosparse import cli
from neurosparse.events import EventTensor


@pytest.fixture
def run(capsys):
    """Run with arguments; exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def event_file(tmp_path):
    path = tmp_path / "spikes.safetensors"
    EventTensor.from_dense(torch.eye(4)[:, None], dt=1e-3, spikes=True).save(path)
    return path


def test_info_says_what_was_saved(run, event_file):
    code, out, _ = run("info", event_file, "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts.pop("bytes") == event_file.stat().st_size
    expected = {"shape": [4, 1, 4], "axis": "time", "dt": 1e-3, "t0": 0.0, "binary": True, "events": 4, "density": 0.25}
    rates = {"duration": 4e-3, "unit_rate": 250.0, "left_out": None}
    rates |= {"first": 0.0, "last": 3e-3, "span": 3e-3, "rate": pytest.approx(4 / 3e-3)}
    assert facts == {"format": "neurosparse", **expected, **rates}


def test_info_prints_a_table(run, event_file):
    code, out, _ = run("info", event_file)
    assert code == 0
    assert "density" in out and "0.25" in out


def _one_sentence(err: str) -> bool:
    return err.count("\n") == 1 and "got" in err and "expected" in err


def test_bad_event_files_end_in_one_sentence(run, tmp_path, event_file):
    (tmp_path / "cut").write_bytes(event_file.read_bytes()[:40])
    (tmp_path / "text").write_text("hello")
    for name in ("none", "cut", "text"):
        code, out, err = run("info", tmp_path / name)
        assert (code, out) == (2, "") and _one_sentence(err), (name, err)


def test_fetch_knows_the_shelf(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found beside the package, not only in the working directory
    code, out, _ = run("fetch", "digits", "--json")
    assert code == 0
    assert json.loads(out)["source"] == "sklearn:load_digits"


def test_fetch_refuses_an_unknown_data_set(run):
    code, out, err = run("fetch", "nonesuch")
    assert (code, out) == (2, "") and _one_sentence(err)
    assert "digits, fashion-mnist" in err


def test_fetch_prefers_a_manifest_of_the_working_directory(run, monkeypatch, tmp_path):
    (tmp_path / "datasets" / "digits").mkdir(parents=True)
    dataset = '[dataset]\nname = "digits"\ntitle = "mine"\nlicence = "CC0"\ncitation = "none"\nsource = "here"\n'
    (tmp_path / "datasets" / "digits" / "manifest.toml").write_text(dataset)
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("fetch", "digits", "--json")[1])["title"] == "mine"


def test_fetch_passes_over_a_damaged_copy(run, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSPARSE_DATA", str(tmp_path / "data"))
    damaged = tmp_path / "system"
    damaged.mkdir()
    (damaged / "x").write_bytes(b"damaged")
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(
        f'[dataset]\nname = "toy"\ntitle = "Toy"\nlicence = "CC0"\ncitation = "none"\nfolders = ["{damaged}"]\n'
        f'[[file]]\nname = "x"\nurl = "http://127.0.0.1:1/x"\nsha256 = "{"0" * 64}"\nbytes = 3\n'
    )
    code, _, err = run("fetch", manifest)
    assert code == 2 and "Check the network" in err, "it must try to download, not report the damaged copy"


def test_help_is_the_docstrings(run):
    code, out, _ = run("--help")
    assert code == 0
    for function in (cli.info, cli.fetch):
        assert function.__doc__.split()[0] in out
    assert run("info")[0] == 2, "a missing argument is a usage error"


TASK = """
from pathlib import Path
import neurosparse as ns


class Task:
    name, title = "toy", "A toy"

    def run(self, seeds=(0, 1, 2), callback=None, *, folder=None, only=()):
        seeds = ns.experiments.check_seeds(seeds)
        for seed in seeds:
            callback(f"seed {seed}", seed + 1, len(seeds))
        return {"task": self.name, "seeds": seeds, "only": list(only)}

    def table(self, results):
        return ns.report.as_table(self.title, [["seed"], *([str(seed)] for seed in results["seeds"])])

    def save(self, results, folder):
        return ns.report.write_results(results, folder)


task = Task()
"""


@pytest.fixture
def toy_task(tmp_path):
    (tmp_path / "train.py").write_text(TASK)
    return tmp_path


def test_run_prints_the_table_and_writes_the_results(run, toy_task, monkeypatch):
    monkeypatch.chdir(toy_task)
    code, out, err = run("run", toy_task, "--seeds", 2)
    assert code == 0 and "A toy" in out and "results.json" in out and err == "1/2 seed 0\n2/2 seed 1\n"
    assert json.loads((toy_task / "runs/toy/results.json").read_text("utf-8"))["seeds"] == [0, 1]
    code, out, _ = run("run", toy_task, "--seed", 4, "--seed", 7, "--only", "a", "--out", toy_task / "there", "--json")
    assert code == 0 and json.loads(out) == {"task": "toy", "seeds": [4, 7], "only": ["a"]}
    assert json.loads((toy_task / "there/results.json").read_text("utf-8")) == json.loads(out)


def test_bad_input_of_a_run_ends_in_one_sentence(run, toy_task):
    (toy_task / "file").write_text("")
    for arguments, said in [
        ((toy_task, "--device", "cuda"), "--device: got task 'toy'"),
        ((toy_task, "--seed", 1, "--seed", 1), "got --seed 1 --seed 1"),
        ((toy_task, "--out", toy_task / "file" / "there"), "expected a folder that can be written"),
        ((toy_task / "nonesuch",), "expected a folder with a train.py"),
    ]:
        code, out, err = run("run", *arguments)
        assert (code, out) == (2, "") and _one_sentence(err) and said in err, err
    for command in ("compare", "atoms"):
        code, out, err = run(command, toy_task)
        assert (code, out) == (2, "") and _one_sentence(err) and "with a Task" in err
    assert not (toy_task / "runs").exists()


def test_a_file_that_cannot_be_read_ends_in_one_sentence(run, tmp_path):
    code, out, err = run("info", tmp_path)
    assert (code, out) == (2, "") and _one_sentence(err)


def test_what_cannot_be_written_ends_in_one_sentence(run, event_file, toy_task, full_disk):
    (toy_task / "results.json").mkdir()
    long, file = "x" * 256, toy_task / "train.py"
    for said, *arguments in [
        ("a folder", "convert", event_file, toy_task, "--to", "neurosparse"),
        ("name too long", "convert", event_file, toy_task / f"{long}.safetensors"),
        ("Create", "convert", event_file, toy_task / "missing" / "a.safetensors"),
        ("denied", "convert", event_file, "/sys/kernel/a.safetensors"),
        ("name too long", "run", toy_task, "--out", toy_task / long),
        ("Not a directory", "run", toy_task, "--out", file),
        ("denied", "run", toy_task, "--out", "/sys/kernel/out"),
        ("a folder", "run", toy_task, "--out", toy_task),
        ("name too long", "run", long),
        ("name too long", "train", long, "relu"),
        ("name too long", "fetch", long),
        ("name too long", "info", toy_task / long),
    ]:
        code, _, err = run(*arguments)
        assert code == 2 and _one_sentence(_without_progress(err)) and said in err, (arguments, err)
    for arguments in (("convert", event_file, toy_task / "a.safetensors"), ("run", toy_task, "--out", toy_task / "b")):
        with full_disk:
            code, _, err = run(*arguments)
        assert code == 2 and _one_sentence(_without_progress(err)) and "File too large" in err, (arguments, err)
    assert not (toy_task / "a.safetensors").exists() and not list((toy_task / "b").iterdir())


def _without_progress(err: str) -> str:
    return "".join(line for line in err.splitlines(keepends=True) if "/3 seed " not in line)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_standard_output_ends_in_one_sentence(event_file):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [f"{sys.prefix}/bin/neurosparse", "info", event_file], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2 and _one_sentence(done.stderr) and "No space left" in done.stderr


@pytest.mark.parametrize("command", ["run", "compare", "atoms", "train"])
def test_help_shows_an_example_that_the_command_line_parses(run, command):
    code, out, _ = run(command, "--help")
    words = " ".join(out.split()).partition("Example: neurosparse ")[2].split()
    assert code == 0 and words[0] == command and words[1].startswith("models/")


def test_shells_complete_the_command(run):
    assert "--install-completion" in run("--help")[1]


def test_the_command_is_installed():
    done = subprocess.run([f"{sys.prefix}/bin/neurosparse", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "info" in done.stdout
