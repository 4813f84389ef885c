"""Pruning schedules: sparsity as a function of the training step.

To add one: a function ``(step, total, final) -> sparsity | None`` in :data:`SCHEDULES`, None where nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from neurosparse.checks import number, whole

__all__ = ["ROUNDS", "SCHEDULES", "cubic_sparsity", "exchange_fraction", "geometric_sparsity"]

EVERY = 10  # steps between two prunings of the gradual schedule
ROUNDS = 5
"""Trainings of the iterative schedule; between them it prunes and rewinds."""


def cubic_sparsity(step: int, start: int, end: int, final: float, initial: float = 0.0) -> float:
    """The gradual schedule ``s = final + (initial - final) (1 - (step - start) / (end - start))^3``, constant outside.

    Args:
        step: present training step.
        start, end: steps at which pruning begins and is complete.
        final: sparsity from ``end`` on.
        initial: sparsity up to ``start``.

    Raises:
        InputError: unless ``start < end`` and both sparsities are in [0, 1).

    Example:
        >>> [round(cubic_sparsity(step, 0, 100, 0.9), 3) for step in (0, 50, 100, 200)]
        [0.0, 0.787, 0.9, 0.9]

    Source: Zhu & Gupta (2017), "To prune, or not to prune", equation 1.
    """
    number("cubic_sparsity", "end", end, above=number("cubic_sparsity", "start", start), fix="End after the start.")
    initial = number("cubic_sparsity", "initial", initial, 0, below=1)
    final = number("cubic_sparsity", "final", final, 0, below=1, fix="Pass final=0.9.")
    left = 1 - min(max((step - start) / (end - start), 0.0), 1.0)
    return final + (initial - final) * left**3


def geometric_sparsity(done: int, rounds: int, final: float) -> float:
    """The same share of the remaining weights is pruned in every round: ``s = 1 - (1 - final)^(done / rounds)``.

    Args:
        done: rounds so far, the present one included.
        rounds: in all.
        final: sparsity after the last.

    Raises:
        InputError: unless ``0 <= done <= rounds``, rounds is above 0 and the sparsity is in [0, 1).

    Example:
        >>> [round(geometric_sparsity(done, 2, 0.75), 3) for done in (0, 1, 2)]
        [0.0, 0.5, 0.75]

    Source: Frankle & Carbin (2019), "The lottery ticket hypothesis"; Tanaka et al. (2020), algorithm 1.
    """
    done = whole("geometric_sparsity", "done", done, 0, whole("geometric_sparsity", "rounds", rounds))
    final = number("geometric_sparsity", "final", final, 0, below=1, fix="Pass final=0.9.")
    return final if done == rounds else 1 - (1 - final) ** (done / rounds)


def exchange_fraction(step: int, total: int, *, alpha: float = 0.3, every: int = 100, end: float = 0.75) -> float:
    """Share of the kept weights exchanged at a step: ``alpha / 2 (1 + cos(pi t / T_end))`` every so many steps.

    Args:
        step: present training step t.
        total: steps of the training.
        alpha: share at the beginning.
        every: steps between two exchanges; 0 between them, and at the first step.
        end: ``T_end = end * total``; 0 from there on.

    Raises:
        InputError: ``total`` or ``every`` below 1, or shares outside 0..1.

    Example:
        >>> [round(exchange_fraction(step, 800), 3) for step in (0, 100, 150, 300, 600)]
        [0.0, 0.28, 0.0, 0.15, 0.0]

    Source: Evci et al. (2020), "Rigging the lottery", equation 1 and section 3.
    """
    where = "exchange_fraction"
    total, every = whole(where, "total", total), whole(where, "every", every)
    alpha, end = number(where, "alpha", alpha, 0, 1), number(where, "end", end, high=1, above=0)
    due = step > 0 and step % every == 0 and step < end * total
    return alpha / 2 * (1 + math.cos(math.pi * step / (end * total))) if due else 0.0


def _gradual(step: int, total: int, final: float) -> float | None:
    """Prune from a quarter to three quarters of training; the last quarter recovers."""
    start, end, last = total // 4, max(3 * total // 4, 1), step == total - 1
    due = start < step < end + EVERY and step % EVERY == 0
    # The last step completes the pruning, also of a short training.
    return final if last else cubic_sparsity(step, start, end, final) if due else None


def _iterative(step: int, total: int, final: float) -> float | None:
    """At the end of every training but the last."""
    done, left = divmod(step + 1, max(total // ROUNDS, 1))
    return None if left or done >= ROUNDS else geometric_sparsity(done, ROUNDS - 1, final)


SCHEDULES: dict[str, Callable[[int, int, float], float | None]] = {
    "start": lambda step, total, final: final if step == 0 else None,
    "half": lambda step, total, final: final if step == total // 2 else None,
    "end": lambda step, total, final: final if step == total - 1 else None,
    "gradual": _gradual,
    "iterative": _iterative,
}
"""When a pruning is due, by name: before the first step, half way, at the last step, gradually, or in rounds."""
