"""The page docs/energy.md: its constants, dataflows and formats are those of the package."""

from pathlib import Path

import pytest

from neurosparse.energy.assumptions import INPUT_FORMATS, LEAKS, WEIGHT_FORMATS
from neurosparse.energy.dataflow import DATAFLOWS, Work
from neurosparse.energy.hardware import constants, profiles
from neurosparse.energy.layer import multiplication, sum_format
from neurosparse.energy.scenarios import comparison_scenarios

PAGE = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|")
]


def test_every_constant_is_on_the_page_as_in_the_table():
    shown = {row[0]: row[1:] for row in ROWS if row[0] in constants()}
    assert list(shown) == list(constants())
    for constant in constants().values():
        what, value, low, high, source_of_range, unit, node, source, status = shown[constant.id]
        assert (what, unit, source, status) == (constant.quantity, constant.unit, constant.source, constant.status)
        assert [float(value), float(low), float(high)] == [constant.value, constant.low, constant.high]
        assert (node, source_of_range) == (f"{constant.node_nm} nm", constant.range or "-")


def test_every_price_rests_on_constants():
    used = {name for profile in profiles().values() for price in profile.prices.values() for name in price.ids}
    assert used == set(constants())
    for profile in profiles():
        assert f"`{profile}`" in PAGE or f'"{profile}"' in PAGE or profile.capitalize() in PAGE


def test_the_equations_on_the_page_are_those_of_the_code():
    work = Work(operations=2.0, inputs=3.0, weights=5.0, outputs=7.0, bias_adds=11.0, biases=13.0)
    symbols = {"N": 2, "X": 3, "W": 5, "Y": 7, "B": 11, "b": 13, "0": 0, "2 (N + B)": 26, "2 N": 4, "min(W, N)": 2}
    shown = [row for row in ROWS if row[0] in DATAFLOWS]
    assert list(dict.fromkeys(row[0] for row in shown)) == list(DATAFLOWS)
    before = set()
    for name, *cells, sentence in shown:
        again = name in before
        before.add(name)
        assert sentence == ("the same, run densely" if again else DATAFLOWS[name].sentence)
        traffic = DATAFLOWS[name].traffic
        if name != "no_reuse":
            assert [symbols[cell] for cell in cells] == pytest.approx(traffic(work))
            continue
        for slides in (False, True):
            now = work._replace(events=not again, slides=slides)
            reads = cells[2].split(" or ")[0 if slides else -1]
            assert [symbols[cell] for cell in (*cells[:2], reads, *cells[3:])] == pytest.approx(traffic(now))


def test_every_format_is_on_the_page():
    shown = {(row[0], row[1]) for row in ROWS}
    assert {("inputs", name) for name in INPUT_FORMATS} <= shown
    assert {("weights", name) for name in (*WEIGHT_FORMATS, "n:m")} <= shown


def test_the_prices_of_operations_are_on_the_page():
    """Products by the wider operand, sums by the width of the states, at both nodes."""
    shown = {row[0]: row[1:] for row in ROWS if row[0].startswith("up to ")}
    assert list(shown) == [f"up to {bits} bits" for bits in (4, 8, 16, 32)]
    for words, cells in shown.items():
        bits = int(words.split()[2])
        sums = [f"add_{sum_format(bits, width)}" for width in (32, 16)]
        for cell, name in zip(cells, [f"mul_{multiplication(bits)}", *sums], strict=True):
            assert cell.split("`")[0].strip("`") == name
            prices = [profiles()[node].prices[name].nominal for node in ("cmos-45nm", "cmos-7nm")]
            assert [float(value) for value in cell.split("`")[1].split(",")] == pytest.approx(prices)


def test_the_prices_of_chips_are_on_the_page():
    chips = {name: one for name, one in profiles().items() if "synop" in one.prices}
    shown = {(row[1], row[0].split("`")[0]): row[2:] for row in ROWS if len(row) == 5 and row[1] in chips}
    assert set(shown) == {(name, price) for name, one in chips.items() for price in one.prices}
    for (name, price), cells in shown.items():
        one = chips[name].prices[price]
        assert [float(cell) for cell in cells] == pytest.approx([one.low, one.nominal, one.high])


def test_every_leak_and_the_functions_of_scenarios_are_on_the_page():
    assert {row[0].strip('"') for row in ROWS} >= set(LEAKS)
    assert all(f"ns.energy.{name}" in PAGE for name in ("comparison_scenarios", "scenarios"))
    assert {options["hardware"] for options in comparison_scenarios().values()} <= set(profiles())
