"""Spike trains from Brian 2: exact times, silent neurons and silence survive."""

from types import SimpleNamespace

import numpy as np
import pytest

from neurosparse.errors import InputError
from neurosparse.io import brian2


def _monitor(**parts) -> SimpleNamespace:
    return SimpleNamespace(**({"i": np.array([2, 0, 2]), "t": np.array([0.0031, 0.0002, 0.0034])} | parts))


def test_times_survive_a_coarser_step():
    events = brian2.read(_monitor(), dt=1e-3, duration=0.01, n_units=4)
    assert events.shape == (10, 1, 4)
    assert events.axis == "time" and events.dt == 1e-3 and events.value is None
    assert events.times().tolist() == [200_000, 3_100_000, 3_400_000]
    assert events.counts().tolist() == [[1.0, 0.0, 2.0, 0.0]]


def test_a_silent_recording_keeps_its_size():
    events = brian2.read(_monitor(i=np.array([], int), t=np.array([])), dt=1e-3, duration=0.5, n_units=7)
    assert events.shape == (500, 1, 7) and events.n_events == 0


@pytest.mark.parametrize(
    ("monitor", "complaint"),
    [
        (object(), r"\.i and \.t"),
        (_monitor(), "n_units"),
        (_monitor(source=range(2)), "units"),
        (_monitor(source=range(3), t=np.array([0.0031, 0.0002, 0.02])), "0.02 s"),
    ],
)
def test_invalid_monitors_are_refused(monitor, complaint):
    with pytest.raises(InputError, match=complaint):
        brian2.read(monitor, dt=1e-3, duration=0.01)
