"""Search of parameters: seeded random trials with successive halving, chosen on validation data.

Every model has the same number of trials, over its own parameters (``ModelConfig.space``) and the learning rate. All
trials train for a ninth of the epochs; the best third of them for a third, and the best third of those for all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.space import LogUniform, draw

__all__ = ["Trial", "best_first", "chosen", "rungs", "trials_of"]

THIRD = 3
"""One trial of so many survives, and trains so many times longer."""


@dataclass(frozen=True)
class Trial:
    """Parameters of a model to try: those of its family that its file leaves open, and the learning rate."""

    learning_rate: float
    parameters: Mapping[str, Any]

    def applied(self, config: ModelConfig) -> ModelConfig:
        """The model with these parameters."""
        return config.with_parameters(self.parameters)


def trials_of(config: ModelConfig, budget: Budget, seed: int) -> list[Trial]:
    """The trials of a model: its defaults at each learning rate, or so many random draws as the budget has trials.

    Of random draws the first has the family's defaults at the first learning rate. Rates are log-uniform between the
    lowest and the highest one of the task.

    Example:
        >>> from neurosparse.experiments import make_model
        >>> toy = Budget("toy", "A toy", None, (8,), 2, 1, 3, (0.01, 0.1))
        >>> [trial.learning_rate for trial in trials_of(make_model("a", family="relu"), toy, 0)]
        [0.01, 0.1]
    """
    if budget.trials is None:
        return [Trial(rate, {}) for rate in budget.learning_rates]
    generator = random.Random(seed)
    rates = LogUniform(min(budget.learning_rates), max(budget.learning_rates))
    first = Trial(budget.learning_rates[0], {})
    drawn = (Trial(rates.draw(generator), draw(config.searchable, generator)) for _ in range(budget.trials - 1))
    return [first, *drawn]


def rungs(trials: int, budget: Budget) -> list[tuple[int, Budget]]:
    """How many trials train at each rung of successive halving, and their budget.

    Example:
        >>> toy = Budget("toy", "A toy", None, (8,), 2, 30, 3, (0.01,), trials=30)
        >>> [(count, budget.epochs) for count, budget in rungs(30, toy)]
        [(30, 3), (10, 10), (3, 30)]
    """
    if budget.trials is None:
        return [(trials, budget)]
    counts: dict[int, int] = {}
    for share in (THIRD**2, THIRD, 1):
        counts.setdefault(max(1, budget.epochs // share), max(1, round(trials * share / THIRD**2)))
    return [(count, replace(budget, epochs=epochs)) for epochs, count in counts.items()]


def best_first(results: Sequence[Mapping[str, Any] | None]) -> list[int]:
    """Numbers of the trials by falling validation accuracy; equal ones by rising energy, then in their order."""
    return sorted(range(len(results)), key=lambda i: (-_accuracy(results[i]), _energy(results[i])))


def chosen(results: Sequence[Mapping[str, Any] | None]) -> int | None:
    """The trial with the least energy among those as accurate as the best one, as far as validation data tell.

    A trial is as accurate if it loses at most one standard error of its paired difference from the best one. None: all
    trainings have diverged.

    Args:
        results: ``correct`` (of each validation sample) and ``energy`` in joules; None of a training that diverged.

    Example:
        >>> right, wrong = np.ones(100), np.r_[np.zeros(1), np.ones(99)]
        >>> chosen([{"correct": right, "energy": 2.0}, {"correct": wrong, "energy": 1.0}])
        1
        >>> chosen([{"correct": right, "energy": 2.0}, {"correct": 1 - right, "energy": 1.0}])
        0
    """
    known = [i for i in best_first(results) if results[i] is not None]
    if not known:
        return None
    best = np.asarray(results[known[0]]["correct"], float)  # type: ignore[index]

    def as_accurate(i: int) -> bool:
        difference = best - np.asarray(results[i]["correct"], float)  # type: ignore[index]
        error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
        return difference.mean() <= error * (1 + 1e-9)

    return min((i for i in known if as_accurate(i)), key=lambda i: (_energy(results[i]), -_accuracy(results[i])))


def _accuracy(result: Mapping[str, Any] | None) -> float:
    return -1.0 if result is None else float(np.mean(result["correct"]))


def _energy(result: Mapping[str, Any] | None) -> float:
    energy = None if result is None else result["energy"]
    return math.inf if energy is None else energy
