"""NIR: every node against its equations, required arguments, and refusals."""

import nir
import numpy as np
import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.errors import InputError, MissingFileError
from neurosparse.io.nir import Delay, Scale

DT, UNITS, STEPS = 1e-3, 3, 40
OPTIONS = {"dt": DT, "method": "euler", "reset": "zero"}
RAMP = torch.linspace(0, 2, STEPS * UNITS, dtype=torch.float64).view(STEPS, 1, UNITS)


def full(value):
    return np.full(UNITS, float(value))


def graph(*nodes):
    return nir.NIRGraph.from_list(nir.Input(np.array([UNITS])), *nodes, nir.Output(np.array([UNITS])))


def reference(node, x, method, reset):
    """One step of each of NIR's equations per step of input, current before voltage, from rest."""

    def step(tau):
        return 1 - np.exp(-DT / tau) if method == "exponential" else DT / tau

    leak = getattr(node, "v_leak", 0.0)
    v, i, out = np.zeros(UNITS) + leak, np.zeros(UNITS), []
    for drive in x[:, 0].numpy():
        if hasattr(node, "tau_syn"):
            i = i + step(node.tau_syn) * (node.w_in * drive - i)
            drive = i
        tau = getattr(node, "tau", getattr(node, "tau_mem", None))
        v = v + (DT * node.r * drive if tau is None else step(tau) * (leak - v + node.r * drive))
        if not hasattr(node, "v_threshold"):
            out.append(v)
            continue
        z = v > node.v_threshold
        out.append(z)
        v = np.where(z, node.v_reset if reset == "zero" else v - (node.v_threshold - node.v_reset), v)
    return torch.tensor(np.array(out), dtype=torch.float64)[:, None]


# Time constants of the three units, and r and w_in other than what makes a step of one.
TAU, R = np.array([5e-3, 8e-3, 20e-3]), np.array([0.7, 1.9, 3.0])
LEAKY = {"tau": TAU, "r": R, "v_leak": full(0)}
CURRENT = {"tau_syn": TAU / 2, "tau_mem": TAU, "r": R, "w_in": R / 2}
NEURONS = {
    "IF": nir.IF(r=R / 8e-3, v_threshold=full(0.7), v_reset=full(0)),
    "LIF": nir.LIF(**LEAKY, v_threshold=full(0.7), v_reset=full(0)),
    "LIF that rests above 0": nir.LIF(**{**LEAKY, "v_leak": full(0.2)}, v_threshold=full(0.7), v_reset=full(0.2)),
    "CubaLIF": nir.CubaLIF(**CURRENT, v_leak=full(0), v_threshold=full(0.3), v_reset=full(0)),
    "CubaLIF that rests below 0": nir.CubaLIF(**CURRENT, v_leak=full(-0.1), v_threshold=full(0.3), v_reset=full(-0.1)),
    "I": nir.I(r=R / 8e-3),
    "LI": nir.LI(**LEAKY),
    "CubaLI": nir.CubaLI(**CURRENT, v_leak=full(0)),
}


@pytest.mark.parametrize("method", ["exponential", "euler"])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("name", NEURONS)
def test_neurons_follow_their_equations(name, reset, method):
    node = NEURONS[name]
    out = ns.io.nir.read(graph(node), dt=DT, method=method, reset=reset)(RAMP)
    expected = reference(node, RAMP, method, reset)
    if isinstance(out, ns.EventTensor):
        assert 0.02 < expected.mean() < 0.98
        assert torch.equal(out.dense(), expected)
    else:
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


