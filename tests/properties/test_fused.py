"""Equations of fused operators: each returns what the operator returns, and counts what the unfused module counts."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode

from neurosparse.meter.count import count
from neurosparse.meter.fused import EQUATIONS
from neurosparse.meter.gradients import GRADIENTS
from neurosparse.meter.products import PRODUCTS
from neurosparse.meter.record import as_module, record
from neurosparse.meter.tally import tally


class Compared(TorchDispatchMode):
    """Runs the equation of each fused operator beside it; ``names`` of the operators whose results agree."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__ if isinstance(func, torch._ops.OpOverload) else func.name()
        result = func(*args, **(kwargs or {}))
        if name in EQUATIONS:
            results = [x if isinstance(x, tuple) else (x,) for x in (result, EQUATIONS[name](*args, **(kwargs or {})))]
            if name.endswith("_backward"):
                assert len(results[0]) == len(results[1])
            for one, other in zip(*results, strict=False):
                dense = torch.cat(one.unbind())[None] if one.is_nested else one
                torch.testing.assert_close(other, dense, atol=1e-5, rtol=1e-4)
            self.names.append(name)
        return result


def heads(n: int, steps: int, units: int = 4) -> Tensor:
    return torch.randn(2, n, steps, units, requires_grad=True)


def attend(keys: int = 7, of_keys: int = 4, **how: Any) -> None:
    shared = {"enable_gqa": True} if of_keys < 4 else {}
    parts = heads(4, 5), heads(of_keys, keys), heads(of_keys, keys)
    F.scaled_dot_product_attention(*parts, **how, **shared).square().sum().backward()


FLASH = ["_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward"]
ATTENTION: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"keys": 5, "is_causal": True},
    "scaled": {"scale": 0.3},
    "masked": {"attn_mask": torch.ones(5, 7).tril(2).bool()},
    "biased": {"attn_mask": torch.linspace(-1, 1, 35).view(5, 7)},
    "a mask for each head": {"attn_mask": torch.linspace(-1, 1, 280).view(2, 4, 5, 7)},
    "keys shared by two heads": {"of_keys": 2},
    "keys shared by all": {"of_keys": 1, "keys": 5, "is_causal": True},
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_and_its_gradient(name: str) -> None:
    with Compared() as compared:
        attend(**ATTENTION[name])
    assert compared.names == FLASH


def test_attention_of_other_devices() -> None:
    """The arguments that kernels of GPUs take, by their schemas."""
    q, k, v = (torch.randn(2, 3, 5, 4) for _ in range(3))
    mask = torch.linspace(-1, 1, 25).view(5, 5)
    causal = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    biased = F.scaled_dot_product_attention(q, k, v, mask, scale=0.3)
    for kernel in ("efficient", "cudnn"):
        equation = EQUATIONS[f"_scaled_dot_product_{kernel}_attention"]
        torch.testing.assert_close(equation(q, k, v, None, True, 0.0, True, scale=0.3), causal)
        torch.testing.assert_close(equation(q, k, v, mask, True, scale=0.3), biased)
    flash = EQUATIONS["_scaled_dot_product_flash_attention"]
    torch.testing.assert_close(flash(q, k, v, 0.0, True, False, scale=0.3), causal)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_lstm_layers(bias: bool, both: bool) -> None:
    net = nn.LSTM(3, 4, 2, bidirectional=both, bias=bias)
    with torch.no_grad(), Compared() as compared:
        net(torch.randn(5, 2, 3), (torch.randn(2 + 2 * both, 2, 4), torch.randn(2 + 2 * both, 2, 4)))
    assert compared.names == ["mkldnn_rnn_layer"] * (2 + 2 * both)


