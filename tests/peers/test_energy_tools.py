"""Counts and energies of SpikingJelly and NeuroBench are those of our counts with their rules and prices."""

import energy_tools as tools
import pytest
import torch
from torch import nn

from neurosparse.events import fold
from neurosparse.neurons import LIF


@pytest.mark.parametrize("name", tools.CASES)
def test_every_number_of_another_tool_follows_from_our_counts(name: str) -> None:
    case = tools.CASES[name]
    steps = case.data.shape[1]
    counts, layers = tools.counted(tools.network(case.build()), case.data.transpose(0, 1).contiguous())
    for row in tools.count_rows(name, layers, steps):
        assert row["its number"] == row["from our counts"]
        assert (row["because"] == "equal") == (row["its number"] == row["neurosparse"])
    energies = tools.energy_rows(name, counts, layers, steps)
    others = [row for row in energies if row["tool"] != "neurosparse"]
    assert len(others) == (7 if name == "CNN" else 6)
    for row in others:
        assert row["from our counts"] == pytest.approx(row["pJ per sample"], rel=1e-9)


def test_a_layer_of_neuromc_has_the_published_energy_and_that_of_spikingjelly() -> None:
    channels, out, size = shape = (128, 32, 28)
    net = nn.Sequential(fold(nn.Conv2d(channels, out, 3, bias=False)), LIF(beta=1.0))
    _, layers = tools.counted(net, torch.ones(1, 1, channels, size + 2, size + 2))
    assert tools.neuromc(layers, 1, 2) == pytest.approx(tools.RESNET18[shape], rel=1e-11)
    (theirs,) = [row["total"] for row in tools.THEIRS["S-ResNet18"] if (row["in"], row["out"], row["size"]) == shape]
    assert tools.neuromc(layers, 1, 1) == pytest.approx(theirs, rel=1e-9)


def test_the_cycle_of_spikesim_is_the_sum_of_its_parts() -> None:
    """Tree, fetch, neuron, tile buffer; 8 times 16 subtractions and a buffer; 64 converters; 8 times 9 cells."""
    parts = 19.64 * 8 + 4.64 + 1.274 * 4 + 397 + 8 * (16 * 1.15e-6 + 0.2) + 64 * (2.03084 + 0.094245) + 8 * 9 * 1.76423
    assert pytest.approx(parts, rel=1e-9) == tools.SPIKESIM_CYCLE
