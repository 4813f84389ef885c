"""All trainings of a task: the search of each network's parameters, then its final runs; each result is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.progress import facts_of
from neurosparse.experiments.classification.run import Job, OfFolder, diverged
from neurosparse.experiments.classification.search import Trial, best_first, chosen, rungs, trials_of
from neurosparse.experiments.classification.split import Split, fingerprint
from neurosparse.experiments.classification.store import key_of, read_result, unpack, write_result
from neurosparse.experiments.folder import Callback

__all__ = ["Campaign", "Found"]


@dataclass(frozen=True)
class Found:
    """The trial that a search has chosen, and its last round of trials as plain values."""

    trial: Trial
    trials: list[dict[str, Any]]


@dataclass
class Campaign:
    """The trainings of one run of a task.

    Args:
        budget: of the task.
        home: its folder, from which workers read its data.
        split: its data.
        folder: where results are kept; None: nowhere.
        device: of the trainings.
        compute: maps jobs to results, see :func:`neurosparse.experiments.classification.run.workers`.
        show: called with a message, trainings done and trainings in all.
        until: the time, as of :func:`time.monotonic`, after which no training is begun; None: no limit.
    """

    budget: Budget
    home: Path
    split: Split
    folder: Path | None
    device: str
    compute: Callable[[Iterable[Job]], Iterable[dict[str, Any]]]
    show: Callback
    until: float | None = None
    total: int = 0
    done: int = 0
    facts: dict[int | None, list[Any]] = field(default_factory=dict)
    tests: dict[int | None, str] = field(default_factory=dict)
    data: dict[Any, str] = field(default_factory=dict)

    # ---- searches

    def search(self, models: Sequence[ModelConfig], seeds: Sequence[int]) -> dict[tuple[str, int | None], Found]:
        """Choose the parameters of every model for each fold, with the first seed of that fold.

        Networks that differ in precision, pruning or the width of states share one search.

        Returns:
            by (name of the model, fold); models whose search was not reached in time are missing.
        """
        known = {each.name for model in models for each in fields(model)}
        for name in self.budget.search_at:
            one_of(f"task {self.budget.name!r}", "key of search_at", name, sorted(known))
        first = {self.budget.fold_of(seed): seed for seed in reversed(seeds)}
        groups: dict[str, _Search] = {}
        keys: dict[tuple[str, int | None], str] = {}
        for model in models:
            for fold, seed in first.items():
                group = self._search_of(model, fold, seed)
                groups.setdefault(group.key, group)
                keys[model.name, fold] = group.key
        found = {key: group.stored() for key, group in groups.items()}
        open_ = [group for key, group in groups.items() if found[key] is None]
        found |= self._halving(open_)
        return {name: each for name, key in keys.items() if (each := found[key]) is not None}

    def _search_of(self, model: ModelConfig, fold: int | None, seed: int) -> _Search:
        own = {each.name for each in fields(model)}
        values = {name: value for name, value in self.budget.search_at.items() if name in own}
        config = model.uncompressed.with_parameters(values)
        trials = trials_of(config, self.budget, seed)
        facts = [self.budget.trials, self.budget.search_samples, self.budget.learning_rates]
        key = key_of(config.settings, [[x.learning_rate, dict(x.parameters)] for x in trials], facts, self._facts(fold))
        path = None if self.folder is None else self.folder / "searches" / f"{key}.json"
        return _Search(config, fold, seed, trials, key, path)

    def _halving(self, searches: Sequence[_Search]) -> dict[str, Found]:
        """Successive halving of all searches side by side, rung by rung."""
        alive = {search.key: list(range(len(search.trials))) for search in searches}
        results: dict[tuple[str, int], dict[str, Any]] = {}
        stages = {search.key: rungs(len(search.trials), self.budget) for search in searches}
        self.total += sum(count for stage in stages.values() for count, _ in stage)
        for i in range(max((len(stage) for stage in stages.values()), default=0)):
            jobs: dict[tuple[str, int], Job] = {}
            for search in searches:
                if search.key in alive and i < len(stages[search.key]):
                    count, budget = stages[search.key][i]
                    known = [results.get((search.key, trial)) for trial in alive[search.key]]
                    order = best_first([None if one is None else _scores(one) for one in known]) if i else range(count)
                    alive[search.key] = [alive[search.key][j] for j in order][:count]
                    jobs |= {(search.key, j): self._trial(search, j, budget) for j in alive[search.key]}
            for (key, trial), result in self._run(jobs, lambda job: f"search {job.config.name}"):
                results[key, trial] = result
            late = {key for key, trial in jobs if (key, trial) not in results}
            for key in late:
                alive.pop(key, None)
        return {search.key: search.finished(alive[search.key], results) for search in searches if search.key in alive}

    def _trial(self, search: _Search, number: int, budget: Budget) -> Job:
        trial, whole = search.trials[number], budget.epochs == self.budget.epochs and budget.search_samples is None
        job = Job(budget, trial.applied(search.config), search.seed, trial.learning_rate, search.fold)
        # A trial with the whole budget leaves its weights for the final run of the same seed.
        return self._filed(replace(job, device=self.device, checkpoints=self._checkpoints if whole else None), "trials")

    @property
    def _checkpoints(self) -> Path | None:
        return None if self.folder is None else self.folder / "checkpoints"

    # ---- final runs

    def train(
        self,
        models: Sequence[ModelConfig],
        seeds: Sequence[int],
        found: Mapping[tuple[str, int | None], Found],
    ) -> dict[str, list[dict[str, Any]]]:
        """Train and test the models with each seed, one seed after the other.

        Returns:
            results by name, in the order of the seeds; only of models that were trained with all of them.
        """
        # Quantized models share the weights of those in full precision: behind those, they find them trained.
        queue = sorted(models, key=lambda model: -model.compression.bits)
        jobs: dict[tuple[str, int], Job] = {}
        for seed in seeds:
            fold = self.budget.fold_of(seed)
            for model in queue:
                if (choice := found.get((model.name, fold))) is not None:
                    jobs[model.name, seed] = self._final(model, seed, fold, choice.trial)
        results = dict(self._run(jobs, lambda job: f"training {job.config.name}, seed {job.seed}"))
        names = [model.name for model in models if all((model.name, seed) in results for seed in seeds)]
        return {name: [results[name, seed] for seed in seeds] for name in names}

    def _final(self, model: ModelConfig, seed: int, fold: int | None, trial: Trial) -> Job:
        given = (seed, trial.learning_rate, fold, True, self._checkpoints, self.device)
        job = Job(self.budget, trial.applied(model), *given)
        return self._filed(job, f"trainings/{model.name}", f"seed-{seed}")

    # ---- jobs

    def _filed(self, job: Job, place: str, name: str = "") -> Job:
        """The job with the file of its result; workers read the functions of its budget from the task's folder."""
        facts = [job.config.settings, job.budget.epochs, job.seed, job.learning_rate, job.final]
        key = key_of(facts, self._tested(job.fold) if job.final else self.budget.search_samples, self._facts(job.fold))
        path = None if self.folder is None else self.folder / place / f"{name or key}.json"
        return replace(job, budget=_carried(job.budget, self.home), result=path, key=key)

    def _facts(self, fold: int | None) -> list[Any]:
        """Facts of the budget, the training and the validation data of a fold."""
        if fold not in self.facts:
            part = self.budget.part(self.split, fold)
            self.data[fold, True] = part.fingerprint
            self.facts[fold] = [*facts_of(self.budget, part), fingerprint(*part.validation), fold]
        return self.facts[fold]

    def _tested(self, fold: int | None) -> str:
        """A hash of the test data of a fold."""
        if fold not in self.tests:
            self.tests[fold] = fingerprint(*self.budget.part(self.split, fold).test)
        return self.tests[fold]

    def _run(self, jobs: Mapping[Any, Job], message: Callable[[Job], str]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Results of jobs in their order, until the time is over."""
        begun: list[Any] = []

        def queue() -> Iterator[Job]:
            for name, job in jobs.items():
                stored = read_result(job.result, job.key) is not None
                if self.until is None or stored or time.monotonic() < self.until:
                    begun.append(name)
                    yield job

        for i, result in enumerate(self.compute(queue())):
            name = begun[i]
            self._refuse_other(jobs[name], result["data"])
            self.done += 1
            self.show(message(jobs[name]), self.done, self.total)
            yield name, result

    def _refuse_other(self, job: Job, data: str) -> None:
        """Refuse data that differ from one training to the next: their accuracies cannot be compared."""
        if self.data.setdefault((job.fold, job.final or self.budget.search_samples is None), data) != data:
            got, fix = "data() with other training data at another call", "Seed its random draws."
            raise InputError(f"task {self.budget.name!r}", got=got, expected="the same data at every call", fix=fix)


@dataclass(frozen=True)
class _Search:
    """The search of one network for one fold, and the file of its outcome."""

    config: ModelConfig
    fold: int | None
    seed: int
    trials: list[Trial]
    key: str
    path: Path | None

    def stored(self) -> Found | None:
        """The outcome of an earlier run."""
        if (kept := read_result(self.path, self.key, ("chosen", "trials"))) is None:
            return None
        if kept["chosen"] not in range(len(self.trials)):
            got, expected = f"{self.path} with chosen={kept['chosen']!r}", f"a whole number below {len(self.trials)}"
            raise InputError("result", got=got, expected=expected, fix="Delete it to search anew.")
        return Found(self.trials[kept["chosen"]], kept["trials"])

    def finished(self, alive: Sequence[int], results: Mapping[tuple[str, int], dict[str, Any]]) -> Found:
        """Choose among the trials of the last rung, and keep the outcome.

        Raises:
            InputError: all of them have diverged.
        """
        last = [_scores(results[self.key, trial]) for trial in alive]
        if (best := chosen(last)) is None:
            refused = next((found for i in alive if (found := results[self.key, i].get("refused"))), None)
            got, fix = "logits with NaN in every trial of the last round", "Lower the task's learning rates."
            got = got if refused is None else f"no trial that trains: {refused}"
            raise InputError(self.config.where, got=got, expected="a training that does not diverge", fix=fix)
        rows = [self._row(i, results[self.key, i]) for i in range(len(self.trials)) if (self.key, i) in results]
        facts = {"model": self.config.name, "fold": self.fold, "chosen": alive[best], "trials": rows}
        write_result(self.path, self.key, facts)
        return Found(self.trials[alive[best]], rows)

    def _row(self, number: int, result: Mapping[str, Any]) -> dict[str, Any]:
        trial, known = self.trials[number], _scores(result)
        accuracy = None if known is None else float(known["correct"].mean())
        spent = {"steps": result["training"]["steps"], "samples": result["sizes"]["train"]}
        return {"learning_rate": trial.learning_rate, **trial.parameters, "validation_accuracy": accuracy, **spent}


def _scores(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Correctness and energy on validation data; None: the training has diverged."""
    if diverged(result):
        return None
    found = result["validation"]
    return {"correct": unpack(found["correct"], result["sizes"]["validation"]), "energy": found["energy"]}


def _carried(budget: Budget, home: Path) -> Budget:
    """The budget as it travels to a worker: functions of the folder's task by path, others by value."""
    values = {each.name: getattr(budget, each.name) for each in fields(Budget)}
    for name, function in (getattr(budget, "sources", None) or {}).items():
        if function is not None and values[name] is function:
            values[name] = OfFolder(home.resolve(), name)
    return Budget(**values)
