"""docs/energy.md says what the code does: its constants and dataflows are those of the package."""

from pathlib import Path

from neurosparse.measure.dataflow import DATAFLOWS, Work
from neurosparse.measure.hardware import constants, profiles

PAGE = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|")
]


def test_every_constant_is_on_the_page_as_in_the_table():
    shown = {row[0]: row[1:] for row in ROWS if row[0].startswith(("horowitz_", "loihi_", "sanafe_"))}
    assert list(shown) == list(constants())
    for constant in constants().values():
        what, value, low, high, unit, node, source, status = shown[constant.id]
        assert (what, unit, source, status) == (constant.quantity, constant.unit, constant.source, constant.status)
        assert [float(value), float(low), float(high)] == [constant.value, constant.low, constant.high]
        assert node == f"{constant.node_nm} nm"


def test_every_price_rests_on_constants():
    used = {name for profile in profiles().values() for price in profile.prices.values() for name in price.ids}
    assert used == set(constants())


def test_the_equations_on_the_page_are_those_of_the_code():
    work = Work(operations=2.0, inputs=3.0, weights=5.0, outputs=7.0, bias_adds=11.0, biases=13.0)
    symbols = {"N": 2, "X": 3, "W": 5, "Y": 7, "B": 11, "b": 13, "0": 0, "2 (N + B)": 26}
    shown = {row[0]: row[1:] for row in ROWS if row[0] in DATAFLOWS}
    assert set(shown) == set(DATAFLOWS)
    for name, dataflow in DATAFLOWS.items():
        assert tuple(symbols[cell] for cell in shown[name][:4]) == dataflow.traffic(work)
        assert shown[name][4] == dataflow.sentence
