"""Charges of operators and declared operations to the layers of a recorded model."""

from __future__ import annotations

import math
import warnings
from copy import copy
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor

from neurosparse.events.fold import FoldedEvents
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.bits import Bits
from neurosparse.meter.costs import scalar_cost
from neurosparse.meter.kernel_products import KERNELS
from neurosparse.meter.layouts import Layouts, without_padding
from neurosparse.meter.modules import RunningModules
from neurosparse.meter.operators import Function
from neurosparse.meter.products import PRODUCTS, Product
from neurosparse.meter.provenance import Facts, Provenance, StepLayout, tensors_in
from neurosparse.meter.tally import EVENTS
from neurosparse.meter.tape import Tape

__all__ = ["Charges"]


def _apart(x: Any) -> Any:
    """Events whose addresses can be found without a change of the model's own, which may decide what kernel runs."""
    if isinstance(x, FoldedEvents):
        return FoldedEvents(_apart(x.events), x.units)
    return copy(x) if isinstance(x, EventTensor) and not x.is_found else x


class Charges:
    """Sums operations on a tape.

    Args:
        tape: where operations are summed.
        modules: the running modules, whose layers are charged.
        known: provenance of the tensors.
    """

    def __init__(self, tape: Tape, modules: RunningModules, known: Provenance):
        self.tape, self.modules, self.known = tape, modules, known
        self.layouts = Layouts(known)
        self.function: Function | None = None  # the outermost torch function that is running
        self.guessed: int | None = None  # storage of an input of one axis, which is taken for the batch
        # Layer of the product with a weight that the current operator computes, and the share of it that is charged.
        self.product: tuple[str, Fraction] | None = None

    def products(self, name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        products, layer = (PRODUCTS.get(name) or KERNELS[name])(self.known.role, *args, **kwargs), self.layer(name)
        if not products:
            self.tape.add_uncounted(layer, self.label(name))
        for product in products:
            source, weight, operation = product
            if weight is None:  # scalar work beside a product
                self._add_scalar(layer, operation, source, source)
                continue
            if (
                operation.kind == "matmul"
                and operation.equation
                and self.known.is_spiking(weight) > self.known.is_spiking(source)
            ):
                product = Product(weight, source, operation.swapped)
            self.operation(layer, product.operation, product)

    def scalar(self, func: Any, name: str, args: tuple, kwargs: dict, sources: list[Tensor], result: Any) -> None:
        if self.modules.in_neuron and torch.Tag.pointwise in func.tags:
            return  # the dynamics of a declared neuron are its state updates
        cost, layer = scalar_cost(func, args, kwargs, result), self.layer(name)
        if cost is None:
            self.tape.add_uncounted(layer, self.label(name))
            return
        column, amount = cost
        if not amount:
            return
        biased = self._biased(name, sources)
        if biased is not None:
            layer, share = biased
            self.tape.add_counts(layer, "linear", self.modules.phase, bias_adds=int(amount * share))
            return
        kind: Literal["compare", "elementwise"] = "compare" if column == "comparisons" else "elementwise"
        if not (self.layouts.ragged or self.tape.detail):
            self.tape.add_counts(layer, kind, self.modules.phase, **{column: amount})
            return
        computed = next((made for made in tensors_in(result) if made.dim()), sources[0])
        computed = computed if amount >= computed.numel() else sources[0]
        reduced = amount == sources[0].numel() > computed.numel()  # work for each cell of what is summed up
        counts: dict[str, Any] = {column: amount}
        self._add_scalar(layer, Operation(kind, **counts), sources[0] if reduced else computed, sources[0])

    def _add_scalar(self, layer: str, operation: Operation, computed: Any, source: Any) -> None:
        """Charge scalar work, of padded steps none."""
        layout = self._layout_of(computed) or self._layout_of(source)
        if layout is None or not layout.fits(computed):
            self._add(layer, operation, like=self._unfolded(computed))
            return
        valid, rows = int(layout.lengths.clamp(max=layout.steps).sum()), layout.steps * layout.samples
        names = ("state_updates", "comparisons", "elementwise")
        work = {name: getattr(operation, name) * valid // rows for name in names}
        self._add(layer, replace(operation, **work), like=self._unfolded(computed), lengths=layout.lengths)

    def _layout_of(self, x: Any) -> StepLayout | None:
        return self.layouts.of(x, backward=self.modules.phase == "backward")

    def _biased(self, name: str, sources: list[Tensor]) -> tuple[str, Fraction] | None:
        """Layer whose bias an addition adds, and the share of its rows that is charged.

        A bias is a parameter of one axis that is added to the product of that layer.
        """
        if name != "add" or len(sources) != 2 or self.modules.phase != "forward":
            return None
        product, bias = sources if self.known.is_static(sources[1]) else sources[::-1]
        facts = self.known.of(product)
        return facts.product if facts is not None and bias.dim() == 1 and self.known.is_static(bias) else None

    def _add(self, layer: str, operation: Operation, **how: Any) -> Fraction:
        return self.tape.add(layer, operation, phase=self.modules.phase, **how)

    def operation(self, layer: str, operation: Operation, product: Product | None = None) -> None:
        """Charge a product, or an operation that a function has declared, to a layer."""
        operation = replace(operation, input=_apart(operation.input), output=_apart(operation.output))
        if operation.weight is None:
            self._add(layer, operation)
            return
        source, weight, _ = product or Product(operation.input, operation.weight, operation)
        assert weight is not None
        of_source = self.known.of(source) if isinstance(source, Tensor) else None
        of_weight = self.known.of(weight) or Facts("constant", producer="")  # unpacked by the reader
        layout = self._layout_of(source)
        fits = layout is not None and (isinstance(source, EVENTS) or layout.fits(source))
        if operation.equation is not None:
            padded = layout or self._layout_of(weight)
            cut = None if padded is None else without_padding(operation, padded)
            if cut is None and fits:
                self.tape.add_uncounted(layer, f"{operation.equation} of a ragged batch")
                return
            operation, fits = cut or operation, False
        layout = layout if fits else None
        layer = of_weight.layer or layer
        self._warn_of_missing_batch(source)
        constant = (
            getattr(source, "constant", False) if isinstance(source, EVENTS) else bool(of_source and of_source.repeats)
        )
        charged = self._add(
            layer,
            self._with_bits(self._unfold(operation, source, layout), source, weight),
            facts=None if operation.kind == "matmul" or of_weight.origin == "signal" else of_weight,
            producer=None if of_source is None else of_source.producer,
            spikes=self.known.is_spiking(source),
            lengths=None if layout is None else layout.lengths,
            constant=constant,
        )
        self.product = (layer, charged) if operation.kind == "linear" and not operation.bias else None

    def _with_bits(self, operation: Operation, source: Any, weight: Tensor) -> Operation:
        """The operation with the bits of spikes, of levels, and of what a quantised module declares."""
        declared = self.modules.calls[-1].bits if self.modules.calls else Bits()
        of_source, of_weight = self.known.kind_of(source), self.known.kind_of(weight)
        of_input = of_source.spike_bits if of_source.is_spikes else operation.input_bits or declared.input
        weight_bits = operation.weight_bits or declared.weight or of_weight.bits
        input_bits = of_input or of_source.bits
        if (weight_bits, input_bits) == (operation.weight_bits, operation.input_bits):
            return operation
        return replace(operation, weight_bits=weight_bits, input_bits=input_bits)

    def _unfold(self, operation: Operation, source: Any, layout: StepLayout | None) -> Operation:
        """The operation with the steps, samples and rows of its input apart, as the torch function received them."""
        x = operation.input
        if not isinstance(x, Tensor) or operation.kind == "matmul" or operation.equation or x is not source:
            return operation
        if layout is not None and layout.in_rows(x):
            return replace(operation, input=x.unflatten(0, (layout.steps, layout.samples)))
        if operation.kind == "conv":
            return self._without_padding(operation, x)
        unfolded = self._unfolded(x)
        return operation if unfolded is x else replace(operation, input=unfolded)

    def _without_padding(self, operation: Operation, x: Tensor) -> Operation:
        """A convolution without the zeros that torch joins to one side for ``padding="same"``."""
        inside = self.function is not None and self.function.name.startswith("conv")
        space = self.function.shape[2 - x.dim() :] if inside and self.function is not None else ()
        beyond = tuple(size - own for size, own in zip(x.shape[2:], space, strict=False))
        if len(space) != x.dim() - 2 or not any(beyond) or min(beyond) < 0:
            return operation
        for axis, own in enumerate(space, 2):
            x = x.narrow(axis, 0, own)
        return replace(operation, input=x, geometry=(operation.geometry or {}) | {"beyond": beyond})

    def _unfolded(self, x: Tensor) -> Tensor:
        """A tensor of flat rows with the leading axes of the torch function's input."""
        shape = self.function.shape[:-1] if self.function is not None else ()
        return x.unflatten(0, shape) if len(shape) > 1 and x.dim() == 2 and len(x) == math.prod(shape) else x

    def _warn_of_missing_batch(self, source: Any) -> None:
        vector = isinstance(source, Tensor) and source.numel() == self.tape.batch > 1
        if vector and self.guessed is not None and source.untyped_storage()._cdata == self.guessed:
            self.guessed = None
            text = (
                f"record: the model's input of one axis counts as {self.tape.batch} samples, but is multiplied as one "
            )
            warnings.warn(text + 'vector. Pass samples="none" for a sample without a batch.', stacklevel=2)

    def label(self, operator: str) -> str:
        """Name in the counts: that of the torch function, else that of the operator."""
        return operator if self.function is None else self.function.name

    def layer(self, operator: str) -> str:
        return self.modules.layer(self.label(operator))
