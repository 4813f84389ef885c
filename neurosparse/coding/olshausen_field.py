"""Sparse coding of natural images as it was published in 1996: smooth priors, conjugate gradients, gains that adapt.

One lesson is 100 presentations: `infer` their codes, then `learn` from them. All that is remembered is a `Fields`.
Facts that the paper and its program leave to the reader: lambda and sigma belong to images of variance 0.1 and are not
free of scale (the error grows with the square of the contrast, the sparseness with its logarithm at most); and
adapting gains lets atoms die, because one that answers weakly is shortened and so answers still more weakly.
Atoms of unit norm are the default for that reason, and dead atoms are counted on every lesson.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.coding.penalty import l1
from neurosparse.coding.solve import NotConverged, solve
from neurosparse.errors import InputError

__all__ = ["Fields", "Gain", "Lesson", "dead", "energy", "infer", "learn", "start"]

SIGMA = 0.1**0.5  # of the images, whose mean variance is 0.1
LAMBDA = 0.14 * SIGMA
SHORTEST = 0.01  # where gains leave an atom that is dead: silent, but with a direction, and a square above rounding


class Fields(NamedTuple):
    """All that a learner remembers: atoms (atoms, features), and the running mean of each squared coefficient."""

    dictionary: Tensor
    variance: Tensor


class Lesson(NamedTuple):
    """What one batch taught: the fields after it, its codes, its mean energy before, and how many atoms are dead."""

    fields: Fields
    codes: Tensor
    energy: float
    dead: int


class Gain(NamedTuple):
    """The published rule for the norms of atoms: ``|phi_i| <- |phi_i| (variance_i / goal)^rate``."""

    goal: float = 0.1
    rate: float = 0.02


class _Sparseness(NamedTuple):
    cost: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


# Both bend upwards by 2 at most, which is what makes the line search safe. The second is lifted by 1, to be 0 at 0.
SMOOTH = {
    "log": _Sparseness(lambda u: torch.log1p(u * u), lambda u: 2 * u / (1 + u * u)),
    "exp": _Sparseness(lambda u: -torch.expm1(-u * u), lambda u: 2 * u * torch.exp(-u * u)),
}


def start(atoms: int, features: int, generator: torch.Generator | int = 0) -> Fields:
    """Random atoms of unit norm, and coefficients as variable as the gain rule would have them.

    Args:
        atoms, features: size of the dictionary.
        generator: draws it; an int is a seed.

    Example:
        >>> start(6, 4).dictionary.norm(dim=1)
        tensor([1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000])
    """
    seeded = generator if isinstance(generator, torch.Generator) else torch.Generator().manual_seed(generator)
    dictionary = F.normalize(torch.randn(atoms, features, generator=seeded))
    return Fields(dictionary, torch.full((atoms,), Gain().goal))


def energy(
    x: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    sparseness: str = "log",
    weight: float = LAMBDA,
    scale: float = SIGMA,
) -> Tensor:
    """``E = ||x - a D||^2 + weight * sum_i S(a_i / scale)`` of each sample; twice what `solve` calls its objective.

    Args:
        x: (samples, features).
        dictionary: (atoms, features).
        codes: (samples, atoms).
        sparseness: S: ``"log"``, log(1 + u^2); ``"abs"``, |u|; ``"exp"``, 1 - exp(-u^2).
        weight: lambda.
        scale: sigma.

    Returns:
        (samples,).

    Raises:
        InputError: another sparseness, weight or scale not above 0.

    Example:
        >>> energy(torch.ones(1, 2), torch.eye(2), torch.tensor([[1.0, 0.0]]), "abs", weight=0.5, scale=1.0)
        tensor([1.5000])
    """
    _check(sparseness, weight, scale)
    cost = torch.abs if sparseness == "abs" else SMOOTH[sparseness].cost
    return (x - codes @ dictionary).square().sum(1) + weight * cost(codes / scale).sum(1)


@torch.no_grad()
def infer(
    x: Tensor,
    dictionary: Tensor,
    sparseness: str = "log",
    weight: float = LAMBDA,
    scale: float = SIGMA,
    *,
    tol: float = 0.01,
    steps: int = 100,
) -> Tensor:
    """Codes that minimise `energy`: by conjugate gradients where S is smooth, exactly for ``"abs"`` (see `solve`).

    Every sample starts from its drive over the squared norm of each atom and stops by itself, once a step lowers
    its energy by less than the fraction ``tol``. No step raises it. Smooth energies are not convex: this is the minimum
    downhill of the start, and no coefficient in it is exactly 0.

    Args:
        x, dictionary, sparseness, weight, scale: as in `energy`.
        tol: 0.01 in the published program; for ``"abs"``, the relative duality gap.
        steps: most steps of conjugate gradients; the program's own limit is 10.

    Returns:
        (samples, atoms).

    Raises:
        InputError: as `energy`.

    Example:
        >>> fields = start(8, 16)
        >>> x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
        >>> codes = infer(x, fields.dictionary)
        >>> bool((energy(x, fields.dictionary, codes) < x.square().sum(1)).all())  # better than silence
        True

    Source: Polak & Ribiere (1969) with restarts, in the place of the program's Fletcher-Reeves.
    """
    _check(sparseness, weight, scale)
    if sparseness == "abs":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            return solve(x, dictionary, l1(weight / (2 * scale)), "event", tol=tol, record_events=False).a
    codes = F.linear(x, dictionary) / dictionary.square().sum(1).clamp(min=torch.finfo(x.dtype).tiny)
    active, settled = torch.arange(len(x), device=x.device), codes.clone()
    now = energy(x, dictionary, codes, sparseness, weight, scale)
    slope = SMOOTH[sparseness].slope
    gradient, direction = torch.ones_like(codes), torch.zeros_like(codes)  # at first, straight downhill
    for _ in range(steps):
        residual = x - codes @ dictionary
        uphill = weight / scale * slope(codes / scale) - 2 * F.linear(residual, dictionary)
        direction = _conjugate(uphill, gradient, direction)
        codes = codes + _step(codes, direction, residual, direction @ dictionary, slope, weight, scale) * direction
        before, now, gradient = now, energy(x, dictionary, codes, sparseness, weight, scale), uphill
        settled[active] = codes
        left = (before - now > tol * before).nonzero()[:, 0]
        if not len(left):
            break
        active, x, codes, now = active[left], x[left], codes[left], now[left]
        gradient, direction = gradient[left], direction[left]
    return settled


def _conjugate(uphill: Tensor, last: Tensor, direction: Tensor) -> Tensor:
    """Polak and Ribiere's direction, or straight downhill where theirs would not lead down."""
    square = last.square().sum(1, keepdim=True).clamp(min=torch.finfo(last.dtype).tiny)
    memory = ((uphill * (uphill - last)).sum(1, keepdim=True) / square).clamp(min=0)
    tried = memory * direction - uphill
    return torch.where((tried * uphill).sum(1, keepdim=True) < 0, tried, -uphill)


