"""Round trips of event tensors through each file format; files read by other tools: docs/results/round-trips.json.

make round-trips

A cell says: kept; refused (the writer raises an error, nothing is written); asked (the reader needs it as an argument);
or what came back instead.
"""

import json
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import result
import torch

import neurosparse as ns
from neurosparse.io._pixels import with_units
from neurosparse.io.formats import FORMATS, FileContent, Format, ReadOptions

PEER = Path(__file__).parents[2] / ".venv-files" / "bin" / "python"
START, DT, LAST = datetime(2020, 1, 1, tzinfo=UTC), 1e-3, 20
Units = tuple[int, ...]


def neo(content: FileContent, path: Path, start: datetime | None) -> None:
    """Blocks of neo are objects in memory, kept by path."""
    BLOCKS[path] = ns.io.neo.write(content.events, content.ids)


def from_neo(path: Path, options: ReadOptions) -> FileContent:
    if options.dt is None:
        raise ns.InputError("io.neo.read", got="no dt", expected="seconds per step")
    return FileContent(*ns.io.neo.read(BLOCKS[path], options.dt))


BLOCKS: dict[Path, object] = {}
ALL = {**FORMATS, "neo": Format("neo (in memory)", ("",), lambda head: False, from_neo, neo, axes=(1,))}


def spikes(units: Units, times: list[float], steps: int = LAST, t0: float = 0.0) -> ns.EventTensor:
    """One spike of each of the first units, the last of them in the last of 20 steps."""
    n_units = int(torch.tensor(units).prod())
    options = {"n_units": n_units, "dt": DT, "duration": steps * DT, "t0": t0}
    return with_units(ns.EventTensor.from_times(times, list(range(len(times))), **options), units)


TIMES = [0.001, 0.0045, 0.0192]


