"""Evaluation of a trained network: accuracy by sample, operation counts, sparsities, energies, measured time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.checks import as_tensor, whole
from neurosparse.energy import EnergyReport, comparison_scenarios, estimate
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.inputs import n_samples, take
from neurosparse.meter import OperationCounts, as_module, count, record

__all__ = ["PRIMARY", "SCENARIOS", "evaluate", "latency", "metered", "reports", "scores", "sparsities"]

WITHIN = 0.01
"""Largest loss of accuracy with which an early readout counts as good as the final one."""

SCENARIOS = comparison_scenarios()
"""The conditions under which energies are estimated, by name: options of :func:`neurosparse.estimate`."""

PRIMARY = "cmos-45nm/cheapest dataflow per layer"
"""The scenario whose energy decides between trials that are equally accurate."""


@torch.no_grad()
def evaluate(
    model: Callable[..., Any],
    data: tuple[Tensor | np.ndarray | EventTensor, Tensor | np.ndarray | Sequence[int]],
    *,
    batch_size: int = 250,
    samples: int | None = None,
    spiking: type | str | Sequence[type | str] | Mapping[Any, int] = (),
    constant: str | Sequence[str] = (),
) -> dict[str, Any]:
    """Run a classifier once over ``data`` under the meter, in evaluation mode.

    Args:
        model: maps inputs to logits ``(samples, classes)``, or to spikes ``(steps, samples, classes)`` whose counts are
            the logits. A method ``anytime(inputs)`` gives the logits after each step, ``(steps, samples, classes)``.
        data: inputs ``(samples, ...)``, or events ``(steps, samples, *units)``; and labels ``(samples)``. An array of
            floating-point numbers is cast to the type of the model's parameters.
        batch_size: changes nothing that is counted.
        samples, spiking, constant: passed to :func:`neurosparse.record`.

    Returns:
        ``correct`` (bool array), ``counts``, ``reports`` (energy by scenario), ``seconds_per_sample`` (measured without
        the meter), ``raster`` of the first sample's first hidden spikes or None, ``latency`` (see :func:`latency`) or
        None for a network without time.

    Raises:
        InputError: no sample, labels that do not fit, an output that is no logits, an operation that cannot be counted,
            logits with NaN.

    Example:
        >>> model = torch.nn.Linear(4, 4, bias=False)
        >>> _ = model.weight.data.copy_(torch.eye(4))
        >>> found = evaluate(model, (torch.eye(4), torch.arange(4)))
        >>> found["correct"].mean(), found["counts"].totals["effective_macs"]
        (np.float64(1.0), 4)
    """
    model = as_module(model)
    x, y = _pair(model, data)
    n, batch_size = len(y), whole("evaluate", "batch_size", batch_size)
    with _evaluation_mode(model):
        correct, counts, early = _metered(model, x, y, batch_size, spiking, samples, constant)
        return {
            "correct": correct,
            "counts": counts,
            "reports": reports(counts),
            "seconds_per_sample": _seconds_per_sample(model, take(x, torch.arange(min(n, batch_size)))),
            "raster": _raster(model, take(x, torch.arange(1))),
            "latency": latency(early, getattr(x, "dt", None)) if len(early) > 1 else None,
        }


@torch.no_grad()
def metered(model: nn.Module, data: tuple[Any, Any], spiking: Any = ()) -> tuple[np.ndarray, OperationCounts]:
    """Correctness of each sample, and the operations of all; a part of :func:`evaluate`."""
    x, y = _pair(model, data)
    with _evaluation_mode(model):
        return _metered(model, x, y, 250, spiking, None, ())[:2]


def reports(counts: OperationCounts, names: Sequence[str] = tuple(SCENARIOS)) -> dict[str, EnergyReport]:
    """Energies by scenario."""
    return {name: estimate(counts, **SCENARIOS[name]) for name in names}


def _metered(
    model: nn.Module, x: Any, y: Tensor, batch_size: int, spiking: Any, samples: int | None, constant: Any
) -> tuple[np.ndarray, OperationCounts, list[float]]:
    """Correctness, operations, and the accuracy after each step of a network over time."""
    correct, early, counts = [], [], OperationCounts((), 0)
    for labels in torch.arange(len(y)).split(batch_size):
        given = take(x, labels)
        with record(model, spiking=spiking, samples=samples, constant=constant) as tape:
            logits = model(given)
        found = scores(logits, len(labels), "evaluate")
        if n_nan := int(found.isnan().any(-1).sum()):
            got = f"logits with NaN for {n_nan} of {len(labels)} samples"
            fix = "A training with a lower learning rate may not diverge."
            raise InputError("evaluate", got=got, expected="numbers", fix=fix)
        correct.append(found.argmax(-1) == y[labels])
        if (after := _anytime(model, given, logits)) is not None:
            early.append((after.argmax(-1) == y[labels]).sum(1))
        counts = counts + count(tape)
    each_step = (torch.stack(early).sum(0) / len(y)).tolist() if early else []
    return torch.cat(correct).cpu().numpy(), counts, each_step


def _pair(model: nn.Module, data: Any) -> tuple[Tensor | EventTensor, Tensor]:
    """Inputs and labels as tensors or events."""
    fix = "Pass (inputs, labels)."
    if (
        not isinstance(data, list | tuple)
        or len(data) != 2
        or not isinstance(data[0], Tensor | np.ndarray | EventTensor)
    ):
        expected = "a pair of inputs, a tensor, an array or events, and labels"
        raise InputError("evaluate", got=f"data of {type(data).__name__}", expected=expected, fix=fix)
    x, y = data[0], as_tensor("evaluate", "labels", data[1], "one label for each input", fix)
    if isinstance(x, np.ndarray):
        x = as_tensor("evaluate", "inputs", x, "numbers", fix)
        types = (part.dtype for part in model.parameters() if part.is_floating_point())
        x = x.to(next(types, torch.get_default_dtype())) if x.is_floating_point() else x
    n = 0 if isinstance(x, Tensor) and not x.ndim else n_samples(x)
    if y.dim() != 1 or len(y) != n or not n:
        got = f"{n} inputs, labels {tuple(y.shape)}"
        raise InputError("evaluate", got=got, expected="one label for each input, at least one", fix=fix)
    if y.is_complex() or (y.is_floating_point() and bool((y != y.round()).any())):
        raise InputError("evaluate", got=f"labels of {y.dtype}", expected="whole numbers, the classes", fix=fix)
    return x, y


def _anytime(model: nn.Module, x: Tensor | EventTensor, logits: Any) -> Tensor | None:
    """Scores after each step of a model that has them; spike counts so far of a model whose output is spikes."""
    if isinstance(logits, EventTensor):
        return logits.dense().cumsum(0)
    anytime = getattr(model, "anytime", None)
    return None if anytime is None else anytime(x)


def latency(accuracies: Sequence[float], dt: float | None = None) -> dict[str, Any]:
    """Latency of a network: the first step from which its accuracy stays within one point of the final one.

    Args:
        accuracies: when read out after each step.
        dt: seconds per step.

    Returns:
        ``accuracies``, ``steps`` (the first step counts 1), ``seconds`` until its end or None.

    Example:
        >>> latency([0.5, 0.9, 0.7, 0.895, 0.9], dt=0.01)["steps"]
        4
    """
    late = [step for step, accuracy in enumerate(accuracies, 1) if accuracy < accuracies[-1] - WITHIN]
    steps = max(late, default=0) + 1
    return {"accuracies": list(accuracies), "steps": steps, "seconds": None if dt is None else steps * dt}


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """No dropout, no batch statistics; every module is left in the mode it was in."""
    modes = {m: m.training for m in model.modules()}
    try:
        for module in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def scores(output: Any, samples: int, where: str) -> Tensor:
    """Logits ``(samples, classes)`` of a network's output; of spikes ``(steps, samples, classes)`` their counts.

    Raises:
        InputError: another output.
    """
    found = output.counts() if isinstance(output, EventTensor) else output
    if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != samples:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        fix = "Return logits.mean(0) where the output has steps."
        raise InputError(where, got=f"an output of {got}", expected=f"({samples}, classes)", fix=fix)
    return found


def _seconds_per_sample(model: nn.Module, x: Tensor | EventTensor, repeats: int = 3) -> float:
    """Median of a few runs; the metered run before has paid for compilations and caches."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - started)
    return median(times) / n_samples(x)


