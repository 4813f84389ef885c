"""Operations of one training step of a classifier, by hand."""

import pytest
import torch

from neurosparse.energy import estimate
from neurosparse.experiments.classification.config import Compression
from neurosparse.experiments.classification.families.lif import LIFConfig
from neurosparse.experiments.classification.families.predictive import PredictiveConfig
from neurosparse.experiments.classification.families.relu import ReLUConfig
from neurosparse.experiments.classification.training_cost import training_counts

SAMPLES, INPUTS, HIDDEN, CLASSES = 6, 5, 4, 3
WEIGHTS, BIASES = INPUTS * HIDDEN + HIDDEN * CLASSES, HIDDEN + CLASSES
ADAM = 13  # scalar operations of a step of Adam per parameter: see test_training_counts.py


def step(config, x):
    torch.manual_seed(0)
    model = config.network((INPUTS,), (HIDDEN,), CLASSES).train()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):  # the optimizer makes its state in the first step
        counts = training_counts(config, model, x, torch.arange(SAMPLES) % CLASSES, optimizer)
    return counts


def total(counts, phase, column, kinds=("linear", "matmul")):
    return sum(row[column] for row in counts.rows if row["phase"] == phase and row["kind"] in kinds)


@pytest.mark.parametrize("compression", [Compression(), Compression(bits=8, quantization="qat")], ids=["float", "qat"])
def test_a_step_of_two_relu_layers(compression):
    """The first layer has no gradient of its input; the update is made once for the batch."""
    counts = step(ReLUConfig("relu", compression=compression), torch.rand(SAMPLES, INPUTS) + 0.5)
    first, second = SAMPLES * INPUTS * HIDDEN, SAMPLES * HIDDEN * CLASSES
    assert counts.samples == SAMPLES and counts.uncounted == ()
    assert total(counts, "forward", "dense_ops") == first + second
    assert total(counts, "backward", "dense_ops") == first + 2 * second
    assert total(counts, "update", "elementwise", ("elementwise",)) == ADAM * (WEIGHTS + BIASES)
    assert counts.totals["weights"] == WEIGHTS
    joules = estimate(counts, dataflow="compute_only").by_phase
    assert set(joules) == {"forward", "backward", "update"} and min(joules.values()) > 0


def test_a_step_of_a_spiking_network():
    """Four steps: the image is multiplied once, and its neurons have a state update in each pass and step."""
    counts = step(LIFConfig("lif", steps=4), torch.rand(SAMPLES, INPUTS))
    assert counts.samples == SAMPLES and counts.uncounted == ()
    for phase in ("forward", "backward"):
        assert total(counts, phase, "state_updates", ("neuron",)) == 4 * SAMPLES * HIDDEN
    assert total(counts, "update", "elementwise", ("elementwise",)) == ADAM * (WEIGHTS + BIASES)


def test_a_step_of_a_local_rule():
    counts = step(PredictiveConfig("predictive"), torch.rand(SAMPLES, INPUTS))
    assert counts.samples == SAMPLES and counts.uncounted == ()
    assert {row["phase"] for row in counts.rows} == {"forward", "update"}
    assert total(counts, "forward", "dense_ops") > SAMPLES * WEIGHTS
    assert total(counts, "update", "elementwise", ("elementwise",)) == ADAM * (WEIGHTS + BIASES)
