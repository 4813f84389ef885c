"""Leak and bits of states as they ran: rows of the counts by the decays of neurons, and their price by hand."""

import pytest
import torch
from energy_rows import SPIKES
from torch import nn

import neurosparse as ns
from neurosparse.energy import Assumptions, estimate
from neurosparse.events import Operation
from neurosparse.meter import OperationCounts, Tape, count, record
from neurosparse.neurons import IF, LIF, Readout, adaptive, current_based

PJ = 1e-12
BIT = 10 / 64  # pJ per bit of an 8 KB SRAM
SHIFTS = torch.tensor([1 - 2.0**-k for k in (1, 2, 3, 24)])


def learned(value):
    return nn.Parameter(torch.as_tensor(value))


def row_of(neurons, units=4, dtype=torch.float32):
    with record(neurons) as tape:
        neurons(torch.rand(3, 2, units, dtype=dtype))
    (row,) = [row for row in count(tape).rows if row["kind"] == "neuron"]
    return row


@pytest.mark.parametrize(
    ("neurons", "leak"),
    [
        (IF(), "none"),
        (LIF(beta=torch.ones(4)), "none"),
        (LIF(beta=0.5), "shift"),
        (LIF(beta=0.875), "shift"),
        (LIF(beta=SHIFTS), "shift"),
        (LIF(beta=torch.tensor([1.0, 1.0, 0.75, 1.0])), "shift"),
        (LIF(beta=learned(0.75)), "shift"),
        (LIF(beta=learned(SHIFTS)), "shift"),
        (LIF(beta=0.9), "multiply"),
        (LIF(beta=0.25), "multiply"),  # 1 - 0.75, no power of two is lost
        (LIF(beta=torch.tensor([0.5, 0.5, 0.5, 0.9])), "multiply"),
        (LIF(beta=learned(0.7501)), "multiply"),
        (LIF(beta=0.875, reference=True), "shift"),
        (LIF(beta=0.875, dynamics=current_based(0.5)), "shift"),
        (LIF(beta=1.0, dynamics=current_based(0.9)), "multiply"),
        (LIF(beta=1.0, dynamics=adaptive(0.5, 0.1)), "multiply"),  # the threshold is multiplied with the strength
        (LIF(beta=1.0, refractory=2), "shift"),  # a counter takes one addition
        (LIF(tau=20e-3, dt=1e-3), "multiply"),
        (Readout(beta=1.0), "none"),
        (Readout(beta=0.875), "shift"),
        (Readout(beta=0.9), "multiply"),
    ],
    ids=str,
)
def test_a_row_of_neurons_says_how_their_states_decay(neurons, leak):
    row = row_of(neurons)
    assert (row["leak"], row["state_bits"]) == (leak, 32)
    assert row["bytes_read"] == 4 * row["state_updates"]


def test_the_value_in_use_counts_and_not_the_one_that_was_given():
    """In float32 a decay of 1 - 1e-12 is 1; a parameter beyond its range is used at the bound."""
    assert row_of(LIF(beta=1 - 1e-12))["leak"] == "none"
    assert row_of(LIF(beta=1 - 1e-12), dtype=torch.float64)["leak"] == "multiply"
    beyond = LIF(beta=learned(0.9))
    nn.init.constant_(beyond.beta, 1.2)
    assert row_of(beyond)["leak"] == "none"


def test_runs_that_are_added_have_the_dearer_leak():
    shift, none = (row_of(LIF(beta=beta)) for beta in (0.5, 1.0))
    both = OperationCounts((shift,), 2) + OperationCounts((none,), 2)
    assert both.rows[0]["leak"] == "shift"
    assert (both + OperationCounts((shift | {"leak": None},), 2)).rows[0]["leak"] is None
    net = nn.Sequential(LIF(beta=1.0))
    with record(net) as tape:
        net(torch.rand(3, 2, 4))
        net[0].beta.fill_(0.9)
        net(torch.rand(3, 2, 4))
    assert count(tape).rows[0]["leak"] == "multiply"


def test_the_backward_pass_decays_by_the_same_numbers():
    for beta, leak in ((1.0, "none"), (0.875, "shift"), (0.9, "multiply")):
        net = nn.Sequential(nn.Linear(4, 3), LIF(beta=beta), nn.Linear(3, 2), Readout(beta=beta))
        with record(net, backward=True) as tape:
            net(ns.EventTensor.from_dense((torch.rand(5, 2, 4) < 0.5).float())).sum().backward()
        found = {(row["layer"], row["phase"]): row["leak"] for row in count(tape).rows if row["kind"] == "neuron"}
        assert set(found) == {(layer, phase) for layer in "13" for phase in ("forward", "backward")}
        assert set(found.values()) == {leak}


