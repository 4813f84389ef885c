"""Fuzzing of the file readers: a thousand damaged files of each format, and the outcomes: docs/results/fuzz.json.

make fuzz-files                 # ARGS="--files 10" for fewer, whose outcomes are printed and not kept

An outcome is: read in full; a partial result that says what was lost; a clear error. Anything else is a failure and
printed: another exception, a process that ends, more than ten seconds of work or 4 GiB, events out of order or off the
sensor. Files are read in a process of their own, so that a crash of a compiled library is an outcome too.
"""

import argparse
import multiprocessing
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import result
import torch

import neurosparse as ns
from neurosparse.io._pixels import with_units
from neurosparse.io.formats import FORMATS, FileContent

FILES = 1000  # of each format
OUTCOMES = ("read in full", "partial, says what was lost", "clear error", "failure")
SECONDS, MEMORY = 10, 4 << 30
FEWER = {"nwb": 5}  # a file takes a third of a second: a fifth as many files
SHAPES = {1: (9,), 3: (2, 34, 34)}


def seeds() -> dict[str, bytes]:
    """A sound file of every format: 300 spikes of 25 ms."""
    draw = torch.Generator().manual_seed(0)
    times, found = torch.rand(300, generator=draw).double() * 0.025, {}
    for name, format in FORMATS.items():
        units = SHAPES[max(format.axes, default=1)]
        n_units = int(torch.tensor(units).prod())
        unit = torch.randint(n_units, (300,), generator=draw)
        micro = (times * 1e6).floor() / 1e6
        events = ns.EventTensor.from_times(micro, unit, n_units=n_units, dt=1e-6)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"a{format.suffixes[0]}")
            format.write(FileContent(with_units(events, units)), path, datetime(2020, 1, 1, tzinfo=UTC))
            found[name] = path.read_bytes()
            if name in ("evt2", "evt3", "dat"):  # without the line that holds the number of events
                found[f"{name}, of others"] = re.sub(rb"% neurosparse .*?\n", b"", found[name])
            if name == "aedat4":
                for packed in ("lz4", "zstd"):
                    ns.io.aedat.write(with_units(events, units), path, packed)
                    found[f"aedat4, {packed}"] = path.read_bytes()
    return found


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip, overwrite, remove, insert, repeat or replace, once to four times."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(found)
        # Half of all places lie in the first 256 bytes, where headers are.
        at = draw.randrange(min(size, 256) if draw.random() < 0.5 else size) if size else 0
        span = draw.choice((1, 2, 4, 8, 64, 1024))
        match draw.randrange(8):
            case 0:
                del found[at:]
            case 1 | 2:
                found[at : at + 1] = bytes([found[at] ^ 1 << draw.randrange(8)]) if size else b""
            case 3:
                found[at : at + span] = draw.randbytes(min(span, size - at))
            case 4:
                del found[at : at + span]
            case 5:
                found[at:at] = draw.randbytes(span)
            case 6:
                found[at:at] = found[at : at + span]
            case 7:
                found[at : at + 4] = draw.choice((b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"))
    return bytes(found)


def outcome(name: str, path: Path) -> str:
    """The outcome of reading one file."""
    format = name.split(",")[0]
    size = (34, 34) if max(FORMATS[format].axes, default=1) == 3 else (1, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            events, lost = ns.io.files.salvage(path, 1e-6, size, format)
            ordered = bool((events.row.diff() >= 0).all()) and bool((events.index < events.n_units).all())
            ordered &= events.offset is None or bool(((events.offset >= 0) & (events.offset < 1000)).all())
            _ = events.times()
        except ns.InputError:
            return "clear error"
        except MemoryError:
            return "failure: memory"
        except Exception as error:
            return f"failure: {type(error).__name__}: {str(error)[:90]}"
    if not ordered:
        return "failure: events out of order or off the sensor"
    return "partial, says what was lost" if lost else "read in full"


def work(connection: Any) -> None:
    """Read files in bounded memory until an empty task arrives."""
    torch.set_num_threads(1)
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    while task := connection.recv():
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # seconds of its own work, not of a busy machine
        found = outcome(*task)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(found)


class Reader:
    """A process that reads; a new one after a crash or a hang."""

    def __init__(self) -> None:
        self.connection, child = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=work, args=(child,), daemon=True)
        self.process.start()
        child.close()

    def __call__(self, name: str, path: Path) -> str:
        try:
            self.connection.send((name, path))
            if self.connection.poll(30 * SECONDS):
                return self.connection.recv()
            found = "failure: no answer"
        except (EOFError, BrokenPipeError):
            self.process.join()
            slow = self.process.exitcode == -signal.SIGPROF
            found = f"failure: {f'more than {SECONDS} s' if slow else f'the process ended ({self.process.exitcode})'}"
        self.process.kill()
        self.process.join()
        self.__init__()
        return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--files", type=int, default=FILES, help="of each format")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    sound, rows = seeds(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, content in sound.items():  # compiles here, once for all readers
            path = Path(folder, f"a{FORMATS[name.split(',')[0]].suffixes[0]}")
            path.write_bytes(content)
            assert outcome(name, path) == "read in full", name
        reader = Reader()
        for name, content in sound.items():
            draw, counts, started = random.Random(f"{options.seed} {name}"), Counter(), time.perf_counter()
            path = Path(folder, f"a{FORMATS[name.split(',')[0]].suffixes[0]}")
            files = options.files // FEWER.get(name, 1)
            for number in range(files):
                path.write_bytes(damaged(content, draw))
                found = reader(name, path)
                if found.startswith("failure"):
                    print(f"{name}, file {number}: {found}", file=sys.stderr)
                counts[found.split(":")[0]] += 1
            rows.append({"format": name, "files": files, **{kind: counts[kind] for kind in OUTCOMES}})
            print(
                *(f"{key} {value}" for key, value in rows[-1].items()),
                f"{time.perf_counter() - started:.0f} s",
                sep="; ",
            )
    if options.files == FILES:
        result.keep("fuzz", {"seed": options.seed, "rows": rows}, "make fuzz-files")


if __name__ == "__main__":
    main()
