"""Constants of neurons belong to the module: saved and loaded, in range where used, learned, copied, of any input."""

import copy
import io
import itertools
import json
import math
import pickle
import random
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.baselines.gru import GRU
from neurosparse.neurons import LIF, Readout, adaptive, current_based

SURROGATES = {"atan": ns.atan, "fast_sigmoid": ns.fast_sigmoid, "triangle": ns.triangle, "boxcar": ns.boxcar}
FORMS = ("number", "units", "parameter", "parameters")
DRAWS = 25


class Sigmoid(nn.Module):
    """A spike function of another library, with a Parameter that its own backward trains."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, distance):
        soft = torch.sigmoid(self.slope * distance)
        return soft + ((distance > 0).to(soft.dtype) - soft).detach()


class Draw:
    """A random layer: how each constant is given, and everything else that makes it another kind of neuron."""

    def __init__(self, seed, smooth=False):
        self.random = random.Random(seed)
        choose = self.random.choice
        self.units, self.dtype = (
            choose([(3,), (2, 2)]),
            torch.float64 if smooth else choose([torch.float32, torch.float64]),
        )
        self.decay, self.dynamics = (
            choose(["beta", "tau"]),
            choose([None, "current_based", *([] if smooth else ["adaptive"])]),
        )
        self.surrogate = choose([*SURROGATES, "foreign"])
        self.reset = "none" if smooth else choose(["subtract", "zero", "none"])
        self.delayed = not smooth and choose([False, True])
        self.refractory = 0 if self.delayed or smooth else choose([0, 0, 2])
        self.recurrent = not smooth and choose([False, False, True])
        names = [self.decay, "threshold", "alpha", "decay", "strength", "size"]
        self.forms = {name: choose(FORMS) for name in names}

    def value(self, name, low, high, draw, forms):
        size = self.units if forms[name].endswith("s") else ()
        value = torch.empty(size, dtype=self.dtype).uniform_(low, high, generator=draw)
        return nn.Parameter(value) if forms[name].startswith("parameter") else value if size else value.item()

    def layer(self, seed=0, forms=None):
        """A layer of this kind with constants drawn anew."""
        draw, forms = torch.Generator().manual_seed(seed), self.forms if forms is None else forms
        value = lambda name, low, high: self.value(name, low, high, draw, forms)  # noqa: E731
        membrane = {"beta": value("beta", 0.3, 0.95)} if self.decay == "beta" else {"tau": value("tau", 2e-3, 2e-2)}
        dynamics = {
            None: lambda: None,
            "current_based": lambda: current_based(value("alpha", 0.1, 0.8)),
            "adaptive": lambda: adaptive(value("decay", 0.2, 0.9), value("strength", 0.1, 0.6)),
        }[self.dynamics]()
        foreign = self.surrogate == "foreign"
        surrogate = Sigmoid(4.0 + seed) if foreign else SURROGATES[self.surrogate](value("size", 0.7, 3.0))
        count = self.units[-1]
        return LIF(
            **membrane,
            dt=1e-3,
            threshold=value("threshold", 0.4, 1.2),
            reset=self.reset,
            surrogate=surrogate,
            recurrent=nn.Linear(count, count, bias=False) if self.recurrent else None,
            dynamics=dynamics,
            delayed_reset=self.delayed,
            refractory=self.refractory,
        ).to(self.dtype)

    def current(self, steps=8, seed=3):
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(steps, 2, *self.units, dtype=self.dtype, generator=generator) * 1.5


def outcome(layer, x):
    """Spikes, and the gradient of the input."""
    x = x.clone().requires_grad_()
    spikes = layer(x).dense()
    (spikes * torch.linspace(0.5, 1.5, spikes.numel(), dtype=x.dtype).view(spikes.shape)).sum().backward()
    return spikes.detach(), x.grad


def assert_alike(layer, other, x):
    for ours, theirs in zip(outcome(layer, x), outcome(other, x), strict=True):
        assert torch.equal(ours, theirs)


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


# ---- learned


@pytest.mark.parametrize("seed", range(DRAWS))
def test_every_parameter_has_a_gradient_under_its_own_name(seed):
    draw = Draw(seed)
    layer = draw.layer(1)
    layer(draw.current().requires_grad_()).dense().mul(torch.rand(8, 2, *draw.units, dtype=draw.dtype)).sum().backward()
    for name, p in layer.named_parameters():
        assert p.grad is not None and bool(p.grad.isfinite().all()), name
    wanted = {n for n in (draw.decay, "threshold") if draw.forms[n].startswith("parameter")}
    assert wanted <= dict(layer.named_parameters()).keys()


@pytest.mark.parametrize("seed", range(DRAWS))
def test_gradients_of_constants_are_those_of_the_smooth_step(seed):
    """Without a reset the membrane depends on no spike, so finite differences of the smooth step are the gradients."""
    draw = Draw(seed, smooth=True)
    layer, x = draw.layer(1), (draw.current() * 0.6).requires_grad_()
    weights = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    (layer(x).dense() * weights).sum().backward()
    spike = layer.surrogate
    smooth = spike.smooth if draw.surrogate != "foreign" else lambda d: torch.sigmoid(spike.spike.slope * d)

    @torch.no_grad()
    def smooth_sum():
        return float((smooth(layer.trace(x).membrane - layer.in_use("threshold", x)) * weights).sum())

    for name, p in layer.named_parameters():
        flat, step = p.data.view(-1), 1e-7 if "tau" in name else 1e-6
        for k in range(flat.numel()):
            old, found = flat[k].item(), []
            for sign in (1, -1):
                flat[k] = old + sign * step
                found.append(smooth_sum())
            flat[k] = old
            expected = (found[0] - found[1]) / (2 * step)
            assert p.grad.view(-1)[k].item() == pytest.approx(expected, rel=1e-4, abs=1e-5), name


RANGES = {"beta": (0, 1), "alpha": (0, 1), "decay": (0, 1), "strength": (0, 1)}


def assert_in_range(layer):
    for name, value in layer.constants().items():
        part, _, last = name.rpartition(".")
        low, high = (0, float("inf")) if part == "surrogate" else RANGES.get(last, (0, float("inf")))
        positive = part == "surrogate" or last in ("tau", "threshold")
        assert bool(((value > low) if positive else (value >= low)).all()) and bool((value <= high).all()), name


TRAINED = {
    "beta, threshold, atan": lambda p: LIF(p(0.9), threshold=p(0.3), surrogate=ns.atan(p(2.0))),
    "tau, triangle": lambda p: LIF(tau=p(0.01), dt=1e-3, threshold=p(0.3), surrogate=ns.triangle(p(1.0))),
    "adaptive, boxcar": lambda p: LIF(p(0.9), dynamics=adaptive(p(0.5), p(0.5)), surrogate=ns.boxcar(p(1.0))),
    "current-based, fast sigmoid": lambda p: LIF(
        p(0.9), dynamics=current_based(p(0.5)), surrogate=ns.fast_sigmoid(p(2.0)), threshold=p(1.0)
    ),
}
OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, 0.05, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, 0.02),
    "AdamW": lambda params: torch.optim.AdamW(params, 0.02, weight_decay=0.5),
}


def train(make, optimizer, steps, after):
    """Reward spikes for half of the steps, then punish them; the optimizer is built before or after what moves nets."""
    layer = make(lambda value: nn.Parameter(torch.tensor(value)))
    first = None if after else OPTIMIZERS[optimizer](layer.parameters())
    layer.double().float()
    layer.load_state_dict(layer.state_dict())
    used = first or OPTIMIZERS[optimizer](layer.parameters())
    leaves = {id(p) for p in layer.parameters()}
    assert leaves == {id(p) for group in used.param_groups for p in group["params"]}
    start = {name: value.detach().clone() for name, value in layer.constants().items()}
    x = torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(0))
    seen = []
    for step in range(steps):
        used.zero_grad()
        loss = layer(x).dense().mean() * (-1 if step < steps // 2 else 1)
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())
        used.step()
        assert_in_range(layer)
        seen.append({name: float(value.detach()) for name, value in layer.constants().items()})
    assert leaves == {id(p) for p in layer.parameters()}
    for name, _ in layer.named_parameters():
        assert any(now[name] != float(start[name]) for now in seen), name
    return seen


@pytest.mark.parametrize("after", [False, True], ids=["built before", "built after"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", TRAINED)
def test_trained_constants_stay_in_range(name, optimizer, after):
    train(TRAINED[name], optimizer, 24, after)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimizer"), [*zip(TRAINED, ["AdamW", "Adam", "SGD", "Adam"], strict=True)])
def test_a_thousand_steps_stay_in_range(name, optimizer):
    train(TRAINED[name], optimizer, 1000, after=optimizer == "SGD")


def test_a_constant_at_its_bound_moves_only_inwards():
    for beta, reward, moved in ((1.0, 1, False), (1.0, -1, True), (0.0, 1, True), (0.0, -1, False)):
        layer = LIF(nn.Parameter(torch.tensor(beta)), reset="none")
        layer.trace(torch.full((4, 1, 1), 0.3)).membrane.sum().mul(-reward).backward()
        assert (layer.beta.grad != 0) == moved


def test_small_time_constants_still_learn():
    layer = LIF(tau=nn.Parameter(torch.tensor(1e-5)), dt=1e-3)
    nn.init.constant_(layer.tau, -0.5)
    (-layer.trace(torch.ones(4, 1, 1)).membrane.sum()).backward()
    assert layer.tau.grad < 0 and layer.constants()["tau"] > 0 and layer.constants()["beta"] == 0


def test_frozen_parameters_can_be_thawed():
    beta = nn.Parameter(torch.tensor(0.5), requires_grad=False)
    layer = LIF(beta)
    assert layer.beta is beta
    layer.beta.requires_grad_()
    layer(torch.ones(4, 1, 1)).dense().sum().backward()
    assert beta.grad is not None


def hidden_parameter():
    slope = nn.Parameter(torch.tensor(3.0))
    return lambda x: torch.sigmoid(slope * x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LIF(0.9, surrogate=hidden_parameter()), "spike function with a Parameter"),
        (lambda: LIF(0.9, surrogate=Sigmoid(3.0).forward), "spike function with a Parameter"),
        (lambda: LIF(torch.tensor(0.5, requires_grad=True)), "beta with a gradient"),
        (lambda: LIF(torch.sigmoid(nn.Parameter(torch.zeros(3)))), "beta with a gradient"),
        (lambda: Readout(torch.tensor(0.5, requires_grad=True)), "beta with a gradient"),
        (lambda: LIF(0.9, recurrent=lambda s: s), "recurrent="),
        (lambda: ns.neurons.Surrogate("own", torch.abs, None, {"c": nn.Parameter(torch.ones(()))}), "smooth"),
        (lambda: LIF(nn.Parameter(torch.tensor(1), requires_grad=False)), r"beta of torch\.int64"),
        (lambda: LIF(nn.Parameter(torch.tensor(1.5))), "beta=1.5"),
        (lambda: LIF(tau=nn.Parameter(torch.tensor(0.0))), "tau > 0"),
        (lambda: ns.atan(nn.Parameter(torch.tensor(-1.0))), "alpha"),
    ],
    ids=range(11),
)
def test_what_cannot_learn_is_refused(make, sentence):
    with pytest.raises(ns.InputError, match=sentence):
        make()


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


# ---- transforms of torch


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_gradients_of_constants_in_forward_and_reverse_mode():
    x = torch.rand(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for make in TRAINED.values():
        layer = make(lambda value: nn.Parameter(torch.tensor(value, dtype=torch.float64)))
        values = {name: p.detach() for name, p in layer.named_parameters()}

        def spikes(values, layer=layer):
            return torch.func.functional_call(layer, values, (x,)).dense().sum()

        layer(x).dense().sum().backward()
        reverse = torch.func.grad(spikes)(values)
        _, forward = torch.func.jvp(spikes, (values,), ({name: torch.ones_like(v) for name, v in values.items()},))
        for name, p in layer.named_parameters():
            torch.testing.assert_close(p.grad, reverse[name])
        torch.testing.assert_close(forward, sum(reverse.values()))
