"""Counts equal loops over every product; batching, padding, order and joining change no count."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurosparse.events.fold import fold
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import COUNTS, OperationCounts
from neurosparse.meter.record import as_module, record
from neurosparse.neurons.encode import constant_current
from neurosparse.neurons.lif import LIF

SIZES = st.integers(1, 5)


def sparse(generator: np.random.Generator, shape: tuple[int, ...], density: float = 0.4) -> Tensor:
    values = generator.standard_normal(shape) * (generator.random(shape) < density)
    return torch.from_numpy(values.astype(np.float32))


def metered(model: Any, *inputs: Any, **options: Any) -> OperationCounts:
    model = as_module(model)
    with torch.no_grad(), record(model, **options) as tape:
        model(*inputs)
    return count(tape, strict=True)


def counts(counts: OperationCounts) -> list[tuple]:
    return [(row["layer"], row["kind"], *(row[name] for name in COUNTS)) for row in counts.per_sample]


@given(SIZES, SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_linear_equals_a_loop(samples: int, n_in: int, n_out: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, layer = sparse(generator, (samples, n_in)), nn.Linear(n_in, n_out)
    layer.weight.data = sparse(generator, (n_out, n_in))
    pairs = [(x[s, i] != 0, layer.weight[o, i] != 0) for s, i, o in product(range(samples), range(n_in), range(n_out))]
    (row,) = metered(layer, x).rows
    assert row["dense_ops"] == len(pairs)
    assert row["effective_macs"] == sum(bool(a and b) for a, b in pairs)
    assert row["input_events"] == int((x != 0).sum())
    assert row["bias_adds"] == samples * n_out


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.integers(1, 2))
    size, kernel, dilation = (
        tuple(draw(st.integers(low, high)) for _ in range(2)) for low, high in ((3, 6), (1, 3), (1, 2))
    )
    stride = (1, 1) if (same := draw(st.booleans())) else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    needed = [d * (k - 1) + 1 - s for d, k, s in zip(dilation, kernel, size, strict=True)]
    padding = "same" if same else tuple(draw(st.integers(max(0, -(-n // 2)), 3)) for n in needed)
    return {
        "in": groups * draw(st.integers(1, 2)),
        "out": groups * draw(st.integers(1, 2)),
        "size": size,
        "kernel": kernel,
        "geometry": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def loop_over_convolution(x: Tensor, weight: Tensor, case: dict[str, Any]) -> tuple[int, int]:
    """Dense and effective products of a convolution, one by one."""
    (height, width), (kh, kw) = case["size"], case["kernel"]
    geometry = case["geometry"]
    (sh, sw), (dh, dw) = geometry["stride"], geometry["dilation"]
    if geometry["padding"] == "same":  # torch pads the smaller half before
        before = [d * (k - 1) // 2 for d, k in zip(geometry["dilation"], case["kernel"], strict=True)]
        out_size = (height, width)
    else:
        before = geometry["padding"]
        sides = zip(case["size"], case["kernel"], before, (dh, dw), (sh, sw), strict=True)
        out_size = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, p, d, s in sides)
    channels_in, channels_out = case["in"] // geometry["groups"], case["out"] // geometry["groups"]
    dense = effective = 0
    for s, o, c, i, j, a, b in product(
        range(len(x)),
        range(case["out"]),
        range(channels_in),
        range(out_size[0]),
        range(out_size[1]),
        range(kh),
        range(kw),
    ):
        row, column = i * sh - before[0] + a * dh, j * sw - before[1] + b * dw
        if 0 <= row < height and 0 <= column < width:
            dense += 1
            channel = o // channels_out * channels_in + c
            effective += bool(x[s, channel, row, column] != 0) and bool(weight[o, c, a, b] != 0)
    return dense, effective


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch's note on even kernels
@settings(max_examples=20)
@given(convolutions())
def test_convolution_equals_a_loop_up_to_its_borders(case: dict[str, Any]) -> None:
    generator = np.random.default_rng(case["seed"])
    x = sparse(generator, (2, case["in"], *case["size"]))
    weight = sparse(generator, (case["out"], case["in"] // case["geometry"]["groups"], *case["kernel"]), 0.7)
    (row,) = metered(lambda image: F.conv2d(image, weight, **case["geometry"]), x).rows
    dense, effective = loop_over_convolution(x.numpy(), weight.numpy(), case)  # type: ignore[arg-type]
    assert (row["dense_ops"], row["effective_macs"]) == (dense, effective)


def network(seed: int) -> nn.Module:
    generator = np.random.default_rng(seed)
    net = nn.Sequential(nn.Linear(6, 5), LIF(beta=0.5), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    for layer in (net[0], net[2], net[4]):  # eighths add exactly, so no rounding moves a spike
        layer.weight.data = (sparse(generator, tuple(layer.weight.shape), 0.8) * 16).round() / 8
        layer.bias.data = (sparse(generator, tuple(layer.bias.shape)) * 8).round() / 8
    return net


def signal(seed: int, lengths: list[int], steps: int, spikes: bool) -> EventTensor:
    generator = np.random.default_rng(seed)
    x = np.zeros((steps, len(lengths), 6), dtype=np.float32)
    for sample, length in enumerate(lengths):  # one stream of numbers per sample, so padding changes none of them
        own = np.random.default_rng([seed, sample])
        x[:length, sample] = own.random((length, 6)) < 0.4
    x *= 1 if spikes else generator.integers(1, 3)
    return EventTensor.from_dense(torch.from_numpy(x), lengths=torch.tensor(lengths), spikes=spikes)


LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@settings(max_examples=25)
@given(st.integers(0, 1000), LENGTHS, st.booleans(), st.integers(0, 4))
def test_padding_changes_nothing(seed: int, lengths: list[int], spikes: bool, more: int) -> None:
    net = network(seed)
    tight = metered(net, signal(seed, lengths, max(lengths), spikes))
    loose = metered(net, signal(seed, lengths, max(lengths) + more, spikes))
    assert counts(tight) == counts(loose)


@settings(max_examples=25)
@given(st.integers(0, 1000), LENGTHS, st.booleans())
def test_batching_and_order_change_nothing(seed: int, lengths: list[int], spikes: bool) -> None:
    net, x = network(seed), signal(seed, lengths, max(lengths), spikes)
    whole = metered(net, x)
    ones = [metered(net, x.samples([s])) for s in reversed(range(len(lengths)))]
    assert counts(sum(ones[1:], start=ones[0])) == counts(whole)
    with torch.no_grad(), record(net) as tape:  # the same within one recording
        for sample in range(len(lengths)):
            net(x.samples([sample]))
    assert counts(count(tape)) == counts(whole)


@settings(max_examples=25)
@given(st.integers(0, 1000), LENGTHS)
def test_events_and_their_dense_form_have_equal_counts(seed: int, lengths: list[int]) -> None:
    net, x = network(seed), signal(seed, lengths, max(lengths), True)
    step, sample, unit, _ = x.aer()
    held = EventTensor.from_aer(step, sample, unit, shape=x.shape, lengths=x.lengths)
    assert counts(metered(net, held)) == counts(metered(net, x))


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 4), st.booleans())
def test_folded_images_count_like_single_images(seed: int, samples: int, as_events: bool) -> None:
    generator = np.random.default_rng(seed)
    x = (sparse(generator, (3, samples, 2, 4, 4)) != 0).float()
    net = fold(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    events = EventTensor.from_dense(x, spikes=True)
    if as_events:
        step, sample, unit, _ = events.aer()
        events = EventTensor.from_aer(step, sample, unit, shape=x.shape)
    rows = {row["layer"]: row for row in metered(net, events).rows}
    plain = {row["layer"]: row for row in metered(nn.Sequential(*net), x.flatten(0, 1)).rows}
    assert rows["0"]["effective_acs"] == plain["0"]["effective_macs"]
    assert rows["0"]["effective_macs"] == 0
    assert rows["4"]["effective_macs"] == plain["4"]["effective_macs"]
    assert rows["2"]["comparisons"] == plain["2"]["comparisons"]


@given(st.integers(1, 6), st.integers(1, 4))
def test_a_declared_constant_is_charged_once_in_any_form(steps: int, samples: int) -> None:
    """And an input that is not declared is charged in every step, whatever tensor holds it."""
    layer, x = nn.Linear(4, 3), torch.rand(samples, 4) + 0.1
    once = totals(metered(layer, x))
    repeated = x.expand(steps, samples, 4)
    assert totals(metered(layer, constant_current(x, steps))) == once
    assert totals(metered(layer, repeated, samples=1, constant="input")) == once
    assert totals(metered(layer, repeated.clone(), samples=1, constant="input")) == once
    with record(layer, calls="steps", constant="input") as tape:
        for _ in range(steps):
            layer(x)
    assert totals(count(tape)) == once
    plain = [metered(layer, held, samples=1) for held in (repeated, repeated.clone())]
    assert counts(plain[0]) == counts(plain[1])
    assert plain[0].totals["dense_ops"] == steps * metered(layer, x).totals["dense_ops"]
    for held in (repeated, repeated.clone()):
        assert metered(layer, EventTensor.from_dense(held)).totals["dense_ops"] == plain[0].totals["dense_ops"]


def totals(counts: OperationCounts) -> dict[str, int]:
    return {name: value for name, value in counts.totals.items() if name != "constant_rows"}
