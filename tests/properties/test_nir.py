"""Networks have the same spikes after a round trip through a NIR graph or file, bit by bit in float64."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.io.nir import Delay, Scale

DT = 1e-3
STEPS, SAMPLES = 12, 2


@st.composite
def constants(draw, units, low=0.01, high=0.99):
    """A number, or a tensor or parameter of one or one per unit."""
    if draw(st.booleans()):
        return draw(st.floats(low, high))
    values = draw(st.lists(st.floats(low, high), min_size=units, max_size=units))
    tensor = torch.tensor(values if draw(st.booleans()) else values[:1], dtype=torch.float64)
    return nn.Parameter(tensor) if draw(st.booleans()) else tensor


def linear(draw, n, m, bias):
    torch.manual_seed(draw(st.integers(0, 2**31)))
    module = nn.Linear(n, m, bias=bias, dtype=torch.float64)
    module.weight.data *= 4
    return module


@st.composite
def neurons(draw, units, method):
    options = {"threshold": draw(constants(units)), "delayed_reset": draw(st.booleans())}
    options["reset"] = draw(st.sampled_from(["subtract", "zero", "none"]))
    decay = draw(st.sampled_from(["beta", "tau", "one", "nothing"]))
    if decay == "beta" or (decay == "nothing" and (method == "exponential" and options["delayed_reset"])):
        options["beta"] = draw(constants(units))
    elif decay == "tau":
        options |= {"tau": draw(st.floats(1e-3, 1e-1)), "dt": DT}
    else:
        options["beta"] = float(decay == "one")
    if decay in ("beta", "tau") and draw(st.booleans()):
        options["dynamics"] = ns.neurons.current_based(draw(constants(units)))
    if options["reset"] != "none":
        bias, scale = draw(st.booleans()), Scale(torch.linspace(-1, 1, units, dtype=torch.float64))
        options["recurrent"] = draw(st.sampled_from([None, linear(draw, units, units, bias), scale]))
    return ns.LIF(**options)


@st.composite
def networks(draw, method):
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=3))
    layers = []
    for n, m in itertools.pairwise(sizes):
        layers += [linear(draw, n, m, draw(st.booleans())), draw(neurons(m, method))]
        if draw(st.booleans()):
            layers.append(Delay(torch.tensor(draw(st.lists(st.integers(0, 15), min_size=m, max_size=m)))))
    last = draw(st.sampled_from([[], [Scale(torch.ones(sizes[-1]))], [ns.neurons.Readout(draw(st.floats(0.01, 1)))]]))
    return nn.Sequential(*layers, *last)


def same(a, b):
    a, b = (part.dense() if isinstance(part, ns.EventTensor) else part for part in (a, b))
    return torch.equal(a, b)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_same_output_after_write_and_read(data):
    method = data.draw(st.sampled_from(["exponential", "euler"]))
    network = data.draw(networks(method))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    x = torch.rand(STEPS, SAMPLES, network[0].in_features, dtype=torch.float64)
    options = {"dt": DT, "method": method, "unit_r": data.draw(st.booleans())}
    if data.draw(st.booleans()):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.nir"
            ns.io.nir.write(network, path, **options)
            assert [entry.name for entry in Path(folder).iterdir()] == ["network.nir"]
            back = ns.io.nir.read(path)
    else:
        back = ns.io.nir.read(ns.io.nir.write(network, **options))
    with torch.no_grad():
        assert same(network(x), back(x))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_graph_is_the_same_after_read_and_write(data):
    network = data.draw(networks("euler"))
    graph = ns.io.nir.write(network, dt=DT, method="euler")
    again = ns.io.nir.write(ns.io.nir.read(graph), method="euler", dt=DT)

    def arrays(node):
        return {k: np.asarray(v).tolist() for k, v in vars(node).items() if isinstance(v, np.ndarray)}

    kinds = [[(type(n).__name__, arrays(n)) for n in g.nodes.values()] for g in (graph, again)]
    assert kinds[0] == kinds[1]


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_trained_constants_stay_parameters_with_the_same_gradients(data):
    lif = ns.LIF(beta=nn.Parameter(torch.tensor(0.8, dtype=torch.float64)), threshold=data.draw(constants(3)))
    network = nn.Sequential(linear(data.draw, 4, 3, True), lif)
    back = ns.io.nir.read(ns.io.nir.write(network, dt=DT))
    assert [name for name, _ in back.named_parameters()] == [name for name, _ in network.named_parameters()]
    x = torch.rand(STEPS, SAMPLES, 4, dtype=torch.float64)
    for each in (network, back):
        each(x).dense().square().sum().backward()
    for ours, theirs in zip(network.parameters(), back.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
