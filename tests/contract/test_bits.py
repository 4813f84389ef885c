"""Bits of operands: those that are multiplied or stored, as dtypes, grids and quantised modules declare them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neurosparse as ns
from neurosparse.baselines.levels import LevelReLU
from neurosparse.meter.bits import Bits, declared_bits

INT4, UINT2 = (getattr(torch, name) for name in ("int4", "uint2"))


def bits_of(model: nn.Module, x: Tensor, layer: str, **options: Any) -> tuple[int, int, int]:
    """Bits of weight, input and output of a layer."""
    with ns.record(model, **options) as tape:
        model(x)
    row = next(row for row in ns.count(tape).rows if row["layer"] == layer and row["dense_ops"])
    return row["weight_bits"], row["input_bits"], row["output_bits"]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))


X = torch.rand(5, 2, 8, generator=torch.Generator().manual_seed(1))


class Casting(nn.Module):
    """A network under autocast."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", self.dtype):
            return self.model(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_autocast_multiplies_in_half_precision(dtype: torch.dtype, mode: Any) -> None:
    with mode():
        for layer in ("model.0", "model.3"):
            assert bits_of(Casting(network(), dtype), X, layer) == (16, 16, 16)


def test_the_energy_of_a_network_under_autocast_is_that_of_the_half_network() -> None:
    def energy(model: nn.Module, x: Tensor) -> tuple[float, ...]:
        with ns.record(model) as tape:
            model(x)
        report = ns.estimate(ns.count(tape))
        return report.low, report.nominal, report.high

    half = energy(network().bfloat16(), X.bfloat16())
    assert energy(Casting(network(), torch.bfloat16), X) == pytest.approx(half, rel=1e-12)
    assert energy(network(), X)[1] > 1.2 * half[1]


@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.float16, 16), (torch.bfloat16, 16), (torch.float32, 32), (torch.float64, 64)]
)
def test_dtypes(dtype: torch.dtype, bits: int) -> None:
    assert bits_of(network().to(dtype), X.to(dtype), "3") == (bits, bits, bits)


def test_integers() -> None:
    weight = torch.randint(-128, 127, (16, 24), dtype=torch.int8)
    model = ns.meter.as_module(lambda x: torch.ops.aten._int_mm(x, weight))
    with ns.record(model) as tape:
        model(torch.randint(-128, 127, (32, 16), dtype=torch.int8))
    (row,) = ns.count(tape).rows
    assert (row["weight_bits"], row["input_bits"], row["output_bits"]) == (8, 8, 32)


@pytest.mark.parametrize(("low", "high", "bits"), [(-128, 127, 8), (0, 255, 8), (-8, 7, 4), (-7, 7, 4), (0, 2, 2)])
def test_fake_quantisation_of_torch(low: int, high: int, bits: int) -> None:
    class Quantised(nn.Linear):
        by_channel = False

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(torch.fake_quantize_per_tensor_affine(x, 0.1, 0, low, high)).flatten(1)
            if self.by_channel:
                scale, zero = torch.full((3,), 0.01), torch.zeros(3, dtype=torch.int32)
                weight = torch.fake_quantize_per_channel_affine(self.weight, scale, zero, 0, low, high)
            else:
                weight = torch.fake_quantize_per_tensor_affine(self.weight, 0.01, 0, low, high)
            return F.linear(torch.cat([x[:, :8], x[:, 8:]], 1), weight * (weight.abs() > 0.02), self.bias)

    model = Quantised(16, 3)
    for model.by_channel in (False, True):
        with ns.record(model) as tape:
            model(X)
        row = next(row for row in ns.count(tape).rows if row["kind"] == "linear")
        assert (row["weight_bits"], row["input_bits"], row["weights"]) == (bits, bits, 48)


def test_arithmetic_on_levels_has_the_bits_of_the_dtype() -> None:
    weight = torch.rand(3, 16)

    def layer(x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x.flatten(1), 0.1, 0, 0, 255)
        return F.linear(x + x.flip(1), weight)

    model = ns.meter.as_module(layer)
    with ns.record(model) as tape:
        model(X)
    row = next(row for row in ns.count(tape).rows if row["kind"] == "linear")
    assert row["input_bits"] == 32


def test_levels_of_our_baseline_travel_to_the_next_layer() -> None:
    model = nn.Sequential(nn.Linear(8, 8), LevelReLU(4), nn.Flatten(), nn.Dropout(0.0), nn.Linear(16, 2))
    assert bits_of(model, X, "4") == (32, 3, 32)
    model = nn.Sequential(LevelReLU(15), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 2))
    assert bits_of(model, X, "3") == (32, 4, 32)


@pytest.mark.parametrize(("values", "bits"), [((0.0, 1.0), 1), ((0.0, 0.5), 1), ((-1.0, 0.0, 1.0), 2)])
def test_spikes_have_one_bit_and_a_sign(values: tuple[float, ...], bits: int) -> None:
    x = torch.tensor(values).repeat(4, 8)
    assert bits_of(nn.Linear(8 * len(values), 3), x, "model", spiking=["input"]) == (32, bits, 32)