@pytest.mark.parametrize(
    ("mode", "gates", "torchs"), [(0, 1, torch.rnn_relu), (1, 1, torch.rnn_tanh), (3, 3, torch.gru)]
)
def test_other_recurrent_layers(mode: int, gates: int, torchs: Any) -> None:
    """torch runs them step by step; the operator has a number for each."""
    x, h = torch.randn(5, 2, 3), torch.randn(2, 4)
    weights = [torch.randn(gates * 4, n) for n in (3, 4)] + [torch.randn(gates * 4) for _ in range(2)]
    expected, _ = torchs(x, h[None], weights, True, 1, 0.0, False, False, False)
    found = EQUATIONS["mkldnn_rnn_layer"](x, *weights, h, h, False, [], mode, 4, 1, True, False, False, False)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_of_an_lstm(bias: bool, both: bool) -> None:
    """The gradients of the gates, computed again to count their zeros, give the gradients that torch computes."""
    compared = []

    class Gradients(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ == "mkldnn_rnn_layer_backward":
                products = GRADIENTS["mkldnn_rnn_layer_backward"](lambda _: "signal", *args)
                to_input, _, of_input, of_state = (product.operation for product in products[:4])
                assert to_input.weight is not None
                torch.testing.assert_close(to_input.input @ to_input.weight.T, result[0], atol=1e-5, rtol=1e-4)  # type: ignore[operator]
                for operation, expected in ((of_input, result[1]), (of_state, result[2])):
                    found = torch.einsum(str(operation.equation), operation.input, operation.weight)
                    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
                compared.append(func)
            return result

    net = nn.LSTM(3, 4, 2, bidirectional=both, bias=bias)
    x = torch.randn(5, 2, 3, requires_grad=True)
    state = (torch.randn(2 + 2 * both, 2, 4, requires_grad=True), torch.randn(2 + 2 * both, 2, 4, requires_grad=True))
    with Gradients():
        y, (h, c) = net(x, state)
        (y.square().sum() + h.sum() + c.pow(3).sum()).backward()
    assert len(compared) == 2 + 2 * both


HIDDEN = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
FUTURE = torch.ones(5, 5).triu(1).bool()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layers(norm_first: bool, activation: str) -> None:
    build = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, norm_first=norm_first, activation=activation)
    net, x = nn.TransformerEncoder(build, 1, enable_nested_tensor=not norm_first).eval(), torch.randn(2, 5, 6)
    layer: Any = net.layers[0]
    with torch.no_grad(), Compared() as compared:
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        layer(x)
        layer(x, src_mask=FUTURE)
        layer(x, src_key_padding_mask=HIDDEN)
        layer(x, src_mask=FUTURE, src_key_padding_mask=HIDDEN)
        net(x, src_key_padding_mask=HIDDEN)  # a nested tensor, if it may be one
    assert compared.names == ["_transformer_encoder_layer_fwd"] * 5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_multi_head_attention() -> None:
    net, x = nn.MultiheadAttention(6, 2, batch_first=True).eval(), torch.randn(2, 5, 6)
    with torch.no_grad(), Compared() as compared:
        net(x, x, x)
        net(x, x, x, key_padding_mask=HIDDEN, need_weights=False)
        net(x, x, x, attn_mask=FUTURE, need_weights=False)
        ragged = torch.nested.nested_tensor([torch.randn(3, 6), torch.randn(2, 6)])
        net(ragged, ragged, ragged, need_weights=False)
    assert compared.names == ["_native_multi_head_attention"] * 4


def test_bilinear_layers_and_their_gradients() -> None:
    x, y, w = torch.randn(5, 3, requires_grad=True), torch.randn(5, 4, requires_grad=True), torch.randn(2, 3, 4)
    with Compared() as compared:
        F.bilinear(x, y, w.requires_grad_()).square().sum().backward()
    assert compared.names == ["_trilinear"] * 4


def test_distances() -> None:
    with Compared() as compared:
        torch.cdist(torch.randn(2, 30, 4), torch.randn(2, 26, 4))
    assert compared.names == ["_euclidean_dist"]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention() -> None:
    q, table = torch.randn(1, 2, 16, 8), torch.randn(2, 31)
    blocks = create_block_mask(lambda b, h, i, j: i >= j, None, None, 16, 16, device="cpu")
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), Compared() as compared:
        flex_attention(q, q, q)
        flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + (i - j))
        flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + table[h, i - j + 15])
        flex_attention(q, q[:, :1], q[:, :1], block_mask=blocks, enable_gqa=True, scale=0.2)
    assert compared.names == ["flex_attention"] * 4


COLUMNS = ("dense_ops", "bias_adds")