def _raster(model: nn.Module, x: Tensor | EventTensor) -> dict[str, Any] | None:
    """Spikes of the first module that spikes over time, for one sample."""
    seen: list[Any] = []
    handles = [module.register_forward_hook(lambda _m, _i, out: seen.append(out)) for module in model.modules()]
    model(x)
    for handle in handles:
        handle.remove()
    spikes = [out for out in seen if isinstance(out, EventTensor) and out.value is None and out.shape[0] > 1]
    if not spikes:
        return None
    step, _, unit, _ = spikes[0].aer()
    return {"shape": [spikes[0].shape[0], spikes[0].n_units], "step": step.tolist(), "unit": unit.tolist()}


def sparsities(counts: OperationCounts) -> dict[str, float | None]:
    """The four sparsities.

    * ``weight``: share of weights that are zero;
    * ``activation``: share of silent cells among the inputs of all weight layers but the first (that is data);
    * ``temporal``: among units that fire for a sample, the share of their steps that is silent;
    * ``operation``: share of dense operations that are skipped.

    Each is None where its denominator is 0: no second layer, no time, no spikes.

    Example:
        >>> fc = dict(layer="fc", kind="linear", weights=4, nonzero_weights=1, dense_ops=8, effective_acs=2)
        >>> sparsities(OperationCounts((fc,), samples=2))
        {'weight': 0.75, 'activation': None, 'temporal': None, 'operation': 0.75}
    """
    rows = [row for row in counts.rows if row["kind"] in ("linear", "conv")]
    hidden = rows[1:]
    neurons = [row for row in counts.rows if row["kind"] == "neuron" and row["active_cells"]]
    effective = sum(row["effective_macs"] + row["effective_acs"] for row in rows)
    spikes = sum(row["spikes_out"] for row in neurons)
    cells = sum(row["active_cells"] for row in neurons)
    over_time = any(row["charged_rows"] > counts.samples for row in neurons)
    return {
        "weight": _silent(sum(r["nonzero_weights"] for r in rows), sum(r["weights"] for r in rows)),
        "activation": _silent(sum(r["input_events"] for r in hidden), sum(r["input_cells"] for r in hidden)),
        "temporal": _silent(spikes, cells) if over_time else None,
        "operation": _silent(effective, sum(r["dense_ops"] for r in rows)),
    }


def _silent(active: int, cells: int) -> float | None:
    return 1 - active / cells if cells else None
