"""Classification tasks: every model of a folder is tuned, trained and tested under one budget, and compared."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosparse import report
from neurosparse.checks import whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.progress import StepCallback, checkpoint_path, unfinished_path
from neurosparse.experiments.classification.run import Job, check_device, work, workers
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
        learning_rates: one tuning trial each, chosen on validation data with the first seed.
        augment: changes the inputs of a training batch with a seeded generator; they keep their shape.
        weight_decay: of AdamW, on weights but not on biases and decays; 0: Adam.
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

    shared: str | None = None
    home: Path | None = None

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
        seeds: Sequence[int] = (0, 1, 2),
        callback: Callback | None = None,
        *,
        folder: Path | None = None,
        only: Sequence[str] = (),
        device: str = "cpu",
        processes: int | None = None,
    ) -> dict[str, Any]:
        """Tune, train and test the models.

        Args:
            seeds: one training of each model; tuning uses the first.
            callback: called with a message, trainings done and trainings in all.
            folder: its ``checkpoints/`` holds the trained weights, so that an interrupted run continues where it
                stopped. Weights are used again where model, budget, seed and training data are the same.
            only: names of models; all by default.
            device: of the training, for example "cuda"; networks are tested on the CPU.
            processes: trainings side by side, one thread each; default: the number of cores. Changes no count or
                accuracy.

        Returns:
            The results that :meth:`table` and :meth:`save` read; plain JSON-able values.

        Raises:
            InputError: no such model, a damaged file, no seed, ``data()`` that returns other training data at every
                call, a network whose logits are NaN with every learning rate.

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
        models, home, checkpoints = self.models(only), home_of(self), _checkpoints(folder)
        check_device(device)
        processes = whole("run", "processes", os.cpu_count() or 1 if processes is None else processes)
        seeds = check_seeds(seeds)
        # Quantized models share the weights of those in full precision: behind those, they find them trained.
        queue = sorted(models, key=lambda model: -model.compression.bits)
        where: tuple[Path | None, str] = (checkpoints, device)
        trials = [Job(self, model, seeds[0], rate, False, *where) for model in queue for rate in self.learning_rates]
        total = len(trials) + len(queue) * len(seeds)
        tuned: dict[str, list[dict[str, float]]] = {model.name: [] for model in models}
        outcomes: dict[str, list[dict[str, Any]]] = {model.name: [] for model in models}
        show, data = callback or (lambda message, done, total: None), set()
        with workers(processes) as compute:
            for done, (job, result) in enumerate(zip(trials, compute(trials), strict=True), 1):
                trial = {"learning_rate": job.learning_rate, "validation_accuracy": result["validation_accuracy"]}
                tuned[job.config.name].append(trial)
                data.add(result["data"])
                self._refuse_other(data)
                show(f"tuning {job.config.name}", done, total)
            best = {name: max(rows, key=lambda row: row["validation_accuracy"]) for name, rows in tuned.items()}
            rates = {name: row["learning_rate"] for name, row in best.items()}
            finals = [Job(self, model, seed, rates[model.name], True, *where) for model in queue for seed in seeds]
            for done, (job, result) in enumerate(zip(finals, compute(finals), strict=True), len(trials) + 1):
                outcomes[job.config.name].append(result)
                data.add(result["data"])
                self._refuse_other(data)
                show(f"training {job.config.name}, seed {job.seed}", done, total)
        typed = command(home, seeds, verb="compare", only=only, device=device)
        return summarise_task(self, models, list(seeds), tuned, outcomes, typed)

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
        (model,), (seed,) = self.models((name,)), check_seeds([seed])
        split = self.load()
        facts: dict[str, Any] = {"model": name, "seed": seed, "learning_rate": rate}
        if checkpoints is not None:
            path = checkpoint_path(checkpoints, model, self, split, seed, rate)
            for kept in (path, unfinished_path(path)) if not resume else ():
                kept.unlink(missing_ok=True)
            facts["weights"] = str(path)
        found = work(Job(self, model, seed, rate, False, checkpoints, device), callback, split)
        del found["data"]
        if found["losses"] and not math.isfinite(found["losses"][-1]):
            got, fix = f"a loss of {found['losses'][-1]} in the last epoch", "Lower the task's first learning rate."
            raise InputError(model.where, got=got, expected="a training that does not diverge", fix=fix)
        return facts | found

    def table(self, results: dict[str, Any]) -> TextTable:
        """The results for a terminal."""
        return report.table(results)

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json`` and the page; returns the path of the page."""
        return report.save(results, folder)

    def _refuse_other(self, data: set[str]) -> None:
        """Refuse data that differ from one training to the next: their accuracies cannot be compared."""
        if len(data) > 1:
            got, fix = "data() with other training data at another call", "Seed its random draws."
            raise InputError(f"task {self.name!r}", got=got, expected="the same data at every call", fix=fix)

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
