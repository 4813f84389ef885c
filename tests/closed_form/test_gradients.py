"""Products of the backward pass against counts by hand; of event-driven gradients, pairs of masks of 0 and 1."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hand_counts import GEOMETRIES, KINDS, Counts, counts_of, mask, pairs, sparse
from torch import Tensor, nn

import neurosparse as ns


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_of_convolutions(name: str) -> None:
    """Input gradient: pairs of gradient and weight; weight gradient: of input and gradient; bias: one addition each."""
    case = GEOMETRIES[name]
    x, w = sparse(*case.input).requires_grad_(), sparse(*case.weight, seed=1).requires_grad_()
    shape = case.function(x, w, **case.geometry).shape
    bias, sent = torch.ones(shape[1], requires_grad=True), sparse(*shape, seed=2)
    model = ns.meter.as_module(lambda x: case.function(x, w, bias, **case.geometry))
    with ns.record(model, backward=True) as tape:
        model(x).backward(sent)
    # The gradients of masks are pairs of ones.
    ones = [mask(y.detach()).requires_grad_() for y in (x, w)]
    to_input = torch.autograd.grad(case.function(*ones, **case.geometry), ones[0], mask(sent), retain_graph=True)[0]
    to_weight = torch.autograd.grad(case.function(*ones, **case.geometry), ones[1], mask(sent))[0]
    found = counts_of(ns.count(tape, strict=True).rows, "backward")
    assert found == Counts(2 * case.dense, int(to_input.sum() + to_weight.sum()), 0, sent.numel())


def test_a_weight_gradient_inside_a_model() -> None:
    """A module may compute gradients in its forward pass: 2 samples, 3 and 4 channels, 6 outputs of 3 taps."""
    x, sent, weight = sparse(2, 3, 8), sparse(2, 4, 6, seed=1), torch.zeros(4, 3, 3)
    how: Any = (None, [1], [0], [1], False, [0], 1, [False, True, False])
    model = ns.meter.as_module(lambda x: torch.ops.aten.convolution_backward(sent, x, weight, *how)[1])
    with ns.record(model, detail=True) as tape:
        model(x)
    counts = ns.count(tape, strict=True)
    found = sum(pairs("nit,not")(mask(x)[..., k : k + 6], mask(sent)) for k in range(3))
    assert counts_of(counts.rows) == Counts(2 * 3 * 4 * 6 * 3, found)
    assert not counts.detail


def gradient_of(table: Tensor, weights: Tensor, function: Callable[[], Tensor]) -> Counts:
    """Counts of the backward pass of a function's sum."""
    model = ns.meter.as_module(lambda words: function())
    table.grad = weights.grad = None
    with ns.record(model, backward=True) as tape:
        model(torch.zeros(3, 2)).backward(torch.ones(3, 4) if function().dim() == 2 else torch.ones(3, 2, 4))
    return counts_of(ns.count(tape).rows, "backward")


def test_gradients_of_embeddings() -> None:
    """Each of 6 entries adds its gradient of 4 to a row: 24 additions."""
    table, words = sparse(5, 4).requires_grad_(), torch.tensor([[1, 2], [0, 0], [4, 1]])
    weights = sparse(3, 2, seed=3).requires_grad_()
    gradient = partial(gradient_of, table, weights)
    assert gradient(lambda: F.embedding(words, table)) == Counts(0, 0, 0, 24)
    # The four entries that are not 0.
    assert gradient(lambda: F.embedding(words, table, padding_idx=0)) == Counts(0, 0, 0, 16)
    assert gradient(lambda: F.embedding(words, table, scale_grad_by_freq=True)) == Counts(0, 0, 0, 48)
    assert gradient(lambda: F.embedding_bag(words, table, mode="sum")) == Counts(0, 0, 0, 24)
    # 12 gradients of bags are divided by the size of the bag.
    assert gradient(lambda: F.embedding_bag(words, table, mode="mean")) == Counts(0, 0, 0, 24 + 12)
    # The largest entry of a bag takes the gradient.
    assert gradient(lambda: F.embedding_bag(words, table, mode="max")) == Counts(0, 0, 0, 12)
    # A sparse gradient holds the 24 terms and adds none.
    assert gradient(lambda: F.embedding(words, table, sparse=True)) == Counts(0, 0, 0, 0)
    assert gradient(lambda: F.embedding_bag(words, table, mode="sum", sparse=True)) == Counts(0, 0, 0, 0)
    # 24 products with the weights and 24 additions; for the weights the products of a row with the bag's gradient.
    both = int(mask(table.detach())[words].sum())
    found = gradient(lambda: F.embedding_bag(words, table, mode="sum", per_sample_weights=weights))
    assert found == Counts(24, both, 0, 48)


