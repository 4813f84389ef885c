"""Weights that a recorded model reaches through functions are its weights, not tensors from outside."""

import copy
from collections.abc import Callable
from functools import partial
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
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


GLOBAL = torch.rand(3, 4)


class Reads(nn.Module):
    """A model with weights in its class, in a global, and in an object that is no module."""

    own = torch.rand(3, 4)

    def __init__(self, place: str):
        super().__init__()
        self.place, self.plain = place, SimpleNamespace(inner=SimpleNamespace(weight=torch.rand(3, 4)))

    def forward(self, x: Tensor) -> Tensor:
        return x @ {"class": self.own, "global": GLOBAL, "object": self.plain.inner.weight}[self.place]


@pytest.mark.parametrize("place", ["class", "global", "object"])
def test_weights_outside_of_parameters_are_weights(place: str):
    with record(net := Reads(place)) as tape:
        net(torch.rand(2, 3))
    assert count(tape, strict=True).totals["dense_ops"] == 24 and count(tape).totals["weights"] == 12


def test_a_layer_that_is_made_as_the_model_runs_is_counted_once():
    net = nn.Module()

    def forward(x: Tensor) -> Tensor:
        net.layer = nn.Linear(3, 4, bias=False)
        return net.layer(x)

    net.forward = forward  # type: ignore[method-assign]
    with record(net) as tape:
        net(torch.rand(2, 3))
    assert count(tape).totals["dense_ops"] == 24 and count(tape).totals["weights"] == 12


def test_recordings_inside_one_another_count_the_same():
    net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(3, 4)
    net.register_buffer("unused", torch.ones(3))
    with record(net) as alone:
        net(x)
    with record(net) as outer, record(net) as inner:
        net(x)
    assert count(outer).rows == count(inner).rows == count(alone).rows
    assert count(outer).uncounted == count(inner).uncounted == ()


def test_a_recording_inside_the_model_is_no_operation():
    inside, tapes = nn.Linear(4, 4), []

    def forward(x):
        with record(inside) as tape:
            y = inside(x)
        tapes.append(tape)
        return y

    net = as_module(forward)
    net.inside = inside
    with record(net) as tape:
        net(torch.rand(3, 4))
    assert count(tape).totals["dense_ops"] == count(tapes[0]).totals["dense_ops"] == 48
    assert count(tape).totals["elementwise"] == 0 and count(tape).uncounted == ()


def test_a_generator_runs_inside_the_model_that_returns_it():
    layer = nn.Linear(4, 4)

    def forward(x):
        for _ in range(3):
            x = layer(x)
            yield x

    net = as_module(forward)
    net.layer = layer
    with record(net) as tape:
        made = list(net(torch.rand(2, 4)))
    assert len(made) == 3 and count(tape).totals["dense_ops"] == 3 * 32 and count(tape).samples == 2


def test_a_part_of_the_model_that_is_called_on_its_own_is_named():
    net, x = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.ReLU()), torch.rand(3, 4)
    with record(net) as tape:
        net(x)
        net[0](x)
    assert count(tape).totals["dense_ops"] == 48
    assert count(tape).uncounted == ({"layer": "0", "function": "a call outside of the model's own", "calls": 1},)
    with record(net, backward=True) as tape:  # beside a training step it is a part of the loss
        (net(x).sum() + net[0](x).sum()).backward()
    assert sum(row["dense_ops"] for row in count(tape).rows if row["phase"] == "forward") == 2 * 48
    assert count(tape).uncounted == ()


def test_a_parameter_as_the_input_is_data():
    net = nn.Linear(4, 4, bias=False)
    with record(net) as tape:
        net(net.weight)
    assert count(tape).totals["dense_ops"] == 64
    with record(net) as tape:
        net(torch.rand(3, 4))
        net(net.weight)
        net(torch.rand(3, 4))
    rows = {row["kind"]: row["dense_ops"] for row in count(tape).rows}
    assert rows == {"linear": 96, "matmul": 64}


