"""Contract of every linear map: its product, transpose and gradients equal those of autograd. A new map is one row."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from neurosparse.predictive import BlockLinear, PredictiveNetwork
from neurosparse.predictive.maps import MAPS, map_of

# module, shape of what comes in
KINDS = {
    "dense": (nn.Linear(6, 4), (6,)),
    "dense without bias": (nn.Linear(6, 4, bias=False), (6,)),
    "dense on images": (nn.Linear(12, 4), (3, 2, 2)),
    "one to one": (nn.Linear(1, 1), (1,)),
    "blocks": (BlockLinear(3, 2, 4), (6,)),
    "conv1d": (nn.Conv1d(2, 3, 3), (2, 8)),
    "conv1d, incomplete last stride": (nn.Conv1d(2, 3, 3, stride=3, padding=1), (2, 9)),
    "conv2d": (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 4)),
    "conv2d without bias": (nn.Conv2d(2, 3, 3, bias=False), (2, 5, 4)),
    "conv2d, strides": (nn.Conv2d(2, 4, (3, 2), stride=(2, 3), padding=(1, 0)), (2, 6, 7)),
    "conv2d, groups": (nn.Conv2d(4, 6, 3, groups=2, dilation=(2, 1)), (4, 7, 5)),
    "conv2d, depth-wise": (nn.Conv2d(4, 4, 3, stride=2, groups=4), (4, 6, 6)),
    "transposed conv1d": (nn.ConvTranspose1d(2, 3, 3), (2, 6)),
    "transposed conv2d, strides": (
        nn.ConvTranspose2d(2, 4, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
        (2, 3, 4),
    ),
    "transposed conv2d, groups": (nn.ConvTranspose2d(4, 6, 3, groups=2, dilation=(2, 1), bias=False), (4, 3, 4)),
    "transposed conv3d": (nn.ConvTranspose3d(2, 1, (1, 2, 2), stride=2, padding=(0, 1, 0)), (2, 2, 3, 2)),
    "conv3d": (nn.Conv3d(1, 2, (1, 2, 2), stride=2, padding=(0, 1, 0)), (1, 3, 4, 5)),
}


def case(name: str, samples: int = 3):
    torch.manual_seed(0)
    module, shape = KINDS[name]
    module = copy.deepcopy(module).double()
    h = torch.randn(samples, *shape, dtype=torch.float64, requires_grad=True)
    out = module(h.flatten(1) if isinstance(module, nn.Linear) else h)
    return module, h, out, torch.randn_like(out)


def test_every_map_has_a_row():
    assert set(MAPS) == {type(module) for module, _ in KINDS.values()}


@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_a_map_equals_its_module(name, samples):
    module, h, out, signal = case(name, samples)
    by_hand = map_of(module)
    assert by_hand is not None
    parameters = dict(module.named_parameters())
    back, *automatic = torch.autograd.grad(out, [h, *parameters.values()], signal)
    close = {"atol": 1e-12, "rtol": 1e-12}
    with torch.no_grad():
        zero = by_hand.product(module, torch.zeros_like(h), True)
        torch.testing.assert_close(by_hand.product(module, h, True), out, **close)
        torch.testing.assert_close(by_hand.product(module, h, False), out - zero, **close)
        torch.testing.assert_close(by_hand.transpose(module, signal, h.shape), back, **close)
        found = by_hand.gradients(module, h, signal)
    for parameter, expected in zip(parameters, automatic, strict=True):
        torch.testing.assert_close(found[parameter], expected, **close)


@pytest.mark.parametrize("order", ["act_after", "act_before"])
@pytest.mark.parametrize("name", KINDS)
def test_inference_and_learning_by_hand_are_those_of_autograd(name, order):
    """Below a dense layer; the input unclamped and the output clamped, so that all feedback acts."""
    module, h, out, _ = case(name)
    inputs = out[0].numel()
    torch.manual_seed(1)
    stack = [module, nn.Linear(inputs, 2)]
    hand, auto = (
        PredictiveNetwork(copy.deepcopy(stack), order=order, gradients=by, input_shape=h.shape[1:]).double()
        for by in ("hand", "autograd")
    )
    known = torch.rand(h.shape) < 0.5
    options = {"clamp": {0: (h.detach(), known), 2: torch.randn(3, 2, dtype=torch.float64)}, "steps": 9, "dt": 0.1}
    mine, reference = hand.infer(**options), auto.infer(**options)
    for part in ("z", "errors", "energies", "gap", "sent"):
        torch.testing.assert_close(getattr(mine, part), getattr(reference, part), atol=1e-12, rtol=1e-12)
    assert mine.sent.errors.any() and not torch.equal(mine.z[0], h)
    hand.learn(mine)
    auto.learn(reference)
    for a, b in zip(hand.parameters(), auto.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=1e-12)
    free = hand.infer(y=options["clamp"][2], steps=2, start="normal")
    assert free.z[0].shape == h.shape


@pytest.mark.parametrize("module", [
    nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.Bilinear(2, 2, 2),
    nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), nn.Tanh(),
])  # fmt: skip
def test_other_modules_are_left_to_autograd(module):
    assert map_of(module) is None


def test_convolutions_of_any_padding_have_the_activation():
    torch.manual_seed(0)
    plain = nn.Conv1d(2, 2, 3, padding=1)
    same = nn.Conv1d(2, 2, 3, padding="same")
    same.load_state_dict(plain.state_dict())
    last, x, y = nn.Linear(10, 3), torch.randn(4, 2, 5), torch.randn(4, 3)
    first, second = (PredictiveNetwork([layer, last], "relu").infer(x, y, dt=0.1) for layer in (plain, same))
    torch.testing.assert_close(first.energies, second.energies)
    torch.testing.assert_close(first.z, second.z)
