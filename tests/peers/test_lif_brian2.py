"""Brian2 and our LIF on identical currents: exact decay exp(-dt / tau), one kick of current per step.

In a step the membrane decays, then the kick arrives, then the threshold is tested and the reset applied, as in ours.
"""

import math

import numpy as np
import pytest
import torch

import neurosparse as ns

DT, TAU, STEPS, UNITS = 1e-3, 0.02, 200, 12
RESETS = {"subtract": "v -= 1", "zero": "v = 0"}


@pytest.fixture(scope="module")
def brian2():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRIAN2_LOG", "0")
        module = pytest.importorskip("brian2")
    module.prefs.codegen.target = "numpy"
    module.BrianLogger.suppress_name("base")
    dt = module.defaultclock.dt
    yield module
    module.defaultclock.dt = dt  # other tests share the clock of this process


def kicks() -> np.ndarray:
    """Dyadic currents, so that no sum is a matter of rounding."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 24, (STEPS, UNITS)) / 64


def in_brian2(b2, current: np.ndarray, reset: str, refractory: float = 0.0) -> tuple[set[tuple[int, int]], np.ndarray]:
    b2.start_scope()
    b2.defaultclock.dt = DT * b2.second
    drive = b2.TimedArray(current, dt=DT * b2.second)
    namespace = {"drive": drive, "decay": math.exp(-DT / TAU)}
    wait = refractory * b2.second if refractory else False
    group = b2.NeuronGroup(UNITS, "v : 1", threshold="v > 1", reset=reset, refractory=wait, namespace=namespace)
    code = "v = decay * v + drive(t, i)"
    if refractory:  # a neuron that waits holds its membrane
        code = "v = int(not_refractory) * (decay * v + drive(t, i)) + (1 - int(not_refractory)) * v"
    group.run_regularly(code, when="thresholds", order=-1, dt=DT * b2.second)
    spikes = b2.SpikeMonitor(group)
    network = b2.Network(group, spikes)
    network.run(STEPS * DT * b2.second, namespace={})
    steps = np.rint(np.asarray(spikes.t) / DT).astype(int)
    return set(zip(steps.tolist(), np.asarray(spikes.i).tolist(), strict=True)), np.asarray(group.v)


@pytest.mark.parametrize("reset", RESETS)
def test_identical_spikes_for_identical_currents(brian2, reset):
    current = kicks()
    theirs, membrane = in_brian2(brian2, current, RESETS[reset])
    ours, state = ns.LIF(tau=TAU, dt=DT, reset=reset).run(torch.from_numpy(current)[:, None])
    step, _, unit, _ = ours.aer()
    assert set(zip(step.tolist(), unit.tolist(), strict=True)) == theirs
    assert len(theirs) > 5 * UNITS
    np.testing.assert_allclose(state.membrane[0].numpy(), membrane, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("steps", [1, 3])
def test_identical_spikes_of_neurons_that_wait(brian2, reset, steps):
    """Brian2 counts the step of the spike itself as refractory: it waits one step less than its refractory time."""
    current = kicks()
    theirs, membrane = in_brian2(brian2, current, RESETS[reset], (steps + 1) * DT)
    ours, state = ns.LIF(tau=TAU, dt=DT, reset=reset, refractory=steps).run(torch.from_numpy(current)[:, None])
    step, _, unit, _ = ours.aer()
    assert set(zip(step.tolist(), unit.tolist(), strict=True)) == theirs
    assert len(theirs) > 3 * UNITS
    np.testing.assert_allclose(state.membrane[0].numpy(), membrane, rtol=1e-12, atol=1e-12)


def test_free_decay_is_their_exact_integration(brian2):
    """dv/dt = -v / tau, integrated exactly by Brian2 itself."""
    b2 = brian2
    b2.start_scope()
    b2.defaultclock.dt = DT * b2.second
    group = b2.NeuronGroup(1, "dv/dt = -v / tau : 1", method="exact", namespace={"tau": TAU * b2.second})
    group.v = 0.75
    monitor = b2.StateMonitor(group, "v", record=True)
    b2.Network(group, monitor).run(50 * DT * b2.second)
    x = torch.zeros(50, 1, 1, dtype=torch.float64)
    x[0] = 0.75
    trace = ns.LIF(tau=TAU, dt=DT).trace(x)
    np.testing.assert_allclose(trace.membrane.flatten().numpy(), np.asarray(monitor.v[0]), rtol=1e-12)
