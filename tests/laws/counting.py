"""Counting as slowly as can be: one pair of an input and a weight after the other, in plain Python."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np


class Counted(NamedTuple):
    """Pairs in all, with a non-zero input, with a non-zero weight, with both."""

    dense: int
    inputs: int
    weights: int
    both: int


def total(pairs: Iterator[tuple[Any, Any]]) -> Counted:
    dense = inputs = weights = both = 0
    for x, w in pairs:
        dense += 1
        inputs += bool(x != 0)
        weights += bool(w != 0)
        both += bool(x != 0) and bool(w != 0)
    return Counted(dense, inputs, weights, both)


def linear(x: np.ndarray, weight: np.ndarray) -> Counted:
    rows = x.reshape(-1, x.shape[-1])
    return total((row[i], weight[o, i]) for row in rows for o, i in np.ndindex(*weight.shape))


def contraction(equation: str, left: np.ndarray, right: np.ndarray) -> Counted:
    """Every value of every index of an einsum of two operands; an axis of length 1 is repeated."""
    a, b = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in ((a, left.shape), (b, right.shape)):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))

    def at(x: np.ndarray, term: str, where: dict[str, int]) -> Any:
        return x[tuple(where[letter] % size for letter, size in zip(term, x.shape, strict=True))]

    places = (dict(zip(sizes, point, strict=True)) for point in product(*(range(n) for n in sizes.values())))
    return total((at(left, a, where), at(right, b, where)) for where in places)


def convolution(
    x: np.ndarray,
    weight: np.ndarray,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    out_padding: Sequence[int] | None = None,
) -> Counted:
    """In any number of dimensions. With ``out_padding`` it is transposed: inputs are scattered, not gathered.

    ``x (samples, channels, *space)``; ``weight (out, in / groups, *kernel)``, or ``(in, out / groups, *kernel)``.
    """
    transposed = out_padding is not None
    space, kernel = x.shape[2:], weight.shape[2:]
    axes = range(len(space))
    if out_padding is not None:
        out = [
            (space[d] - 1) * stride[d] - 2 * padding[d] + dilation[d] * (kernel[d] - 1) + out_padding[d] + 1
            for d in axes
        ]
    else:
        out = [(space[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in axes]
    per_group = weight.shape[0] // groups

    def pairs() -> Iterator[tuple[Any, Any]]:
        near, far = (space, out) if transposed else (out, space)
        for sample, first, second in product(range(len(x)), range(weight.shape[0]), range(weight.shape[1])):
            other = first // per_group * weight.shape[1] + second
            channel = first if transposed else other
            for start, tap in product(np.ndindex(*near), np.ndindex(*kernel)):
                place = tuple(start[d] * stride[d] - padding[d] + tap[d] * dilation[d] for d in axes)
                if all(0 <= place[d] < far[d] for d in axes):
                    position = start if transposed else place
                    yield x[(sample, channel, *position)], weight[(first, second, *tap)]

    return total(pairs())


def pooling(space: Sequence[int], out: Sequence[int], windows: Any) -> int:
    """Cells that windows cover: ``windows(axis, i)`` are the positions of output i along an axis."""
    covered = 0
    for place in np.ndindex(*out):
        cells = product(*(windows(axis, i) for axis, i in enumerate(place)))
        covered += sum(all(0 <= c < n for c, n in zip(cell, space, strict=True)) for cell in cells)
    return covered
