"""Who is connected to whom: rules that draw sources and targets from a seed, and connections that are given.

All are drawn by one generator in one order, so the number of threads plays no part. Degrees are drawn with
replacement: a pair may be connected twice, as in NEST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from neurosparse.errors import InputError

__all__ = [
    "Pairs", "Rule", "all_to_all", "fixed_in_degree", "fixed_out_degree", "fixed_probability", "from_matrix",
    "from_pairs", "one_to_one",
]  # fmt: skip

CHUNK = 1 << 22  # draws at a time


class Pairs(NamedTuple):
    """Synapses by source (compressed rows), targets ascending; ``given`` is each synapse's place in the user's list."""

    row_pointer: np.ndarray
    target: np.ndarray
    given: np.ndarray | None = None
    weight: np.ndarray | None = None


class Rule(NamedTuple):
    """A name for error messages and exports, and ``draw(rng, sources, targets, the same population)``."""

    name: str
    draw: Callable[[np.random.Generator, int, int, bool], Pairs]


def _pointer(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _by_source(source: np.ndarray, target: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row pointers, and the order that sorts by source, then target; pairs that are twice keep theirs."""
    return _pointer(np.bincount(source, minlength=n)), np.lexsort((target, source))


def fixed_probability(p: float, *, autapses: bool = True) -> Rule:
    """Every pair is connected with probability ``p``, independently.

    Args:
        p: 0..1.
        autapses: whether a neuron may be connected to itself.

    Raises:
        InputError: a probability outside 0..1.

    Example:
        >>> fixed_probability(0.02).name
        'fixed_probability'
    """
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise InputError("simulate.fixed_probability", got=f"p={p!r}", expected="0 <= p <= 1")

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        counts, targets = np.zeros(n, dtype=np.int64), []
        position, cells = -1, n * m
        while p > 0 and position < cells:  # from one connected pair to the next: geometric gaps
            gaps = rng.geometric(p, min(CHUNK, int(p * cells * 1.1) + 100))
            at = position + np.cumsum(np.minimum(gaps, cells + 1))  # longer ones lead past the end as well
            position, at = int(at[-1]), at[at < cells]
            source, target = np.divmod(at, m)
            keep = slice(None) if autapses or not same else source != target
            counts += np.bincount(source[keep], minlength=n)
            targets.append(target[keep].astype(np.int32))
        return Pairs(_pointer(counts), np.concatenate([np.zeros(0, dtype=np.int32), *targets]))

    return Rule("fixed_probability", draw)


def _others(rng: np.random.Generator, rows: int, k: int, n: int, without_self: bool) -> np.ndarray:
    """``k`` of ``n`` for each row, ascending; its own number is left out where asked."""
    if k and n - without_self < 1:
        raise InputError("simulate.connect", got="one neuron and no autapses", expected="someone to connect to")
    drawn = rng.integers(0, n - without_self, size=(rows, k), dtype=np.int32)
    if without_self:
        drawn += drawn >= np.arange(rows, dtype=np.int32)[:, None]
    drawn.sort(axis=1)
    return drawn


def fixed_out_degree(k: int, *, autapses: bool = True) -> Rule:
    """Every source has ``k`` synapses onto targets drawn with replacement.

    Args:
        k: synapses per source.
        autapses: whether a neuron may be connected to itself.

    Raises:
        InputError: a degree that is no whole number >= 0.

    Example:
        >>> fixed_out_degree(80).name
        'fixed_out_degree'
    """
    _check_degree("simulate.fixed_out_degree", k)

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        targets = _others(rng, n, k, m, same and not autapses)
        return Pairs(np.arange(n + 1, dtype=np.int64) * k, targets.ravel())

    return Rule("fixed_out_degree", draw)


def fixed_in_degree(k: int, *, autapses: bool = True) -> Rule:
    """Every target has ``k`` synapses from sources drawn with replacement.

    Args:
        k: synapses per target.
        autapses: whether a neuron may be connected to itself.

    Raises:
        InputError: a degree that is no whole number >= 0.

    Example:
        >>> fixed_in_degree(1000).name
        'fixed_in_degree'
    """
    _check_degree("simulate.fixed_in_degree", k)

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        from scipy.sparse import csc_array

        sources = _others(rng, m, k, n, same and not autapses)
        columns = (np.ones(m * k, dtype=np.int8), sources.ravel(), np.arange(m + 1, dtype=np.int64) * k)
        rows = csc_array(columns, shape=(n, m)).tocsr()
        return Pairs(rows.indptr.astype(np.int64), rows.indices.astype(np.int32))

    return Rule("fixed_in_degree", draw)


