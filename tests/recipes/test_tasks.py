"""The contract of tasks: every folder of models/ runs in smoke size, tabulates its results, and saves them."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import neurosparse as ns
from neurosparse import cli

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("models/*/train.py"))


def shrunk_split(split: ns.Split) -> ns.Split:
    """The first samples of each part."""
    some = torch.arange(40)
    parts = [getattr(split, name) for name in ("train", "validation", "test")]
    take = lambda x: x.samples(some) if isinstance(x, ns.EventTensor) else x[:40]  # noqa: E731
    return ns.Split(*((take(x), y[:40]) for x, y in parts))


def small(task):
    """The same task with less data, smaller networks and a shorter training."""
    if isinstance(task, ns.Task):
        load = task.load
        budget = {"hidden": (8,), "epochs": 1, "batch_size": 20, "learning_rates": task.learning_rates[:1]}
        return replace(task, data=lambda: shrunk_split(load()), **budget)
    if isinstance(task, ns.experiments.FieldTask):
        return replace(task, atoms=8, batch_size=10, batches=2, held_out=50)
    if task.name == "rao-ballard-1999":
        settings = {"gaussian": task.settings["gaussian"]}
        return replace(task, settings=settings, batch_size=4, batches=2, chosen_on=(4,), rows=(3,))
    if task.name == "sparse-memory":
        return replace(task, units=100, activities=(0.1,), loads=(0.3, 1.6), samples=4, steps=5)
    assert task.name == "predictive-generation", "a new kind of task needs its smoke size here"
    sets = (replace(task.sets[0], hidden=(8,), epochs=1, learning_rates=(0.01,), settle=3),)
    return replace(task, sets=sets, thresholds={"digits": (0.1,)})


def options(folder: Path, task) -> dict[str, Any]:
    """One model or learner, in this process."""
    if isinstance(task, ns.Task):
        names = [model.name for model in task.models()]
        return {"only": ("relu" if "relu" in names else names[-1],), "processes": 1}
    if isinstance(task, ns.experiments.FieldTask):
        return {"only": (min(path.stem for path in folder.glob("*.toml")),)}
    return {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_task_runs_tabulates_and_saves(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    task = ns.experiments.load_task(folder)
    assert isinstance(task, ns.experiments.AnyTask) and task.name == folder.name and task.title
    calls = []
    try:
        tiny = small(task)
        results = tiny.run([0], lambda *call: calls.append(call), folder=tmp_path, **options(folder, task))
    except ns.MissingFileError as error:
        pytest.skip(str(error))
    results = json.loads(json.dumps(results, allow_nan=False))
    assert {"task", "title", "seeds", "command", "created", "versions", "machine"} <= set(results)
    assert calls and all(0 <= done <= total for _, done, total in calls) and calls[-1][1] == calls[-1][2]
    main = task.save(results, tmp_path)
    assert main.stat().st_size and json.loads((tmp_path / "results.json").read_text("utf-8")) == results
    console = Console(width=160)
    with console.capture() as printed:
        console.print(task.table(results))
    assert len(printed.get().splitlines()) > 3
    check_command(results["command"])


def check_command(command: str) -> None:
    """A command is one that the command line accepts, up to the task that it names."""
    program, verb, folder, *options = shlex.split(command)
    assert program == "neurosparse" and (ROOT / folder / "train.py").is_file()
    known = {info.name or info.callback.__name__ for info in cli.app.registered_commands}
    assert verb in known and set(options[::2]) <= {"--seeds", "--seed", "--only", "--device"}


def test_a_command_names_the_seeds_that_were_run():
    command = ns.experiments.command
    assert command(ROOT / "models/digits", [0, 1]) == "neurosparse run models/digits --seeds 2"
    assert command(ROOT / "models/digits", [1, 0]) == "neurosparse run models/digits --seed 1 --seed 0"
    assert command("my folder", [0], only=["a b"], device="cuda") == (
        "neurosparse run 'my folder' --seeds 1 --only 'a b' --device cuda"
    )
    assert command(None, [0]) is None


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [True], [0.5], 3, None, "01"])
def test_seeds_are_different_whole_numbers(seeds):
    with pytest.raises(ns.InputError, match="seed"):
        ns.experiments.check_seeds(seeds)
    if seeds is not None:  # the task's own number of seeds
        with pytest.raises(ns.InputError, match="seed"):
            ns.experiments.load_task(ROOT / "models" / "digits").run(seeds)


@pytest.mark.parametrize("seed", [-1, True, 0.5, "0", None])
def test_the_seed_of_one_training_is_a_whole_number(seed):
    with pytest.raises(ns.InputError, match="seed"):
        ns.experiments.load_task(ROOT / "models" / "digits").train("relu", seed=seed)


def test_a_folder_without_a_task_is_refused(tmp_path):
    with pytest.raises(ns.MissingFileError, match=r"train.py"):
        ns.experiments.load_task(tmp_path)
    for script, said in (("budget = 3", "without a `task`"), ("task = 3", "run, table and save")):
        (tmp_path / "train.py").write_text(script)
        with pytest.raises(ns.InputError, match=said):
            ns.experiments.load_task(tmp_path)
