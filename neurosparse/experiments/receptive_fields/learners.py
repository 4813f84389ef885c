"""Learners of a dictionary from a stream of patches, and the TOML files that configure them.

A learner is a generator: it takes a batch from the stream, learns, and yields a `DictionarySnapshot`. Its keyword
arguments are the keys that its TOML file may set.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.checks import one_of
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
    sailnet,
    solve,
)
from neurosparse.coding import olshausen_field as published
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments.folder import read_table, refuse_unknown, task_folder

__all__ = ["LEARNERS", "DictionarySnapshot", "LearnerConfig", "load_learners", "penalty_of"]

PENALTIES = {make.__name__: make for make in (l1, nonnegative_l1, elastic_net, l0, log, cauchy, lp)}


class DictionarySnapshot(NamedTuple):
    """A dictionary after some batches.

    ``atoms`` (atoms, features); ``dead``, how many became silent so far; ``encode``, from patches (samples, features)
    to codes (samples, atoms), so that ``encode(x) @ atoms`` reconstructs ``x``.
    """

    atoms: Tensor
    dead: int
    encode: Callable[[Tensor], Tensor]


Learner = Callable[..., Iterator[DictionarySnapshot]]


def penalty_of(table: dict[str, Any]) -> Penalty:
    """The penalty of a TOML table such as ``{name = "lp", weight = 0.1, p = 0.5}``.

    Example:
        >>> penalty_of({"name": "l1", "weight": 0.1})
        l1(0.1)
    """
    table = dict(table)
    name = one_of("penalty", "name", table.pop("name", None), PENALTIES)
    try:
        return PENALTIES[name](**table)
    except TypeError as error:
        raise InputError("penalty", got=f"{name}: {error}", expected="its own arguments") from error


def codes(x: Tensor, atoms: Tensor, penalty: Penalty, method: str, tol: float) -> Tensor:
    """Codes by `solve`; a sample that has not converged is taken as it is."""
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
) -> Iterator[DictionarySnapshot]:
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
        with warnings.catch_warnings():  # a code that has not converged is taken as it is
            warnings.simplefilter("ignore", NotConverged)
            learner.partial_fit(x.numpy())
        components = torch.from_numpy(np.ascontiguousarray(learner.components_))
        encode = partial(codes, atoms=components, penalty=made, method=method, tol=1e-3)
        yield DictionarySnapshot(components, learner.n_dead_, encode)


def autoencoder(
    patches: Iterator[Tensor], atoms: int, seed: int, *, noise: float = 0.0, learning_rate: float = 1e-3
) -> Iterator[DictionarySnapshot]:
    """Denoising autoencoder: one hidden ReLU layer, ``relu(x W + b) D``, trained to return its input without noise.

    Args:
        patches: batches (samples, features).
        atoms: hidden units.
        seed: draws the first weights and the noise.
        noise: standard deviation of the noise that is added to the input.
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
        yield DictionarySnapshot(decoder.weight.detach().T.clone(), dead, torch.no_grad()(lambda x: encoder(x).relu()))


def olshausen_field(
    patches: Iterator[Tensor],
    atoms: int,
    seed: int,
    *,
    sparseness: str = "log",
    gain: bool = False,
    rates: dict[str, float] | None = None,
) -> Iterator[DictionarySnapshot]:
    """`neurosparse.coding.olshausen_field`: a step of gradient descent on the energy after each batch.

    Args:
        patches: batches (samples, features).
        atoms: how many.
        seed: draws the first atoms.
        sparseness: S, as in `olshausen_field.energy`.
        gain: adapt the norms of atoms as published, instead of keeping them at 1.
        rates: eta by the first batch it holds for, such as ``{ 0 = 5.0, 1000 = 2.5 }``.
    """
    state: published.DictionaryState | None = None
    rate = 1.0
    for batch, x in enumerate(patches):
        state = state or published.start(atoms, x.shape[1], seed)
        rate = _at(batch, rates, rate)
        adapt = published.Gain() if gain else None
        update = published.learn(state, x, sparseness, rate=rate, gain=adapt)
        state = update.state
        encode = partial(published.infer, dictionary=state.dictionary, sparseness=sparseness)
        yield DictionarySnapshot(state.dictionary, update.dead, encode)


