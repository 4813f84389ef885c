"""A layer of neurons as Brian 2 code: state variables, update of a step, threshold and reset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.io.brian2.layers import ExportedLayer

__all__ = ["Equations", "describe_layer", "equations_of"]

RESETS = {"subtract": "v -= threshold", "zero": "v = 0", "none": ""}
DELAYED = {"subtract": "v = {leak} - threshold * int(v > threshold)", "zero": "v = ({leak}) * int(v <= threshold)"}


class Equations(NamedTuple):
    """Strings for a ``NeuronGroup``; empty ones are left out. ``states``: description by name."""

    states: dict[str, str]
    update: list[str]
    threshold: str = ""
    reset: str = ""
    refractory: int = 0  # steps


def equations_of(layer: ExportedLayer, drive: str) -> Equations:
    """The equations of ``kernels/scan/reference.py`` for neurons with this input current in every step."""
    lif, states = layer.neurons, {"v": "membrane"}
    if lif is None:
        return Equations(states, [f"v = beta * v + {drive}"])
    update, threshold, reset = [], "v > threshold", "" if lif.delayed_reset else RESETS[lif.reset]
    name = None if lif.dynamics is None else lif.dynamics.name
    if name == "current_based":
        states["synaptic_current"] = "decaying sum of input"
        update, drive = [f"synaptic_current = alpha * synaptic_current + {drive}"], "synaptic_current"
    if name == "adaptive":
        states |= {"adaptation": "increase of the threshold", "fired": "1 after a spike in the previous step, else 0"}
        update = ["adaptation = decay * adaptation + fired", "fired = 0"]
        threshold, reset = "v > threshold + strength * adaptation", "; ".join(filter(None, [reset, "fired = 1"]))
    return Equations(states, [*update, _membrane(layer, drive)], threshold, reset, lif.refractory)


def _membrane(layer: ExportedLayer, drive: str) -> str:
    lif, leak = layer.neurons, f"beta * v + {drive}"
    assert lif is not None
    if lif.refractory:
        return f"v = int(not_refractory) * ({leak}) + int(not not_refractory) * v"
    if not lif.delayed_reset or lif.reset == "none":
        return f"v = {leak}"
    # A membrane is above the threshold only after a spike, so no flag is needed.
    return DELAYED[lif.reset].format(leak=leak) + "  # reset after a spike in the previous step"


def describe_layer(layer: ExportedLayer) -> str:
    """One line on the layer."""
    lif, count = layer.neurons, layer.size
    if lif is None:
        return f"{count} leaky integrators without spikes"
    resets = {"subtract": "reset by subtraction", "zero": "reset to zero", "none": "no reset"}
    leaky = "" if np.all(layer.constants["beta"] == 1.0) else "leaky "
    parts = [f"{count} {leaky}integrate-and-fire neurons", resets[lif.reset]]
    if lif.delayed_reset and lif.reset != "none":
        parts[-1] += " one step after the spike"
    if lif.dynamics is not None:
        parts.append({"current_based": "current-based synapses", "adaptive": "adaptive threshold"}[lif.dynamics.name])
    parts += ["recurrent"] * (layer.recurrent is not None)
    parts += [f"refractory for {lif.refractory} step{'s' * (lif.refractory > 1)}"] * (lif.refractory > 0)
    if lif.tau is not None:
        parts.append(f"tau={1e3 * lif.constants()['tau'].item():g}*ms" if not lif.tau.ndim else "tau for each")
    return ", ".join(parts)
