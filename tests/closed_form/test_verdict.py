"""Verdicts on cases built so that the answer is known."""

import numpy as np
import pytest
import torch

from neurosparse.energy.estimate import EnergyReport, estimate
from neurosparse.energy.verdict import frontier, scenarios, verdict, verdicts
from neurosparse.errors import InputError
from neurosparse.meter.operation_counts import OperationCounts


def report(low, nominal=None, high=None, unsupported=(), **about):
    nominal, high = nominal or low, high or low
    known = not unsupported
    energies = (low, nominal, high) if known else (None, None, None)
    return EnergyReport(
        *energies, (), "cmos-45nm", "no_reuse", corners=(low, high) if known else (), unsupported=unsupported, **about
    )


def correct(rate, seeds=3, samples=1000):
    """The same share of right answers in every seed, on the first samples."""
    return np.tile(np.arange(samples) < round(rate * samples), (seeds, 1))


CHEAP, DEAR, WIDE = report(1e-9), report(2e-9), report(1e-9, 2e-9, 4e-9)
FREE = report(0.0)
CASES = {
    "equal accuracy, a cheaper": (correct(0.9), correct(0.9), CHEAP, DEAR, "a cheaper"),
    "equal accuracy, b cheaper": (correct(0.9), correct(0.9), DEAR, CHEAP, "b cheaper"),
    "equal in both": (correct(0.9), correct(0.9), CHEAP, CHEAP, "equal"),
    "equal energies of three seeds": (correct(0.9), correct(0.9), [CHEAP, WIDE, DEAR], [CHEAP, WIDE, DEAR], "equal"),
    "the constants do not decide": (correct(0.9), correct(0.9), WIDE, DEAR, "undecided: energies overlap"),
    "a much better and cheaper": (correct(0.95), correct(0.8), CHEAP, DEAR, "a cheaper"),
    "b much better and cheaper": (correct(0.8), correct(0.95), DEAR, CHEAP, "b cheaper"),
    "a much better but dearer": (correct(0.95), correct(0.8), DEAR, CHEAP, "undecided: accuracy inferior"),
    "a cheaper but much worse": (correct(0.8), correct(0.95), CHEAP, DEAR, "undecided: accuracy inferior"),
    "one sample": (np.ones(1), np.ones(1), CHEAP, DEAR, "undecided: too few samples"),
    "20 samples": (correct(0.9, 1, 20), correct(0.9, 1, 20), CHEAP, DEAR, "undecided: too few samples"),
    "298 samples": (np.ones(298), np.ones(298), CHEAP, DEAR, "undecided: too few samples"),
    "299 samples": (np.ones(299), np.ones(299), CHEAP, DEAR, "a cheaper"),
    "a cannot run": (
        correct(0.9),
        correct(0.9),
        report(1, unsupported=("fc: MACs",)),
        DEAR,
        "unsupported: a cannot run",
    ),
    "seeds disagree": (correct(0.9), correct(0.9), [CHEAP, report(3e-9)], DEAR, "undecided: energies overlap"),
    "seeds agree": (correct(0.9), correct(0.9), [CHEAP, report(1.5e-9)], [DEAR, DEAR], "a cheaper"),
    "a without any operation": (correct(0.9), correct(0.9), FREE, DEAR, "a cheaper"),
    "both without any operation": (correct(0.9), correct(0.9), FREE, FREE, "equal"),
}


@pytest.mark.parametrize("case", CASES)
def test_constructed_cases(case):
    a, b, energy_a, energy_b, expected = CASES[case]
    assert str(verdict(a, b, energy_a, energy_b)) == expected


@pytest.mark.parametrize("case", CASES)
def test_swapping_the_sides_swaps_the_verdict(case):
    a, b, energy_a, energy_b, expected = CASES[case]
    swap = str.maketrans("ab", "ba")
    sides = [word.translate(swap) if word in ("a", "b") else word for word in expected.split(" ")]
    found, swapped = verdict(a, b, energy_a, energy_b), verdict(b, a, energy_b, energy_a)
    assert str(swapped) == " ".join(sides)
    assert (swapped.noninferior_a, swapped.noninferior_b) == (found.noninferior_b, found.noninferior_a)
    assert swapped.difference == pytest.approx(tuple(-value for value in reversed(found.difference)), abs=1e-9)


def test_three_images_match_no_accuracies():
    right = np.array([1, 1, 1]), np.array([1, 1, 0])
    found = verdict(*right, CHEAP, DEAR)
    assert not found.noninferior_a and not found.noninferior_b
    assert found.detectable > 0.6


def test_a_better_model_is_not_inferior():
    for samples in (100, 1000):
        found = verdict(correct(0.98, 1, samples), correct(0.9, 1, samples), CHEAP, DEAR)
        assert found.noninferior_a and not found.noninferior_b


def test_the_detectable_difference_is_that_of_equal_models():
    """Two models that differ on as many samples, but as often in favour of each, are not inferior beyond it."""
    a, b = np.zeros(2000), np.zeros(2000)
    a[:40], b[40:80] = 1, 1
    found = verdict(a, b, CHEAP, DEAR)
    assert found.detectable == pytest.approx(-found.difference[0])
    normal = 1.645 * np.sqrt(80) / 2000
    assert normal < found.detectable < normal + 2 / 2000, "the bound supposes one more sample, lost"
    assert verdict(a, b, CHEAP, DEAR, margin=found.detectable * 1.001).noninferior_a
    assert not verdict(a, b, CHEAP, DEAR, margin=found.detectable * 0.999).noninferior_a
    assert verdict(a, b, CHEAP, DEAR, margin=found.detectable * 0.5, confidence=0.6).noninferior_a