IMAGE = torch.randn(4, 2, 2, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
STATELESS = {  # nodes without a state, and the same operation in torch on (rows, *units)
    "Threshold": (nir.Threshold(full(0.7)), RAMP, lambda rows: (rows > 0.7).double()),
    "Scale": (nir.Scale(R), RAMP, lambda rows: rows * torch.tensor(R)),
    "Linear": (nir.Linear(np.arange(6.0).reshape(2, 3)), RAMP, lambda x: x @ torch.arange(6.0).double().view(2, 3).T),
    "Affine": (nir.Affine(np.eye(3) * 2, full(1)), RAMP, lambda rows: 2 * rows + 1),
    "SumPool2d": (
        nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([0, 1])),
        IMAGE,
        lambda rows: 6 * nn.functional.avg_pool2d(rows, (2, 3), (2, 1), (0, 1)),
    ),
    "AvgPool2d": (
        nir.AvgPool2d(np.array([2, 3]), np.array([2, 1]), np.array([0, 1])),
        IMAGE,
        lambda rows: nn.functional.avg_pool2d(rows, (2, 3), (2, 1), (0, 1)),
    ),
    "Flatten": (nir.Flatten({"input": np.array([2, 7, 9])}, 1, 2), IMAGE, lambda rows: rows.reshape(len(rows), 2, 63)),
    "Conv2d": (
        nir.Conv2d((7, 9), np.ones((3, 2, 3, 3)), np.array([2, 1]), np.array([1, 0]), np.array([1, 2]), 1, full(1)),
        IMAGE,
        lambda rows: nn.functional.conv2d(
            rows, torch.ones(3, 2, 3, 3).double(), torch.ones(3).double(), (2, 1), (1, 0), (1, 2)
        ),
    ),
    "Conv1d": (
        nir.Conv1d(9, np.ones((3, 7, 3)), 2, "valid", 1, 1, full(1)),
        IMAGE[:, :, 0],
        lambda rows: nn.functional.conv1d(rows, torch.ones(3, 7, 3).double(), torch.ones(3).double(), 2),
    ),
}


@pytest.mark.parametrize("name", STATELESS)
def test_nodes_without_a_state_equal_torch(name):
    node, x, reference = STATELESS[name]
    given = nir.NIRGraph.from_list(nir.Input(np.array(x.shape[2:])), node, nir.Output(None))
    out = ns.io.nir.read(given)(x)
    out = out.dense() if isinstance(out, ns.EventTensor) else out
    torch.testing.assert_close(out, reference(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


def test_each_unit_has_its_own_delay():
    out = ns.io.nir.read(graph(nir.Delay(np.array([0, 1, 3]) * DT)), dt=DT)(RAMP)
    for unit, delay in enumerate((0, 1, 3)):
        assert torch.equal(out[delay:, :, unit], RAMP[: STEPS - delay, :, unit]) and not out[:delay, :, unit].any()


def test_delayed_events_stay_events_within_their_lengths():
    x = torch.ones(4, 2, 2)
    x[2:, 1] = 0
    late = Delay(torch.tensor([0, 1]))(ns.EventTensor.from_dense(x, 1e-3, lengths=torch.tensor([4, 2]), spikes=True))
    assert late.binary and late.dt == 1e-3 and late.lengths.tolist() == [4, 2]
    assert late.dense()[:, 0].tolist() == [[1, 0], [1, 1], [1, 1], [1, 1]]
    assert late.dense()[:, 1].tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]


def test_recurrent_spikes_arrive_one_step_later_in_subgraphs_too():
    """Unit 0 drives unit 1 by its own spikes: w_rec = [[0, 0], [1, 0]]."""
    lif = nir.LIF(*(np.full(2, v) for v in (1.0, 1000.0, 0.0, 0.5, 0.0)))
    weight = nir.Linear(np.array([[0.0, 0.0], [1.0, 0.0]]))
    loop = [("lif", "w"), ("w", "lif")]
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    flat = nir.NIRGraph({**ends, "lif": lif, "w": weight}, [("input", "lif"), *loop, ("lif", "output")])
    inner = nir.NIRGraph({**ends, "lif": lif, "w": weight}, [("input", "lif"), *loop, ("lif", "output")])
    nested = nir.NIRGraph({**ends, "cell": inner}, [("input", "cell"), ("cell", "output")])
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)[:, None]
    for each in (flat, nested):
        spikes = ns.io.nir.read(each, **OPTIONS)(x).dense()[:, 0]
        assert spikes.tolist() == [[1, 0], [0, 1], [0, 0]]


# ---- written


def written(*layers, **options):
    return ns.io.nir.write(nn.Sequential(*layers), **{"dt": DT, **options})


def test_a_written_node_has_the_time_constant_and_the_gain_of_its_equation():
    node = written(nn.Linear(2, 3), ns.LIF(tau=8e-3, threshold=0.7)).nodes["lif_1"]
    assert type(node) is nir.LIF and node.tau.tolist() == [8e-3] * 3 and node.v_threshold.tolist() == [0.7] * 3
    np.testing.assert_allclose(node.r * (1 - np.exp(-DT / 8e-3)), 1)
    node = written(nn.Linear(2, 3), ns.LIF(beta=0.875), method="euler").nodes["lif_1"]
    np.testing.assert_allclose((node.tau, node.r), ([8 * DT] * 3, [8] * 3))
    node = written(nn.Linear(2, 3), ns.LIF(beta=0.875), method="euler", unit_r=True).nodes["lif_1"]
    np.testing.assert_allclose((node.tau, node.r, node.v_threshold), ([8 * DT] * 3, [1] * 3, [0.125] * 3))


