"""Pruning: exactly as many zeros as asked for, the smallest ones, and they stay zero."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neurosparse.baselines import cubic_sparsity, magnitude_masks, quantise
from neurosparse.errors import InputError


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 20), nn.Linear(20, 3)
    )


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


@given(sparsity=st.floats(0, 0.999), scope=st.sampled_from(["global", "layer"]))
def test_exact_sparsity_and_the_smallest_go_first(sparsity, scope):
    model, before = network(), weights(network())
    magnitude_masks(model, sparsity, scope=scope).apply_(model)
    after = weights(model)
    groups = [(torch.cat([w.flatten() for w in before]), torch.cat([w.flatten() for w in after]))]
    if scope == "layer":
        groups = [(b.flatten(), a.flatten()) for b, a in zip(before, after, strict=True)]
    for dense, pruned in groups:
        gone = pruned == 0
        assert int(gone.sum()) == round(sparsity * len(dense))
        assert torch.equal(pruned[~gone], dense[~gone])
        if bool(gone.any()) and not bool(gone.all()):
            assert dense[gone].abs().max() <= dense[~gone].abs().min()


def test_equal_magnitudes_still_give_the_exact_number():
    layer = nn.Linear(10, 10)
    nn.init.constant_(layer.weight, 0.5)
    masks = magnitude_masks(layer, 0.37)
    assert int((masks.apply_(layer).weight == 0).sum()) == 37
    assert not bool(masks.keep["weight"].flatten()[:37].any())


def test_masks_hold_through_an_optimizer_with_momentum_and_leave_the_rest_alone():
    model = network()
    masks = magnitude_masks(model, 0.8)
    masks.apply_(model)
    bias = model[4].bias.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 1, 8, 8)).square().mean().backward()
        optimizer.step()
        masks.apply_(model)
        assert all(bool((model.get_parameter(name)[~mask] == 0).all()) for name, mask in masks.keep.items())
    assert not torch.equal(model[4].bias, bias)
    assert set(masks.keep) == {"0.weight", "4.weight", "5.weight"}


def test_a_rising_schedule_gives_nested_masks():
    model, last = network(), None
    for step in range(0, 101, 20):
        sparsity = cubic_sparsity(step, 0, 100, 0.9)
        masks = magnitude_masks(model, sparsity)
        masks.apply_(model)
        if last is not None:
            assert all(bool((last.keep[name] | ~mask).all()) for name, mask in masks.keep.items())
        last = masks
    assert last.sparsity == pytest.approx(0.9, abs=1e-3)


@given(start=st.integers(-10, 10), length=st.integers(1, 50), initial=st.floats(0, 0.99), final=st.floats(0, 0.99))
def test_schedule_begins_ends_and_is_monotone(start, length, initial, final):
    values = [
        cubic_sparsity(step, start, start + length, final, initial) for step in range(start - 2, start + length + 3)
    ]
    assert values[:3] == pytest.approx([initial] * 3) and values[-3:] == pytest.approx([final] * 3)
    steps = [after - before for before, after in itertools.pairwise(values)]
    assert all(step * (final - initial) >= -1e-12 for step in steps)


def test_a_shared_weight_is_ranked_once_and_masks_travel():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    masks = magnitude_masks(model, 0.5)
    assert list(masks.keep) == ["0.weight"] and masks.sparsity == 0.5
    for twin in (copy.deepcopy(masks), pickle.loads(pickle.dumps(masks))):
        pruned = copy.deepcopy(twin.apply_(copy.deepcopy(model)))
        assert int((pruned[0].weight == 0).sum()) == 18


def test_pruned_then_quantised_zeros_stay_zero():
    model = network()
    magnitude_masks(model, 0.9).apply_(model)
    small = quantise(model, calibration=torch.randn(4, 1, 8, 8))
    for index in (0, 4, 5):
        zeros = model[index].weight == 0
        assert bool(zeros.any()) and bool((small[index].levels[zeros] == 0).all())
        assert bool((small[index].weight[zeros] == 0).all())


@pytest.mark.parametrize(
    "options", [{"sparsity": 1.0}, {"sparsity": -0.1}, {"sparsity": float("nan")}, {"scope": "row"}]
)
def test_bad_options(options):
    with pytest.raises(InputError, match="magnitude_masks: got"):
        magnitude_masks(network(), **{"sparsity": 0.5, **options})


def test_bad_models_and_schedules():
    with pytest.raises(InputError, match="ReLU"):
        magnitude_masks(nn.ReLU(), 0.5)
    broken = nn.Linear(2, 2)
    nn.init.constant_(broken.weight, torch.nan)
    with pytest.raises(InputError, match="NaN or infinity in weight"):
        magnitude_masks(broken, 0.5)
    with pytest.raises(InputError, match="start < end"):
        cubic_sparsity(0, 5, 5, 0.9)
    with pytest.raises(InputError, match="sparsities"):
        cubic_sparsity(0, 0, 5, 1.0)
