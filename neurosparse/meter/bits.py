"""Widths of quantised layers: bits of the weights, inputs and outputs that a module declares.

Conventions of other libraries, read by their attributes, so that none of them is imported:

* torchao, training: ``weight_fake_quantizer`` and ``activation_fake_quantizer`` with a ``config.dtype``;
* torchao, ``quantize_``: the weight is a tensor made of integers (``qdata``), with a ``target_dtype`` if these are
  wider than the levels, and ``act_quant_kwargs`` or ``activation_quantization`` if inputs are quantised too;
* Brevitas: ``weight_quant``, ``input_quant``, ``output_quant`` and ``act_quant`` with a ``bit_width()``.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Bits", "declared_bits", "fake_quantised_bits"]


class Bits(NamedTuple):
    """Bits of the weights, the inputs and the outputs of a layer; None: those of the dtypes."""

    weight: int | None = None
    input: int | None = None
    output: int | None = None


def declared_bits(module: Any) -> Bits:
    """Bits that a module declares; none for a module that is not quantised.

    Example:
        >>> declared_bits(torch.nn.Linear(3, 2))
        Bits(weight=None, input=None, output=None)
    """
    weight = getattr(module, "weight", None)
    return Bits(
        _of_config(module, "weight_fake_quantizer") or _of_proxy(module, "weight_quant") or _of_stored(weight),
        _of_config(module, "activation_fake_quantizer") or _of_proxy(module, "input_quant") or _of_inputs(weight),
        _of_proxy(module, "act_quant") or _of_proxy(module, "output_quant"),
    )


def fake_quantised_bits(lowest: Any, highest: Any) -> int | None:
    """Bits of a grid of whole numbers.

    Example:
        >>> fake_quantised_bits(-128, 127), fake_quantised_bits(0, 14)
        (8, 4)
    """
    return (highest - lowest).bit_length() if isinstance(lowest, int) and isinstance(highest, int) else None


def _of_config(module: Any, name: str) -> int | None:
    """Of a fake quantiser of torchao."""
    quantiser = getattr(module, name, None)
    if quantiser is None or getattr(quantiser, "enabled", True) is False:
        return None
    config = getattr(quantiser, "config", None)
    named = 4 if type(config).__name__.startswith(("Int4", "NVFP4")) else None
    return _of_dtype(getattr(config, "dtype", None)) or named


def _of_dtype(dtype: Any) -> int | None:
    """Width in the name of a dtype.

    Example:
        >>> _of_dtype(torch.uint4), _of_dtype(torch.float8_e4m3fn), _of_dtype(None)
        (4, 8, None)
    """
    found = re.search(r"(?:int|float)(\d+)", str(getattr(dtype, "name", dtype)).lower())
    return None if found is None else int(found[1])


def _of_proxy(module: Any, name: str) -> int | None:
    """Of a quantisation proxy of Brevitas."""
    proxy = getattr(module, name, None)
    width = getattr(proxy, "bit_width", None)
    if not callable(width) or not getattr(proxy, "is_quant_enabled", True):
        return None
    with torch.no_grad():
        bits: Any = width()
    return None if bits is None else math.ceil(float(bits))


def _of_stored(weight: Any) -> int | None:
    """Of a weight that is stored as other numbers: those of its levels."""
    weight = getattr(weight, "original_weight_tensor", weight)
    inner = getattr(weight, "tensor_impl", weight)
    stored = next(
        (x for name in ("qdata", "int_data", "packed_weight") if (x := getattr(inner, name, None)) is not None), None
    )
    if not isinstance(stored, Tensor) or not weight.numel():
        return None
    low, high = getattr(weight, "quant_min", None), getattr(weight, "quant_max", None)
    exact = _of_dtype(getattr(weight, "target_dtype", None)) or fake_quantised_bits(low, high)
    return exact or max(1, 8 * stored.numel() * stored.element_size() // weight.numel())


def _of_inputs(weight: Any) -> int | None:
    """Of inputs that are quantised before they meet a stored weight, 8 in all formats of torchao."""
    names = ("act_quant_kwargs", "activation_quantization", "input_quant_func")
    return 8 if any(getattr(weight, name, None) is not None for name in names) else None
