"""Networks and predictive coding take NumPy numbers, tensors of no axes and views as plain arguments."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from arguments import Function, check
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.simulate.distributions import draw

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def inferred(**options) -> ns.predictive.States:
    network = ns.PredictiveNetwork((6, 3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ns.predictive.EnergyIncreased)
        return network.infer(X, torch.ones(4, 2), start="normal", **options)


def drawn(value, unit: str = "volts"):
    rng = np.random.default_rng(0)
    return value.draw(rng, 6, 4, False) if hasattr(value, "draw") else draw("f", "x", value, unit, 4, rng)


def patches(**options) -> torch.Tensor:
    """Rounded: the order in which a mean is summed depends on the strides."""
    return ns.predictive.rao_ballard.extract_patches(**options).round(decimals=4)


SENT = {name: getattr(ns.predictive, name) for name in ("graded", "delta", "spiking")}
LIF = {"rest": -0.065, "threshold": -0.05, "reset": -0.065, "tau": 0.02, "refractory": 0.0}
SYNAPSES = {"tau_excitatory": 0.005, "tau_inhibitory": 0.01}
REVERSAL = {"reversal_excitatory": 0.0, "reversal_inhibitory": -0.08}

PREDICTIVE = [
    *(
        (name, lambda channel=channel, **o: channel(**o).send(X, 0 * X).sent, {"threshold": 0.1})
        for name, channel in SENT.items()
        if name != "spiking"
    ),
    ("spiking", lambda **o: SENT["spiking"](**o).send(X, torch.zeros(2, 4, 6)).sent, {"threshold": 0.1, "beta": 0.5}),
    ("PredictiveNetwork", lambda **o: ns.PredictiveNetwork((6, 3, 2), **o), {"dt": 0.1, "steps": 5, "precision": 0.5}),
    ("infer", inferred, {"dt": 0.1, "steps": 5, "tol": 0.1, "generator": 3}, ("dt", "steps")),
    ("infer with a nudge", inferred, {"nudge": 0.1}, ("nudge",)),
    ("extract_patches", patches, {"area": torch.rand(2, 16, 26)}),
    ("hierarchy", ns.predictive.rao_ballard.hierarchy, {"generator": 3, "steps": 5}),
]

SIMULATE = [
    ("Network", lambda **o: (ns.Network(**o).dt, ns.Network(**o).seed), {"dt": 1e-4, "seed": 3}),
    ("Network.run", lambda **o: ns.Network(0.1).steps("f", **o), {"seconds": 0.5}),
    ("population", lambda **o: ns.Network().population("a", model=ns.simulate.lif(), **o).size, {"size": 4}),
    ("poisson", lambda **o: ns.simulate.poisson(20.0, **o), {"sources": 3}),
    ("lif", lambda **o: ns.simulate.lif(**o).coefficients(1e-4), {**LIF, **SYNAPSES}),
    ("delta_lif", lambda **o: ns.simulate.delta_lif(**o).coefficients(1e-4), LIF),
    ("conductance_lif", lambda **o: ns.simulate.conductance_lif(**o).coefficients(1e-4),
     {**LIF, **SYNAPSES, **REVERSAL}),
    ("stdp", lambda **o: ns.simulate.stdp(bounds=(0, 1), **o),
     {"rise": 0.1, "fall": 0.1, "tau_rise": 0.02, "tau_fall": 0.02}),
    ("uniform", lambda **o: drawn(ns.simulate.uniform(**o)), {"low": 0.0, "high": 1.0}),
    ("normal", lambda **o: drawn(ns.simulate.normal(**o)), {"mean": 0.0, "deviation": 1.0, "low": -1.0, "high": 1.0},
     ("low", "high")),
    ("fixed_probability", lambda **o: drawn(ns.simulate.fixed_probability(**o)), {"p": 0.3}),
    ("fixed_in_degree", lambda **o: drawn(ns.simulate.fixed_in_degree(**o)), {"k": 3}),
    ("fixed_out_degree", lambda **o: drawn(ns.simulate.fixed_out_degree(**o)), {"k": 3}),
    ("from_matrix", lambda **o: drawn(ns.simulate.from_matrix(**o)), {"weight": X}),
]  # fmt: skip


@pytest.mark.parametrize("row", [*PREDICTIVE, *SIMULATE], ids=lambda row: row[0])
@settings(max_examples=60)
@given(data=st.data())
def test_the_result_is_that_of_the_plain_argument(row, data):
    check(Function(*row), data)
