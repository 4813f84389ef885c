"""Early exit: a sample has the answer of its first confident readout, and is charged for the layers before it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.experiments import evaluate, make_model

SIZES = (6, 5, 4)


def draw(seed: int, **keys):
    """A network of two hidden layers of random weights, and samples."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make_model("mine", family="early-exit", **keys).network(SIZES[:1], SIZES[1:], 3).eval()
        return network, torch.randn(17, 6) * 3


@given(st.integers(0, 10**6), st.floats(0.34, 1.0), st.sampled_from(["cross_entropy", "squared"]))
@settings(max_examples=20, deadline=None)
def test_the_answer_is_that_of_the_first_confident_readout(seed, confidence, loss):
    network, x = draw(seed, confidence=confidence, loss=loss)
    with torch.no_grad():
        readouts = network.readouts(x)
        certainty = (readouts.softmax(-1) if loss == "cross_entropy" else readouts).amax(-1)
        leaves = [[i for i in (0, 1) if certainty[i, n] >= confidence < 1][:1] or [2] for n in range(len(x))]
        with ns.record(network) as tape:
            found = network(x)
    at = torch.tensor(leaves)[:, 0]
    assert torch.allclose(found, readouts[at, torch.arange(len(x))], atol=1e-6)
    # Products of a sample that leaves at each readout.
    early, layers, classes = confidence < 1, (6 * 5, 5 * 4), 3
    own = [early * 6 * classes, early * 5 * classes, 4 * classes]
    passed = [sum(own[: i + 1]) + sum(layers[:i]) for i in range(3)]
    assert ns.count(tape).totals["dense_ops"] == sum(passed[i] for i in at.tolist())
    assert ns.count(tape).uncounted == ()


def test_full_confidence_is_the_last_readout():
    network, x = draw(0, confidence=1.0)
    assert torch.equal(network(x), network.readouts(x)[-1]) and torch.equal(network(x), network.trunk(x))


@pytest.mark.parametrize("confidence", [0.0, 0.5, 0.9])
def test_the_size_of_a_batch_counts_nothing(confidence):
    network, x = draw(1, confidence=confidence)
    data = (x, torch.zeros(17, dtype=torch.long))
    whole, parts = evaluate(network, data), evaluate(network, data, batch_size=3)
    assert (whole["correct"] == parts["correct"]).all()
    totals = [found["counts"].totals for found in (whole, parts)]
    for each in totals:
        del each["bytes_read"]  # a layer reads its weights once per sample of a call in which any sample reaches it
    assert totals[0] == totals[1]
    for name, report in whole["reports"].items():
        assert report.nominal == pytest.approx(parts["reports"][name].nominal, rel=1e-9)


def test_comparisons_of_the_confidence_are_counted():
    network, x = draw(2, confidence=0.0)
    with ns.record(network) as tape:
        network(x)
    totals = ns.count(tape).totals
    assert totals["comparisons"] >= 17 * 3 and totals["elementwise"] >= 17 * 3, "maximum and softmax of one readout"


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_network_has_no_layer_without_a_range(bits):
    config = make_model("mine", family="early-exit", confidence=0.0, bits=bits)
    network, x = draw(3, confidence=0.0)
    quantised = config.finish(network, x)
    quantised.confidence = 1.0
    assert torch.isfinite(quantised(x)).all() and len(quantised.readouts(x)) == 3
