"""Compare models that are already trained, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.evaluate import evaluate
from neurosparse.experiments.classification.summary import provenance, summarise, verdicts
from neurosparse.report import Comparison

__all__ = ["compare"]


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
        spiking: module classes, or full module names, whose outputs are spikes, in networks of other libraries;
            for each model those that it has count.
        samples: axis of the batch in the inputs, see :func:`neurosparse.record`.
        batch_size: changes nothing that is counted.
        title: heads the report.

    Returns:
        ``.table()``, ``.table("latex")``, ``.method()``, ``.to_json()``, ``.save("report.html")``, ``.results``;
            printed, the answer and the main columns.

    Raises:
        InputError: no model, no data, labels that do not fit the inputs, an output that is no logits, an operation that
            cannot be counted, logits with NaN, ``spiking`` that no model has.

    Example:
        >>> import torch
        >>> x, y = torch.eye(4), torch.arange(4)
        >>> small = torch.nn.Linear(4, 4, bias=False)
        >>> _ = small.weight.data.copy_(torch.eye(4))
        >>> found = compare({"small": small}, (x, y))
        >>> found.results["models"][0]["operations"]["effective_macs"]["mean"]
        1.0
    """
    if not isinstance(models, Mapping) or not models:
        raise InputError("compare", got=f"models={models!r}", expected="a mapping from names to models")
    for item in spiking:
        if not any(_has(model, item) for model in models.values()):
            raise InputError("compare", got=f"spiking={item!r}", expected="a module of one of the models")
    found = {}
    for name, model in models.items():
        own = [item for item in spiking if _has(model, item)]
        try:
            found[name] = [evaluate(model, data, batch_size=batch_size, samples=samples, spiking=own)]
        except InputError as error:
            raise InputError(f"compare, model {name!r}: {error}") from error
    first = next(iter(models))
    rows = [summarise(name, outcomes, family=name, weight_bits=_bits(outcomes)) for name, outcomes in found.items()]
    header = {"task": title, "title": title, "seeds": [], "split": {"test": len(data[1])}, "reference": first}
    return Comparison(header | provenance(found, None) | {"models": rows, "verdicts": verdicts(rows, found, first)})


def _bits(outcomes: Sequence[Mapping[str, Any]]) -> int | None:
    """Bits of the weights of a model; None if its layers differ."""
    widths = {row["weight_bits"] for row in outcomes[0]["counts"].rows if row["weights"]}
    return widths.pop() if len(widths) == 1 else None


def _has(model: Callable[..., Any], item: type | str) -> bool:
    """Whether a model has a module of that class or name."""
    if not isinstance(model, nn.Module):
        return False
    return item == "input" or any(
        isinstance(module, item) if isinstance(item, type) else name == item for name, module in model.named_modules()
    )
