"""Memory and time of streaming a recording of two gigabytes, on Linux: docs/results/large-file.json.

make large-file                 # ARGS=0.1 for a smaller one, whose result is printed and not kept
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import result
import torch

import neurosparse as ns

GIGABYTES = 2.0
BLOCK, EVENTS = 1 << 22, 1 << 20  # words written at a time, events of a chunk


def write(path: Path, gigabytes: float) -> int:
    """EVT 2.0 words, each 64th a time; returns the number of events."""
    draw, blocks = np.random.default_rng(0), round(gigabytes * 1e9 / 4 / BLOCK)
    words = draw.integers(2, size=BLOCK) << 28 | draw.integers(640, size=BLOCK) << 11 | draw.integers(480, size=BLOCK)
    words |= np.arange(BLOCK) % 64 << 22
    with path.open("wb") as file:
        file.write(b"% evt 2.0\n% geometry 640x480\n% end\n")
        for block in range(blocks):
            words[::64] = 8 << 28 | (block * BLOCK // 64 + np.arange(BLOCK // 64))
            file.write(words.astype("<u4").tobytes())
    return blocks * (BLOCK - BLOCK // 64)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else GIGABYTES
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.raw")
        expected = write(path, gigabytes)
        next(ns.io.evt.stream(path, events=EVENTS))  # compiles
        before, started = peak(), time.perf_counter()
        events = sum(chunk.n_events for chunk in ns.io.evt.stream(path, events=EVENTS))
        seconds = time.perf_counter() - started
        facts = {"bytes": path.stat().st_size, "events": events, "chunk": EVENTS, "seconds": round(seconds, 1)}
    assert events == expected
    facts |= {"peak_bytes": peak(), "peak_bytes_before": before}
    print(json.dumps(facts))
    if gigabytes == GIGABYTES:
        result.keep("large-file", facts)


if __name__ == "__main__":
    main()
