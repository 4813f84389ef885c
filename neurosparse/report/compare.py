"""Compare models that are already trained, in one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor, nn

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import evaluate
from neurosparse.experiments.classification.summary import provenance, summarise, verdicts
from neurosparse.report.method import method
from neurosparse.report.page import render
from neurosparse.report.paper import csv, latex
from neurosparse.report.table import markdown, table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Comparison", "compare"]

FORMATS = {"latex": latex, "markdown": partial(markdown, spread=True), "csv": csv}


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; ``results`` is the mapping behind table, JSON and page."""

    results: dict[str, Any]

    @overload
    def table(self, format: None = None) -> Table: ...
    @overload
    def table(self, format: str) -> str: ...
    def table(self, format: str | None = None) -> Table | str:
        """A table for the terminal; or the text of one: ``"latex"`` (booktabs), ``"markdown"`` or ``"csv"``.

        Raises:
            InputError: another format.
        """
        if format is None:
            return table(self.results)
        if format not in FORMATS:
            raise InputError("Comparison.table", got=f"format={format!r}", expected=f"one of {', '.join(FORMATS)}")
        return FORMATS[format](self.results)

    def method(self) -> str:
        """What was counted, assumed and compared, in words for the methods section of a paper."""
        return method(self.results)

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.results, indent=1)

    def save(self, path: str | PathLike[str]) -> None:
        """One self-contained HTML page, written atomically."""
        write_atomically(path, render(self.results).encode())

    def _repr_html_(self) -> str:
        return render(self.results)


def compare(
    models: Mapping[str, Callable[..., Any]],
    data: tuple[Tensor | EventTensor, Tensor],
    *,
    spiking: Sequence[type | str] = (),
    samples: int | None = None,
    batch_size: int = 250,
    title: str = "comparison",
) -> Comparison:
    """Accuracy, exact operations, sparsities and energies of several classifiers on the same data.

    Each model is run once over ``data`` under the meter; the first one is the reference of the verdicts.

    Args:
        models: name -> module from inputs to logits ``(samples, classes)`` (or to spikes ``(steps, samples, classes)``,
            whose counts are the logits).
        data: inputs ``(samples, ...)``, or events ``(steps, samples, *units)``; and labels ``(samples)``.
        spiking: module classes, or full module names, whose outputs are spikes, in networks of other libraries; each
            model is told of those it has.
        samples: axis of the batch in the inputs, see :func:`neurosparse.record`.
        batch_size: changes nothing that is counted.
        title: heads the report.

    Returns:
        ``.table()``, ``.table("latex")``, ``.method()``, ``.to_json()``, ``.save("report.html")``, ``.results``.

    Raises:
        InputError: no model, no data, labels that do not fit the inputs, an output that is no logits, an operation that
            cannot be counted, ``spiking`` that no model has.

    Example:
        >>> import torch
        >>> x, y = torch.eye(4), torch.arange(4)
        >>> small = torch.nn.Linear(4, 4, bias=False)
        >>> _ = small.weight.data.copy_(torch.eye(4))
        >>> found = compare({"small": small}, (x, y))
        >>> found.results["contestants"][0]["operations"]["effective_macs"]["mean"]
        1.0
    """
    if not models:
        raise InputError("compare", got="no model", expected="a mapping from names to models")
    for item in spiking:
        if not any(_has(model, item) for model in models.values()):
            raise InputError("compare", got=f"spiking={item!r}", expected="a module of one of the models")
    found = {}
    for name, model in models.items():
        own = [item for item in spiking if _has(model, item)]
        found[name] = [evaluate(model, data, batch_size=batch_size, samples=samples, spiking=own)]
    rows = [summarise(name, outcomes, family=type(models[name]).__name__) for name, outcomes in found.items()]
    first, *others = models
    decided = verdicts([(name, first) for name in others], found)
    header = {"task": title, "title": title, "seeds": [], "split": {"test": len(data[1])}, "reference": first}
    return Comparison(header | provenance(found) | {"contestants": rows, "verdicts": decided})


def _has(model: Callable[..., Any], item: type | str) -> bool:
    """Whether a model has a module of that class or name."""
    if not isinstance(model, nn.Module):
        return False
    return item == "input" or any(
        isinstance(module, item) if isinstance(item, type) else name == item for name, module in model.named_modules()
    )