def test_gradients_of_experts() -> None:
    """Rows 0-2 go to the first expert, none to the second, 3-7 to the third: each gradient takes 8*16*8 products."""
    x, w = sparse(8, 16).bfloat16().requires_grad_(), sparse(3, 16, 8, seed=1).bfloat16().requires_grad_()
    ends, sent = torch.tensor([3, 3, 8], dtype=torch.int32), sparse(8, 8, seed=2).bfloat16()
    model = ns.meter.as_module(lambda x: F.grouped_mm(x, w, offs=ends))
    with ns.record(model, backward=True) as tape:
        model(x).backward(sent)
    both = 0
    for start, end, i in ((0, 3, 0), (3, 8, 2)):
        part = mask(sent)[start:end]
        both += pairs("no,io")(part, mask(w.detach())[i]) + pairs("ni,no")(mask(x.detach())[start:end], part)
    assert counts_of(ns.count(tape, strict=True).rows, "backward")[:2] == (2 * 8 * 16 * 8, both)


def test_gradients_of_attention() -> None:
    """2 samples, 2 heads, 5 queries and 3 keys of 4 units: the scores again, and four gradients, each 2*2*5*3*4."""
    q, k, v = (sparse(2, 2, n, 4, seed=n).requires_grad_() for n in (5, 3, 3))
    sent = sparse(2, 2, 5, 4, seed=9)
    sent[..., 0] = 1  # no query without a gradient: neither the weights nor their gradients have zeros
    model = ns.meter.as_module(F.scaled_dot_product_attention)
    with ns.record(model, backward=True) as tape:
        model(q, k, v).backward(sent)
    ones = [mask(x.detach()) for x in (q, k, v)]
    scores = pairs("bhqd,bhkd")(ones[0], ones[1])
    values = 3 * int(mask(sent).sum()) + pairs("bhqd,bhkd")(mask(sent), ones[2])
    inputs = 5 * int(ones[1].sum()) + 3 * int(ones[0].sum())
    assert counts_of(ns.count(tape, strict=True).rows, "backward")[:2] == (5 * 240, scores + values + inputs)


def test_gradients_of_an_lstm() -> None:
    """3 steps of 2 samples, 5 inputs, 4 units: 16 gates, each with two gradients of 5 and two of 4.

    The loss reads the first step only: 2 of 3 steps have no gradient, and the state before that step is zero.
    """
    net = nn.LSTM(5, 4, bias=False)
    x = sparse(3, 2, 5)
    with ns.record(net, backward=True) as tape:
        net(x)[0][0].sum().backward()
    rows = [row for row in ns.count(tape, strict=True).rows if row["phase"] == "backward" and row["kind"] in KINDS]
    found = counts_of(rows, "backward")
    # The forget gate of the first step has no gradient: the cell before it is zero.
    gates = 12
    assert found.dense == 3 * 2 * 16 * 2 * (5 + 4)
    assert found.effective == 2 * gates * (5 + 4) + int(mask(x[0]).sum()) * gates


class Spike(torch.autograd.Function):
    """Threshold at 1 with a boxcar surrogate: the derivative is 1 within 1/2 of the threshold, else 0."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v >= 1).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return grads[0] * ((v - 1).abs() < 0.5)


class Spiking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 10, bias=False), nn.Linear(10, 3, bias=False)
        self.spikes: Callable[[Tensor], Tensor] = Spike.apply  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.spikes(2 * self.first(x)))


def test_gradients_of_events() -> None:
    """Weight gradients take pairs of an event and a gradient that is not zero; input gradients, of gradient and weight.

    Dense, each layer's weight gradient has as many products as its forward pass: 8 samples * 12 * 10 and 8 * 10 * 3.
    """
    net, x = Spiking(), (sparse(8, 12) > 0).float()
    with torch.no_grad():
        net.first.weight.copy_(sparse(10, 12, seed=4))
        net.second.weight.copy_(sparse(3, 10, seed=5))
    sent = sparse(8, 3, seed=6)
    with ns.record(net, spiking=["input"], backward=True) as tape:
        net(x).backward(sent)
    potential = 2 * x @ net.first.weight.detach().T
    events, open_ = mask((potential >= 1).float()), mask(((potential - 1).abs() < 0.5).float())
    back = mask((sent @ net.second.weight.detach()) * open_)
    assert 0 < back.sum() < open_.sum() < 80
    rows = ns.count(tape, strict=True).rows
    by_layer = {
        (layer, kind): [row for row in rows if (row["layer"], row["kind"], row["phase"]) == (layer, kind, "backward")]
        for layer in ("first", "second")
        for kind in ("linear", "matmul")
    }
    found = {key: counts_of(rows, "backward")[:2] for key, rows in by_layer.items() if rows}
    assert found == {
        ("second", "matmul"): (240, pairs("ni,no")(events, mask(sent))),
        ("second", "linear"): (240, pairs("no,oi")(mask(sent), mask(net.second.weight.detach()))),
        ("first", "matmul"): (960, pairs("ni,no")(mask(x), back)),
    }
    # Products of events and gradients are additions.
    (row,) = by_layer["first", "matmul"]
    assert (row["effective_macs"], row["effective_acs"]) == (0, found["first", "matmul"][1])
