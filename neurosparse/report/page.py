"""The comparison as one self-contained HTML page: readable without a script, on paper and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurosparse.atomic import write_atomically
from neurosparse.energy import profiles
from neurosparse.plot.style import family_styles
from neurosparse.report.csv_files import csv_files
from neurosparse.report.figures import figures
from neurosparse.report.headline import answer, standings, winner
from neurosparse.report.overview import spiking_section
from neurosparse.report.pairs import champions
from neurosparse.report.results import (
    OWN,
    check,
    chip_of,
    class_references,
    groups,
    is_own,
    like_for_like,
    reference,
    scenarios,
    write_results,
)
from neurosparse.report.table import (
    Column,
    Value,
    are_grouped,
    columns,
    families,
    main_scenarios,
    ratio,
    scenario_words,
    to_reference,
    words,
)
from neurosparse.report.templates import template

__all__ = ["definitions", "matrix", "render", "save"]

OPERATIONS = (
    "dense_ops", "effective_macs", "effective_acs", "bias_adds", "state_updates", "comparisons", "elementwise",
    "spikes_out", "bytes_read", "bytes_written",
)  # fmt: skip
SIGNS = {
    "cheaper": "▼", "better": "▼+", "dearer": "▲", "worse": "▲−", "equal": "=", "open": "?", "few": "n",
    "inferior": "▽", "accurate": "△", "cannot": "–", "alone": "✓", "none": "",
}  # fmt: skip
MEANING = {
    "cheaper": "less energy, accuracy not inferior", "better": "less energy and more accurate",
    "dearer": "more energy", "worse": "more energy and less accurate",
    "equal": "the same energy", "open": "undecided: the ranges of energies overlap",
    "few": "less energy, but too few samples to show that the accuracy is not inferior",
    "inferior": "less energy, but an inferior accuracy",
    "accurate": "more energy, but more accurate", "cannot": "cannot run there",
    "alone": "runs there, where the reference cannot",
}  # fmt: skip
SHAPES = {"s": "■", "o": "●", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "<": "◀", ">": "▶", "*": "★"}
DRAM = "weights in DRAM"
MANY = 24
"""Models that a page shows in full; of more, those that its answers rest on."""
TERMS = {
    DRAM: "Every weight is fetched from memory outside the chip (DRAM) instead of from memory on it.",
    "sums in registers": "Partial sums and states of neurons are in registers, and cost no access to a memory.",
    "leak by multiplication": "The leak of a neuron is a multiplication and an addition, whatever ran.",
    "32-bit states": "Potentials and partial sums have 32 bits, whatever ran.",
    OWN: "Spikes and neurons of a spiking network run on a neuromorphic chip, its other rows, and every "
    "dense network, on a digital circuit. The nodes differ: this does not compare like with like.",
}


def selected(results: dict[str, Any]) -> dict[str, Any]:
    """Results with the models that a page shows: all, or where they are many those that its answers rest on.

    These are the reference, the models that need least energy in a scenario, the champions of each class of weights and
    the models that the classes are compared with.
    """
    models = results["models"]
    if len(models) <= MANY:
        return results
    base = reference(results)
    best = champions(models, (results.get("split") or {}).get("validation")).values()
    names = [base["name"], *(name for row in standings(results) for name in row["cheapest"][:2])]
    names += [name for pair in best for name in pair] + list(class_references(models, base).values())
    kept = set(list(dict.fromkeys(names))[:MANY])
    verdicts = [row for row in results.get("verdicts") or () if {row["a"], row["b"]} <= kept]
    part = {"models": [model for model in models if model["name"] in kept], "verdicts": verdicts}
    return results | part | {"reference": base["name"]}


def body(results: Mapping[str, Any], shown: Sequence[Column]) -> list[dict[str, Any]]:
    """Families, each with its shape and colour and its models, each with the cells of the small table."""
    grouped, i, made = families(results), 0, []
    styles = family_styles(model["family"] for model in results["models"])
    for family, models in grouped.items():
        rows = []
        for model in models:
            rows.append((model, [(column, column.values[i], sort_key(column.values[i])) for column in shown]))
            i += 1
        colour, marker = styles[family]
        made.append({"name": family, "rows": rows, "colour": colour, "shape": SHAPES.get(marker, "●")})
    return made


def sort_key(value: Value) -> str:
    return "" if value.mean is None else repr(value.mean)


def rows_of(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Independent scenarios; of each group the one that the small table shows stands first."""
    main = main_scenarios(results)
    return [tuple(sorted(group, key=lambda name: name not in main)) for group in groups(results)]


