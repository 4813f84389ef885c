"""A layer of neurons in Brian2's words: its states, what a step does with them, when it fires and what that changes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosparse.io.brian2.layers import Layer

__all__ = ["Equations", "equations_of", "in_words"]

RESETS = {"subtract": "v -= threshold", "zero": "v = 0", "none": ""}
DELAYED = {"subtract": "v = {leak} - threshold * int(v > threshold)", "zero": "v = ({leak}) * int(v <= threshold)"}


class Equations(NamedTuple):
    """Strings for a ``NeuronGroup``; empty where there is nothing to say."""

    states: dict[str, str]
    update: list[str]
    threshold: str = ""
    reset: str = ""
    refractory: int = 0  # steps


def equations_of(layer: Layer, drive: str) -> Equations:
    """The law of ``kernels/scan/reference.py``, for neurons that ``drive`` reaches in every step."""
    lif, states = layer.neurons, {"v": "membrane"}
    if lif is None:
        return Equations(states, [f"v = beta * v + {drive}"])
    update, threshold, reset = [], "v > threshold", "" if lif.delayed_reset else RESETS[lif.reset]
    name = None if lif.dynamics is None else lif.dynamics.name
    if name == "current_based":
        states["synaptic_current"] = "what is left of earlier spikes"
        update, drive = [f"synaptic_current = alpha * synaptic_current + {drive}"], "synaptic_current"
    if name == "adaptive":
        states |= {"adaptation": "raises the threshold", "fired": "in the step before: 1, else 0"}
        update = ["adaptation = decay * adaptation + fired", "fired = 0"]
        threshold, reset = "v > threshold + strength * adaptation", "; ".join(filter(None, [reset, "fired = 1"]))
    return Equations(states, [*update, _membrane(layer, drive)], threshold, reset, lif.refractory)


def _membrane(layer: Layer, drive: str) -> str:
    lif, leak = layer.neurons, f"beta * v + {drive}"
    assert lif is not None
    if lif.refractory:
        return f"v = int(not_refractory) * ({leak}) + int(not not_refractory) * v"
    if not lif.delayed_reset or lif.reset == "none":
        return f"v = {leak}"
    # Only a spike leaves a membrane above the threshold: no flag has to remember it.
    return DELAYED[lif.reset].format(leak=leak) + "  # resets after the last step's spike"


def in_words(layer: Layer) -> str:
    """The layer in one line."""
    lif, count = layer.neurons, layer.size
    if lif is None:
        return f"{count} leaky integrators that never spike"
    resets = {"subtract": "reset by subtraction", "zero": "reset to zero", "none": "no reset"}
    leaky = "" if np.all(layer.constants["beta"] == 1.0) else "leaky "
    parts = [f"{count} {leaky}integrate-and-fire neurons", resets[lif.reset]]
    if lif.delayed_reset and lif.reset != "none":
        parts[-1] += " one step after the spike"
    if lif.dynamics is not None:
        parts.append({"current_based": "current-based synapses", "adaptive": "adaptive threshold"}[lif.dynamics.name])
    parts += ["recurrent"] * (layer.recurrent is not None)
    parts += [f"refractory for {lif.refractory} step{'s' * (lif.refractory > 1)}"] * (lif.refractory > 0)
    parts += [f"tau={1e3 * lif.tau:g}*ms"] if lif.tau is not None else []
    return ", ".join(parts)
