"""Events of the files of a folder, read by the tools of their formats, as JSON: ``[file, tool, [[ns, unit], ...]]``."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aedat
import expelliarmus
import faery
import numpy as np
import pynapple
import pynwb
import tonic

SIDE = 34


def pixels(events: Any, sign: str) -> Iterator[tuple[int, int]]:
    """Nanoseconds and flat unit of records of a camera."""
    for event in events:
        yield int(event["t"]) * 1000, (int(event[sign]) * SIDE + int(event["y"])) * SIDE + int(event["x"])


def by_aedat(path: Path) -> list[tuple[int, int]]:
    return [event for packet in aedat.Decoder(str(path)) for event in pixels(packet["events"], "on")]


def by_faery(path: Path) -> list[tuple[int, int]]:
    return [event for packet in faery.events_stream_from_file(path) for event in pixels(packet, "on")]


def by_expelliarmus(encoding: str) -> Callable[[Path], list[tuple[int, int]]]:
    return lambda path: list(pixels(expelliarmus.Wizard(encoding=encoding).read(path), "p"))


def by_tonic_nmnist(path: Path) -> list[tuple[int, int]]:
    return list(pixels(tonic.io.read_mnist_file(str(path), dtype=tonic.datasets.NMNIST.dtype), "p"))


def by_tonic_shd(path: Path) -> list[tuple[int, int]]:
    """tonic's data set without its download; tonic cuts times to whole microseconds."""
    folder = {"location_on_system": str(path.parent), "data_filename": path.name}
    files = SimpleNamespace(**folder, dtype=tonic.datasets.SHD.dtype, transform=None, target_transform=None)
    events, _ = tonic.datasets.hsd.HSD.__getitem__(files, 0)  # type: ignore[arg-type]
    return [(int(event["t"]) * 1000, int(event["x"])) for event in events]


def by_tonic_array(path: Path) -> list[tuple[int, int]]:
    """Through one of tonic's transforms, a crop that keeps everything."""
    events = np.load(path)
    whole = tonic.transforms.CenterCrop(sensor_size=(SIDE, SIDE, 2), size=(SIDE, SIDE))(events)
    return list(pixels(whole, "p"))


def trains(group: Any) -> list[tuple[int, int]]:
    return [(round(float(time) * 1e9), int(unit)) for unit in group.index for time in group[unit].t]


def by_pynwb(path: Path) -> list[tuple[int, int]]:
    with pynwb.NWBHDF5IO(str(path), "r") as file:
        units = file.read().units
        return [(round(float(t) * 1e9), unit) for unit in range(len(units)) for t in units.get_unit_spike_times(unit)]


READERS = {
    "evt2.raw": {"expelliarmus": by_expelliarmus("evt2"), "faery": by_faery},
    "evt3.raw": {"expelliarmus": by_expelliarmus("evt3"), "faery": by_faery},
    "a.dat": {"expelliarmus": by_expelliarmus("dat"), "faery": by_faery},
    "a.aedat4": {"aedat": by_aedat, "faery": by_faery},
    "a.bin": {"tonic": by_tonic_nmnist},
    "a.npy": {"tonic": by_tonic_array},
    "a.h5": {"tonic": by_tonic_shd},
    "a.nwb": {"pynwb": by_pynwb, "pynapple": lambda path: trains(pynapple.load_file(str(path))["units"])},
    "a.npz": {"pynapple": lambda path: trains(pynapple.load_file(str(path)))},
}

warnings.simplefilter("ignore")
answers = []
for name, tools in READERS.items():
    for tool, reader in tools.items():
        try:
            answers.append([name, tool, sorted(reader(Path(sys.argv[1], name)))])
        except Exception as error:
            answers.append([name, tool, f"{type(error).__name__}: {error}"])
print(json.dumps(answers))
