"""Programs of products that reach torch by many ways: each product is counted, or something is named."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import as_module, record

WIDTH, SAMPLES = 4, 3
EACH = SAMPLES * WIDTH * WIDTH


class State(nn.Module):
    """A product with a buffer that is written afterwards, so that it is a state."""

    def __init__(self, write: Callable[[nn.Module, Tensor], None]):
        super().__init__()
        self.register_buffer("state", torch.zeros(SAMPLES, WIDTH))
        self.weight, self.write = nn.Parameter(torch.ones(WIDTH, WIDTH)), write

    def forward(self, x: Tensor) -> Tensor:
        new = torch.tanh(self.state @ self.weight + x)
        self.write(self, new)
        return new


def assign(module: nn.Module, new: Tensor) -> None:
    module.state = new.detach()


def assign_data(module: nn.Module, new: Tensor) -> None:
    module.state.data = new.detach()


def copy_into(module: nn.Module, new: Tensor) -> None:
    module.state.copy_(new.detach())


def set_to(module: nn.Module, new: Tensor) -> None:
    module.state.set_(new.detach())


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight


@torch.library.custom_op("tests::product", mutates_args=())
def foreign_product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


@torch.library.custom_op("tests::product_into", mutates_args={"out"})
def product_into(x: Tensor, weight: Tensor, out: Tensor) -> None:
    out.copy_(x @ weight)


def into(x: Tensor, weight: Tensor) -> Tensor:
    out = torch.empty_like(x)
    product_into(x, weight, out)
    return out


def in_thread(x: Tensor, weight: Tensor) -> Tensor:
    made: list[Tensor] = []
    other = threading.Thread(target=lambda: made.append(x.detach() @ weight.detach()))
    other.start()
    other.join()
    return made[0]


def in_numpy(x: Tensor, weight: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy() @ weight.detach().numpy())


def copied_from_numpy(x: Tensor, weight: Tensor) -> Tensor:
    return torch.tensor(x.detach().numpy() @ weight.detach().numpy())


def shared_with_numpy(x: Tensor, weight: Tensor) -> Tensor:
    return torch.as_tensor(x.detach().numpy() @ weight.detach().numpy())


def in_slices(x: Tensor, weight: Tensor) -> Tensor:
    return torch.stack([row @ weight for row in x])


COUNTED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "operator": lambda x, w: x @ w,
    "linear": lambda x, w: F.linear(x, w.t()),
    "keywords": lambda x, w: torch.mm(mat2=w, input=x),
    "out": lambda x, w: torch.mm(x.detach(), w.detach(), out=torch.empty(SAMPLES, WIDTH)),
    "einsum": lambda x, w: torch.einsum("ij,jk->ik", x, w),
    "tensordot": lambda x, w: torch.tensordot(x, w, 1),
    "addmm": lambda x, w: torch.addmm(torch.zeros(WIDTH), x, w),
    "batched": lambda x, w: torch.bmm(x[None], w[None])[0],
    "convolution": lambda x, w: F.conv1d(x[:, :, None], w.t()[:, :, None])[:, :, 0],
    "rows": in_slices,
    "vmap": lambda x, w: torch.vmap(lambda row: row @ w)(x),
    "jvp": lambda x, w: torch.func.jvp(lambda y: y @ w, (x,), (x,))[1],
    "autograd function": lambda x, w: Product.apply(x, w),
    "checkpoint": lambda x, w: checkpoint(torch.matmul, x, w, use_reentrant=False),
    "sparse": lambda x, w: (w.detach().t().to_sparse_csr() @ x.detach().t()).t(),
}
NAMED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "custom operator": foreign_product,
    "custom operator without a result": into,
    "thread": in_thread,
    "NumPy": in_numpy,
    "copy from NumPy": copied_from_numpy,
    "shared with NumPy": shared_with_numpy,
    "double from NumPy": lambda x, w: torch.tensor(in_numpy(x, w).numpy().astype(np.float64), dtype=torch.float32),
}
WAYS = COUNTED | NAMED


def counted(model: nn.Module, *inputs: Tensor) -> OperationCounts:
    with record(model) as tape:
        model(*inputs)
    return count(tape)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_a_drawn_program_is_counted_or_named(ways: list[str], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = nn.ParameterList(torch.rand(WIDTH, WIDTH, generator=generator) for _ in ways)
    net = nn.Module()
    net.weights = weights
    x = torch.rand(SAMPLES, WIDTH, generator=generator)

    def forward(x: Tensor) -> Tensor:
        for way, weight in zip(ways, weights, strict=True):
            x = torch.tanh(WAYS[way](x, weight))
        return x

    net.forward = forward  # type: ignore[method-assign]
    plain = net(x)
    counts = counted(net, x)
    assert torch.equal(plain, net(x))
    seen = sum(way in COUNTED for way in ways)
    named = sum(entry["calls"] for entry in counts.uncounted)
    more = 2 * sum(way == "jvp" for way in ways)  # beside that of the value, one for the tangent of each factor
    assert counts.totals["dense_ops"] == (seen + more) * EACH
    assert named >= len(ways) - seen and bool(named) == (seen < len(ways))


@pytest.mark.parametrize("write", [assign, assign_data, copy_into, set_to])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_buffer_that_is_written_is_a_state(write: Callable[[nn.Module, Tensor], None], steps: int) -> None:
    net = State(write)
    with torch.no_grad(), record(net, calls="steps") as tape:
        for _ in range(steps):
            net(torch.rand(SAMPLES, WIDTH))
    counts = count(tape, strict=True)
    assert counts.totals["dense_ops"] == steps * EACH
    assert counts.totals["elementwise"] == steps * SAMPLES * WIDTH * 2  # an addition and a tanh


def test_a_buffer_that_is_read_only_is_a_constant() -> None:
    net = nn.Module()
    net.register_buffer("basis", torch.ones(WIDTH, WIDTH))
    net.weight = nn.Parameter(torch.ones(WIDTH, WIDTH))
    net.forward = lambda x: x @ (net.basis @ net.weight)  # type: ignore[method-assign, operator]
    assert counted(net, torch.ones(SAMPLES, WIDTH)).totals["dense_ops"] == EACH


@pytest.mark.parametrize("held", ["attribute", "list", "mapping", "closure", "default"])
def test_tensors_that_a_model_holds_without_registering_them_are_constants(held: str) -> None:
    weight, x = torch.ones(WIDTH, WIDTH), torch.ones(SAMPLES, WIDTH)
    net = nn.Module()
    net.own = {"attribute": weight, "list": [weight], "mapping": {"weight": weight}}.get(held)

    def of_closure(x: Tensor) -> Tensor:
        return x @ weight

    def of_default(x: Tensor, w: Tensor = weight) -> Tensor:
        return x @ w

    forward = {
        "attribute": lambda x: x @ net.own,
        "list": lambda x: x @ net.own[0],
        "mapping": lambda x: x @ net.own["weight"],
        "closure": of_closure,
        "default": of_default,
    }[held]
    if held in ("closure", "default"):
        counts = counted(as_module(forward), x)
    else:
        net.forward = forward  # type: ignore[method-assign]
        counts = counted(net, x)
    assert counts.uncounted == () and counts.totals["dense_ops"] == EACH


def test_an_array_that_numpy_writes_into_is_data() -> None:
    """The tensor of an array that was passed in is an input; what NumPy adds to it later stays a signal."""
    array = np.ones((SAMPLES, WIDTH), np.float32)
    counts = counted(as_module(lambda x: x @ torch.ones(WIDTH, WIDTH)), torch.from_numpy(array))
    assert counts.uncounted == () and counts.totals["dense_ops"] == EACH


def replace_in_list(module: nn.Module, new: Tensor) -> None:
    module.held[0] = new


def append_to_deque(module: nn.Module, new: Tensor) -> None:
    module.held.append(new)
    module.held.popleft()


def decay_in_place(module: nn.Module, new: Tensor) -> None:
    module.held[0].copy_(new)


@pytest.mark.parametrize("write", [replace_in_list, append_to_deque, decay_in_place])
@pytest.mark.parametrize("before", [0, 2])
def test_an_attribute_that_is_replaced_is_a_state(write: Callable[[nn.Module, Tensor], None], before: int) -> None:
    net = nn.Module()
    net.held, net._weight = deque([torch.zeros(SAMPLES, WIDTH)]), torch.ones(WIDTH, WIDTH)

    def forward(x: Tensor) -> Tensor:
        new = torch.tanh(net.held[0] @ net._weight + x)
        write(net, new)
        return new

    net.forward = forward  # type: ignore[method-assign]
    for _ in range(before):  # the state is left from an earlier run
        net(torch.rand(SAMPLES, WIDTH))
    with record(net, calls="steps") as tape:
        for _ in range(3):
            net(torch.rand(SAMPLES, WIDTH))
    counts = count(tape, strict=True)
    assert counts.totals["dense_ops"] == 3 * EACH
    assert counts.totals["elementwise"] == 3 * SAMPLES * WIDTH * 2  # an addition and a tanh


def test_a_tensor_of_a_hook_is_a_constant() -> None:
    weight, net = torch.ones(WIDTH, WIDTH), nn.Identity()
    net.register_forward_hook(lambda module, args, output: output @ weight)
    counts = counted(net, torch.ones(SAMPLES, WIDTH))
    assert counts.uncounted == () and counts.totals["dense_ops"] == EACH and counts.totals["weights"] == WIDTH**2


def test_lazy_modules_are_counted() -> None:
    counts = counted(nn.LazyLinear(WIDTH, bias=False), torch.ones(SAMPLES, WIDTH))
    assert counts.uncounted == () and counts.totals["dense_ops"] == EACH and counts.totals["weights"] == WIDTH**2


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_model_with_buffers() -> None:
    net = torch.jit.script(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).eval())
    assert counted(net, torch.ones(SAMPLES, WIDTH)).totals["dense_ops"] == EACH


def test_a_buffer_of_zeros_that_receives_spikes_holds_spikes() -> None:
    net = nn.Module()
    net.register_buffer("delayed", torch.zeros(2, SAMPLES, WIDTH))
    net.fire, net.weight = nn.Threshold(0.5, 0), nn.Parameter(torch.ones(WIDTH, WIDTH))

    def forward(x: Tensor) -> Tensor:
        net.delayed = net.delayed.roll(1, 0)
        net.delayed[0] = net.fire(x)
        return net.delayed[1] @ net.weight

    net.forward = forward  # type: ignore[method-assign]
    with torch.no_grad(), record(net, calls="steps", spiking=["fire"]) as tape:
        for _ in range(3):
            net(torch.ones(SAMPLES, WIDTH))
    totals = count(tape).totals
    assert (totals["effective_acs"], totals["effective_macs"], totals["dense_ops"]) == (2 * EACH, 0, 3 * EACH)
