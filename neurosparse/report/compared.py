"""A pair of a spiking and a dense network: difference of their accuracies, ratios of their energies by cost model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurosparse.errors import InputError
from neurosparse.plot.units import MISSING
from neurosparse.report.pairs import champions, setting
from neurosparse.report.results import OWN, check, chip_of, energy_ratio, is_own, reference, scenarios
from neurosparse.report.table import CHEAPEST, COMPUTE

__all__ = ["Compared", "compare_pair", "cost_models", "direction", "forest_rows", "label", "points", "tasks"]

PRIMARY = "cheapest dataflow"
LABELS = {COMPUTE: "arithmetic only", CHEAPEST: PRIMARY}
BASE = "cmos-45nm"
MARGIN = 0.01

Bounds = tuple[float, float, float]


@dataclass(frozen=True)
class Compared:
    """A spiking network against a dense one.

    Args:
        spiking, dense: names of the models.
        losses: of the two trainings.
        difference: accuracy of the spiking network less that of the dense one: lower bound, mean, upper bound.
        detectable: smallest margin that these samples could show.
        margin: the loss of accuracy that is tolerated.
        ratios: label of the cost model -> energy of the spiking network over that of the dense one: low, nominal, high.
        training: of the spiking network: networks that differ in what is changed after training have the same.
        below_reference: whether the dense network is shown to be inferior to the reference of the task.
    """

    spiking: str
    dense: str
    losses: tuple[str, str]
    difference: Bounds | None
    detectable: float | None
    margin: float
    ratios: Mapping[str, Bounds]
    training: str = ""
    below_reference: bool = False

    @property
    def outcome(self) -> str:
        """Whether the accuracy of the spiking network is not inferior.

        ``"yes"``: the lower bound lies above minus the margin. ``"no"``: the upper bound lies below it.
        ``"undecided"``: neither. ``"not judged"``: there is no verdict on the pair.
        """
        if self.difference is None:
            return "not judged"
        low, _, high = self.difference
        return "yes" if low > -self.margin else "no" if high < -self.margin else "undecided"


def tasks(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Checked results by task.

    Raises:
        InputError: a malformed key, none, or two results of one task.
    """
    found = {}
    for of in results:
        checked = check(of)
        if checked["task"] in found:
            expected = "one of each task"
            raise InputError("report", got=f"two results of {checked['task']!r}", expected=expected, fix="Drop one.")
        found[checked["task"]] = checked
    if not found:
        raise InputError(
            "report", got="no results", expected="those of one task or several", fix="Pass report.load(path)."
        )
    return found


def label(scenario: str) -> str:
    """A scenario in few words.

    Example:
        >>> label("cmos-45nm/compute_only"), label("cmos-7nm/cheapest dataflow per layer"), label("cmos-45nm/no_reuse")
        ('arithmetic only', 'cheapest dataflow, 7 nm', 'no reuse')
        >>> label("cmos-45nm/cheapest dataflow per layer, memory per layer"), label("own silicon (loihi, cmos-45nm)")
        ('memory per layer', 'own silicon (loihi)')
    """
    if is_own(scenario):
        return f"{OWN} ({chip_of(scenario)})"
    hardware, _, dataflow = scenario.rpartition("/")
    words = LABELS.get(dataflow, dataflow.removeprefix(f"{CHEAPEST}, ").replace("_", " "))
    node = re.fullmatch(r"cmos-(\d+)nm", hardware)
    return words if hardware in ("", BASE) else f"{words}, {f'{node[1]} nm' if node else hardware}"


