"""Verdict on two models: which needs less energy at accuracy that is not inferior, or why that is undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from neurosparse.checks import number, one_of, several
from neurosparse.energy.accuracy import AccuracyDifference, accuracy_difference
from neurosparse.energy.dataflow import CHEAPEST
from neurosparse.energy.estimate import EnergyReport, energy_ends, energy_reports, estimate, ratio
from neurosparse.energy.hardware import profile
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

__all__ = ["Verdict", "frontier", "judge", "scenarios", "verdict", "verdicts"]

MEMORIES = {"auto": "", "per_layer": ", memory per layer", "dram": ", weights in DRAM"}
SAME = 1e-9
"""Relative difference of energies that is rounding."""


@dataclass(frozen=True)
class Verdict:
    """Verdict on two models on one hardware.

    Args:
        verdict: ``"a cheaper"``, ``"b cheaper"`` (with an accuracy that is not inferior), ``"equal"`` (the same
            energies), ``"undecided"``, ``"unsupported"`` if the hardware cannot execute both, or ``"bit widths
            differ"`` if that was not allowed.
        reason: why it is undecided: ``"energies overlap"``, ``"accuracy inferior"`` (the cheaper model is shown to
            lose more than the margin) or ``"too few samples"`` to show either; which model is not supported; or empty.
        difference: accuracy of a minus accuracy of b: ``(low, mean, high)``, one-sided bounds.
        detectable: smallest margin at which models that differ on as many of these samples, but are equally accurate,
            are not inferior.
        noninferior_a: whether a is not inferior to b: ``low > -margin``.
        noninferior_b: whether b is not inferior to a: ``high < margin``.
        ratio: energy of a over energy of b as ``(low, nominal, high)``; None if unsupported.
        bits: widths of the weights of a and of b.
        scenarios: assumptions behind the range of the ratio that have no source.
    """

    verdict: str
    reason: str
    difference: tuple[float, float, float]
    detectable: float
    noninferior_a: bool
    noninferior_b: bool
    ratio: tuple[float, float, float] | None
    bits: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    scenarios: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict


def verdict(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    energy_a: EnergyReport | Sequence[EnergyReport],
    energy_b: EnergyReport | Sequence[EnergyReport],
    margin: float = 0.01,
    *,
    different_bits: bool = False,
    confidence: float = 0.95,
) -> Verdict:
    """Which of two models needs less energy at an accuracy that is not inferior, over the range of the constants.

    The accuracy of a is not inferior to that of b if the one-sided confidence bound of ``accuracy_a - accuracy_b``
    lies above ``-margin`` (:func:`neurosparse.energy.accuracy_difference`); a better model is never inferior. Cheaper:
    the whole range of `ratio` lies on one side of 1, and the accuracy of the cheaper model is not inferior. Equal
    models need at least 299 samples to be shown equal at a margin of 1 % and a confidence of 95 %.

    Args:
        correct_a, correct_b: 0 or 1, ``(seeds, samples)`` or ``(samples)``: the same test samples in the same order.
        energy_a, energy_b: reports for one hardware and dataflow, one or one per seed.
        margin: the loss of accuracy that is tolerated, as a fraction.
        different_bits: compare energies also if the widths of the weights differ; `Verdict.bits` has both widths.
        confidence: of each one-sided bound, between 0 and 1.

    Raises:
        InputError: other numbers than 0 and 1, different numbers of samples, reports for different hardware, a number
            out of range.

    Example:
        >>> one, two = (EnergyReport(e, e, e, (), "cmos-45nm", "no_reuse", corners=(e, e)) for e in (1e-9, 2e-9))
        >>> verdict([1] * 600, [1] * 600, one, two).verdict
        'a cheaper'
        >>> print(verdict([1] * 60, [1] * 60, one, two))
        undecided: too few samples

    Source:
        Wellek 2010 (non-inferiority); Gaffke 2005 (bounds).
    """
    difference = accuracy_difference(correct_a, correct_b, confidence)
    return judge(difference, energy_a, energy_b, margin, different_bits=different_bits)


def judge(
    accuracy: AccuracyDifference,
    energy_a: EnergyReport | Sequence[EnergyReport],
    energy_b: EnergyReport | Sequence[EnergyReport],
    margin: float = 0.01,
    *,
    different_bits: bool = False,
) -> Verdict:
    """The verdict from a difference of accuracies that is already known; arguments as for :func:`verdict`."""
    margin = number("verdict", "margin", margin, 0)
    sides = energy_reports("verdict", "energy_a", energy_a), energy_reports("verdict", "energy_b", energy_b)
    bits = _widths(sides[0]), _widths(sides[1])
    not_inferior = {"a": accuracy.low > -margin, "b": accuracy.high < margin}

    def found(answer: str, reason: str = "", energies: tuple[float, float, float] | None = None) -> Verdict:
        unsourced = dict.fromkeys(sentence for side in sides for report in side for sentence in report.scenarios)
        differences = (accuracy.low, accuracy.mean, accuracy.high)
        flags = not_inferior["a"], not_inferior["b"]
        return Verdict(answer, reason, differences, accuracy.detectable, *flags, energies, bits, tuple(unsourced))

    stuck = [name for name, side in zip("ab", sides, strict=True) if any(report.unsupported for report in side)]
    if stuck:
        return found("unsupported", f"{' and '.join(stuck)} cannot run")
    energies = _ratio(*sides)
    if bits[0] != bits[1] and not different_bits:
        return found("bit widths differ", energies=energies)
    if _equal(*sides) or all(math.isclose(value, 1, rel_tol=SAME) for value in energies):
        return found("equal", energies=energies)
    if energies[0] <= 1 <= energies[2]:
        return found("undecided", "energies overlap", energies)
    cheaper = "a" if energies[2] < 1 else "b"
    if not_inferior[cheaper]:
        return found(f"{cheaper} cheaper", energies=energies)
    worse = accuracy.high < -margin if cheaper == "a" else accuracy.low > margin
    return found("undecided", "accuracy inferior" if worse else "too few samples", energies)


def _ratio(a: Sequence[EnergyReport], b: Sequence[EnergyReport]) -> tuple[float, float, float]:
    """Energy of a over energy of b; a network without any operation has the energy 0."""
    zero_a, zero_b = (any(not report.nominal for report in side) for side in (a, b))
    if not zero_a and not zero_b:
        return ratio(a, b)
    energy_a, energy_b = (sum(report.nominal or 0.0 for report in side) for side in (a, b))
    value = 1.0 if energy_a == energy_b else energy_a / energy_b if energy_b else math.inf
    return value, value, value


def _equal(a: Sequence[EnergyReport], b: Sequence[EnergyReport]) -> bool:
    """Whether both need the same energy at every corner of the constants, seed by seed."""
    pairs = zip((energy_ends(report) for report in a), (energy_ends(report) for report in b), strict=False)
    values = [
        value for one, other in pairs for ends in zip(one, other, strict=False) for value in zip(*ends, strict=True)
    ]
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=SAME) for x, y in values)


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
    different_bits: bool = False,
    confidence: float = 0.95,
) -> dict[str, Verdict]:
    """The verdict on two models in every scenario of dataflow and memory.

    Args:
        correct_a, correct_b: as for `verdict`.
        counts_a, counts_b: counts of each, one or one per seed.
        margin, different_bits, confidence: as for `verdict`.
        where: options of :func:`neurosparse.estimate` by name of the scenario; None: all of
            :func:`scenarios`.

    Raises:
        InputError: what `verdict` and :func:`neurosparse.estimate` raise.

    Example:
        >>> row = dict(layer="fc", kind="linear", dense_ops=9, effective_acs=9, weight_bits=8, input_bits=1)
        >>> quiet, busy = (OperationCounts((row | dict(dense_ops=9 * n, effective_acs=9 * n),), 1) for n in (1, 2))
        >>> found = verdicts([1] * 300, [1] * 300, quiet, busy)
        >>> {verdict.verdict for verdict in found.values()}
        {'a cheaper'}
    """
    sides = [[side] if isinstance(side, OperationCounts) else list(side) for side in (counts_a, counts_b)]
    accuracy, found = accuracy_difference(correct_a, correct_b, confidence), {}
    for name, choice in (scenarios() if where is None else where).items():
        a, b = ([estimate(counts, **choice) for counts in side] for side in sides)
        found[name] = judge(accuracy, a, b, margin, different_bits=different_bits)
    return found


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
