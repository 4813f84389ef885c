"""Sources of methods and constants: the Source paragraphs of docstrings, and the sources of constants."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from torch import nn

from neurosparse import analysis, baselines, coding, energy, meter, neurons, predictive
from neurosparse.baselines.distribution import erk
from neurosparse.coding.solve import METHODS
from neurosparse.energy import EnergyReport, profiles
from neurosparse.energy.break_even import Threshold
from neurosparse.energy.estimate import CHOICE
from neurosparse.energy.hardware import Constant
from neurosparse.errors import InputError
from neurosparse.io.manifest import Manifest

__all__ = ["of_results", "sources"]

PARAGRAPH = re.compile(r"^Source:\s*(.+?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
# Records of this library, and the function whose docstring has their source.
MADE_BY = {
    energy.AccuracyDifference: energy.accuracy_difference,
    energy.BreakEven: energy.break_even,
    analysis.GaborFit: analysis.fit_gabor,
    meter.OperationCounts: meter.count,
    analysis.ReceptiveFields: analysis.receptive_fields,
    analysis.Sparsity: analysis.sparsity,
    analysis.SpikeTriggeredCovariance: analysis.spike_triggered_covariance,
    energy.Verdict: energy.verdict,
    predictive.States: predictive.PredictiveNetwork,
    baselines.LevelReLU: baselines.quantise_levels,
    baselines.Quantised: baselines.quantise,
}
# Records with the name of the function that made them, and its subpackage.
NAMED = {coding.Penalty: coding, neurons.Surrogate: neurons, neurons.Dynamics: neurons, predictive.Channel: predictive}
# Other libraries, by the name of their package.
LIBRARIES = {
    "brian2": "Stimberg, Brette & Goodman 2019",
    "norse": "Pehle & Pedersen 2021",
    "snntorch": "Eshraghian et al. 2023",
    "spikingjelly": 'Fang et al. 2023, "SpikingJelly"',
}
# Sources of pruning schedules, which have no docstring.
SCHEDULES = {"gradual": "Zhu & Gupta (2017)", "iterative": "Frankle & Carbin (2019)"}
STATIONARY = "names of the dataflows: Sze 2017"
ADDRESSING = "arithmetic on addresses: Lemaire 2022"


@singledispatch
def sources(thing: Any) -> list[str]:
    """The sources of a method, a constant, a report or a network, as their docstrings and tables give them.

    Args:
        thing: a function, class or module of this library, what one of them returned, or a network.

    Raises:
        InputError: something that this library has not made and no network.

    Example:
        >>> sources(neurons.atan())
        ['Fang et al. 2021, "Incorporating learnable membrane time constant", eq. for the arc tangent surrogate.']
    """
    if inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing):
        return _written(thing)
    if not type(thing).__module__.startswith("neurosparse."):
        expected = "a report, the operation counts, a network, a method or what else this library made"
        raise InputError("citations", got=f"a {type(thing).__name__}", expected=expected)
    if type(thing) in NAMED:
        return _named(thing)
    return _written(type(thing)) + _solved(thing)


def _named(record: Any) -> list[str]:
    """The sources of the function that made a record."""
    maker = getattr(NAMED[type(record)], record.name.partition("(")[0], None)
    return [] if maker is None else _written(maker)


def _written(maker: Any) -> list[str]:
    """The Source paragraph of a docstring."""
    maker = MADE_BY.get(maker, maker) if inspect.isclass(maker) else maker
    text = inspect.cleandoc(maker.__doc__ or "")
    return [" ".join(found.split()) for found in PARAGRAPH.findall(text)]


def _solved(thing: Any) -> list[str]:
    """Solver and penalty of a code, or of a learner of dictionaries."""
    method = getattr(thing, "method", None) or getattr(thing, "fit_algorithm", None)
    if method is None:
        return []
    penalty = thing.penalty or coding.l1
    made = penalty if isinstance(penalty, coding.Penalty) else penalty(thing.alpha)
    solver = METHODS.get(method, METHODS["coordinate_descent"])  # the exact solvers of scikit-learn mean this one
    return _written(type(solver)) + sources(made)


@sources.register
def _(network: nn.Module) -> list[str]:
    found = []
    for module in network.modules():
        library = type(module).__module__.partition(".")[0]
        found += [LIBRARIES[library]] if library in LIBRARIES else []
        if library == "neurosparse":
            found += _named(module) if type(module) in NAMED else _written(type(module))
            found += [text for part in vars(module).values() if type(part) in NAMED for text in _named(part)]
    return found


@sources.register
def _(constant: Constant | Threshold) -> list[str]:
    return [constant.source]


@sources.register
def _(manifest: Manifest) -> list[str]:
    return [manifest.citation]


@sources.register
def _(plan: baselines.Pruning) -> list[str]:
    found = _written(getattr(baselines, plan.criterion))
    found += [SCHEDULES[plan.schedule]] if plan.schedule in SCHEDULES else []
    found += _written(erk) if plan.distribution == "erk" else []
    found += _written(baselines.exchange) if plan.growth is not None else []
    return found + (["Mishra et al. (2021)"] if plan.granularity.startswith("n:") else [])


@sources.register
def _(report: EnergyReport) -> list[str]:
    circuit = report.hardware.removesuffix(")").rpartition(", ")[2]  # of own silicon the second hardware
    return [constant.source for constant in report.assumptions] + _flow(circuit, report.dataflow)


def of_results(results: Mapping[str, Any]) -> list[str]:
    """The sources of the constants, dataflows, counts and verdicts of a comparison."""
    scenarios = {name for model in results["models"] for name in model["energy"]}
    own = any(name.startswith("own silicon") for name in scenarios)
    flows = [_flow(*name.partition(",")[0].split("/", 1)) for name in sorted(scenarios)]
    flows += [_flow("cmos-45nm", "cheapest")] if own else []
    texts = [row["source"] for row in results.get("assumptions") or ()] + [text for flow in flows for text in flow]
    texts += _written(meter.count)
    return texts + (_written(energy.verdict) if results.get("verdicts") else [])


def _flow(hardware: str, dataflow: str = "compute_only") -> list[str]:
    """Sources of a dataflow of a digital circuit; a neuromorphic chip has no dataflow to choose."""
    if dataflow == "compute_only" or hardware not in profiles() or "synop" in profiles()[hardware].prices:
        return []
    return [energy.DATAFLOWS[dataflow].sentence if dataflow in energy.DATAFLOWS else CHOICE, ADDRESSING] + (
        [] if dataflow == "no_reuse" else [STATIONARY]
    )
