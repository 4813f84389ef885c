"""Pairs of a spiking and a dense network: like-for-like twins, and champions that validation data choose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurosparse.report.results import class_references, weight_class
from neurosparse.report.table import CHEAPEST, weights

__all__ = ["champions", "depth_of", "is_dense", "is_spiking", "pairs_to_judge", "setting", "twins", "weights_of"]

SPIKING = ("lif", "converted")
DENSE = ("relu", "kwta", "gru", "delta", "early-exit")
"""Families of artificial neural networks at their best; other families are neither spiking nor dense."""
SHARED = {
    "layers": None, "hidden": None, "bits": 32, "sparsity": 0.0, "pruning_method": "gradual",
    "granularity": "weight", "distribution": None, "lasso": 0.0, "loss": "cross_entropy", "epoch_factor": 1,
    "distillation": 0.0,
}  # fmt: skip
"""Keys that are the same in twins, with the value of a key that neither the file sets nor the search has chosen."""
PLAIN = {*SHARED, "family", "depth", "bins", "dropout", "label_smoothing", "temperature", "quantization"}
"""Keys that a plain dense network may have: those of twins, the input's bins, and how it is trained."""
Model = Mapping[str, Any]


def is_spiking(model: Model) -> bool:
    """Whether a model is of a spiking family; models that are Python files are of none."""
    return _family(model) in SPIKING


def is_dense(model: Model) -> bool:
    """Whether a model is of a family of artificial neural networks."""
    return _family(model) in DENSE


def twins(models: Sequence[Model]) -> list[tuple[str, str]]:
    """Every spiking model with its plain dense twin, by name.

    The twin is the ReLU network that has the same layers, bits, pruning, loss and epochs, and no other key that changes
    the network. Of several the one with the same kind of quantization, then, on recordings, the one whose bins are
    nearest to the time steps (of two equally near ones, the more bins), then the one with the fewest keys.

    Args:
        models: rows of ``results["models"]``.

    Returns:
        ``(spiking, dense)`` in the order of the models; a spiking model without a twin is left out.

    Example:
        >>> dense = {"name": "relu", "config": {"family": "relu"}}
        >>> spiking = {"name": "lif", "config": {"family": "lif", "steps": 4}}
        >>> twins([dense, spiking, {"name": "small", "config": {"family": "lif", "bits": 8}}])
        [('lif', 'relu')]
    """
    plain = [model for model in models if _is_plain(model)]
    found = []
    for model in models:
        alike = [other for other in plain if _shared(other) == _shared(model)] if is_spiking(model) else []
        if alike:
            found.append((model["name"], min(alike, key=lambda other: _distance(model, other))["name"]))
    return found


def champions(models: Sequence[Model], validation: int | None = None) -> dict[tuple[int, bool], tuple[str, str]]:
    """The best spiking and the best dense model of each class of weights, chosen on validation data.

    Among the models of a side whose validation accuracy is within one standard error of the best, that with the least
    energy on validation data at the cheapest dataflow. The standard error is the binomial one of the best.

    Args:
        models: rows of ``results["models"]``.
        validation: number of validation samples; None: only models with the best validation accuracy are left.

    Returns:
        ``(bits, pruned) -> (spiking, dense)`` by name, for the classes that have both.

    Example:
        >>> row = {"weight_bits": 8, "validation_accuracy": {"mean": 0.9}}
        >>> champions([row | {"name": name, "config": {"family": name}} for name in ("relu", "lif")])
        {(8, False): ('lif', 'relu')}
    """
    classes: dict[tuple[int, bool], list[Model]] = {}
    for model in models:
        if is_spiking(model) or is_dense(model):
            classes.setdefault(weights_of(model), []).append(model)
    found = {}
    for key, members in classes.items():
        sides = [[model for model in members if belongs(model)] for belongs in (is_spiking, is_dense)]
        if all(sides):
            found[key] = (_best(sides[0], validation), _best(sides[1], validation))
    return found


