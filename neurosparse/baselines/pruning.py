"""Pruning methods as combinations of criterion, schedule, distribution, granularity and growth.

To add a method: a row of :data:`METHODS`; the contract test runs over the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurosparse.baselines.choose import choose, exchange
from neurosparse.baselines.criteria import CRITERIA
from neurosparse.baselines.distribution import DISTRIBUTIONS
from neurosparse.baselines.granularity import tile_of
from neurosparse.baselines.masks import Masks
from neurosparse.baselines.schedule import SCHEDULES, exchange_fraction, geometric_sparsity
from neurosparse.checks import number, one_of
from neurosparse.errors import InputError

__all__ = ["METHODS", "Pruning", "forget_", "pruning"]

SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg")  # names of running squares of gradients in torch's optimizers
AT_ONCE = {"synflow": 100}  # rounds in which a pruning by this criterion is made, with the scores computed anew


@dataclass(frozen=True)
class Pruning:
    """A way to prune while training; a value without state. :func:`pruning` makes the published ones by name.

    Args:
        sparsity: fraction of the weights that is pruned in the end, 0 <= sparsity < 1.
        criterion: of the weights to prune: ``"magnitude"``, ``"random"``, ``"snip"``, ``"synflow"``, ``"gradient"``.
        schedule: at the ``"start"``, ``"half"`` way, at the ``"end"``, ``"gradual"`` or ``"iterative"``.
        distribution: over layers: ``"global"``, ``"uniform"``, ``"erk"``.
        granularity: what is pruned together: ``"weight"``, ``"row"``, ``"block 4 4"``, ``"n:4"``. Rows are units:
            those of the last layer, the outputs, are kept, and the sparsity is that of the layers before.
        growth: criterion by which others replace the smallest weights every 100 steps; None: no weight is replaced.

    Raises:
        InputError: sparsity out of range, an unknown choice, growth of rows, blocks or n:m.

    Example:
        >>> import torch
        >>> model, masks, plan = nn.Linear(20, 10), None, pruning("rigl", 0.9)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> for step in range(50):
        ...     optimizer.zero_grad()
        ...     model(torch.rand(8, 20)).square().sum().backward()
        ...     old, masks = masks, plan.update(model, masks, step, 50)
        ...     forget_(optimizer, model, old, masks)
        ...     optimizer.step()
        ...     _ = masks.apply_(model)
        >>> int((model.weight != 0).sum())
        20
    """

    sparsity: float
    criterion: str = "magnitude"
    schedule: str = "gradual"
    distribution: str = "global"
    granularity: str = "weight"
    growth: str | None = None

    def __post_init__(self) -> None:
        tables = {"criterion": CRITERIA, "schedule": SCHEDULES, "distribution": DISTRIBUTIONS}
        for key, table in (tables | ({"growth": CRITERIA} if self.growth is not None else {})).items():
            one_of("Pruning", key, getattr(self, key), table)
        number("Pruning", "sparsity", self.sparsity, 0, below=1, fix="Pass 0.9 for 90 %.")
        tile = tile_of(self.granularity)
        left = (1 - self.sparsity) * tile.columns
        if tile.inside and (round(left) < 1 or abs(left - round(left)) > 1e-6):
            got, fix = f"sparsity={self.sparsity} with {self.granularity!r}", "2:4 is sparsity=0.5 with n:4."
            raise InputError("Pruning", got=got, expected="a whole number of weights kept in each group", fix=fix)
        if self.growth is not None and self.granularity != "weight":
            got, fix = f"granularity={self.granularity!r} with growth", 'Leave it at "weight".'
            raise InputError("Pruning", got=got, expected="single weights with growth", fix=fix)

    def update(
        self,
        model: nn.Module,
        masks: Masks | None,
        step: int,
        total: int,
        *,
        example: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Masks | None:
        """The masks of a training step; call it between backward and ``optimizer.step()``.

        Args:
            model: with the gradients of this step, where a criterion needs them; not changed.
            masks: of the step before; None at first.
            step: present step, from 0.
            total: steps of the training.
            example: an input, for ``"synflow"``.
            generator: of random scores.

        Returns:
            the same masks at steps without pruning, None before the first pruning.

        Raises:
            InputError: what :func:`choose` and the criterion raise.
        """
        target = SCHEDULES[self.schedule](step, total, self.sparsity)
        if target is not None:
            rounds = AT_ONCE.get(self.criterion, 1)
            for done in range(1, rounds + 1):
                scores = CRITERIA[self.criterion](model, masks, example, generator)
                if self.granularity == "row" and len(scores) > 1:
                    scores.popitem()
                sparsity = geometric_sparsity(done, rounds, target)
                where = {"distribution": self.distribution, "granularity": self.granularity}
                masks = choose(scores, sparsity, masks=masks, **where)
        if self.growth is not None and masks is not None and (fraction := exchange_fraction(step, total)):
            masks = exchange(model, masks, CRITERIA[self.growth](model, masks, example, generator), fraction)
        return masks


METHODS: dict[str, dict[str, str]] = {
    "one-shot": {"schedule": "half"},
    "one-shot-untuned": {"schedule": "end"},
    "gradual": {},
    "iterative": {"schedule": "iterative"},
    "random": {"criterion": "random", "distribution": "uniform"},
    "snip": {"criterion": "snip", "schedule": "start"},
    "synflow": {"criterion": "synflow", "schedule": "start"},
    "static": {"criterion": "random", "schedule": "start", "distribution": "erk"},
    "set": {"criterion": "random", "schedule": "start", "distribution": "erk", "growth": "random"},
    "rigl": {"criterion": "random", "schedule": "start", "distribution": "erk", "growth": "gradient"},
}
"""The published methods as choices of :class:`Pruning`; those left out have its defaults.

