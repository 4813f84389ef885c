"""Weights by storage: the footprint is the number of distinct parameters that are weights, used or idle."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import neurosparse as ns

WIDTH = 6
Use = Callable[[Tensor], Tensor]


def counts_of(model: nn.Module, *inputs: Tensor, **options: Any) -> ns.meter.OperationCounts:
    with ns.record(model, **options) as tape:
        for x in inputs:
            model(x)
    return ns.count(tape)


class Part(nn.Module):
    """A part of a drawn network, with the parameters that are weights."""

    weights: list[Tensor]

    def held(self) -> list[Tensor]:
        return [p for p in self.parameters() if p.dim() > 1]


class Layer(Part):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Again(Layer):
    """One module that runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.inner(x))


class Stacked(Part):
    """A loop over slices of one parameter, each scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Parameter(torch.randn(3, WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        for place in range(3):
            x = F.linear(x, self.stack[place] * 0.5)
        return x


class PartlyRead(Stacked):
    """Two of the three slices are read."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.stack[0]) + F.linear(x, self.stack[2] * 2)


class Views(Part):
    """Overlapping views, and a transposed one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        first = F.linear(x, self.table[:4])
        second = F.linear(x, self.table[2:])
        return x @ self.table.t() + F.pad(first, (0, 2)) + F.pad(second, (2, 0)) + x @ self.table


class Columns(Views):
    """Two halves of the columns."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x[:, :3], self.table[:, :3]) + F.linear(x[:, 3:], self.table[:, 3:])


class Tied(Part):
    """An embedding whose table is the weight of the output too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(9, WIDTH), nn.Linear(WIDTH, 9, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.output(x).argmax(-1)
        return x + self.embedding(tokens)


class Masked(Part):
    """A weight times a mask that comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(WIDTH, WIDTH)) for _ in range(2))
        self.mask: Tensor
        self.register_buffer("mask", (torch.rand(WIDTH, WIDTH) < 0.5).float())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.mask * self.first), self.mask * self.second)


class Pruned(Layer):
    def __init__(self) -> None:
        super().__init__()
        prune.random_unstructured(self.inner, "weight", 0.4)


class Parametrised(Layer):
    class Scaled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 0.5

    def __init__(self) -> None:
        super().__init__()
        parametrize.register_parametrization(self.inner, "weight", self.Scaled())


class Quantised(Views):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.fake_quantize_per_tensor_affine(self.table, 0.1, 0, -8, 7))


class Listed(Part):
    def __init__(self) -> None:
        super().__init__()
        self.several = nn.ParameterList(torch.randn(WIDTH, WIDTH) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.several:
            x = x @ weight
        return x


class Experts(Part):
    """One of three experts runs, by the number of negative inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.experts[int((x < 0).sum()) % 3](x)


class StackedExperts(Stacked):
    """One of three slices is read, by the number of negative inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.stack[int((x < 0).sum()) % 3])


class Recurrent(Part):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x[:, None])[0][:, 0]


class Attention(Part):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x[:, None], x[:, None], x[:, None])[0][:, 0]


class Batched(Stacked):
    """All experts at once."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,eio->neo", x, self.stack).mean(1)


class Kernel(Part):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(F.conv1d(x[:, None], self.kernel, padding=1), self.kernel.flip(-1), padding=1)[:, 0]


PARTS: list[type[Part]] = [
    Layer, Again, Stacked, PartlyRead, Views, Columns, Tied, Masked, Pruned, Parametrised, Quantised, Listed, Experts,
    StackedExperts, Recurrent, Attention, Batched, Kernel,
]  # fmt: skip


class Network(nn.Module):
    def __init__(self, parts: list[Part]):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.norm = nn.LayerNorm(WIDTH)  # its scale is no weight of a product

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = self.norm(part(x))
        return x


def drawn(seed: int) -> tuple[Network, list[Tensor], int]:
    """A network of drawn parts, of which some are there twice; inputs, and the number of its weights."""
    torch.manual_seed(seed)
    draw = Random(seed)
    parts = [draw.choice(PARTS)() for _ in range(draw.randint(1, 4))]
    if draw.random() < 0.3:
        parts.append(parts[0])
    weights = {id(weight): weight.numel() for part in parts for weight in part.held()}
    return Network(parts), [torch.randn(draw.randint(1, 4), WIDTH) for _ in range(3)], sum(weights.values())


def check(seed: int) -> None:
    network, inputs, weights = drawn(seed)
    names = [type(part).__name__ for part in network.parts]
    together = counts_of(network, *inputs)
    assert together.totals["weights"] == weights, names
    added = counts_of(network, inputs[0])
    for x in inputs[1:]:
        added = added + counts_of(network, x)
    assert added.totals["weights"] == weights, f"{names} added"
    assert added.totals["dense_ops"] == together.totals["dense_ops"]


@pytest.mark.parametrize("part", PARTS)
def test_footprint_of_one_part(part: type[Part]) -> None:
    torch.manual_seed(0)
    network = Network([part()])
    weights = sum(weight.numel() for weight in network.parts[0].held())  # type: ignore[operator]
    with torch.inference_mode():
        assert counts_of(network, torch.randn(3, WIDTH)).totals["weights"] == weights
    assert counts_of(network, torch.randn(3, WIDTH)).totals["weights"] == weights


def test_footprints_of_drawn_networks() -> None:
    for seed in range(40):
        check(seed)


def test_shared_weights_are_those_of_an_earlier_row() -> None:
    rows = {(row["layer"], row["kind"]): row for row in counts_of(Network([Tied()]), torch.randn(3, WIDTH)).rows}
    first, second = (row for row in rows.values() if row["weights"])
    assert (first["weights"], first["shared_weights"]) == (54, 0)
    assert (second["weights"], second["shared_weights"]) == (54, 54)


def test_an_expert_that_received_no_sample_is_idle() -> None:
    model = Network([Experts()])
    idle = [row for row in counts_of(model, torch.ones(2, WIDTH)).rows if row["kind"] == "idle"]
    assert [(row["layer"], row["weights"]) for row in idle] == [
        ("parts.0.experts.1", WIDTH * WIDTH),
        ("parts.0.experts.2", WIDTH * WIDTH),
    ]


def test_a_loop_over_slices_has_all_its_weights() -> None:
    model = nn.Module()
    model.w = nn.Parameter(torch.randn(12, 8, 8))

    def forward(x: Tensor) -> Tensor:
        for place in range(12):
            x = F.linear(x, model.w[place] * 0.5)  # type: ignore[index]
        return x

    model.forward = forward  # type: ignore[method-assign]
    (row,) = counts_of(model, torch.randn(3, 8)).rows
    assert (row["layer"], row["weights"], row["shared_weights"]) == ("w", 12 * 64, 0)


def test_biases_are_idle_until_a_run_reads_them() -> None:
    model = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3)])
    model.forward = lambda x: model[int(x[0, 0])](x)  # type: ignore[method-assign]
    first, second = (counts_of(model, torch.full((1, 2), value)) for value in (0.0, 1.0))
    assert first.totals["weights"] == second.totals["weights"] == 6 + 6 + 3
    assert (first + second).totals["weights"] == 6 + 6
