"""A training in progress: its state as tensors and plain facts, its metrics, and the names of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurosparse.baselines import Masks
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, data_rows
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import Learned, ModelConfig, drawn_from
from neurosparse.experiments.classification.inputs import take
from neurosparse.experiments.classification.split import Split, fingerprint

__all__ = ["Progress", "StepCallback", "StepMetrics", "checkpoint_path", "density", "facts_of", "unfinished_path"]


def checkpoint_path(
    folder: Path, config: ModelConfig, budget: Budget, split: Split, seed: int, learning_rate: float
) -> Path:
    """The file of trained weights. Its name changes with all that training depends on but the package's own code.

    Training data count by their content, an augmentation by its effect on the first batch.
    """
    text = json.dumps([config.training_settings, facts_of(budget, split), seed, learning_rate], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def facts_of(budget: Budget, split: Split) -> list[Any]:
    """Plain facts of a budget and its training data that decide how a training ends."""
    facts: list[Any] = [budget.name, budget.hidden, budget.classes, budget.epochs, budget.batch_size]
    facts += [budget.weight_decay, split.fingerprint]
    if budget.augment is not None:
        with drawn_from(0):
            first = take(split.train[0], torch.arange(budget.batch_size))
            facts.append(fingerprint(budget.augment(first, torch.Generator().manual_seed(0))))
    return facts


def unfinished_path(path: Path) -> Path:
    """The file of a training that is not finished yet."""
    return path.with_suffix(".unfinished")


@dataclass
class Progress:
    """Network, optimizer and schedule, the order of this epoch's samples, and the step.

    Args:
        model, optimizer, schedule: they change with each step.
        generator: draws the order of samples, and augments them.
        order: samples of this epoch.
        step: optimizer steps so far.
        running: sum of this epoch's losses.
        losses: mean loss of each epoch before.
        seconds: of training so far.
        masks: pruned weights, where there are any.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    step: int = 0
    running: float = 0.0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    masks: Masks | None = None

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able facts, torch's global generator among them, that determine every later step."""
        tensors = {f"model.{name}": part for name, part in self.model.state_dict().items()}
        optimizer = self.optimizer.state_dict()
        for parameter, state in optimizer["state"].items():
            tensors |= {f"optimizer.{parameter}.{name}": part for name, part in state.items()}
        if self.masks is not None:
            tensors |= {f"mask.{name}": part for name, part in self.masks.keep.items()}
        tensors |= {"order": self.order, "generator": self.generator.get_state(), "torch": torch.get_rng_state()}
        facts = {name: getattr(self, name) for name in ("step", "running", "losses", "seconds")}
        return tensors, facts | {"groups": optimizer["param_groups"], "schedule": self.schedule.state_dict()}

    def load_state_dict(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`, bit by bit; sets torch's global generator, too.

        Raises:
            InputError: the state of another network.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "mask": {}}
        for name, part in tensors.items():
            kind, _, rest = name.partition(".")
            if kind in parts and rest:
                parts[kind][rest] = part
        state: dict[int, dict[str, Tensor]] = {}
        for name, part in parts["optimizer"].items():
            parameter, _, key = name.partition(".")
            state.setdefault(int(parameter), {})[key] = part
        groups = [group | {"betas": tuple(group["betas"])} for group in facts["groups"]]
        try:
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (RuntimeError, ValueError) as error:
            got, fix = f"the state of another network: {error}", "Delete it to train anew."
            raise InputError("checkpoint", got=got, expected="that of this model", fix=fix) from error
        self.schedule.load_state_dict(facts["schedule"])
        self.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch"])
        self.order, self.masks = tensors["order"], Masks(parts["mask"]) if parts["mask"] else None
        for name in ("step", "running", "losses", "seconds"):
            setattr(self, name, facts[name])


class StepMetrics(NamedTuple):
    """Metrics after one step: mean loss and accuracy of the epoch so far, density of the hidden activity."""

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float | None
    density: float | None


StepCallback = Callable[[StepMetrics], None]


def density(learned: Learned) -> float | None:
    """Share of hidden activations that are not 0, the mean over layers; None without hidden layers."""
    shares = [
        layer.density if isinstance(layer, EventTensor) else float((data_rows(layer) != 0).float().mean())
        for layer in learned.hidden
    ]
    return sum(shares) / len(shares) if shares else None
