"""Drawn snnTorch networks, nested and residual: the same spikes and gradients in every step, or a refusal."""

import pickle
import warnings
from collections import Counter

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import neurosparse as ns
from neurosparse.io import snntorch as bridge

snntorch = pytest.importorskip("snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")
utils = pytest.importorskip("snntorch.utils")

UNITS = 4
seen = Counter()


class Residual(nn.Module):
    """Adds the input to what its body returns."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + x


class Gated(nn.Module):
    """Two paths, the second called after a change of shape."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x.view(x.size(0), -1))], 1)[:, ::2]


class Twice(nn.Module):
    """Calls its body twice in a step, so that the state of a neuron is shared."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(self.body(x))


class OwnLoop(nn.Module):
    """Steps of its own: to be called with a whole sequence."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        utils.reset(self.body)
        return torch.stack([self.body(step) for step in x])


def drawn_neurons(draw):
    kind = draw(st.sampled_from(["Leaky", "Synaptic", "RLeaky", "RSynaptic", "Alpha", "Lapicque", "SLSTM"]))
    common = {"init_hidden": True, "threshold": draw(st.sampled_from([0.5, 1.0, 2]))}
    common["learn_threshold"] = draw(st.booleans())
    common["threshold"] = float(common["threshold"]) if common["learn_threshold"] else common["threshold"]
    common["reset_mechanism"] = draw(st.sampled_from(["subtract", "zero", "none"]))
    common["inhibition"] = kind != "SLSTM" and draw(st.integers(0, 5)) == 0
    common["spike_grad"] = draw(st.sampled_from([None, surrogate.fast_sigmoid(5), surrogate.sigmoid(3)]))
    common["surrogate_disable"] = draw(st.integers(0, 7)) == 0
    if kind == "SLSTM":
        return snntorch.SLSTM(UNITS, UNITS, **common)
    beta = draw(st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0, 1.5, torch.linspace(0, 1, UNITS)]))
    if kind == "Alpha":
        return snntorch.Alpha(0.8, 0.5, **common)
    if kind == "Lapicque":
        return snntorch.Lapicque(beta=draw(st.sampled_from([0.5, 0.9])), **common)
    common["learn_beta"] = draw(st.booleans())
    common["reset_delay"] = draw(st.integers(0, 9)) > 0
    arguments = [draw(st.sampled_from([0.0, 0.5, 0.8]))] if "Synaptic" in kind else []
    if kind.startswith("R"):
        common |= draw(st.sampled_from([{"linear_features": UNITS}, {"all_to_all": False, "V": 0.25}]))
    return getattr(snntorch, kind)(*arguments, beta, **common)


def drawn_block(draw, depth):
    kind = draw(st.sampled_from(["plain", "norm"] if depth == 0 else ["plain", "nested", "residual", "gated", "norm"]))
    kind = draw(st.sampled_from(["twice", "loop"])) if depth and draw(st.integers(0, 9)) == 0 else kind
    if kind == "plain":
        return nn.Sequential(nn.Linear(UNITS, UNITS), drawn_neurons(draw))
    if kind == "norm":
        norm = nn.BatchNorm1d(UNITS)
        norm.train(draw(st.integers(0, 12)) == 0)
        return nn.Sequential(nn.Linear(UNITS, UNITS, bias=False), norm, drawn_neurons(draw))
    inner = drawn_block(draw, depth - 1)
    if kind == "nested":
        return nn.Sequential(inner, nn.Sequential(nn.Identity(), drawn_block(draw, depth - 1)))
    if kind == "gated":
        return Gated(inner, drawn_block(draw, depth - 1))
    return {"residual": Residual, "twice": Twice, "loop": OwnLoop}[kind](inner)


