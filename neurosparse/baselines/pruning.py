"""One design for all pruning: what is pruned together x when x how layers share x who goes x who grows instead.

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
from neurosparse.errors import InputError

__all__ = ["METHODS", "Pruning", "forget_", "pruning"]

SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg")  # how torch's optimizers call running squares of gradients
AT_ONCE = {"synflow": 100}  # rounds in which a pruning by this criterion is made, with the scores computed anew


@dataclass(frozen=True)
class Pruning:
    """A way to prune while training; a value without state. :func:`pruning` makes the published ones by name.

    Args:
        sparsity: fraction of the weights that is pruned in the end, 0 <= sparsity < 1.
        criterion: who goes: ``"magnitude"``, ``"random"``, ``"snip"``, ``"synflow"``, ``"gradient"``.
        schedule: when: at the ``"start"``, ``"half"`` way, at the ``"end"``, ``"gradual"`` or ``"iterative"``.
        distribution: how layers share: ``"global"``, ``"uniform"``, ``"erk"``.
        granularity: what goes together: ``"weight"``, ``"row"``, ``"block 4 4"``, ``"n:4"``. Rows are units: those of
            the last layer are the answer and stay, and the sparsity is that of the layers before.
        growth: criterion by which others grow in the place of the smallest weights every 100 steps; None: nothing does.

    Raises:
        InputError: sparsity out of range, an unknown word, growth of anything but single weights.

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
            if getattr(self, key) not in table:
                got, expected = f"{key}={getattr(self, key)!r}", f"one of {', '.join(map(repr, table))}"
                raise InputError("Pruning", got=got, expected=expected)
        if not 0 <= self.sparsity < 1:
            got, fix = f"sparsity={self.sparsity}", "Pass 0.9 for 90 %."
            raise InputError("Pruning", got=got, expected="0 <= sparsity < 1", fix=fix)
        tile = tile_of(self.granularity)
        left = (1 - self.sparsity) * tile.columns
        if tile.inside and (round(left) < 1 or abs(left - round(left)) > 1e-6):
            got, fix = f"sparsity={self.sparsity} with {self.granularity!r}", "2:4 is sparsity=0.5 with n:4."
            raise InputError("Pruning", got=got, expected="a whole number of survivors in each group", fix=fix)
        if self.growth is not None and self.granularity != "weight":
            got, fix = f"granularity={self.granularity!r} with growth", 'Leave it at "weight".'
            raise InputError("Pruning", got=got, expected="single weights, where others grow", fix=fix)

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
            generator: draws what is random.

        Returns:
            the same masks where nothing is due, None as long as nothing was pruned.

        Raises:
            InputError: what :func:`choose` and the criterion raise.
        """
        wanted = SCHEDULES[self.schedule](step, total, self.sparsity)
        if wanted is not None:
            rounds = AT_ONCE.get(self.criterion, 1)
            for done in range(1, rounds + 1):
                scores = CRITERIA[self.criterion](model, masks, example, generator)
                if self.granularity == "row" and len(scores) > 1:
                    scores.popitem()
                sparsity = geometric_sparsity(done, rounds, wanted)
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
"""The published methods as choices of :class:`Pruning`, which names those left out: magnitude, gradual, global, weight.

``one-shot`` and ``one-shot-untuned``: Han et al. (2015), with and without training afterwards; ``gradual``: Zhu & Gupta
(2017); ``iterative``: Frankle & Carbin (2019), whose training loop rewinds after each round; ``snip``: Lee et al.
(2019); ``synflow``: Tanaka et al. (2020); ``set``: Mocanu et al. (2018) at the pace of RigL; ``rigl``: Evci et al.
(2020); ``static`` and ``random`` are the nulls they have to beat.
"""


def pruning(method: str, sparsity: float, **choices: str) -> Pruning:
    """A published method.

    Args:
        method: a key of :data:`METHODS`.
        sparsity: fraction of the weights that is pruned in the end.
        choices: what is to be otherwise, such as ``granularity="n:4"``.

    Raises:
        InputError: an unknown method, and what :class:`Pruning` raises.

    Example:
        >>> pruning("snip", 0.95).criterion
        'snip'
    """
    if method not in METHODS:
        raise InputError("pruning", got=repr(method), expected=f"one of {', '.join(METHODS)}", fix='Try "gradual".')
    return Pruning(sparsity, **(METHODS[method] | choices))


@torch.no_grad()
def forget_(optimizer: torch.optim.Optimizer, model: nn.Module, old: Masks | None, new: Masks | None) -> None:
    """Let the optimizer forget what it gathered for weights that have just grown; call it before its step.

    Momentum starts at 0, and a running square at the square of the gradient: from 0, Adam's first steps would be
    several times its rate, because its correction for a short past has run out.

    Args:
        optimizer: changed in place; every state in the shape of its weight.
        model: whose weights it steps, with their gradients.
        old, new: masks before and after; the grown weights live in the new ones only.

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
