"""Prices of memory by hand: capacity, DRAM, shared and separate memories, width of an access."""

import math
from dataclasses import replace

import pytest

from neurosparse.energy.assumptions import Assumptions
from neurosparse.energy.estimate import estimate
from neurosparse.energy.hardware import profile
from neurosparse.energy.memory import Memory, sram
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts

PJ = 1e-12
BIT = 10 / 64  # pJ per bit of an 8 KB SRAM

# One pass of 4 graded inputs to 3 outputs, int8, no zeros, no bias.
ANALOG = {"layer": "fc", "kind": "linear", "dense_ops": 12, "effective_macs": 12, "input_cells": 4, "input_events": 4}
ANALOG |= {
    "output_cells": 3,
    "charged_rows": 1,
    "weights": 12,
    "nonzero_weights": 12,
    "weight_bits": 8,
    "input_bits": 8,
}


def test_memory_price_follows_capacity():
    nominal = profile("cmos-45nm").draws()[0]
    assert [sram(kilo * 1024, nominal) * 64 for kilo in (1, 8, 32, 1024)] == pytest.approx([10, 10, 20, 100])
    # Half way between 8 and 32 KB on a log axis is 16 KB; half way between 10 and 20 pJ is their geometric mean.
    assert sram(16 * 1024, nominal) * 64 == pytest.approx(math.sqrt(200))


def test_weights_that_do_not_fit_come_from_dram():
    def fetch(**options):
        row = ANALOG | {"weights": 2**20, "nonzero_weights": 2**20}
        report = estimate(OperationCounts((row,), 1), dataflow="event_driven", **options)
        return [energy / PJ for energy in (report.low, report.nominal, report.high)], report.rows[0]["weights"] / PJ

    fits, weights = fetch()
    assert weights == pytest.approx(12 * 8 * 100 / 64)
    assert fits[0] == fits[1] == fits[2]  # no source gives a range for SRAM
    (low, nominal, high), weights = fetch(memory="dram")
    assert weights == pytest.approx(12 * 8 * 1950 / 64)
    assert (nominal - low, high - nominal) == pytest.approx((12 * 8 * 650 / 64, 12 * 8 * 650 / 64))
    half, weights = fetch(memory=2**19)
    price = sram(2**19, profile("cmos-45nm").draws()[0])
    assert weights == pytest.approx(12 * 8 * (price / 2 + 1950 / 64 / 2))
    assert half[0] < half[1] < half[2]


def test_a_model_beyond_one_megabyte_keeps_one_on_the_chip():
    """1.5 MB of weights and 0.5 MB of states: 1 MB, two thirds of the weights, is fetched from DRAM."""
    row = ANALOG | {"weights": 3 * 2**19, "nonzero_weights": 3 * 2**19}
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 131072, "charged_rows": 1}
    fc, lif = estimate(OperationCounts((row, neuron), 1), dataflow="event_driven").rows
    assert fc["weights"] / PJ == pytest.approx(12 * 8 * (100 / 3 + 2 * 1950 / 3) / 64)
    assert lif["state"] / PJ == pytest.approx(131072 * 64 * 100 / 64)


def test_weights_in_dram_leave_the_chip_to_the_states():
    """A million weights do not make the memory of 100 states dear once they are elsewhere."""
    row = ANALOG | {"weights": 2**20, "nonzero_weights": 2**20}
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 100, "charged_rows": 1}
    inside, outside = (
        estimate(OperationCounts((row, neuron), 1), memory=memory).rows[1]["state"] / PJ for memory in ("auto", "dram")
    )
    assert inside == pytest.approx(100 * 64 * 100 / 64)
    assert outside == pytest.approx(100 * 64 * BIT)


def test_states_that_do_not_fit_come_from_dram_too():
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 2**19, "charged_rows": 1}  # 2 MB, and 1 MB of chip
    row = estimate(OperationCounts((ANALOG, neuron), 1)).rows[1]
    assert row["state"] / PJ == pytest.approx(2**19 * 64 * (100 + 1950) / 2 / 64)


def test_each_layer_with_memories_of_its_own():
    """A large layer beside a small one: only together do they make the small one's accesses dear."""
    large = ANALOG | {"layer": "large", "weights": 2**19, "nonzero_weights": 2**19}
    neuron = {"layer": "lif", "kind": "neuron", "state_updates": 8192, "charged_rows": 1}  # 32 KB
    shared, own = (
        estimate(OperationCounts((ANALOG, large, neuron), 1), memory=memory) for memory in ("auto", "per_layer")
    )
    assert own.rows[0]["weights"] / PJ == pytest.approx(12 * 8 * BIT)
    assert own.rows[1]["weights"] / PJ == pytest.approx(12 * 8 * sram(2**19, profile("cmos-45nm").draws()[0]))
    assert own.rows[2]["state"] / PJ == pytest.approx(8192 * 64 * 20 / 64)
    assert shared.rows[0]["weights"] > own.rows[0]["weights"] and shared.nominal > own.nominal
    # 0.75 MB, 0.5 MB of it on the chip: a third comes from DRAM.
    spilled = ANALOG | {"weights": 3 * 2**18, "nonzero_weights": 3 * 2**18}
    memory = Memory(capacity=2**19, per_layer=True)
    weights = estimate(OperationCounts((spilled, large), 1), memory=memory).rows[0]["weights"] / PJ
    price = sram(2**19, profile("cmos-45nm").draws()[0])
    assert weights == pytest.approx(12 * 8 * (2 / 3 * price + 1950 / 64 / 3))


def test_banks_hold_much_and_cost_little():
    """Six megabytes in 64 banks of 128 KB: nothing leaves the chip, and an access costs what 128 KB take."""
    row = ANALOG | {"weights": 6 * 2**20, "nonzero_weights": 6 * 2**20}
    for banks, share in ((64, 0.0), (24, 0.5)):
        found = estimate(OperationCounts((row,), 1), memory=Memory(2**17, banks=banks)).rows[0]["weights"] / PJ
        price = 20 * 4 ** math.log(5, 32)  # 32 KB costs 20 pJ, and 32 times as much memory 5 times as much
        assert found == pytest.approx(12 * 8 * ((1 - share) * price + share * 1950) / 64)


@pytest.mark.parametrize(
    ("bits", "width", "charged"), [(8, 64, 64), (8, 32, 32), (32, 16, 32), (9, 8, 16), (1, 64, 64)]
)
def test_an_operand_that_shares_no_access_pays_for_a_whole_one(bits, width, charged):
    assert Memory(width=width, packed=False).charged(bits) == charged
    assert Memory(width=width).charged(bits) == bits
    row = ANALOG | {"weight_bits": bits, "input_bits": 8}
    dense = Assumptions(input_formats=("dense",), weight_formats=("dense",))
    found = estimate(OperationCounts((row,), 1), memory=Memory(width=width, packed=False), assume=dense).rows[0]
    assert found["weights"] / PJ == pytest.approx(12 * charged * BIT)


def test_refusals():
    for options in ({"capacity": 0}, {"width": 0}, {"messages": 0}, {"banks": 0}, {"banks": 2}, {"capacity": -5}):
        with pytest.raises(InputError):
            Memory(**options)
    counts = OperationCounts((ANALOG,), 1)
    for memory in ("huge", 2**20 + 1, -1, True, replace(Memory(), capacity=2**21)):
        with pytest.raises(InputError, match="memory="):
            estimate(counts, memory=memory)
    with pytest.raises(InputError, match="memory='dram'"):
        estimate(counts, "lemaire-45nm", "no_reuse", memory="dram")
