"""Results of a comparison: a JSON-able mapping, whose keys are checked when it is read or written."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurosparse.atomic import make_folder, write_atomically
from neurosparse.errors import InputError, MissingFileError

__all__ = [
    "OWN", "check", "chip_of", "class_references", "energy_ratio", "groups", "is_own", "like_for_like", "load",
    "reference", "scenarios", "weight_class", "write_results",
]  # fmt: skip

# A key that ends in ? may be missing or null; [shape] is a list of it; {"*": shape} maps any name to it.
STAT = {"mean": float, "sd?": float}
STATS = {"*": {"mean?": float, "sd?": float}}
MODEL = {
    "name": str,
    "family": str,
    "note?": str,
    "config?": {"*": object},
    "weight_bits?": int,
    "steps?": int,
    "accuracy": STAT,
    "validation_accuracy?": STAT,
    "validation_energy?": {"*": object},
    "chosen?": [{"*": object}],
    "sparsity?": {"*": object},
    "operations?": STATS,
    "bytes?": {"*": float},
    "energy": {
        "*": {
            "low?": float, "nominal?": float, "high?": float, "sd?": float, "corners?": [[float]], "unsupported?": str,
        }
    },
    "layers?": [{"*": object}],
    "training?": {
        "seconds?": STAT, "steps?": float, "trials?": [{"*": object}], "search_steps?": float,
        "operations?": {"*": {"*": float}}, "step_energy?": float,
    },
    "seconds_per_sample?": STAT,
    "raster?": {"shape": [int], "step": [int], "unit": [int]},
    "latency?": {"steps": STAT, "seconds?": {"mean?": float, "sd?": float}, "of": int, "accuracies": [float]},
    "uncounted?": [object],
    "suggestions?": [{"layer": str, "producer": str, "argument": str}],
}  # fmt: skip
VERDICT = {
    "a": str, "b": str, "scenario": str, "verdict": str, "reason?": str, "noninferior_a": bool, "noninferior_b": bool,
    "accuracy_difference?": [float], "detectable?": float, "ratio?": [float], "bits?": [[int]],
}  # fmt: skip
RESULTS = {
    "task": str,
    "title?": str,
    "command?": str,
    "created?": str,
    "reference?": str,
    "margin?": float,
    "versions?": {"*": object},
    "machine?": {"*": object},
    "seeds?": [int],
    "split?": {"*": int},
    "folds?": int,
    "missing?": [str],
    "budget?": {"*": object},
    "models": [MODEL],
    "verdicts?": [VERDICT],
    "scenarios?": {"*": {"*": object}},
    "assumptions?": [{"id": str, "value?": float, "low?": float, "high?": float, "unit?": str, "source?": str}],
    "dataflows?": {"*": str},
    "references?": [str],
}


OWN = "own silicon"
"""How the names of scenarios begin in which each network has its own hardware."""


def refuse(key: str, got: object, expected: str) -> InputError:
    fix = "Write results with `neurosparse compare`, or repair this key."
    return InputError(f"results: {key}", got=got, expected=expected, fix=fix)


def check_shape(value: Any, shape: Any, key: str) -> None:
    """Raise an InputError that names the first key that the report cannot read."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise refuse(key, type(value).__name__, "a list")
        for i, item in enumerate(value):
            check_shape(item, shape[0], f"{key}[{i}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise refuse(key, type(value).__name__, "a mapping")
        named = shape.items() if "*" not in shape else [(name, shape["*"]) for name in value]
        for name, inner in named:
            plain, inside = name.removesuffix("?") if "*" not in shape else name, f"{key}.{name}".strip(".?")
            if value.get(plain) is None:
                if name.endswith("?") or inner is object:
                    continue
                raise refuse(inside, "nothing", "a value")
            check_shape(value[plain], inner, inside)
    elif shape is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise refuse(key, repr(value)[:60], "a finite number")
    elif shape is not object and (not isinstance(value, shape) or (shape is int and isinstance(value, bool))):
        raise refuse(
            key, repr(value)[:60], {"str": "text", "int": "a whole number", "bool": "true or false"}[shape.__name__]
        )


def check(results: Any) -> dict[str, Any]:
    """The results, after checks that every key of the report is there and has its type.

    Args:
        results: what ``neurosparse compare`` writes as JSON.

    Raises:
        InputError: names the key that is missing or malformed.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> check({"task": "digits", "models": [relu]})["task"]
        'digits'
        >>> check({"task": "digits"})
        Traceback (most recent call last):
        neurosparse.errors.InputError: results: models: got nothing; expected a value. ...
    """
    check_shape(results, RESULTS, "")
    names = [model["name"] for model in results["models"]]
    if not names:
        raise refuse("models", "none", "at least one")
    if len(set(names)) < len(names):
        raise refuse("models", f"repeated names in {names}", "one name each")
    if results.get("reference") not in (None, *names):
        raise refuse("reference", results["reference"], f"one of {', '.join(names)}")
    for i, model in enumerate(results["models"]):
        for scenario, report in model["energy"].items():
            bounds = [report.get(name) for name in ("low", "nominal", "high")]
            ordered = None not in bounds and 0 <= bounds[0] <= bounds[1] <= bounds[2]
            if not ordered and not report.get("unsupported"):
                raise refuse(f"models[{i}].energy.{scenario}", bounds, "0 <= low <= nominal <= high, or unsupported")
            corners: list[list[float]] = report.get("corners") or []
            if not all(len(pair) == 2 and 0 <= pair[0] <= pair[1] for pair in corners):
                key, expected = f"models[{i}].energy.{scenario}.corners", "pairs 0 <= least <= most over the seeds"
                raise refuse(key, corners, expected)
        spikes = model.get("raster")
        if spikes and (len(spikes["shape"]) != 2 or len(spikes["step"]) != len(spikes["unit"])):
            raise refuse(f"models[{i}].raster", spikes["shape"], "shape [steps, units] and one unit for each step")
    for i, verdict in enumerate(results.get("verdicts") or ()):
        if unknown := {verdict["a"], verdict["b"]} - set(names):
            raise refuse(f"verdicts[{i}]", sorted(unknown), "names of models")
        for key in ("accuracy_difference", "ratio"):
            if verdict.get(key) is not None and len(verdict[key]) != 3:
                raise refuse(f"verdicts[{i}].{key}", verdict[key], "three numbers: low, nominal, high")
        if verdict.get("ratio") and min(verdict["ratio"]) <= 0:
            raise refuse(f"verdicts[{i}].ratio", verdict["ratio"], "positive ratios")
        check_cheaper(verdict, f"verdicts[{i}]")
    return results


def check_cheaper(verdict: dict[str, Any], key: str) -> None:
    """Raise an InputError if a verdict calls a model cheaper whose ratio or accuracy says otherwise."""
    if not verdict["verdict"].endswith(" cheaper"):
        return
    side, ratio = verdict["verdict"][:1], verdict.get("ratio")
    cheaper = not ratio or (ratio[2] < 1 if side == "a" else ratio[0] > 1)
    if not cheaper or not verdict.get(f"noninferior_{side}"):
        raise refuse(key, verdict, f"a ratio on one side of 1 and noninferior_{side}")


def load(path: str | Path) -> dict[str, Any]:
    """Results from a JSON file, checked.

    Args:
        path: ``results.json`` as written by :func:`neurosparse.report.save`.

    Raises:
        InputError: no such file, damaged JSON, or a malformed key.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            "report.load", got=path, expected="a results.json", fix="Run `neurosparse compare` first."
        )
    try:
        return check(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        got, fix = f"{path.name}: {error}", "Run `neurosparse compare` again."
        raise InputError("report.load", got=got, expected="undamaged JSON", fix=fix) from None


def write_results(results: Mapping[str, Any], folder: str | Path) -> Path:
    """Write ``results.json`` into a folder, whole or not at all.

    Args:
        results: plain JSON-able values.
        folder: made if it does not exist.

    Raises:
        InputError: something JSON cannot hold; nothing is written then.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_results({"task": "digits"}, folder).read_text()
        '{\\n "task": "digits"\\n}\\n'
    """
    try:
        text = json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        fix = "Use plain numbers, lists and text."
        raise InputError("report.save", got=error, expected="JSON-able results", fix=fix) from None
    path = make_folder(folder, "report.save") / "results.json"
    write_atomically(path, f"{text}\n".encode(), "report.save")
    return path


def scenarios(results: dict[str, Any]) -> list[str]:
    """Every hardware/dataflow scenario in order of first appearance."""
    return list(dict.fromkeys(name for model in results["models"] for name in model["energy"]))


def reference(results: dict[str, Any]) -> dict[str, Any]:
    """The model that others are compared with: the one named, else the one in most verdicts, else the first."""
    models = {c["name"]: c for c in results["models"]}
    counts = Counter(name for verdict in results.get("verdicts") or () for name in (verdict["a"], verdict["b"]))
    found = results.get("reference") or max(models, key=lambda name: counts[name])
    return models[found]


def is_own(scenario: str) -> bool:
    """Whether a scenario prices each network on its own silicon, and so compares chips together with networks."""
    return scenario.startswith(OWN)


def chip_of(scenario: str) -> str:
    """The chip for spikes of a scenario in which each network has its own silicon.

    Example:
        >>> chip_of("own silicon (loihi, cmos-45nm)")
        'loihi'
    """
    return scenario.removeprefix(OWN).strip(" ()").partition(",")[0]


def groups(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Independent scenarios: those in which every model needs the same energy, to rounding, are one group.

    Example:
        >>> energy = {name: {"low": e, "nominal": e, "high": e} for name, e in (("p", 1.0), ("q", 2.0), ("r", 1.0))}
        >>> groups({"models": [{"name": "relu", "energy": energy}]})
        [('p', 'r'), ('q',)]
    """

    def energies(scenario: str) -> list[float]:
        reports = [model["energy"].get(scenario) or {} for model in results["models"]]
        return [report.get(key, -1.0) for report in reports for key in ("low", "nominal", "high")]

    found: list[list[str]] = []
    for scenario in scenarios(results):
        for group in found:
            pairs = zip(energies(group[0]), energies(scenario), strict=True)
            if all(math.isclose(x, y, rel_tol=1e-9) for x, y in pairs):
                group.append(scenario)
                break
        else:
            found.append([scenario])
    return [tuple(group) for group in found]


def energy_ratio(a: dict[str, Any], b: dict[str, Any], scenario: str) -> tuple[float, float, float] | None:
    """Energy of model a over energy of model b: ``(low, nominal, high)`` over seeds and corners of the constants.

    Both have the same constants at each corner. Without ``corners`` the bounds are those of the two ranges.

    Returns:
        None where one of them has no energy, or the energy 0.

    Example:
        >>> a, b = ({"energy": {"s": {"low": e, "nominal": e, "high": 2 * e}}} for e in (1.0, 4.0))
        >>> energy_ratio(a, b, "s")
        (0.125, 0.25, 0.5)
    """
    sides = [model["energy"].get(scenario) or {} for model in (a, b)]
    if not all(side.get("nominal") for side in sides):
        return None
    nominal = sides[0]["nominal"] / sides[1]["nominal"]
    if not all(side.get("corners") for side in sides):
        return sides[0]["low"] / sides[1]["high"], nominal, sides[0]["high"] / sides[1]["low"]
    many = max(len(side["corners"]) for side in sides)
    ours, theirs = (side["corners"] * (many if len(side["corners"]) == 1 else 1) for side in sides)
    pairs = list(zip(ours, theirs, strict=True))
    return min(x[0] / y[1] for x, y in pairs), nominal, max(x[1] / y[0] for x, y in pairs)


def weight_class(model: dict[str, Any]) -> str:
    """Bits of the weights and whether they are pruned: models of one class are compared like for like.

    Example:
        >>> weight_class({"weight_bits": 8, "config": {"sparsity": 0.9}})
        '8-bit, pruned'
        >>> weight_class({"weight_bits": 32, "sparsity": {"weight": {"mean": 0.01}}})
        '32-bit, dense'
    """
    bits, config = model.get("weight_bits"), model.get("config")
    zeros = ((model.get("sparsity") or {}).get("weight") or {}).get("mean") or 0.0
    pruned = bool(config.get("sparsity")) if config else zeros >= 0.5
    return f"{f'{bits}-bit' if bits else 'mixed bits'}, {'pruned' if pruned else 'dense'}"


def class_references(models: Sequence[dict[str, Any]], base: dict[str, Any]) -> dict[str, str]:
    """The model that others of its weight class are compared with, by class.

    It is the reference itself, or the plainest network of its family in the class, or the first model of the class.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        found.setdefault(weight_class(model), []).append(model)

    def plain(model: dict[str, Any]) -> tuple[bool, bool, int]:
        return model["name"] != base["name"], model["family"] != base["family"], len(model.get("config") or ())

    return {name: min(members, key=plain)["name"] for name, members in found.items()}


def like_for_like(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Verdicts between models whose weights have the same bits and are alike pruned or dense.

    Returns:
        One mapping per class with at least two models: ``class``, ``reference`` (the model that the others of the class
        are compared with) and ``verdicts`` (rows of ``results["verdicts"]`` whose b is that model).

    Example:
        >>> small = {"weight_bits": 8, "accuracy": {"mean": 0.9}, "energy": {}}
        >>> models = [{"name": name, "family": name} | small for name in ("relu", "lif")]
        >>> like_for_like({"models": models, "verdicts": []})[0]["reference"]
        'relu'
    """
    classes = {model["name"]: weight_class(model) for model in results["models"]}
    table = []
    for name, base in class_references(results["models"], reference(results)).items():
        if list(classes.values()).count(name) > 1:
            pairs = [row for row in results.get("verdicts") or () if row["b"] == base and classes[row["a"]] == name]
            table.append({"class": name, "reference": base, "verdicts": pairs})
    return table
