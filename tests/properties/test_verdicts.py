"""Verdicts and the answer of a comparison, on drawn accuracies and energies."""

import os
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from neurosparse import report
from neurosparse.energy import EnergyReport, accuracy_difference, ratio, verdict
from neurosparse.experiments.classification.summary import MARGIN, energies, verdicts
from neurosparse.report.headline import answer, deciding_choices, standings
from neurosparse.report.results import groups, like_for_like, weight_class

DRAWS = int(os.environ.get("NEUROSPARSE_DRAWS", "1"))
"""How many times as many cases as in the suite."""
OPTIONS = {
    f"{hardware}/{flow}{', narrow' if narrow else ''}": {
        "hardware": hardware,
        "dataflow": flow,
        "leak": "shift" if narrow else "multiply",
        "state_bits": 16 if narrow else 32,
    }
    for hardware in ("cmos-45nm", "cmos-7nm")
    for flow in ("compute_only", "cheapest")
    for narrow in (False, True)
}


def draw_energy(rng: np.random.Generator, scenario: str, level: float) -> EnergyReport:
    """Joules at nominal prices and two corners; sometimes 0, not supported, or with a range that counts leave open."""
    hardware, flow = OPTIONS[scenario]["hardware"], OPTIONS[scenario]["dataflow"]
    kind = rng.choice(["fixed", "ranged", "open", "zero", "cannot"], p=[0.5, 0.25, 0.1, 0.05, 0.1])
    if kind == "cannot":
        return EnergyReport(None, None, None, (), hardware, flow, unsupported=("fc: MACs",))
    nominal = 0.0 if kind == "zero" else level * float(rng.choice([1.0, 1.2, 2.0]))
    spread = 1.0 if kind in ("fixed", "zero") else float(rng.uniform(1, 3))
    corners = (nominal / spread, nominal * spread)
    bounds = ()
    if kind == "open":
        bounds = tuple((0.9 * joules, 1.1 * joules) for joules in (nominal, *corners))
    ends = [*corners, nominal, *(end for pair in bounds for end in pair)]
    return EnergyReport(
        min(ends),
        nominal,
        max(ends),
        (),
        hardware,
        flow,
        corners=corners,
        bounds=bounds,
        bits=(int(rng.choice([8, 32])),),
    )