@pytest.mark.parametrize(
    ("layer", "kinds"),
    [
        (ns.neurons.IF(), ["IF"]),
        (ns.LIF(beta=0.9), ["LIF"]),
        (ns.LIF(beta=0.9, dynamics=ns.neurons.current_based(0.8)), ["CubaLIF"]),
        (ns.LIF(beta=0.9, reset="none"), ["LI", "Threshold"]),
        (ns.LIF(beta=0.9, reset="none", dynamics=ns.neurons.current_based(0.8)), ["LI", "LI", "Threshold"]),
        (ns.LIF(beta=0.0), ["Threshold"]),
        (ns.neurons.Readout(0.9), ["LI"]),
        (ns.neurons.Readout(1.0), ["I"]),
        (Scale(torch.ones(3)), ["Scale"]),
        (Delay(torch.ones(3, dtype=torch.int64)), ["Delay"]),
        (nn.Dropout().eval(), []),
    ],
)
def test_the_nodes_of_each_layer(layer, kinds):
    nodes = list(written(nn.Linear(2, 3), layer).nodes.values())
    assert [type(node).__name__ for node in nodes] == ["Input", "Affine", *kinds, "Output"]


def test_what_nir_has_no_field_for_survives(tmp_path):
    first = ns.LIF(beta=torch.tensor([0.5, 0.6, 0.7]), reset="zero", delayed_reset=True)
    network = nn.Sequential(nn.Linear(2, 3), first, nn.Linear(3, 1, bias=False), ns.LIF(tau=0.02))
    ns.io.nir.write(network, tmp_path / "a.nir", dt=DT)
    back = ns.io.nir.read(tmp_path / "a.nir", surrogate=ns.boxcar(2.0))
    assert torch.equal(back[1].beta, first.beta) and back[1].delayed_reset and back[1].reset == "zero"
    assert (back[3].tau, back[3].dt, back[3].reset, back[3].delayed_reset) == (0.02, DT, "subtract", False)
    assert back[3].surrogate.name == ns.boxcar(2.0).name and back[2].bias is None


