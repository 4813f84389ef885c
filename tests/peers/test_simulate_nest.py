"""NEST through the PyNN script: every spike of a recurrent network (`make oracles` ran NEST)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosparse as ns

sim = ns.simulate
ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "networks.json").read_text())
MS, MV = 1e-3, 1e-3


def array(name: str) -> np.ndarray:
    return np.array(ORACLE[name])


@pytest.fixture
def net() -> ns.Network:
    """The network that NEST ran."""
    net = ns.Network(dt=1e-4)
    model = sim.lif(
        *(20 * MS,),
        rest=-49 * MV,
        threshold=-50 * MV,
        reset=-60 * MV,
        refractory=5 * MS,
        tau_inhibitory=8 * MS,
        bias=0.5 * MV,
    )
    cells = net.population("cells", 60, model, initial=array("initial") * MV)
    step, unit = torch.from_numpy(array("input step")), torch.from_numpy(array("input unit"))
    film = ns.EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=(2000, 1, 10), dt=1e-4)
    net.connect(net.input("film", film), cells, sim.all_to_all(), weight=1.5 * MV, delay=0.5 * MS)
    for name, chosen in (("excite", array("weight") > 0), ("inhibit", array("weight") < 0)):
        rule = sim.from_pairs(array("source")[chosen], array("target")[chosen])
        weight, delay = array("weight")[chosen] * MV, array("delay steps")[chosen] * 1e-4
        net.connect(cells, cells, rule, weight=weight, delay=delay, name=name)
    return net


def test_spikes_equal_those_of_nest(net):
    ours = net.run(0.2)["cells"]
    found = set(zip(ours.row.tolist(), ours.index.tolist(), strict=True))
    expected = set(zip(ORACLE["spike step"], ORACLE["spike unit"], strict=True))
    assert len(expected) > 100 and found == expected
    alone = ns.Network(dt=1e-4)
    alone.population("cells", 60, net.instance().populations[0].model, initial=array("initial") * MV)
    assert alone.run(0.2)["cells"].n_events != len(expected)  # the synapses change the spikes


def test_the_script_compiles_and_contains_the_synapses(net, tmp_path):
    net.drive("cells", sim.poisson(5.0, sources=2), weight=0.1 * MV)
    net.connect(net.population("noise", 5, sim.poisson(20.0)), "cells", sim.all_to_all(), weight=0.0, delay=1 * MS)
    net.connect(net.population("soft", 5, sim.conductance_lif()), "soft", sim.all_to_all(), weight=0.5, delay=1 * MS)
    script = sim.to_pynn(net, tmp_path / "net.py", 0.2)
    compile(script.read_text(), script, "exec")
    kept, s = np.load(tmp_path / "net.npz")["synapses 1"], net.synapses("excite")
    assert np.array_equal(kept[:, 0], s.source) and np.array_equal(kept[:, 1], s.target)
    np.testing.assert_allclose(kept[:, 2:], torch.stack([s.weight, s.delay], 1) * 1e3, rtol=1e-9)


def early(net: ns.Network) -> None:
    one = ns.EventTensor.from_dense(torch.ones(1, 1, 3, dtype=torch.bool), dt=1e-4)
    net.connect(net.input("early", one), "cells", sim.all_to_all(), weight=MV, delay=MS)


def plastic(net: ns.Network) -> None:
    rule = sim.stdp(rise=MV, fall=MV, bounds=(0, 2 * MV))
    net.connect("film", "cells", sim.all_to_all(), weight=MV, delay=MS, plasticity=rule, name="plastic")


REFUSED = {
    "jumps": (lambda net: net.population("jumps", 3, sim.delta_lif()), "delta_lif"),
    "plasticity": (plastic, "plasticity"),
    "early input": (early, "Begin the input with empty steps"),
    "wrong sign": (
        lambda net: net.connect(
            "film", "cells", sim.all_to_all(), weight=MV, delay=MS, receptor="inhibitory", name="x"
        ),
        "inhibitory <= 0",
    ),
    "wrong drive": (
        lambda net: net.drive("cells", sim.poisson(1.0), weight=-MV, receptor="excitatory"),
        "excitatory weights >= 0",
    ),
}


@pytest.mark.parametrize("add, says", REFUSED.values(), ids=REFUSED)
def test_networks_that_pynn_cannot_express_are_refused(net, tmp_path, add, says):
    add(net)
    with pytest.raises(ns.InputError, match=says):
        sim.to_pynn(net, tmp_path / "net.py", 0.1)
    assert not (tmp_path / "net.py").exists()
