"""Own silicon: spikes and neurons on a chip, everything else on a digital circuit; the sum of two estimates."""

import pytest
from energy_rows import ANALOG, SPIKES
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.energy import estimate, ratio, verdict
from neurosparse.errors import InputError
from neurosparse.meter import OperationCounts

PJ = 1e-12
NEURONS = {"layer": "lif", "kind": "neuron", "state_updates": 12, "spikes_out": 4, "charged_rows": 4, "output_bits": 1}
MEAN = {"layer": "mean", "kind": "elementwise", "elementwise": 6}
ENCODER = {"layer": "encoder", "kind": "compare", "comparisons": 8}
CHIPS = ("loihi", "spinnaker2")


def own(counts, chip="loihi", **options):
    return estimate(counts, chip, "cheapest", otherwise="cmos-45nm", **options)


def test_a_network_of_both_parts_by_hand():
    """A graded first layer, neurons, a layer of spikes, and the mean over time."""
    rows = (ANALOG | {"layer": "first", "input_bits": 32, "weight_bits": 32}, NEURONS, SPIKES, MEAN)
    report = own(OperationCounts(rows, 1), "spinnaker2")
    assert [row["hardware"] for row in report.rows] == ["cmos-45nm", "spinnaker2", "spinnaker2", "cmos-45nm"]
    assert report.rows[1]["nominal"] / PJ == pytest.approx(12 * 2190)
    assert report.rows[2]["nominal"] / PJ == pytest.approx(24 * 450)
    assert report.rows[3]["nominal"] / PJ == pytest.approx(6 * 0.1)
    assert report.nominal == pytest.approx(sum(row["nominal"] for row in report.rows), rel=1e-12)
    assert (report.hardware, report.dataflow) == ("own silicon (spinnaker2, cmos-45nm)", "cheapest")
    said = " ".join(report.sentences)
    for words in ("spinnaker2 (28 nm)", "cmos-45nm (45 nm)", "cmos-7nm", "mixes nodes", "On spinnaker2: lif, fc"):
        assert words in said
    assert repr(report).startswith("EnergyReport(own silicon (spinnaker2, cmos-45nm)")


@st.composite
def networks(draw):
    """Rows that a chip can execute, and rows that it cannot, of a network that spikes."""
    steps, rows = draw(st.integers(1, 5)), [ANALOG | {"layer": "first", "input_bits": 32, "weight_bits": 32}]
    for i in range(draw(st.integers(1, 3))):
        spikes, factor = draw(st.integers(0, 12)), draw(st.integers(1, 50))
        synapses = SPIKES | {"weight_bits": 32, "effective_acs": 2 * factor, "dense_ops": 48 * factor}
        leak = draw(st.sampled_from(["none", "shift", "multiply"]))
        rows += [NEURONS | {"layer": f"lif{i}", "spikes_out": spikes, "leak": leak}, synapses | {"layer": f"fc{i}"}]
        rows += [MEAN | {"layer": f"mean{i}", "elementwise": factor}] if draw(st.booleans()) else []
    return OperationCounts(tuple(rows), steps)


@given(networks(), st.sampled_from(CHIPS), st.sampled_from(["auto", "dram"]))
@settings(max_examples=20, deadline=None)
def test_the_total_is_the_sum_of_the_two_estimates(counts, chip, memory):
    """In the same order of additions: exactly."""
    on_chip = [row["layer"].startswith(("lif", "fc")) for row in counts.rows]
    parts = [
        OperationCounts(tuple(row for row, on in zip(counts.rows, on_chip, strict=True) if on is side), counts.samples)
        for side in (True, False)
    ]
    spiking = estimate(parts[0], chip)
    old, new = (estimate(parts[1], node, "cheapest", memory=memory) for node in ("cmos-45nm", "cmos-7nm"))
    found = own(counts, chip, memory=memory)
    assert found.nominal == spiking.nominal + old.nominal
    assert found.low == pytest.approx(spiking.low + min(old.low, new.low), rel=1e-12)
    assert found.high == pytest.approx(spiking.high + max(old.high, new.high), rel=1e-12)
    assert sum(found.parts.values()) == pytest.approx(found.nominal)
    ends = zip((found.nominal, *found.corners), found.bounds, strict=True)
    assert all(low <= energy <= high for energy, (low, high) in ends)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_dense_network_is_priced_on_the_circuit(chip):
    counts = OperationCounts((ENCODER, ANALOG, MEAN), 1)
    found, old = own(counts, chip), estimate(counts, "cmos-45nm", "cheapest")
    assert (found.nominal, found.high) == (old.nominal, old.high)
    assert {row["hardware"] for row in found.rows} == {"cmos-45nm"} and f"On {chip}: nothing" in " ".join(
        found.sentences
    )
    assert found.low == estimate(counts, "cmos-7nm", "cheapest").nominal


