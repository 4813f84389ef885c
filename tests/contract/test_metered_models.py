"""Operation counts of sparse codes, k-WTA, predictive networks and quantised layers, by hand and by the meter."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from neurosparse.baselines import LevelReLU, choose, magnitude, quantise
from neurosparse.coding import KWTA, l0, l1, nonnegative_l1, solve
from neurosparse.events import EventTensor
from neurosparse.meter.count import count
from neurosparse.meter.record import as_module, record
from neurosparse.predictive import PredictiveNetwork, delta, graded, spiking


class SparseCode(nn.Module):
    """The last code as one step of events."""

    def __init__(self, dictionary: torch.Tensor, penalty, method: str):
        super().__init__()
        self.register_buffer("dictionary", dictionary)
        self.penalty, self.method, self.last = penalty, method, None

    def forward(self, x: torch.Tensor) -> EventTensor:
        self.last = solve(x, self.dictionary, self.penalty, self.method, steps=5000)
        return EventTensor.from_dense(self.last.a[None], axis=None)


def metered(model, x):
    model = as_module(model)
    with record(model) as tape:
        model(x)
    return count(tape)


@pytest.mark.parametrize("penalty", [l1(0.1), nonnegative_l1(0.1), l0(0.02)], ids=str)
@pytest.mark.parametrize("method", ["coordinate_descent", "fista", "ista", "lca"])
def test_a_solver_is_charged_for_its_drive_once_and_for_every_transmission(method, penalty):
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    x = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    model = SparseCode(dictionary, penalty, method)
    counts = metered(model, x)
    assert counts.uncounted == ()
    iterations, events = int(model.last.iterations.sum()), model.last.events
    weights = dictionary @ dictionary.T
    weights.diagonal().sub_(1)
    fan_out = (weights != 0).sum(0)
    assert counts.totals["dense_ops"] == 5 * 16 * 24 + iterations * 24 * 24
    assert counts.totals["effective_macs"] == 5 * 16 * 24 + int(fan_out[events.index.long()].sum())
    assert counts.totals["effective_acs"] == 0
    # every iteration thresholds every coefficient
    assert counts.totals["comparisons"] >= iterations * 24 and counts.totals["elementwise"] >= iterations * 24


def test_spikes_accumulate_and_convergence_checks_multiply():
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    x = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    model = SparseCode(dictionary, l1(0.3), "spiking")
    counts = metered(model, x)
    spikes, checks = model.last.events.n_events, (model.last.iterations / 10).log2().round().long() + 1
    assert counts.uncounted == () and spikes > 100
    # A pair of neurons for each atom: a spike reaches all others, whose own weight is 0 or rounding.
    assert spikes * (2 * 24 - 1) <= counts.totals["effective_acs"] < spikes * 2 * 24
    assert counts.totals["spikes_out"] == spikes and counts.totals["state_updates"] == spikes * 2 * 24 * 2
    drive = 5 * 16 * 24
    assert drive < counts.totals["effective_macs"] <= drive + int(checks.sum()) * 24 * 24


def test_counts_of_a_sample_do_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(1)
    dictionary = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    x = torch.randn(4, 16, generator=generator, dtype=torch.float64)
    together = metered(SparseCode(dictionary, l1(0.3), "lca"), x)
    alone = [metered(SparseCode(dictionary, l1(0.3), "lca"), sample[None]) for sample in x]
    for column in ("dense_ops", "effective_macs", "input_events", "elementwise", "comparisons"):
        assert together.totals[column] == sum(counts.totals[column] for counts in alone)


def test_kwta_counts_its_comparisons_and_k_events():
    x = torch.rand(3, 4, 20) + 1
    counts = metered(nn.Sequential(nn.Linear(20, 50), KWTA(k=7)), x)
    assert counts.uncounted == () and counts.totals["comparisons"] == 3 * 4 * 50 * 3
    (row,) = [row for row in counts.rows if row["kind"] == "compare"]
    assert row["spikes_out"] == 3 * 4 * 7


def predictive(sizes=(6, 5, 4, 3), **options):
    torch.manual_seed(0)
    return PredictiveNetwork(sizes, "relu", **options), (torch.rand(2, 6) - 0.3).relu(), torch.rand(2, sizes[-1])


def products(network, states) -> int:
    """Every transmitted value times its weights: up at all steps, down at all but the last."""
    up, down = states.state_events.aer(), states.events.aer()
    widths = [network.layers[0].in_features, *(layer.out_features for layer in network.layers)]
    above = torch.cat([torch.full((a,), b) for a, b in itertools.pairwise(widths)])
    below = torch.cat([torch.full((b,), a if k else 0) for k, (a, b) in enumerate(itertools.pairwise(widths))])
    steps = len(states.energies) - 1
    return int(above[up.unit].sum() + below[down.unit[down.step < steps]].sum())


def test_a_small_predictive_network_by_hand():
    """Weights of one: x = (1, 0) makes two products up, and then one up and one down a step, none down at the last."""
    network = PredictiveNetwork((2, 1, 1), "identity", steps=2)
    for parameter in network.parameters():
        torch.nn.init.ones_(parameter) if parameter.dim() == 2 else torch.nn.init.zeros_(parameter)
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]])
    cases = {  # products, of them with something to multiply
        None: (2 + 1 + 2 * (1 + 1), 1 + 1 + 2 * (1 + 1)),
        graded(0.8): (2 + 1 + 2 * (1 + 1), 1 + 1 + 2 * 1 + 1),  # the error is 1, then 0.5: silent
        delta(0.4): (2 + 1 + 2 * (1 + 1), 1 + 1 + 2 * (1 + 1)),  # the change is 1, then -0.5
        delta(0.6): (2 + 1 + 2 * (1 + 1), 1 + 1 + 2 * 1 + 1),
    }
    for channel, (all_of_them, effective) in cases.items():
        counts = metered(lambda x, channel=channel: network.infer(x, y, dt=0.5, error_channel=channel), x)
        assert counts.uncounted == ()
        assert (counts.totals["dense_ops"], counts.totals["effective_macs"]) == (all_of_them, effective), channel


@pytest.mark.parametrize("options", [
    {}, {"start": "zero"}, {"start": "normal"}, {"nudge": 0.5}, {"error_channel": graded(0.1)},
    {"error_channel": delta(0.1)}, {"mode": "z_il", "steps": 5},
], ids=str)  # fmt: skip
def test_inference_of_a_predictive_network_counts_every_transmission(options):
    """The input is sent once; hidden states up and errors down at every step. The guard on dt is not inference."""
    network, x, y = predictive()
    run = {"steps": 8, **options} | ({} if "mode" in options else {"dt": 0.1})
    counts = metered(lambda x: network.infer(x, y, **run), x)
    states, steps, up = network.infer(x, y, **run), run["steps"], 5 * 4 + 4 * 3
    assert counts.uncounted == ()
    assert counts.totals["dense_ops"] == 2 * (6 * 5 + up + steps * 2 * up)
    assert counts.totals["effective_macs"] == products(network, states) < counts.totals["dense_ops"]
    unguarded = metered(lambda x: network.infer(x, y, check=False, **run), x)
    assert unguarded.totals == counts.totals
    forward = metered(network, x)
    assert forward.uncounted == () and forward.totals["dense_ops"] == 2 * (6 * 5 + up)


def test_convolutions_of_a_predictive_network_are_counted_in_both_directions():
    """A product with a pixel beyond the border is none: of the second layer 6 of 8 taps along each axis are real."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3, stride=2), nn.Conv2d(2, 3, 2, padding=1), nn.Linear(48, 4)]
    network, x, y = PredictiveNetwork(layers, "relu"), torch.rand(2, 1, 7, 7), torch.rand(2, 4)
    counts = metered(lambda x: network.infer(x, y, steps=3, dt=0.1), x)
    first, second, last = 2 * 9 * 9, 3 * 2 * 6 * 6, 48 * 4
    assert counts.uncounted == ()
    assert counts.totals["dense_ops"] == 2 * (first + second + last + 3 * 2 * (second + last))


