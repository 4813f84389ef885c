"""Operations of one training step: forward pass, loss, backward pass and the optimizer's update."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from neurosparse.baselines import straight_through
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.meter import OperationCounts, count, record

__all__ = ["training_counts"]


class _LocalRule(nn.Module):
    """A training step as a module, of a network that learns by a rule of its own instead of backpropagation."""

    def __init__(self, config: ModelConfig, model: nn.Module):
        super().__init__()
        self.config, self.model = config, model

    def forward(self, x: Inputs, y: Tensor) -> None:
        self.config.learn(self.model, x, y)


def training_counts(
    config: ModelConfig, model: nn.Module, x: Inputs, y: Tensor, optimizer: torch.optim.Optimizer
) -> OperationCounts:
    """Operations of one training step on a batch, with the phases ``forward``, ``backward`` and ``update``.

    The step is taken: weights and the state of the optimizer change. The update is made once for a batch, so that per
    sample it takes the smaller a part the larger the batch is. Pruning, rates and checkpoints are not counted.

    A network that learns by a rule of its own (predictive coding), which calls no forward pass, takes two steps, of
    which the second is counted; all but the update is then in the phase ``forward``.

    Args:
        config: of the model.
        model: in training mode, as the training left it.
        x: a batch of prepared inputs.
        y: class of each sample.
        optimizer: of the parameters of the model.

    Returns:
        the counts; ``counts.samples`` is the size of the batch.

    Raises:
        InputError: what :func:`neurosparse.record` raises.
    """
    counts = _step(config, model, model, lambda: config.learn(model, x, y), optimizer)
    if counts is None:
        rule = _LocalRule(config, model)
        counts = _step(config, model, rule, lambda: rule(x, y), optimizer)
    assert counts is not None, "a rule is a module that was called"
    return counts


def _step(
    config: ModelConfig,
    model: nn.Module,
    recorded: nn.Module,
    learn: Callable[[], object],
    optimizer: torch.optim.Optimizer,
) -> OperationCounts | None:
    """The operations of a step; None if the recorded module was not called."""
    optimizer.zero_grad()
    aware, bits = config.compression.quantization == "qat", config.compression.bits
    with record(recorded, spiking=config.spiking, backward=True) as tape:
        with straight_through(model, bits) if aware else nullcontext():
            learn()
        optimizer.step()
    return count(tape) if tape.samples else None
