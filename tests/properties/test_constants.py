"""Constants of neurons belong to the module: saved and loaded, exact in every type, copied."""

import copy
import io
import itertools
import json
import math
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from drawn_layers import DRAWS, Draw, assert_alike
from torch import nn

import neurosparse as ns
from neurosparse.baselines.gru import GRU
from neurosparse.neurons import LIF, Readout, adaptive, current_based

# ---- saved and loaded


@pytest.mark.parametrize("seed", range(DRAWS))
def test_loaded_constants_replace_those_of_the_constructor(seed):
    draw = Draw(seed)
    layer, other = draw.layer(1), draw.layer(2)
    state = layer.state_dict()
    assert all(isinstance(part, torch.Tensor) for part in state.values())
    assert not other.load_state_dict(state).missing_keys
    assert_alike(layer, other, draw.current())


@pytest.mark.parametrize("seed", range(DRAWS))
def test_a_learned_constant_loads_into_a_number_and_the_other_way_round(seed):
    draw = Draw(seed)
    swapped = {"number": "parameter", "parameter": "number", "units": "parameters", "parameters": "units"}
    layer, other = draw.layer(1), draw.layer(2, {name: swapped[form] for name, form in draw.forms.items()})
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(draw.current()).dense(), other(draw.current()).dense())


def test_a_learned_value_beyond_its_range_loads_as_what_was_used():
    layer = LIF(beta=nn.Parameter(torch.tensor(0.9)), threshold=nn.Parameter(torch.tensor(0.5)))
    nn.init.constant_(layer.beta, 1.19)
    nn.init.constant_(layer.threshold, -0.33)
    other = LIF(beta=0.2)
    other.load_state_dict(layer.state_dict())
    x = torch.rand(9, 2, 3) - 0.4
    assert torch.equal(layer(x).dense(), other(x).dense())
    assert other.constants()["beta"] == 1 and other.constants()["threshold"] > 0


STRUCTURES = [
    {"beta": 0.9},
    {"beta": 0.9, "reset": "zero"},
    {"beta": 0.9, "delayed_reset": True},
    {"beta": 0.9, "refractory": 2},
    {"tau": 0.01},
    {"beta": torch.full((3,), 0.9)},
    {"beta": torch.full((4,), 0.9)},
    {"beta": 0.9, "threshold": torch.ones(1)},
    {"beta": 0.9, "surrogate": ns.boxcar()},
    {"beta": 0.9, "surrogate": ns.atan(torch.ones(3))},
    {"beta": 0.9, "dynamics": current_based(0.5)},
    {"beta": 0.9, "dynamics": adaptive(0.5, 0.5)},
]


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(range(len(STRUCTURES)), 2)))
def test_another_shape_reset_or_kind_is_refused(a, b):
    state = nn.Sequential(LIF(**STRUCTURES[a])).state_dict()
    other = nn.Sequential(LIF(**STRUCTURES[b]))
    for strict in (True, False):
        with pytest.raises(ns.InputError, match=r"load_state_dict: got 0\..*; expected"):
            other.load_state_dict(state, strict=strict)


def test_a_file_without_constants_loads_with_one_warning():
    net = nn.Sequential(nn.Linear(3, 3), LIF(0.9), nn.Sequential(LIF(0.5, surrogate=ns.boxcar()), Readout(0.8)))
    state = {name: part for name, part in net.state_dict().items() if name.startswith("0.")}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for strict in (True, False):
            assert not net.load_state_dict(state, strict=strict).missing_keys
    assert len(caught) == 2 and "without constants of neurons" in str(caught[0].message)
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.weight"), pytest.warns(UserWarning):
        net.load_state_dict({})
    with pytest.raises(RuntimeError, match=r"Missing key.*beta"), pytest.warns(UserWarning):
        LIF(nn.Parameter(torch.tensor(0.5))).load_state_dict({})  # a Parameter is a weight


def test_the_seconds_per_step_travel_too():
    layer, other = LIF(tau=0.02, dt=1e-3), LIF(tau=0.01, dt=2e-3)
    other.load_state_dict(layer.state_dict())
    assert other.dt == 1e-3
    assert_alike(layer, other, torch.rand(9, 2, 3))


# ---- numbers are exact in every type and on their way