def test_spikes_as_data_make_no_spiking_network():
    """A dense network on event data reads spikes; a network whose neurons are silent is a spiking one."""
    dense, silent = (SPIKES, MEAN), (SPIKES, NEURONS | {"spikes_out": 0})
    assert {row["hardware"] for row in own(OperationCounts(dense, 1)).rows} == {"cmos-45nm"}
    assert {row["hardware"] for row in own(OperationCounts(silent, 1)).rows} == {"loihi"}


def test_graded_messages_are_no_spikes():
    """A sigma-delta network is a dense one, and leaky units that send nothing make no spiking network."""
    delta = NEURONS | {"output_bits": 32}
    for units in (delta, NEURONS | {"output_bits": 0, "spikes_out": 0}):
        assert {row["hardware"] for row in own(OperationCounts((ANALOG, units, SPIKES), 1)).rows} == {"cmos-45nm"}
    both = own(OperationCounts((ANALOG, delta, ANALOG, NEURONS, SPIKES), 1))
    assert [row["hardware"] for row in both.rows] == ["cmos-45nm"] * 3 + ["loihi"] * 2
    by_hand = NEURONS | {"output_bits": 0}  # rows without bits that say how many spikes were sent
    assert {row["hardware"] for row in own(OperationCounts((SPIKES, by_hand), 1)).rows} == {"loihi"}


def test_training_runs_on_the_circuit_and_unread_weights_beside_their_layer():
    idle = {"layer": "fc", "kind": "idle", "weights": 10**6, "nonzero_weights": 10**6, "weight_bits": 8}
    back = NEURONS | {"phase": "backward", "spikes_out": 0}
    report = own(OperationCounts((SPIKES, NEURONS, idle, back, ANALOG | {"phase": "backward"}), 1))
    assert [row["hardware"] for row in report.rows] == ["loihi"] * 3 + ["cmos-45nm"] * 2


def test_a_verdict_holds_at_both_nodes():
    """Cheaper than a dense network at 45 nm and dearer than it at 7 nm is undecided."""
    spiking = OperationCounts((SPIKES, NEURONS), 1)
    unit = estimate(OperationCounts((ANALOG,), 1), "cmos-45nm", "cheapest").nominal
    verdicts = {}
    for factor in (0.2, 1.5, 50.0):
        times = factor * own(spiking).nominal / unit
        scaled = {name: times * ANALOG[name] for name in ("dense_ops", "effective_macs", "bias_adds")}
        scaled |= {
            name: times * ANALOG[name] for name in ("input_cells", "input_events", "output_cells", "charged_rows")
        }
        dense = OperationCounts((ANALOG | scaled,), 1)
        verdicts[factor] = str(verdict([1] * 600, [1] * 600, own(spiking), own(dense), different_bits=True))
    assert verdicts == {0.2: "b cheaper", 1.5: "undecided: energies overlap", 50.0: "a cheaper"}


def test_the_same_network_twice_is_equal():
    counts = OperationCounts((SPIKES, NEURONS, MEAN), 1)
    assert str(verdict([1] * 600, [1] * 600, own(counts), own(counts))) == "equal"
    low, nominal, high = ratio(own(counts), own(counts))
    assert low <= nominal == 1 <= high


def test_other_pairs_of_hardware_are_refused():
    counts = OperationCounts((SPIKES, NEURONS), 1)
    for hardware, otherwise in (("cmos-45nm", "cmos-7nm"), ("loihi", "spinnaker2"), ("loihi", "lemaire-45nm")):
        with pytest.raises(InputError):
            estimate(counts, hardware, "cheapest", otherwise=otherwise)
    with pytest.raises(InputError, match="one hardware"):
        ratio(own(counts), estimate(counts, "cmos-45nm", "cheapest"))
