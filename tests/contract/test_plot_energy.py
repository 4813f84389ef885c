"""Plots of energies and operations: every mark is at its numbers."""

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from plot_examples import FOREST

from neurosparse import plot
from neurosparse.energy import estimate
from neurosparse.meter import OperationCounts

matplotlib.use("Agg")


def report(nominal: float) -> dict[str, float]:
    return {"low": 0.5 * nominal, "nominal": nominal, "high": 2 * nominal}


def point(name: str, accuracy: float, nominal: float, family: str = "ReLU") -> dict[str, Any]:
    return {"name": name, "family": family, "accuracy": {"mean": accuracy, "sd": 0.01}, "energy": report(nominal)}


POINTS = [point("a", 0.9, 1e-9), point("b", 0.97, 1e-8, "LIF"), point("worse", 0.85, 2e-8), point("c", 0.98, 1e-7)]
COUNTS = {"relu": {"dense_ops": 4096, "effective_macs": 900}, "lif": {"effective_acs": 500, "state_updates": 64}}
ESTIMATED = {"lif": {"p": 2.0, "q": 0.5}, "kwta": {"p": 1.5, "q": 1.5}}
FIRST = {"layer": "first", "kind": "linear", "weights": 100, "nonzero_weights": 100, "weight_bits": 8, "dense_ops": 100}
FIRST |= {"effective_macs": 100, "input_cells": 10, "input_events": 10, "input_bits": 8, "charged_rows": 1}
FIRST |= {"output_cells": 10, "bytes_read": 110, "bytes_written": 40}
NEURONS = {"layer": "second", "kind": "neuron", "state_updates": 20, "charged_rows": 2, "spikes_out": 3}
RECORDED = OperationCounts((FIRST, FIRST | {"layer": "second"}, NEURONS | {"bytes_read": 80, "bytes_written": 80}), 1)


def test_energy_marks_every_model_with_its_interval_and_numbers() -> None:
    ax = plot.energy({"relu": report(1e-9), "lif": report(3e-9)}, {"lif": "LIF"}, ax=Figure().subplots())
    spans = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers]
    np.testing.assert_allclose(spans, [[0.5e-9, 2e-9], [1.5e-9, 6e-9]])
    assert [text.get_text().replace("\u00a0", " ") for text in ax.texts] == ["1 [0.5, 2] nJ", "3 [1.5, 6] nJ"]
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] > ax.get_ylim()[1]


def test_the_frontier_joins_what_nothing_beats_and_names_every_point() -> None:
    ax = plot.frontier(POINTS, ax=Figure().subplots())
    np.testing.assert_allclose(ax.lines[0].get_data(), [[1e-9, 1e-8, 1e-7], [90, 97, 98]])
    named = {text.get_text(): text.get_weight() for text in ax.texts if text.get_text()}
    assert named == {"a": "bold", "b": "bold", "c": "bold", "worse": "normal"}
    assert len(ax.containers) == len(POINTS)


def test_the_frontier_has_a_legend_of_every_family_in_its_colour_and_shape() -> None:
    families = ["ReLU", "LIF", "my own", "another", None]
    points = [
        one | {"family": family} for one, family in zip([*POINTS, point("five", 0.9, 1e-9)], families, strict=False)
    ]
    ax = plot.frontier(points, ax=Figure().subplots())
    legend = ax.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    named = [one["family"] for one in points if one["family"]]
    assert texts == [*named, "frontier"]
    marks = [(line.get_color(), line.get_marker()) for line in legend.get_lines()[:-1]]
    drawn = [
        (c.lines[0].get_color(), c.lines[0].get_marker())
        for c, one in zip(ax.containers, points, strict=True)
        if one["family"]
    ]
    assert marks == drawn and len(set(marks)) == len(named)


