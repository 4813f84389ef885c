"""Side-by-side timing: interleaved repeats, medians, ratios. On a shared machine only ratios of one run compare."""

import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

OUT = Path(__file__).parent / "out"
VECTORS = ("avx512f", "avx2", "asimd")  # widest first


def interleaved(
    subjects: Mapping[str, Callable[[], object]], repeats: int = 11, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each subject, one run of each in turn, after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for repeat in range(repeats + 2):
        for name, run in subjects.items():
            started = clock()
            run()
            if repeat >= 2:
                times[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def rows(
    case: str, seconds: Mapping[str, float], peer: str, goals: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """One row for each subject: its seconds, divided by those of the peer.

    Args:
        case, peer: what is timed, and the subject whose time is the unit.
        seconds: of each subject.
        goals: subject -> the ratio that it is to stay below. These rows stand in docs/performance.md.
    """
    return [
        {"case": case, "subject": name, "peer": peer, "seconds": value, "ratio": value / seconds[peer]}
        | ({"goal": goals[name]} if goals and name in goals else {})
        for name, value in seconds.items()
    ]


def machine() -> str:
    """Name of this machine's processor, with its family, its widest vectors and the number of cores."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    facts = dict(re.findall(r"^(model name|cpu family|model|flags|Features)\s*: (.+)$", text, re.MULTILINE))
    cores = len(re.findall(r"^processor\s*:", text, re.MULTILINE)) or torch.get_num_threads()
    known = (facts.get("flags") or facts.get("Features") or "").split()
    vectors = next((f", {name.upper()}" for name in VECTORS if name in known), "")
    family = f", family {facts['cpu family']} model {facts['model']}" if {"cpu family", "model"} <= facts.keys() else ""
    return f"{facts.get('model name', platform.processor() or platform.machine())}{family}{vectors}, {cores} cores"


def write(
    name: str, table: list[dict[str, Any]], *, on: str | None = None, keep: bool = False, **parts: list[dict[str, Any]]
) -> None:
    """Print the ratios and write the column of this machine in ``benchmarks/out/NAME.json``; others stay.

    Args:
        name: of the benchmark, ``make bench-NAME``.
        table: rows with ``case``, ``subject``, ``peer``, ``seconds``, ``ratio``, ``threads``.
        on: the machine, where it is not this one's processor.
        keep: rows of cases that did not run now stay.
        parts: further tables beside ``rows``.
    """
    for row in table:
        case, seconds = f"{row['case']}, {row['threads']} threads", f"{1e3 * row['seconds']:9.2f} ms"
        goal = f"  goal {row['goal']:g}" if "goal" in row else ""
        print(f"{case:<46} {row['subject']:<24} {seconds}  {row['ratio']:6.2f} x {row['peer']}{goal}")
    path, on = OUT / f"{name}.json", on or machine()
    before = json.loads(path.read_text()) if path.exists() else {"machines": {}}
    earlier = before["machines"].pop(on, {})
    earlier = earlier if keep else {}
    ran = {(row["case"], row["threads"]) for row in table}
    found = {
        part: [row for row in earlier.get(part, []) if (row["case"], row["threads"]) not in ran] + new
        for part, new in {"rows": table, **parts}.items()
    }
    column = {"date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, **found}
    facts = {"command": f"make bench-{name}", "stale": None, "machines": {**before["machines"], on: column}}
    OUT.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n")
