"""Storage size of a weight, or of events, in bits, for each format."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.checks import whole
from neurosparse.errors import InputError
from neurosparse.events.size import bits as size
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import data_rows

__all__ = ["storage_bits"]


def storage_bits(x: Tensor | EventTensor, format: str, bits: int | None = None) -> int:
    """The exact size of a weight or of events in a storage format.

    A weight ``(out, *in)`` is stored row by row; sparse formats leave out its zeros. With ``n`` non-zero
    values of ``v`` bits, ``R`` rows and ``U`` columns: dense ``R U v``; bitmap ``R U + n v``; aer (coordinates)
    ``n (ceil log2 R + ceil log2 U + v)``; csr ``(R + 1) ceil log2(n + 1) + n (ceil log2 U + v)``; rle: run lengths,
    see ``docs/format.md``; ``n:m``: ``R ceil(U / m) n (ceil log2 m + v)``.

    Args:
        x: a weight with at least two axes, or events; of a timed tensor the rows that are data.
        format: ``dense``, ``bitmap``, ``aer``, ``csr``, ``rle``, or a pattern such as ``2:4``.
        bits: bits of a value; None: those of the dtype.

    Returns:
        bits.

    Raises:
        InputError: no tensor, an unknown format, a tensor without rows, a pattern that the values do not have.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 3.0]])
        >>> {format: storage_bits(weight, format, bits=8) for format in ("dense", "bitmap", "aer", "csr", "2:4")}
        {'dense': 64, 'bitmap': 32, 'aer': 33, 'csr': 36, '2:4': 40}
    """
    bits = None if bits is None else whole("storage_bits", "bits", bits)
    if isinstance(x, EventTensor):
        return size(x, format, bits)
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.numel():
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"x of type {type(x).__name__}"
        raise InputError("storage_bits", got=got, expected="a tensor of rows and columns", fix="Pass layer.weight.")
    x = data_rows(x)
    dense = x.detach() if x.layout == torch.strided else x.detach().to_dense()
    rows = EventTensor.from_dense(dense.flatten(1)[:, None], spikes=False)  # a step per row, one sample
    return size(rows, format, 8 * x.dtype.itemsize if bits is None else bits)
