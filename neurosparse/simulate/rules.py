"""Connection rules: sources and targets drawn from a seed (probability, in-degree, out-degree), or given.

One generator draws in one order, for any number of threads. Fixed degrees are drawn with replacement: a pair may be
connected twice, as in NEST.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from neurosparse.checks import number, whole
from neurosparse.errors import InputError

__all__ = [
    "Rule", "SynapsePairs", "all_to_all", "fixed_in_degree", "fixed_out_degree", "fixed_probability", "from_matrix",
    "from_pairs", "one_to_one",
]  # fmt: skip

CHUNK = 1 << 22  # draws at a time


class SynapsePairs(NamedTuple):
    """Synapses by source (compressed rows), targets ascending; ``given`` is each synapse's place in a given list."""

    row_pointer: np.ndarray
    target: np.ndarray
    given: np.ndarray | None = None
    weight: np.ndarray | None = None


class Rule(NamedTuple):
    """A name for messages and exports, and ``draw(rng, sources, targets, same)``; ``same``: one population.

    ``draw`` is a function of this module with its options bound, so that a rule can be pickled.
    """

    name: str
    draw: Callable[[np.random.Generator, int, int, bool], SynapsePairs]


def _pointer(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _by_source(source: np.ndarray, target: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row pointers, and the stable order by source, then target."""
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
    p = number("simulate.fixed_probability", "p", p, 0, 1)
    return Rule("fixed_probability", partial(_draw_probability, p, autapses))


def _draw_probability(p: float, autapses: bool, rng: np.random.Generator, n: int, m: int, same: bool) -> SynapsePairs:
    counts, targets = np.zeros(n, dtype=np.int64), []
    position, cells = -1, n * m
    while p > 0 and position < cells:  # from one connected pair to the next: geometric gaps
        gaps = rng.geometric(p, min(CHUNK, int(p * cells * 1.1) + 100))
        at = position + np.cumsum(np.minimum(gaps, cells + 1))  # a longer gap is past the end too
        position, at = int(at[-1]), at[at < cells]
        source, target = np.divmod(at, m)
        keep = slice(None) if autapses or not same else source != target
        counts += np.bincount(source[keep], minlength=n)
        targets.append(target[keep].astype(np.int32))
    return SynapsePairs(_pointer(counts), np.concatenate([np.zeros(0, dtype=np.int32), *targets]))


def _others(rng: np.random.Generator, rows: int, k: int, n: int, without_self: bool) -> np.ndarray:
    """``k`` of ``n`` for each row, ascending; ``without_self`` leaves out the row's own number."""
    if k and n - without_self < 1:
        raise InputError("Network.connect", got="one neuron and no autapses", expected="at least two neurons")
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
    k = whole("simulate.fixed_out_degree", "k", k, 0)
    return Rule("fixed_out_degree", partial(_draw_out_degree, k, autapses))


def _draw_out_degree(k: int, autapses: bool, rng: np.random.Generator, n: int, m: int, same: bool) -> SynapsePairs:
    targets = _others(rng, n, k, m, same and not autapses)
    return SynapsePairs(np.arange(n + 1, dtype=np.int64) * k, targets.ravel())


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
    k = whole("simulate.fixed_in_degree", "k", k, 0)
    return Rule("fixed_in_degree", partial(_draw_in_degree, k, autapses))


def _draw_in_degree(k: int, autapses: bool, rng: np.random.Generator, n: int, m: int, same: bool) -> SynapsePairs:
    from scipy.sparse import csc_array

    sources = _others(rng, m, k, n, same and not autapses)
    columns = (np.ones(m * k, dtype=np.int8), sources.ravel(), np.arange(m + 1, dtype=np.int64) * k)
    rows = csc_array(columns, shape=(n, m)).tocsr()
    return SynapsePairs(rows.indptr.astype(np.int64), rows.indices.astype(np.int32))


def all_to_all(*, autapses: bool = True) -> Rule:
    """Every source is connected to every target.

    Args:
        autapses: whether a neuron may be connected to itself.

    Example:
        >>> all_to_all().name
        'all_to_all'
    """
    return Rule("all_to_all", partial(_draw_all, autapses))


def _draw_all(autapses: bool, rng: np.random.Generator, n: int, m: int, same: bool) -> SynapsePairs:
    source, target = np.divmod(np.arange(n * m), m)
    keep = slice(None) if autapses or not same else source != target
    return SynapsePairs(_pointer(np.bincount(source[keep], minlength=n)), target[keep].astype(np.int32))


def one_to_one() -> Rule:
    """Neuron i is connected to neuron i of a population of the same size.

    Example:
        >>> one_to_one().name
        'one_to_one'
    """
    return Rule("one_to_one", _draw_one_to_one)


def _draw_one_to_one(rng: np.random.Generator, n: int, m: int, same: bool) -> SynapsePairs:
    if n != m:
        got = f"{n} sources and {m} targets"
        raise InputError("simulate.one_to_one", got=got, expected="as many sources as targets")
    return SynapsePairs(np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int32))


def from_pairs(source: Any, target: Any) -> Rule:
    """Exactly the given synapses; weights and delays given as arrays are in the same order.

    Args:
        source, target: integers ``(synapses)``; a pair may occur twice.

    Raises:
        InputError: lists of different length, not integers; when the network is drawn: a number out of range.

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
    return Rule("from_pairs", partial(_draw_pairs, source.astype(np.int64), target.astype(np.int64)))


def _draw_pairs(
    source: np.ndarray, target: np.ndarray, rng: np.random.Generator, n: int, m: int, same: bool
) -> SynapsePairs:
    for name, part, size in (("source", source, n), ("target", target, m)):
        if part.size and not (part.min() >= 0 and part.max() < size):
            got, expected = f"{name}s {part.min()}..{part.max()}", f"0..{size - 1}, the neurons of the population"
            raise InputError("simulate.from_pairs", got=got, expected=expected)
    pointer, order = _by_source(source, target, n)
    return SynapsePairs(pointer, target[order].astype(np.int32), order)


def from_matrix(weight: Any) -> Rule:
    """A synapse for every entry other than 0; the entry is its weight.

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
    if not np.isfinite(sparse.data).all():
        raise InputError(where, got="NaN or infinity", expected="finite weights")
    return Rule("from_matrix", partial(_draw_matrix, *sparse.coords, sparse.data.astype(np.float64), sparse.shape))


def _draw_matrix(
    target: np.ndarray, source: np.ndarray, weight: np.ndarray, shape: tuple[int, int],
    rng: np.random.Generator, n: int, m: int, same: bool,
) -> SynapsePairs:  # fmt: skip
    if shape != (m, n):
        fix = "Transpose it: rows are targets, as in nn.Linear."
        raise InputError("simulate.from_matrix", got=f"shape {shape}", expected=f"({m}, {n})", fix=fix)
    pointer, order = _by_source(source, target, n)
    return SynapsePairs(pointer, target[order].astype(np.int32), order, weight[order])


def _sparse(matrix: Any) -> Any:
    """Coordinates and values of the entries other than 0."""
    from scipy.sparse import coo_array, issparse

    if isinstance(matrix, torch.Tensor):
        matrix = matrix.detach().cpu()
        if matrix.layout != torch.strided:
            entries = matrix.to_sparse_coo().coalesce()
            matrix = coo_array((entries.values().numpy(), tuple(entries.indices().numpy())), shape=tuple(matrix.shape))
    try:
        sparse = coo_array(matrix if issparse(matrix) else np.asarray(matrix, dtype=np.float64), copy=True)
    except (TypeError, ValueError):
        got, expected = f"a {type(matrix).__name__}", "a matrix of numbers (targets, sources)"
        raise InputError("simulate.from_matrix", got=got, expected=expected) from None
    sparse.sum_duplicates()
    sparse.eliminate_zeros()
    return sparse
