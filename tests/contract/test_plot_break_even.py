"""The plot of break-even: curves, the network, published thresholds."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from neurosparse import plot
from neurosparse.energy import break_even, scale_counts
from neurosparse.meter import OperationCounts

LAYER = {"layer": "fc", "kind": "linear", "weights": 400, "nonzero_weights": 400, "weight_bits": 8}
SPIKING = {"dense_ops": 4000, "effective_acs": 400, "input_cells": 200, "input_events": 20, "input_bits": 1}
SPIKING = OperationCounts((LAYER | SPIKING | {"output_cells": 200, "charged_rows": 10},), 1)
DENSE = {"dense_ops": 400, "effective_macs": 400, "input_cells": 20, "input_events": 20, "input_bits": 8}
DENSE = OperationCounts((LAYER | DENSE | {"output_cells": 20, "charged_rows": 1},), 1)


def test_break_even_shows_its_curves_the_network_and_who_published_what() -> None:
    where = {"sums": {"dataflow": "compute_only"}, "lost": {"dataflow": "no_reuse"}}
    found = break_even(SPIKING, DENSE, "steps", [5, 10], where=where)
    ax = plot.break_even(found, ax=Figure().subplots())
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["sums"].get_ydata() == pytest.approx([3, 3]), "0.3 pJ a product, 0.1 pJ a sum"
    assert [list(axis) for axis in lines["this network"].get_data()] == [[10], [pytest.approx(1.0)]]
    names = {text.get_text() for text in ax.texts}
    assert names == {"Yan 2024, v3", "Yan 2024, v4", "Dampfhoffer 2023", "Davidson & Furber 2021"}
    drawn = [line for line in ax.lines if line.get_label().startswith("_")]
    steps, spikes = next(line.get_data() for line in drawn if len(line.get_xdata()) > 1 and line.get_ydata()[0] < 1)
    assert spikes / steps == pytest.approx(np.full(len(steps), 0.064)) and (min(steps), max(steps)) == (5, 10)
    assert not plot.break_even(found, published=False, ax=Figure().subplots()).texts
    # Along other axes Yan's thresholds hold for 5 to 10 steps only: this network has 10, and then 20.
    for longer, expected in ((10, True), (20, False)):
        bits = break_even(scale_counts(SPIKING, steps=longer), DENSE, "bits", where=where)
        names = {text.get_text() for text in plot.break_even(bits, ax=Figure().subplots()).texts}
        assert ("Yan 2024, v3" in names) is expected and "Yan 2024, v4" not in names


def test_a_curve_without_break_even_says_so_and_one_that_ends_leaves_the_picture() -> None:
    neurons = {"layer": "lif", "kind": "neuron", "state_updates": 10**6, "charged_rows": 10}
    lost = break_even(
        OperationCounts((*SPIKING.rows, neurons), 1), DENSE, "steps", where={"here": {"dataflow": "no_reuse"}}
    )
    assert "here: never cheaper" in plot.break_even(lost, ax=Figure().subplots()).get_legend_handles_labels()[1]
    many = OperationCounts(tuple(DENSE.rows[0] | {"layer": str(i)} for i in range(200)), 1)
    won = break_even(SPIKING, many, "steps", where={"here": {"dataflow": "no_reuse"}})
    ax = plot.break_even(won, ax=Figure().subplots())
    assert "here: cheaper at any rate" in ax.get_legend_handles_labels()[1]
    assert min(ax.lines[0].get_ydata()) > ax.get_ylim()[1]


def test_along_the_rate_a_ratio_of_one_is_marked_and_the_network_lies_on_its_curves() -> None:
    found = break_even(SPIKING, DENSE)
    ax = plot.break_even(found, ax=Figure().subplots())
    dots = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [dot.get_ydata()[0] for dot in dots] == pytest.approx([middle for _, middle, _ in found.ratios.values()])
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0.1] * len(dots))
    assert any(list(line.get_ydata()) == [1.0, 1.0] for line in ax.lines)
