"""Quantisation: integers that stand for the weights to half a step, inputs on a grid, spikes left alone."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neurosparse.baselines import LevelReLU, choose, magnitude, quantise, quantise_levels, straight_through
from neurosparse.baselines.grid import weight_levels
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, fold
from neurosparse.meter import count, record
from neurosparse.neurons import constant_current


def conv_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


def spikes(seed: int = 0, units: tuple[int, ...] = (8,)) -> EventTensor:
    x = torch.rand(3, 2, *units, generator=torch.Generator().manual_seed(seed))
    return EventTensor.from_dense((x < 0.3).float(), spikes=True)


@given(bits=st.integers(3, 8), outputs=st.integers(1, 5), inputs=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_weights_are_integers_within_half_a_step(bits, outputs, inputs, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    small = quantise(layer, bits, calibration=torch.randn(2, inputs))
    top = 2 ** (bits - 1) - 1
    assert small.levels.dtype == torch.int8 and int(small.levels.abs().max()) <= top
    step = layer.weight.detach().abs().amax(1, keepdim=True) / top
    assert bool(((small.weight - layer.weight.detach()).abs() <= step / 2 * (1 + 1e-5)).all())
    # the largest weight of every output uses the whole range
    assert torch.equal(small.levels.abs().amax(1), torch.full((outputs,), top, dtype=torch.int8))


def test_ternary_weights_are_the_best_of_their_signs_and_near_the_best_of_all():
    """Given which weights are 0, least squares gives the scale; the best threshold is found by trying them all."""
    weight = torch.randn(6, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels, scale = weight_levels(weight, 2)
    assert levels.unique().tolist() == [-1, 0, 1]
    fitted = (weight * levels).sum(1) / levels.square().sum(1)
    torch.testing.assert_close(scale[:, 0], fitted)
    sizes = weight.abs().sort(1, descending=True).values
    # keeping the k largest at their mean leaves an error of sum w^2 - (their sum)^2 / k
    best = (sizes.square().sum(1, keepdim=True) - sizes.cumsum(1) ** 2 / torch.arange(1, 501)).min(1).values
    assert bool(((weight - levels * scale).square().sum(1) < 1.02 * best).all())


@given(bits=st.integers(2, 8), signed=st.booleans(), seed=st.integers(0, 10**6))
def test_linear_is_the_product_of_the_two_grids(bits, signed, seed):
    """By hand: x on its grid (symmetric, or unsigned where nothing is negative), times the dequantised weights."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layer = nn.Linear(6, 4).double()
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    x = x if signed else x.abs()
    top = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    grid = x.abs().max() / top
    on_grid = (x / grid).round() * grid
    assert bool(((on_grid - x).abs() <= grid / 2 * (1 + 1e-9)).all())
    small = quantise(layer, bits, calibration=x)
    torch.testing.assert_close(small(x), F.linear(on_grid, small.weight, layer.bias.detach()))
    beyond = small(100 * x)
    torch.testing.assert_close(
        beyond, F.linear((100 * x / grid).round().clamp(-top * signed, top) * grid, small.weight, layer.bias.detach())
    )


def test_convolution_keeps_its_geometry_and_eight_bits_are_close():
    model, x = conv_net(), torch.rand(16, 2, 8, 8)
    small = quantise(model, calibration=x)
    assert small[0](x).shape == model[0](x).shape
    assert float((small(x) - model(x)).detach().abs().max()) < 0.02 * float(model(x).detach().abs().max())
    assert not isinstance(model[0].weight, torch.CharTensor) and not small.training and model.training


def test_spikes_stay_one_bit_and_event_driven():
    layer = nn.Linear(8, 4)
    small = quantise(layer, calibration=spikes())
    assert small.input_grid is None
    events = spikes(1)
    torch.testing.assert_close(small(events), F.linear(events.dense(), small.weight, layer.bias.detach()))
    assert small(events).timing is events.timing
    (cost,) = small_cost(small, events)
    assert (cost.kind, cost.weight_bits, cost.input_bits, cost.bias) == ("linear", 8, 1, True)
    assert cost.input is events and cost.weight.dtype == torch.int8
    with pytest.raises(InputError, match="as in the calibration"):
        small(torch.rand(3, 8))


def small_cost(layer: nn.Module, x) -> list:
    """What the layer tells a meter, caught by the function mode a meter is."""
    found = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if hasattr(function, "describe"):
                found.extend(function.describe(result, *args, **(kwargs or {})))
            return result

    with Mode():
        layer(x)
    return found