@pytest.mark.parametrize("move", ["float", "half", "double", "bfloat16"])
def test_numbers_stay_what_they_are_in_a_module_of_any_type(move):
    net = nn.Sequential(nn.Linear(3, 3), LIF(0.9, threshold=0.7, surrogate=ns.atan(3.3)), Readout(0.3))
    getattr(net, move)()
    assert net[0].weight.dtype != torch.float32 or move == "float"
    assert (net[1].beta.item(), net[1].threshold.item(), net[2].beta.item()) == (0.9, 0.7, 0.3)
    assert net[1].surrogate.alpha.item() == 3.3
    assert net.to("meta")[1].beta.device.type == "meta"


def test_a_time_constant_decays_as_pythons_exponential():
    for tau in (0.0031, 0.0117, 0.02, 0.123):
        layer, exact = LIF(tau=tau, dt=1e-3), LIF(beta=math.exp(-1e-3 / tau))
        x = torch.rand(30, 2, 3, dtype=torch.float64)
        assert torch.equal(layer.trace(x).membrane, exact.trace(x).membrane)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_and_booleans_cast_no_constant(dtype):
    x = torch.tensor([[[1, 0]], [[1, 1]], [[0, 1]], [[1, 1]]]).to(dtype)
    for make in (
        lambda: LIF(0.9, threshold=0.7),
        lambda: LIF(0.9, threshold=nn.Parameter(torch.tensor(0.7))),
        lambda: LIF(0.9, dynamics=current_based(0.6)),
        lambda: LIF(0.9, dynamics=adaptive(0.6, 0.4)),
        lambda: LIF(torch.tensor([0.9, 0.3], dtype=torch.float64)),
        lambda: LIF(tau=0.01, dt=1e-3),
        lambda: Readout(0.9),
        lambda: Readout(nn.Parameter(torch.tensor(0.9))),
    ):
        layer = make()
        per_unit = isinstance(layer.beta, torch.Tensor) and layer.beta.ndim > 0
        plain = x.to(torch.float64 if per_unit else torch.float32)
        for given in (x, ns.EventTensor.from_dense(x)):
            ours, theirs = layer(given), layer(plain)
            if isinstance(ours, ns.EventTensor):
                ours, theirs = ours.dense(), theirs.dense()
            assert torch.equal(ours, theirs)
    gru = GRU(2)
    drive = (torch.rand(5, 2, 6) < 0.5).to(dtype)
    assert torch.equal(gru(drive), gru(drive.float()))
    assert Readout(0.9)(torch.ones(3, 1, 1, dtype=dtype)).flatten().tolist() == pytest.approx([1, 1.9, 2.71])


# ---- copies


def copies(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    yield torch.load(buffer, weights_only=False)
    yield pickle.loads(pickle.dumps(module))
    yield copy.deepcopy(module)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_copies_spike_alike_and_share_nothing(seed):
    draw = Draw(seed)
    layer = draw.layer(1)
    expected = layer(draw.current()).dense()
    for other in copies(layer):
        assert_alike(layer, other, draw.current())
        for p in (*other.parameters(), *other.buffers()):
            p.data.zero_()
        assert torch.equal(layer(draw.current()).dense(), expected)


def test_layers_share_no_buffer_by_chance():
    beta, spike, synapse = torch.full((3,), 0.5), ns.atan(2.0), current_based(0.5)
    first, second = (LIF(beta, surrogate=spike, dynamics=synapse) for _ in range(2))
    first.load_state_dict(LIF(beta * 1.5, surrogate=ns.atan(4.0), dynamics=current_based(0.9)).state_dict())
    assert second.beta.tolist() == [0.5] * 3 and second.surrogate.alpha == 2 and second.dynamics.alpha == 0.5
    shared = ns.atan(nn.Parameter(torch.tensor(2.0)))
    assert LIF(0.9, surrogate=shared).surrogate.alpha is LIF(0.9, surrogate=shared).surrogate.alpha


SPAWN = """
import torch, neurosparse as ns
from torch import multiprocessing, nn

def work(net, x, queue):
    queue.put(net(x).dense().sum().item())

if __name__ == "__main__":
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), ns.LIF(0.9, dynamics=ns.neurons.adaptive(0.5, 0.2)), ns.LIF(0.5))
    x, context = torch.rand(6, 2, 4), multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(net, x, queue))
    process.start()
    assert queue.get(timeout=100) == net(x).dense().sum().item()
    process.join()
"""


@pytest.mark.slow
def test_a_network_is_handed_to_a_new_process(tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(SPAWN)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_the_structure_is_text_in_the_state():
    state = LIF(0.9, dynamics=adaptive(0.5, 0.5)).state_dict()["_extra_state"]
    assert state.dtype == torch.uint8 and json.loads(bytes(state.tolist()))["dynamics"] == "adaptive"
