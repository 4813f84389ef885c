"""The experiment on chips, recomputed by hand from topologies and published prices; and the worked anti-example."""

import json
import re
from pathlib import Path

import pytest

from neurosparse.energy.hardware_validation import alexnet, branch, hardware_validation, keyword_spotter, measured_chips

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "energy.md").read_text(encoding="utf-8")
FOUND = hardware_validation()
PICO = 1e-6  # picojoules in microjoules


def row(experiment: str, what: str) -> dict:
    (one,) = [r for r in FOUND["rows"] if r["experiment"].startswith(experiment) and r["what"].startswith(what)]
    return one


def test_keyword_spotting_is_bounded_by_its_operations():
    """172 800 synapses and 541 neurons for 10 steps, and a message to one core for each spike: at most a quarter."""
    synapses, neurons, steps = 390 * 256 + 256 * 256 + 256 * 29, 256 + 256 + 29, 10
    totals = keyword_spotter(1.0).totals
    assert (totals["effective_acs"], totals["state_updates"]) == (172_800 * steps, 541 * steps)
    assert (synapses, neurons) == (172_800, 541)
    bound = row("Loihi, keyword", "operations, if every")
    assert synapses * steps * 23.6 * PICO == pytest.approx(40.8, abs=0.05)
    spikes = 390 + 256 + 256  # into the three layers, in each step
    for end, synop, update, message in (
        ("low", 23.6, 72.8, 76.8),
        ("nominal", 35.5, 72.8, 111),
        ("high", 35.5, 81, 444),
    ):
        per_step = synapses * synop + neurons * (update + 69.3) + spikes * message
        assert bound["explained"][end] == pytest.approx(per_step * steps * PICO)
    assert bound["residual"]["nominal"] == pytest.approx(271.6 - bound["explained"]["nominal"])
    assert bound["residual"]["low"] > 0.75 * bound["measured"], "three quarters are no operation whatever fires"
    host = row("Loihi, keyword", "embedded")
    assert host["explained"]["nominal"] == pytest.approx(70e3 / 296.5)
    assert host["residual"]["nominal"] == pytest.approx(35.5, abs=0.05)
    tenth = row("Loihi, keyword", "operations, if one")["explained"]["nominal"]
    assert tenth == pytest.approx((17_280 * 35.5 + 541 * 72.8 + 54.1 * 69.3 + 90.2 * 111) * steps * PICO)


def test_a_branch_of_the_sweep_implies_a_rate_and_proves_none():
    """16.9 uJ a branch on a floor of 667: 5.5 to 8.9 % of neurons per step would explain it all."""
    assert FOUND["sweep"]["slope"] == pytest.approx(16.9, abs=0.05)
    assert FOUND["sweep"]["floor"] == pytest.approx(667, abs=0.5)
    assert sum(FOUND["sweep"]["residuals"]) == pytest.approx(0, abs=1e-9)
    synapses, neurons, steps = 11 * 256 * 256, 10 * 256, 10
    totals = branch(1.0).totals
    assert (totals["effective_acs"], totals["state_updates"]) == (720_896 * steps, neurons * steps)
    low, nominal, high = FOUND["rates"]["Loihi, one more branch"]
    sent = 11 * 256  # spikes into the layers and the readout, if every neuron fires in a step
    # At these rates every neuron receives spikes in every step; at the cheap end only those that spike are active.
    for rate, synop, silent, firing, message in (
        (nominal, 35.5, 72.8, 72.8, 111.0),
        (high, 23.6, 51.2, 72.8, 76.8),
        (low, 35.5, 81.0, 81.0, 444.0),
    ):
        updates = neurons * (rate * firing + (1 - rate) * silent)
        energy = steps * PICO * (rate * (synapses * synop + neurons * 69.3 + sent * message) + updates)
        assert energy == pytest.approx(FOUND["sweep"]["slope"])
    assert (low, nominal, high) == pytest.approx((0.055, 0.058, 0.089), abs=1e-3)


def test_the_accelerator_of_pruned_layers():
    kept, active = (0.09, 0.09, 0.25), (0.35, 0.35, 0.38)
    sizes = (9216 * 4096, 4096 * 4096, 4096 * 1000)
    products = sum(n * k * a for n, k, a in zip(sizes, kept, active, strict=True))
    assert alexnet().totals["effective_macs"] == pytest.approx(products) == pytest.approx(2.1e6, rel=0.01)
    found = row("EIE", "products")
    assert found["measured"] == pytest.approx(0.6 / 1.88e4 * 1e6)
    assert found["measured"] / products * 1e6 == pytest.approx(15, abs=0.2), "picojoules per product, in total"
    # At 32 KB: a product 1.1 + 0.9 pJ, an address 0.1, 8 bits of weight and index; inputs of 16 bits behind a bitmap.
    inputs = 2 * (16 * (0.35 * 9216 + (0.35 + 0.38) * 4096) + 9216 + 4096 + 4096)
    by_hand = (products * (2.0 + 0.1 + 8 * 20 / 64) + inputs * 20 / 64) * PICO
    assert found["explained"]["low"] == pytest.approx(by_hand)
    assert 0.7 < FOUND["eie"]["share_of_peak"] < 1, "densities from memory fit the rate that its authors print"


def test_every_number_says_where_it_comes_from():
    for entry in measured_chips().values():
        assert entry["source"] and entry["unit"]
        assert entry["status"] in ("verified", "verified_secondary", "recalled")
    recalled = {name for name, entry in measured_chips().items() if entry["status"] == "recalled"}
    assert all(name.startswith("eie_") for name in recalled) and "recalled" in PAGE


def test_the_committed_results_are_those_of_the_code():
    kept = json.loads((ROOT / "docs" / "results" / "hardware-validation.json").read_text(encoding="utf-8"))
    assert kept["measured"] == FOUND["measured"]
    for now, then in zip(FOUND["rows"], kept["rows"], strict=True):
        assert (now["what"], now["measured"]) == (then["what"], pytest.approx(then["measured"]))
        assert now["explained"] == pytest.approx(then["explained"])
        assert now["residual"] == pytest.approx(then["residual"])


def test_the_counting_error_on_the_page():
    """273.77 times, by counting the rate twice: every number that the page prints, from the four it starts with."""
    operations, rate, product, addition = 18.39e6, 0.1366, 4.6, 0.9  # picojoules
    spiking = rate * operations
    dense, once, twice = operations * product, spiking * addition, spiking * addition * rate
    assert spiking == pytest.approx(2.51e6, rel=2e-3)
    assert (dense * PICO, twice * PICO) == pytest.approx((84.594, 0.309), rel=2e-3)
    assert dense / twice == pytest.approx(273.77, rel=1e-3), "which they print from rounded energies"
    printed = 845.94 / 3.09
    assert printed == pytest.approx(273.77, abs=0.005)
    assert dense / twice == pytest.approx(product / addition / rate**2)
    assert dense / once == pytest.approx(product / addition / rate) == pytest.approx(37.4, abs=0.05)
    section = PAGE[PAGE.index("## A counting error in a published table") :]
    section = section[: section.index("\n## ", 5)]
    numbers = [f"{dense / twice:.1f}", f"{dense / once:.1f}", f"{once * PICO:.2f}", f"{dense * PICO:.1f}", "273.77"]
    for number in (*numbers, f"{twice * PICO:.3f}", f"{rate}"):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", section), f"{number} is not on the page"
