"""Olshausen & Field (1996): sparse coding of natural images with smooth priors, by conjugate gradients.

One update uses a batch of 100 patches: `infer` codes, then `learn` a step of the atoms. All state is a
`DictionaryState`. Two facts that the paper and its program do not mention: lambda and sigma belong to images of
variance 0.1 and depend on scale (the error grows with the square of the contrast, the sparseness with its logarithm at
most); and with adaptive gains atoms can die, because an atom with small coefficients is shortened, which makes them
smaller still. Atoms of unit norm are therefore the default, and dead atoms are counted in every update.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import generator as random_generator
from neurosparse.checks import number, one_of, positive, tensor, whole
from neurosparse.coding.penalty import l1
from neurosparse.coding.solve import NotConverged, solve
from neurosparse.errors import InputError

__all__ = ["DictionaryState", "Gain", "UpdateResult", "dead", "energy", "infer", "learn", "start"]

SIGMA = 0.1**0.5  # of the images, whose mean variance is 0.1
LAMBDA = 0.14 * SIGMA
SHORTEST = 0.01  # norm of a dead atom under adaptive gains: its coefficients are 0, its square is above rounding


class DictionaryState(NamedTuple):
    """The state of learning: ``dictionary`` (atoms, features), and ``variance``, the running mean of ``a_i^2``."""

    dictionary: Tensor
    variance: Tensor


class UpdateResult(NamedTuple):
    """The result of one update: the new state, the codes and mean energy of the batch, the number of dead atoms."""

    state: DictionaryState
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


# Second derivatives are at most 2, which makes the line search safe. The second cost is shifted by 1, to be 0 at 0.
SMOOTH = {
    "log": _Sparseness(lambda u: torch.log1p(u * u), lambda u: 2 * u / (1 + u * u)),
    "exp": _Sparseness(lambda u: -torch.expm1(-u * u), lambda u: 2 * u * torch.exp(-u * u)),
}


def start(atoms: int, features: int, generator: torch.Generator | int = 0) -> DictionaryState:
    """Random atoms of unit norm, and variances at the goal of the gain rule.

    Args:
        atoms, features: size of the dictionary, each at least 1.
        generator: draws it; an int is a seed.

    Example:
        >>> start(6, 4).dictionary.norm(dim=1)
        tensor([1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000])
    """
    where = "olshausen_field.start"
    atoms, features = whole(where, "atoms", atoms), whole(where, "features", features)
    dictionary = F.normalize(torch.randn(atoms, features, generator=random_generator(where, generator)))
    return DictionaryState(dictionary, torch.full((atoms,), Gain().goal))


def energy(
    x: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    sparseness: str = "log",
    weight: float = LAMBDA,
    scale: float = SIGMA,
) -> Tensor:
    """``E = ||x - a D||^2 + weight * sum_i S(a_i / scale)`` of each sample; twice the objective of `solve`.

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
        InputError: another sparseness, weight or scale not above 0, shapes that do not fit.

    Example:
        >>> energy(torch.ones(1, 2), torch.eye(2), torch.tensor([[1.0, 0.0]]), "abs", weight=0.5, scale=1.0)
        tensor([1.5000])
    """
    weight, scale = _check("energy", sparseness, weight, scale)
    x, dictionary = _arrays("energy", x, dictionary)
    codes = tensor("olshausen_field.energy", "codes", codes, "samples, atoms").to(x.dtype)
    if codes.shape != (len(x), len(dictionary)):
        got, expected = f"codes of shape {tuple(codes.shape)}", f"({len(x)}, {len(dictionary)})"
        raise InputError("olshausen_field.energy", got=got, expected=expected)
    return _energy(x, dictionary, codes, sparseness, weight, scale)


def _energy(x: Tensor, dictionary: Tensor, codes: Tensor, sparseness: str, weight: float, scale: float) -> Tensor:
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

    Every sample starts from its drive over the squared norm of each atom and stops when a step decreases its energy by
    less than the fraction ``tol``. No step increases it. Smooth energies are not convex: the result is a local minimum,
    and none of its coefficients is exactly 0.

    Args:
        x, dictionary, sparseness, weight, scale: as in `energy`.
        tol: 0.01 in the published program; for ``"abs"``, the relative duality gap.
        steps: largest number of steps of conjugate gradients; 10 in the published program.

    Returns:
        (samples, atoms).

    Raises:
        InputError: as `energy`.

    Example:
        >>> state = start(8, 16)
        >>> x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
        >>> codes = infer(x, state.dictionary)
        >>> bool((energy(x, state.dictionary, codes) < x.square().sum(1)).all())  # lower than that of zeros
        True

    Source: Polak & Ribiere (1969) with restarts, in the place of the program's Fletcher-Reeves.
    """
    weight, scale = _check("infer", sparseness, weight, scale)
    x, dictionary = _arrays("infer", x, dictionary)
    tol, steps = positive("olshausen_field.infer", "tol", tol), whole("olshausen_field.infer", "steps", steps)
    if sparseness == "abs":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            return solve(x, dictionary, l1(weight / (2 * scale)), "coordinate_descent", tol=tol, record_events=False).a
    codes = F.linear(x, dictionary) / dictionary.square().sum(1).clamp(min=torch.finfo(x.dtype).tiny)
    active, settled = torch.arange(len(x), device=x.device), codes.clone()
    now = _energy(x, dictionary, codes, sparseness, weight, scale)
    slope = SMOOTH[sparseness].slope
    gradient, direction = torch.ones_like(codes), torch.zeros_like(codes)  # the first step is steepest descent
    for _ in range(steps):
        residual = x - codes @ dictionary
        uphill = weight / scale * slope(codes / scale) - 2 * F.linear(residual, dictionary)
        direction = _conjugate(uphill, gradient, direction)
        codes = codes + _step(codes, direction, residual, direction @ dictionary, slope, weight, scale) * direction
        before, now, gradient = now, _energy(x, dictionary, codes, sparseness, weight, scale), uphill
        settled[active] = codes
        left = (before - now > tol * before).nonzero()[:, 0]
        if not len(left):
            break
        active, x, codes, now = active[left], x[left], codes[left], now[left]
        gradient, direction = gradient[left], direction[left]
    return settled