@st.composite
def networks(draw):
    torch.manual_seed(draw(st.integers(0, 2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of snnTorch about inhibition
        network = nn.Sequential(*(drawn_block(draw, 2) for _ in range(draw(st.integers(1, 2)))))
        if draw(st.booleans()):
            network.append(snntorch.Leaky(0.5, init_hidden=True, output=draw(st.booleans())))
    for name, weight in network.named_parameters():
        if not name.endswith(("beta", "threshold", "alpha")):
            weight.data = (torch.rand_like(weight) * 1.5 - 0.4).mul(64).round().div(64)
    return network


def dense(y):
    return y.dense() if isinstance(y, ns.EventTensor) else y


def steps_of(network, x):
    utils.reset(network)
    outputs = [network(step) for step in x.unbind(0)]
    return torch.stack([out[0] if isinstance(out, tuple) else out for out in outputs])


SPIKES = torch.randint(0, 2, (12, 3, UNITS), generator=torch.Generator().manual_seed(1)).float()


@settings(max_examples=15, phases=[Phase.generate], deadline=None)
@given(networks())
def test_drawn_networks_give_the_same_spikes_or_are_refused(theirs):
    try:
        ours = bridge.read(theirs)
        found = ours(SPIKES)
    except ns.InputError as error:
        assert "io.snntorch" in str(error) and "\n" not in str(error)
        seen["refused"] += 1
        return
    seen["Stepped" if any(isinstance(part, bridge.Stepped) for part in ours.modules()) else "LIF alone"] += 1
    assert torch.equal(dense(ours(SPIKES)), dense(found)), "state is fresh on every call"
    first, state = ns.run(ours, SPIKES[:5])
    second, _ = ns.run(ours, SPIKES[5:], state)
    assert torch.equal(torch.cat([dense(first), dense(second)]), dense(found))
    expected = steps_of(theirs, SPIKES)
    assert torch.equal(dense(found), expected)
    again = bridge.read(theirs)  # after a run, whose states belong to a graph
    assert torch.equal(dense(pickle.loads(pickle.dumps(again))(SPIKES)), expected)
    try:
        written = bridge.write(ours)
    except ns.InputError as error:
        assert "reset_delay" in str(error) or "the time of snnTorch's reset" in str(error)
    else:
        assert torch.equal(steps_of(written, SPIKES), expected)
    if expected.requires_grad and all(has_same_gradients(part) for part in theirs.modules()):
        weights = torch.arange(expected.numel()).view(expected.shape) / expected.numel()
        (expected * weights).sum().backward()
        (dense(found) * weights).sum().backward()
        torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=1e-3, atol=1e-3)
        seen["gradients"] += 1


def has_same_gradients(part):
    """Without the two differences that the docstring of read names."""
    beta = getattr(part, "beta", None)
    learned = isinstance(beta, nn.Parameter) and bool(((beta <= 0) | (beta >= 1)).any())
    return getattr(part, "reset_delay", True) and not learned


def gradients(network):
    """Sums and sums of squares, by the shape of the parameter."""
    found = {}
    for weight in network.parameters():
        if weight.grad is not None:
            sums = torch.stack([weight.grad.double().sum(), weight.grad.double().square().sum()])
            found[tuple(weight.shape)] = found.get(tuple(weight.shape), 0) + sums
    return found


def test_a_nested_network_keeps_no_state_between_calls():
    block = nn.Sequential(nn.Linear(6, 8), snntorch.Leaky(0.9, init_hidden=True))
    ours = bridge.read(nn.Sequential(block, nn.Linear(8, 3)))
    x = torch.rand(10, 2, 6)
    assert torch.equal(ours(x), ours(x)) and isinstance(ours[0][1], ns.LIF)


def test_residual_blocks_are_read_with_our_neurons():
    body = nn.Sequential(nn.Linear(UNITS, UNITS), snntorch.Leaky(0.5, init_hidden=True))
    ours = bridge.read(nn.Sequential(Residual(body), snntorch.Leaky(0.5, init_hidden=True)))
    assert isinstance(ours[0], Residual) and isinstance(ours[0].body[1], ns.LIF) and isinstance(ours[1], ns.LIF)


class PassesItsState(nn.Module):
    def __init__(self):
        super().__init__()
        self.lif = snntorch.Leaky(0.9)

    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for step in x:
            spikes, mem = self.lif(step, mem)
            out.append(spikes)
        return torch.stack(out)


class HoldsAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.layers = nn.Linear(3, 3), [snntorch.Leaky(0.9, init_hidden=True)]

    def forward(self, x):
        return self.layers[0](self.fc(x))


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.lif, self.calls = snntorch.Leaky(0.9, init_hidden=True), 0

    def forward(self, x):
        self.calls += 1
        return self.lif(x) * self.calls


SHARED = snntorch.Leaky(0.9, init_hidden=True)
REFUSED = {
    "passes its state": (PassesItsState, "Leaky with init_hidden=False, module 'lif'.*Pass its layers in order"),
    "neurons in a list": (HoldsAList, "modules in a list 'layers' of HoldsAList"),
    "another state": (Counts, "a forward that writes to '.calls'"),
    "a shared neuron": (lambda: nn.Sequential(SHARED, nn.Linear(3, 3), SHARED), "Leaky used twice, module '2'"),
    "output inside": (
        lambda: nn.Sequential(snntorch.Leaky(0.9, init_hidden=True, output=True), nn.Linear(3, 3)),
        "Leaky '0' with output=True before another layer",
    ),
    "norm in training": (
        lambda: nn.Sequential(nn.BatchNorm1d(3), snntorch.Leaky(0.9, init_hidden=True)),
        "BatchNorm1d in training, module '0'.*Call network.eval",
    ),
    "negative threshold": (lambda: [snntorch.Leaky(0.9, threshold=-1.0)], "Leaky '0'.*threshold"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_named(kind):
    build, message = REFUSED[kind]
    with pytest.raises(ns.InputError, match=message):
        bridge.read(build())(torch.ones(4, 2, 3))


def test_what_acts_on_several_steps_is_not_written():
    with pytest.raises(ns.InputError, match="LSTM '1'"):
        bridge.write(nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 3)))
    with pytest.raises(ns.InputError, match="Readout '0.1'"):
        bridge.write(nn.Sequential(nn.Sequential(nn.Linear(3, 3), ns.neurons.Readout(0.9))))


def test_shared_weights_stay_shared():
    linear = nn.Linear(3, 3)
    layers = [snntorch.Leaky(0.9, init_hidden=True) for _ in range(2)]
    ours = bridge.read(nn.Sequential(linear, layers[0], linear, layers[1]))
    assert ours[0] is ours[2]


def test_a_spike_function_that_is_no_step_is_used_as_it_is():
    layer = snntorch.Leaky(1.0, init_hidden=True, spike_grad=lambda x: (x >= 0).float())
    ours, x = bridge.read([layer]), torch.full((3, 1, 1), 0.5)
    assert dense(ours(x)).flatten().tolist() == steps_of(layer, x).flatten().tolist() == [0.0, 1.0, 0.0]


def test_ended_samples_keep_their_state():
    layer = snntorch.Lapicque(beta=0.9, init_hidden=True)
    spikes = ns.EventTensor.from_dense(
        torch.tensor([1.0, 1, 0]).view(3, 1, 1).expand(3, 2, 1).clone() * torch.tensor([[1.0], [1.0]]),
        lengths=torch.tensor([2, 3]),
        dt=1e-3,
    )
    events, state = bridge.read([layer])[0].run(spikes)
    assert events.lengths.tolist() == [2, 3] and events.dt == 1e-3
    _, expected = bridge.read([layer])[0].run(spikes.steps(0, 2))
    assert torch.equal(state[""][0][0], expected[""][0][0])


def test_the_cost_of_a_neuron_that_runs_step_by_step():
    layer = snntorch.RSynaptic(0.5, 0.5, linear_features=UNITS, init_hidden=True)
    layer.recurrent.weight.data.fill_(0.25)
    network = bridge.read([layer])
    spikes = ns.EventTensor.from_dense(SPIKES, dt=1e-3, spikes=True)
    with ns.record(network) as tape:
        out = network(spikes)
    rows = {row["kind"]: row for row in ns.count(tape).rows}
    assert rows["neuron"]["state_updates"] == 2 * SPIKES.numel() and rows["neuron"]["spikes_out"] == out.n_events > 0
    assert rows["linear"]["effective_acs"] >= UNITS * out.steps(0, 11).n_events  # and its bias
    assert rows["linear"]["effective_macs"] == 0


def images():
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3).eval())
    recurrent = snntorch.RLeaky(0.5, conv2d_channels=3, kernel_size=3, init_hidden=True)
    lstm = snntorch.SConv2dLSTM(3, 2, 3, init_hidden=True, threshold=0.1)
    layers = [conv, recurrent, nn.Sequential(nn.AvgPool2d(2), lstm), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(*layers, snntorch.Leaky(0.9, init_hidden=True, threshold=0.1))


def test_images_run_through_nested_containers():
    torch.manual_seed(0)
    theirs = images()
    for name, weight in theirs.named_parameters():
        if "lstm" not in name:
            weight.data = weight.data.mul(64).round().div(64)
    theirs[4].bias.data.fill_(0.25)
    x = (torch.rand(8, 2, 2, 4, 4) < 0.5).float()
    ours = bridge.read(theirs)
    assert torch.equal(dense(ours(x)), steps_of(theirs, x)) and dense(ours(x)).sum() > 0
    assert torch.equal(steps_of(bridge.write(ours), x), steps_of(theirs, x))
