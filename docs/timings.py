"""Tables of timings: ratios of one run, from the files of ``benchmarks/out``, each with one column per machine."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mode
from typing import Any

OUT = Path(__file__).parents[1] / "benchmarks" / "out"


def machines(name: str) -> dict[str, dict[str, Any]]:
    """Machine -> its rows, in the order in which they were timed."""
    return json.loads((OUT / f"{name}.json").read_text(encoding="utf-8"))["machines"]


def bench(name: str) -> str:
    """Ratios of one timing: a row for each subject, a column for each case, `one thread / two threads`.

    Cases over another subject than most stand in :func:`performance` alone.
    """
    rows, on = latest(name)
    unit = mode(row["peer"] for row in rows)
    rows = [row for row in rows if row["peer"] == unit]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows, key=lambda row: row.get("threads", 0)):
        cells.setdefault((row["subject"], row["case"]), []).append(f"{row['ratio']:.2f}")
    subjects, cases = (list(dict.fromkeys(row[key] for row in rows)) for key in ("subject", "case"))
    body = [[subject, *(" / ".join(cells.get((subject, case), ["-"])) for case in cases)] for subject in subjects]
    found = ["| | " + " | ".join(cases) + " |", "|--" * (len(cases) + 1) + "|", *map(_line, body)]
    return "\n".join([*found, "", on])


def latest(name: str) -> tuple[list[dict[str, Any]], str]:
    """Rows of the machine that was timed last, and a line that names it."""
    on, column = list(machines(name).items())[-1]
    return column["rows"], f"Measured on: {on}; torch {column['torch']}."


def performance(names: str) -> str:
    """Ratios that have a goal: a row for each work, a column for each machine, and what holds on all of them."""
    found: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for name in names.split("+"):
        for on, column in machines(name).items():
            for row in (row for row in column["rows"] if "goal" in row):
                key = (row["case"], row["subject"], row["peer"])
                found.setdefault(key, {}).setdefault(on, []).append(row)
    columns = list(dict.fromkeys(on for measured in found.values() for on in measured))
    letters = [chr(ord("A") + at) for at in range(len(columns))]
    head = ["work", "by", "over", "goal", *letters, "on every machine measured"]
    body = []
    for key, measured in found.items():
        rows = [row for of in measured.values() for row in of]
        goals = " or ".join(dict.fromkeys(f"{row['goal']:.3g}" for row in rows))
        cells = [_ratios(measured.get(on, [])) for on in columns]
        body.append([*key, goals, *cells, _rely(max(row["ratio"] for row in rows))])
    legend = [f"{letter}: {on}." for letter, on in zip(letters, columns, strict=True)]
    return "\n".join([*map(_line, [head, [":--", *["--:"] * (len(head) - 1)], *body]), "", "\n".join(legend)])


def _ratios(rows: list[dict[str, Any]]) -> str:
    """`one thread / two threads`; an asterisk where the goal is missed."""
    ordered = sorted(rows, key=lambda row: row["threads"])
    return " / ".join(f"{row['ratio']:.2f}{'*' * (row['ratio'] > row['goal'])}" for row in ordered) or "-"


def _rely(ratio: float) -> str:
    return f"at least {1 / ratio:.1f} x as fast" if ratio < 0.95 else f"at most {ratio:.2f} x the time"


def speed(name: str) -> str:
    """Time to decode recordings: the ratio to the fastest peer, and million events a second."""
    rows, on = latest(name)
    cells = {(row["subject"], row["case"]): row for row in rows}
    subjects, cases = (list(dict.fromkeys(row[key] for row in rows)) for key in ("subject", "case"))
    subjects.sort(key=lambda subject: subject == "to an event tensor")
    body = [[subject, *(_speed(cells.get((subject, case))) for case in cases)] for subject in subjects]
    return "\n".join([*map(_line, [["", *cases], [":--", *["--:"] * len(cases)], *body]), "", on])


def _speed(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    differs = f", {row['differs']}" if row["differs"] else ""
    return f"{row['ratio']:.2f} ({row['million_events_a_second']:.0f} M/s{differs})"


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(cells)} |"
