"""A split of a data set into training, validation and test parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, cat
from neurosparse.experiments.classification.inputs import Inputs, n_samples, take, units_of

__all__ = ["Split", "fingerprint"]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Inputs and labels of each part, checked; the test part is for the final scores only.

    Inputs are a tensor ``(samples, ...)`` or recordings, an EventTensor ``(steps, samples, *units)``. Labels are whole
    numbers ``(samples)`` from 0. NumPy arrays and lists become tensors, numbers the default floating-point type.

    Args:
        train: for gradients.
        validation: for choosing the learning rate.
        test: for the final scores.

    Raises:
        InputError: a part without samples, inputs and labels that do not fit, NaN or infinity, labels that are not
            whole numbers from 0, parts whose samples differ in shape.

    Example:
        >>> import torch
        >>> part = torch.rand(6, 4), torch.zeros(6, dtype=torch.long)
        >>> Split(part, part, part).sizes
        {'train': 6, 'validation': 6, 'test': 6}
    """

    train: tuple[Inputs, Tensor]
    validation: tuple[Inputs, Tensor]
    test: tuple[Inputs, Tensor]
    largest_label: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = {name: _part(name, getattr(self, name)) for name in PARTS}
        kinds = {name: (type(x), units_of(x)) for name, (x, _) in parts.items()}
        for name in PARTS[1:]:
            if kinds[name] != kinds["train"]:
                got = f"{name} samples of shape {kinds[name][1]}, training samples of {kinds['train'][1]}"
                raise InputError("Split", got=got, expected="the same kind and shape in all parts")
        for name, part in parts.items():
            object.__setattr__(self, name, part)
        object.__setattr__(self, "largest_label", {name: int(y.max()) for name, (_, y) in parts.items()})

    @cached_property
    def fingerprint(self) -> str:
        """A hash over the training part: weights of one fingerprint were trained on the same inputs and labels."""
        return fingerprint(*self.train)

    def fold(self, number: int, folds: int) -> Split:
        """One fold of a cross-validation over the samples of all parts.

        Args:
            number: of the fold, from 0; its samples are the test part.
            folds: how many there are; each sample is in the test part of one.

        Returns:
            a Split; of the samples outside the fold, validation has the same share as in this one.

        Example:
            >>> part = torch.arange(6.0)[:, None], torch.arange(6)
            >>> sum(len(Split(part, part, part).fold(k, 4).test[1]) for k in range(4))
            18
        """
        inputs, labels = zip(*(getattr(self, name) for name in PARTS), strict=True)
        x, y = cat(inputs) if isinstance(inputs[0], EventTensor) else torch.cat(inputs), torch.cat(labels)
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
        rest = torch.cat([order[k::folds] for k in range(folds) if k != number])
        rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(number))]
        train, validation, _ = (len(part) for part in labels)
        held = max(1, round(len(rest) * validation / (train + validation)))
        return Split(*((take(x, part), y[part]) for part in (rest[held:], rest[:held], order[number::folds])))

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each part."""
        return {name: len(getattr(self, name)[1]) for name in PARTS}


def fingerprint(*parts: Inputs) -> str:
    """A hash over the numbers, shapes and types of tensors, and over the times of events.

    Example:
        >>> row, column = torch.zeros(1, 2), torch.zeros(2, 1)
        >>> fingerprint(row) == fingerprint(row.clone()), fingerprint(row) == fingerprint(column)
        (True, False)
    """
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, EventTensor):
            found.update(f"{part.shape} {part.axis} {part.dt} {part.t0}".encode())
            content = (part.dense(),) if part.is_dense else (part.row, part.index, part.value, part.offset)
            tensors = (*content, part.lengths)
        else:
            tensors = (part,)
        for tensor in tensors:
            found.update(b"none" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            if tensor is not None:
                found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _part(name: str, part: Any) -> tuple[Inputs, Tensor]:
    try:
        x, y = part
    except (TypeError, ValueError):
        got = f"{name} of type {type(part).__name__}"
        raise InputError("Split", got=got, expected="a pair (inputs, labels)") from None
    x, y = _inputs(name, x), _labels(name, y)
    if n_samples(x) != len(y) or not len(y):
        got = f"{name} with {n_samples(x)} inputs and {len(y)} labels"
        raise InputError("Split", got=got, expected="one label for each input, at least one")
    return x, y


def _inputs(name: str, x: Any) -> Inputs:
    """Finite inputs in the default floating-point type."""
    expected = "finite numbers (samples, ...) or an EventTensor (steps, samples, *units)"
    if not isinstance(x, EventTensor):
        x = _tensor("Split", f"{name} inputs", x, expected)
    if x.dtype.is_complex or (x.dtype == torch.bool and isinstance(x, Tensor)):
        raise InputError("Split", got=f"{name} inputs of {x.dtype}", expected=expected)
    steps = isinstance(x, EventTensor)
    if len(x.shape) < 2 + steps or (n_samples(x) and min(x.shape) < 1):
        raise InputError("Split", got=f"{name} inputs of shape {tuple(x.shape)}", expected=expected)
    if isinstance(x, Tensor):
        x = x.to(torch.get_default_dtype())
    elif not x.binary and x.dtype != torch.get_default_dtype():
        got = f"{name} events of {x.dtype}"
        raise InputError("Split", got=got, expected=f"events of {torch.get_default_dtype()}")
    values = (x.dense() if x.is_dense else x.value) if isinstance(x, EventTensor) else x
    if values is not None and not bool(values.isfinite().all()):
        raise InputError("Split", got=f"{name} inputs with NaN or infinity", expected=expected)
    return x


def _labels(name: str, y: Any) -> Tensor:
    """Whole numbers from 0, one for each sample."""
    expected = "whole numbers (samples) from 0"
    y = _tensor("Split", f"{name} labels", y, expected)
    if y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool or y.dim() != 1:
        got, fix = f"{name} labels {tuple(y.shape)} of {y.dtype}", "Pass labels.long()."
        raise InputError("Split", got=got, expected=expected, fix=fix if y.dtype.is_floating_point else "")
    if len(y) and int(y.min()) < 0:
        raise InputError("Split", got=f"{name} label {int(y.min())}", expected=expected)
    return y.long()


def _tensor(where: str, name: str, value: Any, expected: str) -> Tensor:
    try:
        return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError):
        got = f"{name} of type {type(value).__name__}"
        raise InputError(where, got=got, expected=expected) from None
