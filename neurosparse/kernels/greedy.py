"""Greedy (Gauss-Southwell) selection: which level would change most, and the change that it makes."""

from __future__ import annotations

from neurosparse.kernels.dispatch import kernel

__all__ = ["change_of", "index_bits", "largest", "padded", "recompute", "update"]

WIDTH = 16  # numbers that a loop takes at a time, a multiple of every vector width


def padded(n: int) -> int:
    """The next multiple of `WIDTH`, so that a vectorised loop has no remainder."""
    return -(-n // WIDTH) * WIDTH


@kernel.reassociating
def update(membrane, level, row, change, highest, lowest, hard, size, bits, keep, place):
    """Subtract ``change`` times ``row`` from the membranes; the atom of the largest change to come, as bits.

    Positive numbers are ordered like their bits, and integers have a maximum that runs eight at a time. The last bits
    hold the index of the atom, counted from behind: of equal changes the first is taken.
    """
    zero = membrane.dtype.type(0)  # a plain 0 would widen float32 to float64
    if hard:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs((u if abs(u) > highest[k] else zero) - level[k])
    else:
        for k in range(membrane.shape[0]):
            u = membrane[k] - change * row[k]
            membrane[k] = u
            size[k] = abs(u - min(max(u, lowest[k]), highest[k]) - level[k])
    best = place.dtype.type(-1)
    for k in range(membrane.shape[0]):
        key = place.dtype.type(place.dtype.type(bits[k] & keep) | place[k])
        best = key if key > best else best
    return best


@kernel
def index_bits(n, like):
    """The mask of the bits of a key that hold no index of ``n`` atoms."""
    low = 1
    while low < n:
        low *= 2
    return like.dtype.type(~(low - 1))


@kernel
def change_of(u, old, highest, lowest, hard, relaxation):
    """The change of a level with the membrane ``u``: to its target, or beyond it where it is active and stays so."""
    target = (u if abs(u) > highest else u - u) if hard else u - min(max(u, lowest), highest)
    beyond = target + relaxation * (target - old)
    return (beyond if target * old > 0 and target * beyond > 0 else target) - old


@kernel
def largest(size, bits):
    """The largest of non-negative numbers, by their bits."""
    best, at = bits.dtype.type(-1), 0
    for k in range(bits.shape[0]):
        best = bits[k] if bits[k] > best else best
    while bits[at] != best:
        at += 1
    return size[at]


@kernel.reassociating
def _subtract(membrane, a, b, c, d, one, two, three, four):
    for k in range(membrane.shape[0]):
        membrane[k] -= (one * a[k] + two * b[k]) + (three * c[k] + four * d[k])


@kernel
def recompute(membrane, drive, level, weights, atoms, count):
    """The membranes from the drive and the levels of ``atoms[:count]``, four rows of weights at a time."""
    n, zero = membrane.shape[0], membrane.dtype.type(0)
    for k in range(n):
        membrane[k] = drive[k]
    for i in range(0, count, 4):
        a, b, c, d = atoms[i], atoms[min(i + 1, count - 1)], atoms[min(i + 2, count - 1)], atoms[min(i + 3, count - 1)]
        two, three, four = (
            level[b] if i + 1 < count else zero,
            level[c] if i + 2 < count else zero,
            level[d] if i + 3 < count else zero,
        )
        _subtract(membrane, weights[a, :n], weights[b, :n], weights[c, :n], weights[d, :n], level[a], two, three, four)
