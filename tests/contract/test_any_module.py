"""Any torch module is recorded: its result stays the same, and what it computes is counted or named."""

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

from neurosparse.meter.count import count
from neurosparse.meter.record import as_module, record

OUTSIDE = "a tensor from outside"
IGNORED = [
    "ignore:`torch.jit.:DeprecationWarning",
    "ignore:`torch.jit.:FutureWarning",
    "ignore:torch.lu is deprecated",
    "ignore:flex_attention called without torch.compile",
    "ignore:This overload of addmm is deprecated",
    "ignore:The PyTorch API of (nested tensors|MaskedTensors)",
    "ignore:Sparse (CSR|invariant)",
    "ignore:torch.quantize_per_tensor",
    "ignore:torch.ao.quantization is deprecated",
    "ignore:The given NumPy array is not writable",
]

torch.manual_seed(0)
X, IMAGE, WEIGHT = torch.rand(4, 6) + 0.5, torch.rand(1, 2, 6, 6), torch.rand(6, 6) + 0.5
Z = torch.complex(X, X)
LINEAR = nn.Linear(6, 3)
PRODUCT = {"dense_ops": 4 * 6 * 3, "bias_adds": 12}  # of LINEAR
LINES = torch.tensor([0, 1, 4])  # a ragged batch of one row and three rows


class Case(NamedTuple):
    """A module, its arguments, and the totals or the names that are expected; ``context``: what it runs in."""

    module: nn.Module
    args: tuple
    totals: dict[str, int]
    named: tuple[str, ...] = ()
    context: Callable[[], Any] = nullcontext


def function(f: Callable, *args: Any, named: tuple[str, ...] = (), **totals: int) -> Case:
    return Case(as_module(f), args, totals, named)


@dataclass
class Batch:
    x: Tensor
    scale: Tensor


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x))


