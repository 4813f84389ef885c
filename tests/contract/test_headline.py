"""The answer of a comparison: the least energy at an accuracy that is not inferior, by scenario."""

from typing import Any

import pytest

from neurosparse import report
from neurosparse.energy import comparison_scenarios
from neurosparse.errors import InputError
from neurosparse.experiments.classification.summary import options
from neurosparse.report.headline import answer, answers_by_class, deciding_choices, standings
from neurosparse.report.results import like_for_like

GOOD, FEW, BAD = [-0.002, 0.0, 0.002], [-0.02, 0.0, 0.02], [-0.06, -0.05, -0.04]
"""Differences to the reference: shown not inferior, too few samples, shown inferior."""


def results(
    energies: dict[str, dict[str, float | None]],
    accuracy: dict[str, list[float]] | None = None,
    families: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Results with joules by scenario and model; the first model is the reference, to which the others differ."""
    names = list(next(iter(energies.values())))
    accuracy, families, base = accuracy or {}, families or {}, names[0]

    def report_of(joules: float | None) -> dict[str, Any]:
        keys = ("low", "nominal", "high")
        return {"unsupported": "MACs"} if joules is None else dict.fromkeys(keys, joules)

    rows = []
    for scenario, of in energies.items():
        for name in names[1:]:
            low, mean, high = accuracy.get(name, GOOD)
            row = {"a": name, "b": base, "scenario": scenario, "accuracy_difference": [low, mean, high], "reason": ""}
            row |= {"noninferior_a": low > -0.01, "noninferior_b": high < 0.01, "detectable": mean - low}
            mine, theirs = of[name], of[base]
            if mine is None or theirs is None:
                rows.append(row | {"verdict": "unsupported", "ratio": None})
                continue
            cheaper = "a" if mine < theirs else "b"
            said = {"verdict": "undecided", "reason": "too few samples"}
            if mine == theirs:
                said = {"verdict": "equal"}
            elif row[f"noninferior_{cheaper}"]:
                said = {"verdict": f"{cheaper} cheaper"}
            rows.append(row | said | {"ratio": [mine / theirs] * 3})
    models = [
        {
            "name": name,
            "family": families.get(name, name),
            "accuracy": {"mean": 0.9 + accuracy.get(name, GOOD)[1]},
            "energy": {scenario: report_of(of[name]) for scenario, of in energies.items()},
        }
        for name in names
    ]
    return report.check({"task": "t", "reference": base, "models": models, "verdicts": rows, **more})


def test_one_model_is_cheapest_everywhere() -> None:
    found = results({"p": {"relu": 2, "lif": 1, "kwta": 3}, "q": {"relu": 4, "lif": 1, "kwta": 3}})
    assert answer(found) == (
        "Among models whose accuracy is not inferior to relu, lif needs the least energy in all 2 energy scenarios."
    )
    assert [(row["outcome"], row["cheapest"], row["savings"]) for row in standings(found)] == [
        ("decided", ["lif"], {"lif": 2.0}),
        ("decided", ["lif"], {"lif": 4.0, "kwta": 4 / 3}),
    ]


def test_a_family_is_named_beside_the_model() -> None:
    families = {"relu": "ReLU", "lif-latency": "LIF"}
    found = results({"p": {"relu": 2, "lif-latency": 1}}, families=families)
    assert "relu, lif-latency (LIF) needs the least energy in the one energy scenario" in answer(found)


def test_equal_models_tie() -> None:
    found = results({"p": {"one": 1, "two": 1}, "q": {"one": 3, "two": 3}})
    assert "one and two tie for the least energy in all 2 energy scenarios" in answer(found)
    assert standings(found)[0]["cheapest"] == ["one", "two"]


def test_a_better_and_dearer_model_does_not_hide_the_cheapest() -> None:
    better = {"predictive": [0.012, 0.02, 0.028]}
    found = results({"p": {"relu": 3, "relu-pruned": 1, "predictive": 2}}, better)
    assert standings(found)[0]["field"] == ["relu", "relu-pruned", "predictive"]
    assert "relu-pruned needs the least energy" in answer(found)


def test_scenarios_in_which_no_other_model_is_good_enough_are_counted() -> None:
    untrained = dict.fromkeys(("a", "b", "c"), BAD)
    found = results({"p": {"relu": 4, "a": 1, "b": 2, "c": 3}, "q": {"relu": None, "a": 1, "b": 2, "c": 3}}, untrained)
    text = answer(found)
    assert "In 1 of 2 energy scenarios no other model was shown not to be inferior to relu in accuracy." in text
    assert "In 1 of 2" in text.partition(".")[2] and "executes no model that is not inferior" in text
    assert "needs the least" not in text
    assert standings(found)[0]["inferior"] == ["a", "b", "c"]


def test_a_cheaper_model_with_too_few_samples_is_named_and_does_not_win() -> None:
    found = results({"p": {"relu": 2, "lif": 1}}, {"lif": FEW})
    assert answer(found) == (
        "In the one energy scenario no other model was shown not to be inferior to relu in accuracy (with these "
        "samples, a loss of up to 2 points could not be excluded, the margin is 1). Cheaper, but with too few samples "
        "to show that their accuracy is not inferior: lif."
    )
    assert standings(found)[0]["unproven"] == {"lif": 2.0}


def test_each_on_its_own_silicon_is_a_sentence_of_its_own() -> None:
    found = results({"p": {"relu": 1, "lif": 2}, "own silicon (loihi, cmos-45nm)": {"relu": 2, "lif": 1}})
    assert answer(found) == (
        "Among models whose accuracy is not inferior to relu, relu needs the least energy in the one energy scenario. "
        "Each on its own silicon, which compares chips as well, the least is needed by lif (loihi)."
    )


def test_many_models_are_counted_and_not_all_named() -> None:
    names = [f"m{i}" for i in range(40)]
    tied = answer(results({"p": {"relu": 9, **dict.fromkeys(names, 1)}}))
    assert "m0, m1, m2, m3 and 36 more tie for the least energy in the one energy scenario" in tied
    each = {f"p{i}": {"relu": 9, **dict.fromkeys(names, 5), f"m{i}": 1, f"m{i + 10}": 1 + i} for i in range(9)}
    assert "m1 in 1, m2 in 1, m3 in 1, m4 in 1, other models in 4." in answer(results(each))


def test_hardware_that_executes_one_model_decides_nothing() -> None:
    found = results({"p": {"relu": None, "lif": 1}})
    assert answer(found) == "In the one energy scenario the hardware executes no other than lif."


def test_overlapping_energies_are_undecided() -> None:
    found = results({"p": {"relu": 2, "lif": 1, "kwta": 1.1}})
    for model in found["models"][1:]:
        model["energy"]["p"] |= {"low": 0.5, "high": 1.5}
    assert "the ranges of energies overlap (lif, kwta)" in answer(found)
    for model, corners in zip(found["models"], ([[2, 2]], [[1, 1], [1.5, 1.5]], [[1.1, 1.1], [1.6, 1.6]]), strict=True):
        model["energy"]["p"]["corners"] = corners
    assert "lif needs the least energy" in answer(found), "at every corner of the constants"


def test_scenarios_that_agree_count_once() -> None:
    same = {"relu": 2.0, "lif": 1.0}
    found = results({"p": same, "q": {**same, "lif": 1 + 1e-12}, "r": {"relu": 1, "lif": 2}})
    text = answer(found)
    assert "lif needs the least energy in 1 of 2 independent energy scenarios, relu in 1" in text


def test_the_choice_that_turns_the_answer_is_named() -> None:
    energies = {"s": {"relu": 2, "lif": 1}, "m": {"relu": 2, "lif": 3}, "alone": {"relu": 2, "lif": 1}}
    options = {"s": {"dataflow": "cheapest", "leak": "shift"}, "m": {"dataflow": "cheapest", "leak": "multiply"}}
    options["alone"] = {"dataflow": "compute_only", "leak": "shift"}
    found = results(energies, scenarios=options)
    shift, multiply = "a leak by shift and add", "a leak by multiplication"
    assert deciding_choices(found) == [
        {
            "choice": ["leak"],
            "cheapest": {shift: ["lif"], multiply: ["relu"]},
            "scenarios": {shift: "s", multiply: "m"},
        }
    ]
    assert f"The cost of the leak decides: with {shift} lif, with {multiply} relu." in answer(found)
    assert deciding_choices(results(energies)) == []


def test_options_that_change_together_are_one_choice() -> None:
    energies = {"p": {"relu": 2, "lif": 1}, "q": {"relu": 2, "lif": 3}}
    options = {"p": {"leak": "shift", "state_bits": 16}, "q": {"leak": "multiply", "state_bits": 32}}
    assert (
        "The cost of the leak and the bits of states decide: with a leak by shift and add and 16-bit states lif, with "
        "a leak by multiplication and 32-bit states relu."
    ) in answer(results(energies, scenarios=options))


def test_a_choice_with_many_values_names_the_exception() -> None:
    flows = ("compute_only", "no_reuse", "cheapest")
    energies = {flow: {"relu": 2, "lif": 1 if flow == "compute_only" else 3} for flow in flows}
    text = answer(results(energies, scenarios={flow: {"dataflow": flow} for flow in flows}))
    assert "The dataflow decides: with arithmetic alone lif, otherwise relu." in text


def test_the_leak_is_found_to_decide_among_the_scenarios_of_a_comparison() -> None:
    """The scenario that is pessimistic for spiking networks differs from another one in its leak and its states."""
    given = options(comparison_scenarios())
    energies = {name: {"relu": 2, "lif": 3 if "leak by multiplication" in name else 1} for name in given}
    found = results(energies, scenarios=given)
    assert [set(one["choice"]) for one in deciding_choices(found)] == [{"leak", "state_bits"}]
    assert "with the bits of states that ran and the leak that ran lif" in answer(found)


def test_like_for_like_compares_within_bits_and_sparsity() -> None:
    names = ("relu", "lif", "relu-int8", "lif-int8", "lif-pruned")
    energies = {"p": {name: i + 1.0 for i, name in enumerate(names)}}
    found = results(energies, families={name: name.partition("-")[0] for name in names})
    for model in found["models"]:
        model["weight_bits"] = 8 if "int8" in model["name"] else 32
        model["config"] = {"family": model["family"]} | ({"sparsity": 0.9} if "pruned" in model["name"] else {})
    found["verdicts"].append(found["verdicts"][2] | {"a": "lif-int8", "b": "relu-int8"})
    table = {row["class"]: (row["reference"], [pair["a"] for pair in row["verdicts"]]) for row in like_for_like(found)}
    assert table == {"32-bit, dense": ("relu", ["lif"]), "8-bit, dense": ("relu-int8", ["lif-int8"])}
    alike = answers_by_class(found)
    assert "not inferior to relu, relu needs" in alike["32-bit, dense"]
    assert "not inferior to relu-int8, relu-int8 (relu) needs" in alike["8-bit, dense"]
    assert answers_by_class(results(energies)) == {}, "one class of all models"


@pytest.mark.parametrize("change", [{"verdict": "b cheaper"}, {"noninferior_a": False}, {"ratio": [0.5, 1.0, 2.0]}])
def test_rows_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    found = results({"p": {"relu": 2, "lif": 1}})
    found["verdicts"][0] |= change
    with pytest.raises(InputError, match=r"verdicts\[0\]"):
        report.check(found)


def test_results_of_the_two_sided_rule_are_refused_by_the_missing_key() -> None:
    found = results({"p": {"relu": 2, "lif": 1}})
    del found["verdicts"][0]["noninferior_a"]
    with pytest.raises(InputError, match=r"verdicts\[0\]\.noninferior_a: got nothing"):
        report.check(found)
