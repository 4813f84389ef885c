"""Results of a protocol, drawn: spiking and dense networks over depth, steps, input, bits and pruning."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

from neurosparse.report.pairs import pairs_to_judge

SCENARIOS = {
    "cmos-45nm/compute_only": 0.25,
    "cmos-45nm/cheapest dataflow per layer": 1.0,
    "cmos-45nm/no_reuse": 2.0,
    "cmos-45nm/cheapest dataflow per layer, weights in DRAM": 1.5,
    "cmos-7nm/cheapest dataflow per layer": 0.9,
    "own silicon (loihi, cmos-45nm)": 0.1,
}
"""Cost models, with the factor by which each changes the ratio of a spiking network to a dense one."""


def row(name: str, family: str, joules: dict[str, float], accuracy: float = 0.95, **config: Any) -> dict[str, Any]:
    """A model; its energies range by 10 % in either direction."""
    energy = {
        scenario: {"low": 0.9 * nominal, "nominal": nominal, "high": 1.1 * nominal}
        for scenario, nominal in joules.items()
    }
    return {
        "name": name,
        "family": {"lif": "LIF", "relu": "ReLU"}.get(family, family),
        "config": {"family": family, **config},
        "weight_bits": config.get("bits", 32),
        "accuracy": {"mean": accuracy, "sd": 0.002},
        "validation_accuracy": {"mean": accuracy, "sd": 0.004},
        "validation_energy": joules,
        "energy": energy,
    }


def verdict(a: str, b: str, scenario: str, ratio: Sequence[float], difference: Sequence[float]) -> dict[str, Any]:
    """The verdict on a pair with a margin of 0.01."""
    able = {"noninferior_a": difference[0] > -0.01, "noninferior_b": difference[2] < 0.01}
    side = "a" if ratio[2] < 1 else "b" if ratio[0] > 1 else ""
    words = f"{side} cheaper" if side and able[f"noninferior_{side}"] else "undecided"
    reason = "" if words != "undecided" else "too few samples" if side else "energies overlap"
    found = {"a": a, "b": b, "scenario": scenario, "verdict": words, "reason": reason, **able}
    spread = max(difference[1] - difference[0], difference[2] - difference[1])
    return found | {"ratio": list(ratio), "accuracy_difference": list(difference), "detectable": spread}


def judged(
    task: str, models: list[dict[str, Any]], differences: dict[str, Sequence[float]], **more: Any
) -> dict[str, Any]:
    """Results with the verdicts of the protocol; ``differences``: of each spiking model to any other."""
    base = next(model["name"] for model in models if model["config"]["family"] == "relu")
    named = {model["name"]: model for model in models}
    rows = []
    for a, b in pairs_to_judge(models, base, 500):
        difference = differences.get(a, (-0.002, 0.0, 0.002))
        for scenario in named[a]["energy"].keys() & named[b]["energy"].keys():
            nominal = named[a]["energy"][scenario]["nominal"] / named[b]["energy"][scenario]["nominal"]
            rows.append(verdict(a, b, scenario, (0.9 * nominal, nominal, 1.1 * nominal), difference))
    split = {"train": 4000, "validation": 500, "test": 1000}
    found = {"task": task, "title": task, "reference": base, "margin": 0.01, "split": split, "seeds": [0, 1]}
    return found | {"models": models, "verdicts": sorted(rows, key=lambda row: row["scenario"]), **more}


def drawn(task: str, seed: int, share: float = 0.3, events: bool = False) -> dict[str, Any]:
    """A task with a share of the cells of the design."""
    draw = random.Random(seed)
    models, differences = [], {}
    for depth, bits, sparsity in product((1, 3, 6), (32, 8, 4), (0.0, 0.9)):
        config = {"depth": depth, "bits": bits} | ({"sparsity": sparsity} if sparsity else {})
        tail = f"d{depth}-b{bits}" + ("-pruned" if sparsity else "")
        dense = 1e-7 * depth * bits / 32 * (0.2 if sparsity else 1)
        models.append(row(f"relu-{tail}", "relu", dict.fromkeys(SCENARIOS, dense), draw.uniform(0.95, 0.96), **config))
        for steps, coding in product((1, 2, 4, 8), ("events",) if events else ("current", "latency")):
            if draw.random() > share:
                continue
            name = f"lif-t{steps}-{coding}-{tail}"
            factor = draw.uniform(0.3, 0.7) * (steps if coding == "current" else 1.5)
            joules = {scenario: factor * dense * of for scenario, of in SCENARIOS.items()}
            mean = draw.choice((0.0, 0.0, -0.005, -0.03))
            differences[name] = (mean - 0.006, mean, mean + 0.006)
            models.append(row(name, "lif", joules, 0.955 + mean, **config, steps=steps, encoding=coding))
    return judged(task, models, differences)
