"""SAILnet: spikes by a slow loop, rules by hand, and homeostasis after learning."""

import numpy as np
import pytest
import torch

import neurosparse as ns
from neurosparse.coding import sailnet
from neurosparse.meter.record import as_module


def _spikes(network: sailnet.Sailnet, x: np.ndarray, steps: int, leak: float) -> np.ndarray:
    """Unit by unit."""
    q, w, threshold = (part.numpy() for part in network)
    out = np.zeros((steps, len(x), len(q)))
    for n, sample in enumerate(x):
        membrane, fired = np.zeros(len(q)), np.zeros(len(q))
        for t in range(steps):
            for i in range(len(q)):
                inhibition = sum(w[j, i] * fired[j] for j in range(len(q)))
                membrane[i] = (1 - leak) * membrane[i] + leak * (q[i] @ sample - inhibition)
            fired = (membrane > threshold).astype(float)
            membrane[fired > 0] = 0
            out[t, n] = fired
    return out


@pytest.fixture
def network() -> sailnet.Sailnet:
    """Not symmetric, so that a transposed weight shows; dyadic weights, so that sums are exact."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randint(-4, 5, (6, 5), generator=generator).double() / 4
    w = (torch.randint(0, 9, (6, 6), generator=generator).double() / 4).fill_diagonal_(0)
    return sailnet.Sailnet(q, w, torch.linspace(0.25, 1, 6, dtype=torch.float64))


def test_spikes_are_those_of_a_slow_loop(network):
    x = torch.randint(-8, 9, (7, 5), generator=torch.Generator().manual_seed(1)).double() / 4
    spikes = sailnet.respond(network, x, steps=12, leak=0.25)
    expected = _spikes(network, x.numpy(), 12, 0.25)
    assert expected.sum() > 50 and spikes.value is None and spikes.axis == "time"
    np.testing.assert_array_equal(spikes.dense(), expected)


def test_one_update_by_hand(network):
    x = torch.randint(-8, 9, (7, 5), generator=torch.Generator().manual_seed(1)).double() / 4
    result = sailnet.learn(network, x, rate=0.5, alpha=0.3, beta=0.2, gamma=0.1, steps=12, leak=0.25)
    y = _spikes(network, x.numpy(), 12, 0.25).sum(0)
    q, w, threshold = (part.numpy() for part in network)
    pairs = np.mean([np.outer(row, row) for row in y], axis=0)
    lateral = np.maximum(w + 0.3 * (pairs - 0.25), 0) * (1 - np.eye(6))
    towards = np.mean([np.outer(row, sample) for row, sample in zip(y, x.numpy(), strict=True)], axis=0)
    feedforward = q + 0.2 * (towards - np.diag(pairs)[:, None] * q)
    np.testing.assert_allclose(result.network.lateral, lateral)
    np.testing.assert_allclose(result.network.feedforward, feedforward)
    np.testing.assert_allclose(result.network.threshold, threshold + 0.1 * (y.mean(0) - 0.5))
    np.testing.assert_array_equal(result.spikes.counts(), y)
    assert torch.equal(network.threshold, torch.linspace(0.25, 1, 6, dtype=torch.float64))


def test_rates_and_pairs_come_to_rest():
    """Two units that see nearly the same, and one that sees the opposite, so never fires together with the first.

    At rest each unit fires p spikes a sample, whatever it sees; a pair that inhibits each other fires together as if it
    were independent, ``<y_i y_j> = p^2``; a pair that fires together more rarely has no inhibition left.
    """
    p, generator = 0.1, torch.Generator().manual_seed(0)
    seen = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    network = sailnet.Sailnet(seen, torch.zeros(3, 3), torch.ones(3))
    for alpha, gamma, batches in ((10.0, 1.0, 100), (3.0, 0.3, 200)):
        for _ in range(batches):
            x = torch.randn(400, 2, generator=generator)
            network = sailnet.learn(network, x, rate=p, alpha=alpha, beta=0.0, gamma=gamma, steps=20).network
    counts = sailnet.respond(network, torch.randn(20_000, 2, generator=generator), steps=20).counts()
    error = counts.std(0) / len(counts) ** 0.5
    assert ((counts.mean(0) - p).abs() < 4 * error).all()
    product = counts[:, 0] * counts[:, 1]
    assert network.lateral[0, 1] > 1 and (product.mean() - p**2).abs() < 4 * product.std() / len(counts) ** 0.5
    assert (counts[:, 0] * counts[:, 2]).sum() == 0 and network.lateral[0, 2] == 0
    assert torch.equal(network.lateral, network.lateral.t()) and not network.lateral.diagonal().any()
    unlearned = sailnet.respond(sailnet.Sailnet(seen, torch.zeros(3, 3), network.threshold), x, steps=20).counts()
    assert (unlearned[:, 0] * unlearned[:, 1]).mean() > 3 * p**2  # it is inhibition that parts them


def test_the_meter_counts_drive_inhibition_and_neurons(network):
    x = torch.randint(-8, 9, (7, 5), generator=torch.Generator().manual_seed(1)).double() / 4
    model = as_module(lambda x: sailnet.respond(network, x, steps=12, leak=0.25))
    with ns.record(model) as tape:
        spikes = model(x)
    totals = ns.count(tape).totals
    sent = spikes.dense()[:-1].sum((0, 1))
    assert totals["effective_macs"] == int((x != 0).sum(0) @ (network.feedforward != 0).sum(0))
    assert totals["effective_acs"] == int(sent.long() @ (network.lateral != 0).sum(1))
    assert totals["state_updates"] == 12 * 7 * 6


def test_it_refuses(network):
    with pytest.raises(ns.InputError, match="x of shape"):
        sailnet.respond(network, torch.ones(3, 4, dtype=torch.float64))
    with pytest.raises(ns.InputError, match="NaN"):
        sailnet.respond(network, torch.full((3, 5), np.nan, dtype=torch.float64))
    with pytest.raises(ns.InputError, match="leak=0"):
        sailnet.respond(network, torch.ones(3, 5, dtype=torch.float64), leak=0.0)
    with pytest.raises(ns.InputError, match="Pass rate"):
        sailnet.learn(network, torch.ones(3, 5, dtype=torch.float64), rate=0.0)
