"""Invalid arguments of predictive coding: one InputError in one sentence each."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from neurosparse.coding import l1
from neurosparse.errors import InputError
from neurosparse.predictive import PredictiveNetwork, delta, graded, rao_ballard, spiking

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(("options", "said"), [
    ({"layers": (4,)}, "at least two whole numbers"), ({"layers": (4, 0)}, r"layers\[1\]=0"),
    ({"layers": (4, 2.5)}, r"layers\[1\]=2.5; expected a whole number"), ({"layers": ()}, "at least two"),
    ({"layers": [nn.Linear(4, 3), 3]}, "or modules"), ({"layers": 5}, "at least two"), ({"layers": "ab"}, "at least"),
    ({"activation": "gelu"}, "one of 'tanh', 'relu'"), ({"activation": torch.tanh}, "one of 'tanh'"),
    ({"order": "after"}, "'act_after', 'act_before'"), ({"output": "hinge"}, "'squared', 'cross_entropy'"),
    ({"gradients": "numeric"}, "'hand', 'autograd'"),
    ({"dt": 0.0}, "dt=0.0"), ({"dt": -1.0}, "dt=-1.0"), ({"dt": nan}, "dt=nan"), ({"dt": inf}, "dt=inf"),
    ({"dt": "fast"}, 'or dt="auto"'), ({"dt": True}, "dt=True"), ({"dt": None}, "dt=None"),
    ({"steps": 0}, "steps=0"), ({"steps": 1.5}, "steps=1.5"), ({"steps": True}, "steps=True"),
    ({"precision": 0.0}, "precision=0.0; expected precision > 0"),
    ({"precision": -1}, "precision=-1; expected precision > 0"),
    ({"precision": inf}, "1 / variance"), ({"precision": [1.0, 2.0]}, "2 precisions; expected 1"),
    ({"precision": [torch.tensor([1.0, 0.0, 2.0])]}, r"precision\[0\] with 0; expected numbers above 0"),
    ({"precision": None}, "precision=None"),
    ({"precision": "high"}, "precision='high'"), ({"precision": True}, "precision=True"),
    ({"precision": 2.0, "output": "cross_entropy"}, "expected 1"),
    ({"prior": {0: 0.1}}, r"ns\.l1"), ({"prior": l1(0.1)}, "by the number of their state"),
    ({"prior": {2: l1(0.1)}}, "0 to 1"), ({"prior": {"x": l1(0.1)}}, "state in prior='x'"),
    ({"input_shape": 7}, "input_shape=7"), ({"input_shape": (1, 0)}, r"input_shape\[1\]=0"),
])  # fmt: skip
def test_bad_network(options, said):
    with pytest.raises(InputError, match=rf"PredictiveNetwork: got .*{said}"):
        PredictiveNetwork(**{"layers": (4, 3), **options})


def network(**options) -> PredictiveNetwork:
    torch.manual_seed(0)
    return PredictiveNetwork((5, 7, 4), **options)


x, y, hidden, hot = torch.ones(3, 5), torch.zeros(3, 4), torch.zeros(3, 7), torch.eye(4)[:3]
known = torch.ones(3, 4, dtype=torch.bool)


@pytest.mark.parametrize(("options", "said"), [
    # contradictory, missing or unknown clamps
    ({"clamp": {2: y}}, "layer 2 clamped by y and by clamp"), ({"clamp": {0: x}}, "layer 0 clamped by x"),
    ({"x": None, "y": None}, "nothing clamped"), ({"clamp": {3: y}}, "0 to 2"),
    ({"clamp": {-1: y}}, "layer in clamp=-1"),
    ({"clamp": {"hidden": hidden}}, "layer in clamp='hidden'"), ({"clamp": [hidden]}, "a list as clamp"),
    ({"clamp": {2: y}, "nudge": 0.1}, "both clamped and nudged"),
    # shapes and kinds
    ({"x": torch.ones(3, 6)}, r"layer 0 of torch.float32, \(3, 6\)"), ({"x": torch.ones(5)}, r"shape \(5,\)"),
    ({"x": torch.ones(())}, r"shape \(\)"), ({"y": torch.zeros(3)}, "axis is that of the samples"),
    ({"y": torch.zeros(2, 4)}, r"\(3 samples, \*units\) of layer 2"),
    ({"y": torch.zeros(3, 5)}, r"expected .*\(3, 4\)"),
    ({"y": torch.zeros(3, 2, 2)}, r"\(3, 2, 2\)"), ({"clamp": {1: torch.zeros(3, 6)}}, "layer 1 clamped to"),
    ({"x": x.double()}, "float64"), ({"y": y.double()}, "float64.*cast it"), ({"y": y.long()}, "int64"),
    ({"x": x.numpy()}, "ndarray for layer 0"), ({"x": [[1.0] * 5] * 3}, "list for layer 0"),
    ({"clamp": {1: None}}, "NoneType for layer 1"),
    # masks
    ({"y": None, "clamp": {2: (y, known.float())}}, "torch.float32.* as the mask of layer 2; expected torch.bool"),
    ({"y": None, "clamp": {2: (y, known[:2])}}, r"expected torch.bool, \(3, 4\)"),
    ({"y": None, "clamp": {2: (y, [True])}}, "list as the mask"), ({"y": None, "clamp": {2: (y,)}}, "no mask"),
    ({"y": None, "clamp": {2: (y, known, known)}}, r"Pass \(value, known\)"),
    ({"y": None, "clamp": {2: ()}}, "layer 2"),
    ({"x": torch.ones(3, 5, dtype=torch.long)}, "int64.*floating-point"), ({"x": x.to(torch.complex64)}, "complex64"),
    ({"generator": "7", "start": "normal"}, "Pass a seed"),
    # values
    ({"x": torch.full((3, 5), nan)}, "NaN or infinity in state 0"), ({"y": torch.full((3, 4), inf)}, "in state 2"),
    ({"clamp": {1: torch.full((3, 7), nan)}}, "in state 1"), ({"y": torch.full((3, 4), nan), "nudge": 0.1}, "in y"),
    ({"start": [x, torch.full((3, 7), nan), y]}, "in state 1"),
    # steps
    ({"dt": 0.0}, "dt=0.0"), ({"dt": nan}, "dt=nan"), ({"dt": "fast"}, 'or dt="auto"'), ({"dt": 50.0}, "errors grow"),
    ({"steps": 0}, "steps=0"), ({"tol": -1.0}, "tol=-1.0"), ({"tol": nan}, "tol=nan"),
    ({"tol": "small"}, "tol='small'"),
    # start
    ({"start": "amortised"}, "one of 'forward', 'zero', 'normal'"), ({"start": 3}, "a int as start"),
    ({"start": [x, y]}, r"expected \[\(3, 5\), \(3, 7\), \(3, 4\)\]"), ({"start": [[1.0], [2.0], [3.0]]}, "'list'"),
    ({"start": lambda given: None}, "NoneType as start"), ({"start": lambda given: [x, hidden[:2], y]}, r"\(2, 7\)"),
    # nudges
    ({"y": None, "nudge": 0.1}, "y missing"), ({"nudge": 0}, "other than 0"), ({"nudge": nan}, "nudge=nan"),
    ({"nudge": "weak"}, "nudge='weak'"), ({"nudge": 0.1, "y": torch.zeros(3, 5)}, r"y torch.float32, \(3, 5\)"),
    ({"nudge": 0.1, "y": [1]}, "y list"),
    # modes
    ({"mode": "exact"}, "one of 'strict', 'fixed_prediction', 'z_il', 'incremental'"),
    ({"mode": "incremental"}, "with no optimizer"), ({"mode": "incremental", "optimizer": "sgd"}, "with str"),
    ({"optimizer": torch.optim.SGD([nn.Parameter(x)], 0.1)}, "mode='strict' with SGD"),
    ({"mode": "z_il", "dt": 0.5}, "expected dt=1"), ({"mode": "z_il", "dt": 2.0}, "expected dt=1"),
    ({"mode": "fixed_prediction", "dt": 2.5}, "dt below 2"), ({"mode": "fixed_prediction", "start": "zero"}, "forward"),
    ({"mode": "fixed_prediction", "nudge": 0.1}, "no nudge"), ({"mode": "z_il", "x": None}, "x clamped"),
    ({"mode": "z_il", "x": None, "clamp": {0: (x, x > 2)}}, "x clamped"),
    # channels
    ({"error_channel": "delta"}, "'delta' as a channel"), ({"state_channel": 0.1}, "0.1 as a channel"),
    ({"mode": "z_il", "state_channel": graded(0.1)}, "sent as values"),
])  # fmt: skip
def test_bad_inference(options, said):
    with pytest.raises(InputError, match=rf"PredictiveNetwork.infer: got .*{said}"):
        network().infer(**{"x": x, "y": y, **options})


@pytest.mark.parametrize(("built", "options", "said"), [
    ({"output": "cross_entropy"}, {"y": y}, "no distribution"), ({"output": "cross_entropy"}, {"y": -hot}, "One-hot"),
    ({"output": "cross_entropy"}, {"y": 2 * hot, "nudge": 0.1}, "sum to 1"),
    ({"output": "cross_entropy"}, {"y": None, "clamp": {2: 2 * hot}}, "sum to 1"),
    ({"output": "cross_entropy"}, {"y": hot * nan}, "no distribution"),
    ({"output": "cross_entropy"}, {"y": 1.0015 * hot}, "no distribution"),
    ({"output": "cross_entropy"}, {"y": torch.tensor([0, 1, 2])}, "axis is that of the samples"),
    ({"output": "cross_entropy"}, {"y": None, "clamp": {2: (hot, known)}}, "clamped in part under a cross entropy"),
    ({"precision": [2 * torch.ones(6), 1.0]}, {}, r"precision of shape \(6,\) for layer 1.*\(7,\)"),
    ({"precision": [2 * torch.ones(1, 7), 1.0]}, {}, r"precision of shape \(1, 7\)"),
    ({"precision": [2.0, 1.0]}, {"mode": "fixed_prediction"}, "hidden precisions"),
    ({"precision": [2.0, 1.0]}, {"mode": "z_il"}, "or precision of hidden layers"),
    ({"prior": {1: l1(0.1)}}, {"mode": "z_il"}, "prior"),
    ({"gradients": "autograd"}, {"error_channel": delta(0.1)}, "layers by hand"),
])  # fmt: skip
def test_inference_that_this_network_does_not_allow(built, options, said):
    with pytest.raises(InputError, match=rf"PredictiveNetwork.infer: got .*{said}"):
        network(**built).infer(**{"x": x, "y": y, **options})


def test_channels_with_running_sums_need_fixed_weights():
    stepped = network()
    options = {"mode": "incremental", "optimizer": torch.optim.SGD(stepped.parameters(), 0.1)}
    for channels in ({"error_channel": delta(0.1)}, {"state_channel": delta(0.1)}):
        with pytest.raises(InputError, match="without running sums"):
            stepped.infer(x, y, **options, **channels)
    stepped.infer(x, y, **options, error_channel=graded(0.01))


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 5), (2, 1, 1, 5, 5), (2, 1, 1, 1, 5, 5), (2, 2, 5, 5), (2, 1, 9, 9)])
def test_images_of_another_shape(shape):
    pictures = PredictiveNetwork([nn.Conv2d(1, 3, 3), nn.Linear(27, 4)])
    with pytest.raises(InputError, match="which (Conv2d|Linear).* refuses"):
        pictures.infer(torch.ones(shape), torch.zeros(2, 4))


def test_an_unclamped_input_of_unknown_shape():
    with pytest.raises(InputError, match="input_shape=.channels"):
        PredictiveNetwork([nn.Conv2d(1, 3, 3), nn.Linear(27, 4)]).infer(y=torch.zeros(2, 4))
    with pytest.raises(InputError, match="got nothing clamped"):
        network().stable_dt()


def test_opposite_states_need_another_nudge():
    one, other, plain = (network().infer(x, y, nudge=nudge) for nudge in (0.1, 0.1, None))
    for opposite in (other, plain):
        with pytest.raises(InputError, match=re.escape("PredictiveNetwork.learn: got nudges 0.1 and")):
            network().learn(one, opposite)
    with pytest.raises(InputError, match="two different nudges"):
        network().learn(plain, one)


@pytest.mark.parametrize("given", [torch.ones(5), torch.ones(()), torch.ones(3, 6), [[1.0] * 5], None])
def test_a_call_needs_samples_and_units(given):
    with pytest.raises(InputError, match="PredictiveNetwork: got .*expected"):
        network()(given)


@pytest.mark.parametrize("method", ["energy", "learn"])
def test_energies_and_gradients_are_those_of_states(method):
    with pytest.raises(InputError, match=rf"PredictiveNetwork.{method}: got Tensor; expected States"):
        getattr(network(), method)(x)


def test_transmissions_that_were_not_recorded():
    states = network().infer(x, y, record=False)
    for name in ("events", "state_events"):
        with pytest.raises(InputError, match="Infer with record=True"):
            getattr(states, name)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: graded(-0.1), "threshold >= 0"), (lambda: graded(nan), "threshold=nan"), (lambda: graded("0"), "'0'"),
    (lambda: delta(-1), "delta: got threshold=-1"), (lambda: delta(inf), "threshold=inf"),
    (lambda: delta(True), "True"),
    (lambda: spiking(0), "threshold > 0"), (lambda: spiking(0.1, beta=1.5), "0 <= beta <= 1"),
    (lambda: spiking(0.1, beta=-0.1), "0 <= beta <= 1"), (lambda: spiking(None), "threshold=None"),
    (lambda: rao_ballard.extract_patches(torch.ones(2, 26, 16)), r"\(samples, 16, 26\)"),
])  # fmt: skip
def test_bad_channels_and_areas(make, said):
    with pytest.raises(InputError, match=said):
        make()
