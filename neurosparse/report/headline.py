"""Answer of a comparison: the model that needs least energy at an accuracy that is not inferior to the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from neurosparse.report.results import (
    chip_of,
    energy_ratio,
    groups,
    is_own,
    like_for_like,
    reference,
    scenarios,
    weight_class,
)

__all__ = ["answer", "answers_by_class", "deciding_choices", "standings", "winner"]

SAME = 1e-9
"""Relative difference of energies that is rounding."""

MOST = 4
"""Names in a list of a sentence; more are counted."""
CHOICES = {
    "leak": "the cost of the leak",
    "state_bits": "the bits of states",
    "memory": "the memory of weights",
    "sums_in_registers": "the place of sums and states",
}
PHRASES = {
    ("leak", "as_run"): "the leak that ran",
    ("state_bits", "as_run"): "the bits of states that ran",
    ("sums_in_registers", True): "sums and states in registers",
    ("sums_in_registers", False): "sums and states in memory",
    ("leak", "shift"): "a leak by shift and add",
    ("leak", "multiply"): "a leak by multiplication",
    ("leak", "none"): "no leak",
    ("dataflow", "compute_only"): "arithmetic alone",
    ("dataflow", "no_reuse"): "no reuse",
    ("dataflow", "cheapest"): "memory accesses at the cheapest dataflow",
    ("memory", "auto"): "weights on the chip",
    ("memory", "dram"): "weights in DRAM",
}


def winner(verdict: dict[str, Any]) -> str | None:
    """The name of the model that a verdict calls cheaper, or None.

    Example:
        >>> pair = {"a": "lif", "b": "relu"}
        >>> winner({**pair, "verdict": "b cheaper"}), winner({**pair, "verdict": "undecided"})
        ('relu', None)
    """
    side, _, word = verdict["verdict"].partition(" ")
    return verdict[side] if word == "cheaper" else None


def standings(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The models with the least energy among those that are not inferior to the reference, for each scenario.

    Returns:
        One mapping per scenario:

        * ``scenario``;
        * ``field``: the reference and the models shown not to be inferior to it that the hardware can execute;
        * ``outcome``: ``"decided"`` (one model of the field needs least energy, or several need the same),
          ``"undecided"`` (the ranges of several overlap), ``"alone"`` (no other model than the reference was shown not
          to be inferior), ``"only"`` (the hardware executes one model of the field), ``"none"`` (an empty field);
        * ``cheapest``: the models of the field that no other of the field undercuts, and their ``families``;
        * ``savings``: name -> energy of the reference over that of the model, nominal, of models decided to be cheaper
          than the reference;
        * ``unproven``: like ``savings``, of models with a lower nominal energy than the cheapest of the field and too
          few samples to show that their accuracy is not inferior;
        * ``inferior``: models that are less accurate than the reference, by more than the margin as far as is shown.
    """
    models = {model["name"]: model for model in results["models"]}
    return [_standing(results, models, scenario) for scenario in scenarios(results)]


def _standing(results: dict[str, Any], models: dict[str, dict[str, Any]], scenario: str) -> dict[str, Any]:
    base = reference(results)["name"]
    rows = {(row["a"], row["b"]): row for row in results.get("verdicts") or () if row["scenario"] == scenario}
    met = {b if a == base else a: row for (a, b), row in rows.items() if base in (a, b)}
    proven = {base, *(name for name, row in met.items() if row[f"noninferior_{_side(row, name)}"])}
    energies = {name: (model["energy"].get(scenario) or {}).get("nominal") for name, model in models.items()}
    energy = {name: joules for name, joules in energies.items() if joules is not None}
    field = [name for name in models if name in proven and name in energy]

    def undercuts(one: str, other: str) -> bool:
        ratio = _ratio(rows, one, other) or energy_ratio(models[one], models[other], scenario)
        return energy[one] < energy[other] if ratio is None else ratio[2] < 1 - SAME  # None: an energy of 0

    unbeaten = [name for name in field if not any(undercuts(other, name) for other in field)]
    cheapest = sorted(unbeaten, key=lambda name: energy[name])
    if len(field) > 1:
        same = all(_same(models[cheapest[0]], models[name], scenario) for name in cheapest[1:])
        outcome = "decided" if same else "undecided"
    else:
        outcome = "none" if not field else "alone" if proven == {base} else "only"
    margin = results.get("margin")
    margin = 0.01 if margin is None else margin
    worse = [name for name, row in met.items() if name not in proven and _worse(row, name, margin)]
    least = energy[cheapest[0]] if cheapest else 0.0
    ranked = sorted((name for name in met if energy.get(name)), key=lambda name: energy[name])
    open_ = [name for name in ranked if name not in proven and name not in worse and energy[name] < least * (1 - SAME)]
    return {
        "scenario": scenario,
        "field": field,
        "outcome": outcome,
        "cheapest": cheapest,
        "families": sorted({models[name]["family"] for name in cheapest}),
        "savings": {name: energy[base] / energy[name] for name in ranked if winner(met[name]) == name},
        "unproven": {name: least / energy[name] for name in open_},
        "inferior": worse,
    }


