"""Slips of a new user end in one sentence that says what to do."""

import numpy as np
import pytest
import torch

import neurosparse as ns

CURRENT = torch.rand(3, 2, 4)
EVENTS = ns.EventTensor.from_dense(CURRENT)


@pytest.mark.parametrize(
    "slip, advice",
    [
        (lambda: ns.LIF(beta="0.9"), "Pass beta=0.9"),
        (lambda: ns.LIF(beta=1.5), "Pass beta=0.9"),
        (lambda: ns.LIF(beta=0.9, threshold="a"), "Pass threshold=1.0"),
        (lambda: ns.LIF(beta=0.9, threshold=0), "Pass threshold=1.0"),
        (lambda: ns.LIF(beta=0.9, surrogate=ns.atan), "Call it"),
        (lambda: ns.LIF(beta=0.9, surrogate="atan"), "Call it"),
        (lambda: ns.LIF(beta=0.9)(np.zeros((3, 2, 4))), "torch.as_tensor"),
        (lambda: ns.LIF(beta=0.9)(torch.rand(3, 4)), "Time comes first"),
    ],
)
def test_a_slip_is_answered_with_advice(slip, advice):
    with pytest.raises(ns.InputError, match=advice):
        slip()


def test_a_method_that_events_lack_names_the_function():
    with pytest.raises(AttributeError, match=r"Use events\.dense\(\)\.mean"):
        EVENTS.mean(0)
    assert torch.equal(torch.mean(EVENTS, 0), CURRENT.mean(0))  # type: ignore[call-overload]


def test_the_negative_of_events_is_events():
    assert torch.equal((-EVENTS).dense(), -CURRENT)
