"""Spikes and gradients of the LIF neurons of SpikingJelly and Norse: tests/oracles/neurons.json.

Every number is a dyadic fraction (decay 7/8, currents in 1/64), so spikes do not depend on rounding.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.module.lif_box import LIFBoxCell
from spikingjelly.activation_based import neuron, surrogate

STEPS, SAMPLES, UNITS, THRESHOLD = 40, 2, 6, 1 + 2**-11  # a threshold that no membrane equals
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
current = torch.randint(0, 24, (STEPS, SAMPLES, UNITS)) / 64
weight = torch.randint(-8, 8, current.shape) / 8


def spikingjelly(v_reset: float | None) -> dict[str, object]:
    """A spike where the membrane is at or above the threshold; reset by subtraction (None) or to a value."""
    x = current.clone().requires_grad_()
    options = {"tau": 8.0, "decay_input": False, "v_threshold": THRESHOLD, "detach_reset": True, "step_mode": "m"}
    spikes = neuron.LIFNode(**options, v_reset=v_reset, surrogate_function=surrogate.ATan(2.0))(x)
    (spikes * weight).sum().backward()
    return {"spikes": spikes.int().tolist(), "gradient": x.grad.tolist()}


def norse() -> dict[str, object]:
    """Norse multiplies its input by dt / tau, an eighth here; reset to zero."""
    eighth = torch.as_tensor(125.0)
    cell = LIFBoxCell(p=LIFBoxParameters(tau_mem_inv=eighth, v_th=torch.as_tensor(THRESHOLD)), dt=1e-3)
    state, spikes = None, []
    for drive in current.unbind(0):
        fired, state = cell(8 * drive, state)
        spikes.append(fired)
    return {"spikes": torch.stack(spikes).int().tolist()}


out = {
    "versions": {name: version(name) for name in ("norse", "spikingjelly", "torch")},
    "beta": 0.875,
    "threshold": THRESHOLD,
    "current": current.tolist(),
    "weight": weight.tolist(),
    "spikingjelly subtract": spikingjelly(None),
    "spikingjelly zero": spikingjelly(0.0),
    "norse zero": norse(),
}
Path(sys.argv[1]).write_text(json.dumps(out) + "\n")
