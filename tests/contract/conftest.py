"""Made-up results of a comparison, in the proportions of small networks on 8 x 8 digits."""

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests share modules

SCENARIOS = {
    "cmos-45nm/compute_only": (0.9e-12, 4.6e-12, 0.0),
    "cmos-45nm/no_reuse": (9e-12, 12e-12, 0.0),
    "cmos-45nm/weight_stationary": (4e-12, 6e-12, 0.0),
    "cmos-45nm/output_stationary": (7e-12, 8e-12, 0.0),
    "cmos-45nm/event_driven": (6e-12, 9e-12, 0.3),
    "loihi/event_driven": (24e-12, 0.0, 0.25),
}
# name, family, accuracy, MACs, ACs, steps, state updates: in the proportions of small networks on 8 x 8 digits.
ENTRANTS = [
    ("relu", "ReLU", 0.975, 21_000, 0, 1, 0),
    ("relu-int8", "ReLU", 0.974, 21_000, 0, 1, 0),
    ("relu-pruned", "ReLU", 0.972, 2_300, 0, 1, 0),
    ("relu-pruned-int8", "ReLU", 0.971, 2_300, 0, 1, 0),
    ("relu-sparse", "ReLU", 0.973, 9_000, 0, 1, 0),
    ("relu-levels", "ReLU", 0.970, 19_000, 0, 1, 0),
    ("lif", "LIF", 0.974, 16_000, 42_000, 8, 6_100),
    ("lif-int8", "LIF", 0.973, 16_000, 42_000, 8, 6_100),
    ("lif-pruned", "LIF", 0.969, 1_700, 5_000, 8, 6_100),
    ("lif-pruned-int8", "LIF", 0.968, 1_700, 5_000, 8, 6_100),
    ("lif-quiet", "LIF", 0.971, 16_000, 11_000, 8, 6_100),
    ("lif-quieter", "LIF", 0.955, 16_000, 4_200, 8, 6_100),
    ("lif-steps4", "LIF", 0.966, 16_000, 20_000, 4, 3_000),
    ("lif-steps16", "LIF", 0.976, 16_000, 90_000, 16, 12_200),
    ("lif-latency", "LIF", 0.961, 0, 14_000, 8, 6_100),
    ("kwta", "k-WTA", 0.972, 17_000, 0, 1, 0),
    ("sparse-code", "sparse code", 0.952, 1_150_000, 0, 100, 0),
    ("predictive", "predictive coding", 0.934, 24_000, 0, 1, 0),
]


def stat(mean: float, sd: float) -> dict[str, float]:
    return {"mean": mean, "sd": sd}


def model(rng: np.random.Generator, entrant: tuple) -> dict[str, Any]:
    name, family, accuracy, macs, acs, steps, updates = entrant
    scale = 0.15 if "int8" in name else 1.0
    energy: dict[str, Any] = {}
    for scenario, (ac, mac, spread) in SCENARIOS.items():
        nominal = scale * (acs * ac + macs * mac + updates * 3e-12)
        bounds = {
            "low": nominal * (1 - spread),
            "nominal": nominal,
            "high": nominal * (1 + spread),
            "sd": 0.04 * nominal,
        }
        energy[scenario] = bounds if mac or not macs else {"unsupported": "multiply-accumulates cannot run on loihi"}
    spikes = np.argwhere(rng.random((steps, 64)) < 0.12)
    row = {"layer": "hidden", "kind": "linear", "dense_ops": 16_384 * steps, "effective_macs": macs, "effective_acs": 0}
    tail = {"layer": "readout", "kind": "linear", "dense_ops": 2_560 * steps, "effective_acs": acs, "bytes_read": 4_000}
    counts = {"dense_ops": 18_944 * steps, "effective_macs": macs, "effective_acs": acs, "state_updates": updates}
    return {
        "name": name,
        "family": family,
        "note": f"{family}, {steps} steps" if steps > 1 else f"{family}, one pass",
        "config": {"family": family.lower(), "hidden": [256], "steps": steps},
        "weight_bits": 8 if "int8" in name else 32,
        "steps": steps,
        "accuracy": stat(accuracy, 0.004) | {"seeds": [accuracy] * 3},
        "validation_accuracy": stat(accuracy + 0.005, 0.003),
        "correct": [base64.b64encode(np.packbits(rng.random(360) < accuracy)).decode() for _ in range(3)],
        "sparsity": {
            "weight": stat(0.9 if "pruned" in name else 0.0, 0.0),
            "activation": stat(0.55 if family == "ReLU" else 0.9, 0.01),
            "temporal": stat(0.8, 0.01) if family == "LIF" else None,
            "operation": stat(1 - (macs + acs) / (18_944 * max(steps, 1) * 1.3), 0.01),
        },
        "operations": {name: stat(count, 0.03 * count) for name, count in (counts | {"comparisons": 256}).items()},
        "bytes": {"read": 80e3 * scale * steps, "written": 1.3e3, "weights": 75e3 * scale},
        "energy": energy,
        "layers": [row, tail],
        "training": {
            "seconds": stat(3.2 * steps**0.5, 0.2),
            "steps": 1_350,
            "trials": [
                {"learning_rate": rate, "validation_accuracy": accuracy - rate} for rate in (0.001, 0.003, 0.01)
            ],
        },
        "seconds_per_sample": stat(2e-6 * steps, 1e-7),
        "raster": {"shape": [steps, 64], "step": spikes[:, 0].tolist(), "unit": spikes[:, 1].tolist()}
        if family == "LIF"
        else None,
        "uncounted": [],
    }


