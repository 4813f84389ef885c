"""Side-by-side timing: interleaved repeats, medians, ratios. On a shared machine only ratios of one run compare."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

OUT = Path(__file__).parent / "out"


def interleaved(
    subjects: dict[str, Callable[[], object]], repeats: int = 11, clock: Callable[[], float] = time.perf_counter
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


def rows(case: str, seconds: dict[str, float], peer: str) -> list[dict[str, object]]:
    """One row for each subject: its seconds, divided by those of the peer."""
    return [
        {"case": case, "subject": name, "peer": peer, "seconds": value, "ratio": value / seconds[peer]}
        for name, value in seconds.items()
    ]


def write(name: str, table: list[dict[str, object]]) -> None:
    """Print the ratios and write ``benchmarks/out/NAME.json``; `stale` is set by hand, when a later change matters."""
    for row in table:
        case, time = f"{row['case']}, {row['threads']} threads", f"{1e3 * float(str(row['seconds'])):9.2f} ms"
        print(f"{case:<46} {row['subject']:<24} {time}  {row['ratio']:6.2f} x {row['peer']}")
    OUT.mkdir(exist_ok=True)
    facts = {"command": f"make bench-{name}", "stale": None}
    facts |= {"torch": torch.__version__, "cpu": platform.machine(), "rows": table}
    (OUT / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