def draw_outcomes(rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    """Models with their correct samples and energies by scenario, seed by seed; some are copies of others."""
    samples, seeds = int(rng.choice([1, 3, 40, 250, 300, 1000, 4000])), int(rng.choice([1, 1, 3]))
    shown = [str(name) for name in rng.permutation(list(OPTIONS))[: rng.integers(1, len(OPTIONS) + 1)]]
    hard, found = rng.random(samples), {}
    for i in range(int(rng.integers(2, 7))):
        if found and rng.random() < 0.25:
            found[f"model{i}"] = found[str(rng.choice(list(found)))]
            continue
        skill, noise = rng.choice([0.95, 0.94, 0.9, 0.5]), rng.choice([0.0, 0.002, 0.05])
        levels = {name: float(rng.choice([1e-9, 2e-9, 1e-8])) for name in shown}
        if len(shown) > 1 and rng.random() < 0.5:
            levels[shown[1]] = levels[shown[0]]
        fixed = {name: draw_energy(rng, name, levels[name]) for name in shown}
        runs = []
        for _ in range(seeds):
            correct = (hard < skill) ^ (rng.random(samples) < noise)
            varied = {
                name: one if rng.random() < 0.8 else scaled(one, rng.uniform(1, 1.3)) for name, one in fixed.items()
            }
            runs.append({"correct": correct, "reports": varied})
        found[f"model{i}"] = runs
    return found


def scaled(one: EnergyReport, factor: float) -> EnergyReport:
    if one.low is None or one.nominal is None or one.high is None:
        return one
    corners = tuple(factor * joules for joules in one.corners)
    bounds = tuple((factor * low, factor * high) for low, high in one.bounds)
    totals = {"low": factor * one.low, "nominal": factor * one.nominal, "high": factor * one.high}
    return replace(one, corners=corners, bounds=bounds, **totals)


def results_of(outcomes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The results as a comparison writes them; the first model is the reference."""
    base = next(iter(outcomes))
    models = [
        {
            "name": name,
            "family": name,
            "accuracy": {"mean": float(np.mean([run["correct"].mean() for run in runs]))},
            "weight_bits": 8 if i % 2 else 32,
            "config": {"sparsity": 0.9} if i % 3 == 2 else {"family": name},
            "energy": energies([run["reports"] for run in runs]),
        }
        for i, (name, runs) in enumerate(outcomes.items())
    ]
    shown = list(models[0]["energy"])
    header = {
        "task": "drawn",
        "reference": base,
        "margin": MARGIN,
        "scenarios": {name: OPTIONS[name] for name in shown},
    }
    return header | {"models": models, "verdicts": verdicts(models, outcomes, base)}


def field_of(outcomes: dict[str, list[dict[str, Any]]], scenario: str) -> list[str]:
    """The reference and models shown not to be inferior to it that have an energy, from the raw runs."""
    base, *others = outcomes
    right = {name: [run["correct"] for run in runs] for name, runs in outcomes.items()}
    good = [base, *(name for name in others if accuracy_difference(right[name], right[base]).low > -MARGIN)]
    return [
        n for n in outcomes if n in good and all(run["reports"][scenario].nominal is not None for run in outcomes[n])
    ]


def less(outcomes: dict[str, list[dict[str, Any]]], scenario: str, one: str, other: str) -> bool:
    """Whether a model needs less energy than another at all prices, from the raw reports."""
    a, b = ([run["reports"][scenario] for run in outcomes[name]] for name in (one, other))
    if any(not each.nominal for each in a + b):
        return sum(each.nominal for each in a) < sum(each.nominal for each in b)
    return ratio(a, b)[2] < 1 - 1e-9


@pytest.mark.parametrize("seed", range(8 * DRAWS))
def test_the_answer_never_contradicts_the_verdicts(seed: int) -> None:
    outcomes = draw_outcomes(np.random.default_rng(seed))
    results = report.check(results_of(outcomes))
    table = standings(results)
    base = results["reference"]
    assert [row["scenario"] for row in table] == list(results["models"][0]["energy"])
    for row in table:
        scenario, cheapest = row["scenario"], row["cheapest"]
        field = field_of(outcomes, scenario)
        assert row["field"] == field
        assert set(cheapest) <= set(field)
        assert not any(less(outcomes, scenario, other, name) for name in cheapest for other in field)
        if row["outcome"] == "decided":
            assert all(less(outcomes, scenario, cheapest[0], name) for name in field if name not in cheapest)
        for name in field:  # copies win and lose together
            copies = [other for other in field if outcomes[other] is outcomes[name]]
            assert len({copy in cheapest for copy in copies}) == 1
        pairs = [r for r in results["verdicts"] if r["scenario"] == scenario and r["b"] == base]
        assert set(row["savings"]) == {r["a"] for r in pairs if r["verdict"] == "a cheaper" and r["ratio"]}
        for pair in pairs:
            if outcomes[pair["a"]] is outcomes[base]:
                assert pair["verdict"] in ("equal", "unsupported")
        assert not set(row["unproven"]) & (set(field) | set(row["inferior"]))


@pytest.mark.parametrize("seed", range(8 * DRAWS))
def test_every_independent_scenario_is_counted_in_the_sentence(seed: int) -> None:
    results = results_of(draw_outcomes(np.random.default_rng(seed)))
    text, n = answer(results), len(groups(results))
    counted = re.sub(r" The [^.]* decides?: [^.]*\.", "", text).partition(" Cheaper, but")[0]
    if n == 1:
        assert counted.count("the one ") == 1
    elif " all " in counted:
        assert f"all {n} " in counted
        assert not re.search(r"\bin \d+", counted, re.IGNORECASE)
    else:
        numbers = [int(found) for found in re.findall(r"\bin (\d+)\b", counted, re.IGNORECASE)]
        assert sum(numbers) == n
    decided = {name for row in standings(results) if row["outcome"] == "decided" for name in row["cheapest"]}
    lead = re.match(r"Among models whose accuracy is not inferior to model0, (.*?) (needs|tie for) the least", text)
    named = set(re.findall(r"model\d", lead[1])) if lead else set()
    assert named <= decided and bool(lead) == bool(decided)


@pytest.mark.parametrize("seed", range(4 * DRAWS))
def test_the_order_of_the_models_changes_no_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = draw_outcomes(rng)
    base, *others = outcomes
    turned = {name: outcomes[name] for name in (base, *map(str, rng.permutation(others)))}
    results, again = results_of(outcomes), results_of(turned)
    for one, other in zip(standings(results), standings(again), strict=True):
        assert one["outcome"] == other["outcome"] and set(one["cheapest"]) == set(other["cheapest"])
        assert one["savings"] == other["savings"] and set(one["unproven"]) == set(other["unproven"])
    choices = [[found["choice"] for found in deciding_choices(given)] for given in (results, again)]
    assert choices[0] == choices[1]


@pytest.mark.parametrize("seed", range(4 * DRAWS))
def test_pairs_alike_have_the_same_bits_and_sparsity(seed: int) -> None:
    results = results_of(draw_outcomes(np.random.default_rng(seed)))
    models = {model["name"]: model for model in results["models"]}
    for group in like_for_like(results):
        members = [name for name, model in models.items() if weight_class(model) == group["class"]]
        assert group["reference"] in members
        scenarios = len(results["scenarios"])
        assert len(group["verdicts"]) == (len(members) - 1) * scenarios
        assert {row["a"] for row in group["verdicts"]} == set(members) - {group["reference"]}


@pytest.mark.parametrize("seed", range(4 * DRAWS))
def test_a_verdict_mirrors_its_sides_and_grows_with_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = draw_outcomes(rng)
    names = [str(name) for name in rng.permutation(list(outcomes))[:2]]
    scenario = next(iter(outcomes[names[0]][0]["reports"]))
    right = [np.array([run["correct"] for run in outcomes[name]]) for name in names]
    joules = [[run["reports"][scenario] for run in outcomes[name]] for name in names]
    found = verdict(*right, *joules, different_bits=True)
    swapped = verdict(right[1], right[0], joules[1], joules[0], different_bits=True)
    mirror = {"a": "b", "b": "a"}
    assert swapped.verdict == " ".join(mirror.get(word, word) for word in found.verdict.split())
    assert (swapped.noninferior_a, swapped.noninferior_b) == (found.noninferior_b, found.noninferior_a)
    assert swapped.difference == pytest.approx([-value for value in reversed(found.difference)], abs=1e-9)
    order = rng.permutation(right[0].shape[1])
    repeated = [np.concatenate([side, side])[:, order] for side in right]
    assert verdict(*repeated, *joules, different_bits=True) == found
    wider = [verdict(*right, *joules, margin, different_bits=True) for margin in (0.0, 0.005, 0.01, 0.05, 0.3)]
    for one, next_one in pairwise(wider):
        assert one.noninferior_a <= next_one.noninferior_a and one.noninferior_b <= next_one.noninferior_b
        assert one.verdict in (next_one.verdict, "undecided")
