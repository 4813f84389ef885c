"""Comparison of trained models on the same data, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor, nn

from neurosparse.checks import one_of
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.evaluate import evaluate
from neurosparse.experiments.classification.summary import provenance, summarise, verdicts
from neurosparse.io import norse, snntorch, spikingjelly
from neurosparse.meter import OperationCounts
from neurosparse.report import Comparison

__all__ = ["compare"]

RECORDINGS = {"norse": norse.recording, "snntorch": snntorch.recording, "spikingjelly": spikingjelly.recording}
"""Which modules of a library spike, by the name of its package."""
OPTIONS = ("spiking", "samples", "constant")

Models = Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]]
Spiking = type | str | Sequence[type | str] | Mapping[Any, int]


def compare(
    models: Models,
    data: tuple[Tensor | np.ndarray | EventTensor, Tensor | np.ndarray | Sequence[int]],
    *,
    spiking: Spiking = (),
    samples: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 250,
    title: str = "comparison",
) -> Comparison:
    """Accuracy, exact operations, sparsities and energies of several classifiers on the same data.

    Each model is run once over ``data`` under the meter; the first one is the reference of the verdicts. Neurons of
    snnTorch, SpikingJelly and Norse are recognised; a warning names other modules that send only 0 and 1.

    Args:
        models: name -> module from inputs to logits ``(samples, classes)`` (or to spikes ``(steps, samples, classes)``,
            whose counts are the logits); or a list of modules, which are named by their classes.
        data: inputs ``(samples, ...)``, or events ``(steps, samples, *units)``; and labels ``(samples)``.
        spiking: module classes, or full module names, whose outputs are spikes, in other networks; for each model those
            that it has count.
        samples: axis of the batch in the inputs, see :func:`neurosparse.record`.
        options: by name of a model, its own ``spiking`` and ``samples``, and ``constant``: modules whose inputs are the
            same at every step, see :func:`neurosparse.record`.
        batch_size: changes nothing that is counted.
        title: heads the report.

    Returns:
        ``.table()``, ``.table("latex")``, ``.method()``, ``.to_json()``, ``.save("report.html")``, ``.results``.

    Raises:
        InputError: no model, no data, labels that do not fit the inputs, an output that is no logits, an operation that
            cannot be counted, logits with NaN, ``spiking`` that no model has, options of no model.

    Example:
        >>> import torch
        >>> x, y = torch.rand(8, 4), torch.arange(8) % 4
        >>> found = compare({"small": torch.nn.Linear(4, 4, bias=False)}, (x, y))
        >>> found.results["models"][0]["operations"]["effective_macs"]["mean"]
        16.0
    """
    named = _named(models)
    own = _options(named, options)
    listed = [spiking] if isinstance(spiking, str | type) else list(spiking)
    for item in listed:
        if not any(_has(model, item) for model in named.values()):
            raise InputError("compare", got=f"spiking={item!r}", expected="a module of one of the models")
    found = {}
    for name, model in named.items():
        states = spiking if isinstance(spiking, Mapping) else dict.fromkeys(listed, 1)
        declared = {item: states[item] for item in listed if _has(model, item)} | _recognised(model)
        given = {"spiking": declared, "samples": samples} | own.get(name, {})
        try:
            found[name] = [evaluate(model, data, batch_size=batch_size, **given)]
        except InputError as error:
            raise InputError(f"compare, model {name!r}: {error}") from error
        _suggest(name, found[name][0]["counts"])
    first = next(iter(named))
    rows = [summarise(name, outcomes, family=name, weight_bits=_bits(outcomes)) for name, outcomes in found.items()]
    header = {"task": title, "title": title, "seeds": [], "split": {"test": len(data[1])}, "reference": first}
    return Comparison(header | provenance(found, None) | {"models": rows, "verdicts": verdicts(rows, found, first)})


def _named(models: Models) -> dict[str, Callable[..., Any]]:
    """Models by name; those of a list by their classes, with numbers where a class comes more than once."""
    if not isinstance(models, Mapping | list | tuple) or not models:
        expected, fix = "a mapping from names to models, or a list of models", 'Pass {"mine": net}.'
        got = f"models of type {type(models).__name__}" if models else f"models={models!r}"
        raise InputError("compare", got=got, expected=expected, fix=fix)
    if isinstance(models, Mapping):
        return dict(models)
    classes = [type(model).__name__ for model in models]
    numbered = [f"{name} {classes[:i].count(name) + 1}" for i, name in enumerate(classes)]
    names = [many if classes.count(name) > 1 else name for name, many in zip(classes, numbered, strict=True)]
    return dict(zip(names, models, strict=True))


def _options(names: Collection[str], options: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Options by name of the model."""
    for name, given in (options or {}).items():
        one_of("compare", "a name in options", name, names)
        for key in given:
            one_of("compare", f"an option of {name!r}", key, OPTIONS)
    return {name: dict(given) for name, given in (options or {}).items()}


def _has(model: Callable[..., Any], item: type | str) -> bool:
    """Whether a model has a module of that class or name."""
    if not isinstance(model, nn.Module):
        return False
    return item == "input" or any(
        isinstance(module, item) if isinstance(item, type) else name == item for name, module in model.named_modules()
    )


def _recognised(model: Callable[..., Any]) -> dict[str, int]:
    """Spiking modules of known libraries with the number of their states; nothing is imported for other models."""
    found: dict[str, int] = {}
    if isinstance(model, nn.Module):
        packages = {type(module).__module__.partition(".")[0] for module in model.modules()}
        for package in packages & RECORDINGS.keys():
            with suppress(InputError):  # a model with layers of the library, but none of its neurons
                found |= RECORDINGS[package](model)["spiking"]
    return found


def _suggest(name: str, counts: OperationCounts) -> None:
    """Warn of modules that send only 0 and 1 and are not declared to spike; data may be binary without being spikes."""
    returned = (entry for entry in counts.suggestions if entry["argument"].startswith("spiking="))
    senders = sorted({entry["producer"] for entry in returned} - {"input"})
    if senders:
        argument = f"options={{{name!r}: {{'spiking': {senders!r}}}}}"
        words = f"the outputs of {', '.join(senders)} were 0 and 1 in all calls and counted as values"
        warnings.warn(f"compare, model {name!r}: {words}; if they are spikes, pass {argument}.", stacklevel=3)


def _bits(outcomes: Sequence[Mapping[str, Any]]) -> int | None:
    """Bits of the weights of a model; None if its layers differ."""
    widths = {row["weight_bits"] for row in outcomes[0]["counts"].rows if row["weights"]}
    return widths.pop() if len(widths) == 1 else None
