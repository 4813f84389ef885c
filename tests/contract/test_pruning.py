"""Pruning: exactly as many zeros as asked for, the lowest scores, and they stay zero; one contract for every method."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neurosparse.baselines import METHODS, Masks, Pruning, choose, forget_, magnitude, prunable, pruning, quantise
from neurosparse.baselines.distribution import DISTRIBUTIONS
from neurosparse.baselines.schedule import ROUNDS
from neurosparse.errors import InputError

GRANULARITIES = ["weight", "row", "block 2 4", "n:4"]
TOTAL = 50 * ROUNDS


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 4)
    )


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [weight.detach() for weight in prunable(model).values()]


def living(masks: Masks) -> list[int]:
    return [int(mask.sum()) for mask in masks.keep.values()]


@given(sparsity=st.floats(0, 0.999), distribution=st.sampled_from(["global", "uniform"]))
def test_exact_sparsity_and_the_smallest_go_first(sparsity, distribution):
    model, before = network(), weights(network())
    choose(magnitude(model), sparsity, distribution=distribution).apply_(model)
    after = weights(model)
    groups = [(torch.cat([w.flatten() for w in before]), torch.cat([w.flatten() for w in after]))]
    if distribution == "uniform":
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
    masks = choose(magnitude(layer), 0.37)
    assert int((masks.apply_(layer).weight == 0).sum()) == 37
    assert not bool(masks.keep["weight"].flatten()[:37].any())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_n_of_m_is_exact_along_the_input_channels(n):
    scores = magnitude(network())
    masks = choose(scores, 1 - n / 4, granularity="n:4")
    for name, mask in masks.keep.items():
        channels_last = mask.movedim(1, -1).reshape(-1, 4), scores[name].movedim(1, -1).reshape(-1, 4)
        for kept, score in zip(*channels_last, strict=True):
            assert int(kept.sum()) == n and score[kept].min() >= score[~kept].max()


def test_rows_and_blocks_go_as_a_whole_by_their_mean():
    scores = {"weight": torch.arange(32.0).view(4, 8)}
    rows = choose(scores, 0.5, granularity="row").keep["weight"]
    assert rows.any(1).tolist() == rows.all(1).tolist() == [False, False, True, True]
    blocks = choose(scores, 0.5, granularity="block 2 4").keep["weight"]
    assert not blocks[:2].any() and blocks[2:].all(), "the two lower blocks are the first two rows"
    # 0.7 of 32 are 22.4 weights: two blocks of 8 fit, and a third does not
    assert int(choose(scores, 0.7, granularity="block 2 4").keep["weight"].sum()) == 16


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_rising_sparsity_gives_nested_masks_even_by_new_scores(distribution, granularity):
    generator, last = torch.Generator().manual_seed(0), None
    for sparsity in (0.25, 0.5, 0.75):
        scores = {name: torch.rand(w.shape, generator=generator) for name, w in prunable(network()).items()}
        masks = choose(scores, sparsity, distribution=distribution, granularity=granularity, masks=last)
        assert last is None or not any(bool((mask & ~last.keep[name]).any()) for name, mask in masks.keep.items())
        assert masks.sparsity <= sparsity + 0.002 and (last is None or masks.sparsity > last.sparsity)
        last = masks


def run(plan: Pruning, optimizer_of=torch.optim.Adam, total: int = TOTAL):
    """A training as the class shows it, with momentum; yields step, masks and model after each step."""
    model, generator = network(), torch.Generator().manual_seed(1)
    x, y, masks = torch.rand(16, 4, 5, 5, generator=generator), torch.arange(16) % 4, None
    optimizer = optimizer_of(model.parameters(), lr=0.01)
    for step in range(total):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        old, masks = masks, plan.update(model, masks, step, total, example=x, generator=generator)
        forget_(optimizer, model, old, masks)
        optimizer.step()
        if masks is not None:
            masks.apply_(model)
        yield step, masks, model


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_as_sparse_as_asked_and_its_zeros_hold_at_every_step(method):
    plan, due, masks = pruning(method, 0.8), Counter(), None
    for step, new, model in run(plan):
        due[new is not masks] += 1
        masks = new
        if masks is not None:
            for name, mask in masks.keep.items():
                weight = model.get_parameter(name).detach()
                assert not bool(weight[~mask].any()), f"{method} revived {name} at step {step}"
    assert masks is not None and set(masks.keep) == {"0.weight", "4.weight", "6.weight"}
    assert masks.sparsity == pytest.approx(0.8, abs=3 / (2 * 1808)), "three layers, each rounded"
    expected = {"start": 1, "half": 1, "end": 1, "iterative": ROUNDS - 1}
    if plan.growth is None and plan.schedule in expected:
        assert due[True] == expected[plan.schedule]


@pytest.mark.parametrize("method", [name for name, row in METHODS.items() if "growth" in row])
@pytest.mark.parametrize("optimizer_of", [torch.optim.Adam, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)])
def test_growing_methods_keep_every_layers_number_and_move(method, optimizer_of):
    first = last = None
    for _, masks, _ in run(pruning(method, 0.8), optimizer_of):
        first = first or masks
        assert living(masks) == living(first)
        moved = None if last is None else sum(int((m & ~last.keep[n]).sum()) for n, m in masks.keep.items())
        last = masks
        assert moved is None or moved <= 0.3 * sum(living(first)) + 3
    assert any(bool((mask != first.keep[name]).any()) for name, mask in last.keep.items())


def test_a_seed_is_all_the_randomness():
    for method in ("static", "set", "random"):
        ends = [list(run(pruning(method, 0.8), total=130))[-1][1] for _ in range(2)]
        assert all(torch.equal(mask, ends[1].keep[name]) for name, mask in ends[0].keep.items())


@pytest.mark.parametrize("total", [1, 2, 3, 7, 13])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("iterative", "synflow")])
def test_pruning_is_complete_however_short_the_training(method, total):
    *_, (_, masks, _) = run(pruning(method, 0.8), total=total)
    assert masks.sparsity == pytest.approx(0.8, abs=1e-3)


def test_a_shared_weight_is_ranked_once_and_masks_travel():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    masks = choose(magnitude(model), 0.5)
    assert list(masks.keep) == ["0.weight"] and masks.sparsity == 0.5
    for twin in (copy.deepcopy(masks), pickle.loads(pickle.dumps(masks))):
        pruned = pickle.loads(pickle.dumps(copy.deepcopy(twin.apply_(copy.deepcopy(model)))))
        assert int((pruned[0].weight == 0).sum()) == 18
    plan = pruning("rigl", 0.9)
    assert copy.deepcopy(plan) == pickle.loads(pickle.dumps(plan)) == plan


def test_pruned_then_quantised_zeros_stay_zero():
    model = network()
    choose(magnitude(model), 0.9).apply_(model)
    small = quantise(model, calibration=torch.randn(4, 4, 5, 5))
    for index in (0, 4, 6):
        zeros = model[index].weight == 0
        assert bool(zeros.any()) and bool((small[index].levels[zeros] == 0).all())
        assert bool((small[index].weight[zeros] == 0).all())


BAD = [
    ({"sparsity": 1.0}, "0 <= sparsity < 1"),
    ({"sparsity": -0.1}, "0 <= sparsity < 1"),
    ({"sparsity": float("nan")}, "0 <= sparsity < 1"),
    ({"distribution": "layer"}, "one of 'global', 'uniform', 'erk'"),
    ({"granularity": "column"}, "granularity: got 'column'"),
    ({"granularity": "block 3 4"}, "multiples of 3 outputs and 4 inputs"),
    ({"granularity": "n:4", "sparsity": 0.95}, "at least one"),
]


@pytest.mark.parametrize(("options", "said"), BAD)
def test_bad_options(options, said):
    with pytest.raises(InputError, match=said):
        choose(magnitude(network()), **{"sparsity": 0.5, **options})


def test_bad_models_and_plans():
    with pytest.raises(InputError, match="ReLU"):
        magnitude(nn.ReLU())
    broken = nn.Linear(2, 2)
    nn.init.constant_(broken.weight, torch.nan)
    with pytest.raises(InputError, match="NaN or infinity in weight"):
        choose(magnitude(broken), 0.5)
    with pytest.raises(InputError, match=r"expected one of 'one-shot', .*, 'rigl'"):
        pruning("rgil", 0.9)
    for choices, said in [
        ({"criterion": "loudness"}, "criterion='loudness'"),
        ({"schedule": "later"}, "schedule='later'"),
        ({"growth": "weeds"}, "growth='weeds'"),
        ({"growth": "random", "granularity": "row"}, "single weights"),
        ({"granularity": "n:4"}, "a whole number of weights kept"),
    ]:
        with pytest.raises(InputError, match=said):
            Pruning(0.9, **choices)
    with pytest.raises(InputError, match="0 <= sparsity < 1"):
        Pruning(1.0)
    model = network()
    for method in ("snip", "rigl"):
        masks = choose(magnitude(model), 0.9)
        step = 0 if method == "snip" else 100
        with pytest.raises(InputError, match="no gradient at 0.weight"):
            pruning(method, 0.9).update(model, masks, step, 1000)
    with pytest.raises(InputError, match="synflow: got NoneType"):
        pruning("synflow", 0.9).update(model, None, 0, 1000)


def test_choices_are_orthogonal():
    """Every criterion x schedule x distribution x granularity runs: nothing is special about the named methods."""
    criteria, schedules = ("magnitude", "random", "snip", "gradient"), ("start", "half", "end", "gradual", "iterative")
    for each in itertools.product(criteria, schedules, DISTRIBUTIONS, GRANULARITIES):
        plan = Pruning(0.5, *each)
        model, total = network(), 5 * ROUNDS
        model(torch.rand(2, 4, 5, 5)).sum().backward()
        masks = None
        for step in range(total):
            masks = plan.update(model, masks, step, total)
        assert masks.sparsity == pytest.approx(0.5, abs=0.05), each