def test_numbers_that_python_computes_from_samples_are_from_outside():
    def forward(x):
        return torch.tensor([[max(value, 0.0) for value in row] for row in x.tolist()])

    with record(net := as_module(forward)) as tape:
        net(torch.rand(3, 4))
    assert [entry["function"] for entry in count(tape).uncounted] == ["a tensor from outside"]


def in_a_thread(x: Tensor) -> Tensor:
    made: list[Tensor] = []
    thread = Thread(target=lambda: made.append(x @ x.t()))
    thread.start()
    thread.join()
    return made[0]


def into_numpy_memory(x: Tensor) -> Tensor:
    out = torch.zeros(3, 3)
    np.matmul(x.numpy(), x.numpy().T, out=out.numpy())
    return out


def as_array(x: Tensor) -> np.ndarray:
    return np.matmul(x.numpy(), x.numpy().T)


@pytest.mark.parametrize("made", [in_a_thread, into_numpy_memory, as_array])
def test_what_the_model_returns_is_read(made: Callable[[Tensor], Any]):
    with record(net := as_module(made)) as tape:
        net(torch.rand(3, 4))
    assert [entry["function"] for entry in count(tape).uncounted] == ["a tensor from outside"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_ragged_batches_of_both_layouts():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    for layout in (torch.jagged, torch.strided):
        x = torch.nested.nested_tensor([torch.rand(2, 4), torch.rand(5, 4)], layout=layout)
        with record(net) as tape:
            net(x)
        totals = count(tape).totals
        assert (totals["dense_ops"], totals["comparisons"], count(tape).samples) == (7 * 12, 7 * 3, 2)


def test_a_tape_is_counted_after_its_recording():
    net = nn.Linear(3, 4)
    with record(net) as tape:
        net(torch.rand(2, 3))
        with pytest.raises(InputError, match="after the `with` block"):
            count(tape)
    both = sum([count(tape), count(tape)])
    assert isinstance(both, OperationCounts) and both.samples == 4
    with pytest.raises(ZeroDivisionError), record(net) as tape:
        net(torch.rand(2, 3))
        raise ZeroDivisionError
    assert count(tape).samples == 2


def test_a_copy_of_the_model_is_another_model():
    net = nn.Sequential(nn.Linear(3, 4))
    with record(net) as tape:
        net(torch.rand(2, 3))
        other = copy.deepcopy(net)
        other(torch.rand(2, 3))
    other(torch.rand(2, 3))
    assert count(tape).samples == 2 and count(tape).totals["dense_ops"] == 24


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:Please use quant_min")
def test_quantisation_aware_training_is_counted():
    net = nn.Sequential(nn.Linear(3, 4, bias=False))
    net.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")  # type: ignore[assignment]
    net = torch.ao.quantization.prepare_qat(net.train())
    with record(net) as tape:
        net(torch.rand(2, 3))
    totals = count(tape, strict=True).totals
    # 8 outputs: 2 comparisons each, and 7 operations of the quantisation; 2 averages of 3 operations
    assert (totals["dense_ops"], totals["comparisons"], totals["elementwise"]) == (24, 16, 8 * 7 + 2 * 3)


def test_an_array_of_what_the_model_computed_is_no_tensor_from_outside():
    with record(net := as_module(lambda x: torch.tanh(x).numpy()[1:])) as tape:
        net(torch.rand(3, 4))
    assert count(tape, strict=True).totals["elementwise"] == 12


def test_every_training_step_counts_the_same():
    net = nn.Linear(4, 1)

    def steps(number: int) -> int:
        with record(net, backward=True) as tape:
            for _ in range(number):
                x = torch.ones(3, 4) / 255  # before the first call of the model
                net(x).sum().backward()
                net.zero_grad()
        return count(tape).totals["elementwise"]

    assert steps(3) == 3 * steps(1)
