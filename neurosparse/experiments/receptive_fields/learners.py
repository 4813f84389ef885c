"""Ways to learn a dictionary from a stream of patches, by the name that a contestant's file gives them.

A learner is a generator: it takes a batch from the stream, learns, and yields a `Stage`. Its keyword arguments are the
keys that its TOML file may set.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.coding import (
    DictionaryLearning,
    NotConverged,
    Penalty,
    cauchy,
    elastic_net,
    l0,
    l1,
    log,
    lp,
    nonnegative_l1,
    olshausen_field,
    sailnet,
    solve,
)
from neurosparse.errors import InputError

__all__ = ["LEARNERS", "Stage", "penalty_of"]

PENALTIES = {make.__name__: make for make in (l1, nonnegative_l1, elastic_net, l0, log, cauchy, lp)}


class Stage(NamedTuple):
    """A dictionary on its way.

    ``atoms`` (atoms, features); ``dead``, how many fell silent so far; ``encode``, patches (samples, features) to codes
    (samples, atoms), so that ``encode(x) @ atoms`` is what is left of ``x``.
    """

    atoms: Tensor
    dead: int
    encode: Callable[[Tensor], Tensor]


Learner = Callable[..., Iterator[Stage]]


def penalty_of(table: dict[str, Any]) -> Penalty:
    """The penalty that ``{name = "lp", weight = 0.1, p = 0.5}`` means.

    Example:
        >>> penalty_of({"name": "l1", "weight": 0.1})
        l1(0.1)
    """
    table = dict(table)
    name = table.pop("name", None)
    if name not in PENALTIES:
        raise InputError("penalty", got=f"name={name!r}", expected=" or ".join(PENALTIES))
    try:
        return PENALTIES[name](**table)
    except TypeError as error:
        raise InputError("penalty", got=f"{name}: {error}", expected="its own arguments") from error


def codes(x: Tensor, atoms: Tensor, penalty: Penalty, method: str, tol: float) -> Tensor:
    """Codes by `solve`; a sample that has not converged counts as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return solve(x, atoms, penalty, method, tol=tol, record_events=False).a


def online(
    patches: Iterator[Tensor],
    atoms: int,
    seed: int,
    *,
    penalty: dict[str, Any],
    method: str = "coordinate_descent",
    tol: float = 1e-2,
) -> Iterator[Stage]:
    """`ns.DictionaryLearning`: unit-norm atoms that learn from all past codes.

    Args:
        patches: batches (samples, features).
        atoms: how many.
        seed: draws the first atoms.
        penalty: its name and weights, as in `penalty_of`.
        method, tol: of `solve`, while it learns.
    """
    made = penalty_of(penalty)
    options = {"fit_algorithm": method, "code_tol": tol, "penalty": lambda _: made, "random_state": seed}
    learner = DictionaryLearning(atoms, made.weight, **options)
    for x in patches:
        learner.partial_fit(x.numpy())
        components = torch.from_numpy(np.ascontiguousarray(learner.components_))
        encode = partial(codes, atoms=components, penalty=made, method=method, tol=1e-3)
        yield Stage(components, learner.n_dead_, encode)


def autoencoder(
    patches: Iterator[Tensor], atoms: int, seed: int, *, noise: float = 0.0, learning_rate: float = 1e-3
) -> Iterator[Stage]:
    """A network of one hidden ReLU layer that learns to give back its input without noise: ``relu(x W + b) D``.

    Args:
        patches: batches (samples, features).
        atoms: hidden units.
        seed: draws the first weights and the noise.
        noise: standard deviation of what is added to the input.
        learning_rate: of Adam.

    Source: Vincent et al. (2008), "Extracting and composing robust features with denoising autoencoders".
    """
    first = next(patches)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = nn.Linear(first.shape[1], atoms), nn.Linear(atoms, first.shape[1], bias=False)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], learning_rate)
    for x in itertools.chain([first], patches):
        noisy = x + noise * torch.randn(x.shape, generator=generator)
        hidden = encoder(noisy - noisy.mean(1, keepdim=True)).relu()
        optimizer.zero_grad()
        nn.functional.mse_loss(decoder(hidden), x).backward()
        optimizer.step()
        dead = int((hidden == 0).all(0).sum())
        yield Stage(decoder.weight.detach().T.clone(), dead, torch.no_grad()(lambda x: encoder(x).relu()))


def as_published(
    patches: Iterator[Tensor],
    atoms: int,
    seed: int,
    *,
    sparseness: str = "log",
    gain: bool = False,
    rates: dict[str, float] | None = None,
) -> Iterator[Stage]:
    """`neurosparse.coding.olshausen_field`: one step down the energy after each batch.

    Args:
        patches: batches (samples, features).
        atoms: how many.
        seed: draws the first atoms.
        sparseness: S, as in `olshausen_field.energy`.
        gain: adapt the norms of atoms as published, instead of keeping them at 1.
        rates: eta by the first batch it holds for, such as ``{ 0 = 5.0, 1000 = 2.5 }``.
    """
    fields: olshausen_field.Fields | None = None
    rate = 1.0
    for batch, x in enumerate(patches):
        fields = fields or olshausen_field.start(atoms, x.shape[1], seed)
        rate = _at(batch, rates, rate)
        adapt = olshausen_field.Gain() if gain else None
        lesson = olshausen_field.learn(fields, x, sparseness, rate=rate, gain=adapt)
        fields = lesson.fields
        encode = partial(olshausen_field.infer, dictionary=fields.dictionary, sparseness=sparseness)
        yield Stage(fields.dictionary, lesson.dead, encode)


def spiking(
    patches: Iterator[Tensor], atoms: int, seed: int, *, rate: float = 0.05, speed: dict[str, float] | None = None
) -> Iterator[Stage]:
    """`neurosparse.coding.sailnet`: neurons that spike, and learn by rules local to each synapse.

    Patches are shown with a standard deviation of one; a code is spike counts in units of the patch's own.

    Args:
        patches: batches (samples, features).
        atoms: how many neurons.
        seed: draws the first weights.
        rate: spikes of a neuron a patch.
        speed: of all three rules, as a multiple of the published rates, by the first batch it holds for.
    """
    network: sailnet.Sailnet | None = None
    now = 1.0
    for batch, x in enumerate(patches):
        network = network or sailnet.start(atoms, x.shape[1], seed)
        now = _at(batch, speed, now)
        lesson = sailnet.learn(network, _unit(x), rate=rate, alpha=1.0 * now, beta=0.01 * now, gamma=0.1 * now)
        network = lesson.network
        dead = int((lesson.spikes.counts().sum(0) == 0).sum())
        yield Stage(network.feedforward, dead, partial(_counts, network))


def _counts(network: sailnet.Sailnet, x: Tensor) -> Tensor:
    return sailnet.respond(network, _unit(x)).counts() * x.std(1, keepdim=True)


def _unit(x: Tensor) -> Tensor:
    return x / x.std(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


def _at(batch: int, schedule: dict[str, float] | None, last: float) -> float:
    """What holds from this batch on."""
    return (schedule or {}).get(str(batch), last)


LEARNERS: dict[str, Learner] = {
    "autoencoder": autoencoder,
    "olshausen-field": as_published,
    "online": online,
    "sailnet": spiking,
}