def _conjugate(uphill: Tensor, last: Tensor, direction: Tensor) -> Tensor:
    """Polak and Ribiere's direction, or steepest descent where theirs is no descent direction."""
    square = last.square().sum(1, keepdim=True).clamp(min=torch.finfo(last.dtype).tiny)
    memory = ((uphill * (uphill - last)).sum(1, keepdim=True) / square).clamp(min=0)
    tried = memory * direction - uphill
    return torch.where((tried * uphill).sum(1, keepdim=True) < 0, tried, -uphill)


def _step(
    codes: Tensor,
    direction: Tensor,
    residual: Tensor,
    image: Tensor,
    slope: Callable[[Tensor], Tensor],
    weight: float,
    scale: float,
) -> Tensor:
    """Step length, (samples, 1): three steps of Newton's method with an upper bound of the curvature.

    With an upper bound a step is too short and never too long, so each decreases the energy.
    """
    straight = image.square().sum(1, keepdim=True)
    toward = (residual * image).sum(1, keepdim=True)
    bound = 2 * straight + 2 * weight / scale**2 * direction.square().sum(1, keepdim=True)
    t = torch.zeros_like(straight)
    for _ in range(3):
        bend = weight / scale * (slope((codes + t * direction) / scale) * direction).sum(1, keepdim=True)
        t = t - (2 * t * straight - 2 * toward + bend) / bound.clamp(min=torch.finfo(bound.dtype).tiny)
    return t


@torch.no_grad()
def learn(
    state: DictionaryState,
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
) -> UpdateResult:
    """One update of the atoms: ``phi_i <- phi_i + rate * mean(a_i (x - a D))``, then the norms.

    Args:
        state: the old state.
        x: a batch (samples, features), 100 in the paper.
        sparseness, weight, scale, tol, steps: as in `infer`.
        rate: eta, the learning rate.
        gain: the published rule for norms; None: every norm is 1.
        memory: number of samples over which the variance of a coefficient is averaged.

    Returns:
        an `UpdateResult` with the new state; the old one is not changed.

    Raises:
        InputError: as `infer`; ``rate`` not above 0, ``memory`` below 1.

    Example:
        >>> result = learn(start(8, 16), torch.randn(100, 16, generator=torch.Generator().manual_seed(1)))
        >>> result.state.dictionary.shape, result.dead
        (torch.Size([8, 16]), 0)

    Source: Olshausen & Field (1996), "Emergence of simple-cell receptive field properties by learning a sparse code for
    natural images"; `Gain`: the program published with Olshausen & Field (1997).
    """
    weight, scale = _check("learn", sparseness, weight, scale)
    where = "olshausen_field.learn"
    rate, memory = positive(where, "rate", rate), number(where, "memory", memory, 1)
    dictionary, variance = state
    x, dictionary = _arrays("learn", x, dictionary)
    codes = infer(x, dictionary, sparseness, weight, scale, tol=tol, steps=steps)
    mean = float(_energy(x, dictionary, codes, sparseness, weight, scale).mean())
    kept = (1 - 1 / memory) ** len(x)
    variance = kept * variance + (1 - kept) * codes.square().mean(0)
    moved = dictionary + rate / len(x) * codes.t() @ (x - codes @ dictionary)
    if gain is None:
        moved = F.normalize(moved)
    else:
        norm = dictionary.norm(dim=1) * (variance / gain.goal) ** gain.rate
        moved = F.normalize(moved) * norm.clamp(min=SHORTEST)[:, None]
    after = DictionaryState(moved, variance)
    return UpdateResult(after, codes, mean, dead(after))


def dead(state: DictionaryState) -> int:
    """Number of atoms with a power ``variance_i |phi_i|^2`` below a thousandth of the mean.

    Example:
        >>> dead(DictionaryState(torch.eye(3), torch.tensor([0.1, 0.2, 1e-5])))
        1
    """
    power = state.variance * state.dictionary.square().sum(1)
    return int((power < 1e-3 * power.mean()).sum())


def _check(name: str, sparseness: str, weight: float, scale: float) -> tuple[float, float]:
    where = f"olshausen_field.{name}"
    one_of(where, "sparseness", sparseness, (*SMOOTH, "abs"))
    return positive(where, "weight", weight), positive(where, "scale", scale)


def _arrays(name: str, x: Tensor, dictionary: Tensor) -> tuple[Tensor, Tensor]:
    where = f"olshausen_field.{name}"
    x, dictionary = (
        tensor(where, "x", x, "samples, features"),
        tensor(where, "dictionary", dictionary, "atoms, features"),
    )
    if x.shape[1] != dictionary.shape[1] or x.dtype != dictionary.dtype or not dictionary.numel():
        got = f"x {tuple(x.shape)} of {x.dtype}, atoms {tuple(dictionary.shape)} of {dictionary.dtype}"
        raise InputError(where, got=got, expected="the same features and dtype")
    return x, dictionary
