"""The page docs/energy.md: its constants, dataflows and formats are those of the package."""

from pathlib import Path

import pytest

from neurosparse.energy.assumptions import INPUT_FORMATS, WEIGHT_FORMATS
from neurosparse.energy.dataflow import DATAFLOWS, Work
from neurosparse.energy.hardware import constants, profiles

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
