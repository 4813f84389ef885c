"""Properties of membranes in fixed point: against Python's whole numbers, and against exact floating point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neurosparse as ns
from neurosparse.baselines import Accumulator, Quantised, quantise
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import Split, evaluate, make_model
from neurosparse.experiments.classification.budget import Budget
from neurosparse.experiments.classification.families.feedforward import Feedforward
from neurosparse.experiments.classification.families.spiking import shift_of, with_integer_states
from neurosparse.experiments.classification.train import fit
from neurosparse.neurons import LIF, FixedPointLIF, latency


def scan(accumulated: list[int], threshold: int, leak: int | None, bits: int, shift: int, v: int) -> list[bool]:
    """One neuron in Python's whole numbers, whose shifts round down."""
    top, spikes = 2 ** (bits - 1) - 1, []
    for n in accumulated:
        current = (n + 2 ** (shift - 1)) >> shift if shift > 0 else n << -shift
        u = min(max(v - (0 if leak is None else v >> leak) + current, -top - 1), top)
        spikes.append(u > threshold)
        v = u - threshold * spikes[-1]
    return spikes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_neurons_compute_what_whole_numbers_compute(data):
    bits = data.draw(st.integers(8, 32))
    top, units = 2 ** (bits - 1) - 1, data.draw(st.integers(1, 3))
    leak = data.draw(st.none() | st.integers(0, 15))
    threshold, start, shift = (
        data.draw(st.lists(whole, min_size=units, max_size=units))
        for whole in (st.integers(1, top), st.integers(-top - 1, top), st.integers(-12, 31))
    )
    sizes = st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 300)
    rows = data.draw(st.lists(st.lists(sizes, min_size=units, max_size=units), min_size=1, max_size=12))
    neurons = FixedPointLIF(*(torch.tensor(threshold), leak, bits), torch.tensor(shift), torch.tensor(start))
    current = torch.tensor(rows)[:, None].to(data.draw(st.sampled_from([torch.float64, torch.int64])))
    columns = zip(zip(*rows, strict=True), threshold, shift, start, strict=True)
    expected = [scan(list(n), limit, leak, bits, by, v) for n, limit, by, v in columns]
    assert neurons(current).dense()[:, 0].T.bool().tolist() == expected
    cut = data.draw(st.integers(0, len(rows)))
    first, state = neurons.run(current[:cut])
    second, _ = neurons.run(current[cut:], state)
    assert torch.equal(torch.cat([first.dense(), second.dense()]), neurons(current).dense())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.none() | st.integers(1, 2), st.integers(1, 40), st.integers(0, 10**6))
def test_spikes_are_those_of_floating_point_where_that_is_exact(steps, leak, threshold, seed):
    """Currents and thresholds are multiples of ``2^(leak steps)``, so that no shift drops a bit."""
    generator = torch.Generator().manual_seed(seed)
    unit = 1 if leak is None else 2 ** (leak * steps)
    current = torch.randint(-30, 60, (steps, 2, 5), generator=generator).double() * unit
    whole = FixedPointLIF(threshold * unit, leak, 32)  # of at most 22 bits
    exact = LIF(beta=1.0 if leak is None else 1 - 2.0**-leak, threshold=float(threshold * unit))
    assert torch.equal(whole(current).dense().double(), exact(current).dense())


