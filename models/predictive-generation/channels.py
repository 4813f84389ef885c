"""Communication cost: the error of in-painting over the number of transmissions, for several channels."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurosparse as ns
from neurosparse.meter import as_module

model = ns.experiments.load_script(Path(__file__).with_name("model.py"))

SCHEMES = {
    "graded errors": lambda threshold: {"error_channel": ns.predictive.graded(threshold)},
    "changes of errors": lambda threshold: {"error_channel": ns.predictive.delta(threshold)},
    "spiking errors": lambda threshold: {"error_channel": ns.predictive.spiking(threshold)},
    "changes of errors and states": lambda threshold: {
        "error_channel": ns.predictive.delta(threshold),
        "state_channel": ns.predictive.delta(threshold),
    },
}
"""How errors, or errors and states, are sent, by name: from a threshold to the channels that `infer` takes."""


def communication_cost(
    networks: Sequence[ns.PredictiveNetwork],
    images: Tensor,
    labels: Tensor,
    known: Tensor,
    thresholds: Sequence[float],
    steps: int,
) -> dict[str, Any]:
    """In-paint and classify images with channels of several thresholds.

    Args:
        networks: from labels to images, one for each seed.
        images, labels: (samples, pixels), (samples).
        known: (pixels), bool; the others are in-painted, under the label of least energy.
        thresholds: of every channel.
        steps: of inference, the same for every channel.

    Returns:
        ``everything`` (all errors sent) and ``ways`` (points by scheme); means and standard deviations over the
        networks of ``error`` (mean squared, of pixels that are not known), ``accuracy`` (labels of whole images,
        relaxed), and for one in-painting ``errors_sent``, ``states_sent``, ``operations`` (multiply-accumulates, and
        the additions that spikes need instead) and ``comparisons``.
    """
    best = [model.classify(network, images, known, steps) for network in networks]

    def evaluated(channels: Mapping[str, Any]) -> dict[str, Any]:
        pairs = zip(networks, best, strict=True)
        found = [evaluate(network, images, labels, known, label, steps, channels) for network, label in pairs]
        return {key: ns.experiments.stat(one[key] for one in found) for key in found[0]}

    ways = {name: [{"threshold": t} | evaluated(scheme(t)) for t in thresholds] for name, scheme in SCHEMES.items()}
    return {"everything": evaluated({}), "ways": ways}


def evaluate(
    network: ns.PredictiveNetwork, images: Tensor, labels: Tensor, known: Tensor, best: Tensor, steps: int,
    channels: Mapping[str, Any],
) -> dict[str, float]:  # fmt: skip
    """One network and one scheme."""
    metered = as_module(lambda x: model.inpaint(network, x, known, best, steps=steps, **channels))
    with warnings.catch_warnings():
        # With few transmissions the energy may rise: this is what is counted.
        warnings.simplefilter("ignore", ns.predictive.EnergyIncreased)
        with ns.record(metered) as tape:
            inpainting = metered(images)
        whole = model.inpaint(network, images, torch.ones_like(known), steps=steps, record=False, **channels)
    totals, samples = ns.count(tape).totals, len(images)
    return {
        "error": float((inpainting.image - images)[:, ~known].square().mean()),
        "accuracy": float((whole.states.z[0].argmax(1) == labels).float().mean()),
        "errors_sent": inpainting.states.events.n_events / samples,
        "states_sent": inpainting.states.state_events.n_events / samples,
        "operations": (totals["effective_macs"] + totals["effective_acs"]) / samples,
        "comparisons": totals["comparisons"] / samples,
    }


def curves(found: Mapping[str, Any], sent: str, value: str, scale: float) -> dict[str, list[dict[str, float]]]:
    """Points for ``ns.plot.communication_cost``; those with 1.5 times the error of all errors sent are left out."""
    limit = 1.5 * found["everything"]["error"]["mean"]
    points = {name: [one for one in ways if one["error"]["mean"] < limit] for name, ways in found["ways"].items()}
    return {
        name: [
            {"sent": one[sent]["mean"], "value": scale * one[value]["mean"], "sd": scale * (one[value]["sd"] or 0)}
            | ({"threshold": one["threshold"]} if sent == "errors_sent" else {})
            for one in ways
        ]
        for name, ways in points.items()
    }


def pictures(found: Mapping[str, Any]) -> list[Any]:
    """Error over errors sent and over operations, accuracy over errors sent: three functions that take ``ax``."""
    sent, spent = "errors sent per in-painted image", "operations per in-painted image"
    error, label = "squared error of the unknown half", "labels right, whole image (%)"
    panels = (
        ("errors_sent", sent, "error", error, 1),
        ("operations", spent, "error", error, 1),
        ("errors_sent", sent, "accuracy", label, 100),
    )
    draw, rest = ns.plot.communication_cost, found["everything"]
    return [
        partial(draw, curves(found, x, y, scale), ylabel, xlabel, scale * rest[y]["mean"])
        for x, xlabel, y, ylabel, scale in panels
    ]
