"""One self-contained HTML page: no script, nothing fetched, readable on paper and on a phone."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosparse.atomic import write_atomically
from neurosparse.plot.units import MISSING, interval, si
from neurosparse.report.figures import figures, savings
from neurosparse.report.headline import answer, standings, winner
from neurosparse.report.results import check, reference, scenarios, write_results
from neurosparse.report.table import SPARSITIES

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render", "save"]

OPERATIONS = (
    "dense_ops", "effective_macs", "effective_acs", "bias_adds",
    "state_updates", "comparisons", "elementwise", "spikes_out",
)  # fmt: skip


@lru_cache(maxsize=1)
def template() -> Template:
    """The page; a value that is missing prints as nothing, at any depth."""
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("neurosparse.report", "."), autoescape=True, undefined=ChainableUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "si": number,
        "ratio": ratio,
        "plain": lambda value: f"{value:g}" if isinstance(value, int | float) else MISSING,
        "words": lambda text: str(text).replace("_", " "),
    }
    return environment.get_template("page.html")


def number(value: Any, unit: str = "") -> str:
    """An SI number; missing or foreign values become a dash or themselves."""
    return si(value, unit) if isinstance(value, int | float) else str(value or MISSING)


def ratio(value: float | None) -> str:
    """A ratio in at most three digits, without a prefix such as k."""
    return MISSING if not value else f"{value:.2g}×" if value < 99.5 else f"{value:,.0f}×"


def matrix(results: dict[str, Any], scenario: str) -> dict[str, Any]:
    """The verdicts of one scenario, seen from each row; a column for everyone who met at least half of the others."""
    names = [c["name"] for c in results["models"]]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for verdict in results["verdicts"]:
        if verdict["scenario"] == scenario:
            cells[verdict["a"], verdict["b"]] = cell(verdict, False)
            cells[verdict["b"], verdict["a"]] = cell(verdict, True)
    columns = [name for name in names if 2 * sum((row, name) in cells for row in names) >= len(names) - 1]
    empty = {"kind": "none", "text": "", "title": ""}
    return {"columns": columns, "rows": {row: [cells.get((row, c), empty) for c in columns] for row in names}}


def cell(verdict: dict[str, Any], flip: bool) -> dict[str, str]:
    """How many times less energy a takes than b (or b than a): class, text and the whole sentence."""
    row, column = (verdict["b"], verdict["a"]) if flip else (verdict["a"], verdict["b"])
    won, energies, difference = winner(verdict), verdict.get("ratio"), verdict.get("accuracy_difference")
    kind = "open" if won is None else "good" if won == row else "bad"
    title = f"{row} against {column}: {verdict['verdict'] if won is None else won + ' is cheaper'}"
    text = "?" if verdict.get("matched") else "≠"
    if energies:
        # The verdict holds energy of a over energy of b.
        low, saving, high = energies if flip else [1 / value for value in reversed(energies)]
        title += f"; takes {saving:.3g} [{low:.3g}, {high:.3g}] times less energy"
        text = (f"÷{ratio(saving)}" if saving >= 1 else f"×{ratio(1 / saving)}").rstrip("×") if won else text
    elif "unsupported" in verdict["verdict"]:
        text = "–"
    if verdict.get("bits"):
        text += "†"
        widths = [" and ".join(map(str, side)) for side in verdict["bits"]][:: -1 if flip else 1]
        title += f"; weights of {widths[0]} against {widths[1]} bits"
    if difference:
        low, mid, high = (100 * value for value in ([-value for value in reversed(difference)] if flip else difference))
        title += f"; accuracy {mid:+.1f} [{low:+.1f}, {high:+.1f}] points"
    return {"kind": kind, "text": text, "title": title}


def cheapest(results: dict[str, Any], scenario: str) -> float | None:
    """The lowest nominal energy of a scenario, to set it in bold."""
    found = [c["energy"].get(scenario, {}).get("nominal") for c in results["models"]]
    return min((value for value in found if value), default=None)


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
    estimated, measured = savings(results)
    pictures = figures(results)
    names = scenarios(results)
    return template().render(
        r=results,
        answer=answer(results),
        standings=standings(results),
        scenarios=names,
        reference=reference(results)["name"],
        estimated=estimated,
        measured=measured,
        cheapest={name: cheapest(results, name) for name in names},
        matrices={name: matrix(results, name) for name in names} if results.get("verdicts") else {},
        pictures=pictures,
        interval=interval,
        sparsities=SPARSITIES,
        operations=OPERATIONS,
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
