"""The rules of pruning on paper: shares, schedules, scores, exchange, proximal steps, distillation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neurosparse import baselines as b
from neurosparse.baselines.granularity import from_tiles, tile_of, to_tiles
from neurosparse.errors import InputError

LENET = {"first": (300, 784), "second": (100, 300), "third": (10, 100)}


def test_erk_of_lenet_300_100():
    """By hand: the last layer would get 1.84, so it is dense and the others share the rest."""
    scale = (0.1 * 266_200 - 1000) / (1084 + 400)
    expected = {"first": scale * 1084 / 235_200, "second": scale * 400 / 30_000, "third": 1.0}
    assert b.erk(LENET, 0.1) == pytest.approx(expected, rel=1e-12)
    assert [round(density, 4) for density in b.erk(LENET, 0.1).values()] == [0.0796, 0.2302, 1.0]


@given(
    density=st.floats(0.001, 1.0),
    shapes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(1, 3)), min_size=1, max_size=6),
)
def test_erk_keeps_the_total_and_its_proportions(density, shapes):
    named = {str(number): shape for number, shape in enumerate(shapes)}
    found = b.erk(named, density)
    total = sum(math.prod(shape) for shape in shapes)
    assert sum(found[n] * math.prod(s) for n, s in named.items()) == pytest.approx(density * total, rel=1e-9)
    assert all(0 < value <= 1 for value in found.values())
    scales = [found[n] * math.prod(s) / sum(s) for n, s in named.items() if found[n] < 1]
    assert not scales or scales == pytest.approx([scales[0]] * len(scales))


@given(start=st.integers(-10, 10), length=st.integers(1, 50), initial=st.floats(0, 0.99), final=st.floats(0, 0.99))
def test_the_cubic_schedule_begins_ends_and_is_monotone(start, length, initial, final):
    values = [
        b.cubic_sparsity(step, start, start + length, final, initial) for step in range(start - 2, start + length + 3)
    ]
    assert values[:3] == pytest.approx([initial] * 3) and values[-3:] == pytest.approx([final] * 3)
    steps = [after - before for before, after in itertools.pairwise(values)]
    assert all(step * (final - initial) >= -1e-12 for step in steps)


def test_schedules_by_hand():
    assert b.cubic_sparsity(25, 0, 100, 0.9, 0.1) == pytest.approx(0.9 - 0.8 * 0.75**3)
    left = [1 - b.geometric_sparsity(done, 10, 0.9) for done in range(11)]
    assert [after / before for before, after in itertools.pairwise(left)] == pytest.approx([0.1**0.1] * 10)
    assert b.exchange_fraction(100, 1000) == pytest.approx(0.15 * (1 + math.cos(math.pi * 100 / 750)))
    assert [b.exchange_fraction(step, 1000) for step in (0, 50, 750, 800)] == [0, 0, 0, 0]


def test_snip_is_the_derivative_by_a_gate_on_each_weight():
    """Lee et al. define the score by an indicator c: dL(c w) / dc at c = 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(9, 7, dtype=torch.float64), torch.arange(9) % 3
    F.cross_entropy(model(x), y).backward()
    gates = [torch.ones_like(model[i].weight, requires_grad=True) for i in (0, 2)]
    hidden = torch.tanh(F.linear(x, gates[0] * model[0].weight, model[0].bias))
    loss = F.cross_entropy(F.linear(hidden, gates[1] * model[2].weight, model[2].bias), y)
    for score, expected in zip(b.snip(model).values(), torch.autograd.grad(loss, gates), strict=True):
        torch.testing.assert_close(score, expected.abs(), rtol=1e-12, atol=0)
    assert all(torch.equal(g, model.get_parameter(n).grad.abs()) for n, g in b.gradient(model).items())


