"""Spectro-temporal fields in smoke size, from sweeps; the task's own data where the recordings are."""

import json
import runpy
from pathlib import Path

import pytest
import torch

import neurosparse as ns
from neurosparse import cli
from neurosparse.errors import InputError

FOLDER = Path(__file__).parents[2] / "models" / "speech-fields"
TRAIN = """
import torch
import neurosparse as ns


def sweep(rate):
    second = torch.arange(4000) / 8000
    return ns.neurons.spectrogram(torch.sin(2 * torch.pi * (400 * second + rate * second**2)), 8000, bands=8)


def images():
    return {"slow": sweep(1000.0), "fast": sweep(3000.0)}, {"other": sweep(2000.0)}


task = ns.experiments.FieldTask("toy", "A toy", images, 8, 6, 40, 4, border=0, held_out=60, sound=(0.2, 0.01))
"""


def test_a_command_learns_and_measures_fields_of_sound(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "l1.toml").write_text('learner = "online"\npenalty = { name = "l1", weight = 0.1 }')
    with pytest.raises(SystemExit) as ended:
        cli.main(["atoms", ".", "--seeds", "1"])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    folder = tmp_path / "runs" / "toy"
    assert (folder / "l1.png").read_bytes()[1:4] == b"PNG" and (folder / "l1.pdf").read_bytes()[:4] == b"%PDF"
    page = (folder / "fields.html").read_text("utf-8")
    assert "spectrograms" in page and "macaque" not in page and "photograph" not in page
    (row,) = json.loads((folder / "results.json").read_text("utf-8"))["learners"]
    assert "separability" in out and 0 < row["separability"]["mean"] <= 1 and "macaque_distance" not in row
    assert 0 <= row["rate"]["mean"] <= 50 and 0 <= row["scale"]["mean"] <= 2.5, "up to half a cycle a step, a band"


def test_whitening_keeps_the_places_of_bands_and_steps() -> None:
    sounds = {"a": torch.rand(24, 40), "b": torch.rand(24, 30)}
    white = runpy.run_path(str(FOLDER / "train.py"))["whitened"](sounds)
    assert {name: each.shape for name, each in white.items()} == {name: each.shape for name, each in sounds.items()}
    impulse = torch.zeros(24, 40)
    impulse[5, 20] = 1.0
    found = runpy.run_path(str(FOLDER / "train.py"))["whitened"]({"a": impulse})["a"]
    assert divmod(int(found.argmax()), 40) == (5, 20)


def test_one_speaker_is_held_out(shared_data, monkeypatch) -> None:
    monkeypatch.setenv("NEUROSPARSE_DATA", str(shared_data("speech/fsdd").parent))
    train, held_out = ns.experiments.load_task(FOLDER).images()
    assert {name.split("_")[1] for name in held_out} == {"theo"} and len(train) > 350 > len(held_out) > 80
    assert not {name for name in train if "theo" in name}
    assert {each.shape[0] for each in train.values()} == {24} and min(each.shape[1] for each in train.values()) >= 24


def test_widths_are_above_zero() -> None:
    with pytest.raises(InputError, match="sound"):
        ns.experiments.FieldTask("toy", "A toy", dict, 8, 6, 40, 4, sound=(0.0, 0.01))