class Layers(TorchDispatchMode):
    """Dense products and additions of biases for each weight, with equations in the place of fused operators."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {weight.untyped_storage().data_ptr(): name for name, weight in model.named_parameters()}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.fused: set[str] = set()

    def name_of(self, weight: Tensor) -> str:
        return self.names.get(weight.untyped_storage().data_ptr(), "")

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **kwargs)
        if name in EQUATIONS:
            self.fused.add(name)
            with self:
                EQUATIONS[name](*args, **kwargs)
        elif name in PRODUCTS:
            for product in PRODUCTS[name](lambda x: "parameter" if self.name_of(x) else "signal", *args, **kwargs):
                columns = tally(product.operation)
                for column in COLUMNS:
                    self.counts[column, self.name_of(product.weight)] += columns.get(column, 0)
        return func(*args, **kwargs)


def layers(model: nn.Module, *inputs: Any) -> Layers:
    with Layers(model) as counted:
        model(*inputs)
    return counted


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    "norm first": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_fused_transformer_counts_as_the_unfused_one(name: str) -> None:
    """Gradients keep torch from the fused operator."""
    model, x = LAYERS[name]().eval(), torch.randn(3, 5, 8)
    with torch.no_grad():
        fused = layers(model, x)
    unfused = layers(model, x)
    assert (fused.fused, unfused.fused) == ({"_transformer_encoder_layer_fwd"}, {FLASH[0]})
    dense, biases = ({key: n for key, n in fused.counts.items() if key[0] == column} for column in COLUMNS)
    assert dense == {key: n for key, n in unfused.counts.items() if key[0] == "dense_ops"}
    # The unfused projection adds its bias apart. 15 tokens: three projections and one, 16 and 8 units.
    assert sum(biases.values()) == 15 * (3 * 8 + 8 + 16 + 8) * (len(dense) - 1) // 4


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_a_ragged_batch_has_no_padding() -> None:
    """8 of 10 tokens: in two layers, 4 and 2 projections of each, and the scores of 25 and 9 pairs of tokens, twice."""
    model, x = LAYERS["encoder"]().eval(), torch.randn(2, 5, 8)
    with torch.no_grad(), Layers(model) as counted:
        model(x, src_key_padding_mask=HIDDEN)
    dense = sum(n for (column, _), n in counted.counts.items() if column == "dense_ops")
    assert dense == 2 * (8 * (4 * 8 * 8 + 2 * 8 * 16) + (25 + 9) * 8 * 2)


@pytest.mark.parametrize("how", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}])
def test_a_fused_lstm_counts_as_single_steps(how: dict[str, Any]) -> None:
    """oneDNN has no kernel for float64."""
    net, x = nn.LSTM(5, 4, **how), torch.randn(3, 2, 5)
    fused, unfused = layers(net, x), layers(net.double(), x.double())
    assert (fused.fused, unfused.fused) == ({"mkldnn_rnn_layer"}, set())
    assert fused.counts == unfused.counts


MODES: dict[str, Callable[[], Any]] = {
    "without gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}
SHAPES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(8, 4), (3, 5, 8)),
    "convolution": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 5, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(2, 3, 3), (2, 2, 5)),
    "bilinear": (lambda: as_module(lambda x: F.bilinear(x, x, weight_of_bilinear)), (3, 8)),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval(), (2, 5, 8)),
    "gru": (lambda: nn.GRU(8, 4), (5, 2, 8)),
    "rnn": (lambda: nn.RNN(8, 4), (5, 2, 8)),
    "attention": (lambda: as_module(lambda x: F.scaled_dot_product_attention(x, x, x)), (2, 2, 5, 8)),
}
weight_of_bilinear = torch.ones(4, 8, 8)


@pytest.mark.parametrize("name", SHAPES)
def test_counts_do_not_depend_on_how_torch_runs(name: str) -> None:
    """Composite operators arrive whole in inference mode; autocast and float64 change bits only; so do strides."""
    build, shape = SHAPES[name]
    net, x = build(), torch.randn(shape)

    def counts(x: Tensor) -> tuple[int, int]:
        with record(net) as tape:
            net(x)
        totals = count(tape, strict=True).totals
        return totals["dense_ops"], totals["bias_adds"]

    expected = counts(x)
    assert expected[0] > 0
    for mode in MODES.values():
        with mode():
            assert counts(x) == expected
    assert counts(x.transpose(0, -1).contiguous().transpose(0, -1)) == expected
    assert counts(x.repeat_interleave(2, -1)[..., ::2]) == expected
    if name != "bilinear":  # its weight is a constant of float32
        net.double()
        assert counts(x.double()) == expected