def test_graded_inputs_say_what_the_grid_costs():
    small = quantise(nn.Linear(8, 4), 4, calibration=torch.rand(5, 8))
    grid, product = small_cost(small, torch.rand(3, 8))
    assert (grid.kind, grid.elementwise, grid.comparisons) == ("elementwise", 48, 48)
    assert (product.weight_bits, product.input_bits) == (4, 4)
    ragged = EventTensor.from_dense(torch.zeros(4, 2, 8), lengths=torch.tensor([1, 3]), axis=None)
    assert small_cost(small, ragged)[0].elementwise == 2 * 4 * 8
    constant = constant_current(torch.rand(2, 8), 5)
    grid, product = small_cost(small, constant)
    assert grid.elementwise == 2 * 2 * 8 and product.input.constant and product.input.timing is constant.timing


def test_a_constant_input_is_charged_once_in_any_precision():
    """Two samples of 8 inputs, 3 outputs: 48 products; rounding to the grid costs twice 16, checks of arguments 0."""

    class Direct(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(constant_current(x, 5))

    x, model = torch.rand(2, 8), Direct()
    for net, scalars in ((model, 0), (quantise(model, calibration=x), 32)):
        with record(net) as tape:
            net(x)
        totals = count(tape).totals
        found = [totals[key] for key in ("dense_ops", "constant_rows", "elementwise", "comparisons")]
        assert found == [48, 8, scalars, scalars]


def test_convolution_on_events_inside_a_fold():
    layer = nn.Conv2d(2, 3, 3, padding=1)
    small = quantise(fold(layer), calibration=spikes(units=(2, 5, 5)))
    events = spikes(1, (2, 5, 5))
    expected = F.conv2d(events.dense().flatten(0, 1), small[0].weight, layer.bias.detach(), padding=1)
    torch.testing.assert_close(small(events).dense().flatten(0, 1), expected)


def test_few_levels_keep_their_bits():
    """T + 1 = 5 levels need 3 bits, and their exact values pass, as no 8-bit grid of [0, 1] would let them."""
    model = nn.Sequential(nn.Linear(8, 6), LevelReLU(4), nn.Linear(6, 3))
    x = torch.randn(10, 8)
    small = quantise(model, calibration=x)
    hidden = small[1](small[0](x))
    torch.testing.assert_close(small(x), F.linear(hidden, small[2].weight, model[2].bias.detach()), rtol=0, atol=0)
    assert [cost.input_bits for cost in small_cost(small, x) if cost.kind == "linear"] == [8, 3]


@given(steps=st.integers(1, 40), x=st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=30))
def test_levels_are_the_nearest_of_t_plus_one(steps, x):
    y = quantise_levels(torch.tensor(x, dtype=torch.float64), steps)
    assert y.level_bits == math.ceil(math.log2(steps + 1))
    for value, level in zip(x, y.tolist(), strict=True):
        assert level in [k / steps for k in range(steps + 1)]
        assert abs(level - min(max(value, 0), 1)) <= 0.5 / steps + 1e-12


def test_all_levels_occur_and_the_gradient_passes_straight_through():
    x = torch.linspace(-1, 2, 1000, requires_grad=True)
    y = quantise_levels(x, 8)
    assert torch.equal(y.detach().unique(), torch.arange(9) / 8)
    y.sum().backward()
    assert torch.equal(x.grad, ((x >= 0) & (x <= 1)).float().detach())


def test_copies_are_whole_and_the_original_is_untouched():
    model, x = conv_net(), torch.rand(4, 2, 8, 8)
    before = copy.deepcopy(model.state_dict())
    small = quantise(model, calibration=x)
    expected = small(x)
    for twin in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert torch.equal(twin(x), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not list(small.parameters()) and "3.levels" in small.state_dict()


def test_a_layer_used_twice_is_replaced_at_both_places():
    layer = nn.Linear(4, 4)
    small = quantise(nn.Sequential(layer, nn.ReLU(), layer), calibration=torch.rand(3, 4))
    assert small[0] is small[2] and small[0].levels.dtype == torch.int8


def test_dead_outputs_and_silent_inputs_do_not_divide_by_zero():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    small = quantise(layer, calibration=torch.zeros(2, 3))
    torch.testing.assert_close(small(torch.ones(1, 3))[0], layer.bias.detach())


@pytest.mark.parametrize(
    ("model", "bits", "x", "said"),
    [
        (nn.Linear(2, 2), 1, torch.rand(1, 2), "a whole number, 2 to 8"),
        (nn.Linear(2, 2), 16, torch.rand(1, 2), "a whole number, 2 to 8"),
        (nn.LSTM(2, 2), 8, torch.rand(1, 2), "LSTM"),
        (nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), 8, torch.rand(1, 1, 5), "zero-padded"),
        (nn.Linear(2, 2), 8, torch.full((1, 2), torch.nan), "NaN or infinity"),
    ],
)
def test_bad_input(model, bits, x, said):
    with pytest.raises(InputError, match=said):
        quantise(model, bits, calibration=x)