def again(format: Format, content: FileContent, dt: float | None = DT) -> FileContent:
    shape = content.events.shape
    size = (int(shape[-2]), int(shape[-1])) if len(shape) == 5 else (1, int(shape[-1]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{format.suffixes[0]}")
        format.write(content, path, START)
        return format.read(path, ReadOptions(dt, size))


def kept(format: Format, events: ns.EventTensor) -> str:
    """Compare all that an event tensor holds before and after."""
    try:
        found = again(format, FileContent(events)).events
    except ns.InputError:
        return "refused"
    if (found.t0, found.shape[0]) != (events.t0, events.shape[0]) and torch.equal(found.times(), events.times()):
        return "as silence" if found.t0 < events.t0 else "lost"
    same = found.shape == events.shape and found.axis == events.axis and found.binary == events.binary
    same &= found.n_events == events.n_events and torch.equal(found.index, events.index)
    same &= events.dt is None or torch.equal(found.times(), events.times())
    same &= (found.value is None) == (events.value is None)
    same &= found.value is None or events.value is None or torch.equal(found.value, events.value)
    lengths = [
        part.lengths if part.lengths is not None else torch.full(part.shape[1:2], part.shape[0])
        for part in (found, events)
    ]
    return "kept" if same and torch.equal(*lengths) else "lost"


def step(format: Format, units: Units) -> str:
    try:
        return "kept" if again(format, FileContent(spikes(units, TIMES)), None).events.dt == DT else "asked"
    except ns.InputError:
        return "asked"


def names(format: Format, units: Units) -> str:
    ids: list = [f"unit {i}" for i in range(len(TIMES))] if format is ALL["neo"] else [6, 191, 206]
    return (
        "kept" if 1 in format.axes and again(format, FileContent(spikes((3,), TIMES), ids)).ids == ids else "no place"
    )


def labels(format: Format, units: Units) -> str:
    events = spikes((3,) if 1 in format.axes else units, TIMES)
    found = again(format, FileContent(events, None, torch.tensor([7]))).labels
    return "kept" if found is not None and found.tolist() == [7] else "no place"


def graded(units: Units) -> ns.EventTensor:
    zero = torch.tensor([0])
    return ns.EventTensor.from_aer(zero + LAST - 1, zero, zero, zero - 2.5, shape=(LAST, 1, *units), dt=DT)


def stepped(units: Units) -> ns.EventTensor:
    zero = torch.tensor([0])
    return ns.EventTensor.from_aer(zero + LAST - 1, zero, zero, shape=(LAST, 1, *units))


def ragged(units: Units) -> ns.EventTensor:
    return torch.utils.data.default_collate([spikes(units, TIMES), spikes(units, [0.001, 0.0041], 5)])


def twice(units: Units) -> ns.EventTensor:
    """Two spikes of one unit at one time."""
    events = ns.EventTensor.from_times(
        [0.001, 0.001, 0.0192], [0, 0, 1], n_units=int(torch.tensor(units).prod()), dt=DT
    )
    return with_units(events, units)


WHOLE: dict[str, Callable[[Units], ns.EventTensor]] = {
    "times to 1 us": lambda units: spikes(units, TIMES),
    "times to 1 ns": lambda units: spikes(units, [0.001000001, 0.0192]),
    "two spikes at once": twice,
    "silence at the end": lambda units: spikes(units, TIMES, 1000),
    "t0": lambda units: spikes(units, [2 + time for time in TIMES], t0=2.0),
    "values": graded,
    "steps without dt": stepped,
    "samples, lengths": ragged,
}


def row(format: Format, axes: Units) -> dict[str, str]:
    units = (2, 34, 34) if axes == (3,) else (3,)
    found = {"format": format.title}
    found |= {what: kept(format, make(units)) for what, make in WHOLE.items()}
    found["polarity, y, x"] = kept(format, spikes((2, 34, 34), TIMES))
    found["dt"], found["ids of units"], found["labels"] = (fact(format, units) for fact in (step, names, labels))
    return found


def read_back() -> list[dict[str, str]]:
    """What other tools read from files written here: 500 events in 30 ms, of a camera or of the same units in a row."""
    draw = torch.Generator().manual_seed(0)
    unit, n_units = torch.randint(2312, (500,), generator=draw), 2312
    micro = torch.randint(30_000, (500,), generator=draw).double()
    row = ns.EventTensor.from_times(micro / 1e6, unit, n_units=n_units, dt=1e-6)
    expected = sorted([int(time), int(at)] for time, at in zip(row.times(), row.index, strict=True))
    names = {"evt2": "evt2.raw", "evt3": "evt3.raw"}
    files = {names.get(name, f"a{format.suffixes[0]}"): name for name, format in FORMATS.items()}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for file, name in files.items():
            events = with_units(row, (2, 34, 34)) if 3 in FORMATS[name].axes else row
            FORMATS[name].write(FileContent(events), Path(folder, file), START)
        command = [str(PEER), str(Path(__file__).parents[1] / "peers" / "read_back.py"), folder]
        answers = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )
    for file, tool, events in answers:
        verdict = (
            "the same events"
            if events == expected
            else events
            if isinstance(events, str)
            else differs(events, expected)
        )
        found.append({"format": FORMATS[files[file]].title, "tool": tool, "finds": verdict})
    return found


def differs(found: list, expected: list) -> str:
    """How two lists of events differ."""
    if [unit for _, unit in found] == [unit for _, unit in expected]:
        apart = [abs(a - b) for (a, _), (b, _) in zip(found, expected, strict=True)]
        return f"{sum(gap > 0 for gap in apart)} of {len(found)} times up to {max(apart) / 1000:g} us off"
    if sorted(unit for _, unit in found) == sorted(unit for _, unit in expected):
        return "the same pixels at other times"
    return f"{len(found)} events where {len(expected)} were written"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    facts = {"rows": [row(format, ALL[name].axes) for name, format in ALL.items()], "read_back": read_back()}
    for each in [*facts["rows"], *facts["read_back"]]:
        print(*(f"{key}: {value}" for key, value in each.items()), sep="; ")
    result.keep("round-trips", facts)
