"""One training loop for every contestant: same data, same epochs, same batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.baselines import ROUNDS, forget_, proximal_step_, quantise, straight_through
from neurosparse.errors import InputError
from neurosparse.experiments.checkpoint import load_weights, read_checkpoint, save_weights, write_checkpoint
from neurosparse.experiments.classification.contestant import Contestant
from neurosparse.experiments.classification.inputs import Inputs, dealer, n_samples, prepare, take, units_of
from neurosparse.experiments.classification.networks import Learned, build, keep_in_range, learn
from neurosparse.experiments.classification.progress import Progress, Seen, Watch, activity, freeze, thaw
from neurosparse.experiments.classification.task import Split, Task
from neurosparse.experiments.classification.weights import checkpoint_path, unfinished_path

__all__ = ["Trained", "accuracy", "fit"]

KEEP_EVERY = 100  # optimizer steps between two checkpoints within an epoch


@dataclass(frozen=True)
class Trained:
    """A trained network and what its training took."""

    model: nn.Module
    seconds: float
    steps: int
    losses: tuple[float, ...]


def fit(
    contestant: Contestant,
    task: Task,
    split: Split,
    seed: int,
    learning_rate: float,
    checkpoints: Path | None = None,
    watch: Watch | None = None,
    device: str = "cpu",
) -> Trained:
    """Train one contestant with Adam and a one-cycle rate; prune on the way, quantise at the end or on the way.

    Iterative pruning trains several times; distillation trains the same network uncompressed first, as its teacher.

    Args:
        contestant: what to train.
        task: the common budget.
        split: data; only the training part is read.
        seed: draws weights and the order of batches.
        learning_rate: peak rate.
        checkpoints: folder in which trained weights are kept and found again; a training that was interrupted goes on
            there where it was, and ends with the same weights, bit by bit.
        watch: called after each step with what a progress bar shows.
        device: where it is trained; on a GPU, an interrupted training ends with slightly other weights.

    Returns:
        The network in eval mode, on the CPU, seconds of training, optimizer steps and the mean loss of each epoch.

    Raises:
        InputError: fewer training samples than a batch, a damaged checkpoint.
    """
    x, y = split.train
    if len(y) < task.batch_size:
        got, fix = f"{len(y)} training samples", "Lower the batch size."
        raise InputError(f"task {task.name!r}", got=got, expected=f"a batch of {task.batch_size}", fix=fix)
    units = units_of(prepare(take(x, torch.arange(1)), contestant))
    model = build(contestant, units, task.hidden, task.classes, seed)
    path = None if checkpoints is None else checkpoint_path(checkpoints, contestant, task, seed, learning_rate)
    facts = None if path is None else load_weights(path, model)
    if facts is None:
        unfinished = None if path is None else unfinished_path(path)
        teacher = None
        if contestant.distillation:
            teacher = fit(contestant.uncompressed, task, split, seed, learning_rate, checkpoints, watch, device).model
        model.to(device)
        facts = _train(model, teacher, contestant, task, split, seed, learning_rate, unfinished, watch)
        model.cpu()
        if path is not None:
            save_weights(path, model, facts)
            unfinished_path(path).unlink(missing_ok=True)
    model.eval()
    if contestant.bits < 32:
        some = prepare(take(x, torch.arange(min(512, len(y)))), contestant)
        model = quantise(model, bits=contestant.bits, calibration=some).eval()
    return Trained(model, facts["seconds"], facts["steps"], tuple(facts["losses"]))


def _train(
    model: nn.Module,
    teacher: nn.Module | None,
    contestant: Contestant,
    task: Task,
    split: Split,
    seed: int,
    learning_rate: float,
    unfinished: Path | None,
    watch: Watch | None,
) -> dict[str, Any]:
    x, y = split.train
    device = next(model.parameters()).device
    batch_of, per_epoch = _reader(x, contestant, task), len(y) // task.batch_size
    once, plan = per_epoch * task.epochs * contestant.longer, contestant.plan
    total = once * (ROUNDS if plan is not None and plan.schedule == "iterative" else 1)
    start = {name: part.clone() for name, part in model.state_dict().items()} if total > once else {}
    pair = _optimizer(model, learning_rate, task.weight_decay, once)
    now = Progress(model, *pair, torch.Generator().manual_seed(seed))
    model.train()
    if teacher is not None:
        teacher.to(device)
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)  # what layers draw while they train
        if unfinished is not None and (found := read_checkpoint(unfinished)) is not None:
            thaw(now, *found)
        report = None if watch is None else _reporter(watch, now.step, per_epoch, total)
        while now.step < total:
            started, position = time.perf_counter(), now.step % per_epoch
            if now.step and now.step % once == 0:  # the lottery ticket: back to the first weights, less those pruned
                model.load_state_dict(start)
                assert now.masks is not None
                now.masks.apply_(model)
                now.optimizer, now.schedule = _optimizer(model, learning_rate, task.weight_decay, once)
            if position == 0:
                now.order, now.running = torch.randperm(len(y), generator=now.generator), 0.0
            batch = now.order[position * task.batch_size :][: task.batch_size]
            given, labels = batch_of(batch, now.generator).to(device), y[batch].to(device)
            learned = _step(now, given, labels, contestant, total, teacher)
            if position == per_epoch - 1:
                now.losses.append(now.running / per_epoch)
            now.seconds += time.perf_counter() - started
            if report is not None:
                report(learned, labels)
            if unfinished is not None and (position == per_epoch - 1 or now.step % KEEP_EVERY == 0):
                write_checkpoint(unfinished, *freeze(now))
    return {"seconds": now.seconds, "steps": now.step, "losses": now.losses}


def _step(
    now: Progress, x: Inputs, y: Tensor, contestant: Contestant, total: int, teacher: nn.Module | None
) -> Learned:
    """One batch: gradients, masks, weights, rate, decays in range."""
    now.optimizer.zero_grad()
    with straight_through(now.model, contestant.bits) if contestant.quantised == "training" else nullcontext():
        learned = learn(now.model, x, y, contestant, teacher)
    old, rate = now.masks, now.optimizer.param_groups[0]["lr"]
    if contestant.plan is not None:
        example, draws = x if isinstance(x, Tensor) else None, torch.default_generator
        now.masks = contestant.plan.update(now.model, old, now.step, total, example=example, generator=draws)
        forget_(now.optimizer, now.model, old, now.masks)
    now.optimizer.step()
    now.schedule.step()
    keep_in_range(now.model)
    if now.masks is not None:
        now.masks.apply_(now.model)
    elif contestant.lasso:
        proximal_step_(now.model, rate * contestant.lasso, contestant.granularity)
    now.running += learned.loss
    now.step += 1
    return learned


def _reporter(watch: Watch, step: int, per_epoch: int, total: int) -> Callable[[Learned, Tensor], None]:
    """Means over the epoch so far, from the step at which this process began."""
    losses: list[float] = []
    hits: list[float] = []

    def report(learned: Learned, y: Tensor) -> None:
        nonlocal step
        if step % per_epoch == 0:
            losses.clear()
            hits.clear()
        step += 1
        losses.append(learned.loss)
        if learned.logits is not None:
            hits.append(float((learned.logits.argmax(-1) == y).float().mean()))
        epoch, accuracy = -(-step // per_epoch), sum(hits) / len(hits) if hits else None
        watch(Seen(step, total, epoch, sum(losses) / len(losses), accuracy, activity(learned)))

    return report


def _reader(x: Inputs, contestant: Contestant, task: Task) -> Callable[[Tensor, torch.Generator], Inputs]:
    """Batches as the network reads them; augmentation works on the data as they are."""
    augment = task.augment
    if augment is not None:
        deal = dealer(x)
        return lambda batch, generator: prepare(augment(deal(batch), generator), contestant)
    deal = dealer(prepare(x, contestant))
    return lambda batch, _: deal(batch)


def _optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam; with decay on everything that multiplies, AdamW; and its rate over one training."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not weight_decay:
        optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters.values(), lr=learning_rate)
    else:
        weights = [p for name, p in parameters.items() if name.endswith("weight") and p.dim() > 1]
        others = [p for p in parameters.values() if not any(p is weight for weight in weights)]
        groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)


@torch.no_grad()
def accuracy(model: nn.Module, data: tuple[Inputs, Tensor], batch_size: int = 250) -> float:
    """Share of samples whose largest logit is the label."""
    x, y = data
    batches = torch.arange(n_samples(x)).split(batch_size)
    return sum(int((model(take(x, batch)).argmax(-1) == y[batch]).sum()) for batch in batches) / len(y)
