"""Dense operations against torch's FlopCounterMode: twice the products of each operator, forward and backward.

FlopCounterMode differs in three points, which are stated here:

* it counts the zeros that pad a convolution (or the outputs that a transposed one drops), which are no work;
* it does not divide the weight gradient of a grouped convolution by the number of groups;
* it has no formula for products with vectors, ``_trilinear``, LSTMs of oneDNN and embeddings. LSTMs and bilinear layers
  are compared with the same function written in operators that it counts, and attention with its own formula.
"""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

import neurosparse as ns
from neurosparse.meter.fused import EQUATIONS
from neurosparse.meter.products import PRODUCTS
from neurosparse.meter.tally import tally

aten = torch.ops.aten


def raw(formula: Callable[..., int]) -> Callable[..., int]:
    """A formula of torch that receives tensors, as FlopCounterMode's ``custom_mapping`` expects it."""

    def formula_of(*args: Any, **kwargs: Any) -> int:
        return formula(*args, **kwargs)

    formula_of._get_raw = True  # type: ignore[attr-defined]
    return formula_of


#: Torch registers its formulas of attention for the kernels of other devices only.
FORMULAS: Any = {
    aten._scaled_dot_product_flash_attention_for_cpu: raw(sdpa_flop),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: raw(sdpa_backward_flop),
}


class Products(TorchDispatchMode):
    """Twice the dense products of each ATen operator; those of an equation belong to the operator it stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.fused: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        if name in EQUATIONS:
            self.fused = name
            with self:
                EQUATIONS[name](*args, **kwargs)
            self.fused = None
        for product in PRODUCTS[name](lambda _: "signal", *args, **kwargs) if name in PRODUCTS else ():
            if product.operation.kind != "embedding":
                self.flops[self.fused or name] += 2 * tally(product.operation).get("dense_ops", 0)
        return result


def loss_of(output: Any) -> Tensor:
    return (output[0] if isinstance(output, tuple) else output).square().sum()


def torchs(net: nn.Module, *inputs: Any) -> list[dict[str, int]]:
    """FlopCounterMode by operator, forward and backward."""
    counted = []
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as forward:
        loss = loss_of(net(*inputs))
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as backward:
        loss.backward()
    for mode in (forward, backward):
        counted.append({str(op).split(".")[-1]: n for op, n in mode.get_flop_counts()["Global"].items() if n})
    return counted


def ours(net: nn.Module, *inputs: Any) -> list[dict[str, int]]:
    """The same from the readers of products."""
    with Products() as forward:
        loss = loss_of(net(*inputs))
    with Products() as backward:
        loss.backward()
    return [{name: n for name, n in mode.flops.items() if n} for mode in (forward, backward)]


def recorded(net: nn.Module, *inputs: Any) -> list[int]:
    """Twice the dense products that ``ns.record`` counts, forward and backward, without embeddings."""
    with ns.record(net, backward=True) as tape:
        loss_of(net(*inputs)).backward()
    rows = [row for row in ns.count(tape, strict=True).rows if row["kind"] != "embedding"]
    return [2 * sum(row["dense_ops"] for row in rows if row["phase"] == phase) for phase in ("forward", "backward")]


class Calls(nn.Module):
    """A function of the input and of parameters of the given shapes."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...]):
        super().__init__()
        self.function, self.weights = function, nn.ParameterList(torch.randn(shape) for shape in shapes)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs, *self.weights)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.norm(self.first(x))))


