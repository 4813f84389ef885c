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
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    present = [(term, x.shape, places(x)) for term, x in ((a, left), (b, right))]

    def at(where: dict[str, int]) -> Any:
        return tuple(
            tuple(where[letter] % size for letter, size in zip(term, shape, strict=True)) in found
            for term, shape, found in present
        )

    return total(at(dict(zip(sizes, point, strict=True))) for point in product(*(range(n) for n in sizes.values())))


Place = tuple[int, ...]


def taps(
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    out_padding: Sequence[int] | None = None,
) -> Iterator[tuple[Place, Place, Place]]:
    """Places of input, weight and output of each product of a convolution, in any number of dimensions.

    With ``out_padding`` it is transposed: inputs are scattered, not gathered. ``shape (samples, channels, *space)``;
    ``weight (out, in / groups, *kernel)``, or ``(in, out / groups, *kernel)``.
    """
    space, kernel, transposed = shape[2:], weight[2:], out_padding is not None
    axes = range(len(space))
    reach = [dilation[d] * (kernel[d] - 1) for d in axes]
    if out_padding is not None:
        out = [(space[d] - 1) * stride[d] - 2 * padding[d] + reach[d] + out_padding[d] + 1 for d in axes]
    else:
        out = [(space[d] + 2 * padding[d] - reach[d] - 1) // stride[d] + 1 for d in axes]
    per_group = weight[0] // groups
    near, far = (space, out) if transposed else (out, space)
    for sample, first, second in product(range(shape[0]), range(weight[0]), range(weight[1])):
        other = first // per_group * weight[1] + second
        for start, tap in product(np.ndindex(*near), np.ndindex(*kernel)):
            place = tuple(start[d] * stride[d] - padding[d] + tap[d] * dilation[d] for d in axes)
            if all(0 <= place[d] < far[d] for d in axes):
                ends = (sample, first, *start), (sample, other, *place)
                yield ends[not transposed], (first, second, *tap), ends[transposed]


def convolution(x: np.ndarray, weight: np.ndarray, *geometry: Any, **named: Any) -> Counted:
    """Pairs of an input and a weight."""
    fires, held = places(x), places(weight)
    return total((at in fires, tap in held) for at, tap, _ in taps(x.shape, weight.shape, *geometry, **named))


def weight_gradient(x: np.ndarray, grad: np.ndarray, weight: Sequence[int], *geometry: Any) -> Counted:
    """Pairs of an input and the gradient of an output."""
    fires, back = places(x), places(grad)
    return total((at in fires, to in back) for at, _, to in taps(x.shape, weight, *geometry))


def input_gradient(grad: np.ndarray, weight: np.ndarray, shape: Sequence[int], *geometry: Any) -> Counted:
    """Pairs of the gradient of an output and a weight."""
    back, held = places(grad), places(weight)
    return total((to in back, tap in held) for _, tap, to in taps(shape, weight.shape, *geometry))


def pooling(space: Sequence[int], out: Sequence[int], windows: Any) -> int:
    """Cells that windows cover: ``windows(axis, i)`` are the positions of output i along an axis."""
    covered = 0
    for place in np.ndindex(*out):
        cells = product(*(windows(axis, i) for axis, i in enumerate(place)))
        covered += sum(all(0 <= c < n for c, n in zip(cell, space, strict=True)) for cell in cells)
    return covered