def spiking(
    patches: Iterator[Tensor], atoms: int, seed: int, *, rate: float = 0.05, speed: dict[str, float] | None = None
) -> Iterator[DictionarySnapshot]:
    """`neurosparse.coding.sailnet`: spiking neurons with learning rules that are local to each synapse.

    Patches are scaled to a standard deviation of one; codes are spike counts times the patch's own deviation.

    Args:
        patches: batches (samples, features).
        atoms: how many neurons.
        seed: draws the first weights.
        rate: spikes of a neuron a patch.
        speed: multiple of the published rates of all three rules, by the first batch it holds for.
    """
    network: sailnet.Sailnet | None = None
    now = 1.0
    for batch, x in enumerate(patches):
        network = network or sailnet.start(atoms, x.shape[1], seed)
        now = _at(batch, speed, now)
        update = sailnet.learn(network, _unit(x), rate=rate, alpha=1.0 * now, beta=0.01 * now, gamma=0.1 * now)
        network = update.network
        dead = int((update.spikes.counts().sum(0) == 0).sum())
        yield DictionarySnapshot(network.feedforward, dead, partial(_counts, network))


def _counts(network: sailnet.Sailnet, x: Tensor) -> Tensor:
    return sailnet.respond(network, _unit(x)).counts() * x.std(1, keepdim=True)


def _unit(x: Tensor) -> Tensor:
    return x / x.std(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


def _at(batch: int, schedule: dict[str, float] | None, last: float) -> float:
    """The value of a schedule at this batch."""
    return (schedule or {}).get(str(batch), last)


LEARNERS: dict[str, Learner] = {
    "autoencoder": autoencoder,
    "olshausen-field": olshausen_field,
    "online": online,
    "sailnet": spiking,
}


@dataclass(frozen=True)
class LearnerConfig:
    """One learner with its settings: one TOML file.

    Args:
        name: the file's name without ``.toml``.
        learner: a key of `LEARNERS`.
        note: one line for the report.
        options: the learner's keyword arguments.
    """

    name: str
    learner: str
    note: str
    options: dict[str, Any]

    def snapshots(self, batches: Iterator[Tensor], atoms: int, seed: int) -> Iterator[DictionarySnapshot]:
        """A snapshot after each batch."""
        return LEARNERS[self.learner](batches, atoms, seed, **self.options)


def load_learners(folder: str | PathLike[str], only: tuple[str, ...] = ()) -> list[LearnerConfig]:
    """The learners of a task, by name.

    Raises:
        MissingFileError: no learner of that name, or a folder without any.
        InputError: no TOML, an unknown learner, a key that it does not have.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text("")
        ...     _ = Path(folder, "l1.toml").write_text('learner = "online"\\npenalty = {name = "l1", weight = 0.1}')
        ...     load_learners(folder)[0].options
        {'penalty': {'name': 'l1', 'weight': 0.1}}
    """
    folder = task_folder(folder)
    names = list(dict.fromkeys(only)) or sorted(path.stem for path in folder.glob("*.toml"))
    if not names:
        raise MissingFileError("task", got=str(folder), expected="a TOML file per learner", fix="Add l1.toml.")
    return [_read(folder / f"{name}.toml") for name in names]


def _read(path: Path) -> LearnerConfig:
    where = f"learner {path.stem!r}"
    table = read_table(path, where)
    learner, note = table.pop("learner", None), table.pop("note", "")
    one_of(where, "learner", learner, LEARNERS)
    parameters = inspect.signature(LEARNERS[learner]).parameters.values()
    refuse_unknown(table, [p.name for p in parameters if p.kind is p.KEYWORD_ONLY], where)
    return LearnerConfig(path.stem, learner, note, table)
