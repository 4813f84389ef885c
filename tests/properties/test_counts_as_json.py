"""Operation counts as JSON: the same counts again, and the same energies to the last bit."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prices import PHASES, networks
from torch import nn

import neurosparse as ns
from neurosparse.energy import comparison_scenarios, estimate
from neurosparse.errors import InputError
from neurosparse.meter import OperationCounts
from neurosparse.neurons import LIF, Readout


def again(counts: OperationCounts) -> OperationCounts:
    return OperationCounts.from_json(json.loads(json.dumps(counts.to_json(), allow_nan=False)))


@given(networks(PHASES), st.sampled_from(sorted(comparison_scenarios())))
@settings(max_examples=25, deadline=None)
def test_estimates_from_a_file_are_those_of_the_counts(counts, scenario):
    """Equal reports: every energy, row, corner, bound, constant and sentence."""
    options = comparison_scenarios()[scenario]
    assert again(counts) == counts
    assert estimate(again(counts), **options) == estimate(counts, **options)


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(1, 4),
    st.sampled_from([1.0, 0.875, 0.9]),
    st.integers(0, 2**16),
)
@settings(max_examples=10, deadline=None)
def test_recorded_networks_and_sums_of_their_runs(widths, steps, beta, seed):
    torch.manual_seed(seed)
    layers = [(nn.Linear(n, m), LIF(beta=beta)) for n, m in pairwise(widths)]
    net = nn.Sequential(*(part for pair in layers for part in pair), nn.Linear(widths[-1], 2), Readout(beta=beta))
    runs = []
    for samples in (1, 3):
        with ns.record(net, detail=True) as tape:
            net(ns.EventTensor.from_dense((torch.rand(steps, samples, widths[0]) < 0.4).float()))
        runs.append(ns.count(tape))
    both = runs[0] + runs[1]
    assert again(both) == both == again(runs[0]) + again(runs[1])
    for options in comparison_scenarios().values():
        assert estimate(again(both), **options) == estimate(both, **options)
    assert again(both).totals == both.totals and again(both).per_sample == both.per_sample


def test_notes_and_numbers_of_numpy_are_kept():
    row = {"layer": "fc", "kind": "linear", "dense_ops": np.int64(2**60), "effective_acs": np.float64(0.1)}
    uncounted = ({"layer": "rnn", "function": "lstm", "calls": 2},)
    suggestions = ({"layer": "fc", "producer": "input", "argument": "spiking=['input']"},)
    counts = OperationCounts((row,), 3, uncounted, suggestions)
    assert again(counts) == counts and again(counts).rows[0]["dense_ops"] == 2**60


def test_other_data_are_refused():
    for data in ({}, {"rows": []}, [], "counts", None):
        with pytest.raises(InputError, match="samples and rows"):
            OperationCounts.from_json(data)
