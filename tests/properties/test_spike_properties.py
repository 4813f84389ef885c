"""Spikes stay spikes: drawn chains of torch functions on spikes, against the values that they compute.

Sound: where the meter counts accumulates, the values are 0 and at most one size, for many inputs. Complete: behind
functions that select, mask, move, compare or multiply spikes it counts accumulates.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neurosparse as ns

Step = Callable[[Tensor], Tensor]


def places(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1]).flip(0)


def mask_of(x: Tensor) -> Tensor:
    """A mask that depends on the samples."""
    return (x.float() * torch.arange(1.0, x.shape[-1] + 1).cos()).cumsum(-1) > 0.1


def assigned(x: Tensor, make: Callable[..., Tensor]) -> Tensor:
    out = make(2 * len(x), *x.shape[1:], dtype=x.dtype)
    out[: len(x)] = x
    out[len(x) :] = x.flip(0)
    return out


def stepwise(x: Tensor) -> Tensor:
    out = x.new_zeros(x.shape)
    for place, row in enumerate(x.unbind(0)):
        out[place] = row
    return out


def indexed(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[torch.arange(len(x)), ...] = x.roll(1, 0)
    return out


def image(step: Step) -> Step:
    """A step on ``(samples, channels, height, width)``."""
    return lambda x: step(x if x.dim() == 4 else x.reshape(len(x), 1, 1, -1)).flatten(1)


def real(step: Step) -> Step:
    """A step on 32-bit floats, for functions without a kernel for every dtype."""
    return lambda x: step(x.float())


class Detached(torch.autograd.Function):
    """The spike function of a surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