def test_tensors_lists_and_arrays_are_the_same():
    generator = np.random.default_rng(1)
    a, b = generator.random((3, 500)) < 0.9, generator.random((5, 500)) < 0.9
    one = verdict(a, b, CHEAP, DEAR)
    assert verdict(torch.as_tensor(a), b.astype(int).tolist(), CHEAP, DEAR) == one
    assert one.difference[1] == pytest.approx(a.mean() - b.mean())


def test_ratio_is_reported():
    assert verdict(correct(0.9), correct(0.9), WIDE, CHEAP).ratio == pytest.approx((1, 2, 4))
    assert verdict(correct(0.9), correct(0.9), report(1, unsupported=("fc",)), CHEAP).ratio is None


def test_weights_of_different_widths_are_not_compared_unless_allowed():
    narrow, wide, mixed = (report(joules, bits=bits) for joules, bits in ((1, (8,)), (2, (32,)), (2, (8, 32))))
    right = correct(0.9)
    for a, b in ((narrow, wide), (narrow, mixed), ([narrow, narrow], [report(2, bits=(8,)), wide])):
        found = verdict(right, right, a, b)
        assert (found.verdict, found.noninferior_a, found.noninferior_b) == ("bit widths differ", True, True)
        assert found.ratio is not None, "the ratio is known, what it would prove is not"
        assert verdict(right, right, a, b, different_bits=True).verdict == "a cheaper"
    assert verdict(right, right, narrow, wide, different_bits=True).bits == ((8,), (32,))
    assert verdict(right, right, narrow, report(2, bits=(8,))).verdict == "a cheaper"
    unknown = report(1, unsupported=("fc",), bits=(8,))
    assert verdict(right, right, unknown, wide).verdict == "unsupported"


def test_a_range_that_no_source_gives_is_named():
    guess = report(1e-9, scenarios=("what if",))
    assert verdict(correct(0.9), correct(0.9), guess, DEAR).scenarios == ("what if",)
    assert verdict(correct(0.9), correct(0.9), CHEAP, DEAR).scenarios == ()


# Spikes in every tenth cell of 10 steps against one dense pass over the same 100 x 100 int8 weights.
ROW = {"layer": "fc", "kind": "linear", "weights": 10_000, "nonzero_weights": 10_000, "weight_bits": 8}
SPIKING = ROW | {"dense_ops": 100_000, "effective_acs": 10_000, "input_cells": 1000, "input_events": 100}
SPIKING |= {"output_cells": 1000, "charged_rows": 10, "input_bits": 1}
DENSE = ROW | {"dense_ops": 10_000, "effective_macs": 10_000, "input_cells": 100, "input_events": 100}
DENSE |= {"output_cells": 100, "charged_rows": 1, "input_bits": 8}


def test_a_verdict_for_each_dataflow_and_memory():
    """As many additions as products: cheaper in arithmetic, dearer as soon as sums of ten steps are stored."""
    names = scenarios()
    assert {name.split(",")[0] for name in names} == {
        f"cmos-45nm/{flow}"
        for flow in (
            "compute_only",
            "no_reuse",
            "weight_stationary",
            "output_stationary",
            "event_driven",
            "cheapest dataflow per layer",
        )
    }
    assert {name.partition(", ")[2] for name in names} == {"", "memory per layer", "weights in DRAM"}
    right = correct(0.9)
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 1000, "charged_rows": 10}
    found = verdicts(right, right, OperationCounts((SPIKING,), 1), OperationCounts((DENSE,), 1))
    assert list(found) == list(names)
    assert found["cmos-45nm/compute_only"].verdict == "a cheaper"
    assert found["cmos-45nm/output_stationary"].verdict == "b cheaper"
    wide = OperationCounts((DENSE | {"weight_bits": 32, "input_bits": 32},), 1)
    flagged = verdicts(right, right, OperationCounts((SPIKING, neurons), 1), wide)
    assert {one.verdict for one in flagged.values()} == {"bit widths differ"}
    only = {"one": {"hardware": "loihi", "dataflow": "event_driven"}}
    assert (
        verdicts(right, right, OperationCounts((SPIKING,), 1), OperationCounts((DENSE,), 1), where=only)["one"].verdict
        == "unsupported"
    )


def test_cheapest_is_the_minimum_over_its_dataflows():
    """``cheapest`` is never dearer than any dataflow that it chooses from, on either side."""
    for row in (SPIKING, DENSE):
        counts = OperationCounts((row,), 1)
        for memory in ("auto", "per_layer", "dram"):
            flows = ("weight_stationary", "output_stationary", "event_driven")
            each = [estimate(counts, dataflow=flow, memory=memory).nominal for flow in flows]
            assert estimate(counts, dataflow="cheapest", memory=memory).nominal == min(each)


def test_frontier():
    points = {"best": (0.9, 5.0), "cheap": (0.8, 1.0), "beaten": (0.79, 1.0), "equal": (0.9, 5.0), "dear": (0.9, 6.0)}
    assert frontier(points) == ("cheap", "best", "equal")
    assert frontier({}) == ()
    with pytest.raises(InputError):
        frontier({"unknown": (0.9, float("nan"))})


def test_refusals():
    good = correct(0.9)
    for a, b in (
        (good, good[:, :-1]),
        (good * 0.5, good),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.zeros((1, 2, 3)), good),
    ):
        with pytest.raises(InputError):
            verdict(a, b, CHEAP, DEAR)
    for options in ({"margin": -1}, {"confidence": 1.0}):
        with pytest.raises(InputError):
            verdict(good, good, CHEAP, DEAR, **options)
