"""What a leak costs: energies of arithmetic alone from counts of trained networks on digits and Fashion-MNIST."""

import json
from pathlib import Path

import pytest

from neurosparse.energy import Assumptions, estimate
from neurosparse.meter import OperationCounts

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# Picojoules of a decay of an integer state: a product and a sum, a sum, nothing.
LEAK = {"multiply": {32: 3.1 + 0.1, 16: 0.787 + 0.05}, "shift": {32: 0.1, 16: 0.05}, "none": {32: 0.0, 16: 0.0}}
# Counts per sample of networks of pruned 8-bit layers: a row is its kind, multiply-accumulates, accumulates, bias
# additions, comparisons and element-wise operations, state updates, spikes of its neurons.
COLUMNS = ("kind", "effective_macs", "effective_acs", "bias_adds", "elementwise", "state_updates", "spikes_out")
DIGITS = {
    "lif": (
        ("elementwise", 0, 0, 0, 256, 0, 0),
        ("linear", 305.0983, 0, 128, 0, 0, 0),
        ("neuron", 0, 0, 0, 0, 1024, 339.8517),
        ("linear", 0, 867.4983, 80, 0, 0, 0),
        ("elementwise", 0, 0, 0, 80, 0, 0),
    ),
    "relu": (
        ("elementwise", 0, 0, 0, 256, 0, 0),
        ("linear", 364.65, 0, 128, 0, 0, 0),
        ("elementwise", 0, 0, 0, 640, 0, 0),
        ("linear", 147.81, 0, 10, 0, 0, 0),
    ),
}
FASHION = {
    "lif": (
        ("compare", 0, 0, 0, 784, 0, 0),
        ("linear", 0, 7039.3362, 2048, 0, 0, 0),
        ("neuron", 0, 0, 0, 0, 2048, 499.1377),
        ("linear", 0, 2127.1179, 80, 0, 0, 0),
        ("elementwise", 0, 0, 0, 80, 0, 0),
    ),
    "relu": (
        ("elementwise", 0, 0, 0, 3136, 0, 0),
        ("linear", 6569.76, 0, 256, 0, 0, 0),
        ("elementwise", 0, 0, 0, 1280, 0, 0),
        ("linear", 358.157, 0, 10, 0, 0, 0),
    ),
}


def counted(rows: tuple) -> OperationCounts:
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    bits = {"layer": "", "weight_bits": 8}
    each = [
        row | bits | {"input_bits": 8 if row["effective_macs"] else 1} | {"dense_ops": row["effective_macs"]}
        for row in named
    ]
    return OperationCounts(tuple(each), 1)


def by_hand(rows: tuple, leak: str, bits: int) -> float:
    """Picojoules of the arithmetic: integers, but what comes before the first layer is in floating point."""
    energy, seen = 0.0, False
    for kind, products, sums, biases, scalars, updates, spikes in rows:
        seen |= kind == "linear"
        add = {32: 0.1, 16: 0.05}[bits] if seen else {32: 0.9, 16: 0.4}[bits]
        energy += products * 0.2 + (products + sums + biases + scalars + spikes) * add + updates * LEAK[leak][bits]
    return energy


def ratios(networks: dict[str, tuple], bits: int = 32) -> dict[str, float]:
    """Energy of arithmetic alone of the spiking network over that of the dense network, by leak."""
    found = {}
    for leak in LEAK:
        assume = Assumptions(leak=leak, state_bits=bits)
        both = []
        for name in ("lif", "relu"):
            energy = estimate(counted(networks[name]), dataflow="compute_only", assume=assume).nominal
            assert energy == pytest.approx(1e-12 * by_hand(networks[name], leak, bits), rel=1e-12)
            both.append(energy)
        found[leak] = both[0] / both[1]
    return found


def test_the_leak_decides_a_comparison_of_arithmetic_alone_on_digits():
    """8.1 times a dense network with a product per update, equal to it without a leak."""
    assert ratios(DIGITS) == pytest.approx({"multiply": 8.11, "shift": 1.24, "none": 1.02}, abs=0.005)
    assert ratios(DIGITS, bits=16) == pytest.approx({"multiply": 4.12, "shift": 1.13, "none": 0.94}, abs=0.005)


def test_the_leak_turns_a_comparison_of_arithmetic_alone_on_fashion_mnist():
    """A latency code: above a dense network with a product per update, below it with shift and add."""
    assert ratios(FASHION) == pytest.approx({"multiply": 1.67, "shift": 0.415, "none": 0.374}, abs=0.005)


@pytest.mark.parametrize("task", ["digits", "fashion-mnist"])
def test_with_memory_the_leak_does_not_turn_a_comparison(task):
    """Weights and states that are fetched cost more than any leak: every spiking network stays above the dense one."""
    models = json.loads((RESULTS / f"{task}.json").read_text())["models"]
    small = [one for one in models if one["config"].get("bits") == 8 and one["config"].get("sparsity") == 0.9]
    (dense,) = [one for one in small if one["name"] == "relu-pruned-int8"]
    shallow = [one for one in small if one["config"].get("steps") == 8 and "depth" not in one["config"]]
    spiking = [one for one in shallow if one["config"]["family"] == "lif"]
    assert spiking
    for one in spiking:
        for leak in LEAK:
            assume = Assumptions(leak=leak, state_bits=16)
            energy = [
                estimate(OperationCounts(tuple(each["layers"]), 1), dataflow="cheapest", assume=assume).nominal
                for each in (one, dense)
            ]
            assert energy[0] > energy[1], one["name"]


def test_the_table_on_the_page_is_this_one():
    page = (RESULTS.parent / "energy.md").read_text(encoding="utf-8")
    lines = page[page.index("| networks | multiply | shift | none |") :].splitlines()[2:4]
    shown = [[float(cell) for cell in line.strip("| ").split("|")[1:]] for line in lines]
    for cells, networks in zip(shown, (DIGITS, FASHION), strict=True):
        expected = [*ratios(networks).values(), ratios(networks, bits=16)["shift"]]
        assert cells == pytest.approx(expected, abs=0.02)
