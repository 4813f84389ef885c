"""Networks written as Brian 2 scripts and run by Brian 2: the same spikes of every neuron in every step."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import CASES, linear, spikes
from snntorch import Leaky
from torch import nn

import neurosparse as ns


def in_brian2(path: Path) -> dict:
    return runpy.run_path(str(path))["simulate"]("numpy")


def in_torch(network: nn.Sequential, inputs: ns.EventTensor) -> list:
    """Outputs of the layers of neurons, by hooks on the network in float64."""
    sent: list = []
    for module in network.double().modules():
        if isinstance(module, ns.LIF | ns.neurons.Readout):
            module.register_forward_hook(lambda _module, _input, out: sent.append(out))
    dense = ns.EventTensor.from_dense(
        inputs.dense().double(), dt=inputs.dt, lengths=inputs.lengths, spikes=inputs.binary
    )
    out = network(dense)
    return sent if out is sent[-1] else [*sent, out]


@pytest.mark.parametrize("case", CASES)
def test_the_script_fires_the_same_spikes(case, tmp_path):
    network, inputs = CASES[case]()
    monitors = in_brian2(ns.io.brian2.write(network, tmp_path / "network.py", inputs))
    layers = in_torch(network, inputs)
    assert len(layers) == len(monitors)
    for monitor, ours in zip(monitors.values(), layers, strict=True):
        if isinstance(ours, ns.EventTensor):
            theirs = ns.io.brian2.read(monitor, samples=inputs.shape[1])
            assert theirs.n_events > 100
            assert theirs.shape == (*ours.shape[:2], ours.n_units)
            assert torch.equal(theirs.dense(), ours.dense().flatten(2).float())
        else:
            ours = ns.events.dense_of(ours).detach()
            valid = torch.arange(len(ours))[:, None] < (len(ours) if inputs.lengths is None else inputs.lengths)
            theirs = torch.from_numpy(np.array(monitor.v).T).view(*ours.shape[:2], -1)
            assert ours.abs().max() > 0.1
            torch.testing.assert_close(
                theirs[valid.expand(ours.shape[:2])], ours.flatten(2)[valid.expand(ours.shape[:2])]
            )


def test_a_network_of_snntorch_in_brian2(tmp_path):
    """snnTorch's own neurons, step by step, against the script in Brian 2."""
    torch.set_default_dtype(torch.float64)
    try:
        first, second = linear(20, 30), linear(30, 10)
        one, two = Leaky(beta=0.9), Leaky(beta=0.8, reset_mechanism="zero")
        inputs = spikes(20, samples=1)
        found, a, b = [], one.init_leaky(), two.init_leaky()
        for step in inputs.dense():
            sent, a = one(first(step), a)
            sent, b = two(second(sent.double()), b)
            found.append(sent)
    finally:
        torch.set_default_dtype(torch.float32)
    network = ns.io.snntorch.read([first, one, second, two])
    monitors = in_brian2(ns.io.brian2.write(network, tmp_path / "network.py", inputs))
    events = ns.io.brian2.read(monitors["layer_2"])
    assert events.n_events > 50
    assert torch.equal(events.dense(), torch.stack(found).float())


def test_the_script_runs_alone_and_reports_spikes_that_differ(tmp_path):
    """On the command line; then against the spikes of a network with another threshold."""
    network, inputs = nn.Sequential(linear(20, 30), ns.LIF(beta=0.9)), spikes(20, samples=1)
    path = ns.io.brian2.write(network, tmp_path / "network.py", inputs)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "layer_1" in done.stdout and " 0 differ from PyTorch" in done.stdout
    text = path.read_text("utf-8")
    path.write_text(text.replace('"threshold": 1.0', '"threshold": 1.01'))
    assert text != path.read_text("utf-8")
    assert not runpy.run_path(str(path))["main"]()


def test_a_script_does_not_import_neurosparse(tmp_path):
    network, inputs = CASES["resets"]()
    path = ns.io.brian2.write(network, tmp_path / "network.py", inputs)
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith(("import", "from"))]
    assert lines == ["import sys", "from pathlib import Path", "import brian2 as b2", "import numpy as np"]


