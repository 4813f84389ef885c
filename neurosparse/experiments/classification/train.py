"""The training loop of all models: the same data, the same epochs, the same batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurosparse.baselines import ROUNDS, forget_, proximal_step_, straight_through
from neurosparse.errors import InputError
from neurosparse.experiments.checkpoint import load_weights, read_checkpoint, save_weights, write_checkpoint
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import SOME, Learned, ModelConfig, drawn_from
from neurosparse.experiments.classification.evaluate import scores
from neurosparse.experiments.classification.inputs import Inputs, batch_sampler, n_samples, take
from neurosparse.experiments.classification.progress import (
    Progress,
    StepCallback,
    StepMetrics,
    checkpoint_path,
    density,
    unfinished_path,
)
from neurosparse.experiments.classification.split import Split
from neurosparse.neurons.constants import Constants

__all__ = ["Trained", "accuracy", "fit"]

KEEP_EVERY = 100  # optimizer steps between two checkpoints within an epoch


@dataclass(frozen=True)
class Trained:
    """A trained network, and seconds, optimizer steps and mean loss of each epoch of its training.

    ``learner`` is the network as it was trained, before it was quantized or converted.
    """

    model: nn.Module
    learner: nn.Module
    seconds: float
    steps: int
    losses: tuple[float, ...]


def fit(
    config: ModelConfig,
    budget: Budget,
    split: Split,
    seed: int,
    learning_rate: float,
    checkpoints: Path | None = None,
    callback: StepCallback | None = None,
    device: str = "cpu",
) -> Trained:
    """Train one model by Adam with a one-cycle rate; prune during training, quantize during or after it.

    Iterative pruning trains several times; distillation trains the same network uncompressed first, as its teacher.

    Args:
        config: the model.
        budget: of the task.
        split: data; only the training part is read.
        seed: draws weights and the order of batches.
        learning_rate: peak rate.
        checkpoints: folder of trained weights, which are used again; an interrupted training continues there, and ends
            with the same weights, bit by bit.
        callback: called after each step with its metrics.
        device: of the training; on a GPU, an interrupted training ends with slightly other weights.

    Returns:
        The network in eval mode, on the CPU, seconds of training, optimizer steps and the mean loss of each epoch.

    Raises:
        InputError: fewer training samples than a batch, a damaged checkpoint.
    """
    x, y = split.train
    if len(y) < budget.batch_size:
        got, fix = f"{len(y)} training samples", "Lower the batch size."
        raise InputError(f"task {budget.name!r}", got=got, expected=f"a batch of {budget.batch_size}", fix=fix)
    with drawn_from(seed):
        model = config.network_for(split, budget.hidden, budget.classes)
    path = None if checkpoints is None else checkpoint_path(checkpoints, config, budget, split, seed, learning_rate)
    facts = None if path is None else load_weights(path, model)
    if facts is None:
        unfinished = None if path is None else unfinished_path(path)
        teacher = None
        if config.distillation:
            options = (split, seed, learning_rate, checkpoints, callback, device)
            teacher = fit(config.uncompressed, budget, *options).model
        model.to(device)
        facts = _train(model, teacher, config, budget, split, seed, learning_rate, unfinished, callback)
        model.cpu()
        if path is not None:
            save_weights(path, model, facts)
            unfinished_path(path).unlink(missing_ok=True)
    model.eval()
    some = config.prepare(take(x, torch.arange(min(SOME, len(y)))))
    return Trained(config.finish(model, some).eval(), model, facts["seconds"], facts["steps"], tuple(facts["losses"]))


def _train(
    model: nn.Module,
    teacher: nn.Module | None,
    config: ModelConfig,
    budget: Budget,
    split: Split,
    seed: int,
    learning_rate: float,
    unfinished: Path | None,
    callback: StepCallback | None,
) -> dict[str, Any]:
    x, y = split.train
    device = next(model.parameters()).device
    batch_of, per_epoch = _reader(x, config, budget), len(y) // budget.batch_size
    once, plan = per_epoch * budget.epochs * config.epoch_factor, config.compression.plan
    total = once * (ROUNDS if plan is not None and plan.schedule == "iterative" else 1)
    start = {name: part.clone() for name, part in model.state_dict().items()} if total > once else {}
    pair = _optimizer(model, learning_rate, budget.weight_decay, once)
    now = Progress(model, *pair, torch.Generator().manual_seed(seed))
    model.train()
    if teacher is not None:
        teacher.to(device)
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)  # for the draws of layers during training
        if unfinished is not None and (found := read_checkpoint(unfinished)) is not None:
            now.load_state_dict(*found)
        report = None if callback is None else _reporter(callback, now.step, per_epoch, total)
        while now.step < total:
            started, position = time.perf_counter(), now.step % per_epoch
            if now.step and now.step % once == 0:  # the lottery ticket: back to the first weights, less those pruned
                model.load_state_dict(start)
                assert now.masks is not None
                now.masks.apply_(model)
                now.optimizer, now.schedule = _optimizer(model, learning_rate, budget.weight_decay, once)
            if position == 0:
                now.order, now.running = torch.randperm(len(y), generator=now.generator), 0.0
            batch = now.order[position * budget.batch_size :][: budget.batch_size]
            given, labels = batch_of(batch, now.generator).to(device), y[batch].to(device)
            learned = _step(now, given, labels, config, total, teacher)
            if position == per_epoch - 1:
                now.losses.append(now.running / per_epoch)
            now.seconds += time.perf_counter() - started
            if report is not None:
                report(learned, labels)
            if unfinished is not None and (position == per_epoch - 1 or now.step % KEEP_EVERY == 0):
                write_checkpoint(unfinished, *now.state_dict())
    return {"seconds": now.seconds, "steps": now.step, "losses": now.losses}


def _step(now: Progress, x: Inputs, y: Tensor, config: ModelConfig, total: int, teacher: nn.Module | None) -> Learned:
    """One batch: gradients, masks, weights, rate, decays in range."""
    compression = config.compression
    now.optimizer.zero_grad()
    aware = compression.quantization == "qat"
    with straight_through(now.model, compression.bits) if aware else nullcontext():
        learned = config.learn(now.model, x, y, teacher)
    old, rate = now.masks, now.optimizer.param_groups[0]["lr"]
    if (plan := compression.plan) is not None:
        example, draws = x if isinstance(x, Tensor) else None, torch.default_generator
        now.masks = plan.update(now.model, old, now.step, total, example=example, generator=draws)
        forget_(now.optimizer, now.model, old, now.masks)
    now.optimizer.step()
    now.schedule.step()
    _clamp_constants(now.model)
    if now.masks is not None:
        now.masks.apply_(now.model)
    elif compression.lasso:
        proximal_step_(now.model, rate * compression.lasso, compression.granularity)
    now.running += learned.loss
    now.step += 1
    return learned


@torch.no_grad()
def _clamp_constants(model: nn.Module) -> None:
    """Learned decays and thresholds of neurons stay in their ranges."""
    for module in model.modules():
        for name, limits in module.ranges.items() if isinstance(module, Constants) else ():
            if isinstance(value := getattr(module, name), nn.Parameter):
                value.clamp_(*limits.bounds(value.dtype))


def _reporter(callback: StepCallback, step: int, per_epoch: int, total: int) -> Callable[[Learned, Tensor], None]:
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
        accuracy = sum(hits) / len(hits) if hits else None
        epoch, loss = (step - 1) // per_epoch + 1, sum(losses) / len(losses)
        callback(StepMetrics(step, total, epoch, loss, accuracy, density(learned)))

    return report


def _reader(x: Inputs, config: ModelConfig, budget: Budget) -> Callable[[Tensor, torch.Generator], Inputs]:
    """Batches as the network reads them; augmentation is applied to the data before that."""
    augment = budget.augment
    if augment is not None:
        sample = batch_sampler(x)
        return lambda batch, generator: config.prepare(augment(sample(batch), generator))
    sample = batch_sampler(config.prepare(x))
    return lambda batch, _: sample(batch)


def _optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam, or AdamW with decay of all weights but biases and membrane decays; and its rate over one training."""
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
    """Share of samples whose largest logit is the label; logits with NaN have no largest one."""
    x, y = data
    batches = torch.arange(n_samples(x)).split(batch_size)
    hits = 0
    for batch in batches:
        logits = scores(model(take(x, batch)), len(batch), "accuracy")
        hits += int(((logits.argmax(-1) == y[batch]) & ~logits.isnan().any(-1)).sum())
    return hits / len(y)