def verdict(a: dict[str, Any], b: dict[str, Any], scenario: str) -> dict[str, Any]:
    gap = a["accuracy"]["mean"] - b["accuracy"]["mean"]
    found = {"a": a["name"], "b": b["name"], "scenario": scenario, "reason": "", "detectable": 0.005}
    found |= {"noninferior_a": gap - 0.005 > -0.01, "noninferior_b": gap + 0.005 < 0.01}
    found["accuracy_difference"] = [gap - 0.005, gap, gap + 0.005]
    sides = [c["energy"][scenario] for c in (a, b)]
    if "unsupported" in sides[0] or "unsupported" in sides[1]:
        return found | {"ratio": None, "verdict": "unsupported"}
    ratio = sides[0]["nominal"] / sides[1]["nominal"]
    bounds = [ratio * 0.9, ratio, ratio * 1.1]
    cheaper = "a" if bounds[2] < 1 else "b" if bounds[0] > 1 else None
    if cheaper and found[f"noninferior_{cheaper}"]:
        return found | {"ratio": bounds, "verdict": f"{cheaper} cheaper"}
    reason = "accuracy inferior" if cheaper else "energies overlap"
    return found | {"ratio": bounds, "verdict": "undecided", "reason": reason}


def make_results() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    models = [model(rng, entrant) for entrant in ENTRANTS]
    plain, others = models[:4], models[4:]
    pairs = [(a, b) for a in plain for b in others] + [(a, plain[0]) for a in plain[1:]]
    return {
        "task": "digits",
        "title": "8 x 8 handwritten digits",
        "command": "neurosparse compare models/digits",
        "created": "2026-01-01T12:00:00Z",
        "reference": "relu",
        "margin": 0.01,
        "versions": {"neurosparse": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.3.5"},
        "machine": {"cpu": "some processor", "cores": 2, "threads": 1},
        "seeds": [0, 1, 2],
        "split": {"train": 1077, "validation": 360, "test": 360},
        "budget": {"epochs": 40, "trials": 3, "selection": "best validation accuracy"},
        "models": models,
        "verdicts": [verdict(a, b, scenario) for scenario in SCENARIOS for a, b in pairs],
        "assumptions": [
            {
                "id": "add_fp32",
                "value": 0.9,
                "low": None,
                "high": None,
                "unit": "pJ",
                "node_nm": 45,
                "source": "Horowitz 2014",
            },
            {
                "id": "dram",
                "value": 1950.0,
                "low": 1300.0,
                "high": 2600.0,
                "unit": "pJ/64b",
                "node_nm": 45,
                "source": "ISSCC 1.1",
            },
        ],
        "dataflows": {"compute_only": "Arithmetic only.", "no_reuse": "Every operation fetches its operands."},
        "references": ["@inproceedings{horowitz2014, title={Computing's energy problem}, year={2014}}"],
    }


@pytest.fixture(scope="session")
def results() -> dict[str, Any]:
    return make_results()
