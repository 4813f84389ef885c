"""One training loop for every contestant: same data, same epochs, same batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.baselines import Masks, cubic_sparsity, magnitude_masks, quantise
from neurosparse.contest.checkpoint import checkpoint_path, keep, restore
from neurosparse.contest.contestant import Contestant
from neurosparse.contest.inputs import Inputs, n_samples, prepare, take, units_of
from neurosparse.contest.networks import build, keep_in_range, learn
from neurosparse.contest.task import Split, Task
from neurosparse.errors import InputError

__all__ = ["Trained", "accuracy", "fit"]

PRUNE_EVERY = 10  # optimizer steps between two looks at the magnitudes


@dataclass(frozen=True)
class Trained:
    """A trained network and what its training took."""

    model: nn.Module
    seconds: float
    steps: int
    losses: tuple[float, ...]


def fit(
    contestant: Contestant, task: Task, split: Split, seed: int, learning_rate: float, checkpoints: Path | None = None
) -> Trained:
    """Train one contestant with Adam and a one-cycle rate; prune gradually on the way, quantise at the end.

    Args:
        contestant: what to train.
        task: the common budget.
        split: data; only the training part is read.
        seed: draws weights and the order of batches.
        learning_rate: peak rate.
        checkpoints: folder in which trained weights are kept and found again.

    Returns:
        The network in eval mode, seconds of training, optimizer steps and the mean loss of each epoch.

    Raises:
        InputError: fewer training samples than a batch.
    """
    x, y = split.train
    if len(y) < task.batch_size:
        got, fix = f"{len(y)} training samples", "Lower the batch size."
        raise InputError(f"task {task.name!r}", got=got, expected=f"a batch of {task.batch_size}", fix=fix)
    units = units_of(prepare(take(x, torch.arange(1)), contestant))
    model = build(contestant, units, task.hidden, task.classes, seed)
    path = None if checkpoints is None else checkpoint_path(checkpoints, contestant, task, seed, learning_rate)
    facts = None if path is None else restore(path, model)
    if facts is None:
        facts = _train(model, contestant, task, split, seed, learning_rate)
        if path is not None:
            keep(path, model, facts)
    model.eval()
    if contestant.bits < 32:
        some = prepare(take(x, torch.arange(min(512, len(y)))), contestant)
        model = quantise(model, bits=contestant.bits, calibration=some).eval()
    return Trained(model, facts["seconds"], facts["steps"], tuple(facts["losses"]))


def _train(
    model: nn.Module, contestant: Contestant, task: Task, split: Split, seed: int, learning_rate: float
) -> dict[str, Any]:
    x, y = split.train
    batch_of = _reader(x, contestant, task)
    optimizer = _optimizer(model, learning_rate, task.weight_decay)
    per_epoch = len(y) // task.batch_size
    total = per_epoch * task.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=total)
    generator = torch.Generator().manual_seed(seed)
    started, step, losses, masks = time.perf_counter(), 0, [], None
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what layers draw while they train
        for _ in range(task.epochs):
            order = torch.randperm(len(y), generator=generator)
            running = 0.0
            for batch in order[: per_epoch * task.batch_size].view(per_epoch, task.batch_size).unbind(0):
                optimizer.zero_grad()
                running += learn(model, batch_of(batch, generator), y[batch], contestant).loss
                optimizer.step()
                schedule.step()
                keep_in_range(model)
                if contestant.pruned:
                    masks = _masks(model, masks, contestant.pruned, step, total)
                    masks.apply_(model)
                step += 1
            losses.append(running / per_epoch)
    return {"seconds": time.perf_counter() - started, "steps": step, "losses": losses}


def _reader(x: Inputs, contestant: Contestant, task: Task) -> Callable[[Tensor, torch.Generator], Inputs]:
    """Batches as the network reads them; augmentation works on the data as they are."""
    augment = task.augment
    if augment is not None:
        return lambda batch, generator: prepare(augment(take(x, batch), generator), contestant)
    ready = prepare(x, contestant)
    return lambda batch, _: take(ready, batch)


def _optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Adam; with decay on everything that multiplies, AdamW."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not weight_decay:
        return torch.optim.Adam(parameters.values(), lr=learning_rate)
    weights = [p for name, p in parameters.items() if name.endswith("weight") and p.dim() > 1]
    others = [p for p in parameters.values() if not any(p is weight for weight in weights)]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _masks(model: nn.Module, masks: Masks | None, sparsity: float, step: int, total: int) -> Masks:
    """Prune from a quarter to three quarters of training (Zhu & Gupta 2017); the last quarter recovers."""
    start, end, last = total // 4, max(3 * total // 4, 1), step == total - 1
    due = step < end + PRUNE_EVERY and (step % PRUNE_EVERY == 0 or last)
    if masks is not None and not due:
        return masks
    # However short a training is, its last step completes the pruning.
    return magnitude_masks(model, sparsity if last else cubic_sparsity(step, start, end, sparsity))


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Inputs, Tensor], batch_size: int = 250) -> float:
    """Share of samples whose largest logit is the label."""
    x, y = data
    batches = torch.arange(n_samples(x)).split(batch_size)
    return sum(int((model(take(x, batch)).argmax(-1) == y[batch]).sum()) for batch in batches) / len(y)