def dyadic(generator: torch.Generator, outputs: int, inputs: int) -> nn.Linear:
    """A layer whose weights are multiples of 1/128 with a largest one of 127/128 in each row, so that int8 is exact."""
    layer = nn.Linear(inputs, outputs)
    weight = torch.randint(-127, 128, (outputs, inputs), generator=generator)
    weight[:, 0] = 127
    layer.weight.data = weight / 128
    layer.bias.data = torch.randint(-64, 65, (outputs,), generator=generator) / 128
    return layer


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([16, 20, 32]), st.integers(1, 8), st.sampled_from([0.5, 1.0, 2.0]))
def test_a_network_of_exact_weights_sends_the_spikes_of_floating_point(seed, bits, steps, threshold):
    generator = torch.Generator().manual_seed(seed)
    layers = [dyadic(generator, outputs, inputs) for inputs, outputs in ((12, 20), (20, 8), (8, 3))]
    neurons = [LIF(beta=1.0, threshold=threshold) for _ in range(2)]
    model = Feedforward(layers, neurons, lambda x: latency(x, steps), "mean").eval()
    x, plain, whole = torch.rand(6, 12, generator=generator), [], []
    model(x, plain)
    with_integer_states(quantise(model, 8, calibration=x), x, bits)(x, whole)
    for one, other in zip(plain, whole, strict=True):
        assert torch.equal(one.dense(), other.dense())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.booleans(), st.floats(0, 0.95))
def test_accumulators_are_whole_and_stand_for_the_outputs(seed, bits, graded, pruned):
    generator = torch.Generator().manual_seed(seed)
    layer, x = nn.Linear(9, 6), torch.rand(4, 3, 9, generator=generator)
    layer.weight.data = torch.randn(6, 9, generator=generator) * (torch.rand(6, 9, generator=generator) >= pruned)
    layer.weight.data[0] = 0  # its bias is all that is left of a unit
    layer.weight.data[1] *= 1e-12
    x = EventTensor.from_dense(x if graded else (x < 0.4).float(), spikes=not graded)
    small = Quantised(layer, bits, (0.0, 1.0) if graded else None)
    whole = Accumulator(small)
    out = whole(x)
    assert out.dtype == torch.float64 and torch.equal(out.dense(), out.dense().round())
    assert float(out.dense().abs().max()) < 2**31
    error = (whole.unit * out.dense() - small(x).dense()).abs()
    assert bool((error <= 0.5 * whole.unit + 1e-5).all())
    assert whole.levels.dtype == torch.int8


def test_the_largest_sums_are_exact():
    """Beyond 2^24 float32 has no odd numbers."""
    layer = nn.Linear(4001, 1)
    layer.weight.data.fill_(1.0)
    whole = Accumulator(Quantised(layer, 8, (0.0, 1.0)))
    x = torch.ones(1, 1, 4001)
    x[..., 0] = 254 / 255
    bias = round(layer.bias.item() / whole.unit.item())
    assert whole(x).item() == 127 * (255 * 4000 + 254) + bias


def split(units: tuple[int, ...] = (16,)) -> Split:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(96) % 4
    part = torch.rand(4, *units, generator=generator)[y] * torch.rand(96, *units, generator=generator), y
    return Split(part, part, part)


def trained(units: tuple[int, ...] = (16,), epochs: int = 3, **keys) -> tuple[nn.Module, Split]:
    data = split(units)
    budget = Budget("toy", "toy", lambda: data, (24,), 4, epochs, 16, (0.01,))
    return fit(make_model("a", **keys), budget, data, 0, 0.01).model, data


def spikes_of(model: nn.Module, x: Tensor) -> list[Tensor]:
    hidden: list = []
    model(x, hidden)
    return [layer.dense() for layer in hidden]


@pytest.mark.parametrize("encoding", ["current", "latency"])
@pytest.mark.parametrize("beta", [0.875, 1.0])
@pytest.mark.parametrize("layers", [[], ["conv 4 3 norm pool 2", "conv 4 3", "linear 12 norm"]], ids=["flat", "conv"])
def test_sixteen_bits_keep_nearly_all_spikes(layers, beta, encoding):
    """Of 8-bit weights and 16-bit membranes; the rest differ by rounding at the threshold."""
    keys = {"family": "lif", "steps": 4, "beta": beta, "bits": 8, "encoding": encoding, "layers": layers}
    units = (1, 8, 8) if layers else (16,)
    plain, data = trained(units, **keys)
    whole, _ = trained(units, **keys, state_bits=16)
    assert sum(isinstance(m, FixedPointLIF) for m in whole.modules()) == len(layers or [0])
    for one, other in zip(spikes_of(plain, data.test[0]), spikes_of(whole, data.test[0]), strict=True):
        assert 0 < other.mean() < 1 and float((one != other).float().mean()) < 0.03


