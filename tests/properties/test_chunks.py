"""Property 11: a network run in chunks of time, or one step at a time, is the network run on the whole sequence.

Networks are drawn from what users write: layers of every kind, nested containers, residual blocks, modules of the user
with and without ``run``, one module used twice. Weights and decays are dyadic and numbers are float64, so that sums are
exact in any order and equality is bitwise.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil

import pytest
import snntorch
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_leaves

import neurosparse as ns
from neurosparse.baselines.gru import GRU
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.neurons import LIF, Readout, adaptive, current_based

DOUBLE, UNITS = torch.float64, 4
PARTS = {"Surrogate", "Dynamics"}


class Residual(nn.Module):
    """A block of the user: no ``run``, state only in the modules inside."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x):
        out = self.body(x)
        dense = out.dense() if isinstance(out, ns.EventTensor) else out
        return dense + (x.dense() if isinstance(x, ns.EventTensor) else x)


class Memory(nn.Module):
    """A module of the user with a state of its own: the sum of all inputs so far."""

    def forward(self, x):
        return self.run(x)[0]

    def run(self, x, state=None):
        dense = ns.events.dense_of(x)
        levels = dense.cumsum(0) if state is None else dense.cumsum(0) + state
        timing, last = getattr(x, "timing", None), levels[-1] if len(levels) else state
        return levels / 64 if timing is None else ns.events.with_timing(levels / 64, timing), last


class Twice(nn.Module):
    """One module called twice in a forward: two states."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(self.inner(x))


def dyadic(module: nn.Module) -> nn.Module:
    """Weights in quarters."""
    for part in module.parameters():
        part.data = torch.randint(-4, 8, part.shape).to(DOUBLE) / 4
    return module


def linear() -> nn.Module:
    return dyadic(nn.Linear(UNITS, UNITS, dtype=DOUBLE))


@st.composite
def neurons(draw: st.DrawFn) -> nn.Module:
    decay = st.sampled_from([0.0, 0.5, 0.75, 1.0])
    beta = draw(decay | st.builds(lambda: torch.tensor([0.0, 0.5, 0.25, 1.0], dtype=DOUBLE)))
    dynamics = draw(
        st.none() | st.builds(current_based, decay) | st.builds(adaptive, decay, st.sampled_from([0.25, 1.0]))
    )
    delayed = draw(st.booleans())
    return LIF(
        beta,
        threshold=draw(st.sampled_from([0.5, 1.0, 1.5])),
        reset=draw(st.sampled_from(["subtract", "zero", "none"])),
        dynamics=dynamics,
        delayed_reset=delayed,
        refractory=0 if delayed else draw(st.sampled_from([0, 0, 2])),
        recurrent=draw(st.none() | st.builds(linear)),
    )


leaves = st.one_of(
    st.builds(linear),
    neurons(),
    neurons(),
    st.builds(Readout, st.sampled_from([0.5, 0.75])),
    st.builds(lambda k: ns.KWTA(k), st.integers(1, 3)),
    st.builds(lambda: ns.fold(linear(), nn.ReLU(), nn.BatchNorm1d(UNITS, affine=False, dtype=DOUBLE, eps=0))),
    st.builds(lambda: Delay(torch.randint(0, 4, (UNITS,)))),
    st.builds(lambda: Scale(torch.tensor([1.0, 0.5, 2.0, 0.0], dtype=DOUBLE))),
    st.builds(Memory),
    st.builds(nn.ReLU),
)
networks = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: nn.Sequential(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: ns.fuse(linear(), LIF(0.5), *parts)),
        inner.map(Residual),
        inner.map(Twice),
    ),
    max_leaves=6,
)


@st.composite
def cases(draw: st.DrawFn):
    """A network, events (ragged or not) or a dense tensor, and the cuts between chunks."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    network = nn.Sequential(linear(), draw(networks), linear(), draw(networks)).eval()
    steps, samples = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    x = (torch.rand(steps, samples, UNITS) < 0.5).to(DOUBLE)
    kind = draw(st.sampled_from(["events", "ragged", "dense"]))
    if kind == "ragged":
        lengths = torch.randint(0, steps + 1, (samples,))
        x = x * (torch.arange(steps)[:, None] < lengths)[..., None]
        x = ns.EventTensor.from_dense(x, dt=1e-3, lengths=lengths, spikes=True)
    elif kind == "events":
        x = ns.EventTensor.from_dense(x, dt=1e-3, spikes=True)
    cuts = sorted(draw(st.sets(st.integers(1, 8)))) if steps > 1 else []
    return network, x, [0, *(c for c in cuts if c < steps), steps]


def part(x, start: int, stop: int):
    return x.steps(start, stop) if isinstance(x, ns.EventTensor) else x[start:stop]


def plain(y) -> torch.Tensor:
    """Values; zero beyond a sample's length, where nothing is data."""
    timing, dense = getattr(y, "timing", None), ns.events.dense_of(y)
    return dense if timing is None else ns.events.checks.silence_padding(dense, timing)


