"""The reader against Brian2 itself: what its own monitor reports is what the events say."""

import brian2 as b2
import numpy as np

from neurosparse.io import brian2 as reader


def test_a_simulation_reads_back_exactly():
    b2.prefs.codegen.target = "numpy"
    times = np.array([0.3, 1.0, 2.7, 2.7, 9.9]) * b2.ms
    neurons = np.array([4, 0, 1, 3, 4])
    group = b2.SpikeGeneratorGroup(6, neurons, times, dt=0.1 * b2.ms)
    monitor = b2.SpikeMonitor(group)
    b2.Network(group, monitor).run(10 * b2.ms)
    events = reader.read(monitor, dt=1e-3, duration=10e-3)
    assert events.shape == (10, 1, 6)
    assert events.times().tolist() == np.round(np.asarray(monitor.t) * 1e9).astype(int).tolist()
    assert sorted(zip(events.aer().step.tolist(), events.aer().unit.tolist(), strict=True)) == [
        (0, 4), (1, 0), (2, 1), (2, 3), (9, 4)
    ]  # fmt: skip
