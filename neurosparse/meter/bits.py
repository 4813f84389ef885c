"""Widths of quantised layers: bits of weights and inputs that a module declares."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Bits", "declared_bits"]


class Bits(NamedTuple):
    """Bits of the weights and of the inputs of a layer; None: those of the dtypes."""

    weight: int | None = None
    input: int | None = None


def declared_bits(module: Any) -> Bits:
    """Widths that a module declares; none by default."""
    return Bits()