class Proxy(nn.Module):
    """Brevitas' proxy of a quantiser: ``bit_width()``, and whether it is switched on."""

    def __init__(self, bits: int | None):
        super().__init__()
        self.bits, self.is_quant_enabled = bits, bits is not None

    def bit_width(self) -> Tensor | None:
        return None if self.bits is None else torch.tensor(float(self.bits))

    def forward(self, x: Tensor) -> Tensor:
        return (x * 4).round() / 4


class BrevitasLinear(nn.Linear):
    def __init__(self, weight: int, input: int | None):
        super().__init__(16, 3)
        self.weight_quant, self.input_quant, self.output_quant = Proxy(weight), Proxy(input), Proxy(None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_quant(x) if self.input_quant.is_quant_enabled else x
        return F.linear(x, self.weight_quant(self.weight), self.bias)


class BrevitasReLU(nn.Module):
    def __init__(self, bits: int):
        super().__init__()
        self.act_quant = Proxy(bits)

    def forward(self, x: Tensor) -> Tensor:
        return self.act_quant(x.relu())


def test_conventions_of_brevitas() -> None:
    assert declared_bits(BrevitasLinear(4, 6)) == Bits(4, 6, None)
    assert bits_of(nn.Sequential(nn.Flatten(), BrevitasLinear(4, 6)), X, "1") == (4, 6, 32)
    model = nn.Sequential(BrevitasReLU(5), nn.Flatten(), BrevitasLinear(3, None))
    assert bits_of(model, X, "2") == (3, 5, 32)


class TorchaoQuantiser(nn.Module):
    """A fake quantiser of torchao, with its configuration."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.config, self.enabled = SimpleNamespace(dtype=dtype, granularity="per_token"), True

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


class TorchaoLinear(nn.Linear):
    def __init__(self, weight: torch.dtype, input: torch.dtype | None):
        super().__init__(16, 3)
        self.weight_fake_quantizer = TorchaoQuantiser(weight)
        self.activation_fake_quantizer = None if input is None else TorchaoQuantiser(input)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = x if self.activation_fake_quantizer is None else self.activation_fake_quantizer(x)
        return F.linear(x, self.weight_fake_quantizer(self.weight), self.bias)


@pytest.mark.parametrize(
    ("weight", "input", "bits"),
    [
        (INT4, torch.int8, (4, 8)),
        (torch.int8, None, (8, 32)),
        (UINT2, torch.float8_e4m3fn, (2, 8)),
    ],
)
def test_conventions_of_torchao_in_training(weight: Any, input: Any, bits: tuple[int, int]) -> None:
    assert bits_of(TorchaoLinear(weight, input), X, "model") == (*bits, 32)
    model = TorchaoLinear(weight, input)
    model.weight_fake_quantizer.enabled = False
    assert declared_bits(model).weight is None


class Int8Weight(Tensor):
    """A tensor made of integers and a scale, as torchao's ``quantize_`` puts in the place of a weight."""

    qdata: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, qdata: Tensor, scale: Tensor, *_: Any) -> "Int8Weight":
        return Tensor._make_wrapper_subclass(cls, qdata.shape, dtype=scale.dtype)  # type: ignore[attr-defined]

    def __init__(self, qdata: Tensor, scale: Tensor, target_dtype: Any = None, act_quant_kwargs: Any = None):
        self.qdata, self.scale, self.target_dtype = qdata, scale, target_dtype
        self.act_quant_kwargs = act_quant_kwargs

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["qdata", "scale"], (self.target_dtype, self.act_quant_kwargs)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], about: Any, *_: Any) -> "Int8Weight":
        return Int8Weight(inner["qdata"], inner["scale"], *about)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear:
            x, weight, bias = args
            return F.linear(x, weight.qdata.to(x.dtype) * weight.scale, bias)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is torch.ops.aten.detach.default
        return Int8Weight(args[0].qdata, args[0].scale, args[0].target_dtype, args[0].act_quant_kwargs)


@pytest.mark.parametrize(
    ("target", "inputs", "bits"), [(None, None, (8, 32)), (INT4, None, (4, 32)), (None, {"bits": 8}, (8, 8))]
)
def test_conventions_of_torchao_after_training(target: Any, inputs: Any, bits: tuple[int, int]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    stored = torch.randint(-127, 127, (3, 16), dtype=torch.int8)
    model[1].weight = nn.Parameter(Int8Weight(stored, torch.rand(3, 1), target, inputs), requires_grad=False)
    with ns.record(model) as tape:
        model(X)
    counts = ns.count(tape, strict=True)
    (row,) = (row for row in counts.rows if row["dense_ops"])
    assert (row["kind"], row["layer"], row["dense_ops"]) == ("linear", "1", 5 * 48)
    assert (row["weight_bits"], row["input_bits"], row["weights"]) == (*bits, 48)
