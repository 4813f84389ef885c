"""A training on its way: everything its next step depends on, frozen to tensors and plain facts and thawed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neurosparse.baselines import Masks
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.networks import Learned

__all__ = ["Progress", "Seen", "Watch", "activity", "freeze", "thaw"]


@dataclass
class Progress:
    """Network, optimizer and schedule, the order of this epoch's samples, and how far it has come.

    Args:
        model, optimizer, schedule: what changes with each step.
        generator: draws the order of samples and augments them.
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


def freeze(progress: Progress) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON-able facts from which :func:`thaw` makes the same progress, bit by bit."""
    tensors = {f"model.{name}": part for name, part in progress.model.state_dict().items()}
    optimizer = progress.optimizer.state_dict()
    for parameter, state in optimizer["state"].items():
        tensors |= {f"optimizer.{parameter}.{name}": part for name, part in state.items()}
    if progress.masks is not None:
        tensors |= {f"mask.{name}": part for name, part in progress.masks.keep.items()}
    tensors |= {"order": progress.order, "generator": progress.generator.get_state(), "torch": torch.get_rng_state()}
    facts = {name: getattr(progress, name) for name in ("step", "running", "losses", "seconds")}
    schedule = progress.schedule.state_dict()
    return tensors, facts | {"groups": optimizer["param_groups"], "schedule": schedule}


def thaw(progress: Progress, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Bring a fresh training to where another was frozen; torch's global generator, too.

    Raises:
        InputError: the parts of another network.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "mask": {}}
    for name, part in tensors.items():
        room, _, rest = name.partition(".")
        if room in parts and rest:
            parts[room][rest] = part
    state: dict[int, dict[str, Tensor]] = {}
    for name, part in parts["optimizer"].items():
        parameter, _, key = name.partition(".")
        state.setdefault(int(parameter), {})[key] = part
    groups = [group | {"betas": tuple(group["betas"])} for group in facts["groups"]]
    try:
        progress.model.load_state_dict(parts["model"])
        progress.optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        got, fix = f"the parts of another network: {error}", "Delete it to train anew."
        raise InputError("checkpoint", got=got, expected="those of this contestant", fix=fix) from error
    progress.schedule.load_state_dict(facts["schedule"])
    progress.generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["torch"])
    progress.order, progress.masks = tensors["order"], Masks(parts["mask"]) if parts["mask"] else None
    for name in ("step", "running", "losses", "seconds"):
        setattr(progress, name, facts[name])


class Seen(NamedTuple):
    """One step as a progress bar shows it: mean loss and accuracy of the epoch so far, density of hidden activity."""

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float | None
    density: float | None


Watch = Callable[[Seen], None]


def activity(learned: Learned) -> float | None:
    """Share of hidden cells that are not silent, the mean over layers; None where there are none."""
    shares = [
        layer.density if isinstance(layer, EventTensor) else float((layer != 0).float().mean())
        for layer in learned.hidden
    ]
    return sum(shares) / len(shares) if shares else None
