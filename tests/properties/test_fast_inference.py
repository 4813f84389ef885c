"""Fast inference of predictive networks: its kernels and the products that it leaves out equal the plain references."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.kernels.relaxation import (
    BIAS,
    FIRST,
    SLOPES,
    add_feedback,
    add_feedback_reference,
    layer_table,
    send_errors,
    send_errors_reference,
)
from neurosparse.predictive import PredictiveNetwork

ACTIVATIONS = ["identity", "relu", "sigmoid", "softplus", "tanh"]


@given(
    samples=st.integers(0, 4), seed=st.integers(0, 10**6),
    layers=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(SLOPES), *[st.booleans()] * 4), min_size=1),
)  # fmt: skip
@settings(max_examples=40)
def test_a_pass_over_the_errors_of_all_layers_equals_that_of_each(samples, seed, layers):
    """Of each layer: units, slope, whether its signals are needed, it has errors, its value lacks a bias, it moves."""
    units, names, sent, active, lacking, moving = zip(*layers, strict=True)
    draw = partial(torch.randn, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    table, lengths = layer_table(samples, units, [SLOPES.index(name) for name in names], sent, active)
    states, values, signals = memory = draw(3, sum(lengths))
    biases, energy, steps = [draw(n) for n in units], draw(samples), 0.3 * np.array(moving, float)
    table[:, BIAS] = (max(units) + np.cumsum([0, *units[:-1]])) * lacking
    expected, total = memory.clone(), energy.clone()
    for k, (n, name, *_) in enumerate(layers):
        part = slice(table[k, FIRST], table[k, FIRST] + samples * n)
        if active[k]:
            bias, rows = biases[k] * lacking[k], (samples, n)
            state, value = states[part].reshape(rows), values[part].reshape(rows)
            signal, moved, added = send_errors_reference(state, value, bias, name, steps[k])
            expected[0, part], total = moved.flatten(), total + added
            expected[2, part] = signal.flatten() if sent[k] else expected[2, part]
    known = torch.cat([torch.zeros(max(units), dtype=torch.float64), *biases])
    arrays = (states.numpy(), values.numpy(), known.numpy(), table, steps, signals.numpy(), energy.numpy())
    send_errors(*arrays)
    torch.testing.assert_close(memory, expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(energy, total, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("activation", SLOPES[:-1])
@given(samples=st.integers(0, 4), units=st.integers(0, 40), seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_feedback_through_an_activation_equals_its_reference(activation, samples, units, seed):
    generator = torch.Generator().manual_seed(seed)
    state, a, feedback = torch.randn(3, samples, units, dtype=torch.float64, generator=generator)
    value = a if activation == "identity" else getattr(torch, activation)(a)
    after = add_feedback_reference(state, feedback, value, activation, 0.2)
    add_feedback(state.numpy(), feedback.numpy(), value.numpy(), activation, 0.2)
    torch.testing.assert_close(state, after, atol=1e-12, rtol=1e-12)


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=6), seed=st.integers(0, 10**6), data=st.data(),
    activation=st.sampled_from(ACTIVATIONS), order=st.sampled_from(["act_after", "act_before"]), record=st.booleans(),
    steps=st.integers(1, 7), nudge=st.sampled_from([None, 0.3]), threads=st.sampled_from([1, 2]),
)  # fmt: skip
def test_products_left_out_change_nothing(sizes, seed, data, activation, order, record, steps, nudge, threads):
    """Any states clamped, also between unclamped ones and none at the ends; few steps in many layers."""
    torch.manual_seed(seed)
    network = PredictiveNetwork(sizes, activation, order=order).double()
    x = torch.randn(3, sizes[0], dtype=torch.float64)
    numbers = data.draw(st.lists(st.sampled_from(range(len(sizes))), min_size=1, unique=True))
    generator = torch.Generator().manual_seed(seed)
    clamp = {k: torch.randn(len(x), sizes[k], dtype=x.dtype, generator=generator) for k in numbers}
    y = torch.randn(len(x), sizes[-1], dtype=x.dtype, generator=generator)
    nudged = nudge is not None and len(sizes) - 1 not in clamp
    options = {"y": y, "nudge": nudge} if nudged else {}
    options |= {"clamp": clamp, "steps": steps, "dt": 0.1, "check": False, "record": record}
    general = copy.deepcopy(network)
    general.gradients = "autograd"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fast, slow = network.infer(**options), general.infer(**options)
    finally:
        torch.set_num_threads(before)
    for name in ("z", "errors", "energies", "gap", "terms", "sent"):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), atol=1e-12, rtol=1e-12)
