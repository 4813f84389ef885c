"""Weights that a recorded model reaches through functions are its weights, not tensors from outside."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurosparse.meter.count import count
from neurosparse.meter.record import as_module, record


class Plain:
    def __init__(self) -> None:
        self.linear = nn.Linear(3, 4, bias=False)

    def apply(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Calls(nn.Module):
    """A module that calls a function it holds as an attribute."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.held = {"in a": [function]}

    def forward(self, x: Tensor) -> Tensor:
        return self.held["in a"][0](x)


def product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


def default(x: Tensor, weight: Tensor = torch.ones(3, 4)) -> Tensor:  # noqa: B008
    return x @ weight


GLOBAL = torch.ones(3, 4)
FUNCTIONS: dict[str, Callable[[], Any]] = {
    "the closure of a lambda": lambda: (lambda linear: lambda x: linear(x))(nn.Linear(3, 4, bias=False)),
    "a function inside a decorator": lambda: torch.no_grad()((lambda w: lambda x: x @ w)(torch.ones(3, 4))),
    "the arguments of a partial function": lambda: partial(product, weight=torch.ones(3, 4)),
    "a partial function of one that closes over": lambda: partial(
        (lambda w: lambda scale, x: x @ w)(torch.ones(3, 4)), 1.0
    ),
    "a method of a module": lambda: nn.Linear(3, 4, bias=False).forward,
    "a method of a plain object": lambda: Plain().apply,
    "a default": lambda: default,
    "a global": lambda: lambda x: x @ GLOBAL,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("holder", [as_module, Calls])
def test_weights_behind_functions_are_counted(name, holder):
    model = holder(FUNCTIONS[name]())
    with record(model) as tape, torch.no_grad():
        model(torch.ones(5, 3))
    counts = count(tape, strict=True)
    assert counts.totals["effective_macs"] == 5 * 12 and sum(row["weights"] for row in counts.rows) == 12


def test_a_tensor_made_elsewhere_is_named():
    class Reads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.from_numpy(GLOBAL.numpy() + 1)

    model = Reads()
    with record(model) as tape, torch.no_grad():
        model(torch.ones(5, 3))
    assert [row["function"] for row in count(tape).uncounted] == ["a tensor from outside"]