def test_a_layer_that_no_input_reaches_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    model[1].unused = nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"no input at 1\.unused"):
        quantise(model, calibration=torch.rand(1, 2))


@pytest.mark.parametrize("steps", [0, -1, 2.0, True])
def test_bad_levels(steps):
    with pytest.raises(InputError, match="a whole number, at least 1"):
        LevelReLU(steps)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_straight_through_computes_what_will_be_quantised_and_leaves_no_trace(bits):
    model, x = conv_net(), torch.randn(6, 2, 8, 8)
    choose(magnitude(model), 0.5).apply_(model)
    before = copy.deepcopy(model.state_dict())
    with straight_through(model, bits):
        inside = model(x)
        zeros = before["3.weight"] == 0
        assert bool(zeros.any()) and not bool(model[3].weight[zeros].any()), "pruned weights stay pruned"
        inside.square().sum().backward()
    torch.testing.assert_close(inside.detach(), quantise(model, bits, calibration=x)(x).detach())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    copy.deepcopy(pickle.loads(pickle.dumps(model)))


def test_the_gradient_is_that_at_the_grid():
    """dL/dw at the rounded weights and inputs, as if rounding were the identity."""
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3).double(), torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    small = quantise(layer, 4, calibration=x.detach())
    weight = small.weight.clone().requires_grad_(True)
    grid = x.detach().abs().max() / 7
    on_grid = ((x.detach() / grid).round() * grid).requires_grad_(True)
    expected = F.linear(on_grid, weight, layer.bias).pow(3).sum()
    expected.backward()
    layer.bias.grad = None
    with straight_through(layer, 4):
        layer(x).pow(3).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(x.grad, on_grid.grad)


def test_straight_through_leaves_spikes_and_few_levels_as_they_are():
    layer, events = nn.Linear(8, 4), spikes()
    with straight_through(layer, 4):
        torch.testing.assert_close(layer(events), F.linear(events.dense(), layer.weight, layer.bias))
        few = quantise_levels(torch.rand(3, 8), 4)
        assert torch.equal(layer(few), F.linear(few, layer.weight, layer.bias))
        graded = EventTensor.from_dense(torch.rand(3, 2, 8), dt=0.1, lengths=torch.tensor([3, 3]))
        now, later = layer(graded).timing, quantise(layer, 4, calibration=graded)(graded).timing
        assert (now.dt, now.lengths.tolist()) == (later.dt, later.lengths.tolist()) == (0.1, [3, 3])
        assert not torch.equal(layer(graded), F.linear(graded.dense(), layer.weight, layer.bias))


def test_training_through_the_grid_beats_rounding_afterwards():
    """Ternary weights: what is trained on the grid fits a random task that rounding forgets."""
    torch.manual_seed(0)
    x, y = torch.rand(200, 12), torch.randint(0, 2, (200,))
    ends = {}
    for through in (False, True):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 2))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(200):
            optimizer.zero_grad()
            if through:
                with straight_through(model, 2):
                    F.cross_entropy(model(x), y).backward()
            else:
                F.cross_entropy(model(x), y).backward()
            optimizer.step()
        ends[through] = float(F.cross_entropy(quantise(model, 2, calibration=x)(x), y))
    assert ends[True] < 0.9 * ends[False]


def test_straight_through_restores_after_an_error_and_refuses_bad_bits():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    with pytest.raises(RuntimeError), straight_through(layer, 4):
        layer(torch.rand(1, 4))
    assert torch.equal(layer.weight, before) and not layer._forward_pre_hooks
    with pytest.raises(InputError, match="straight_through: got bits=1"), straight_through(layer, 1):
        pass