def assume_exact(network: nn.Module, x) -> None:
    """Leave out networks whose numbers grow beyond what float64 adds exactly."""
    largest = [0.0]

    def note(module, inputs, out):
        dense = ns.events.dense_of(out).detach()
        largest.append(float(dense.abs().max()) if dense.numel() else 0.0)

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    network(x)
    for hook in hooks:
        hook.remove()
    assume(max(largest) < 2**20)


def joined(parts: list) -> torch.Tensor:
    return torch.cat([plain(y) for y in parts])


@given(cases())
def test_chunks_are_the_whole(case):
    network, x, cuts = case
    assume_exact(network, x)
    whole, state, outs = network(x), None, []
    for start, stop in itertools.pairwise(cuts):
        y, state = ns.run(network, part(x, start, stop), state)
        outs.append(y)
    assert torch.equal(joined(outs), plain(whole))
    assert not any(leaf.requires_grad for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor))
    if isinstance(whole, ns.EventTensor):
        assert torch.equal(ns.cat(outs, 0).counts(), whole.counts())
        assert ns.cat(outs, 0).dt == whole.dt


@given(cases())
def test_steps_are_the_whole(case):
    network, x, _ = case
    assume_exact(network, x)
    if isinstance(x, ns.EventTensor) and x.lengths is not None:
        step = ns.stream(network)
        outs = [step(x.steps(t, t + 1)) for t in range(len(x))]
    else:
        dense, step = plain(x), ns.stream(network)
        outs = [step(now)[None] for now in dense]
    assert torch.equal(joined(outs), plain(network(x)))


@given(cases(), st.integers(1, 4))
def test_gradients_through_chunks_are_those_of_the_whole(case, chunk):
    network, x, _ = case
    if any(isinstance(module, Memory) for module in network.modules()):
        network = network.double()
    weights, found = list(network.parameters()), []
    for outs in ([network(x)], list(ns.learning.through_time(network, x, chunk))):
        loss = (joined(outs) * torch.arange(1.0, 1.0 + UNITS, dtype=DOUBLE)).sum()
        grads = torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else [None] * len(weights)
        found.append([torch.zeros_like(w) if g is None else g for g, w in zip(grads, weights, strict=True)])
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "module", [nn.BatchNorm1d(4), nn.LSTM(4, 4), nn.MultiheadAttention(4, 1)], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_cannot_be_carried_is_refused(module, depth):
    for _ in range(depth):
        module = nn.Sequential(module, Residual(LIF(0.5)))
    x = torch.zeros(3, 2, 4)
    for start in (lambda: ns.run(module, x), lambda: ns.stream(module), lambda: ns.learning.through_time(module, x, 2)):
        with pytest.raises(ns.InputError, match="expected modules whose output at a step"):
            start()