KEEPS: dict[str, Step] = {
    "index": lambda x: x[..., ::2] if x.shape[-1] > 1 else x[..., :1],
    "index by a tensor": lambda x: x[..., places(x)],
    "index by a mask": lambda x: x[:, torch.ones(x.shape[1:], dtype=torch.bool)],
    "index_select": lambda x: x.index_select(-1, places(x)),
    "narrow": lambda x: x.narrow(-1, 0, x.shape[-1]),
    "take": lambda x: x.take(torch.arange(x.numel()).flip(0)).view(x.shape),
    "take_along_dim": lambda x: x.take_along_dim(x.argsort(-1), -1),
    "gather": lambda x: x.gather(-1, places(x).expand(x.shape)),
    "where": lambda x: torch.where(mask_of(x), x, 0.0 * x),
    "where with a number": lambda x: torch.where(mask_of(x), x, 0),
    "where of spikes": lambda x: torch.where(mask_of(x), x, x.flip(-1)),
    "masked_fill": lambda x: x.masked_fill(mask_of(x), 0),
    "masked_fill in place": lambda x: x.clone().masked_fill_(mask_of(x), 0.0),
    "masked_fill by a tensor": lambda x: x.masked_fill(mask_of(x), torch.zeros((), dtype=x.dtype)),
    "masked_scatter": lambda x: x.masked_scatter(mask_of(x), x.flip(-1).clone()),
    "mask": lambda x: x * mask_of(x),
    "float mask": lambda x: x * mask_of(x).to(x.dtype),
    "mask that is scaled": lambda x: x * (mask_of(x).to(x.dtype) * 2),
    "maximum": lambda x: torch.maximum(x, x.roll(1, -1)),
    "minimum": lambda x: torch.minimum(x, x.roll(1, -1)),
    "fmax": lambda x: torch.fmax(x, x.roll(1, 0)),
    "amax": lambda x: x.unflatten(-1, (1, -1)).expand(*x.shape[:-1], 2, -1).amax(-2),
    "max along an axis": lambda x: torch.stack([x, x.flip(-1)]).max(0).values,
    "cummax": lambda x: x.cummax(-1).values,
    "logical_and": lambda x: (x.bool() & x.roll(1, -1).bool()).float(),
    "logical_or": lambda x: torch.logical_or(x, x.roll(1, 0)).to(x.dtype),
    "logical_xor": lambda x: torch.logical_xor(x, x.roll(1, 0)).to(x.dtype),
    "logical_not": lambda x: torch.logical_not(x).to(x.dtype),
    "any": lambda x: torch.stack([x, x.flip(-1)]).any(0).to(x.dtype),
    "product of spikes": lambda x: x * x.roll(1, -1),
    "square": lambda x: x**2,
    "product in place": lambda x: x.clone().mul_(x.flip(0)),
    "product with out": lambda x: torch.mul(x, x.flip(0), out=torch.empty_like(x)),
    "einsum of spikes": lambda x: torch.einsum("...a,...a->...a", x, x.flip(-1)),
    "times a number": lambda x: x * 0.5,
    "times a tensor number": lambda x: x * torch.tensor(2.0),
    "over a number": lambda x: x / 2,
    "scaled in place": lambda x: x.clone().div_(2),
    "negative": lambda x: -x,
    "absolute": lambda x: x.abs(),
    "relu": lambda x: x.relu(),
    "sign": lambda x: x.sign(),
    "clamp": lambda x: x.clamp(min=0),
    "plus zeros": lambda x: torch.zeros_like(x) + x,
    "sum into zeros": lambda x: torch.zeros_like(x).add_(x),
    "difference of binary": lambda x: (x != 0).float() - (x.roll(1, -1) != 0).float(),
    "complement of binary": lambda x: 1 - (x != 0).float(),
    "or by a sum": lambda x: ((x != 0).float() + (x.roll(1, -1) != 0).float()).clamp(max=1),
    "greater": lambda x: (x > 0.1).to(x.dtype),
    "equal": lambda x: (x == x.roll(1, -1)).to(x.dtype),
    "not equal": lambda x: (x != 0).float(),
    "max_pool1d": lambda x: F.max_pool1d(x.reshape(len(x), 1, -1), 2, 1, 1).flatten(1),
    "max_pool2d": image(lambda x: F.max_pool2d(x, (1, 2), 1, (0, 1))),
    "adaptive_max_pool2d": image(lambda x: F.adaptive_max_pool2d(real(lambda y: y)(x), (1, 3))),
    "max_unpool1d": lambda x: F.max_unpool1d(
        *F.max_pool1d(x.float().reshape(len(x), 1, -1).repeat(1, 1, 2), 2, return_indices=True), (2,)
    ).flatten(1),
    "reshape": lambda x: x.reshape(len(x), -1, 1),
    "flatten": lambda x: x.flatten(1),
    "permute": lambda x: x.reshape(len(x), 1, -1).permute(0, 2, 1).contiguous(),
    "movedim": lambda x: x.movedim(-1, 1).clone(),
    "cat": lambda x: torch.cat([x, x.flip(0)], -1),
    "cat with zeros": lambda x: torch.cat([x, torch.zeros(len(x), *x.shape[1:], dtype=x.dtype)], -1),
    "stack": lambda x: torch.stack([x, x.flip(0)], 1),
    "split": lambda x: torch.cat(x.split(1, -1)[::-1], -1),
    "chunk": lambda x: torch.stack([*x.chunk(2, 0)][:1]).flatten(0, 1),
    "pad": lambda x: F.pad(x, (1, 2)),
    "pad by repetition": lambda x: F.pad(x.float().reshape(len(x), 1, -1), (1, 1), mode="replicate").flatten(1),
    "pad around": lambda x: F.pad(x.reshape(len(x), 1, -1), (1, 1), mode="circular").flatten(1),
    "scatter": lambda x: torch.zeros_like(x).scatter(-1, places(x).expand(x.shape), x),
    "scatter in place": lambda x: x.new_zeros(x.shape).scatter_(-1, places(x).expand(x.shape), x),
    "scatter the maximum": lambda x: torch.zeros_like(x).scatter_reduce(-1, places(x).expand(x.shape), x.abs(), "amax"),
    "slice_scatter": lambda x: torch.zeros_like(x).slice_scatter(x[:1], 0, 0, 1),
    "index_copy": lambda x: torch.zeros_like(x).index_copy(-1, places(x), x),
    "index_put": indexed,
    "index_fill": lambda x: x.index_fill(-1, torch.tensor([0]), 0.0),
    "assigned to zeros": lambda x: assigned(x, torch.zeros),
    "assigned to empty": lambda x: assigned(x, torch.empty),
    "written step by step": stepwise,
    "copy": lambda x: torch.empty_like(x).copy_(x),
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "double": lambda x: x.double(),
    "float": lambda x: x.float(),
    "bool": lambda x: x.bool().float(),
    "int": lambda x: (x != 0).int().float(),
    "dropout": lambda x: F.dropout(x, 0.3, True),
    "dropout of channels": image(lambda x: F.dropout2d(x, 0.3, True)),
    "dropout by hand": lambda x: x * torch.bernoulli(torch.full(x.shape, 0.7)).div_(0.7).to(x.dtype),
    "dropout of ones": lambda x: x * F.dropout(torch.ones_like(x), 0.25, True),
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(1, -1),
    "rot90": image(lambda x: x.rot90(1, (2, 3))),
    "tril": image(lambda x: x.tril(1)),
    "diag_embed": lambda x: x.reshape(len(x), -1)[:, :6].diag_embed(),
    "repeat": lambda x: x.repeat(*[1] * (x.dim() - 1), 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1),
    "expand": lambda x: x.unsqueeze(1).expand(-1, 2, *x.shape[1:]),
    "unfold": lambda x: x.unfold(-1, 1, 1).clone(),
    "im2col": image(lambda x: F.unfold(x.float(), 1, padding=1)),
    "sort": lambda x: x.sort(-1).values,
    "topk": lambda x: x.topk(max(1, x.shape[-1] // 2), -1).values,
    "median": lambda x: torch.stack([x, x, x.flip(-1)]).median(0).values,
    "nearest": image(lambda x: F.interpolate(x.float(), scale_factor=2, mode="nearest")),
    "nearest-exact": image(lambda x: F.interpolate(x.float(), scale_factor=2, mode="nearest-exact")),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.reshape(len(x), -1, 1, 1).repeat(1, 4, 1, 1), 2).flatten(1),
    "detach": lambda x: x.detach(),
    "view under autograd": lambda x: x.float().requires_grad_(not x.is_inference() and x.is_leaf).view(len(x), -1),
    "surrogate": Detached.apply,
    "sparse": lambda x: x.float().flatten(1).to_sparse().to_dense(),
    "sparse rows": lambda x: x.float().flatten(1).to_sparse_csr().to_dense(),
    "vmap": lambda x: torch.vmap(lambda row: row.flip(0))(x),
    "product of many": lambda x: torch.stack([x != 0, x.flip(-1) != 0]).float().prod(0),
}
LOSES: dict[str, Step] = {
    "sum of spikes": lambda x: x + x.roll(1, -1),
    "sum in place": lambda x: x.clone().add_(x.flip(0)),
    "accumulated": lambda x: torch.zeros_like(x).add_(x).add_(x.flip(-1)),
    "index_put with sums": lambda x: torch.zeros_like(x).index_put_((torch.tensor([0, 0]),), x[:2], True),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(0, torch.zeros(x.shape, dtype=torch.long), x),
    "index_add": lambda x: torch.zeros_like(x).index_add(0, torch.zeros(len(x), dtype=torch.long), x),
    "avg_pool1d": lambda x: F.avg_pool1d(x.float().reshape(len(x), 1, -1), 2, 1, 1).flatten(1),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x.float().reshape(len(x), 1, -1), 2).flatten(1),
    "cumsum": lambda x: x.cumsum(0),
    "mean": lambda x: torch.stack([x, x.flip(-1)]).mean(0),
    "times a signal": lambda x: x * x.float().cumsum(-1).cos(),
    "over a signal": lambda x: x / (2 + x.float().cumsum(-1).cos()),
    "maximum with a signal": lambda x: torch.maximum(x.float(), x.float().cumsum(-1)),
    "where with a signal": lambda x: torch.where(mask_of(x), x.float(), x.float().cumsum(-1)),
    "assigned a signal": lambda x: x.float().clone().index_fill_(0, torch.tensor([0]), 0.3).add_(0),
    "masked_fill with another number": lambda x: x.masked_fill(mask_of(x), 0.3),
    "two scales": lambda x: torch.cat([x * 0.3, x * 0.7], -1),
    "scales by unit": lambda x: x * torch.linspace(0.1, 0.9, x.shape[-1]),
    "shift": lambda x: x + 0.3,
    "softmax": lambda x: x.float().softmax(-1),
    "sigmoid": lambda x: x.float().sigmoid(),
    "layer_norm": lambda x: F.layer_norm(x.float(), x.shape[-1:]),
    "bilinear": image(lambda x: F.interpolate(x.float(), scale_factor=(1, 2), mode="bilinear")),
    "product with weights": lambda x: x.float() @ torch.ones(x.shape[-1], 3),
    "part of a scaled view": lambda x: part(x),
    "uncoalesced": lambda x: torch.sparse_coo_tensor(
        torch.zeros(1, len(x), dtype=torch.long), x.float(), (3, *x.shape[1:]), check_invariants=False
    ).to_dense(),
}


