"""The contest: tune every contestant with the same number of trials, train it with several seeds, test it once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.experiments.classification.contestant import FAMILIES, Contestant
from neurosparse.experiments.classification.evaluate import evaluate
from neurosparse.experiments.classification.inputs import Inputs, prepare
from neurosparse.experiments.classification.progress import Watch
from neurosparse.experiments.classification.summary import provenance, summarise, verdicts
from neurosparse.experiments.classification.task import Task, find_contestants
from neurosparse.experiments.classification.train import accuracy, fit
from neurosparse.experiments.classification.weights import checkpoint_path, unfinished_path
from neurosparse.experiments.folder import load_task, task_folder
from neurosparse.experiments.provenance import command, stat

__all__ = ["run", "train_one"]


@dataclass(frozen=True)
class Job:
    """One training: a tuning trial reads validation data only; a final run also reads the test set, once."""

    folder: str
    contestant: Contestant
    seed: int
    learning_rate: float
    final: bool = False
    checkpoints: Path | None = None
    device: str = "cpu"


def run(
    folder: str | os.PathLike[str],
    *,
    only: tuple[str, ...] = (),
    seeds: Sequence[int] = (0, 1, 2),
    processes: int | None = None,
    checkpoints: Path | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> dict[str, Any]:
    """Tune, train and test every contestant of a task.

    Args:
        folder: the task's folder.
        only: names of contestants; all by default.
        seeds: one training each; tuning uses the first.
        processes: trainings side by side, one thread each; default: the number of cores. Changes no count or accuracy.
        checkpoints: folder for trained weights, so that an interrupted contest goes on where it stopped. Delete it when
            the task's data change.
        device: where to train, for example "cuda"; networks are tested on the CPU.
        progress: called with a message, jobs done and jobs in all.

    Returns:
        The results that ``report.save`` and ``report.table`` read; plain JSON-able values.

    Raises:
        InputError: no such task or contestant, a damaged file, no seed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> script = '''
        ... import torch, neurosparse as ns
        ... part = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
        ... task = ns.Task("toy", "A toy", lambda: ns.Split(part, part, part), (16,), 4, 9, 8, (0.02,))
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text(script)
        ...     _ = Path(folder, "relu.toml").write_text('family = "relu"')
        ...     results = run(folder, seeds=[0], processes=1)
        >>> results["contestants"][0]["accuracy"]["mean"]
        1.0
    """
    task, contestants = load_task(folder, Task), find_contestants(folder, only)
    _check_device(device)
    if not len(seeds) or (processes or 1) < 1:
        raise InputError("run", got=f"{len(seeds)} seeds, {processes} processes", expected="at least one of each")
    # Contestants in 8 bits share the weights of those in 32: behind them, they find them trained.
    queue = sorted(contestants, key=lambda contestant: -contestant.bits)
    trials = [
        Job(str(folder), c, seeds[0], rate, False, checkpoints, device) for c in queue for rate in task.learning_rates
    ]
    total = len(trials) + len(queue) * len(seeds)
    tuned: dict[str, list[dict[str, float]]] = {c.name: [] for c in contestants}
    outcomes: dict[str, list[dict[str, Any]]] = {c.name: [] for c in contestants}
    with _workers(processes or os.cpu_count() or 1) as compute:
        for done, (job, result) in enumerate(zip(trials, compute(trials), strict=True), 1):
            trial = {"learning_rate": job.learning_rate, "validation_accuracy": result["validation_accuracy"]}
            tuned[job.contestant.name].append(trial)
            progress(f"tuning {job.contestant.name}", done, total)
        best = {name: max(rows, key=lambda row: row["validation_accuracy"]) for name, rows in tuned.items()}
        rates = {name: row["learning_rate"] for name, row in best.items()}
        finals = [Job(str(folder), c, seed, rates[c.name], True, checkpoints, device) for c in queue for seed in seeds]
        for done, (job, result) in enumerate(zip(finals, compute(finals), strict=True), len(trials) + 1):
            outcomes[job.contestant.name].append(result)
            progress(f"training {job.contestant.name}, seed {job.seed}", done, total)
    typed = command(task_folder(folder), seeds, verb="compare", only=only, device=device)
    return _results(task, contestants, list(seeds), tuned, outcomes, typed)


def train_one(
    folder: str | os.PathLike[str],
    name: str,
    seed: int = 0,
    *,
    checkpoints: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train one contestant with the task's first learning rate; the test part is not read.

    Args:
        folder: the task's folder.
        name: of the contestant.
        seed: draws weights and the order of batches.
        checkpoints: folder in which the training is kept while it runs, and its weights when it is done.
        resume: go on with what is kept there, to the same weights bit by bit; otherwise it is replaced.
        device: where to train, for example "cuda"; there, sums and with them the last bits may differ between runs.
        watch: called after each step with what a progress bar shows.

    Returns:
        ``contestant, seed, learning_rate, validation_accuracy, seconds, steps, losses`` (one per epoch), and with
        ``checkpoints`` the file of the trained ``weights``.

    Raises:
        InputError: no such task or contestant, a damaged file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> script = '''
        ... import torch, neurosparse as ns
        ... part = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
        ... task = ns.Task("toy", "A toy", lambda: ns.Split(part, part, part), (16,), 4, 9, 8, (0.02,))
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text(script)
        ...     _ = Path(folder, "relu.toml").write_text('family = "relu"')
        ...     train_one(folder, "relu")["validation_accuracy"]
        1.0
    """
    _check_device(device)
    rate = load_task(folder, Task).learning_rates[0]
    (contestant,) = find_contestants(folder, (name,))
    facts: dict[str, Any] = {"contestant": name, "seed": seed, "learning_rate": rate}
    if checkpoints is not None:
        path = checkpoint_path(checkpoints, contestant, load_task(folder, Task), seed, rate)
        for kept in (path, unfinished_path(path)) if not resume else ():
            kept.unlink(missing_ok=True)
        facts["weights"] = str(path)
    return facts | _work(Job(str(folder), contestant, seed, rate, False, checkpoints, device), watch)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError("device", got=f"{device!r}: {reason}", expected='"cpu" or "cuda"') from error


@contextmanager
def _workers(processes: int) -> Iterator[Callable[[Iterable[Job]], Iterable[dict[str, Any]]]]:
    """A function that maps jobs to results in order: in this process for one, else in spawned ones."""
    if processes == 1:
        yield lambda jobs: map(_work, jobs)
        return
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield lambda jobs: executor.map(_work, jobs)
    finally:
        executor.shutdown(cancel_futures=True)


def _work(job: Job, watch: Watch | None = None) -> dict[str, Any]:
    """Train, and test if it is final; on one thread, so that sums are the same however many jobs run side by side."""
    task, threads = load_task(job.folder, Task), torch.get_num_threads()
    split = task.data()
    torch.set_num_threads(1)
    try:
        trained = fit(job.contestant, task, split, job.seed, job.learning_rate, job.checkpoints, watch, job.device)
        validation = _prepared(split.validation, job.contestant)
        facts = {
            "validation_accuracy": accuracy(trained.model, validation),
            "seconds": trained.seconds,
            "steps": trained.steps,
            "losses": list(trained.losses),
        }
        if not job.final:
            return facts
        return facts | evaluate(trained.model, _prepared(split.test, job.contestant)) | {"split": split.sizes}
    finally:
        torch.set_num_threads(threads)


def _prepared(part: tuple[Inputs, Tensor], contestant: Contestant) -> tuple[Inputs, Tensor]:
    x, y = part
    return prepare(x, contestant), y


def _results(
    task: Task,
    contestants: list[Contestant],
    seeds: list[int],
    tuned: dict[str, list[dict[str, float]]],
    outcomes: dict[str, list[dict[str, Any]]],
    typed: str | None,
) -> dict[str, Any]:
    opponents = _opponents(contestants)
    names = [contestant.name for contestant in contestants]
    pairs = [(name, opponent) for opponent in opponents for name in names if name not in opponents]
    pairs += [(b, a) for a, b in combinations(opponents, 2)]
    header = {
        "task": task.name,
        "title": task.title,
        "seeds": seeds,
        "reference": opponents[0],
        "split": outcomes[names[0]][0]["split"],
        "budget": {
            "epochs": task.epochs,
            "trials": len(task.learning_rates),
            "selection": "best validation accuracy of the first seed",
        },
    }
    rows = [summarise(c.name, outcomes[c.name], **_about(c, outcomes[c.name], tuned[c.name])) for c in contestants]
    return header | provenance(outcomes, typed) | {"contestants": rows, "verdicts": verdicts(pairs, outcomes)}


def _opponents(contestants: list[Contestant]) -> list[str]:
    """Whom all others meet: plain ReLU networks, pruned or in 8 bits, the simplest first; else the first contestant."""
    plain = [c for c in contestants if c.family == "relu" and set(c.settings) <= {"family", "bits", "pruned"}]
    return [c.name for c in sorted(plain, key=lambda c: len(c.settings))] or [contestants[0].name]


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