def test_names_keep_out_of_each_others_way_where_points_crowd() -> None:
    crowd = [point(f"model-{i}", 0.9 + 0.002 * i, 1e-9 * 1.1**i) for i in range(6)]
    ax = plot.frontier([*crowd, point("far", 0.7, 1e-7)], ax=Figure(figsize=(6, 5)).subplots())
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(boxes) == 7
    assert not [(i, j) for i, one in enumerate(boxes) for j in range(i) if one.overlaps(boxes[j])]
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_a_forest_has_a_row_for_each_pair_and_a_mark_for_each_cost_model() -> None:
    ax = plot.forest(FOREST, ax=Figure((6, 3)).subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["digits", "32-bit", "8-bit", "nmnist", "32-bit"]
    assert [label.get_fontweight() for label in ax.get_yticklabels()] == ["bold", *["normal"] * 2, "bold", "normal"]
    marks = [line for line in ax.lines if line.get_linestyle() == "None"]
    at = [(float(line.get_xdata()[0]), round(float(line.get_ydata()[0]))) for line in marks]
    assert at[:4] == [(0.6, 1), (2.0, 1), (0.3, 2), (1.0, 4)]
    # The least ratio of the cost models is 0.2; own hardware stretches the axis by 4, and some room.
    assert at[4] == (pytest.approx(0.2 / 4 / 1.25), 4) and ax.get_xlim()[0] == pytest.approx(0.04)
    assert [text.get_text() for text in ax.texts if "0.02" in text.get_text()] == ["\u2190 0.02"]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [False, False, True, True, True]
    shapes = [line.get_marker() for line in marks]
    assert shapes[0] == shapes[2] != shapes[1] == shapes[3] and shapes[4] == "*"
    bars = [tuple(map(float, line.get_xdata())) for line in ax.lines if line not in marks]
    assert {(0.5, 0.7), (1.5, 4.0), (0.04, 0.04)} < {tuple(round(x, 9) for x in bar) for bar in bars}
    assert [text.get_text() for text in ax.texts].count("−0.5 [−1.2]") == 3
    legend = ax.get_legend()
    assert legend and [text.get_text() for text in legend.get_texts()][:3] == ["p", "q", "own"]


def test_a_forest_of_rows_without_a_group_covers_the_line_of_equal_energies() -> None:
    ax = plot.forest([{"name": "a", "ratios": {"p": (3.0, 4.0, 5.0)}, "outcome": "yes"}], ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["", "a"]
    assert ax.get_xlim()[0] < 1 and [1.0, 1.0] in [list(line.get_xdata()) for line in ax.lines]
    assert len(ax.get_legend().get_texts()) == 1 and not ax.texts  # nothing is hollow, no accuracy is known


def test_operations_and_savings_have_a_mark_for_each_number() -> None:
    ax = plot.operations(COUNTS, ax=Figure().subplots())
    marks = {line.get_label(): line.get_data() for line in ax.lines}
    assert {label: (list(x), list(y)) for label, (x, y) in marks.items()} == {
        "dense operations": ([4096], [0]),
        "effective MACs": ([900], [0]),
        "effective ACs": ([500], [1]),
        "state updates": ([64], [1]),
    }
    ax = plot.savings(ESTIMATED, {"lif": 0.3}, "relu", ax=Figure().subplots())
    lines = {line.get_label(): line for line in ax.lines}
    assert sorted(lines["energy, estimated (a dot per scenario)"].get_xdata()) == [0.5, 1.5, 1.5, 2.0]
    assert list(lines["speed, measured"].get_xdata()) == [0.3]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["lif", "kwta"]
    ax = plot.savings(ESTIMATED, {"lif": (0.1, 0.3, 0.9)}, "relu", ax=Figure().subplots())
    (bar,) = [c for c in ax.containers if c.get_label() == "its spread"]
    assert bar.lines[2][0].get_segments()[0][:, 0] == pytest.approx([0.1, 0.9])


def test_a_waterfall_begins_each_layer_where_the_last_one_ended_and_ends_with_the_total() -> None:
    found = estimate(OperationCounts((*RECORDED.rows, FIRST | {"layer": "third"}), 1))
    ax = plot.waterfall(found, ax=Figure().subplots())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["first", "second", "third", "total"]
    bars = [
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches
    ]
    rows = [sorted((begin, end) for y, begin, end in bars if y == number) for number in range(4)]
    for row in rows:
        np.testing.assert_allclose([begin for begin, _ in row[1:]], [end for _, end in row[:-1]])
    assert rows[0][0][0] == rows[3][0][0] == 0
    assert rows[1][0][0] == pytest.approx(rows[0][-1][1]) == pytest.approx(found.rows[0]["nominal"])
    assert rows[2][0][0] == pytest.approx(rows[1][-1][1])
    assert rows[3][-1][1] == pytest.approx(rows[2][-1][1]) == pytest.approx(found.nominal)


def test_a_waterfall_splits_the_total_into_what_the_report_says() -> None:
    found = estimate(RECORDED, memory="dram")
    ax = plot.waterfall(found, ax=Figure().subplots())
    widths = {bars.get_label(): bars.patches[-1].get_width() for bars in ax.containers if hasattr(bars, "patches")}
    parts = found.parts
    memory = sum(parts[name] for name in ("weights", "inputs", "indices", "partial_sums", "outputs"))
    assert widths == pytest.approx(
        {"compute": parts["compute"], "memory": memory, "addressing": parts["addressing"], "state": parts["state"]}
    )
    interval = [bars for bars in ax.containers if not hasattr(bars, "patches")]
    assert interval[0].lines[2][0].get_segments()[0][:, 0] == pytest.approx([found.low, found.high])


def test_intensity_has_a_mark_for_each_layer_and_lines_of_equal_operations_per_byte() -> None:
    ax = plot.intensity({"a": RECORDED, "b": OperationCounts((FIRST,), 2)}, ax=Figure().subplots())
    marks = {
        line.get_label(): list(zip(*line.get_data(), strict=True)) for line in ax.lines if line.get_marker() != "None"
    }
    # Per sample: 110 + 40 bytes and 100 MACs; the second layer has 160 bytes and 20 updates more.
    assert marks == {"a": [(150, 100), (310, 120)], "b": [(75, 50)]}
    slopes = [line.get_ydata() / line.get_xdata() for line in ax.lines if line.get_marker() == "None"]
    assert len(slopes) > 1 and all(slope == pytest.approx([10.0 ** round(np.log10(slope[0]))] * 2) for slope in slopes)
    assert [text.get_text() for text in ax.texts if "/B" not in text.get_text()].count("first") == 2