def matrix(results: dict[str, Any]) -> dict[str, Any]:
    """Each independent scenario against each model: its energy over that of the reference, and the verdict."""
    base, names = reference(results)["name"], scenarios(results)
    models = [model for some in families(results).values() for model in some if model["name"] != base]
    pairs = {(v["a"], v["b"], v["scenario"]): v for v in results.get("verdicts") or ()}
    rows = []
    for group in rows_of(results):
        scenario, *others = group
        cells = []
        for model in models:
            verdict = pairs.get((model["name"], base, scenario)) or pairs.get((base, model["name"], scenario))
            cells.append(cell(results, model, scenario, verdict))
        same = [scenario_words(other, names) for other in others]
        rows.append({"name": scenario_words(scenario, names), "same": same, "cells": cells})
    kinds = {cell["kind"] for row in rows for cell in row["cells"]}
    legend = [(kind, SIGNS[kind], meaning) for kind, meaning in MEANING.items() if kind in kinds]
    bits = any(cell["bits"] for row in rows for cell in row["cells"])
    return {"models": [model["name"] for model in models], "rows": rows, "legend": legend, "bits": bits}


def cell(
    results: Mapping[str, Any], model: Mapping[str, Any], scenario: str, verdict: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A model against the reference in one scenario."""
    base, value = reference(dict(results)), to_reference(results, model, scenario)
    able = [one["energy"].get(scenario, {}).get("nominal") is not None for one in (model, base)]
    kind = "cannot" if value.why else "alone" if able == [True, False] else outcome(verdict, base["name"])
    return marked(model["name"], base["name"], value, kind, verdict or {})


def marked(name: str, base: str, value: Value, kind: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A ratio, a mark for its verdict, and both in a sentence with the intervals."""
    title = f"{name}: " + (MEANING.get(kind) or "not compared with the reference")
    if value.mean is not None:
        bounds = "" if value.low is None or value.high is None else f" [{ratio(value.low)}, {ratio(value.high)}]"
        title += f"; energy / energy of {base}: {ratio(value.mean)}{bounds}"
    if points := difference(verdict, name):
        title += f"; accuracy {points} points"
    if verdict.get("bits"):
        sides = verdict["bits"] if verdict["a"] == name else verdict["bits"][::-1]
        own, other = (" and ".join(map(str, side)) for side in sides)
        title += f"; weights of {own} against {other} bits"
    text = ratio(value.mean) if value.mean is not None else ""
    return {"kind": kind, "sign": SIGNS[kind], "text": text, "title": title, "bits": bool(verdict.get("bits"))}


def difference(verdict: Mapping[str, Any], name: str) -> str:
    """Accuracy of a model less that of the other of its pair, in points, with its bounds."""
    found = verdict.get("accuracy_difference")
    if not found:
        return ""
    flip = 1 if verdict["a"] == name else -1
    low, mid, high = (flip * 100 * each for each in found[::flip])
    return f"{mid:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "\u2212")


def pairs_alike(results: dict[str, Any]) -> dict[str, Any]:
    """Models with weights of the same bits, alike pruned or dense, against the plainest of them.

    The matrix has the pairs of the reference itself.
    """
    main, names, classes = main_scenarios(results), scenarios(results), []
    for found in like_for_like(results):
        base = found["reference"]
        by_model: dict[str, dict[str, Mapping[str, Any]]] = {}
        for verdict in found["verdicts"]:
            by_model.setdefault(verdict["a"], {})[verdict["scenario"]] = verdict
        rows = []
        for name, verdicts in by_model.items() if base != reference(results)["name"] else ():
            cells = []
            for verdict in (verdicts.get(scenario, {}) for scenario in main):
                low, nominal, high = verdict.get("ratio") or (None, None, None)
                kind = outcome(verdict, base) if nominal is not None else "cannot"
                cells.append(marked(name, base, Value(nominal, None, low, high), kind, verdict))
            rows.append({"name": name, "difference": difference(next(iter(verdicts.values())), name), "cells": cells})
        if rows:
            classes.append({"name": found["class"], "reference": base, "rows": rows})
    return {"classes": classes, "scenarios": [scenario_words(name, names) for name in main]}


def sentences(text: str) -> list[str]:
    """The first sentence of an answer, and the rest."""
    return re.split(r"(?<=\.) (?=[A-Z])", text, maxsplit=1)


def outcome(verdict: Mapping[str, Any] | None, base: str) -> str:
    """The verdict of a model against the reference, as a key of `SIGNS`."""
    if verdict is None:
        return "none"
    won, (low, _, high) = winner(dict(verdict)), verdict.get("accuracy_difference") or (0, 0, 0)
    base_is_worse, base_is_better = (low > 0, high < 0) if verdict["b"] == base else (high < 0, low > 0)
    if won is not None:
        return ("worse" if base_is_better else "dearer") if won == base else ("better" if base_is_worse else "cheaper")
    if verdict["verdict"] == "equal":
        return "equal"
    if verdict.get("reason") in ("accuracy inferior", "too few samples"):
        ratio = verdict.get("ratio")
        if ratio and (ratio[1] > 1) == (verdict["b"] == base):  # the reference needs less, whatever its accuracy
            return "accurate" if base_is_worse else "dearer"
        return "inferior" if verdict["reason"] == "accuracy inferior" else "few"
    return "open"


def definitions(results: dict[str, Any]) -> dict[str, str]:
    """What the names of the scenarios mean: hardware, dataflows, and what is added to them."""
    names, said = scenarios(results), results.get("dataflows") or {}
    parts = [name.rpartition("/")[2].split(", ") for name in names]
    said = {name: words(text) for name, text in (said | TERMS).items()}
    found = {words(part): said[part] for each in parts for part in each if part in said}
    own = [name for name in names if is_own(name)]
    found |= {OWN: TERMS[OWN]} if own else {}
    for hardware in dict.fromkeys([*(name.rpartition("/")[0] for name in names), *map(chip_of, own)]):
        if hardware in profiles():
            found[hardware] = " ".join(profiles()[hardware].sentences)
    return found


def layers(model: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the operation counts: the columns in which any row has a count."""
    rows = model.get("layers") or []
    shown = [name for name in OPERATIONS if any(row.get(name) for row in rows)]
    return {"columns": shown, "rows": rows, "phases": any(row.get("phase", "forward") != "forward" for row in rows)}


def downloads(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, text in csv_files(results).items():
        yield f"{name}.csv", text


def render(results: dict[str, Any]) -> str:
    """The whole comparison as one HTML page.

    Args:
        results: as :func:`neurosparse.report.check` accepts them; a missing optional key leaves its section out.

    Returns:
        HTML text; the same results give the same text.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> "<!DOCTYPE html>" in render({"task": "digits", "models": [relu]})
        True
    """
    check(results)
    part = selected(results)
    shown, every = columns(part), columns(results) if part is not results else []
    return template("page.html").render(
        r=part,
        answer=sentences(answer(results)),
        reference=reference(part)["name"],
        spiking=spiking_section(results),
        chosen=any(model.get("chosen") for model in part["models"]),
        columns=shown,
        body=body(part, shown),
        every=(every, body(results, every), len(results["models"])) if every else None,
        grouped=are_grouped(families(part)),
        main=main_scenarios(part),
        matrix=matrix(part) if part.get("verdicts") else None,
        alike=pairs_alike(part) if part.get("verdicts") else None,
        definitions=definitions(part),
        pictures=figures(part),
        layers={model["name"]: layers(model) for model in part["models"]},
        downloads=list(downloads(results)),
    )


def save(results: dict[str, Any], folder: str | Path) -> Path:
    """Write ``report.html`` and ``results.json`` into a folder, each whole or not at all.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.
        folder: made if it is not there.

    Returns:
        The path of the page.

    Raises:
        InputError: a malformed key, by name, or something JSON cannot hold; nothing is written then.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save({"task": "digits", "models": [relu]}, folder).name
        'report.html'
    """
    page, folder = render(results), Path(folder)
    write_results(results, folder)
    write_atomically(folder / "report.html", page.encode(), "report.save")
    return folder / "report.html"
