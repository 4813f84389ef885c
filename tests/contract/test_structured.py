"""Structured pruning: units that do nothing go first and are not missed; what is left is plain, dense and smaller."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch
from torch import nn

from neurosparse.baselines import narrow, quantise
from neurosparse.errors import InputError

pytest.importorskip("torch_pruning")


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 3)
    ).eval()


@torch.no_grad()
def silence(model: nn.Sequential) -> None:
    """Half of all channels and units say nothing and are not listened to."""
    for part in (model[0].weight, model[0].bias, model[1].weight, model[1].bias, model[4].weight, model[4].bias):
        part[::2] = 0
    model[4].weight.view(12, 8, 9)[:, ::2] = 0
    model[6].weight[:, ::2] = 0


def test_silent_units_go_and_are_not_missed():
    model, x = convolutional(), torch.rand(5, 2, 5, 5)
    silence(model)
    before = copy.deepcopy(model.state_dict())
    small = narrow(model, x, 0.5)
    assert small[0].weight.shape == (4, 2, 3, 3) and small[1].num_features == 4
    assert small[4].weight.shape == (6, 36) and small[6].weight.shape == (3, 6)
    torch.testing.assert_close(small(x), model(x))
    assert torch.equal(small[0].weight, model[0].weight[1::2])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_narrow_network_trains_travels_and_is_quantised():
    small, x = narrow(convolutional(), torch.rand(1, 2, 5, 5), 0.5), torch.rand(4, 2, 5, 5)
    for twin in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        torch.testing.assert_close(twin(x), small(x))
    small(x).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
    assert (quantise(small, calibration=x)(x) - small(x)).abs().max() < 0.1
    with torch.no_grad():
        assert narrow(convolutional(), x, 0.0)[0].weight.shape == (8, 2, 3, 3)


def test_outputs_stay():
    model, x = convolutional(), torch.rand(1, 2, 5, 5)
    assert narrow(model, x, 0.5, outputs=["6", "4"])[4].out_features == 12
    with pytest.raises(InputError, match="got outputs 7; expected some of 0, 4, 6"):
        narrow(model, x, 0.5, outputs=["7"])


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_bad_shares(share):
    with pytest.raises(InputError, match="0 <= share < 1"):
        narrow(convolutional(), torch.rand(1, 2, 5, 5), share)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(InputError, match=r'got no torch-pruning.*pip install "neurosparse\[structured\]"'):
        narrow(convolutional(), torch.rand(1, 2, 5, 5), 0.5)