def _check_degree(where: str, k: int) -> None:
    if type(k) is not int or k < 0:
        raise InputError(where, got=f"k={k!r}", expected="a whole number of synapses, k >= 0")


def all_to_all(*, autapses: bool = True) -> Rule:
    """Every source to every target.

    Args:
        autapses: whether a neuron may be connected to itself.

    Example:
        >>> all_to_all().name
        'all_to_all'
    """

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        source, target = np.divmod(np.arange(n * m), m)
        keep = slice(None) if autapses or not same else source != target
        return Pairs(_pointer(np.bincount(source[keep], minlength=n)), target[keep].astype(np.int32))

    return Rule("all_to_all", draw)


def one_to_one() -> Rule:
    """Neuron i to neuron i of a population of the same size.

    Example:
        >>> one_to_one().name
        'one_to_one'
    """

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        if n != m:
            raise InputError("simulate.one_to_one", got=f"{n} sources and {m} targets", expected="as many of both")
        return Pairs(np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int32))

    return Rule("one_to_one", draw)


def from_pairs(source: Any, target: Any) -> Rule:
    """Exactly these synapses; weights and delays given as arrays are in their order.

    Args:
        source, target: integers ``(synapses)``; a pair may be there twice.

    Raises:
        InputError: lists of different length, not integers; when the network is drawn: a neuron that is not there.

    Example:
        >>> from_pairs([0, 0, 1], [1, 2, 0]).name
        'from_pairs'
    """
    where = "simulate.from_pairs"
    source, target = (np.asarray(part) for part in (source, target))
    if source.shape != target.shape or source.ndim != 1:
        raise InputError(where, got=f"shapes {source.shape} and {target.shape}", expected="(synapses) twice")
    if source.size and not (np.issubdtype(source.dtype, np.integer) and np.issubdtype(target.dtype, np.integer)):
        raise InputError(where, got=f"{source.dtype} and {target.dtype}", expected="integers")
    source, target = source.astype(np.int64), target.astype(np.int64)

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        for name, part, size in (("source", source, n), ("target", target, m)):
            if part.size and not (part.min() >= 0 and part.max() < size):
                got = f"{name}s {part.min()}..{part.max()}"
                raise InputError(where, got=got, expected=f"0..{size - 1}, the neurons of the population")
        pointer, order = _by_source(source, target, n)
        return Pairs(pointer, target[order].astype(np.int32), order)

    return Rule("from_pairs", draw)


def from_matrix(weight: Any) -> Rule:
    """A synapse for every entry that is not 0, its weight the entry.

    Args:
        weight: ``(targets, sources)`` in volts, as ``nn.Linear`` keeps it: a tensor, an array, or a sparse matrix of
            either library.

    Raises:
        InputError: not two axes, NaN; when the network is drawn: a shape that does not fit the populations.

    Example:
        >>> from_matrix(torch.eye(3)).name
        'from_matrix'
    """
    where = "simulate.from_matrix"
    sparse = _sparse(weight)
    if sparse.ndim != 2:
        raise InputError(where, got=f"shape {sparse.shape}", expected="a matrix (targets, sources)")
    target, source = sparse.coords
    shape, value = sparse.shape, sparse.data.astype(np.float64)
    if not np.isfinite(value).all():
        raise InputError(where, got="NaN or infinity", expected="finite weights")

    def draw(rng: np.random.Generator, n: int, m: int, same: bool) -> Pairs:
        if shape != (m, n):
            fix = "Transpose it: rows are targets, as in nn.Linear."
            raise InputError(where, got=f"shape {shape}", expected=f"({m}, {n})", fix=fix)
        pointer, order = _by_source(source, target, n)
        return Pairs(pointer, target[order].astype(np.int32), order, value[order])

    return Rule("from_matrix", draw)


def _sparse(matrix: Any) -> Any:
    """Coordinates and values of what is not 0."""
    from scipy.sparse import coo_array, issparse

    if isinstance(matrix, torch.Tensor):
        matrix = matrix.detach().cpu()
        if matrix.layout != torch.strided:
            entries = matrix.to_sparse_coo().coalesce()
            matrix = coo_array((entries.values().numpy(), tuple(entries.indices().numpy())), shape=tuple(matrix.shape))
    sparse = coo_array(matrix if issparse(matrix) else np.asarray(matrix, dtype=np.float64))
    sparse.sum_duplicates()
    sparse.eliminate_zeros()
    return sparse
