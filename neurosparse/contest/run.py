"""The contest: tune every contestant with the same number of trials, train it with several seeds, test it once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurosparse.contest.contestant import (
    FAMILIES,
    Contestant,
    Task,
    find_contestants,
    load_task,
    read_contestant,
    task_folder,
)
from neurosparse.contest.evaluate import evaluate
from neurosparse.contest.summary import provenance, stat, summarise, verdicts
from neurosparse.contest.train import accuracy, fit

__all__ = ["run", "train_one"]


@dataclass(frozen=True)
class Job:
    """One training: a tuning trial reads validation data only; a final run also reads the test set, once."""

    folder: str
    contestant: str
    seed: int
    learning_rate: float
    final: bool = False
    checkpoints: Path | None = None


def run(
    folder: str | os.PathLike[str],
    *,
    only: tuple[str, ...] = (),
    seeds: Sequence[int] = (0, 1, 2),
    processes: int | None = None,
    checkpoints: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> dict[str, Any]:
    """Tune, train and test every contestant of a task.

    Args:
        folder: the task's folder.
        only: names of contestants; all by default.
        seeds: one training each; tuning uses the first.
        processes: trainings side by side, one thread each; default: the number of cores.
        checkpoints: folder for trained weights, so that an interrupted contest goes on where it stopped.
        progress: called with a message, jobs done and jobs in all.

    Returns:
        The results that ``report.render`` and ``report.table`` read; plain JSON-able values.
    """
    task, contestants = load_task(folder), find_contestants(folder, only)
    trials = [
        Job(str(folder), c.name, seeds[0], rate, False, checkpoints)
        for c in contestants
        for rate in task.learning_rates
    ]
    total = len(trials) + len(contestants) * len(seeds)
    with _pool(processes) as compute:
        tuned: dict[str, list[dict[str, float]]] = {c.name: [] for c in contestants}
        for done, (job, result) in enumerate(zip(trials, compute(trials), strict=True), 1):
            trial = {"learning_rate": job.learning_rate, "validation_accuracy": result["validation_accuracy"]}
            tuned[job.contestant].append(trial)
            progress(f"tuning {job.contestant}", done, total)
        best = {
            name: max(rows, key=lambda r: r["validation_accuracy"])["learning_rate"] for name, rows in tuned.items()
        }
        finals = [
            Job(str(folder), c.name, seed, best[c.name], True, checkpoints) for c in contestants for seed in seeds
        ]
        outcomes: dict[str, list[dict[str, Any]]] = {c.name: [] for c in contestants}
        for done, (job, result) in enumerate(zip(finals, compute(finals), strict=True), len(trials) + 1):
            outcomes[job.contestant].append(result)
            progress(f"training {job.contestant}, seed {job.seed}", done, total)
    about = {c.name: _about(c, outcomes[c.name], tuned[c.name]) for c in contestants}
    rows = [summarise(c.name, outcomes[c.name], **about[c.name]) for c in contestants]
    decided = verdicts(_pairs(contestants), outcomes)
    return _header(task, seeds) | provenance(outcomes) | {"contestants": rows, "verdicts": decided}


def train_one(folder: str | os.PathLike[str], name: str, seed: int = 0) -> dict[str, Any]:
    """Train one contestant with the task's first learning rate; validation data only."""
    job = Job(
        str(folder),
        read_contestant(task_folder(folder) / f"{name}.toml").name,
        seed,
        load_task(folder).learning_rates[0],
    )
    return {"contestant": name, "seed": seed, "learning_rate": job.learning_rate} | _work(job)


def _pool(processes: int | None) -> Any:
    """A context whose value maps jobs to results in order: in this process for one, else in spawned ones."""
    processes = processes or os.cpu_count() or 1
    return _Serial() if processes == 1 else _Parallel(processes)


class _Serial:
    def __enter__(self) -> Callable[[Iterable[Job]], Iterator[dict[str, Any]]]:
        return lambda jobs: map(_work, jobs)

    def __exit__(self, *_: object) -> None:
        pass


class _Parallel:
    def __init__(self, processes: int):
        context = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,))

    def __enter__(self) -> Callable[[Iterable[Job]], Iterator[dict[str, Any]]]:
        return lambda jobs: self.executor.map(_work, jobs)

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown(cancel_futures=True)


def _work(job: Job) -> dict[str, Any]:
    task = load_task(job.folder)
    contestant = read_contestant(task_folder(job.folder) / f"{job.contestant}.toml")
    split = task.data()
    trained = fit(contestant, task, split, job.seed, job.learning_rate, job.checkpoints)
    result = {
        "validation_accuracy": accuracy(trained.model, split.validation),
        "seconds": trained.seconds,
        "steps": trained.steps,
        "losses": list(trained.losses),
    }
    return result | {"split": split.sizes} | (evaluate(trained.model, split.test) if job.final else {})


def _about(contestant: Contestant, outcomes: list[dict[str, Any]], trials: list[dict[str, float]]) -> dict[str, Any]:
    """What a report says of a contestant beyond its scores."""
    return {
        "family": FAMILIES[contestant.family],
        "note": contestant.note,
        "config": contestant.settings,
        "weight_bits": contestant.bits,
        "steps": contestant.steps,
        "validation_accuracy": stat(outcome["validation_accuracy"] for outcome in outcomes),
        "training": {
            "seconds": stat(outcome["seconds"] for outcome in outcomes),
            "steps": outcomes[0]["steps"],
            "trials": trials,
        },
    }


def _pairs(contestants: list[Contestant]) -> list[tuple[str, str]]:
    """Every contestant against the plain ReLU networks: dense and pruned, float32 and int8."""
    plain = [c.name for c in contestants if c.family == "relu" and set(c.settings) <= {"family", "bits", "pruned"}]
    others = [c.name for c in contestants if c.name not in plain]
    return [(a, b) for b in plain for a in others] + [(a, plain[0]) for a in plain[1:]]


def _header(task: Task, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "task": task.name,
        "title": task.title,
        "seeds": list(seeds),
        "split": task.data().sizes,
        "budget": {
            "epochs": task.epochs,
            "trials": len(task.learning_rates),
            "selection": "best validation accuracy of the first seed",
        },
    }
