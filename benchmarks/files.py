"""Decoding of event-camera recordings, beside expelliarmus, faery and aedat.

make bench-files

One recording of four million events, ten a microsecond, is written in each format and read from the page cache. Every
library decodes it to time, x, y and polarity of each event and keeps none of them: neurosparse, faery and aedat in
blocks (columns here, records there), expelliarmus in one array of records or in chunks of a million ("chunks"). The
peer is the fastest of them that decodes the same events; the row of another one says what differs (sums of t, x, y and
polarity). "to an event tensor" also sorts all events into rows, which no peer does. Decoders run on one thread under
both settings of threads. Peers run in a process of their own on the same cores and take turns with neurosparse.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import rows, write

import neurosparse as ns

EVENTS, RATE, HEIGHT, WIDTH, TURNS = 4_000_000, 10, 480, 640, 11
HERE = Path(__file__).parent
PEER = HERE.parent / ".venv-files" / "bin" / "python"
CASES: dict[str, tuple[Any, str, dict[str, Any], tuple[str, ...]]] = {
    "EVT 2.0": (ns.io.evt, "evt2", {"version": 2}, ("expelliarmus", "expelliarmus, chunks", "faery")),
    "EVT 3.0": (ns.io.evt, "evt3", {"version": 3}, ("expelliarmus", "expelliarmus, chunks", "faery")),
    "DAT": (ns.io.dat, "dat", {}, ("expelliarmus", "expelliarmus, chunks", "faery")),
    "AEDAT4, LZ4": (ns.io.aedat, "aedat", {"compression": "lz4"}, ("aedat", "faery")),
}
GOALS = {"EVT 2.0": 0.6, "EVT 3.0": 0.5, "DAT": 0.5, "AEDAT4, LZ4": 0.9}
SUFFIXES = {"evt2": ".raw", "evt3": ".raw", "dat": ".dat", "aedat": ".aedat4"}


def recording() -> ns.EventTensor:
    """Events drawn anywhere on the sensor, at most one of a pixel in a microsecond."""
    draw = np.random.default_rng(0)
    unit = draw.integers(2 * HEIGHT * WIDTH, size=EVENTS)
    cell = np.unique(np.arange(EVENTS) // RATE * (2 * HEIGHT * WIDTH) + unit)
    step, unit = (torch.from_numpy(part) for part in divmod(cell, 2 * HEIGHT * WIDTH))
    shape = (EVENTS // RATE, 1, 2, HEIGHT, WIDTH)
    return ns.EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=shape, dt=1e-6)


class Peers:
    """A process with the other libraries."""

    def __init__(self) -> None:
        command = [str(PEER), str(HERE / "peers" / "files.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, library: str, encoding: str, path: Path, check: bool = False) -> tuple[float, int, list[int]]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([library, encoding, str(path), check]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return tuple(json.loads(answer)) if answer else (float("nan"), 0, [])


def decode(module: Any, path: Path) -> int:
    return sum(len(block.time) for block in module.scan(path).blocks)


def sums(module: Any, path: Path) -> list[int]:
    totals = np.zeros(4, np.int64)
    for block in module.scan(path).blocks:
        totals += [int(column.astype(np.int64).sum()) for column in block]
    return totals.tolist()


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(case: str, path: Path, peers: Peers) -> list[dict[str, Any]]:
    module, encoding, _, libraries = CASES[case]
    expected, differs = sums(module, path), {}
    for library in libraries:
        _, events, found = peers(library, encoding, path, check=True)
        wrong = [name for name, a, b in zip("txyp", found, expected, strict=False) if a != b]
        differs[library] = f"other {', '.join(wrong)}" if wrong else "no answer" if not events else ""
    seconds: dict[str, list[float]] = {"neurosparse": [], "to an event tensor": [], **{name: [] for name in libraries}}
    for _ in range(TURNS):
        seconds["neurosparse"].append(timed(lambda: decode(module, path)))
        seconds["to an event tensor"].append(timed(lambda: module.read(path)))
        for library in libraries:
            seconds[library].append(peers(library, encoding, path)[0])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = min([name for name in libraries if not differs[name]] or libraries, key=medians.__getitem__)
    found = rows(case, medians, best, goals={"neurosparse": GOALS[case]})
    return [row | {"threads": torch.get_num_threads(), "differs": differs.get(row["subject"], "")} for row in found]


def main() -> None:
    events, peers, table = recording(), Peers(), []
    with tempfile.TemporaryDirectory() as folder:
        for case, (module, encoding, options, _) in CASES.items():
            path = Path(folder, f"{encoding}{SUFFIXES[encoding]}")
            module.write(events, path, **options)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                for row in compare(case, path, peers):
                    table.append(row | {"million_events_a_second": events.n_events / 1e6 / row["seconds"]})
    write("files", table)
    for row in table:
        print(
            f"{row['case']:<12} {row['subject']:<22} {row['million_events_a_second']:6.1f} M events/s {row['differs']}"
        )


if __name__ == "__main__":
    main()
