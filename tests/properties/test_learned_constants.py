"""Constants of neurons that are Parameters learn, and stay in range where they are used."""

import pytest
import torch
from drawn_layers import DRAWS, Draw, Sigmoid
from torch import nn

import neurosparse as ns
from neurosparse.neurons import LIF, Readout, adaptive, current_based

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
