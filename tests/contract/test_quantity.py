"""Quantities: what Brian2 calls 5 ms is 0.005, what it calls 5 mV is no time."""

from types import SimpleNamespace

import brian2
import numpy as np
import pytest
import torch

from neurosparse.checks import si
from neurosparse.errors import InputError


@pytest.mark.parametrize(
    "value, unit, expected",
    [
        (5 * brian2.ms, "seconds", 0.005),
        ([1, 2] * brian2.mV, "volts", [0.001, 0.002]),
        (2 * brian2.kHz, "hertz", 2000.0),
        (3, "plain numbers", 3.0),
        (brian2.mV / brian2.volt, "plain numbers", 0.001),
        (torch.tensor([0.5]), "seconds", [0.5]),
    ],
)
def test_numbers_come_in_si_units(value, unit, expected):
    assert np.allclose(si("test", "x", value, unit), expected, rtol=1e-15, atol=0)
    assert si("test", "x", value, unit).shape == np.shape(expected)


@pytest.mark.parametrize(
    "value",
    [
        5 * brian2.mV,
        5 * brian2.Hz,
        float("nan"),
        float("inf"),
        "fast",
        None,
        SimpleNamespace(units="ms"),
        [[1], [1, 2]],
    ],
    ids=str,
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(InputError, match="x"):
        si("test", "x", value, "seconds")