def _ratio(rows: dict[tuple[str, str], dict[str, Any]], a: str, b: str) -> tuple[float, float, float] | None:
    """Energy of a over that of b from the verdict on them, if there is one."""
    if found := (rows.get((a, b)) or {}).get("ratio"):
        return tuple(found)
    if found := (rows.get((b, a)) or {}).get("ratio"):
        low, nominal, high = found
        return 1 / high, 1 / nominal, 1 / low
    return None


def _side(row: dict[str, Any], name: str) -> str:
    return "a" if row["a"] == name else "b"


def _worse(row: dict[str, Any], name: str, margin: float) -> bool:
    """Whether a model is shown to lose more than the margin against the other of the pair."""
    low, _, high = row.get("accuracy_difference") or (-1.0, 0.0, 1.0)
    return high < -margin if row["a"] == name else low > margin


def _same(one: dict[str, Any], other: dict[str, Any], scenario: str) -> bool:
    """Whether two models need the same energy, to rounding."""
    mine, theirs = one["energy"][scenario], other["energy"][scenario]
    keys = ("low", "nominal", "high")
    return all(abs(mine[key] - theirs[key]) <= SAME * max(mine[key], theirs[key]) for key in keys)


def deciding_choices(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Choices of an estimate that turn the answer: scenarios that differ in one choice and have other cheapest models.

    A choice is an option of :func:`neurosparse.estimate`, or several that have changed together in every scenario, such
    as the leak and the bits of states.

    Returns:
        One mapping per choice: ``choice`` (the options), ``cheapest`` (value -> names) and ``scenarios`` (value -> the
        scenario); a value is that of each option, joined by "and". Where several sets of the other options turn, that
        with most values is listed.
    """
    given = {name: of for name, of in (results.get("scenarios") or {}).items() if not is_own(name)}
    decided = {row["scenario"]: row["cheapest"] for row in standings(results) if row["outcome"] == "decided"}
    options = {name: given[name] for name in decided if name in given}
    found = []
    for choice in _choices(given):
        alike: dict[str, dict[str, str]] = {}
        for scenario, of in options.items():
            rest = repr(sorted((key, str(value)) for key, value in of.items() if key not in choice))
            value = " and ".join(_words(key, of.get(key)) for key in choice)
            alike.setdefault(rest, {})[value] = scenario
        turning = [held for held in alike.values() if len({tuple(sorted(decided[name])) for name in held.values()}) > 1]
        if turning:
            most = max(turning, key=len)
            cheapest = {value: decided[scenario] for value, scenario in most.items()}
            found.append({"choice": list(choice), "cheapest": cheapest, "scenarios": most})
    return found


def _choices(given: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """Options that vary over the scenarios; those that change together are one choice."""
    together: dict[tuple[int, ...], list[str]] = {}
    for key in dict.fromkeys(key for of in given.values() for key in of):
        values = [str(of.get(key)) for of in given.values()]
        if len(set(values)) > 1:
            together.setdefault(tuple(map(values.index, values)), []).append(key)
    return [tuple(keys) for keys in together.values()]


def _words(option: str, value: Any) -> str:
    """The value of an option in words."""
    phrases = {"leak": f"a leak by {value}", "state_bits": f"{value}-bit states", "memory": f"memory {value}"}
    return PHRASES.get((option, value), phrases.get(option, str(value).replace("_", " ")))


def answer(results: dict[str, Any]) -> str:
    """The model with the least energy at an accuracy not inferior to the reference, as far as the verdicts decide.

    Every independent scenario is counted once (:func:`neurosparse.report.results.groups`). Those in which each network
    has its own silicon have a sentence of their own.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> answer({"task": "digits", "models": [relu]})
        'Undecided: no pair of models was compared.'
    """
    if not results.get("verdicts"):
        return "Undecided: no pair of models was compared."
    first = {group[0] for group in groups(results)}
    every = [row for row in standings(results) if row["scenario"] in first]
    rows = [row for row in every if not is_own(row["scenario"])] or every
    base, n = reference(results)["name"], len(rows)
    kind = "independent energy scenario" if len(every) < len(scenarios(results)) else "energy scenario"
    outcomes = Counter(row["outcome"] for row in rows)

    def places(count: int) -> str:
        return f"the one {kind}" if n == 1 else f"all {n} {kind}s" if count == n else f"{count} of {n} {kind}s"

    def names(outcome: str) -> str:
        return _few(dict.fromkeys(name for row in rows if row["outcome"] == outcome for name in row["cheapest"]))

    others = {
        "undecided": f"the ranges of energies overlap ({names('undecided')})",
        "only": f"the hardware executes no other than {names('only')}",
        "alone": f"no other model was shown not to be inferior to {base} in accuracy{_why(results)}",
        "none": "the hardware executes no model that is not inferior",
    }
    sentences = []
    if outcomes["decided"]:
        sentences.append(f"Among models whose accuracy is not inferior to {base}, {_least(results, rows, places)}.")
    for key in (key for key in others if outcomes[key]):
        sentences.append(f"In {f'{outcomes[key]} of {n}' if sentences else places(outcomes[key])} {others[key]}.")
    sentences += [_turn(found) for found in deciding_choices(results)]
    own = {row["scenario"]: row["cheapest"] for row in every if row not in rows and row["outcome"] == "decided"}
    if own:
        least = ", ".join(f"{_joined(names)} ({chip_of(scenario)})" for scenario, names in own.items())
        sentences.append(f"Each on its own silicon, which compares chips as well, the least is needed by {least}.")
    if unproven := list(dict.fromkeys(name for row in rows for name in row["unproven"])):
        words = "Cheaper, but with too few samples to show that their accuracy is not inferior"
        sentences.append(f"{words}: {_few(unproven)}.")
    return " ".join(sentences)


def answers_by_class(results: dict[str, Any]) -> dict[str, str]:
    """The answer within each class of weights (same bits, pruned or dense), by class; empty where all are of one class.

    The reference of a class is that of :func:`neurosparse.report.results.like_for_like`.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> answers_by_class({"task": "digits", "models": [relu]})
        {}
    """
    found = {}
    for group in like_for_like(results):
        members = [model for model in results["models"] if weight_class(model) == group["class"]]
        if len(members) < len(results["models"]) and group["verdicts"]:
            part = {"models": members, "verdicts": group["verdicts"], "reference": group["reference"]}
            found[group["class"]] = answer(results | part)
    return found


def _least(results: dict[str, Any], rows: list[dict[str, Any]], places: Callable[[int], str]) -> str:
    """Models with the least energy, and in how many scenarios."""
    labels = {model["name"]: _label(model) for model in results["models"]}
    counts = Counter(tuple(row["cheapest"]) for row in rows if row["outcome"] == "decided").most_common()
    (winners, count), *rest = counts
    lead = f"{_joined([labels[name] for name in winners])} {'needs' if len(winners) == 1 else 'tie for'}"
    parts = [
        f"{lead} the least energy in {places(count)}",
        *(f"{_joined(names)} in {many}" for names, many in rest[:MOST]),
    ]
    others = sum(many for _, many in rest[MOST:])
    return ", ".join([*parts, *([f"other models in {others}"] if others else [])])


def _label(model: dict[str, Any]) -> str:
    """Name of a model with its family, unless they are the same."""
    name, family = model["name"], model["family"]
    return name if name.lower() == family.lower() else f"{name} ({family})"


def _few(names: Any) -> str:
    names = list(names)
    rest = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + rest


def _joined(names: Any) -> str:
    """Names joined by "and", as many as a sentence takes."""
    return " and ".join(names) if len(names) <= MOST else _few(names)


def _why(results: dict[str, Any]) -> str:
    """Smallest loss of accuracy that the samples do not exclude, where they are too few for the margin."""
    base, given = reference(results)["name"], results.get("margin")
    margin = 0.01 if given is None else given
    pairs = [row for row in results["verdicts"] if base in (row["a"], row["b"]) and row.get("detectable")]
    if min((row["detectable"] for row in pairs), default=0.0) <= margin:
        return ""
    bounds = [row.get("accuracy_difference") or (-row["detectable"], 0.0, row["detectable"]) for row in pairs]
    loss = min(high if row["a"] == base else -low for row, (low, _, high) in zip(pairs, bounds, strict=True))
    excluded = f"with these samples, a loss of up to {100 * loss:.2g} points could not be excluded"
    return f" ({excluded}, the margin is {100 * margin:.2g})"


def _turn(found: dict[str, Any]) -> str:
    """Which value of a choice gives which answer; the most frequent answer last."""
    values: dict[tuple[str, ...], list[str]] = {}
    for value, names in found["cheapest"].items():
        values.setdefault(tuple(names), []).append(value)
    parts = []
    for names, given in sorted(values.items(), key=lambda item: len(item[1])):
        usual = len(given) > 1 and len(parts) == len(values) - 1
        parts.append(f"{'otherwise' if usual else 'with ' + ' or '.join(given)} {_joined(names)}")
    choice = " and ".join(CHOICES.get(key, f"the {key.replace('_', ' ')}") for key in found["choice"])
    verb = "decides" if len(found["choice"]) == 1 else "decide"
    return f"{choice[0].upper()}{choice[1:]} {verb}: {', '.join(parts)}."