def compare_pair(results: Mapping[str, Any], spiking: str, dense: str) -> Compared:
    """A pair of models of one task, from the verdicts on it; without a verdict from the energies of the models.

    Args:
        results: checked.
        spiking, dense: names of the models.
    """
    models = {model["name"]: model for model in results["models"]}
    a, b = models[spiking], models[dense]
    verdicts = {
        row["scenario"]: row for row in results.get("verdicts") or () if {row["a"], row["b"]} == {spiking, dense}
    }
    ratios: dict[str, Bounds] = {}
    for scenario in scenarios(dict(results)):
        found = _from_a(verdicts.get(scenario, {}), "ratio", spiking) or energy_ratio(a, b, scenario)
        if found:
            ratios[label(scenario)] = found
    first = next(iter(verdicts.values()), {})
    margin = results.get("margin")
    margin = MARGIN if margin is None else margin
    return Compared(
        spiking,
        dense,
        (setting(a, "loss", "cross_entropy"), setting(b, "loss", "cross_entropy")),
        _from_a(first, "accuracy_difference", spiking),
        first.get("detectable"),
        margin,
        ratios,
        _training(a),
        _is_below(results, dense, margin),
    )


def _training(model: Mapping[str, Any]) -> str:
    """The keys of a model that its training depends on, as text."""
    config = model.get("config") or {}
    after = ("state_bits",) if config.get("quantization") == "qat" else ("state_bits", "bits")
    return repr(sorted((key, str(value)) for key, value in config.items() if key not in after))


def _is_below(results: Mapping[str, Any], name: str, margin: float) -> bool:
    """Whether a model is shown to be inferior to the reference."""
    pair = {name, reference(dict(results))["name"]}
    rows = (row for row in results.get("verdicts") or () if {row["a"], row["b"]} == pair)
    found = _from_a(next(rows, {}), "accuracy_difference", name)
    return found is not None and found[2] < -margin


def _from_a(verdict: Mapping[str, Any], key: str, name: str) -> Bounds | None:
    """An interval of a verdict, with the named model as the first of the pair."""
    if not verdict.get(key):
        return None
    low, mid, high = verdict[key]
    if verdict["a"] == name:
        return low, mid, high
    return (1 / high, 1 / mid, 1 / low) if key == "ratio" else (-high, -mid, -low)


def cost_models(pairs: Iterable[Compared]) -> list[str]:
    """Labels of the cost models of several pairs; that of each network on its own hardware stands last."""
    return sorted(dict.fromkeys(name for pair in pairs for name in pair.ratios), key=is_own)


def direction(bounds: Bounds) -> str:
    """``"less"`` or ``"more"`` energy of the spiking network for all values of the constants; otherwise ``"open"``."""
    return "less" if bounds[2] < 1 else "more" if bounds[0] > 1 else "open"


def points(difference: Bounds | None) -> str:
    """Accuracy difference in points, with its lower bound."""
    if difference is None:
        return MISSING
    low, mean, _ = (100 * each for each in difference)
    return f"{mean:+.1f} [{low:+.1f}]".replace("-", "\N{MINUS SIGN}")


def forest_rows(*results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Champion pairs of each task and class of weights, as :func:`neurosparse.plot.forest` draws them.

    Args:
        results: as :func:`neurosparse.report.check` accepts them, one of each task.

    Raises:
        InputError: a malformed key, by name, or two results of one task.

    Example:
        >>> energy = {"cmos-45nm/compute_only": {"low": 1.0, "nominal": 1.0, "high": 1.0}}
        >>> row = {"family": "", "accuracy": {"mean": 0.9}, "energy": energy}
        >>> models = [row | {"name": family, "config": {"family": family}} for family in ("lif", "relu")]
        >>> forest_rows({"task": "digits", "models": models})[0]["ratios"]
        {'arithmetic only': (1.0, 1.0, 1.0)}
    """
    rows = []
    for task, of in tasks(results).items():
        best = champions(of["models"], (of.get("split") or {}).get("validation"))
        for bits, pruned in sorted(best, key=lambda key: (-key[0], key[1])):
            pair = compare_pair(of, *best[bits, pruned])
            rows.append(
                {
                    "group": task,
                    "name": f"{bits}-bit, {'pruned' if pruned else 'dense'}",
                    "models": (pair.spiking, pair.dense),
                    "losses": pair.losses,
                    "ratios": {name: bounds for name, bounds in pair.ratios.items() if not is_own(name)},
                    "own": {name: bounds for name, bounds in pair.ratios.items() if is_own(name)},
                    "difference": pair.difference,
                    "outcome": pair.outcome,
                }
            )
    return rows
