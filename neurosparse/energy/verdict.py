"""Verdict on two models: which needs less energy at matched accuracy, or that the comparison is undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from neurosparse.checks import number, one_of, several, whole
from neurosparse.energy.dataflow import CHEAPEST
from neurosparse.energy.estimate import EnergyReport, energy_reports, estimate, ratio
from neurosparse.energy.hardware import profile
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

__all__ = ["Verdict", "frontier", "scenarios", "verdict", "verdicts"]

MEMORIES = {"auto": "", "per_layer": ", memory per layer", "dram": ", weights in DRAM"}


@dataclass(frozen=True)
class Verdict:
    """Verdict on two models on one hardware.

    Args:
        verdict: ``"a cheaper"``, ``"b cheaper"`` (at matched accuracy), ``"a dominates"``, ``"b dominates"`` (more
            accurate and cheaper), ``"undecided"``, ``"unsupported"`` if the hardware cannot execute both, or ``"bit
            widths differ"`` if that was not allowed.
        matched: whether the interval of the accuracy difference lies within the margin.
        difference: accuracy of a minus accuracy of b as ``(low, mean, high)``.
        ratio: energy of a over energy of b as ``(low, nominal, high)``; None if unsupported.
        bits: widths of the weights of a and of b.
        scenarios: assumptions behind the range of the ratio that have no source.
    """

    verdict: str
    matched: bool
    difference: tuple[float, float, float]
    ratio: tuple[float, float, float] | None
    bits: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    scenarios: tuple[str, ...] = ()


def verdict(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    energy_a: EnergyReport | Sequence[EnergyReport],
    energy_b: EnergyReport | Sequence[EnergyReport],
    margin: float = 0.01,
    *,
    different_bits: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Verdict:
    """Which of two models needs less energy at matched accuracy, over the range of the uncertain constants.

    The accuracy difference ``d_i = mean over seeds of correct_a - mean over seeds of correct_b`` of each test sample i
    is resampled over samples (paired percentile bootstrap). Matched: its interval lies within ``[-margin, margin]``.
    Cheaper: the whole range of `ratio` lies on one side of 1, and the weights of both have the same widths, unless
    different ones are allowed. The interval is over test samples; seeds are averaged.

    Args:
        correct_a, correct_b: 0 or 1, ``(seeds, samples)`` or ``(samples)``: the same test samples in the same order.
        energy_a, energy_b: reports for one hardware and dataflow, one or one per seed.
        margin: largest accuracy difference of matched models, as a fraction.
        different_bits: compare energies also if the widths of the weights differ; `Verdict.bits` has both widths.
        confidence: of the interval, between 0 and 1.
        resamples: number of resamples of the bootstrap.
        seed: of the bootstrap, a whole number.

    Raises:
        InputError: other numbers than 0 and 1, different numbers of samples, reports for different hardware, a number
            out of range.

    Example:
        >>> one, two = (EnergyReport(e, e, e, (), "cmos-45nm", "no_reuse", corners=(e, e)) for e in (1e-9, 2e-9))
        >>> right = np.ones((3, 200))
        >>> verdict(right, right, one, two).verdict
        'a cheaper'

    Source:
        Efron & Tibshirani 1993 (bootstrap).
    """
    margin = number("verdict", "margin", margin, 0)
    confidence = number("verdict", "confidence", confidence, above=0, below=1)
    resamples, seed = whole("verdict", "resamples", resamples), whole("verdict", "seed", seed, 0)
    a, b = _per_sample(correct_a), _per_sample(correct_b)
    if a.shape != b.shape:
        fix = "Test both on the same samples in the same order."
        raise InputError("verdict", got=f"{len(a)} and {len(b)} samples", expected="one test set", fix=fix)
    low, _, high = difference = _bootstrap(a - b, confidence, resamples, seed)
    matched = -margin <= low and high <= margin
    sides = energy_reports("verdict", "energy_a", energy_a), energy_reports("verdict", "energy_b", energy_b)
    bits = _widths(sides[0]), _widths(sides[1])
    reports = [report for side in sides for report in side]
    unsourced = tuple(dict.fromkeys(sentence for report in reports for sentence in report.scenarios))
    if any(report.unsupported for report in reports):
        return Verdict("unsupported", matched, difference, None, bits)
    energies = ratio(energy_a, energy_b)
    cheaper = "a" if energies[2] < 1 else "b" if energies[0] > 1 else None
    better = "a" if low > 0 else "b" if high < 0 else None
    answer = "undecided"
    if bits[0] != bits[1] and not different_bits:
        answer = "bit widths differ"
    elif cheaper and matched:
        answer = f"{cheaper} cheaper"
    elif cheaper and cheaper == better:
        answer = f"{cheaper} dominates"
    return Verdict(answer, matched, difference, energies, bits, unsourced)


def _widths(reports: Sequence[EnergyReport]) -> tuple[int, ...]:
    return tuple(sorted({width for report in reports for width in report.bits}))


def scenarios(hardware: str = "cmos-45nm", memories: Sequence[str] = tuple(MEMORIES)) -> dict[str, dict[str, Any]]:
    """All combinations of dataflow and memory of a hardware, by name: options of :func:`neurosparse.estimate`.

    Args:
        hardware: see :func:`neurosparse.estimate`.
        memories: some of ``auto``, ``per_layer`` and ``dram``.

    Example:
        >>> list(scenarios("loihi"))
        ['loihi/event_driven']
        >>> len(scenarios("cmos-45nm"))
        16
    """
    listed = several("scenarios", "memories", memories, f"some of {', '.join(MEMORIES)}", 'Pass ["auto"].')
    model, memories = profile(hardware), [one_of("scenarios", "memories", memory, MEMORIES) for memory in listed]
    if "dram" not in model.prices:
        return {f"{hardware}/{flow}": {"hardware": hardware, "dataflow": flow} for flow in model.dataflows}
    names = {}
    for flow, words in {**{flow: flow for flow in model.dataflows}, "cheapest": CHEAPEST}.items():
        for memory in memories if flow != "compute_only" else memories[:1]:
            options = {"hardware": hardware, "dataflow": flow, "memory": memory}
            names[f"{hardware}/{words}{MEMORIES[memory] if flow != 'compute_only' else ''}"] = options
    return names


def verdicts(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    counts_a: OperationCounts | Sequence[OperationCounts],
    counts_b: OperationCounts | Sequence[OperationCounts],
    margin: float = 0.01,
    *,
    where: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> dict[str, Verdict]:
    """The verdict on two models in every scenario of dataflow and memory.

    Args:
        correct_a, correct_b: as for `verdict`.
        counts_a, counts_b: counts of each, one or one per seed.
        margin: as for `verdict`.
        where: options of :func:`neurosparse.estimate` by name of the scenario; None: all of
            :func:`scenarios`.
        options: passed to `verdict`.

    Raises:
        InputError: what `verdict` and :func:`neurosparse.estimate` raise.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_acs=9, weight_bits=8, input_bits=1)
        >>> quiet, busy = (OperationCounts((row | dict(dense_ops=9 * n, effective_acs=9 * n),), 1) for n in (1, 2))
        >>> found = verdicts(np.ones(100), np.ones(100), quiet, busy)
        >>> {verdict.verdict for verdict in found.values()}
        {'a cheaper'}
    """
    sides = [[side] if isinstance(side, OperationCounts) else list(side) for side in (counts_a, counts_b)]
    found = {}
    for name, choice in (scenarios() if where is None else where).items():
        a, b = ([estimate(counts, **choice) for counts in side] for side in sides)
        found[name] = verdict(correct_a, correct_b, a, b, margin, **options)
    return found


def _per_sample(correct: ArrayLike) -> np.ndarray:
    """Share of seeds that classify each sample correctly."""
    try:
        values = np.atleast_2d(
            np.asarray(correct.detach().cpu() if isinstance(correct, torch.Tensor) else correct, dtype=float)
        )
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor without dense values
        got = f"correct of type {type(correct).__name__}"
        raise InputError("verdict", got=got, expected="0 or 1 for each (seed, sample)") from None
    if values.ndim != 2 or not values.size or not np.isin(values, (0, 1)).all():
        got = f"shape {values.shape} with values from {values.min(initial=0):g} to {values.max(initial=0):g}"
        raise InputError("verdict", got=got, expected="0 or 1 for each (seed, sample)", fix="Pass prediction == label.")
    return values.mean(axis=0)


def _bootstrap(values: np.ndarray, confidence: float, resamples: int, seed: int) -> tuple[float, float, float]:
    # There are few distinct differences: the multinomial draw of their frequencies is that of the samples, and smaller.
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws @ distinct / len(values), (tail, 1 - tail))
    return float(low), float(values.mean()), float(high)


def frontier(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Pareto frontier: models that no other model equals in accuracy and energy and exceeds in one of them.

    Args:
        points: ``(accuracy, energy)`` by name; the energy in any unit.

    Returns:
        names by rising energy.

    Raises:
        InputError: a value that is no finite number.

    Example:
        >>> frontier({"large": (0.95, 9.0), "small": (0.90, 1.0), "poor": (0.89, 2.0)})
        ('small', 'large')
    """
    fix = "Leave out models without an energy."
    pairs = points.values() if isinstance(points, Mapping) else [None]
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        expected = "a mapping from names to pairs (accuracy, energy)"
        raise InputError("frontier", got=f"points={points!r}", expected=expected)
    points = {
        name: (
            number("frontier", f"accuracy of {name}", accuracy, fix=fix),
            number("frontier", f"energy of {name}", energy, fix=fix),
        )
        for name, (accuracy, energy) in points.items()
    }

    def dominated(accuracy: float, energy: float) -> bool:
        return any(p >= accuracy and e <= energy and (p, e) != (accuracy, energy) for p, e in points.values())

    return tuple(
        sorted((name for name, point in points.items() if not dominated(*point)), key=lambda name: points[name][1])
    )
