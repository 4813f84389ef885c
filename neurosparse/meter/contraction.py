"""Contractions: products of two tensors in the notation of einsum, and the number of pairs they multiply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from string import ascii_letters
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Equation", "Pairs", "contract", "equation_of_matmul", "n_nonzero", "nonzero_along", "parse"]


class Equation(NamedTuple):
    """``left, right -> out``: one letter for each axis."""

    left: str
    right: str
    out: str

    def __str__(self) -> str:
        return f"{self.left},{self.right}->{self.out}"

    @property
    def swapped(self) -> Equation:
        """The same product with the operands exchanged."""
        return Equation(self.right, self.left, self.out)

    def sizes(self, left: Sequence[int], right: Sequence[int]) -> dict[str, int]:
        """Length of the axis of each letter; an axis of length 1 is broadcast."""
        sizes: dict[str, int] = {}
        for term, shape in ((self.left, left), (self.right, right)):
            for letter, size in zip(term, shape, strict=True):
                sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
        return sizes

    def outputs(self, left: Sequence[int], right: Sequence[int]) -> int:
        """Number of entries of the result."""
        sizes = self.sizes(left, right)
        return math.prod(sizes[letter] for letter in self.out)


class Pairs(NamedTuple):
    """Numbers of pairs of entries in a product: all; with the left, the right, or both entries not zero."""

    all: int
    left: int
    right: int
    both: int


@cache
def parse(equation: str, left: int, right: int) -> Equation | None:
    """Parse an equation of two operands with ``left`` and ``right`` axes; None for others (a diagonal, one operand).

    Example:
        >>> str(parse("...ij,jk", 3, 2))
        'aij,jk->aik'
    """
    terms, arrow, out = equation.replace(" ", "").partition("->")
    if terms.count(",") != 1:
        return None
    used = set(terms) | set(out)
    free = "".join(letter for letter in ascii_letters if letter not in used)
    a, b = terms.split(",")
    dots = [axes - len(term.replace("...", "")) if "..." in term else 0 for term, axes in ((a, left), (b, right))]
    most = free[: max(dots)]
    a, b = (term.replace("...", most[len(most) - n :]) for term, n in zip((a, b), dots, strict=True))
    if len(a) != left or len(b) != right or len(set(a)) < left or len(set(b)) < right:
        return None
    once = "".join(sorted(letter for letter in set(a + b) - set(most) if (a + b).count(letter) == 1))
    return Equation(a, b, out.replace("...", most) if arrow else most + once)


@cache
def equation_of_matmul(left: int, right: int) -> Equation:
    """Equation of a matrix product: the last two axes are matrices, those before are aligned from the right.

    Example:
        >>> str(equation_of_matmul(4, 3)), str(equation_of_matmul(1, 2))
        ('abxy,byz->abxz', 'y,yz->z')
    """
    batch = ascii_letters[: max(left, right, 2) - 2]
    a = batch[len(batch) - left + 2 :] + "xy" if left > 1 else "y"
    b = batch[len(batch) - right + 2 :] + "yz" if right > 1 else "y"
    return Equation(a, b, batch + ("x" if left > 1 else "") + ("z" if right > 1 else ""))


def nonzero_along(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Number of non-zero entries along axes, at least one, in int32.

    ``torch.count_nonzero`` takes up to 15 times longer: it branches at every value, and it sums in 64 bits.

    Example:
        >>> nonzero_along(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), 0).tolist()
        [2, 1]
    """
    return (x != 0).sum(axes, dtype=torch.int32)


def n_nonzero(x: Tensor) -> int:
    """Number of non-zero entries.

    Example:
        >>> n_nonzero(torch.tensor([1.0, 0.0, -2.0]))
        2
    """
    return int(torch.count_nonzero(x != 0))


def contract(equation: Equation, left: Tensor, right: Tensor) -> Pairs:
    """Count the pairs of a product, in whole numbers.

    Axes that one operand has alone are counted first: a sum over all pairs is a sum over the shared axes of the
    product of two counts of non-zero entries. An operand without zeros needs no such sum.

    Example:
        >>> contract(Equation("xy", "yz", "xz"), torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
        Pairs(all=4, left=2, right=3, both=1)
    """
    pairs = math.prod(equation.sizes(left.shape, right.shape).values())
    if not pairs:
        return Pairs(0, 0, 0, 0)
    shared = [letter for letter in equation.left if letter in equation.right]
    first, second = _counts(left, equation.left, shared), _counts(right, equation.right, shared)
    of_left, of_right = (pairs // x.numel() * int(count.sum()) for x, count in ((left, first), (right, second)))
    full = pairs in (of_left, of_right)
    both = min(of_left, of_right) if full else int((first.long() * second).sum())
    return Pairs(pairs, of_left, of_right, both)


def _counts(x: Tensor, term: str, kept: Sequence[str]) -> Tensor:
    """Number of non-zero entries along the axes that are not kept, with the kept axes in the given order."""
    counted = tuple(axis for axis, letter in enumerate(term) if letter not in kept)
    order = [letter for letter in term if letter in kept]
    counts = nonzero_along(x, counted) if counted else x != 0
    return counts.permute([order.index(letter) for letter in kept])