COMPILED = """
import runpy, sys
import neurosparse as ns
monitors = runpy.run_path(sys.argv[1])["simulate"](sys.argv[2])
ns.io.brian2.read(monitors["layer_1"], samples=2).save(sys.argv[3])
"""


@pytest.mark.skipif(
    "NEUROSPARSE_COMPILE" not in os.environ or shutil.which("g++") is None,
    reason="compiles for a minute: set NEUROSPARSE_COMPILE=1",
)
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_compiled_targets_fire_the_same_spikes(target, tmp_path):
    """The same spikes of compiled targets, read from their monitors."""
    network, inputs = nn.Sequential(linear(20, 30), ns.LIF(beta=0.9, delayed_reset=True)), spikes(20)
    path = ns.io.brian2.write(network, tmp_path / "network.py", inputs)
    command = [sys.executable, "-c", COMPILED, str(path), target, str(tmp_path / "events")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    theirs, (ours,) = ns.load_events(tmp_path / "events"), in_torch(network, inputs)
    assert theirs.n_events > 100 and theirs.dt == inputs.dt
    assert torch.equal(theirs.dense(), ours.dense().float())


class Unknown(nn.Module):
    def forward(self, x):
        return x


SPIKES = spikes(4, samples=1, steps=3)
REFUSED = [
    ([nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), ns.LIF(beta=0.9)], "ReLU"),
    ([nn.Linear(4, 3), ns.KWTA(k=2)], "KWTA"),
    ([ns.LIF(beta=0.9), Unknown()], "Unknown"),
    ([nn.Linear(4, 4), ns.neurons.Readout(), nn.Linear(4, 4), ns.LIF(beta=0.9)], "the readout as the last layer"),
    ([nn.Linear(4, 3), ns.LIF(beta=torch.rand(4))], "one per unit"),
    ([ns.fold(nn.Unflatten(1, (1, 4)), nn.BatchNorm1d(1, track_running_stats=False)), ns.LIF(beta=0.9)], "track"),
    ([nn.Linear(4, 3), ns.LIF(beta=0.9, recurrent=nn.Linear(3, 2))], "current for each neuron"),
    ([nn.Linear(5, 3), ns.LIF(beta=0.9)], "the input shape of Linear"),
    ([nn.Linear(4, 3), ns.LIF(tau=0.02, dt=1e-4)], "dt"),
    ([nn.Linear(4, 3), ns.LIF(beta=0.9, dynamics=ns.neurons.Dynamics("own", {}, (), lambda *_: None))], "own"),
]


@pytest.mark.parametrize(("layers", "complaint"), REFUSED, ids=[complaint for _, complaint in REFUSED])
def test_what_a_script_cannot_express_is_refused(layers, complaint, tmp_path):
    with pytest.raises(ns.InputError, match=complaint):
        ns.io.brian2.write(nn.Sequential(*layers), tmp_path / "network.py", SPIKES)
    assert not list(tmp_path.iterdir())


def test_inputs_that_a_script_cannot_use_are_refused(tmp_path):
    network, x = nn.Sequential(nn.Linear(4, 3), ns.LIF(beta=0.9)), torch.ones(3, 1, 4)
    path = tmp_path / "network.py"
    for inputs, complaint in [
        (ns.EventTensor.from_dense(x), "dt=None"),
        (ns.EventTensor.from_times([0.0015], [1], n_units=4, dt=1e-3), "sub-step"),
        (x, "EventTensor"),
    ]:
        with pytest.raises(ns.InputError, match=complaint):
            ns.io.brian2.write(network, path, inputs)
    with pytest.raises(ns.InputError, match="nn.Sequential"):
        ns.io.brian2.write(nn.Linear(4, 3), path, SPIKES)
    with pytest.raises(ns.InputError, match="a name that ends in .py"):
        ns.io.brian2.write(network, tmp_path / "network", SPIKES)
    assert not list(tmp_path.iterdir())