class State(nn.Module):
    """A buffer that is written by assignment of ``.data``: ``h = tanh(W h + x)``, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(6, 6, bias=False)
        self.register_buffer("h", torch.zeros(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            self.h.data = torch.tanh(self.weight(self.h) + x)
        return self.h.clone()


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return x if depth == 0 else self(self.linear(x), depth - 1)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Labelled(Tensor):
    """A subclass without a rule of its own."""


def write(x: Tensor, out: Tensor) -> None:
    out.copy_(x @ x.t())


LIBRARY = torch.library.Library("test_any_module", "DEF")
LIBRARY.define("write(Tensor x, Tensor(a!) out) -> ()")
LIBRARY.impl("write", write, "CPU")


def in_a_thread(x: Tensor) -> Tensor:
    out: list[Tensor] = []
    thread = threading.Thread(target=lambda: out.append(torch.tanh(x)))
    thread.start()
    thread.join()
    return out[0] + 1


def into_out(x: Tensor) -> Tensor:
    out = torch.zeros(4, 4)
    torch.ops.test_any_module.write(x, out)
    return out * 2


def through_numpy_memory(x: Tensor) -> Tensor:
    y = x.clone()
    array = y.numpy()
    array[:] = np.tanh(array)
    return y * 2


def into_unwritten_memory(x: Tensor) -> Tensor:
    """As a kernel does that receives addresses."""
    y = torch.empty(4, 6)
    np.tanh(x.numpy(), out=y.numpy())
    return y * 2


def shapes_alone(x: Tensor) -> Tensor:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        width = (torch.rand(4, 6) * 2).shape[1]
    return x * width


def hooked() -> nn.Module:
    net = nn.Linear(6, 3)
    net.register_forward_pre_hook(lambda _, args: (args[0] * 3,))
    net.register_forward_hook(lambda _, args, out: out + 1)
    return net


def flex(q: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, q, q)


def loop(x: Tensor) -> Tensor:
    from torch._higher_order_ops.while_loop import while_loop

    return while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2), (torch.tensor(0), x))[1]


def packed(x: Tensor) -> Tensor:
    return nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True).data


def ragged(x: Tensor) -> Tensor:
    return LINEAR(torch.nested.nested_tensor_from_jagged(x, LINES)).values()


def quantised(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize()


#: Each with the derivation of its numbers from the shapes.
CASES: dict[str, Callable[[], Case]] = {
    # 24 values: 24 ceil(log2 24) comparisons; along an axis of 4: 24 x 2
    "unique": lambda: function(torch.unique, X, comparisons=24 * 5),
    "unique rows": lambda: function(lambda x: torch.unique(x, dim=0), X, comparisons=24 * 2),
    "unique_consecutive": lambda: function(torch.unique_consecutive, X, comparisons=24),
    "lu": lambda: function(lambda x: torch.lu(x)[0], torch.eye(6) + WEIGHT, elementwise=2 * 6**3 // 3),
    "fractional_max_pool2d": lambda: function(
        lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=torch.rand(1, 2, 2)), IMAGE, comparisons=8 * 4
    ),
    # the sum, its comparison, and the branch that runs
    "cond": lambda: function(
        lambda x: torch.cond(x.sum() > 0, lambda y: y @ WEIGHT, lambda y: y * 2, (x,)),
        X, dense_ops=4 * 36, elementwise=24, comparisons=1,
    ),
    "flex_attention": lambda: function(flex, torch.rand(1, 2, 16, 16), named=("*",)),
    "while_loop": lambda: function(loop, X, named=("while_loop",)),
    # x W forward, and x^T (cos) backward
    "func.grad": lambda: function(
        lambda x: torch.func.grad(lambda w: (x @ w).sin().sum())(WEIGHT),
        X, dense_ops=2 * 4 * 36, elementwise=4 * 24,  # sine, sum; cosine, product with the gradient
    ),
    "func.vmap": lambda: function(lambda x: torch.vmap(lambda row: row @ WEIGHT)(x), X, dense_ops=4 * 36),
    "func.jacrev": lambda: function(lambda x: torch.func.jacrev(lambda y: y * 2)(x), X, elementwise=24 + 24 * 24),
    "func.hessian": lambda: function(lambda x: torch.func.hessian(lambda y: (y**3).sum())(x), X, named=("*",)),
    "func.functional_call": lambda: function(
        lambda x: torch.func.functional_call(LINEAR, dict(LINEAR.named_parameters()), (x,)), X, **PRODUCT
    ),
    "ScriptModule": lambda: Case(torch.jit.script(Scripted()), (X,), PRODUCT | {"comparisons": 12}),
    "traced": lambda: Case(torch.jit.trace(Scripted(), X), (X,), PRODUCT | {"comparisons": 12}),
    "exported": lambda: Case(torch.export.export(Scripted(), (X,)).module(), (X,), PRODUCT | {"comparisons": 12}),
    "traced by fx": lambda: Case(torch.fx.symbolic_trace(Scripted()), (X,), PRODUCT | {"comparisons": 12}),
    "compiled": lambda: Case(torch.compile(Scripted(), backend="eager"), (X,), PRODUCT | {"comparisons": 12}),
    "compiled function": lambda: function(
        torch.compile(lambda x: LINEAR(x).relu(), backend="eager"), X, **PRODUCT, comparisons=12
    ),
    "jagged inside": lambda: function(ragged, X, **PRODUCT),
    "positional addmm": lambda: function(
        lambda x: torch.addmm(0.5, torch.zeros(4, 6), 2.0, x, WEIGHT),
        X, dense_ops=4 * 36, bias_adds=24, elementwise=2 * 24,  # both scales
    ),
    "first input a number": lambda: function(lambda a, x: a * x, torch.tensor(2.0), X, elementwise=24),
    "only a number": lambda: function(lambda a: a * a, torch.tensor(2.0), elementwise=1),
    "no tensor": lambda: function(lambda n: torch.zeros(n) + 1, 5, elementwise=5),
    "dataclass": lambda: function(lambda b: b.x @ WEIGHT + b.scale, Batch(X, X), dense_ops=4 * 36, elementwise=24),
    "nested mapping": lambda: function(lambda p: p["a"][0] + p["b"], {"a": (X,), "b": X}, elementwise=24),
    "text and None": lambda: function(lambda text, x, none: x + 1, "text", X, None, elementwise=24),
    # moves alone
    "pack_padded_sequence": lambda: function(packed, torch.rand(2, 3, 4)),
    "to_sparse, to_dense": lambda: function(lambda x: x.to_sparse().to_dense(), X),
    "slice_scatter": lambda: function(lambda x: torch.slice_scatter(x, x[:, :2], 1, 2, 4), X),
    "view_as_real": lambda: function(lambda x: torch.view_as_real(torch.complex(x, x)), X),
    # 4 rows, each with one of two matrices of 16 x 8
    "grouped_mm": lambda: function(
        lambda x: F.grouped_mm(x, torch.ones(2, 16, 8).bfloat16(), offs=torch.tensor([2, 4], dtype=torch.int32)),
        torch.rand(4, 16).bfloat16(), dense_ops=4 * 16 * 8,
    ),
    "einsum of three": lambda: function(
        lambda x: torch.einsum("ij,jk,kl->il", x, WEIGHT, WEIGHT), X, dense_ops=2 * 4 * 36
    ),
    # real input of 6: half of 5 n ceil(log2 n), for each of 4 rows
    "fft": lambda: function(torch.fft.rfft, X, elementwise=4 * 5 * 6 * 3 // 2),
    "thread": lambda: function(in_a_thread, X, elementwise=24, named=(OUTSIDE,)),
    "custom operator without a result": lambda: function(
        into_out, X, elementwise=16, named=("test_any_module.write",)
    ),
    "NumPy": lambda: function(lambda x: torch.from_numpy(np.tanh(x.numpy())) * 2, X, elementwise=24, named=(OUTSIDE,)),
    "NumPy in the memory of a tensor": lambda: function(through_numpy_memory, X, elementwise=24, named=(OUTSIDE,)),
    "NumPy in unwritten memory": lambda: function(into_unwritten_memory, X, elementwise=24, named=(OUTSIDE,)),
    "data of a buffer": lambda: Case(State(), (X,), {"dense_ops": 3 * 4 * 36, "elementwise": 3 * (24 + 24)}),
    "hooks": lambda: Case(hooked(), (X,), PRODUCT | {"elementwise": 24 + 12}),
    "list of modules": lambda: function(
        lambda x: [net(x) for net in (LINEAR, LINEAR)][1], X, dense_ops=144, bias_adds=24
    ),
    "copied inside": lambda: function(lambda x: copy.deepcopy(LINEAR)(x), X, **PRODUCT),
    "sparse input": lambda: function(lambda x: torch.sparse.mm(x, WEIGHT), torch.eye(6).to_sparse(), dense_ops=6 * 36),
    # quotient, rounding, zero point, two comparisons; difference, product
    "quantised tensor": lambda: function(quantised, X, elementwise=24 * (5 + 2)),
    # four real products for each complex one; a magnitude is two squares, a sum and a root
    "complex": lambda: function(lambda z: (z @ Z.t()).abs(), Z, dense_ops=4 * 4 * 4 * 6, elementwise=16 * 4),
    "empty batch": lambda: Case(nn.Sequential(LINEAR, nn.ReLU(), nn.LayerNorm(3)), (X[:0],), {}),
    "empty images": lambda: Case(nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)), (IMAGE[:0],), {}),
    "meta tensors": lambda: Case(
        nn.Sequential(nn.Linear(6, 3, device="meta"), nn.ReLU()), (X.to("meta"),), {"comparisons": 12}, ("addmm",)
    ),
    "fake tensors inside": lambda: function(shapes_alone, X, elementwise=24),
    "written before it is read": lambda: function(
        lambda x: torch.empty(4, 6).copy_(x).mul(2) + torch.empty_like(x).fill_(1), X, elementwise=24 + 24
    ),
    "recursion": lambda: Case(Recursive(), (X,), {"dense_ops": 3 * 4 * 36}),
    "checkpoint": lambda: function(lambda x: checkpoint(LINEAR, x, use_reentrant=False), X, **PRODUCT),
    "autograd.Function": lambda: function(Square.apply, X, elementwise=24),
    "gradient inside": lambda: function(
        lambda x: torch.autograd.grad((x.detach().requires_grad_() @ WEIGHT).sum(), WEIGHT, allow_unused=True)
        if WEIGHT.requires_grad else x @ WEIGHT, X, dense_ops=4 * 36,
    ),
    "weight_norm": lambda: Case(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), (X,), PRODUCT),
    "spectral_norm": lambda: Case(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3)).eval(), (X,), PRODUCT),
    "lazy": lambda: Case(nn.LazyLinear(3), (X,), PRODUCT),
    "inference mode": lambda: Case(Scripted(), (X,), PRODUCT | {"comparisons": 12}, (), torch.inference_mode),
    "autocast": lambda: Case(LINEAR, (X,), PRODUCT, (), lambda: torch.autocast("cpu", torch.bfloat16)),
    "subclass": lambda: Case(LINEAR, (X.as_subclass(Labelled),), PRODUCT),
    "in place on views": lambda: function(
        lambda x: x.clone()[:, ::2].mul_(2).t()[0].add_(1), X, elementwise=4 * 3 + 4
    ),
    "item decides": lambda: function(lambda x: x * 2 if x.sum().item() > 0 else x, X, elementwise=24 + 24),
    "ragged list": lambda: function(lambda parts: [part * 2 for part in parts], [X[0, :3], X[1, :5]], elementwise=8),
}  # fmt: skip


def as_plain(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    return x.to_dense().as_subclass(Tensor) if x.layout != torch.strided else x.as_subclass(Tensor)


def fresh(args: tuple) -> tuple:
    return tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, args)


COLUMNS = ("dense_ops", "bias_adds", "elementwise", "comparisons")


#: Cases for which torch loads or runs its compiler.
SLOW = ("flex_attention", "while_loop", "compiled function")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES])
@pytest.mark.filterwarnings(*IGNORED)
def test_any_module(name):
    case = CASES[name]()
    with case.context():
        torch.manual_seed(0)
        expected = case.module(*fresh(case.args))
        for module in case.module.modules():  # a state starts anew
            if isinstance(module, State):
                module.h.data = torch.zeros(4, 6)
        torch.manual_seed(0)
        with record(case.module) as tape:
            found = case.module(*fresh(case.args))
    for a, b in zip(tree_leaves(expected), tree_leaves(found), strict=True):
        assert type(a) is type(b)
        if isinstance(a, Tensor) and not a.is_meta:
            torch.testing.assert_close(as_plain(a), as_plain(b), rtol=0, atol=0)
    counts = count(tape)
    names = {entry["function"] for entry in counts.uncounted}
    assert names == set(case.named) or (case.named == ("*",) and not names)
    if case.named != ("*",):
        totals = counts.totals if counts.rows else {}
        assert {key: totals[key] for key in COLUMNS if totals.get(key)} == case.totals


def test_an_error_of_the_model_passes_and_leaves_no_mode_behind():
    def fails(x: Tensor) -> Tensor:
        raise ValueError("own error")

    model = as_module(fails)
    with pytest.raises(ValueError, match="own error"), record(model):
        model(X)
    assert torch._C._len_torch_dispatch_stack() == 0 and torch._C._len_torch_function_stack() == 0
    with record(LINEAR) as tape:
        LINEAR(X)
    assert count(tape, strict=True).totals["dense_ops"] == PRODUCT["dense_ops"]


def test_recording_inside_a_recording_counts_in_both():
    with record(LINEAR) as outer:
        LINEAR(X)
        with record(LINEAR) as inner:
            LINEAR(X)
    assert count(inner).totals["dense_ops"] == PRODUCT["dense_ops"]
    assert count(outer).totals["dense_ops"] == 2 * PRODUCT["dense_ops"]
