"""neurosparse: spiking networks, sparse coding, predictive coding and dense networks in one event tensor.

Every public name is imported when it is first used (PEP 562), so ``import neurosparse`` costs little more than torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "events": ("EventTensor", "load_events", "cat", "fold", "operation", "run", "stream"),
    "errors": ("InputError", "MissingFileError"),
    "neurons": (
        "LIF", "Trace", "fuse", "atan", "fast_sigmoid", "triangle", "boxcar",
        "poisson", "latency", "delta", "constant_current",
    ),
    "coding": (
        "l0", "l1", "nonnegative_l1", "elastic_net", "log", "cauchy", "lp", "solve", "Code", "NotConverged",
        "kwta", "KWTA", "DictionaryLearning",
    ),
    "predictive": ("PredictiveNetwork",),
    "simulate": ("Network",),
    "meter": ("record", "count", "spikes", "Tape", "OperationCounts"),
    "energy": ("estimate", "EnergyReport"),
    "analysis": ("sparsity", "Sparsity", "fit_gabor", "GaborFit", "receptive_fields", "spike_triggered_average"),
    "experiments": ("Task", "Split", "compare"),
    "report": ("Comparison", "citations"),
}  # fmt: skip
_SUBPACKAGES = (
    "analysis",
    "baselines",
    "coding",
    "energy",
    "events",
    "experiments",
    "io",
    "learning",
    "meter",
    "neurons",
    "plot",
    "predictive",
    "report",
    "simulate",
)
_PUBLIC = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted([*_PUBLIC, *_SUBPACKAGES])


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    from neurosparse.errors import no_attribute

    raise no_attribute(__name__, name, __all__)


def __dir__() -> list[str]:
    return __all__