``one-shot`` and ``one-shot-untuned``: Han et al. (2015), with and without training afterwards; ``gradual``: Zhu & Gupta
(2017); ``iterative``: Frankle & Carbin (2019), whose training loop rewinds after each round; ``snip``: Lee et al.
(2019); ``synflow``: Tanaka et al. (2020); ``set``: Mocanu et al. (2018) at the pace of RigL; ``rigl``: Evci et al.
(2020); ``static`` and ``random`` are the controls.
"""


def pruning(method: str, sparsity: float, **choices: str) -> Pruning:
    """A published method.

    Args:
        method: a key of :data:`METHODS`.
        sparsity: fraction of the weights that is pruned in the end.
        choices: that differ from the method, such as ``granularity="n:4"``.

    Raises:
        InputError: an unknown method, and what :class:`Pruning` raises.

    Example:
        >>> pruning("snip", 0.95).criterion
        'snip'
    """
    one_of("pruning", "method", method, METHODS)
    return Pruning(sparsity, **(METHODS[method] | choices))


@torch.no_grad()
def forget_(optimizer: torch.optim.Optimizer, model: nn.Module, old: Masks | None, new: Masks | None) -> None:
    """Reset the optimizer's state of weights that have just grown; call it before its step.

    Momentum starts at 0, and a running square at the square of the gradient: from 0, Adam's first steps would be
    several times its rate, because its bias correction has decayed.

    Args:
        optimizer: changed in place; every state in the shape of its weight.
        model: whose weights it steps, with their gradients.
        old, new: masks before and after; grown weights are kept in the new ones only.

    Source: Evci et al. (2020), whose code resets the momentum of new connections.
    """
    if old is None or new is None or old is new:
        return
    for name, mask in new.keep.items():
        weight, grown = model.get_parameter(name), mask & ~old.keep[name]
        for key, state in optimizer.state[weight].items():
            if isinstance(state, Tensor) and state.shape == weight.shape:
                square = key in SQUARES and weight.grad is not None
                state[grown] = weight.grad[grown].square() if square else 0.0  # type: ignore[index]
