"""Generated sentence of the comparison: when spiking networks need less energy than their twins, and what turns it.

A clause for each kind of input: accuracies, range of the energy ratios, cost models that agree, rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from neurosparse.report.compared import PRIMARY, direction
from neurosparse.report.factorial import Cell, Factorial, Row, factorial
from neurosparse.report.results import OWN, is_own
from neurosparse.report.table import ratio

__all__ = ["Clause", "clauses", "sentence"]

IMAGES, EVENTS = ("current", "latency"), ("events",)
OPPOSITE = {"less": "more", "more": "less"}

Regime = tuple[str, tuple[str, ...], Callable[[Cell], bool]]
REGIMES: tuple[Regime, ...] = (
    ("static images at T >= 4", IMAGES, lambda cell: cell.input == "current" and cell.steps >= 4),
    (
        "static images at T <= 2 or with latency coding",
        IMAGES,
        lambda cell: cell.input == "latency" or (cell.input == "current" and cell.steps <= 2),
    ),
    ("event streams", EVENTS, lambda cell: cell.input == "events"),
)
"""Name, codings of the input, and cells of each clause; T = 3, which the design leaves out, belongs to none."""


@dataclass(frozen=True)
class Clause:
    """What the pairs of one regime show.

    Args:
        regime: input and time steps, in words.
        text: the sentences.
        rows: numbers of the rows of the factorial table that are not inferior in accuracy.
        is_possible: whether a task has such inputs.
    """

    regime: str
    text: str
    rows: tuple[int, ...]
    is_possible: bool


def sentence(*results: Mapping[str, Any]) -> str:
    """When spiking networks need less energy than their dense twins, in a few sentences.

    Args:
        results: as :func:`neurosparse.report.check` accepts them, one of each task.

    Returns:
        a clause for static images with many time steps, one for few steps and latency coding, one for event streams.

    Raises:
        InputError: a malformed key, by name, or two results of one task.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> sentence({"task": "digits", "models": [relu]})[:62]
        'On static images at T >= 4 no pair of a spiking network and it'
    """
    return " ".join(clause.text for clause in clauses(factorial(*results)))


def clauses(table: Factorial) -> list[Clause]:
    """The clauses of the sentence, with the rows on which each rests."""
    inputs = {row.cell.input for row in table.rows} | {cell.input for holes in table.holes.values() for cell in holes}
    found = []
    for name, codings, belongs in REGIMES:
        rows = [row for row in table.rows if belongs(row.cell)]
        proven = [row for row in rows if row.pair.outcome == "yes" and not row.pair.below_reference]
        able = not inputs.isdisjoint(codings)
        text = _shown(table, name, rows, proven) if proven else _none(name, rows, able)
        found.append(Clause(name, text, tuple(row.number for row in proven), able))
    return found


def _none(name: str, rows: Sequence[Row], able: bool) -> str:
    """Why a regime has no pair to speak of."""
    if not rows:
        why = "" if able else f": no task has {name.split(' at ')[0]}"
        return f"On {name} no pair of a spiking network and its dense twin was run{why}."
    outcomes = ["below" if _is_left_out(row) else row.pair.outcome for row in rows]
    open_ = [row.pair.difference[0] for row in rows if row.pair.outcome == "undecided" and row.pair.difference]
    loss = f"with these samples, a loss of up to {-100 * min(open_, default=0.0):.1f} points could not be excluded"
    if len(rows) == 1:
        which, why = "the one pair is not", loss if open_ else dict(_OTHERS)[outcomes[0]]
    else:
        which, parts = f"none of {len(rows)} pairs is", [f"{len(open_)} undecided ({loss})"] if open_ else []
        why = ", ".join([*parts, *(f"{outcomes.count(key)} {words}" for key, words in _OTHERS if key in outcomes)])
    where = f"Row{'s' * (len(rows) > 1)} {_numbers(rows)}."
    return f"On {name} {which} shown to have an accuracy that is not inferior: {why}. {where}"


_OTHERS = (("no", "inferior"), ("below", "with both inferior to the reference"), ("not judged", "without a verdict"))


def _shown(table: Factorial, name: str, rows: Sequence[Row], proven: Sequence[Row]) -> str:
    """Number of pairs, ratios at the primary cost model, cost models that agree and that do not, rows."""
    models = [model for model in table.cost_models if not is_own(model)]
    own = [model for model in table.cost_models if is_own(model)]
    primary = PRIMARY if PRIMARY in models else next(iter(models), "")
    if not _ratios(proven, primary):
        pairs = f"{len(proven)} {_accuracies(rows, proven)}"
        return f"On {name} the energies of {pairs} were not compared (rows {_numbers(proven)})."
    verb, twin = ("network needs", "its dense twin") if len(proven) == 1 else ("networks need", "their dense twins")
    at = f"at the {primary}" if primary == PRIMARY else f"with {primary}"
    lead = f"On {name} the spiking {verb} {_range(proven, primary)} times the energy of {twin} {at}"
    text = [f"{lead}, {_split(_kinds(proven, primary))} {_accuracies(rows, proven)}."]
    text.append(_agreement(proven, models, primary))
    chips = ", ".join(f"{_range(proven, model)}{model.removeprefix(OWN)}" for model in own if _ratios(proven, model))
    text += [f"Each on its own silicon, which compares two chips as well: {chips}."] if chips else []
    text.append(f"Row{'s' * (len(proven) > 1)} {_numbers(proven)}.")
    return " ".join(part for part in text if part)


def _accuracies(rows: Sequence[Row], proven: Sequence[Row]) -> str:
    """Of how many pairs the accuracy is not inferior, and what the others are."""
    outcomes = ["below" if _is_left_out(row) else row.pair.outcome for row in rows]
    named = (("undecided", "undecided"), *_OTHERS)
    others = ", ".join(f"{outcomes.count(key)} {words}" for key, words in named if outcomes.count(key))
    run = f"of {len(rows)} run{': ' * bool(others)}{others}" if len(rows) > len(proven) else ""
    trainings = len({(row.task, row.pair.training) for row in proven})
    shared = f"{trainings} training{'s' * (trainings > 1)}" if trainings < len(proven) else ""
    notes = ", ".join(part for part in (shared, run) if part)
    pairs = "pair" if len(proven) == 1 else "pairs"
    return f"{pairs} whose accuracy is not inferior" + (f" ({notes})" if notes else "")


def _is_left_out(row: Row) -> bool:
    """Whether a spiking network is as accurate as its twin, but both are inferior to the reference of the task."""
    return row.pair.outcome == "yes" and row.pair.below_reference


def _agreement(proven: Sequence[Row], models: Sequence[str], primary: str) -> str:
    """In how many cost models the direction is that of the primary one, and the assumptions that turn it."""
    own = _uniform(_kinds(proven, primary))
    kinds = {model: _uniform(_kinds(proven, model)) for model in models if _ratios(proven, model)}

    def listed(wanted: Callable[[str], bool]) -> str:
        return ", ".join(f"{model} ({_range(proven, model)})" for model, kind in kinds.items() if wanted(kind))

    if own not in OPPOSITE:
        clear = [
            f"{kind} with {listed(lambda of, kind=kind: of == kind)}" for kind in OPPOSITE if kind in kinds.values()
        ]
        same = f"; {_all(proven)} {'; '.join(clear)}" if clear else f" in any of the {len(kinds)} cost models"
        return f"No direction holds for all of them{same}." if len(proven) > 1 or clear else ""
    if len(kinds) == 1:
        return ""
    same = sum(kind == own for kind in kinds.values())
    count = f"all {same}" if same == len(kinds) else f"{same} of {len(kinds)}"
    parts = [f"The direction is the same in {count} cost models"]
    turned, mixed = listed(lambda kind: kind == OPPOSITE[own]), listed(lambda kind: kind not in OPPOSITE)
    parts += [f"turned by {turned}"] if turned else []
    parts += [f"left open by {mixed}"] if mixed else []
    return f"{'; '.join(parts)}."


def _all(rows: Sequence[Row]) -> str:
    return "it is" if len(rows) == 1 else f"in all {len(rows)} pairs it is"


def _kinds(rows: Iterable[Row], model: str) -> list[str]:
    return [direction(row.pair.ratios[model]) for row in rows if model in row.pair.ratios]


def _uniform(kinds: Sequence[str]) -> str:
    """The direction of all pairs, or ``"mixed"``."""
    return kinds[0] if len(set(kinds)) == 1 else "mixed"


def _split(kinds: Sequence[str]) -> str:
    """Number of pairs in each direction, as the words before "pairs"."""
    words = {"less": "less", "more": "more", "open": "open within the range of the constants"}
    counts = [(kinds.count(key), text) for key, text in words.items() if key in kinds]
    if len(counts) == 1:
        return f"{counts[0][1]} in {f'all {len(kinds)}' if len(kinds) > 1 else 'the one'}"
    return ", ".join(f"{text} in {count}" for count, text in counts) + f" of the {len(kinds)}"


def _ratios(rows: Iterable[Row], model: str) -> list[float]:
    return [row.pair.ratios[model][1] for row in rows if model in row.pair.ratios]


def _range(rows: Iterable[Row], model: str) -> str:
    """Least and greatest nominal ratio."""
    found = _ratios(rows, model)
    low, high = ratio(min(found, default=None)), ratio(max(found, default=None))
    return low if low == high else f"{low} to {high}"


def _numbers(rows: Sequence[Row]) -> str:
    """Numbers of rows by task, runs of them joined.

    Rows 1, 2, 3 and 5 of digits and 8 of nmnist are ``"1-3, 5 (digits), 8 (nmnist)"``.
    """
    parts = []
    for task, members in groupby(rows, key=lambda row: row.task):
        numbers = [row.number for row in members]
        runs = [
            [number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda each: each[1] - each[0])
        ]
        parts.append(", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) + f" ({task})")
    return ", ".join(parts)