def test_a_state_channel_counts_its_messages():
    """With a forward pass as initial state all values are transmitted; from zero, no others."""
    network, x, y = predictive()
    up = 5 * 4 + 4 * 3
    for start, first in (("forward", 6 * 5 + up), ("zero", 0)):
        run = {"steps": 8, "dt": 0.1, "state_channel": delta(0.05), "start": start}
        counts = metered(lambda x, run=run: network.infer(x, y, **run), x)
        assert counts.uncounted == () and counts.totals["dense_ops"] == 2 * (first + 6 * 5 + up + 8 * 2 * up)
        if start == "zero":
            assert counts.totals["effective_macs"] == products(network, network.infer(x, y, **run))


def test_thresholds_and_membranes_of_errors_are_counted():
    """Each error unit compares once a step; as a pair of neurons it updates two states."""
    network, x, y = predictive((6, 5, 3))
    plain = metered(lambda x: network.infer(x, y, steps=8, dt=0.1), x).totals
    cells = 2 * (5 + 3) * 9
    compared = metered(lambda x: network.infer(x, y, steps=8, dt=0.1, error_channel=graded(0.1)), x).totals
    assert compared["comparisons"] - plain["comparisons"] == cells
    spiked = metered(lambda x: network.infer(x, y, steps=8, dt=0.1, error_channel=spiking(0.1)), x).totals
    assert spiked["state_updates"] == 2 * cells and plain.get("state_updates", 0) == 0


