"""SpikingJelly's and Norse's LIF neurons, which cannot be installed beside ours: what they gave is in tests/oracles."""

import json
from pathlib import Path

import pytest
import torch

import neurosparse as ns

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "neurons.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("peer", ["spikingjelly subtract", "spikingjelly zero", "norse zero"])
@pytest.mark.parametrize("reference", [True, False])
def test_the_same_spikes_for_the_same_currents(peer, reference):
    current = torch.tensor(ORACLE["current"], dtype=torch.float64, requires_grad=True)
    found, reset = ORACLE[peer], peer.split()[1]
    options = {"beta": ORACLE["beta"], "threshold": ORACLE["threshold"], "reference": reference}
    spikes = ns.LIF(**options, reset=reset, surrogate=ns.atan(2.0))(current)
    expected = torch.tensor(found["spikes"], dtype=torch.float64)
    assert expected.mean() > 0.05
    assert torch.equal(spikes.dense(), expected)
    if "gradient" in found:
        (spikes.dense() * torch.tensor(ORACLE["weight"], dtype=torch.float64)).sum().backward()
        expected = torch.tensor(found["gradient"], dtype=torch.float64)
        torch.testing.assert_close(current.grad, expected, rtol=1e-9, atol=1e-12)
