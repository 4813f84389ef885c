"""Operators, types and transforms of events: element by element, by the reference, or refused in one sentence."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import neurosparse as ns
from neurosparse.events import dense_of
from neurosparse.meter.operation_counts import CountGrid

DENSE = (torch.arange(24).view(3, 2, 4) % 3 == 0).float()


def events(held: bool = True) -> ns.EventTensor:
    made = ns.EventTensor.from_dense(DENSE, dt=1e-3, spikes=True)
    return made if held else ns.EventTensor.from_aer(*made.aer()[:3], shape=made.shape, dt=1e-3)


ELEMENTWISE = {
    "==": lambda e: e == 1,
    "!=": lambda e: e != 1,
    "<": lambda e: e < 0.5,
    ">=": lambda e: e >= 1,
    "power": lambda e: 2**e,
    "remainder": lambda e: (e + 3) % 2,
    "absolute": lambda e: abs(e * -2),
    "reciprocal": lambda e: 1 / (e + 1),
    "array": lambda e: np.arange(4.0, dtype=np.float32) * e,
    "number": lambda e: np.float32(2) * e,
    "product": lambda e: e @ torch.eye(4),
}


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_operators_act_on_each_element(name, held):
    found = ELEMENTWISE[name](events(held))
    dense = DENSE.numpy() if name == "array" else DENSE
    assert found.timing.dt == 1e-3
    np.testing.assert_array_equal(dense_of(found).numpy(), np.asarray(ELEMENTWISE[name](dense)))


FALLBACKS = [np.asarray, bool, float, int, list, reversed, lambda e: 1 in e, lambda e: [0, 1][e], sum, max]


@pytest.mark.parametrize(
    "use", FALLBACKS, ids=["array", "bool", "float", "int", "list", "reversed", "in", "index", "sum", "max"]
)
def test_what_python_would_make_of_events_is_refused(use):
    with pytest.raises(ns.InputError, match=r"\.dense\(\)"):
        use(events())


def test_methods_of_tensors_name_dense():
    with pytest.raises(AttributeError, match=r"events\.dense\(\)\.float"):
        events().float()
    with pytest.raises(TypeError):
        events() + "text"
    assert (events() == None) is False  # noqa: E711


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("graded", [True, False])
def test_a_type_converts_values_and_keeps_addresses(dtype, graded):
    unit = torch.tensor([2996, 2998, 2999])
    value = torch.tensor([0.5, 1e-30, 2.0]) if graded else None
    given = ns.EventTensor.from_aer(torch.tensor([0, 1, 1]), torch.zeros(3).long(), unit, value, shape=(2, 1, 3000))
    found = given.to(dtype)
    expected = given.dense().to(dtype)
    assert found.dtype == dtype and torch.equal(found.dense(), expected)
    assert found.aer().unit.tolist() == expected.flatten(1).nonzero()[:, 1].tolist()  # a value of 0 is silence
    assert torch.equal(given.to("cpu", dtype).dense(), expected)
    with pytest.raises(ns.InputError, match="floating-point"):
        given.to(torch.int64)


def test_spike_trains_one_for_each_unit():
    trains = [np.array([0.0021, 0.004]), [], [0.0003]]
    by_unit = ns.EventTensor.from_times(trains, dt=1e-3)
    flat = ns.EventTensor.from_times([0.0021, 0.004, 0.0003], [0, 0, 2], n_units=3, dt=1e-3)
    assert by_unit.shape == flat.shape and torch.equal(by_unit.times(), flat.times())
    assert torch.equal(by_unit.index, flat.index)
    for call, sentence in (
        (lambda: ns.EventTensor.from_times([0.1], n_units=1, dt=1e-3), "one for each unit"),
        (lambda: ns.EventTensor.from_times(trains, n_units=4, dt=1e-3), "n_units=4 arrays"),
        (lambda: ns.EventTensor.from_times([0.1], [0.0], n_units=1, dt=1e-3), r"Pass units\.long\(\)"),
        (lambda: ns.cat(events()), "Pass a list"),
        (lambda: ns.cat([events()], 1.5), "a whole number"),
        (lambda: ns.fold(3), "torch modules"),
    ):
        with pytest.raises(ns.InputError, match=sentence):
            call()


def small(units: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, units), ns.LIF(beta=0.9), nn.Linear(units, 2), ns.neurons.Readout(0.9))


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(("steps", "samples", "units"), [(0, 2, 3), (3, 0, 3), (0, 0, 3), (3, 2, 0), (0, 0, 0)])
@pytest.mark.parametrize("kind", ["plain", "events", "fused", "fold"])
def test_nothing_in_gives_nothing_out(steps, samples, units, kind):
    net = small(units)
    net = (
        ns.neurons.fuse(*net)
        if kind == "fused"
        else nn.Sequential(ns.fold(net[0]), *net[1:])
        if kind == "fold"
        else net
    )
    x = torch.zeros(steps, samples, 4)
    x = x if kind == "plain" else ns.EventTensor.from_dense(x, dt=1e-3, spikes=True)
    with ns.record(net, samples=1) as tape:
        out = net(x)
    assert out.shape == (steps, samples, 2) and net[1](net[0](x)).counts().shape == (samples, units)
    dense_of(out).sum().backward()
    assert net[2].weight.grad is None or not net[2].weight.grad.any()
    assert ns.count(tape).samples == samples


def loss_of(net: nn.Module):
    return lambda x: dense_of(net(x)).square().sum()


NEURONS = {
    "atan": lambda: ns.LIF(beta=0.9),
    "boxcar": lambda: ns.LIF(beta=0.9, surrogate=ns.boxcar()),
    "current-based": lambda: ns.LIF(beta=0.9, dynamics=ns.neurons.current_based(0.8)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch itself, in its decompositions
@pytest.mark.parametrize("name", NEURONS)
def test_transforms_of_torch_run_by_the_reference(name):
    """The oracle is backward of the kernels themselves."""
    net = small().double()
    net[1] = NEURONS[name]().double()
    f, x = loss_of(net), torch.rand(5, 2, 4, dtype=torch.float64) * 3
    leaf = x.clone().requires_grad_()
    f(leaf).backward()
    torch.testing.assert_close(torch.func.grad(f)(x), leaf.grad)
    tangent = torch.rand_like(x)
    value, slope = torch.func.jvp(f, (x,), (tangent,))
    torch.testing.assert_close((value, slope), (f(x), (leaf.grad * tangent).sum()))
    torch.testing.assert_close(torch.vmap(f)(torch.stack([x, x / 2])), torch.stack([f(x), f(x / 2)]))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(f(dual)).tangent, slope)
    (again,) = torch.autograd.grad(f(leaf), leaf, create_graph=True)
    with pytest.raises(ns.InputError, match="reference=True"):
        again.sum().backward()


def test_tensors_without_values_have_shapes():
    assert repr(small().to("meta")[:2](torch.rand(5, 2, 4, device="meta"))).startswith("EventTensor((5, 2, 3)")
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert small()(torch.rand(5, 2, 4)).shape == (5, 2, 2)


@pytest.mark.parametrize("surrogate", [ns.atan(), ns.boxcar()])
def test_the_gradient_of_spikes_can_be_read(surrogate):
    spikes = ns.LIF(beta=0.9, surrogate=surrogate)((torch.rand(5, 2, 4) * 2).requires_grad_())
    dense, layer = spikes.dense(), nn.Linear(4, 3)
    dense.retain_grad()
    dense_of(layer(spikes)).sum().backward()
    torch.testing.assert_close(dense.grad, layer.weight.sum(0).expand(5, 2, 4))


@pytest.mark.parametrize("name", ["relu_", "mul_", "add_", "clamp_", "sigmoid_", "neg_", "square_"])
def test_functions_in_place_keep_time(name):
    """They change the very tensor, as ``nn.ReLU(inplace=True)`` does between a linear layer and its neurons."""
    x = ns.events.with_timing(torch.ones(3, 2, 4), ns.events.Timing(dt=1e-3, lengths=torch.tensor([1, 3])))
    values = {"mul_": (2.0,), "add_": (1.0,), "clamp_": (0.0, 0.5)}.get(name, ())
    expected = getattr(x.dense().clone(), name)(*values)
    assert getattr(x, name)(*values) is x and torch.equal(x.dense(), expected)
    assert x.timing.dt == 1e-3 and x.timing.lengths.tolist() == [1, 3]


def test_a_cell_of_counts_that_occurs_twice_is_added():
    grid = CountGrid()
    for _ in range(2):
        grid.add("dense_ops", torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), torch.tensor([4, 5, 6]))
    assert grid.columns["dense_ops"].tolist() == [[0, 18], [12, 0]]