def part(x: Tensor) -> Tensor:
    """One column is multiplied in place, so that the tensor has two sizes."""
    out = x.clone()
    out[:, 0] *= 0.3
    return out


class Chain(nn.Module):
    """Steps on spikes, and a layer behind them."""

    def __init__(self, steps: Sequence[Step], marked: bool):
        super().__init__()
        self.steps, self.marked = steps, marked
        self.readout = nn.Parameter(torch.ones(2, 40_000))
        self.made: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = ns.spikes(x) if self.marked else x
        for step in self.steps:
            x = step(x)
        self.made = x.detach().clone()
        rows = x.float().flatten(1)
        return F.linear(rows, self.readout[:, : rows.shape[1]])


def is_accumulated(chain: Chain, x: Tensor, mode: Any = torch.enable_grad) -> bool:
    """Whether the layer behind the steps is counted as accumulates; what an all-zero input is, its bits say."""
    with mode(), ns.record(chain, spiking=() if chain.marked else ["input"]) as tape:
        chain(x)
    found = next(row for row in ns.count(tape).rows if row["layer"] == "readout")
    assert not (found["effective_macs"] and found["effective_acs"])
    return found["input_bits"] < 8


def inputs(kind: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 6) if seed % 2 else (3, 2, 2, 3)
    x = (torch.rand(shape, generator=generator) < 0.4).float()
    if kind in ("signed", "signed and scaled"):
        x = x * torch.where(torch.rand(shape, generator=generator) < 0.5, 1.0, -1.0)
        x.flatten()[0] = -1
    return x * 0.25 if "scaled" in kind else x


