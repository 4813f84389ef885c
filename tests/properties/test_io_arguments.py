"""Readers and writers of files take NumPy numbers and tensors of no axes as plain arguments, and refuse the rest."""

import atexit
import shutil
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import nir
import numpy as np
import pytest
import torch
from arguments import Function, check
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns

FOLDER = Path(mkdtemp())
atexit.register(shutil.rmtree, FOLDER)

STEP, UNIT = torch.tensor([0, 3, 7]), torch.tensor([5, 0, 11])
CAMERA = ns.EventTensor.from_aer(STEP, STEP * 0, UNIT, shape=(9, 1, 2, 2, 3), dt=1e-3)
DIGIT = ns.EventTensor.from_aer(STEP, STEP * 0, UNIT, shape=(8, 1, 2, 34, 34), dt=1e-3)
TRAINS = ns.EventTensor.from_times([0.0021, 0.0305, 0.0301], [1, 0, 2], n_units=3, dt=1e-3, duration=0.05)
GRID = TRAINS.bin(1, "any")
RECORDS = np.array([(1, 0, 654, True), (2, 1, 3000, False)], ns.io.tonic.CAMERA)
NETWORK = nn.Sequential(nn.Linear(3, 2), ns.LIF(beta=0.9))
GRAPH = ns.io.nir.write(NETWORK, dt=1e-3)
UNNOTED = ns.io.nir.write(NETWORK, dt=1e-3)
UNNOTED.nodes["lif_1"].metadata.clear()
DATA = nir.EventData(np.array([[1, 0, -1]]), np.array([[0.1, 0.3, np.inf]]), n_neurons=2, t_max=0.5)
MONITOR = SimpleNamespace(i=[1, 0, 1], t=[0.001, 0.002, 0.004])


def at(name: str) -> Path:
    return FOLDER / name


def facts(events):
    """Everything about events but a dense twin, which a long recording has no memory for."""
    if events.dt is None:
        return events.shape, events.index
    return events.shape, events.dt, events.t0, events.binary, events.times(), events.index


def parts(pair):
    return facts(pair[0]), pair[1]


ns.io.evt.write(CAMERA, at("a.raw"))
ns.io.dat.write(CAMERA, at("a.dat"))
ns.io.aedat.write(CAMERA, at("a.aedat4"))
ns.io.nmnist.write(DIGIT, at("a.bin"))
at("labels.txt").write_text("a 5\n")
ns.io.shd.write(TRAINS, torch.tensor([4]), at("a.h5"))
ns.io.nwb.write(TRAINS, at("a.nwb"), datetime(2020, 1, 1, tzinfo=UTC))
ns.io.pynapple.save(TRAINS, at("a.npz"))
BLOCK = ns.io.neo.write(TRAINS)


def converted(**options):
    facts = ns.io.files.convert(at("a.raw"), at("b.safetensors"), **options)
    return facts["shape"], facts["events"], facts["lost"]


def written(write, name, **options):
    write(CAMERA, at(name), **options)
    return at(name).read_bytes()


def tonic(width, height, polarities, **options):
    return facts(ns.io.tonic.read(RECORDS, (width, height, polarities), **options))


def generated(**options):
    group = ns.io.brian2.generator(TRAINS, **options)
    return np.asarray(group.spike_time), np.asarray(group.neuron_index)


def graph(units, **options):
    found = ns.io.nir.write(nn.Sequential(ns.LIF(beta=0.9)), input_shape=(units,), **options)
    return {
        name: [part for part in vars(node).values() if isinstance(part, np.ndarray)]
        for name, node in found.nodes.items()
    }