class Recurs(nn.Module):
    """A cell over the steps of its input."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0] if isinstance(state, tuple) else state  # type: ignore[return-value]


class Decodes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x[:, :3])


def heads(x: Tensor, n: int = 2) -> Tensor:
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def attention(x: Tensor, w: Tensor, **how: Any) -> Tensor:
    return F.scaled_dot_product_attention(heads(x @ w), heads(x), heads(x), **how)


def shared_keys(x: Tensor, w: Tensor) -> Tensor:
    y = heads(x @ w, 4)
    return F.scaled_dot_product_attention(y, y[:, :2], y[:, 2:], enable_gqa=True)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (3, 6)),
    "mlp without bias": (lambda: nn.Sequential(nn.Linear(6, 5, False), nn.Tanh(), nn.Linear(5, 4, False)), (3, 6)),
    "mlp of sequences": (lambda: nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 4)), (2, 7, 6)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 3, 4), nn.ReLU(), nn.Conv1d(3, 2, 2, stride=2)), (2, 2, 13)),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 4, (2, 1))), (2, 2, 9, 8)),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.Conv3d(2, 3, (1, 2, 3))), (2, 1, 5, 6, 7)),
    "strided conv2d": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, (2, 3)), nn.Conv2d(3, 2, 2, 2)), (2, 2, 10, 11)),
    "dilated conv2d": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2), nn.Conv2d(3, 2, 2)), (2, 2, 9, 8)),
    "transposed conv1d": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ConvTranspose1d(2, 3, 3, 2)), (2, 2, 4)),
    "transposed conv2d": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.ConvTranspose2d(3, 4, 3, 2, output_padding=1, dilation=2)),
        (2, 2, 3, 4),
    ),
    "transposed conv3d": (lambda: nn.Sequential(nn.Linear(3, 3), nn.ConvTranspose3d(2, 2, 2)), (1, 2, 2, 3, 3)),
    "residual": (Residual, (2, 3, 4, 4)),
    "cnn with head": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)),
        (2, 1, 6, 6),
    ),
    "attention": (lambda: Calls(attention, (8, 8)), (2, 5, 8)),
    "causal attention": (lambda: Calls(lambda x, w: attention(x, w, is_causal=True), (8, 8)), (2, 5, 8)),
    "masked attention": (
        lambda: Calls(lambda x, w: attention(x, w, attn_mask=torch.ones(5, 5).tril().bool()), (8, 8)),
        (2, 5, 8),
    ),
    "attention with shared keys": (lambda: Calls(shared_keys, (8, 8)), (2, 5, 8)),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (2, 5, 8)),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, norm_first=True), 2, enable_nested_tensor=False
        ),
        (5, 2, 8),
    ),
    "decoder layer": (Decodes, (2, 5, 8)),
    "gru": (lambda: nn.GRU(6, 4, 2, batch_first=True, bidirectional=True), (2, 5, 6)),
    "elman network": (lambda: nn.RNN(6, 4), (5, 2, 6)),
    "lstm cell": (lambda: Recurs(nn.LSTMCell(6, 4)), (2, 3, 6)),
    "gru cell": (lambda: Recurs(nn.GRUCell(6, 4)), (2, 3, 6)),
    "einsum": (lambda: Calls(lambda x, w, v: torch.einsum("bti,io,oj->btj", x, w, v), (6, 4), (4, 3)), (2, 5, 6)),
    "tensordot": (lambda: Calls(lambda x, w: torch.tensordot(x, w, ([1, 2], [0, 1])), (5, 6, 3)), (2, 5, 6)),
    "batched matmul": (lambda: Calls(lambda x, w: (x @ w) @ x.mT, (2, 6, 6)), (3, 2, 5, 6)),
    "weights from data": (lambda: Calls(lambda x, w: F.linear(x, x @ w), (6, 6)), (5, 6)),
    "tied weights": (lambda: Calls(lambda x, w: torch.relu(x @ w) @ w.T, (6, 4)), (3, 6)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_flop_counter(name: str) -> None:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    net, x = build(), torch.randn(shape)
    expected = torchs(net, x)
    assert sum(expected[0].values()) and sum(expected[1].values())
    assert ours(net, x) == expected
    assert recorded(net, x) == [sum(phase.values()) for phase in expected]


def test_an_embedding_adds_rows_without_products() -> None:
    net, words = nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 4)), torch.randint(0, 7, (3, 5))
    expected = torchs(net, words)
    assert ours(net, words) == expected
    assert recorded(net, words) == [sum(phase.values()) for phase in expected]


@pytest.mark.parametrize(("layers", "both", "bias"), [(1, False, True), (2, False, False), (2, True, True)])
def test_an_lstm_of_onednn_is_that_of_single_steps(layers: int, both: bool, bias: bool) -> None:
    net = nn.LSTM(6, 4, layers, bidirectional=both, bias=bias, batch_first=True)
    x, state = torch.randn(3, 5, 6), torch.zeros(2, layers * (1 + both), 3, 4, requires_grad=True)
    single = deepcopy(net).double()  # oneDNN has no kernel for it
    forward, backward = (sum(phase.values()) for phase in torchs(single, x.double(), tuple(state.double())))
    # oneDNN computes the gradient of every layer's input, also where no one uses it: steps, samples, gates, input.
    unused = 2 * 5 * 3 * (4 * 4) * 6 * (1 + both)
    inputs: Any = (x, tuple(state))
    fused = ours(net, *inputs)
    assert fused == [{"mkldnn_rnn_layer": forward}, {"mkldnn_rnn_layer_backward": backward + unused}]
    assert recorded(net, *inputs) == [forward, backward + unused]


def test_a_bilinear_layer_is_two_products() -> None:
    class Written(nn.Bilinear):
        def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
            inner = torch.einsum("ni,oij->noj", input1, self.weight)
            return torch.einsum("noj,nj->no", inner, input2) + self.bias

    x, y = torch.randn(5, 3), torch.randn(5, 4)
    forward, _ = torchs(Written(3, 4, 2), x, y)
    assert ours(nn.Bilinear(3, 4, 2), x, y)[0] == {"_trilinear": sum(forward.values())}
    # Gradient of the weights (2, 3, 4): the outer product of gradient and left input, of 5 samples, with the right one.
    assert ours(nn.Bilinear(3, 4, 2), x, y)[1] == {"_trilinear": 2 * 5 * 2 * 3 * 4}


GROUPED = {
    "grouped conv1d": (lambda: nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
    "depthwise conv2d": (lambda: nn.Conv2d(4, 8, 3, groups=4), (2, 4, 6, 7)),
    "grouped transposed conv2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (2, 4, 3, 4)),
    "dilated grouped conv3d": (lambda: nn.Conv3d(2, 4, 2, groups=2, dilation=2), (2, 2, 4, 5, 6)),
}


@pytest.mark.parametrize("name", GROUPED)
def test_weight_gradients_of_groups(name: str) -> None:
    """FlopCounterMode counts the weight gradient of g groups g times; the input gradient as the forward pass."""
    build, shape = GROUPED[name]
    net, x = build(), torch.randn(shape, requires_grad=True)
    (forward, backward), (theirs, theirs_backward) = ours(net, x), torchs(net, x)
    (once,) = theirs.values()
    assert forward == theirs
    assert backward == {"convolution_backward": 2 * once}
    assert theirs_backward == {"convolution_backward": once + net.groups * once}


PADDED = {
    "conv1d": (lambda: nn.Conv1d(2, 3, 4, padding=2), (2, 2, 9)),
    "same conv2d": (lambda: nn.Conv2d(2, 3, (3, 5), padding="same"), (2, 2, 6, 7)),
    "strided and dilated conv2d": (lambda: nn.Conv2d(2, 4, 3, (2, 3), (2, 1), dilation=2), (2, 2, 8, 9)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 3, padding=(0, 1, 2)), (2, 1, 4, 3, 3)),
    "transposed conv1d": (lambda: nn.ConvTranspose1d(2, 3, 4, 2, padding=2), (2, 2, 5)),
    "transposed conv2d": (lambda: nn.ConvTranspose2d(2, 3, 3, (1, 2), padding=1, output_padding=(0, 1)), (2, 2, 4, 5)),
}


@pytest.mark.parametrize("name", PADDED)
def test_padding_is_no_work(name: str) -> None:
    """Each axis has its own share of taps inside the input; FlopCounterMode counts all of them."""
    build, shape = PADDED[name]
    net, x = build(), torch.randn(shape, requires_grad=True)
    out = net(x).shape
    near, far = (shape[2:], out[2:]) if net.transposed else (out[2:], shape[2:])
    padding = net._reversed_padding_repeated_twice[::-2] if net.padding == "same" else net.padding
    share, whole = 1, 1
    for n, limit, k, s, p, d in zip(near, far, net.kernel_size, net.stride, padding, net.dilation, strict=True):
        share *= sum(0 <= i * s + j * d - p < limit for i in range(n) for j in range(k))
        whole *= n * k
    assert share < whole
    ((theirs,), (theirs_backward,)) = (phase.values() for phase in torchs(net, x))
    pairs = 2 * prod(shape[:2]) * net.out_channels
    assert (theirs, theirs_backward) == (pairs * whole, 2 * pairs * whole)
    assert ours(net, x) == [{"convolution": pairs * share}, {"convolution_backward": 2 * pairs * share}]
