"""Granularity of pruning: single weights, n of every m inputs, blocks, rows; all are tiles of a matrix.

A weight ``(outputs, inputs, *kernel)`` is read as the matrix ``(outputs, kernel x inputs)``, inputs last, so that a
group of n:m lies along the input channels, as in hardware.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torch import Tensor

from neurosparse.errors import InputError

__all__ = ["Tile", "from_tiles", "tile_of", "to_tiles"]

WORDS = '"weight", "row", "block 4 4" or "n:4"'


class Tile(NamedTuple):
    """Rows and columns of a tile, 0 columns for a whole row; pruned as a whole, or inside it."""

    rows: int
    columns: int
    inside: bool = False


def tile_of(granularity: str) -> Tile:
    """The tile that a granularity names.

    Args:
        granularity: ``"weight"``; ``"row"``, all weights of one output; ``"block A B"``, A outputs by B inputs;
            ``"n:M"``, of each M neighbouring inputs the same number n is kept, which the sparsity gives.

    Raises:
        InputError: any other text.

    Example:
        >>> tile_of("block 4 2"), tile_of("n:4")
        (Tile(rows=4, columns=2, inside=False), Tile(rows=1, columns=4, inside=True))
    """
    if granularity in ("weight", "row"):
        return Tile(1, int(granularity == "weight"))
    if found := re.fullmatch(r"block ([1-9]\d*) ([1-9]\d*)", granularity):
        return Tile(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"n:([1-9]\d*)", granularity):
        return Tile(1, int(found[1]), inside=True)
    raise InputError("granularity", got=repr(granularity), expected=WORDS, fix='Pass "weight" for single weights.')


def to_tiles(weight: Tensor, tile: Tile) -> Tensor:
    """The weight's tiles as rows, ``(tiles, weights of a tile)``.

    Raises:
        InputError: a weight that the tile does not divide.

    Example:
        >>> import torch
        >>> to_tiles(torch.arange(8).view(2, 4), Tile(2, 2)).tolist()
        [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    matrix = weight.movedim(1, -1).flatten(1)
    rows, columns = tile.rows, tile.columns or matrix.shape[1]
    if matrix.shape[0] % rows or (tile.columns and weight.shape[1] % columns):
        expected, fix = f"multiples of {rows} outputs and {columns} inputs", "Choose a tile that divides every layer."
        raise InputError("granularity", got=f"a weight {tuple(weight.shape)}", expected=expected, fix=fix)
    blocks = matrix.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
    return blocks.transpose(1, 2).flatten(2).flatten(0, 1)


def from_tiles(tiles: Tensor, like: Tensor, tile: Tile) -> Tensor:
    """The inverse of :func:`to_tiles`, in the shape of ``like``.

    Example:
        >>> import torch
        >>> weight = torch.rand(4, 6, 3, 3)
        >>> torch.equal(from_tiles(to_tiles(weight, Tile(2, 3)), weight, Tile(2, 3)), weight)
        True
    """
    channels_last = like.movedim(1, -1).shape
    rows, columns = tile.rows, tile.columns or channels_last[1:].numel()
    blocks = tiles.unflatten(1, (rows, columns)).unflatten(0, (like.shape[0] // rows, -1))
    return blocks.transpose(1, 2).reshape(channels_last).movedim(-1, 1).contiguous()