KINDS = ("binary", "scaled", "signed", "signed and scaled")


def is_one_size(values: list[Tensor]) -> bool:
    """Whether tensors hold 0 and at most one size, the same in all."""
    sizes = torch.cat([x.double().abs().flatten() for x in values])
    sizes = sizes[sizes > 0]
    return not len(sizes) or bool((sizes - sizes[0]).abs().max() < 1e-2 * sizes[0])


def check(seed: int) -> tuple[bool, bool]:
    """One drawn chain: its claim must hold, and must be made if each step keeps spikes. Returns both."""
    draw = Random(seed)
    names = [draw.choice(sorted(KEEPS)) for _ in range(draw.randint(1, 5))]
    losing = draw.random() < 0.35
    if losing:
        names.insert(draw.randrange(len(names) + 1), draw.choice(sorted(LOSES)))
    steps = [(KEEPS | LOSES)[name] for name in names]
    chain, kind = Chain(steps, draw.random() < 0.5), draw.choice(KINDS)
    mode = draw.choice([torch.enable_grad, torch.no_grad, torch.inference_mode])
    sizes = 2 * draw.randrange(1000) + seed % 2
    try:
        chain(inputs(kind, sizes))
    except (RuntimeError, ValueError, IndexError):  # shapes or dtypes that do not fit together
        return False, False
    claimed = is_accumulated(chain, inputs(kind, sizes), mode)
    assert claimed or losing, f"{names} of {kind} spikes are counted as MACs"
    if claimed:
        made = []
        for i in range(6):
            chain(inputs(kind, sizes + 2 * i))
            made.append(chain.made)
        assert is_one_size(made), f"{names} of {kind} spikes are counted as accumulates: {made[0].unique()}"
    return True, losing


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("name", sorted(KEEPS))
def test_spikes_stay_spikes(name: str) -> None:
    for kind in KINDS:
        assert is_accumulated(Chain([KEEPS[name]], True), inputs(kind, 1)), kind


@pytest.mark.parametrize("name", sorted(LOSES))
def test_other_values_are_no_spikes(name: str) -> None:
    for kind in KINDS[:2]:
        assert not is_accumulated(Chain([LOSES[name]], False), inputs(kind, 1)), kind


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_drawn_chains_of_functions_on_spikes() -> None:
    drawn = [check(seed) for seed in range(150)]
    assert sum(fits for fits, _ in drawn) > 75