def deep(depth: int = 6, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    widths = [20, *[40] * (depth - 1), 5]
    layers = [part for a, c in itertools.pairwise(widths) for part in (nn.Linear(a, c), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def test_synflow_is_the_sum_over_paths_and_is_conserved():
    """The score of a weight is the product of |w| over all paths through it, so that each layer's scores sum to R."""
    model = deep(3)
    first, second, third = (model[i].weight.detach().double().abs() for i in (0, 2, 4))
    scores = list(b.synflow(model, torch.zeros(4, 20)).values())
    into, out = (second @ first).sum(1), third.sum(0)
    torch.testing.assert_close(scores[1], second * out[:, None] * first.sum(1)[None, :])
    torch.testing.assert_close(scores[2], third * into[None, :])
    flow = float((third @ second @ first).sum())
    assert [float(score.sum()) for score in scores] == pytest.approx([flow] * 3, rel=1e-12)
    assert model[0].weight.grad is None and bool((model[0].weight < 0).any()), "the model is as it was"


def test_synflow_cuts_no_layer_where_one_shot_and_magnitude_do():
    model = deep()
    sparsity = 1 - 40 / sum(weight.numel() for weight in b.prunable(model).values())
    by_size = b.choose(b.magnitude(model), sparsity)
    assert min(int(mask.sum()) for mask in by_size.keep.values()) == 0
    masks = b.pruning("synflow", sparsity).update(model, None, 0, 1, example=torch.zeros(1, 20))
    assert min(int(mask.sum()) for mask in masks.keep.values()) > 0
    assert sum(int(mask.sum()) for mask in masks.keep.values()) == 40
    assert float(b.synflow(model, torch.zeros(1, 20), masks)["0.weight"].sum()) > 0, "something still flows"


def test_exchange_by_hand():
    """Six living weights, a third goes: the smallest two; the two highest scores grow, one of them just dropped."""
    layer = nn.Linear(4, 2)
    weight = torch.tensor([[5.0, -1.0, 2.0, 9.0], [-3.0, 0.5, 9.0, 4.0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 1]], dtype=torch.bool)
    layer.weight.data = weight * mask
    scores = {"weight": torch.tensor([[9.0, 7.0, 9.0, 8.0], [9.0, 1.0, 6.0, 9.0]])}
    new = b.exchange(layer, b.Masks({"weight": mask}), scores, 1 / 3).keep["weight"]
    assert new.int().tolist() == [[1, 1, 1, 1], [1, 0, 0, 1]]
    with pytest.raises(InputError, match="0 <= fraction <= 1"):
        b.exchange(layer, b.Masks({"weight": mask}), scores, 1.5)


def test_what_has_grown_starts_without_a_past():
    layer, x = nn.Linear(4, 2), torch.rand(3, 4) + 0.5
    old, new = torch.zeros(2, 4, dtype=torch.bool), torch.eye(2, 4, dtype=torch.bool)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(3000):  # until Adam no longer corrects for a short past
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
    before, gradient = layer.weight.detach().clone(), layer.weight.grad.clone()
    b.forget_(optimizer, layer, b.Masks({"weight": old}), b.Masks({"weight": new}))
    state = optimizer.state[layer.weight]
    assert not bool(state["exp_avg"][new].any()) and bool((state["exp_avg"][~new] != 0).all())
    torch.testing.assert_close(state["exp_avg_sq"][new], gradient[new].square())
    assert bool((optimizer.state[layer.bias]["exp_avg"] != 0).all())
    for _ in range(20):
        optimizer.step()
        moved, before = (layer.weight.detach() - before)[new].abs(), layer.weight.detach().clone()
        assert bool((moved <= 0.1 * (1 + 1e-3)).all()), "of a constant gradient, no step is longer than the rate"


@pytest.mark.parametrize("granularity", ["weight", "row", "block 2 3"])
@given(threshold=st.floats(0, 3), seed=st.integers(0, 10**6))
def test_a_proximal_step_is_the_minimum(granularity, threshold, seed):
    """Optimality of ``1/2 ||v - w||^2 + t sum ||v_g||``: w - v = t v_g / ||v_g|| where v lives, else ||w_g|| <= t."""
    w = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tile = tile_of(granularity)
    before, after = to_tiles(w, tile), to_tiles(b.proximal(w, threshold, granularity), tile)
    norms = after.norm(dim=1, keepdim=True)
    alive = norms[:, 0] > 0
    torch.testing.assert_close((before - after)[alive], (threshold * after / norms)[alive], rtol=1e-9, atol=1e-9)
    assert bool((before[~alive].norm(dim=1) <= threshold * (1 + 1e-9)).all())


def test_a_proximal_step_of_a_dead_group_is_no_nan():
    assert not bool(b.proximal(torch.zeros(2, 4), 0.0, "row").any())
    with pytest.raises(InputError, match="weights, rows or blocks"):
        b.proximal(torch.zeros(2, 4), 0.1, "n:4")
    with pytest.raises(InputError, match="threshold >= 0"):
        b.proximal(torch.zeros(2, 4), -0.1)


@pytest.mark.parametrize(("granularity", "shape"), [("row", (4, 6, 3, 3)), ("block 2 3", (4, 6, 2)), ("n:2", (4, 6))])
def test_tiles_come_back(granularity, shape):
    weight, tile = torch.rand(shape), tile_of(granularity)
    assert torch.equal(from_tiles(to_tiles(weight, tile), weight, tile), weight)


def test_distillation_by_hand_and_at_its_ends():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 2, 1, 1, 0])
    torch.testing.assert_close(
        b.distillation(logits, teacher, labels, alpha=0.0, temperature=1.0), F.cross_entropy(logits, labels)
    )
    p, q = (torch.softmax(each / 3, 1) for each in (teacher, logits))
    kl = (p * (p / q).log()).sum(1).mean()
    expected = 0.7 * 9 * kl + 0.3 * F.cross_entropy(logits, labels)
    torch.testing.assert_close(b.distillation(logits, teacher, labels, alpha=0.7, temperature=3.0), expected)


def test_distillation_at_high_temperature_matches_logits():
    """Hinton et al., section 2.1: the gradient tends to ``(z - v) / classes`` of centred logits, whatever T."""
    generator = torch.Generator().manual_seed(1)
    logits, teacher = (torch.randn(1, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_(True)
    teacher.requires_grad_(True)
    b.distillation(logits, teacher, torch.tensor([0]), alpha=1.0, temperature=1e4).backward()
    centred = (logits - logits.mean() - teacher + teacher.mean()).detach()
    torch.testing.assert_close(logits.grad, centred / 4, rtol=1e-3, atol=1e-6)
    assert teacher.grad is None


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"temperature": 0.0}, {"teacher": torch.zeros(2, 4)}])
def test_bad_distillation(wrong):
    given_ = {"teacher": torch.zeros(2, 3), "alpha": 0.5, "temperature": 2.0} | wrong
    with pytest.raises(InputError, match="distillation: got"):
        b.distillation(torch.zeros(2, 3), labels=torch.zeros(2, dtype=torch.long), **given_)


def test_bad_schedules():
    for call, said in [
        (lambda: b.cubic_sparsity(0, 5, 5, 0.9), "end > 5"),
        (lambda: b.cubic_sparsity(0, 0, 5, 1.0), "0 <= final < 1"),
        (lambda: b.geometric_sparsity(3, 2, 0.9), "a whole number, 0 to 2"),
        (lambda: b.exchange_fraction(1, 0), "total=0; expected a whole number, at least 1"),
        (lambda: b.erk(LENET, 0.0), "0 < density <= 1"),
    ]:
        with pytest.raises(InputError, match=said):
            call()
