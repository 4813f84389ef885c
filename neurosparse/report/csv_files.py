"""Every number of the results as CSV: models, layers, verdicts, constants, spikes and the setting of the comparison."""

from __future__ import annotations

import csv as writers
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from neurosparse.report.results import check

__all__ = ["as_csv", "csv", "csv_files", "link"]

LISTS = ("layers", "raster", "correct")  # of a model: files of their own, and bits that are no numbers
TABLES = ("models", "verdicts", "assumptions", "references", "dataflows")
TRIPLES = {"accuracy_difference": ("low", "mean", "high"), "ratio": ("low", "nominal", "high")}


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and words inside mappings and lists, by the path to them.

    Example:
        >>> list(flat({"a": {"mean": 1.5, "seeds": [1, 2]}, "b": None}))
        [('a mean', 1.5), ('a seeds 0', 1), ('a seeds 1', 2), ('b', None)]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name} {key}".strip())
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from flat(inner, f"{name} {i}".strip())
    else:
        yield name, value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; what a row does not have is empty."""
    heads = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = writers.DictWriter(text, list(heads), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv(results: dict[str, Any]) -> str:
    """All numbers of the models as CSV: one line for each, a column for each mean, standard deviation and bound.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.

    Returns:
        Plain numbers in SI units: accuracies are fractions, counts are per sample, energies are estimated joules per
        sample. What is unknown is empty.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> print(csv({"task": "digits", "models": [relu]}))
        name,family,accuracy mean
        relu,ReLU,0.9
        <BLANKLINE>
    """
    models = check(results)["models"]
    return as_csv([dict(flat({k: v for k, v in model.items() if k not in LISTS})) for model in models])


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    """One verdict; its intervals with named ends."""
    named = {
        key: dict(zip(TRIPLES[key], value, strict=True)) if key in TRIPLES and value else value
        for key, value in row.items()
    }
    return dict(flat(named))


def csv_files(results: Mapping[str, Any]) -> dict[str, str]:
    """The text of each CSV file of the page, by its name; a file without rows is left out."""
    models = results["models"]
    spikes = [(model["name"], model["raster"]) for model in models if model.get("raster")]
    setting = {key: value for key, value in results.items() if key not in TABLES}
    rows = {
        "layers": [{"model": model["name"], **row} for model in models for row in model.get("layers") or ()],
        "verdicts": [_verdict(row) for row in results.get("verdicts") or ()],
        "constants": list(results.get("assumptions") or ()),
        "spikes": [
            {"model": name, "step": step, "unit": unit}
            for name, raster in spikes
            for step, unit in zip(raster["step"], raster["unit"], strict=True)
        ],
        "setting": [{"key": key, "value": value} for key, value in flat(setting)],
    }
    return {"models": csv(dict(results))} | {name: as_csv(made) for name, made in rows.items() if made}


def link(text: str) -> str:
    """CSV inside a link: a data URI that a browser saves without a script or a server."""
    return "data:text/csv;charset=utf-8," + quote(text, safe=",:;/+-_.()[]=*'@!$?~")