class Hidden(nn.Module):
    """A module that keeps its state in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(2, 4))

    def forward(self, x):
        self.level = self.level + 1
        return x + self.level


def test_every_layer_of_the_package_has_run():
    """Parts of a neuron and models that turn a recording into scores are no layers."""
    rooms = ("neurons", "coding", "baselines", "io", "events")
    for room in rooms:
        package = importlib.import_module(f"neurosparse.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, kind in vars(module).items():
                layer = isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__ == found.name
                assert (
                    not layer
                    or name == "Constants"
                    or PARTS & {base.__name__ for base in kind.__mro__}
                    or hasattr(kind, "run")
                ), name


def test_normalisation_of_single_rows_is_carried():
    network = nn.Sequential(ns.fold(nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2), nn.Flatten()), LIF(0.5))
    x = torch.rand(4, 2, UNITS)
    first, state = ns.run(network, x[:1])
    assert torch.allclose(joined([first, ns.run(network, x[1:], state)[0]]), plain(network(x)))


def test_hidden_state_is_refused():
    with pytest.raises(ns.InputError, match="the buffer '0.level' written"):
        ns.run(nn.Sequential(Hidden()), torch.ones(3, 2, 4))
    with pytest.raises(ns.InputError, match="the buffer '1.mem' written"):
        ns.stream(nn.Sequential(linear(), snntorch.Leaky(0.9, init_hidden=True)).double())(
            torch.ones(2, 4, dtype=DOUBLE)
        )


class Direct(nn.Module):
    """A module of the user that calls a method of a layer, or a layer that is no child of it."""

    def __init__(self, layer: nn.Module, method: str):
        super().__init__()
        self.layer, self.method = layer, method
        self.hidden = [layer]

    def forward(self, x):
        layer = self.hidden[0]
        return layer(x) if self.method == "call" else getattr(layer, self.method)(x)[0]


@pytest.mark.parametrize("method", ["run", "trace", "call"])
@pytest.mark.parametrize(
    "layer", [LIF(beta=0.5), Readout(0.5), GRU(4), Delay([1] * 12), ns.fuse(nn.Linear(12, 2), LIF(0.5))]
)
def test_a_layer_whose_state_would_be_lost_is_refused(layer, method):
    direct = Direct(layer, method)
    if method == "call":
        del direct.layer
    elif not hasattr(layer, method):
        return
    x = torch.ones(3, 2, 12)
    assert len(direct(x)) == 3
    for run in (lambda: ns.run(direct, x), lambda: ns.stream(direct)(x[0])):
        with pytest.raises(ns.InputError, match="chunk"):
            run()


def test_a_compiled_layer_inside_is_carried():
    x = torch.full((6, 2, 4), 0.375)
    whole = LIF(beta=0.5)(x).dense()
    compiled = nn.Sequential(torch.compile(LIF(beta=0.5), backend="eager"))
    first, state = ns.run(compiled, x[:3])
    assert torch.equal(torch.cat([first, ns.run(compiled, x[3:], state)[0]]), whole)


@pytest.mark.parametrize("state", ["rest", {}, (torch.zeros(2, 4), None)])
def test_a_state_of_another_type_is_refused(state):
    with pytest.raises(ns.InputError, match="LIFState"):
        LIF(beta=0.5).run(torch.ones(3, 2, 4), state)


def test_states_of_another_network_are_refused():
    one, other = nn.Sequential(linear(), LIF(0.5)), nn.Sequential(LIF(0.5), nn.Sequential(LIF(0.5)))
    x = torch.ones(3, 2, UNITS, dtype=DOUBLE)
    with pytest.raises(ns.InputError, match="expected a dict of the states of 1"):
        ns.run(one, x, ns.run(LIF(0.5), x)[1])
    with pytest.raises(ns.InputError, match="states of 1, not of '0'"):
        ns.run(one, x, ns.run(other, x)[1])
    with pytest.raises(ns.InputError, match="a state of shape"):
        ns.run(one, x[:, :1], ns.run(one, x)[1])
    with pytest.raises(ns.InputError, match="because it has no state"):
        ns.KWTA(1).run(x, ns.run(one, x)[1])
    with pytest.raises(ns.InputError, match="a state of type"):
        Readout(0.5).run(x, ns.run(one, x)[1])


class Applied(nn.Module):
    """A module of the user that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda e: e.counts(),
        lambda e: e.rates(),
        lambda e: e.cumulate(),
        lambda e: e.steps(1, 3),
        lambda e: e.bin(2),
        lambda e: ns.neurons.delay_lines(e, [1]),
        lambda e: e * 1.0 - torch.mean(e, 0, keepdim=True),
        lambda e: torch.cumsum(e, 0),
        lambda e: torch.flip(e, (0,)),
        lambda e: torch.relu(e)[1:],
        lambda e: torch.relu(e)[-1],
        lambda e: torch.softmax(e, 0),
        lambda e: torch.zeros(2, UNITS, dtype=DOUBLE),
    ],
    ids=lambda f: "function",
)
@pytest.mark.parametrize("events", [True, False])
def test_functions_over_steps_are_refused_in_a_chunk(function, events):
    x = torch.ones(3, 2, UNITS, dtype=DOUBLE)
    x = ns.EventTensor.from_dense(x, dt=1e-3, spikes=True) if events else x
    with pytest.raises(ns.InputError):
        ns.run(nn.Sequential(linear(), nn.Sequential(LIF(0.5), Applied(function))), x)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@given(data=st.data())
def test_a_streamed_step_rounds_as_the_whole_does(dtype, data):
    """Decays and thresholds of any value, in both types: identical currents give identical spikes and membranes."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    per_unit = data.draw(st.booleans())
    beta, threshold = (torch.rand(UNITS).to(dtype) + 0.01, torch.rand(UNITS).to(dtype) + 0.3)
    lif = LIF(
        beta.clamp(max=1) if per_unit else beta[0].item() % 1,
        threshold=threshold if per_unit else threshold[0].item(),
        reset=data.draw(st.sampled_from(["subtract", "zero", "none"])),
        delayed_reset=data.draw(st.booleans()),
    )
    current = torch.randn(20, 2, UNITS, dtype=dtype)
    whole, last = lif.run(current)
    step = ns.stream(lif)
    assert torch.equal(torch.stack([step(now) for now in current]), whole.dense())
    assert torch.equal(step.state.membrane, last.membrane)


def test_a_run_of_the_user_passes_the_graph_on_or_is_refused():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = LIF(0.5)

        def run(self, x, state=None):
            return self.lif.run(x, state)

    x = torch.ones(3, 2, UNITS, dtype=DOUBLE)
    network = nn.Sequential(linear(), Block())
    with pytest.raises(ns.InputError, match="Give it run\\(x, state, \\*, detach=True\\)"):
        list(ns.learning.through_time(network, x, 2))
    outs = list(ns.learning.through_time(network, x, 2, truncate=True))
    assert torch.equal(joined(outs), plain(ns.run(network, x)[0]))