def test_a_network_for_images_survives_its_file(tmp_path):
    network = nn.Sequential(
        ns.fold(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.AvgPool2d(2)),
        ns.LIF(beta=0.5, threshold=0.1),
        ns.fold(nn.Conv2d(3, 4, 2, padding="valid"), nn.AvgPool2d((2, 1), divisor_override=1), nn.Flatten()),
        nn.Linear(12, 2),
        ns.LIF(beta=0.5, threshold=0.1),
    ).double()
    x = (torch.rand(5, 2, 2, 6, 8, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    ns.io.nir.write(network, tmp_path / "a.nir", dt=DT, input_shape=(2, 6, 8))
    back = ns.io.nir.read(tmp_path / "a.nir")
    with torch.no_grad():
        assert torch.equal(back(x).dense(), network(x).dense())
    assert [type(module) for module in back[2]] == [nn.Conv2d, nn.AvgPool2d, nn.Flatten]
    assert back[0][0].bias is None


def test_a_description_names_the_required_arguments():
    assert ns.io.nir.describe(graph(NEURONS["LIF"]))["needs"] == ["dt", "method", "reset"]
    assert ns.io.nir.describe(graph(NEURONS["LI"]))["needs"] == ["dt", "method"]
    assert ns.io.nir.describe(graph(NEURONS["IF"]))["needs"] == ["dt", "reset"]
    assert ns.io.nir.describe(graph(nir.Delay(full(0))))["needs"] == ["dt"]
    found = ns.io.nir.describe(written(nn.Linear(2, 3), ns.LIF(beta=0.9, reset="zero")))
    assert found["needs"] == [] and found["nodes"][0] == ("affine_0", "Affine", (3,), {})
    assert found["nodes"][1][3]["reset"] == "zero"


# ---- refused

A = nn.Linear(2, 3)
UNWRITABLE = {
    "adaptation": ((A, ns.LIF(beta=0.9, dynamics=ns.neurons.adaptive(0.9, 0.1))), {}, "adaptive"),
    "refractory": ((A, ns.LIF(beta=0.9, refractory=2)), {}, "refractory=2"),
    "never reset, recurrent": ((A, ns.LIF(beta=0.9, reset="none", recurrent=nn.Linear(3, 3))), {}, "reset='none'"),
    "another recurrence": ((A, ns.LIF(beta=0.9, recurrent=nn.Tanh())), {}, "recurrent Tanh"),
    "one of some": ((A, ns.LIF(beta=torch.tensor([0.5, 0.5, 1.0]))), {}, "beta=1"),
    "no memory, delayed": ((A, ns.LIF(beta=0.0, delayed_reset=True)), {}, "euler"),
    "no decay of a current": ((A, ns.LIF(beta=0.5, dynamics=ns.neurons.current_based(1.0))), {}, "alpha=1"),
    "another shape": ((A, ns.LIF(beta=0.9, threshold=torch.ones(4))), {}, "one per unit"),
    "no dt": ((A, ns.LIF(beta=0.9)), {"dt": None}, "Pass dt"),
    "another dt": ((A, ns.LIF(beta=0.9, dt=2e-3)), {}, "0.002"),
    "two dt": ((A, ns.LIF(0.9, dt=1e-3), nn.Linear(3, 3), ns.LIF(0.9, dt=2e-3)), {"dt": None}, "0.001, 0.002"),
    "a bad dt": ((A, ns.LIF(beta=0.9)), {"dt": -1.0}, "dt > 0"),
    "a method": ((A, ns.LIF(beta=0.9)), {"method": "exact"}, "'exponential', 'euler'"),
    "no shape": ((ns.LIF(beta=0.9),), {}, "input_shape"),
    "batch norm": ((ns.fold(nn.BatchNorm2d(3)),), {"input_shape": (3, 4, 4)}, "BatchNorm2d"),
    "groups": ((ns.fold(nn.Conv2d(2, 2, 1, groups=2)),), {"input_shape": (2, 4, 4)}, "groups=2"),
    "an oblong kernel": ((ns.fold(nn.Conv2d(2, 2, (2, 1))),), {"input_shape": (2, 4, 4)}, "square"),
    "reflections": ((ns.fold(nn.Conv1d(2, 2, 3, 1, 1, padding_mode="reflect")),), {"input_shape": (2, 4)}, "reflect"),
    "ceiling": ((ns.fold(nn.AvgPool2d(2, ceil_mode=True)),), {"input_shape": (2, 5, 5)}, "ceil_mode"),
    "padding left out": (
        (ns.fold(nn.AvgPool2d(2, 2, 1, count_include_pad=False)),),
        {"input_shape": (2, 4, 4)},
        "padd",
    ),
    "samples": ((ns.fold(nn.Flatten(0)),), {"input_shape": (2, 4, 4)}, "start_dim=0"),
    "no fold": ((nn.Conv2d(2, 2, 1),), {"input_shape": (2, 4, 4)}, "ns.fold"),
    "images": ((nn.Linear(4, 2),), {"input_shape": (2, 4, 4)}, "nn.Flatten"),
    "dropout": ((A, nn.Dropout(0.5)), {}, "eval"),
    "16 bits": ((nn.Linear(2, 3).bfloat16(),), {}, "bfloat16"),
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_no_node_can_express_is_refused(name, tmp_path):
    layers, options, message = UNWRITABLE[name]
    with pytest.raises(InputError, match=message):
        ns.io.nir.write(nn.Sequential(*layers), tmp_path / "a.nir", **{"dt": DT, **options})
    assert not any(tmp_path.iterdir())


def changed(node, **fields):
    return type(node)(**{k: v for k, v in vars(node).items() if k not in ("input_type", "output_type")} | fields)


TWO = [nir.Input(np.array([UNITS])), nir.Linear(np.eye(3)), nir.Linear(np.eye(3)), nir.Output(np.array([UNITS]))]
NAMES = ["in", "a", "b", "out"]
BRANCHES = [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out")]
UNREADABLE = {
    "no arguments": (graph(NEURONS["LIF"]), {}, "does not state dt, method, reset.*snnTorch"),
    "no reset": (graph(NEURONS["IF"]), {"dt": DT}, "does not state reset;"),
    "a reset": (graph(NEURONS["IF"]), {"dt": DT, "reset": "none"}, "'subtract', 'zero'"),
    "another reset": (written(A, ns.LIF(beta=0.9)), {"reset": "zero"}, "reset='zero'; expected reset='subtract'"),
    "another timing": (written(A, ns.LIF(beta=0.9)), {"delayed_reset": True}, "delayed_reset=False"),
    "another dt": (written(A, ns.LIF(beta=0.9)), {"dt": 2e-3}, "dt=0.001"),
    "another method": (written(A, ns.neurons.Readout(0.9)), {"method": "euler"}, "method='exponential'"),
    "a reset elsewhere": (graph(changed(NEURONS["LIF"], v_reset=full(0.1))), OPTIONS, "v_reset other than its rest"),
    "inhibiting r": (graph(changed(NEURONS["LIF"], r=-R)), OPTIONS, "r or w_in of 0 or less"),
    "a resting integrator": (graph(changed(NEURONS["LI"], v_leak=full(0.1))), OPTIONS, "rests at 0"),
    "a step too long": (graph(NEURONS["LIF"]), {**OPTIONS, "dt": 6e-3}, "tau >= 0.006 s"),
    "no time constant": (graph(changed(NEURONS["LIF"], tau=full(0))), {**OPTIONS, "method": "exponential"}, "tau > 0"),
    "between steps": (graph(nir.Delay(full(1.5e-3))), {"dt": DT}, "whole steps"),
    "branches": (nir.NIRGraph(dict(zip(NAMES, TWO, strict=True)), BRANCHES), {}, "branches at in, out"),
    "a loop of integrators": (
        nir.NIRGraph(
            dict(zip(NAMES, [TWO[0], NEURONS["LI"], TWO[2], TWO[3]], strict=True)),
            [("in", "a"), ("a", "b"), ("b", "a"), ("a", "out")],
        ),
        OPTIONS,
        "loop through 'a'",
    ),
    "two outputs": (
        nir.NIRGraph(
            dict(zip(NAMES, [*TWO[:2], TWO[3], TWO[3]], strict=True)), [("in", "a"), ("a", "b"), ("a", "out")]
        ),
        {},
        "1 inputs and 2 outputs",
    ),
    "no file": ("nowhere.nir", {}, "No such file"),
    "no graph": (7, {}, "got int; expected a path or a nir.NIRGraph"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_graphs_that_cannot_be_read_are_refused(name):
    source, options, message = UNREADABLE[name]
    with pytest.raises(MissingFileError if name == "no file" else InputError, match=message):
        ns.io.nir.read(source, **options)


@pytest.mark.parametrize("field", ["tau", "r", "v_threshold", "v_reset", "v_leak"])
def test_a_node_that_contradicts_its_notes_is_refused(field):
    found = written(A, ns.LIF(beta=0.9))
    setattr(found.nodes["lif_1"], field, getattr(found.nodes["lif_1"], field) + 1e-3)
    with pytest.raises(InputError, match=f"'lif_1' whose {field} contradicts its notes"):
        ns.io.nir.read(found)
    found.nodes["lif_1"].metadata.clear()
    if field not in ("v_reset", "v_leak"):
        assert isinstance(ns.io.nir.read(found, **OPTIONS)[1], ns.LIF)


@pytest.mark.parametrize("note", ["dt", "method", "reset", "beta"])
def test_damaged_notes_are_refused(note):
    for damage in ({}, {note: "\ufffd"}):
        found = written(A, ns.LIF(beta=0.9))
        notes = found.nodes["lif_1"].metadata["neurosparse"]
        del notes[note]
        notes |= damage
        with pytest.raises(InputError):
            ns.io.nir.read(found)


@pytest.mark.parametrize("cut", [0, 7, 100, 3000])
def test_a_damaged_file_is_refused(tmp_path, cut):
    path = tmp_path / "a.nir"
    ns.io.nir.write(nn.Sequential(A, ns.LIF(beta=0.9)), path, dt=DT)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="expected a NIR graph"):
        ns.io.nir.read(path)


@pytest.mark.parametrize("steps", [torch.tensor([-1]), torch.tensor([0.5])])
def test_negative_and_fractional_delays_are_refused(steps):
    with pytest.raises(InputError, match="whole steps"):
        Delay(steps)
