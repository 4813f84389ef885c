"""The price of silence: what inference loses when its error units say less, and what it saves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurosparse.experiments.generation.model import decide, inpaint
from neurosparse.experiments.provenance import stat
from neurosparse.meter import as_module, count, record
from neurosparse.predictive import EnergyIncreased, PredictiveNetwork, delta, graded, spiking

__all__ = ["SCHEMES", "communication_cost"]

SCHEMES = {
    "graded errors": lambda threshold: {"error_channel": graded(threshold)},
    "changes of errors": lambda threshold: {"error_channel": delta(threshold)},
    "spiking errors": lambda threshold: {"error_channel": spiking(threshold)},
    "changes of errors and states": lambda threshold: {
        "error_channel": delta(threshold),
        "state_channel": delta(threshold),
    },
}
"""How errors, or errors and states, are sent, by name: a threshold to the channels that `infer` takes."""

Channels = Mapping[str, Any]


def communication_cost(
    networks: Sequence[PredictiveNetwork],
    images: Tensor,
    labels: Tensor,
    known: Tensor,
    thresholds: Sequence[float],
    steps: int,
) -> dict[str, Any]:
    """In-paint images, and tell labels, with ever less that is worth a transmission.

    Args:
        networks: from labels to images, one for each seed.
        images, labels: (samples, pixels), (samples).
        known: (pixels), bool; in-painted are the others, under the label that explains these best.
        thresholds: of every channel.
        steps: of inference, the same whatever is said.

    Returns:
        ``everything`` and ``ways``, points by the name of the way; means and standard deviations over the networks of
        ``error`` (mean squared, of pixels that are not known), ``accuracy`` (labels of whole images, relaxed), and for
        one in-painting ``errors_sent``, ``states_sent``, ``operations`` (multiply-accumulates, and the additions that
        spikes need instead) and ``comparisons``.

    Example:
        >>> network = PredictiveNetwork((2, 5, 4), order="act_before")
        >>> known = torch.tensor([True, True, False, False])
        >>> found = communication_cost([network], torch.rand(3, 4), torch.tensor([0, 1, 1]), known, [0.1], steps=5)
        >>> list(found["ways"])
        ['graded errors', 'changes of errors', 'spiking errors', 'changes of errors and states']
    """
    best = [decide(network, images, known, steps) for network in networks]

    def seen(channels: Channels) -> dict[str, Any]:
        found = [
            _one(network, images, labels, known, label, steps, channels)
            for network, label in zip(networks, best, strict=True)
        ]
        return {key: stat(one[key] for one in found) for key in found[0]}

    ways = {name: [{"threshold": t} | seen(way(t)) for t in thresholds] for name, way in SCHEMES.items()}
    return {"everything": seen({}), "ways": ways}


def _one(
    network: PredictiveNetwork, images: Tensor, labels: Tensor, known: Tensor, best: Tensor, steps: int,
    channels: Channels,
) -> dict[str, float]:  # fmt: skip
    """One network, one way to send."""
    model = as_module(lambda x: inpaint(network, x, known, best, steps=steps, **channels))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", EnergyIncreased
        )  # who hears little may end higher: that is what is measured here
        with record(model) as tape:
            painting = model(images)
        whole = inpaint(network, images, torch.ones_like(known), steps=steps, record=False, **channels)
    totals, samples = count(tape).totals, len(images)
    return {
        "error": float((painting.image - images)[:, ~known].square().mean()),
        "accuracy": float((whole.states.z[0].argmax(1) == labels).float().mean()),
        "errors_sent": painting.states.events.n_events / samples,
        "states_sent": painting.states.state_events.n_events / samples,
        "operations": (totals["effective_macs"] + totals["effective_acs"]) / samples,
        "comparisons": totals["comparisons"] / samples,
    }
