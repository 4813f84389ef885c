"""Hardware profiles: every constant is verified, and every range has an origin."""

from itertools import product
from pathlib import Path

import pytest

import neurosparse.energy.hardware as hardware
from neurosparse.energy.hardware import constants, profile, profiles, read_constants, read_profiles
from neurosparse.errors import InputError

COLUMNS = "id,platform,quantity,value,low,high,unit,precision,node_nm,range,source,status\n"
ROW = "{id},CMOS,addition,0.1,{low},{high},pJ,int32,45,{range},somewhere,{status}\n"
PROFILE = '[chip]\ndataflows = ["no_reuse"]\n[chip.prices]\nadd_int32 = "{}"\n'


def table(path: Path, **row: str) -> Path:
    row = {"id": "add", "low": "", "high": "", "range": "", "status": "verified"} | row
    path.write_text(COLUMNS + ROW.format(**row))
    return path


def test_all_constants_of_the_profiles_are_verified():
    used = {name for one in profiles().values() for price in one.prices.values() for name in price.ids}
    assert {constants()[name].status for name in used} <= {"verified", "verified_secondary"}
    assert used == set(constants()), "a constant that no profile uses is of no use"
    for constant in constants().values():
        assert constant.low <= constant.value <= constant.high and constant.source and constant.unit
    for one in profiles().values():
        assert all(price.low <= price.nominal <= price.high for price in one.prices.values())


@pytest.mark.parametrize("status", ["recalled", "secondary", ""])
def test_a_profile_with_an_unverified_constant_is_refused(tmp_path, status):
    good = read_constants(table(tmp_path / "good.csv"))
    doubtful = read_constants(table(tmp_path / "doubtful.csv", status=status))
    chip = tmp_path / "chip.toml"
    chip.write_text(PROFILE.format("add"))
    assert read_profiles(chip, good)["chip"].prices["add_int32"].nominal == 0.1
    with pytest.raises(InputError, match=r"'add', .*add_int32 of chip"):
        read_profiles(chip, doubtful)
    chip.write_text(PROFILE.format("nowhere"))
    with pytest.raises(InputError, match="'nowhere', missing"):
        read_profiles(chip, good)


def test_one_changed_status_makes_the_profile_refused(tmp_path):
    """The packaged tables with one status changed."""
    folder = Path(hardware.__file__).parent
    spoilt = tmp_path / "hardware.csv"
    text = (folder / "hardware.csv").read_text()
    assert text.count("sanafe_spike_out") == 1
    line = next(line for line in text.splitlines() if line.startswith("sanafe_spike_out"))
    spoilt.write_text(text.replace(line, line.rsplit(",", 1)[0] + ",recalled"))
    with pytest.raises(InputError, match="'sanafe_spike_out', recalled, under spike_out of loihi"):
        read_profiles(folder / "profiles.toml", read_constants(spoilt))


@pytest.mark.parametrize(
    "row",
    [
        {"low": "0.05", "high": "0.2"},
        {"low": "0.05", "high": "0.2", "range": "guess"},
        {"range": "source"},
    ],
)
def test_every_range_has_an_origin(tmp_path, row):
    with pytest.raises(InputError, match="range"):
        read_constants(table(tmp_path / "table.csv", **row))
    found = read_constants(table(tmp_path / "table.csv", low="0.05", high="0.2", range="scenario"))["add"]
    assert (found.low, found.value, found.high, found.range) == (0.05, 0.1, 0.2, "scenario")


def test_draws_are_the_corners_of_the_box():
    draws = profile("loihi").draws()
    nominal = {"synop": 35.5, "neuron_inactive": 51.2, "neuron_active": 72.8, "spike_out": 69.3, "message": 111.0}
    assert draws[0] == pytest.approx(nominal | {"message_cores": 1})
    ranges = {"synop": (23.6, 35.5), "neuron_inactive": (51.2, 52), "neuron_active": (72.8, 81)}
    ranges |= {"message": (76.8, 111), "message_cores": (1, 4)}
    corners = sorted(tuple(round(draw[name], 9) for name in ranges) for draw in draws[1:])
    assert corners == sorted(product(*ranges.values()))
    scaled = profile("loihi").draws({"synop": 2.0})
    assert scaled[0] == draws[0]
    assert sorted({draw["synop"] for draw in scaled[1:]}) == pytest.approx([11.8, 17.75, 47.2, 71])


def test_sums_of_constants():
    price = profile("loihi").prices["neuron_active"]
    assert (price.low, price.nominal, price.high) == pytest.approx((51.2 + 21.6, 51.2 + 21.6, 81))
    assert price.ids == ("sanafe_neuron_access", "sanafe_neuron_update", "loihi_neuron_active")