def test_neurons_of_other_libraries_have_no_known_leak():
    class Step(nn.Module):
        def forward(self, x):
            return (x > 0.5).float()

    with record(net := nn.Sequential(Step()), spiking=Step) as tape:
        net(torch.rand(2, 4))
    assert [row["leak"] for row in count(tape).rows if row["kind"] == "neuron"] == [None]


@pytest.mark.parametrize(
    ("ran", "pj"), [("none", 0.0), ("shift", 0.1), ("multiply", 3.2), (None, 3.2)], ids=lambda value: str(value)
)
def test_an_update_as_it_ran_by_hand(ran, pj):
    """int32 after an 8-bit layer: a product of 3.1 pJ and a sum of 0.1 pJ; 12 updates and 4 spikes of 2 samples."""
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12, "spikes_out": 4, "charged_rows": 4, "leak": ran}
    counts = OperationCounts((SPIKES, neuron), 2)
    report = estimate(counts)
    assert report.rows[1]["compute"] / PJ == pytest.approx(6 * pj + 2 * 0.1)
    assert not any("not what ran" in sentence for sentence in report.sentences)
    for leak, price in (("none", 0.0), ("shift", 0.1), ("multiply", 3.2)):
        assumed = estimate(counts, assume=Assumptions(leak=leak))
        assert assumed.rows[1]["compute"] / PJ == pytest.approx(6 * price + 2 * 0.1)
        said = [sentence for sentence in assumed.sentences if "not what ran" in sentence]
        expected = [f"The leak is not what ran: lif ran with {ran or 'multiply'}."]
        assert said == (expected if (ran or "multiply") != leak else [])


def test_narrow_states_are_the_partial_sums_of_the_layer_before_them():
    """16-bit membranes: the layer that adds into them, and recurrent weights; a layer without neurons keeps 32 bits."""
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12, "charged_rows": 4, "state_bits": 16}
    loop, last = (SPIKES | {"layer": name, "bias_adds": 0} for name in ("lif.recurrent", "out"))
    norm = {"layer": "norm", "kind": "elementwise", "elementwise": 6}
    rows = (SPIKES | {"bias_adds": 0}, neuron | {"leak": "shift"}, loop, last, norm, neuron | {"layer": "second"}, last)
    counts, assume = OperationCounts(rows, 2), Assumptions(input_formats=("aer",))
    found = estimate(counts, dataflow="event_driven", assume=assume).rows
    bits = [16, None, 16, 32, None, None, 32]  # the norm lies between the fourth row and its neurons
    for row, width in zip(found, bits, strict=True):
        if width is not None:
            assert row["partial_sums"] / PJ == pytest.approx(2 * 12 * width * BIT)
            assert row["compute"] / PJ == pytest.approx(12 * {16: 0.05, 32: 0.1}[width])
    for i in (1, 5):
        assert found[i]["state"] / PJ == pytest.approx(2 * 6 * 16 * BIT)
    assert found[1]["compute"] / PJ == pytest.approx(6 * 0.05)
    wide = estimate(counts, dataflow="event_driven", assume=Assumptions(input_formats=("aer",), state_bits=32))
    assert any("bits of states are not what ran: lif ran with 16, second ran with 16" in one for one in wide.sentences)
    assert wide.rows[1]["state"] == pytest.approx(2 * found[1]["state"])


def test_states_that_declare_their_bits_move_fewer_bytes():
    """12 bits of 24 states are 36 bytes; of two sizes in one row the larger counts."""
    tape = Tape()
    tape.begin(samples=2)
    for bits in (12, 8):
        tape.add("lif", Operation("neuron", state_updates=24, leak="shift", state_bits=bits))
    (row,) = count(tape).rows
    assert (row["state_bits"], row["leak"], row["bytes_read"], row["bytes_written"]) == (12, "shift", 60, 60)


def test_energies_of_networks_with_other_states_have_a_ratio():
    """Their uncertain constants differ; corners are those of the hardware, so that both have the same."""
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 12, "charged_rows": 4, "leak": "multiply"}
    narrow, wide = (OperationCounts((SPIKES, neuron | {"state_bits": bits}), 2) for bits in (16, 32))
    for node in ("cmos-45nm", "cmos-7nm"):
        low, nominal, high = ns.energy.ratio(*(estimate(one, node, "compute_only") for one in (narrow, wide)))
        assert low < nominal < high
