"""Hardware profiles: published energies of operations and memory accesses, each with its source."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neurosparse.checks import one_of
from neurosparse.energy.memory import Memory
from neurosparse.errors import InputError

__all__ = ["Constant", "Price", "Profile", "constants", "profile", "profiles", "read_constants", "read_profiles"]

#: Status of a constant that may be used: read in the source or its authors' code, or in the work of others that use it.
ADMITTED = ("verified", "verified_secondary")


@dataclass(frozen=True)
class Constant:
    """One published constant with its source.

    ``value``, ``low`` and ``high`` are in ``unit``, and equal if no range is known. ``range`` is the origin of a range:
    ``"source"``, or ``"scenario"`` (an assumption without a source). ``status`` is how the constant was verified.

    Example:
        >>> constants()["horowitz_dram"].low, constants()["horowitz_dram"].high
        (1300.0, 2600.0)
    """

    id: str
    platform: str
    quantity: str
    value: float
    low: float
    high: float
    unit: str
    precision: str
    node_nm: int
    range: str
    source: str
    status: str


@cache
def constants() -> Mapping[str, Constant]:
    """Every constant of the energy model by its id, read from ``hardware.csv``.

    Example:
        >>> constants()["horowitz_mul_fp32"].value
        3.7
    """
    return read_constants(Path(__file__).with_name("hardware.csv"))


def read_constants(path: Path) -> Mapping[str, Constant]:
    """A table of constants with the columns of ``hardware.csv``, by id."""
    with path.open(newline="", encoding="utf-8") as table:
        return MappingProxyType({row["id"]: _constant(row) for row in csv.DictReader(table)})


def _constant(row: dict[str, str]) -> Constant:
    value, node = float(row["value"]), int(row["node_nm"])
    low, high = float(row["low"] or value), float(row["high"] or value)
    if (low < high) != bool(row["range"]) or row["range"] not in ("", "source", "scenario"):
        fix = "Write the origin of low and high."
        got = f"{row['id']} from {low:g} to {high:g} with range={row['range']!r}"
        raise InputError("constants", got=got, expected="range=source or scenario for every range", fix=fix)
    words = ("id", "platform", "quantity", "unit", "precision", "range", "source", "status")
    return Constant(value=value, low=low, high=high, node_nm=node, **{name: row[name] for name in words})


@dataclass(frozen=True)
class Price:
    """Picojoules of one operation or access on one hardware; each of the three is a sum of constants."""

    low: float
    nominal: float
    high: float
    ids: tuple[str, ...]
    scenario: bool = False


@dataclass(frozen=True)
class Profile:
    """A hardware: its prices, its dataflows, and the assumptions about it in words.

    ``memory_sentences`` apply to dataflows that charge memory. ``omits`` are columns of the counts that its source does
    not charge; ``memory`` is its default memory. ``targets_per_core``: neurons that one core of a neuromorphic chip
    holds.
    """

    name: str
    prices: Mapping[str, Price]
    dataflows: tuple[str, ...]
    sentences: tuple[str, ...]
    memory_sentences: tuple[str, ...] = ()
    omits: tuple[str, ...] = ()
    memory: Memory = field(default_factory=Memory)
    targets_per_core: int = 1

    @property
    def is_chip(self) -> bool:
        """Whether it is a neuromorphic chip, and no digital circuit."""
        return "synop" in self.prices

    def draws(self, uncertainty: Mapping[str, float] = MappingProxyType({})) -> tuple[dict[str, float], ...]:
        """The nominal prices, then the prices at every corner of the box of the uncertain ones.

        An energy is linear in each price. Over the box an energy, or a ratio of two, is therefore extreme at a corner.

        Args:
            uncertainty: by the beginning of a name, a factor by which these prices together may be higher or lower.

        Example:
            >>> sorted({draw["dram"] for draw in profile("cmos-45nm").draws()})
            [1300.0, 1950.0, 2600.0]
        """
        nominal = {name: price.nominal for name, price in self.prices.items()}
        ranges = {name: (price.low, price.high) for name, price in self.prices.items() if price.low < price.high}
        corners = [nominal | dict(zip(ranges, corner, strict=True)) for corner in product(*ranges.values())]
        factors = [
            dict(zip(uncertainty, choice, strict=True))
            for choice in product(*((1 / f, f) for f in uncertainty.values()))
        ]
        return (nominal, *(_scaled(corner, factor) for corner in corners for factor in factors))


def _scaled(draw: Mapping[str, float], factors: Mapping[str, float]) -> dict[str, float]:
    return {
        name: price * math.prod(factor for group, factor in factors.items() if name.startswith(group))
        for name, price in draw.items()
    }


@cache
def profiles() -> Mapping[str, Profile]:
    """The hardware that energy can be estimated for, by name, read from ``profiles.toml``.

    Example:
        >>> sorted(profiles())
        ['cmos-45nm', 'cmos-7nm', 'lemaire-45nm', 'loihi', 'spinnaker2']
    """
    return read_profiles(Path(__file__).with_name("profiles.toml"), constants())


def read_profiles(path: Path, known: Mapping[str, Constant]) -> Mapping[str, Profile]:
    """Profiles from a table like ``profiles.toml``.

    Raises:
        InputError: a constant of a price is missing or was not verified.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType({name: _profile(name, table, known) for name, table in tables.items()})


def _profile(name: str, table: Mapping[str, Any], known: Mapping[str, Constant]) -> Profile:
    prices = {}
    for event, ids in table["prices"].items():
        each: dict[str, list[str]] = (
            ids if isinstance(ids, dict) else {end: [ids] for end in ("low", "nominal", "high")}
        )
        used = tuple(dict.fromkeys(each["low"] + each["nominal"] + each["high"]))
        for one in used:
            status = known[one].status if one in known else "missing"
            if status not in ADMITTED:
                fix = "Read the source, then add the constant."
                got = f"{one!r}, {status}, under {event} of {name}"
                raise InputError("profiles", got=got, expected=f"constants that are {' or '.join(ADMITTED)}", fix=fix)
        low, nominal, high = (
            math.fsum(getattr(known[one], column) for one in each[end])
            for end, column in (("low", "low"), ("nominal", "value"), ("high", "high"))
        )
        prices[event] = Price(low, nominal, high, used, any(known[one].range == "scenario" for one in used))
    words = {key: tuple(table.get(key, ())) for key in ("dataflows", "sentences", "memory_sentences", "omits")}
    memory, targets = Memory(**table.get("memory", {})), table.get("targets_per_core", 1)
    return Profile(name, MappingProxyType(prices), memory=memory, targets_per_core=targets, **words)


def profile(name: str) -> Profile:
    """The hardware of that name.

    Raises:
        InputError: no such hardware.

    Example:
        >>> profile("loihi").dataflows
        ('event_driven',)
    """
    return profiles()[one_of("estimate", "hardware", name, profiles())]
