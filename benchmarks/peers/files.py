"""Decoding by expelliarmus, faery and aedat, timed in this process: one request a line on stdin, JSON both ways.

A request is ``[library, encoding, path, check]``, the answer ``[seconds, events, sums of t, x, y and p]``; without
``check`` the sums are empty.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aedat
import expelliarmus
import faery
import numpy as np


def by_expelliarmus(encoding: str, path: str) -> Iterator[np.ndarray]:
    yield expelliarmus.Wizard(encoding=encoding, buff_size=1 << 16).read(Path(path))


def by_expelliarmus_in_chunks(encoding: str, path: str) -> Iterator[np.ndarray]:
    reader = expelliarmus.Wizard(encoding=encoding, buff_size=1 << 16, chunk_size=1 << 20)
    reader.set_file(Path(path))
    yield from reader.read_chunk()


def by_faery(encoding: str, path: str) -> Iterator[np.ndarray]:
    yield from faery.events_stream_from_file(path)


def by_aedat(encoding: str, path: str) -> Iterator[np.ndarray]:
    for packet in aedat.Decoder(path):
        if "events" in packet:
            yield packet["events"]


LIBRARIES = {
    "expelliarmus": by_expelliarmus,
    "expelliarmus, chunks": by_expelliarmus_in_chunks,
    "faery": by_faery,
    "aedat": by_aedat,
}

for line in sys.stdin:
    library, encoding, path, check = json.loads(line)
    started, blocks, events = time.perf_counter(), [], 0
    for block in LIBRARIES[library](encoding, path):
        events += len(block)
        blocks += [block] if check else []
    seconds, sums = time.perf_counter() - started, []
    if check:
        joined = np.concatenate(blocks)
        names = ["t", "x", "y", "on" if "on" in (joined.dtype.names or ()) else "p"]
        sums = [int(joined[name].astype(np.int64).sum()) for name in names]
    print(json.dumps([seconds, events, sums]), flush=True)