def _step(
    codes: Tensor,
    direction: Tensor,
    residual: Tensor,
    seen: Tensor,
    slope: Callable[[Tensor], Tensor],
    weight: float,
    scale: float,
) -> Tensor:
    """How far to go, (samples, 1): three steps of Newton's method with the largest curvature there can be.

    With too large a curvature a step is too short, never too long, so each goes down.
    """
    straight = seen.square().sum(1, keepdim=True)
    toward = (residual * seen).sum(1, keepdim=True)
    bound = 2 * straight + 2 * weight / scale**2 * direction.square().sum(1, keepdim=True)
    t = torch.zeros_like(straight)
    for _ in range(3):
        bend = weight / scale * (slope((codes + t * direction) / scale) * direction).sum(1, keepdim=True)
        t = t - (2 * t * straight - 2 * toward + bend) / bound.clamp(min=torch.finfo(bound.dtype).tiny)
    return t


@torch.no_grad()
def learn(
    fields: Fields,
    x: Tensor,
    sparseness: str = "log",
    weight: float = LAMBDA,
    scale: float = SIGMA,
    *,
    rate: float = 1.0,
    gain: Gain | None = None,
    memory: float = 1000.0,
    tol: float = 0.01,
    steps: int = 100,
) -> Lesson:
    """One step of learning: ``phi_i <- phi_i + rate * mean(a_i (x - a D))``, then the norms.

    Args:
        fields: what was learned before.
        x: a batch (samples, features), 100 in the paper.
        sparseness, weight, scale, tol, steps: as in `infer`.
        rate: eta.
        gain: the published rule for norms; None: every norm is 1.
        memory: presentations over which the variance of a coefficient is averaged.

    Returns:
        a `Lesson`; a new `Fields` is in it, the old one is untouched.

    Raises:
        InputError: as `infer`; ``rate`` or ``memory`` not above 0.

    Example:
        >>> lesson = learn(start(8, 16), torch.randn(100, 16, generator=torch.Generator().manual_seed(1)))
        >>> lesson.fields.dictionary.shape, lesson.dead
        (torch.Size([8, 16]), 0)

    Source: Olshausen & Field (1996), "Emergence of simple-cell receptive field properties by learning a sparse code for
    natural images"; `Gain`: the program published with Olshausen & Field (1997).
    """
    if not (rate > 0 and memory >= 1):
        raise InputError("olshausen_field.learn", got=f"rate={rate}, memory={memory}", expected="above 0, at least 1")
    dictionary, variance = fields
    codes = infer(x, dictionary, sparseness, weight, scale, tol=tol, steps=steps)
    mean = float(energy(x, dictionary, codes, sparseness, weight, scale).mean())
    kept = (1 - 1 / memory) ** len(x)
    variance = kept * variance + (1 - kept) * codes.square().mean(0)
    moved = dictionary + rate / len(x) * codes.t() @ (x - codes @ dictionary)
    if gain is None:
        moved = F.normalize(moved)
    else:
        norm = dictionary.norm(dim=1) * (variance / gain.goal) ** gain.rate
        moved = F.normalize(moved) * norm.clamp(min=SHORTEST)[:, None]
    after = Fields(moved, variance)
    return Lesson(after, codes, mean, dead(after))


def dead(fields: Fields) -> int:
    """Atoms that carry less than a thousandth of what an atom carries on average, ``variance_i |phi_i|^2``.

    Example:
        >>> dead(Fields(torch.eye(3), torch.tensor([0.1, 0.2, 1e-5])))
        1
    """
    power = fields.variance * fields.dictionary.square().sum(1)
    return int((power < 1e-3 * power.mean()).sum())


def _check(sparseness: str, weight: float, scale: float) -> None:
    where = "olshausen_field"
    if sparseness not in (*SMOOTH, "abs"):
        raise InputError(where, got=f"sparseness={sparseness!r}", expected="log, abs or exp", fix='Pass "log".')
    if not (weight > 0 and scale > 0):
        raise InputError(where, got=f"weight={weight}, scale={scale}", expected="numbers above 0")
