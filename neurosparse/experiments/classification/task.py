"""Classification tasks: every model of a folder is tuned, trained and tested under one budget, and compared."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosparse import report
from neurosparse.checks import number, positive, whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.campaign import Campaign
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.progress import StepCallback, checkpoint_path, unfinished_path
from neurosparse.experiments.classification.run import Job, check_device, work, workers
from neurosparse.experiments.classification.store import unpack
from neurosparse.experiments.classification.summary import summarise_task
from neurosparse.experiments.folder import Callback, home_of
from neurosparse.experiments.provenance import check_seeds, command

if TYPE_CHECKING:
    from neurosparse.report.columns import TextTable

__all__ = ["Task"]


@dataclass(frozen=True)
class Task(Budget):
    """Data and a training budget that all models of a folder share.

    Args:
        name, title: for reports.
        data: returns the :class:`Split`; the same for every model and seed.
        hidden: widths of the hidden layers.
        classes: number of labels.
        epochs, batch_size: the budget.
        learning_rates: without ``trials`` one trial each; otherwise the range of the search.
        augment: changes the inputs of a training batch with a seeded generator; they keep their shape.
        weight_decay: of AdamW, on weights but not on biases and decays; 0: Adam.
        trials: number of trials of the search of every model, over its own parameters and the learning rate; None:
            only the learning rates are tried.
        search_samples: number of training samples in trials; None: all.
        search_at: keys of models and the values that they have in trials, such as ``{"depth": 2}``: models that differ
            in these keys only share one search.
        folds: of a cross-validation over all samples: seed s trains for fold ``s % folds``, and tests on it; None: the
            parts of the split.
        reference: name of the model that the others are compared with; None: the plainest ReLU network, else the first.
        margin: the loss of accuracy that is tolerated.
        seeds: number of final trainings of each model.
        shared: name of a folder beside the task's own whose models the task has, too; of two files of a name, the
            task's own is read.
        home: the task's folder; set when the task is loaded from there.

    Raises:
        InputError: a width, a number of classes, epochs or samples below 1, no learning rate above 0, a negative decay.

    Example:
        >>> import torch
        >>> from neurosparse import Split
        >>> part = torch.rand(6, 4), torch.zeros(6, dtype=torch.long)
        >>> task = Task("toy", "A toy", lambda: Split(part, part, part), (8,), 2, 1, 3, (0.01,))
        >>> task.load().sizes["test"]
        6
    """

    reference: str | None = None
    margin: float = 0.01
    seeds: int = 3
    shared: str | None = None
    home: Path | None = None
    sources: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """Functions of the folder's script; those that are still the task's own travel to workers by path."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"task {self.name!r}"
        object.__setattr__(self, "margin", number(where, "margin", self.margin, 0, 1))
        object.__setattr__(self, "seeds", whole(where, "seeds", self.seeds))
        if self.home is not None and self.sources is None:
            object.__setattr__(self, "sources", {"data": self.data, "augment": self.augment})

    def models(self, only: Sequence[str] = ()) -> list[ModelConfig]:
        """The models of the task, by name.

        Args:
            only: names of some, in this order, of files or of single operating points; all by default.

        Raises:
            MissingFileError: no model of that name, no model at all, or no folder of that name to share with.
            InputError: a file that is not a model.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from neurosparse.experiments import load_task
            >>> script = "import neurosparse as ns; task = ns.Task('toy', 'A toy', None, (8,), 2, 1, 3, (0.01,))"
            >>> with TemporaryDirectory() as folder:
            ...     _ = Path(folder, "train.py").write_text(script)
            ...     for name in ("relu", "lif"):
            ...         _ = Path(folder, f"{name}.toml").write_text(f'family = "{name}"')
            ...     [model.name for model in load_task(folder, Task).models()]
            ['lif', 'relu']
        """
        home = home_of(self)
        return find_models(home, tuple(only), self._shared(home))

    def run(
        self,
        seeds: Sequence[int] | None = None,
        callback: Callback | None = None,
        *,
        folder: Path | None = None,
        only: Sequence[str] = (),
        device: str = "cpu",
        processes: int | None = None,
        trials: int | None = None,
        minutes: float | None = None,
    ) -> dict[str, Any]:
        """Search the parameters of the models, train and test them.

        Args:
            seeds: one training of each model; by default as many as the task says. The search uses the first, or the
                first of each fold.
            callback: called with a message, trainings done and trainings in all.
            folder: keeps the result of each training in ``searches/``, ``trials/`` and ``trainings/``, and trained
                weights in ``checkpoints/``: another run trains only what is missing. Results are used again where
                model, parameters, budget, seed and data are the same.
            only: names of models; all by default.
            device: of the training, for example "cuda"; networks are tested on the CPU.
            processes: trainings side by side, one thread each; default: the number of cores. Changes no count or
                accuracy. Inside ``joblib.parallel_config(backend="dask")`` that backend runs them.
            trials: of each search, instead of those of the task.
            minutes: after so many, no training is begun; models that are not trained with all seeds are left out.

        Returns:
            The results that :meth:`table` and :meth:`save` read; plain JSON-able values.

        Raises:
            InputError: no such model, a damaged file, no seed, ``data()`` that returns other training data at every
                call, a network whose logits are NaN in every trial, folds that are not tested equally often, no model
                that was trained in time.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from neurosparse.experiments import load_task
            >>> script = '''
            ... import torch, neurosparse as ns
            ... part = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
            ... task = ns.Task("toy", "A toy", lambda: ns.Split(part, part, part), (16,), 4, 9, 8, (0.02,))
            ... '''
            >>> with TemporaryDirectory() as folder:
            ...     _ = Path(folder, "train.py").write_text(script)
            ...     _ = Path(folder, "relu.toml").write_text('family = "relu"')
            ...     results = load_task(folder, Task).run(seeds=[0], processes=1)
            >>> results["models"][0]["accuracy"]["mean"]
            1.0
        """
        models, home = self.models(only), home_of(self)
        check_device(device)
        processes = whole("run", "processes", os.cpu_count() or 1 if processes is None else processes)
        seeds = self._seeds(seeds)
        budget = self if trials is None else replace(self, trials=trials)
        until = None if minutes is None else time.monotonic() + 60 * positive("run", "minutes", minutes)
        kept, show = None if folder is None else Path(folder), callback or (lambda message, done, total: None)
        with workers(processes) as compute:
            campaign = Campaign(budget, home, self.load(), kept, device, compute, show, until)
            campaign.total = len(models) * len(seeds)
            found = campaign.search(models, seeds)
            trained = campaign.train(models, seeds, found)
        ready = [model for model in models if model.name in trained]
        if not ready:
            fix = "Run again: what is trained is kept." if kept else "Pass a folder, and run again."
            raise InputError("run", got="no model trained with all seeds in time", expected="at least one", fix=fix)
        more = {"trials": trials, "minutes": None}
        typed = command(home, seeds, verb="compare", only=only, device=device, more=more)
        about = {"reference": self.reference, "margin": self.margin}
        missing = [model.name for model in models if model.name not in trained]
        return summarise_task(
            self._titled(budget, models, seeds), ready, seeds, found, trained, typed, missing=missing, **about
        )

    def train(
        self,
        name: str,
        seed: int = 0,
        *,
        folder: Path | None = None,
        resume: bool = False,
        device: str = "cpu",
        callback: StepCallback | None = None,
    ) -> dict[str, Any]:
        """Train one model with the task's first learning rate; the test part is not read.

        Args:
            name: of the model.
            seed: draws weights and the order of batches.
            folder: its ``checkpoints/`` holds the training while it runs, and its weights afterwards.
            resume: continue the training of the same model, budget, seed and data that is kept there, to the same
                weights bit by bit; False: replace it.
            device: of the training, for example "cuda"; there, the last bits of sums may differ between runs.
            callback: called after each step with its metrics.

        Returns:
            ``model, seed, learning_rate, validation_accuracy, seconds, steps, losses`` (one per epoch), and with
            ``folder`` the file of the trained ``weights``.

        Raises:
            InputError: no such model, a damaged file, a loss that becomes NaN or infinite.

        Example:
            >>> from neurosparse.experiments import load_task
            >>> load_task("models/digits", Task).train("relu")["validation_accuracy"] > 0.9  # doctest: +SKIP
            True
        """
        check_device(device)
        rate, checkpoints = self.learning_rates[0], _checkpoints(folder)
        (model, *others), (seed,) = self.models((name,)), check_seeds([seed])
        if others:
            got, fix = f"{1 + len(others)} models of {name}", f"Name {model.name!r}."
            raise InputError(f"task {self.name!r}", got=got, expected="one model", fix=fix)
        split = self.load()
        facts: dict[str, Any] = {"model": name, "seed": seed, "learning_rate": rate}
        if checkpoints is not None:
            path = checkpoint_path(checkpoints, model, self, split, seed, rate)
            for kept in (path, unfinished_path(path)) if not resume else ():
                kept.unlink(missing_ok=True)
            facts["weights"] = str(path)
        job = Job(self, model, seed, rate, checkpoints=checkpoints, device=device)
        result = work(job, callback, split)
        scores, found = result["validation"], result["training"]
        correct = None if scores is None else unpack(scores["correct"], result["sizes"]["validation"])
        found["validation_accuracy"] = None if correct is None else float(correct.mean())
        if found["losses"] and found["losses"][-1] is None:
            got, fix = "a loss of NaN or infinity in the last epoch", "Lower the task's first learning rate."
            raise InputError(model.where, got=got, expected="a training that does not diverge", fix=fix)
        return facts | found

    def table(self, results: dict[str, Any]) -> TextTable:
        """The results for a terminal."""
        return report.table(results)

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json`` and the page; returns the path of the page."""
        return report.save(results, folder)

    def _titled(self, budget: Task, models: Sequence[ModelConfig], seeds: Sequence[int]) -> Task:
        """The budget of a run; its title says which part of the protocol was run."""
        shares = (len(models), len(self.models()), "models"), (budget.trials, self.trials, "trials")
        shares = *shares, (len(seeds), self.seeds, "seeds")
        parts = [f"{some} of {most} {what}" for some, most, what in shares if some and most and some < most]
        return replace(budget, title=f"{self.title}: a slice, {', '.join(parts)}") if self.trials and parts else budget

    def _seeds(self, seeds: Sequence[int] | None) -> list[int]:
        """The seeds of a run; every fold that is tested has equally many.

        Raises:
            InputError: folds with different numbers of seeds.
        """
        found = check_seeds(range(self.seeds) if seeds is None else seeds)
        times = Counter(self.fold_of(seed) for seed in found)
        if len(set(times.values())) > 1:
            got = f"seeds={found} for {self.folds} folds, {min(times.values())} to {max(times.values())} each"
            fix = f"Pass range({self.folds}), or a multiple of {self.folds} seeds."
            raise InputError("run", got=got, expected="equally many seeds for each fold", fix=fix)
        return found

    def _shared(self, home: Path) -> Path | None:
        """The folder whose models the task has, too."""
        if self.shared is None:
            return None
        where, got = f"task {self.name!r}", f"shared={self.shared!r}"
        is_name = isinstance(self.shared, str) and Path(self.shared).name == self.shared
        if not is_name or self.shared in ("", "..", home.name):
            raise InputError(where, got=got, expected="the name of another folder beside the task's own")
        shared = home.parent / self.shared
        if not shared.is_dir():
            raise MissingFileError(where, got=got, expected=f"a folder {shared}")
        return shared


def _checkpoints(folder: Path | None) -> Path | None:
    return None if folder is None else Path(folder) / "checkpoints"
