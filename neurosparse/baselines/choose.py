"""Masks from scores: the lowest scores are pruned; in sparse training, weights are dropped and others grown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.baselines.criteria import Scores, magnitude
from neurosparse.baselines.distribution import DISTRIBUTIONS
from neurosparse.baselines.granularity import from_tiles, tile_of, to_tiles
from neurosparse.baselines.masks import Masks
from neurosparse.checks import number, one_of
from neurosparse.errors import InputError

__all__ = ["choose", "exchange"]


def choose(
    scores: Scores,
    sparsity: float,
    *,
    distribution: str = "global",
    granularity: str = "weight",
    masks: Masks | None = None,
) -> Masks:
    """Keep the highest scores: of single weights exactly ``round(sparsity * weights)`` are pruned.

    Tiles of several weights are ranked by their mean score; the lowest are pruned while the number of pruned weights
    stays within the sparsity. In ``"n:M"``, ``n = round((1 - sparsity) M)`` of each M inputs are kept. Of equal scores
    the earlier is pruned first.

    Args:
        scores: from a criterion, such as :func:`magnitude`.
        sparsity: fraction to prune, 0 <= sparsity < 1.
        distribution: ``"global"`` ranks all layers together; ``"uniform"`` prunes the same share of each; ``"erk"``
            more of large ones. ``"n:M"`` prunes the same share of each in any case.
        granularity: ``"weight"``, ``"row"``, ``"block 4 4"`` or ``"n:4"``.
        masks: weights that are pruned already stay pruned, so that masks of growing sparsity are nested.

    Returns:
        `Masks`; ``masks.apply_(model)`` prunes.

    Raises:
        InputError: sparsity out of range, an unknown word, scores that are not finite, a tile that does not fit, a
            group of which none would be kept.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> masks = choose(magnitude(model), 0.75, distribution="uniform")
        >>> [int(mask.sum()) for mask in masks.keep.values()]
        [32, 16]
        >>> choose(magnitude(model), 0.5, granularity="n:4").keep["0.weight"].view(-1, 4).sum(1).unique()
        tensor([2])

    Source: Han et al. (2015); N:M: Mishra et al. (2021), "Accelerating sparse deep neural networks"; for the design:
    Lee et al. (2023), "JaxPruner".
    """
    tile = tile_of(granularity)
    sparsity = _check(scores, sparsity, distribution)
    tiles = {}
    for name, score in scores.items():
        alive = score if masks is None else score.masked_fill(~masks.keep[name], -torch.inf)
        tiles[name] = to_tiles(alive, tile)
    if tile.inside:
        keep = {name: _inside(group, sparsity) for name, group in tiles.items()}
    elif (share := DISTRIBUTIONS[distribution]) is None:
        keep = _highest(tiles, sparsity)
    else:
        densities = share({name: tuple(score.shape) for name, score in scores.items()}, 1 - sparsity)
        keep = {name: _highest({name: tiles[name]}, 1 - densities[name])[name] for name in scores}
    return Masks({name: from_tiles(part, scores[name], tile) for name, part in keep.items()})


def exchange(model: nn.Module, masks: Masks, growth: Scores, fraction: float) -> Masks:
    """Drop the smallest weights and grow as many others: each layer keeps its number of weights.

    Args:
        model: gives the magnitudes; not changed.
        masks: of single weights, before the exchange.
        growth: from a criterion: :func:`gradient` for RigL, :func:`random` for SET. A dropped weight may grow again.
        fraction: share of the kept weights of each layer that is exchanged, 0 <= fraction <= 1.

    Returns:
        the new `Masks`; grown weights should start at 0, see :func:`forget_`.

    Raises:
        InputError: a fraction out of range, growth that is not finite.

    Example:
        >>> layer = nn.Linear(10, 10)
        >>> masks = choose(magnitude(layer), 0.9)
        >>> new = exchange(layer, masks, {"weight": torch.rand(10, 10)}, 0.3)
        >>> int(new.keep["weight"].sum()), int((new.keep["weight"] & masks.keep["weight"]).sum()) >= 7
        (10, True)

    Source: Evci et al. (2020), "Rigging the lottery", algorithm 1; Mocanu et al. (2018), "Scalable training of
    artificial neural networks with adaptive sparse connectivity inspired by network science".
    """
    fraction = number("exchange", "fraction", fraction, 0, 1, fix="Pass 0.3.")
    _check(growth, 0.0, "global")
    sizes, new = magnitude(model), {}
    for name, mask in masks.keep.items():
        count = int(mask.sum())
        grown = round(fraction * count)
        kept = _top(sizes[name].masked_fill(~mask, -torch.inf), count - grown)
        new[name] = kept | _top(growth[name].masked_fill(kept, -torch.inf), grown)
    return Masks(new)


def _top(scores: Tensor, count: int) -> Tensor:
    """Mask of the highest ones."""
    flat = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    flat[scores.flatten().topk(count).indices] = True
    return flat.view_as(scores)


def _highest(tiles: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Tiles of one common ranking, kept or pruned as a whole."""
    means = torch.cat([part.mean(1) for part in tiles.values()])
    sizes = [part.shape[1] for part in tiles.values()]
    budget = round(sparsity * sum(part.numel() for part in tiles.values()))
    if len(set(sizes)) == 1:
        keep = _above(means, budget // sizes[0])
    else:
        each = torch.cat([torch.full((len(part),), part.shape[1], device=part.device) for part in tiles.values()])
        order = means.argsort(stable=True)
        keep = torch.empty_like(means, dtype=torch.bool)
        keep[order] = each[order].cumsum(0) > budget
    parts = keep.split([len(part) for part in tiles.values()])
    return {name: one[:, None].expand_as(part) for (name, part), one in zip(tiles.items(), parts, strict=True)}


def _above(scores: Tensor, count: int) -> Tensor:
    """Flat mask of all but the lowest ones, of equals the earlier; a selection costs an eighth of a sort."""
    if not count:
        return torch.ones_like(scores, dtype=torch.bool)
    bar = scores.kthvalue(count).values
    keep = scores > bar
    equals = (scores == bar).nonzero()[:, 0]
    keep[equals[count - int((scores < bar).sum()) :]] = True
    return keep


def _inside(groups: Tensor, sparsity: float) -> Tensor:
    """The same number in each group, the highest; of equals the later."""
    size = groups.shape[1]
    count = round((1 - sparsity) * size)
    if not count:
        got, fix = f"sparsity={sparsity} in groups of {size}", "Prune less, or choose larger groups."
        raise InputError("choose", got=got, expected="at least one weight left in each", fix=fix)
    order = groups.argsort(dim=1, stable=True)[:, size - count :]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True)


def _check(scores: Scores, sparsity: float, distribution: str) -> float:
    """The sparsity as a number; scores and distribution are checked."""
    sparsity = number("choose", "sparsity", sparsity, 0, below=1, fix="Pass 0.9 for 90 %.")
    one_of("choose", "distribution", distribution, DISTRIBUTIONS, fix='Pass "global".')
    for name, score in scores.items():
        if not bool(score.isfinite().all()):
            fix = "The training may have diverged."
            raise InputError("choose", got=f"NaN or infinity in {name}", expected="finite scores", fix=fix)
    return sparsity