def pairs_to_judge(models: Sequence[Model], reference: str, validation: int | None = None) -> list[tuple[str, str]]:
    """Pairs of models that need a verdict, each once: the verdict is on the energy of the first over the second.

    Args:
        models: rows of ``results["models"]``.
        reference: name of the model that all others are compared with.
        validation: number of validation samples.

    Returns:
        every model with the reference, every model with the plainest one of its class of weights, twins, champions.

    Example:
        >>> row = {"weight_bits": 32, "validation_accuracy": {"mean": 0.9}, "family": "", "name": "relu"}
        >>> models = [row | {"name": name, "config": {"family": name}} for name in ("relu", "lif", "kwta")]
        >>> pairs_to_judge(models, "relu")
        [('lif', 'relu'), ('kwta', 'relu')]
    """
    (base,) = (dict(model) for model in models if model["name"] == reference)
    like = class_references([dict(model) for model in models], base)
    pairs = [(model["name"], reference) for model in models]
    pairs += [(model["name"], like[weight_class(dict(model))]) for model in models]
    pairs += twins(models)
    pairs += champions(models, validation).values()
    found: dict[tuple[str, str], None] = {}
    for a, b in pairs:
        if a != b and (b, a) not in found:
            found[a, b] = None
    return list(found)


def weights_of(model: Model) -> tuple[int, bool]:
    """Bits of the weights, and whether they are pruned."""
    config = model["config"]
    return model.get("weight_bits") or config.get("bits", SHARED["bits"]), bool(config.get("sparsity"))


def setting(model: Model, key: str, default: Any = None) -> Any:
    """Value of a key of a model: the one that the search has chosen, else that of its file, else the default.

    Where the search has chosen different values in several folds, all of them, joined by "or".
    """
    chosen = [each[key] for each in model.get("chosen") or () if key in each]
    if not chosen:
        return (model.get("config") or {}).get(key, default)
    return chosen[0] if chosen.count(chosen[0]) == len(chosen) else " or ".join(sorted({str(each) for each in chosen}))


def depth_of(model: Model) -> int | str:
    """Hidden layers; of a network with convolutions with this word."""
    layers = setting(model, "layers") or ()
    if layers:
        depth = sum(str(layer).split()[0] not in ("pool", "flatten") for layer in layers)
        return f"{depth} conv" if any(str(layer).startswith("conv") for layer in layers) else depth
    if (given := setting(model, "depth")) is not None:
        return given
    rows = [row for row in model.get("layers") or () if str(row.get("kind")).startswith(("linear", "conv"))]
    return max(1, len({row["layer"] for row in rows if row.get("phase") in (None, "forward")}) - 1)


def _family(model: Model) -> str | None:
    return (model.get("config") or {}).get("family")


def _shared(model: Model) -> list[Any]:
    """Hidden layers and values of the keys that twins share; lists as tuples."""
    found = [depth_of(model), *(setting(model, key, default) for key, default in SHARED.items())]
    return [tuple(value) if isinstance(value, list) else value for value in found]


def _is_plain(model: Model) -> bool:
    return _family(model) == "relu" and set(model["config"]) <= PLAIN


def _distance(model: Model, other: Model) -> tuple[bool, float, int, int]:
    kinds = [each["config"].get("quantization", "ptq") for each in (model, other)]
    bins = other["config"].get("bins") or 1
    steps = setting(model, "steps", 1) if setting(model, "encoding", "current") == "events" else 1
    return kinds[0] != kinds[1], abs(math.log2(bins / steps)), -bins, len(other["config"])


def _best(models: Sequence[Model], validation: int | None) -> str:
    """Name of the model with the least energy among those that are as accurate as the best on validation data."""
    scores = {model["name"]: (model.get("validation_accuracy") or {}).get("mean") or 0.0 for model in models}
    top = max(scores.values())
    error = math.sqrt(top * (1 - top) / validation) if validation else 0.0
    field = [model for model in models if scores[model["name"]] >= top - error - 1e-12]  # rounding of means
    return min(field, key=lambda model: (_energy(model), -scores[model["name"]]))["name"]


def _energy(model: Model) -> float:
    """Joules on validation data at the cheapest dataflow; of models without energies the number of weights."""
    found = model.get("validation_energy")
    if not found:
        return weights(model).mean or 0.0
    joules = next((joules for name, joules in found.items() if name.endswith(f"/{CHEAPEST}")), None)
    return math.inf if joules is None else joules
