"""Trainings side by side: one job each, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.evaluate import evaluate
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.progress import StepCallback
from neurosparse.experiments.classification.split import Split
from neurosparse.experiments.classification.train import accuracy, fit

__all__ = ["Job", "check_device", "workers", "work"]


@dataclass(frozen=True)
class Job:
    """One training: a tuning trial reads validation data only; a final run also reads the test part, once."""

    budget: Budget
    config: ModelConfig
    seed: int
    learning_rate: float
    final: bool = False
    checkpoints: Path | None = None
    device: str = "cpu"


def work(job: Job, callback: StepCallback | None = None, split: Split | None = None) -> dict[str, Any]:
    """Train, and test if the job is final; ``split``: the task's data, where they are loaded already.

    On one thread: sums, and with them all numbers, are the same however many jobs run side by side.
    """
    budget, config, threads = job.budget, job.config, torch.get_num_threads()
    split = budget.load() if split is None else split
    torch.set_num_threads(1)
    try:
        trained = fit(config, budget, split, job.seed, job.learning_rate, job.checkpoints, callback, job.device)
        facts = {
            "validation_accuracy": accuracy(trained.model, _prepared(split.validation, config)),
            "seconds": trained.seconds,
            "steps": trained.steps,
            "losses": list(trained.losses),
            "data": split.fingerprint,
        }
        if not job.final:
            return facts
        try:
            found = evaluate(trained.model, _prepared(split.test, config), spiking=config.spiking)
        except InputError as error:
            raise InputError(f"{config.where}, learning rate {job.learning_rate:g}: {error}") from error
        return facts | found | {"split": split.sizes}
    finally:
        torch.set_num_threads(threads)


def _prepared(part: tuple[Inputs, Tensor], config: ModelConfig) -> tuple[Inputs, Tensor]:
    x, y = part
    return config.prepare(x), y


@contextmanager
def workers(processes: int) -> Iterator[Callable[[Iterable[Job]], Iterable[dict[str, Any]]]]:
    """A function that maps jobs to results in order: in this process for one, else in several.

    joblib carries a task whose functions stand in a script, which plain pickle cannot, and its backends (dask, ray)
    carry the trainings to other machines.
    """
    from joblib import Parallel, delayed

    pool: Any = Parallel(processes, return_as="generator", pre_dispatch="all")
    with pool as parallel:
        yield lambda jobs: parallel(delayed(work)(job) for job in jobs)


def check_device(device: str) -> None:
    """Refuse a device that torch does not have.

    Raises:
        InputError: such a device.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError("device", got=f"{device!r}: {reason}", expected='"cpu" or "cuda"') from error
