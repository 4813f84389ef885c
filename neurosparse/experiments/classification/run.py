"""Trainings side by side: one job each, in this process, in several, or on other machines."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.evaluate import PRIMARY, evaluate, metered, reports, scores
from neurosparse.experiments.classification.inputs import Inputs, n_samples, take
from neurosparse.experiments.classification.progress import StepCallback
from neurosparse.experiments.classification.split import Split
from neurosparse.experiments.classification.store import pack, read_result, write_result
from neurosparse.experiments.classification.train import Trained, fit
from neurosparse.experiments.classification.training_cost import training_counts
from neurosparse.experiments.folder import load_task

OPERATIONS = ("effective_macs", "effective_acs", "bias_adds", "state_updates", "comparisons", "elementwise")

__all__ = ["Job", "OfFolder", "check_device", "diverged", "work", "workers"]


@dataclass(frozen=True)
class OfFolder:
    """A function of a task folder's ``train.py``, which a worker reads from there by its path.

    Args:
        home: the folder.
        name: the field of the task that holds the function, such as ``data``.
    """

    home: Path
    name: str

    def __call__(self, *arguments: Any) -> Any:
        return getattr(_task_of(self.home, (self.home / "train.py").stat().st_mtime_ns), self.name)(*arguments)


@lru_cache(maxsize=4)
def _task_of(home: Path, changed: int) -> Any:
    """The task of a folder, once for each state of its file."""
    return load_task(home)


@lru_cache(maxsize=1)
def _whole(changed: int, budget: Budget) -> Split:
    """The data of a task, loaded once in each process."""
    return budget.load()


@lru_cache(maxsize=2)
def _split_of(changed: int, budget: Budget, fold: int | None, some: int | None) -> Split:
    """The data of a fold, and of its training samples the first ones."""
    return _first(budget.part(_whole(changed, budget), fold), some)


def _first(split: Split, some: int | None) -> Split:
    """The split with so many training samples at most."""
    if some is None or some >= split.sizes["train"]:
        return split
    (x, y), which = split.train, torch.arange(some)
    return replace(split, train=(take(x, which), y[which]))


@dataclass(frozen=True)
class Job:
    """One training: a trial of a search reads validation data only; a final run also reads the test part, once.

    Args:
        budget: of the task, or that of a trial.
        config: the model with the parameters that were chosen or are tried.
        seed: draws weights and the order of batches.
        learning_rate: peak rate.
        fold: of a cross-validation; None: there is none.
        final: whether the test part is read.
        checkpoints: folder of trained weights.
        device: of the training.
        result: the file of its result; None: it is returned only.
        key: of the result.
    """

    budget: Budget
    config: ModelConfig
    seed: int
    learning_rate: float
    fold: int | None = None
    final: bool = False
    checkpoints: Path | None = None
    device: str = "cpu"
    result: Path | None = None
    key: str = ""

    def split(self) -> Split:
        """The data of this job; in a search, so many of the training samples as the budget says."""
        budget, some = replace(self.budget, epochs=1), None if self.final else self.budget.search_samples
        if isinstance(budget.data, OfFolder):
            return _split_of((budget.data.home / "train.py").stat().st_mtime_ns, budget, self.fold, some)
        return _first(budget.part(budget.load(), self.fold), some)


def diverged(result: Mapping[str, Any]) -> bool:
    """Whether a training has ended with logits that are NaN."""
    return result["validation"] is None


def work(job: Job, callback: StepCallback | None = None, split: Split | None = None) -> dict[str, Any]:
    """Train, and test if the job is final; the result is written to its file, and returned as plain values.

    On one thread: sums, and with them all numbers, are the same however many jobs run side by side.

    Args:
        job: what to train.
        callback: called after each step.
        split: the data, where they are loaded already.
    """
    needed = ("validation", "sizes", "training", "data", *(("test",) if job.final else ()))
    if (known := read_result(job.result, job.key, needed)) is not None:
        return known
    budget, config, threads = job.budget, job.config, torch.get_num_threads()
    split = job.split() if split is None else split
    torch.set_num_threads(1)
    try:
        trained = fit(config, budget, split, job.seed, job.learning_rate, job.checkpoints, callback, job.device)
        facts = _facts(job, trained, split)
    except InputError as error:
        if job.final or budget.trials is None:
            raise
        facts = _refused(job, split, error)  # by parameters that were drawn: other trials may train
    finally:
        torch.set_num_threads(threads)
    write_result(job.result, job.key, facts)
    return facts


def _facts(job: Job, trained: Trained, split: Split) -> dict[str, Any]:
    """Scores on validation data and of a final run on the test part, and what the training took."""
    config, losses = job.config, [loss if math.isfinite(loss) else None for loss in trained.losses]
    facts: dict[str, Any] = {
        "model": config.name,
        "config": config.settings,
        "seed": job.seed,
        "fold": job.fold,
        "learning_rate": job.learning_rate,
        "training": {"seconds": trained.seconds, "steps": trained.steps, "losses": losses},
        "validation": None,
        "sizes": {name: len(getattr(split, name)[1]) for name in ("train", "validation")},
        "data": split.fingerprint,
    }
    try:
        correct, counts = metered(trained.model, _prepared(split.validation, config), config.spiking)
    except InputError:
        if job.final or not _has_diverged(trained.model, _prepared(split.validation, config)[0]):
            raise
        return facts
    scenarios = reports(counts, [PRIMARY])
    facts["validation"] = {"correct": pack(correct), "energy": scenarios[PRIMARY].nominal}
    if not job.final:
        return facts
    try:
        found = evaluate(trained.model, _prepared(split.test, config), spiking=config.spiking)
    except InputError as error:
        raise InputError(f"{config.where}, learning rate {job.learning_rate:g}: {error}") from error
    kept = {name: found[name] for name in ("seconds_per_sample", "raster", "latency")}
    facts["sizes"] = split.sizes
    facts["training"] |= _training(job, trained, split)
    return facts | {"test": {"correct": pack(found["correct"]), "counts": found["counts"].to_json()} | kept}


def _refused(job: Job, split: Split, error: InputError) -> dict[str, Any]:
    """The result of a trial whose parameters do not fit the data, as of one that has diverged."""
    sizes = {name: len(getattr(split, name)[1]) for name in ("train", "validation")}
    training = {"seconds": 0.0, "steps": 0, "losses": []}
    facts = {"model": job.config.name, "config": job.config.settings, "training": training, "sizes": sizes}
    return facts | {"validation": None, "data": split.fingerprint, "refused": str(error)}


def _training(job: Job, trained: Trained, split: Split) -> dict[str, Any]:
    """Operations by phase and energy of one training step, on the first batch, with the weights at the end."""
    config, some = job.config, torch.arange(job.budget.batch_size)
    x, y = _prepared((take(split.train[0], some), split.train[1][some]), config)
    learner = copy.deepcopy(trained.learner).train()
    counts = training_counts(config, learner, x, y, torch.optim.Adam(learner.parameters(), job.learning_rate))
    phases: dict[str, dict[str, int]] = {}
    for row in counts.rows:
        total = phases.setdefault(row["phase"], dict.fromkeys(OPERATIONS, 0))
        for column in OPERATIONS:
            total[column] += row[column]
    energy = reports(counts, [PRIMARY])[PRIMARY].nominal
    return {"operations": phases, "energy": None if energy is None else energy * counts.samples}


@torch.no_grad()
def _has_diverged(model: nn.Module, x: Inputs) -> bool:
    """Whether any logit is NaN."""
    batches = torch.arange(n_samples(x)).split(250)
    return any(bool(scores(model(take(x, some)), len(some), "search").isnan().any()) for some in batches)


def _prepared(part: tuple[Inputs, Tensor], config: ModelConfig) -> tuple[Inputs, Tensor]:
    x, y = part
    return config.prepare(x), y


@contextmanager
def workers(processes: int) -> Iterator[Callable[[Iterable[Job]], Iterable[dict[str, Any]]]]:
    """A function that maps jobs to results in order: in this process for one, else in several.

    joblib carries the jobs: inside ``joblib.parallel_config(backend="dask")`` or ``"ray"`` they run on other machines.
    """
    from joblib import Parallel, delayed

    options: dict[str, Any] = {"return_as": "generator", "pre_dispatch": "2 * n_jobs", "batch_size": 1}
    pool: Any = Parallel(processes, **options)
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
