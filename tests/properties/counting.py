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


def places(x: np.ndarray) -> set[tuple[int, ...]]:
    """Where it is not zero."""
    return set(zip(*(axis.tolist() for axis in np.nonzero(x)), strict=True)) if x.ndim else {()} if x else set()


def total(pairs: Iterator[tuple[bool, bool]]) -> Counted:
    dense = inputs = weights = both = 0
    for x, w in pairs:
        dense += 1
        inputs += x
        weights += w
        both += x and w
    return Counted(dense, inputs, weights, both)


def linear(x: np.ndarray, weight: np.ndarray) -> Counted:
    rows, held = x.reshape(-1, x.shape[-1]), places(weight)
    fires = places(rows)
    return total(((row, i) in fires, (o, i) in held) for row in range(len(rows)) for o, i in np.ndindex(*weight.shape))


def contraction(equation: str, left: np.ndarray, right: np.ndarray) -> Counted:
    """Every value of every index of an einsum of two operands; an axis of length 1 is repeated."""
    a, b = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in ((a, left.shape), (b, right.shape)):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    present = [(term, x.shape, places(x)) for term, x in ((a, left), (b, right))]

    def at(where: dict[str, int]) -> Any:
        return tuple(
            tuple(where[letter] % size for letter, size in zip(term, shape, strict=True)) in found
            for term, shape, found in present
        )

    return total(at(dict(zip(sizes, point, strict=True))) for point in product(*(range(n) for n in sizes.values())))


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
    space, kernel, fires, held = x.shape[2:], weight.shape[2:], places(x), places(weight)
    axes = range(len(space))
    reach = [dilation[d] * (kernel[d] - 1) for d in axes]
    if out_padding is not None:
        out = [(space[d] - 1) * stride[d] - 2 * padding[d] + reach[d] + out_padding[d] + 1 for d in axes]
    else:
        out = [(space[d] + 2 * padding[d] - reach[d] - 1) // stride[d] + 1 for d in axes]
    per_group = weight.shape[0] // groups

    def pairs() -> Iterator[tuple[bool, bool]]:
        near, far = (space, out) if transposed else (out, space)
        for sample, first, second in product(range(len(x)), range(weight.shape[0]), range(weight.shape[1])):
            channel = first if transposed else first // per_group * weight.shape[1] + second
            for start, tap in product(np.ndindex(*near), np.ndindex(*kernel)):
                place = tuple(start[d] * stride[d] - padding[d] + tap[d] * dilation[d] for d in axes)
                if all(0 <= place[d] < far[d] for d in axes):
                    position = start if transposed else place
                    yield (sample, channel, *position) in fires, (first, second, *tap) in held

    return total(pairs())


def pooling(space: Sequence[int], out: Sequence[int], windows: Any) -> int:
    """Cells that windows cover: ``windows(axis, i)`` are the positions of output i along an axis."""
    covered = 0
    for place in np.ndindex(*out):
        cells = product(*(windows(axis, i) for axis, i in enumerate(place)))
        covered += sum(all(0 <= c < n for c, n in zip(cell, space, strict=True)) for cell in cells)
    return covered
