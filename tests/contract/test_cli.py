"""The command line: answers on stdout, one sentence on stderr and exit code 2 for bad input."""

import json
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
    rates = {"duration": 4e-3, "rate": 1000.0, "unit_rate": 250.0}
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


def test_the_command_is_installed():
    done = subprocess.run([f"{sys.prefix}/bin/neurosparse", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "info" in done.stdout
