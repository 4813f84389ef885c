"""FlyHash and the k-sparse autoencoder."""

import pytest
import torch
from sklearn.datasets import load_digits

import neurosparse as ns
from neurosparse.coding import FlyHash, KSparseAutoencoder


def test_exactly_k_cells_fire_and_each_samples_its_inputs():
    hashing = FlyHash(50, cells=400, inputs=6, active=0.05, seed=1)
    assert hashing.matrix.sum(1).unique().tolist() == [6.0]
    spikes = hashing(torch.rand(7, 50))
    assert spikes.counts().sum(1).tolist() == [20.0] * 7
    assert spikes.value is None


def test_an_odour_s_strength_changes_nothing():
    x = torch.randint(0, 64, (5, 32)).double() / 64
    hashing = FlyHash(32, cells=300)
    assert torch.equal(hashing(x).dense(), hashing(4 * x + 1).dense())


def recall(found: torch.Tensor, true: torch.Tensor) -> float:
    """Share of the true neighbours among those found."""
    return float((found[:, :, None] == true[:, None, :]).any(2).double().mean())


@pytest.mark.parametrize("k", [4, 8, 16])
def test_recall_beats_dense_hashing_of_the_same_length(k):
    """As Dasgupta et al., figure 3, but in bits: k firing cells of 20 d against k signs of dense random projections.

    (Against k graded projections, which are no bits, the fly is ahead up to k = 8 here and behind from 16 on.)
    """
    x = torch.tensor(load_digits().data[:800], dtype=torch.float64)
    x = x - x.mean(1, keepdim=True)
    queries = torch.arange(100)
    distance = torch.cdist(x[:100], x)
    distance[queries, queries] = torch.inf
    true = distance.argsort(1)[:, :16]
    scores = {"fly": [], "dense": []}
    for seed in range(5):
        spikes = FlyHash(64, cells=1280, inputs=6, active=k / 1280, seed=seed)(x)
        found = FlyHash.nearest(spikes.samples(queries), spikes, 17)
        scores["fly"].append(recall(found, true))
        signs = torch.sign(x @ torch.randn(64, k, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)))
        overlap = (signs[:100] @ signs.t()).argsort(dim=1, descending=True, stable=True)[:, :17]
        scores["dense"].append(recall(overlap, true))
    assert min(scores["fly"]) > max(scores["dense"])


def test_another_seed_is_another_matrix_and_the_least_may_win():
    assert not torch.equal(FlyHash(20, seed=1).matrix, FlyHash(20, seed=2).matrix)
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    assert FlyHash(20, cells=90, active=1.0)(x).counts().sum(1).tolist() == [90.0] * 3, "sums below zero fire too"


@pytest.mark.parametrize("options", [{"inputs": 0}, {"inputs": 99}, {"active": 0.0}, {"cells": 0}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ns.InputError, match="FlyHash"):
        FlyHash(20, **options)


def test_a_k_sparse_autoencoder_learns_the_atoms_of_sparse_data():
    """Data made of two of eight orthogonal patterns: with k = 2 all of it can be said, and is."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.linalg.qr(torch.randn(16, 8, generator=generator))[0].t()
    torch.manual_seed(0)
    network = KSparseAutoencoder(16, 24, k=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(600):
        pairs = torch.rand(64, 8, generator=generator).argsort(1)[:, :2]
        x = (patterns[pairs] * (0.5 + torch.rand(64, 2, 1, generator=generator))).sum(1)
        optimizer.zero_grad()
        loss = (network(x) - x).square().sum(1).mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * x.square().sum(1).mean()
    assert network.encode(x).n_events == 2 * 64


def test_a_k_sparse_autoencoder_is_its_equation():
    network = KSparseAutoencoder(5, 8, k=2)
    with torch.no_grad():
        network.offset.copy_(torch.arange(5.0))
    x = torch.rand(4, 5)
    weight, bias = network.atoms, network.encoder.bias.detach()
    for survivors in (2, 4):  # k while it learns, alpha k = 4 in evaluation mode
        drive = x @ weight.t() + bias
        a = torch.where(drive >= drive.sort(1).values[:, -survivors, None], drive, 0.0)
        torch.testing.assert_close(network(x).detach(), a @ weight + torch.arange(5.0))
        network.eval()
