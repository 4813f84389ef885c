"""The factorial table and the sentence over drawn results: counts add up, order and damage change nothing else."""

import random
from typing import Any

import pytest
from protocol_results import SCENARIOS, drawn

from neurosparse import report
from neurosparse.report.page import MANY, selected
from neurosparse.report.sentence import REGIMES, clauses

FAST = range(4)


def damaged(found: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Results with models that some hardware does not execute, energies of 0, and pairs without a verdict."""
    for model in found["models"]:
        for scenario in SCENARIOS:
            if draw.random() < 0.1:
                model["energy"][scenario] = draw.choice(
                    ({"unsupported": "MACs"}, dict.fromkeys(("low", "nominal", "high"), 0))
                )
        if draw.random() < 0.1:
            model["validation_energy"] = draw.choice((None, {}, {"cmos-45nm/cheapest dataflow per layer": None}))
    energy = {model["name"]: model["energy"] for model in found["models"]}
    kept = []
    for verdict in found["verdicts"]:
        able = all(energy[verdict[side]][verdict["scenario"]].get("nominal") for side in "ab")
        if draw.random() < 0.9:
            stuck = {"ratio": None, "verdict": "unsupported", "reason": "MACs"}
            kept.append(verdict if able else verdict | stuck)
    return found | {"verdicts": kept}


def sample(seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    names = draw.sample(["digits", "fashion-mnist", "nmnist", "spoken-digits"], draw.randint(1, 3))
    tasks = [
        drawn(name, draw.randint(0, 9999), draw.uniform(0.02, 0.5), name in ("nmnist", "spoken-digits"))
        for name in names
    ]
    return [damaged(found, draw) if draw.random() < 0.7 else found for found in tasks]


@pytest.mark.parametrize("seed", FAST)
def test_pairs_and_holes_make_up_the_design(seed: int) -> None:
    found = report.factorial(*sample(seed))
    for task, holes in found.holes.items():
        cells = [row.cell for row in found.rows if row.task == task]
        moving = all(cell.input == "events" for cell in cells) and bool(cells)
        assert len(set(cells) | set(holes)) == (72 if moving else 144)
        assert not set(cells) & set(holes)
    assert [row.number for row in found.rows] == list(range(1, len(found.rows) + 1))
    assert len(found.records()) == len(found.rows) + sum(map(len, found.holes.values()))


@pytest.mark.parametrize("seed", FAST)
def test_each_pair_is_in_one_clause_or_in_none(seed: int) -> None:
    found = report.factorial(*sample(seed))
    for row in found.rows:
        assert sum(belongs(row.cell) for _, _, belongs in REGIMES) == 1
    proven = {row.number for row in found.rows if row.pair.outcome == "yes"}
    numbers = [number for clause in clauses(found) for number in clause.rows]
    assert sorted(numbers) == sorted(proven)


@pytest.mark.parametrize("seed", FAST)
def test_the_order_of_the_models_changes_nothing(seed: int) -> None:
    results = sample(seed)
    shuffled = []
    for found in results:
        models = random.Random(seed).sample(found["models"], len(found["models"]))
        shuffled.append(found | {"models": models})
    one, other = report.factorial(*results), report.factorial(*shuffled)
    assert one.table("csv") == other.table("csv")
    assert report.sentence(*results) == report.sentence(*shuffled)


@pytest.mark.parametrize("seed", FAST)
def test_tables_sentences_and_rows_of_the_forest_are_made_of_any_results(seed: int) -> None:
    results = sample(seed)
    found = report.factorial(*results)
    for text in (found.grid().at(80), found.margins().at(80), found.table("markdown"), report.sentence(*results)):
        assert "None" not in text and "nan" not in text and "inf " not in text
    for row in report.forest_rows(*results):
        for low, nominal, high in (*row["ratios"].values(), *row["own"].values()):
            assert 0 < low <= nominal <= high
    for of in results:
        assert len(selected(of)["models"]) <= MANY
