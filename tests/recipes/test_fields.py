"""Receptive-field tasks in smoke size: results, pictures, learners, and what they refuse."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse import cli
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.receptive_fields.denoising import denoise, denoised, psnr
from neurosparse.experiments.receptive_fields.learners import LEARNERS, DictionarySnapshot

TRAIN = """
import torch
import neurosparse as ns


def images():
    generator = torch.Generator().manual_seed(0)
    make = lambda: ns.coding.images.whiten(torch.rand(48, 60, generator=generator), variance=0.1)
    return {"a": make(), "b": make()}, {"c": make()}


task = ns.experiments.FieldTask("toy", "A toy", images, 6, 8, 60, 5, held_out=80, noise=NOISE)
"""
LEARNER_FILES = {
    "l1": 'note = "a line"\\nlearner = "online"\\npenalty = { name = "l1", weight = 0.3 }',
    "relu": 'learner = "autoencoder"\\nnoise = 0.1',
}


@pytest.fixture(params=[0.0, 0.1], ids=["fields", "denoising"])
def toy(tmp_path, request) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN.replace("NOISE", str(request.param)))
    for name, text in LEARNER_FILES.items():
        (folder / f"{name}.toml").write_text(text.replace("\\n", "\n"))
    return folder


def test_a_command_draws_and_describes(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["atoms", str(toy), "--seeds", "2"])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    folder = tmp_path / "runs" / "toy"
    for name in LEARNER_FILES:
        assert name in out and (folder / f"{name}.png").read_bytes()[1:4] == b"PNG"
        assert (folder / f"{name}.pdf").read_bytes()[:4] == b"%PDF"
    results = json.loads((folder / "results.json").read_text("utf-8"))
    page = (folder / "fields.html").read_text("utf-8")
    assert "A toy" in page and page.count("<svg") >= len(LEARNER_FILES) + 1 and "http" not in page.replace("w3.org", "")
    rows = {row["name"]: row for row in results["learners"]}
    for row in rows.values():
        assert row["patches"] == 300 and [point["patches"] for point in row["curve"]] == [60, 120, 240, 300]
        assert row["snr"]["sd"] is not None and 0 < row["active_fraction"]["mean"] < 1
    assert rows["l1"]["snr"]["mean"] > 0, "a code explains more than no code"
    if results["budget"]["noise"]:
        assert rows["relu"]["operations"]["effective_macs"]["mean"] > 0 and not rows["relu"]["uncounted"]
        assert rows["l1"]["energy"]["cmos-45nm/event_driven"]["mean"] > 0
        assert rows["l1"]["psnr_noisy"]["mean"] == pytest.approx(20, abs=0.5), "noise of 0.1 is 20 dB"


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_seed_is_all_the_randomness(learner):
    """Every learner: the same seed gives the same atoms whatever else was drawn, another seed others."""
    options = {"online": {"penalty": {"name": "l1", "weight": 0.3}}}.get(learner, {})

    def learned(seed: int) -> torch.Tensor:
        torch.rand(seed + 1)
        image = torch.rand(40, 40, generator=torch.Generator().manual_seed(3)) - 0.5
        batches = ns.coding.images.stream(image, 6, 50, 0, remove_mean=True)
        snapshots = LEARNERS[learner](batches, 12, seed, **options)
        snapshot = [next(snapshots) for _ in range(3)][-1]
        codes = snapshot.encode(next(batches))
        assert snapshot.atoms.shape == (12, 36) and codes.shape == (50, 12) and not codes.requires_grad
        return snapshot.atoms

    assert torch.equal(learned(0), learned(0)) and not torch.equal(learned(0), learned(1))


@given(height=st.integers(6, 30), width=st.integers(6, 30), size=st.integers(2, 6))
def test_patches_that_are_left_alone_make_the_image_again(height, width, size):
    image = torch.rand(height, width, generator=torch.Generator().manual_seed(height * width))
    torch.testing.assert_close(denoised(image, size, nn.Identity()), image)


def test_a_dictionary_of_nothing_leaves_the_means():
    """No atom explains anything: what remains of a flat image with noise is the mean of each patch, which has less."""
    silent = DictionarySnapshot(torch.zeros(1, 16), 0, lambda x: torch.zeros(len(x), 1))
    flat = torch.full((40, 40), 0.5)
    found = denoise(silent, {"flat": flat}, 4, 0.1, torch.zeros(50, 16))
    assert found["psnr_noisy"] == pytest.approx(20, abs=0.3)
    # Along each axis a pixel is the mean of two means over four pixels, which share two: weights of 1 1 2 2 1 1 over 8.
    assert found["psnr"] == pytest.approx(20 - 20 * math.log10(12 / 64), abs=1)


def test_decibels():
    assert psnr(torch.full((3, 3), 0.6), torch.full((3, 3), 0.5)) == pytest.approx(20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('learner = "nobody"', "'nobody'"),
        ("penalty = 1", "learner=None"),
        ('learner = "online"\npenalti = 1', "Did you mean 'penalty'"),
        ('learner = "online"\npenalty = { name = "l2", weight = 1.0 }', "l2"),
        ('learner = "online"\npenalty = { name = "l1", wait = 1.0 }', "wait"),
        ("learner =", "TOML"),
    ],
)
def test_a_bad_learner_is_refused_in_one_sentence(tmp_path, text, said):
    (tmp_path / "train.py").write_text(TRAIN.replace("NOISE", "0.0"))
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        ns.experiments.load_task(tmp_path).run(seeds=[0])


def test_pictures_show_only_atoms_of_the_same_settings(toy, tmp_path):
    task = ns.experiments.load_task(toy)
    results = task.run([0], folder=tmp_path)
    fewer = replace(task, batches=2)
    others = fewer.run([0], only=["l1"])
    for each, one, expected in ((task, results, True), (fewer, others, False)):
        page = each.save(one, tmp_path).read_text("utf-8")
        assert ("Atoms of l1" in page) == expected


def test_a_task_that_cannot_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="train.py"):
        ns.experiments.load_task(tmp_path)
    (tmp_path / "train.py").write_text("task = 3")
    with pytest.raises(InputError, match="FieldTask"):
        ns.experiments.load_task(tmp_path, ns.experiments.FieldTask)
    (tmp_path / "train.py").write_text(TRAIN.replace("NOISE", "0.0"))
    with pytest.raises(MissingFileError, match="Add l1.toml"):
        ns.experiments.load_task(tmp_path).run()
    with pytest.raises(InputError, match="load_task"):
        replace(ns.experiments.load_task(tmp_path), home=None).run()


@pytest.mark.parametrize("change", [{"size": 0}, {"batches": 1.5}, {"noise": -1.0}, {"border": -1}])
def test_a_budget_out_of_range_is_refused(change):
    options = {"size": 6, "atoms": 8, "batch_size": 10, "batches": 2} | change
    with pytest.raises(InputError, match=next(iter(change))):
        ns.experiments.FieldTask("toy", "A toy", dict, **options)


def test_photographs_smaller_than_a_patch_are_refused(tmp_path):
    script = TRAIN.replace("48, 60", "5, 60").replace("NOISE", "0.0")
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "l1.toml").write_text(LEARNER_FILES["l1"].replace("\\n", "\n"))
    with pytest.raises(InputError, match="pixels"):
        ns.experiments.load_task(tmp_path).run(seeds=[0])


def run_atoms(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["atoms", *map(str, arguments), "--seeds", "1", "--only", "l1"])
    return int(ended.value.code or 0)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Two colour JPEGs, one of them upright by its EXIF data alone."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "holidays"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("sea", "wood"):
        exif = image.Exif()
        exif[0x0112] = 6 if name == "wood" else 1
        image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype="u1")).save(folder / f"{name}.jpg", exif=exif)
    return folder


def test_a_folder_of_own_colour_pictures(toy, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_atoms(toy, "--images", pictures) == 0, capsys.readouterr().err
    results = json.loads((tmp_path / "runs" / "toy-holidays" / "results.json").read_text("utf-8"))
    assert sorted(results["photographs"]["train"] + results["photographs"]["held_out"]) == ["sea", "wood"]
    assert results["command"] == f"neurosparse atoms {toy} --seeds 1 --only l1 --images {pictures}"
    assert results["title"] == "6 x 6 patches of the pictures of holidays"
    (pictures / "sea.jpg").unlink()
    for said, *arguments in (
        ("at least two pictures", toy, "--images", pictures),
        ("got no picture in", toy, "--images", tmp_path),
        ("got no task",),
    ):
        assert run_atoms(*arguments) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_own_pictures_need_no_task(pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the task is found beside the package
    seen = []
    monkeypatch.setattr(cli, "_run", lambda task, *_: seen.append(task))
    with pytest.raises(SystemExit):
        cli.main(["atoms", "--images", str(pictures)])
    (task,) = seen
    assert (task.size, task.pictures, task.name) == (12, pictures, "olshausen-field-1996-holidays")


def test_large_pictures_are_reduced_by_means(pictures):
    whole, reduced = (ns.io.photographs.read_folder(pictures, largest) for largest in (None, 40))
    assert whole["wood"].shape == (80, 60) and reduced["wood"].shape == (40, 30), "rotated upright"
    torch.testing.assert_close(reduced["sea"], whole["sea"].view(30, 2, 40, 2).mean((1, 3)))


@pytest.mark.parametrize("shape", [(3, 30, 40), (4, 30, 40), (30, 40, 3), (30, 40, 4)])
def test_patches_of_a_colour_array_are_refused(shape):
    with pytest.raises(InputError, match="mean over colours"):
        ns.coding.images.patches(torch.rand(shape), 8, 10)
    stack = ns.coding.images.patches(list(torch.rand(3, 30, 40)), 8, 10)
    assert stack.shape == (10, 64) and ns.coding.images.patches(torch.rand(5, 30, 40), 8, 10).shape == (10, 64)


def test_finished_trainings_are_used_again_for_the_same_images_alone(toy, tmp_path):
    trained: list[str] = []

    def callback(message: str, done: int, total: int) -> None:
        trained.append(message)
        if stop and message == "relu, seed 0" and done == 2:
            raise KeyboardInterrupt

    def run() -> dict:
        trained.clear()
        return ns.experiments.load_task(toy, ns.experiments.FieldTask).run([0], callback, folder=tmp_path / "kept")

    stop = True
    with pytest.raises(KeyboardInterrupt):
        run()
    stop = False
    assert {"l1, seed 0", "relu, seed 0"} == set(trained)
    first = run()
    assert set(trained) == {"relu, seed 0"}, "the training that was interrupted"
    again = run()
    assert not trained and again["learners"] == first["learners"]
    text = (toy / "train.py").read_text()
    (toy / "train.py").write_text(text.replace("manual_seed(0)", "manual_seed(1)"))
    other = run()
    assert set(trained) == {"l1, seed 0", "relu, seed 0"} and other["learners"][0]["snr"] != first["learners"][0]["snr"]
