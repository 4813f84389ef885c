"""Exported scripts: both files or none, names of any characters, and the numbers that a PyNN script passes on."""

import runpy
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns

sim = ns.simulate
MS, MV = 1e-3, 1e-3
LINEAR = nn.Sequential(nn.Linear(4, 3), ns.LIF(beta=0.9))
STEADY = ns.EventTensor.from_dense(torch.ones(5, 1, 4, dtype=torch.bool), dt=1e-3)
NAMES = [
    'a"b',
    "it's",
    'three"""quotes',
    "'''",
    "back\\slash",
    "{x}",
    "%s",
    "new\nline",
    "ünï",
    " ",
    "\\",
    "a.b",
    "\\N{",
    "#",
]


def network(name: str = "cells", **options) -> ns.Network:
    net = ns.Network(**{"dt": 1e-4, **options})
    cells = net.population(name, 3, sim.lif(refractory=0.52 * MS, bias=[16 * MV, 17 * MV, 0]))
    net.connect(cells, cells, sim.one_to_one(), weight=2 * MV, delay=[0.24 * MS, 0.25 * MS, 0.26 * MS])
    film = ns.EventTensor.from_dense(torch.eye(3, dtype=torch.bool)[:, None], dt=1e-4, t0=0.01)
    net.connect(net.input(f"film {name}", film), cells, sim.all_to_all(), weight=MV, delay=0.3 * MS)
    net.drive(cells, sim.poisson(20.0, sources=5), weight=0.5 * MV)
    net.population(f"noise {name}", 2, sim.poisson([3.0, 4.0], sources=2))
    return net


EXPORTS = {
    "to_pynn": lambda path: sim.to_pynn(network(), path, 0.1),
    "io.brian2.write": lambda path: ns.io.brian2.write(LINEAR, path, STEADY),
}


def _cell(kind: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return kind, options


def executed(script, monkeypatch) -> dict[str, Any]:
    """What a script of PyNN passes to its simulator, by the name of the call; labels in the order of populations."""
    calls: dict[str, Any] = {"labels": [], "setup": {}, "initial": []}

    def population(size, cell, label):
        calls["labels"].append((label, size, cell))
        silent = SimpleNamespace(segments=[SimpleNamespace(spiketrains=[])])
        return SimpleNamespace(
            initialize=lambda v: calls["initial"].append(v), record=lambda _: None, get_data=lambda _: silent
        )

    def setup(**options):
        calls["setup"] = options
        return 0

    kinds = ("IF_curr_exp", "IF_cond_exp", "SpikeSourceArray", "SpikeSourcePoisson", "StaticSynapse")
    cells = {kind: partial(_cell, kind) for kind in kinds}
    simulator = SimpleNamespace(
        **cells,
        setup=setup,
        Population=population,
        FromListConnector=lambda rows, column_names: rows,
        OneToOneConnector=lambda: "one to one",
        Projection=lambda *a, **o: calls.setdefault("projections", []).append((a, o)),
        run=lambda duration: calls.update(run=duration),
        end=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "pyNN.double", simulator)
    monkeypatch.setitem(sys.modules, "pyNN", SimpleNamespace(double=simulator))
    monkeypatch.setattr(sys, "argv", [str(script), "double"])
    runpy.run_path(str(script), run_name="__main__")
    return calls


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
@pytest.mark.parametrize("name", NAMES, ids=[f"name {k}" for k in range(len(NAMES))])
def test_names_of_any_characters_make_a_script_that_compiles(tmp_path, export, name):
    path = tmp_path / f"{name}.py"
    assert export(path) == path
    compile(path.read_text("utf-8"), "script", "exec")
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{name}.npz", f"{name}.py"]


@settings(max_examples=20)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), file=st.sampled_from(NAMES))
def test_populations_of_any_name_run(tmp_path_factory, name, file):
    folder = tmp_path_factory.mktemp("script")
    with pytest.MonkeyPatch.context() as patch:
        calls = executed(sim.to_pynn(network(name), folder / f"{file}.py", 0.1), patch)
    labels = [label for label, _, _ in calls["labels"] if not label.startswith("drive")]
    assert labels == [name, f"film {name}", f"noise {name}"]


def test_the_numbers_of_a_pynn_script(tmp_path, monkeypatch):
    """In NEST a membrane is held for one step more, so that t_ref is one step shorter than the interval of 5 steps."""
    net = network()
    calls = executed(sim.to_pynn(net, tmp_path / "net.py", 0.02), monkeypatch)
    assert calls["setup"] == {"timestep": 0.1, "min_delay": 0.2, "max_delay": 0.3, "spike_precision": "on_grid"}
    assert calls["run"] == 20.0
    by_label = {label: cell for label, _, cell in calls["labels"]}
    kind, cell = by_label["cells"]
    assert kind == "IF_curr_exp" and cell.pop("i_offset").tolist() == pytest.approx([16, 17, 0])
    assert cell == {"v_rest": -65.0, "v_thresh": -50.0, "v_reset": -65.0, "tau_m": 20.0, "cm": 20.0, "tau_refrac": 0.4,
                    "tau_syn_E": 5.0, "tau_syn_I": 10.0}  # fmt: skip
    assert calls["initial"][0].tolist() == pytest.approx([-65, -65, -65])
    trains = by_label["film cells"][1]["spike_times"]
    assert [np.ceil(np.round(train / 0.1, 4)).tolist() for train in trains] == [[101], [102], [103]]  # end of the step
    assert by_label["noise cells"][1]["rate"].tolist() == [6, 8]
    assert by_label["drive 0"][1]["rate"] == 100
    (_, _, rows, _), options = calls["projections"][0]
    assert options["receptor_type"] == "excitatory"
    np.testing.assert_allclose(rows, [[0, 0, 2, 0.2], [1, 1, 2, 0.3], [2, 2, 2, 0.3]], rtol=1e-9)


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_a_full_disk_leaves_both_old_files(tmp_path, full_disk, export):
    path = tmp_path / "net.py"
    for old in ({}, {"net.py": b"old script", "net.npz": b"old arrays"}):
        for name, content in old.items():
            (tmp_path / name).write_bytes(content)
        with full_disk, pytest.raises(ns.InputError, match="File too large") as refusal:
            export(path)
        assert "\n" not in str(refusal.value)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
@pytest.mark.parametrize("suffix", [".py", ".npz"])
def test_where_one_file_cannot_be_written_none_is(tmp_path, export, suffix):
    (tmp_path / f"net{suffix}").mkdir()
    with pytest.raises(ns.InputError, match="a folder"):
        export(tmp_path / "net.py")
    assert [file.name for file in tmp_path.iterdir()] == [f"net{suffix}"]


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
@pytest.mark.parametrize("name", ["net.npz", "net", "net.PY", ".py", "net.txt"])
def test_other_suffixes_are_refused(tmp_path, export, name):
    with pytest.raises(ns.InputError, match="For example network.py"):
        export(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
def test_a_script_that_its_own_arrays_would_overwrite_is_refused(tmp_path, export):
    (tmp_path / "net.py").symlink_to(tmp_path / "net.npz")
    with pytest.raises(ns.InputError, match="For example network.py"):
        export(tmp_path / "net.py")


def test_a_script_whose_result_would_overwrite_its_arrays_is_refused(tmp_path):
    with pytest.raises(ns.InputError, match="the result of the script"):
        sim.to_pynn(network(), tmp_path / "spikes.py", 0.1)