def test_state_rows_of_the_meter_have_their_width_and_their_leak():
    model, data = trained(family="lif", steps=4, beta=0.75, bits=8, state_bits=12)
    counts = evaluate(model, data.test)["counts"]
    (row,) = [row for row in counts.rows if row["kind"] == "neuron"]
    assert (row["leak"], row["state_bits"], row["state_updates"]) == ("shift", 12, 96 * 4 * 24)
    (scaled,) = [r for r in counts.rows if r["kind"] == "elementwise" and r["layer"] == row["layer"]]
    right = int((model.activations[0].shift > 0).sum())
    assert scaled["elementwise"] == 2 * 96 * right > 0, "a constant current is scaled once"
    first, last = [r for r in counts.rows if r["kind"] == "linear"]
    assert (first["weight_bits"], first["input_bits"], first["effective_acs"]) == (8, 8, 0)
    assert (last["input_bits"], last["effective_macs"]) == (1, 0) and last["effective_acs"] > 0
    free, _ = trained(family="lif", steps=4, beta=1.0, bits=8, state_bits=12)
    (row,) = [row for row in evaluate(free, data.test)["counts"].rows if row["kind"] == "neuron"]
    assert row["leak"] == "none"


def test_constants_may_be_views_of_arrays():
    neurons = FixedPointLIF(np.array([3, 2, 1])[::-1], np.int64(1), np.int64(12), shift=np.zeros(3, "int8"))
    assert neurons.threshold.tolist() == [1, 2, 3] and neurons.bits == 12


def test_a_sample_that_has_ended_keeps_its_membrane():
    current = torch.full((5, 2, 1), 30)
    current[2:, 0] = 0
    events = EventTensor.from_dense(current.float(), lengths=torch.tensor([2, 5]))
    neurons = FixedPointLIF(50, None)
    spikes, state = neurons.run(events)
    assert spikes.dense().flatten(1).T.tolist() == [[0, 1, 0, 0, 0], [0, 1, 0, 1, 0]]
    assert state.flatten().tolist() == [10, 50]


def test_chunks_of_a_stock_container_carry_integer_membranes():
    net = nn.Sequential(nn.Identity(), FixedPointLIF(50, 2))
    x = torch.randint(-20, 60, (6, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    first, state = ns.run(net, x[:2])
    second, _ = ns.run(net, x[2:], state)
    assert torch.equal(torch.cat([first.dense(), second.dense()]), net(x).dense())


@pytest.mark.parametrize(("call", "message"), [
    (lambda: FixedPointLIF(1.5, 1), "expected whole numbers"),
    (lambda: FixedPointLIF(True, 1), "expected whole numbers"),
    (lambda: FixedPointLIF("5", 1), "expected whole numbers"),
    (lambda: FixedPointLIF(5, 1, shift=32), "shift=.*-31 to 31"),
    (lambda: FixedPointLIF(128, 1, 8), "threshold=.*1 to 127"),
    (lambda: FixedPointLIF(0, 1, 8), "1 to 127"),
    (lambda: FixedPointLIF(5, 1, 7), "8 to 32"),
    (lambda: FixedPointLIF(5, -1), "leak=-1"),
    (lambda: FixedPointLIF(5, 1)(torch.ones(3, 4)), "Time comes first"),
    (lambda: FixedPointLIF(5, 1).run(torch.ones(3, 4, 2), torch.ones(3, 2)), "a state of shape"),
    (lambda: shift_of(0.9), "got beta=0.9"),
], ids=["float", "bool", "text", "shift", "wide", "zero", "bits", "leak", "steps", "state", "beta"])  # fmt: skip
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