def test_counts_of_an_inference_do_not_depend_on_the_batch():
    network, x, y = predictive()
    together = metered(lambda x: network.infer(x, y, steps=8, dt=0.1), x)
    alone = [metered(lambda x, k=k: network.infer(x, y[k : k + 1], steps=8, dt=0.1), x[k : k + 1]) for k in range(2)]
    for column in ("dense_ops", "effective_macs", "elementwise", "comparisons"):
        assert together.totals[column] == sum(counts.totals[column] for counts in alone)


def test_pruned_and_quantised_layers_count_the_remaining_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), LevelReLU(4), nn.Linear(30, 10))
    choose(magnitude(model), 0.9, distribution="uniform").apply_(model)
    x = torch.rand(8, 20) + 0.5
    small = quantise(model, calibration=x)
    counts = metered(small, x)
    assert counts.uncounted == ()
    first, second = [row for row in counts.rows if row["kind"] == "linear"]
    assert (first["weight_bits"], first["input_bits"]) == (8, 8)
    assert (second["weight_bits"], second["input_bits"]) == (8, 3)
    alive = int((small[0].levels != 0).sum())
    assert alive <= 60 and first["effective_macs"] == 8 * alive
    hidden = small[1](small[0](x))
    assert second["effective_macs"] == int(((hidden != 0).sum(0) * (small[2].levels != 0).sum(0)).sum())
    assert first["bias_adds"] == 8 * 30
    on_grid = 8 * 20  # only the analogue input is put on a grid; each costs two operations and two comparisons
    levels = 8 * 30
    assert counts.totals["elementwise"] == 2 * (on_grid + levels) == counts.totals["comparisons"]


def test_quantised_layers_on_spikes_accumulate():
    torch.manual_seed(0)
    spikes = EventTensor.from_dense((torch.rand(5, 3, 12) < 0.3).float(), spikes=True)
    small = quantise(nn.Sequential(nn.Linear(12, 7)), calibration=spikes)
    counts = metered(small, spikes)
    (row,) = counts.rows
    assert counts.uncounted == () and row.get("effective_macs", 0) == 0 and row["input_bits"] == 1
    assert row["effective_acs"] == int((small[0].levels != 0).sum(0)[spikes.index.long()].sum())