FUNCTIONS = [
    Function("files.read", lambda dt: facts(ns.io.files.read(at("a.raw"), dt)), {"dt": 1e-3}, ("dt",)),
    Function(
        "files.read, size",
        lambda height, width: facts(ns.io.files.read(at("a.dat"), size=(height, width))),
        {"height": 2, "width": 3},
    ),
    Function(
        "files.read, format", lambda format: facts(ns.io.files.read(at("a.raw"), format=format)), {"format": "evt2"}
    ),
    Function("files.salvage", lambda dt: parts(ns.io.files.salvage(at("a.raw"), dt)), {"dt": 1e-3}, ("dt",)),
    Function("files.info", lambda dt: ns.io.files.info(at("a.h5"), dt), {"dt": 1e-3}, ("dt",)),
    Function("files.retime", lambda dt: facts(ns.io.files.retime(TRAINS, dt)), {"dt": 2e-3}, ("dt",)),
    Function("files.convert", converted, {"dt": 2e-3, "on_collision": "sum", "sample": 0}, ("dt", "sample")),
    Function("files.convert, units", lambda n: converted(units=(n, 3)), {"n": 4}),
    Function(
        "evt.stream",
        lambda **options: [facts(c) for c in ns.io.evt.stream(at("a.raw"), **options)],
        {"events": 1, "dt": 1e-3},
        ("events", "dt"),
    ),
    Function("evt.write", lambda version: written(ns.io.evt.write, "b.raw", version=version), {"version": 2}),
    Function(
        "aedat.read",
        lambda **options: facts(ns.io.aedat.read(at("a.aedat4"), **options)),
        {"dt": 1e-3, "camera": 0},
        ("dt", "camera"),
    ),
    Function(
        "aedat.write",
        lambda compression: written(ns.io.aedat.write, "b", compression=compression),
        {"compression": "none"},
    ),
    Function("nmnist.read", lambda dt: facts(ns.io.nmnist.read(at("a.bin"), dt)), {"dt": 1e-3}, ("dt",)),
    Function(
        "nmnist.read_folder",
        lambda **options: parts(ns.io.nmnist.read_folder(FOLDER, **options)),
        {"dt": 1e-3, "on_collision": "sum"},
    ),
    Function(
        "shd.read",
        lambda **options: parts(ns.io.shd.read(at("a.h5"), **options)),
        {"dt": 1e-3, "n_units": 3, "duration": 0.05, "t0": -0.01, "time_unit": "s"},
        ("dt", "n_units", "duration", "t0", "time_unit"),
    ),
    Function("shd.stream", lambda samples: [parts(b) for b in ns.io.shd.stream(at("a.h5"), samples)], {"samples": 2}),
    Function(
        "tonic.read",
        tonic,
        {"width": 3, "height": 2, "polarities": 2, "dt": 1e-3, "duration": 0.05, "t0": 0.0, "on_error": "raise"},
        ("duration", "t0"),
    ),
    Function(
        "nwb.read",
        lambda **options: parts(ns.io.nwb.read(at("a.nwb"), **options)),
        {"dt": 1e-3, "duration": 0.05, "t0": -0.01},
        ("duration", "t0"),
    ),
    Function(
        "neo.read",
        lambda **o: parts(ns.io.neo.read(BLOCK, **o)),
        {"dt": 1e-3, "duration": 0.06, "t0": -0.01},
        ("duration", "t0"),
    ),
    Function(
        "pynapple.read",
        lambda **o: parts(ns.io.pynapple.read(at("a.npz"), **o)),
        {"dt": 1e-3, "duration": 0.06, "t0": -0.01},
        ("duration", "t0"),
    ),
    Function(
        "brian2.read",
        lambda **options: facts(ns.io.brian2.read(MONITOR, **options)),
        {"dt": 1e-3, "duration": 0.01, "n_units": 4, "samples": 2},
    ),
    Function("brian2.generator", generated, {"sample": 0, "dt": 1e-4}, ("sample", "dt")),
    Function("nir.write", graph, {"units": 2, "dt": 1e-3, "method": "euler"}),
    Function(
        "nir.read",
        lambda **options: ns.io.nir.read(UNNOTED, **options),
        {"dt": 1e-3, "method": "euler", "reset": "zero", "delayed_reset": True},
    ),
    Function("nir.read, noted", lambda dt: ns.io.nir.read(GRAPH, dt=dt), {"dt": 1e-3}, ("dt",)),
    Function(
        "nir.data.read",
        lambda **options: facts(ns.io.nir.data.read(DATA, **options)),
        {"dt": 0.1, "t0": 0.0, "on_collision": "sum"},
    ),
    Function("nir.data.write", lambda form: type(ns.io.nir.data.write(GRID, form=form)), {"form": "events"}),
    Function("photographs.natural_images", lambda name: ns.io.photographs.natural_images([name]), {"name": "china"}),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_arguments_of_the_table_are_valid(function):
    function.call(**function.varied)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
@settings(max_examples=50)
@given(data=st.data())
def test_the_result_is_that_of_the_plain_argument(function, data):
    check(function, data)
