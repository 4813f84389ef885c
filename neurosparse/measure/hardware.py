"""What an operation costs: constants read from one table, and the hardware they make up."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType

import numpy as np

from neurosparse.errors import InputError

__all__ = ["Constant", "Price", "Profile", "constants", "profile", "profiles", "sram"]

#: Capacities in bytes for which an SRAM access price is known.
SRAM = {8 * 1024: "sram_8k", 32 * 1024: "sram_32k", 1024 * 1024: "sram_1m"}


@dataclass(frozen=True)
class Constant:
    """One published number: what it is, where it was read, and how far it can be trusted.

    ``value``, ``low`` and ``high`` are in ``unit``; where the source gives no range, all three are equal.

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
    source: str
    status: str


@cache
def constants() -> Mapping[str, Constant]:
    """Every constant of the energy model by its id, read from ``hardware.csv``.

    Example:
        >>> constants()["horowitz_mul_fp32"].value
        3.7
    """
    with Path(__file__).with_name("hardware.csv").open(newline="", encoding="utf-8") as table:
        return MappingProxyType({row["id"]: _constant(row) for row in csv.DictReader(table)})


def _constant(row: dict[str, str]) -> Constant:
    value, node = float(row["value"]), int(row["node_nm"])
    low, high = float(row["low"] or value), float(row["high"] or value)
    words = {name: row[name] for name in ("id", "platform", "quantity", "unit", "precision", "source", "status")}
    return Constant(value=value, low=low, high=high, node_nm=node, **words)


@dataclass(frozen=True)
class Price:
    """Picojoules of one event on one hardware, as sums of constants: each of the three may rest on other sources."""

    low: float
    nominal: float
    high: float
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """A hardware: the prices it charges, the dataflows it can run, and what was assumed about it."""

    name: str
    prices: Mapping[str, Price]
    dataflows: tuple[str, ...]
    sentences: tuple[str, ...]

    def draws(self) -> tuple[dict[str, float], ...]:
        """The nominal prices, then every corner of the box that the uncertain ones span.

        Energy is linear in each price, so over that box an energy, or a ratio of two, is extreme at a corner.

        Example:
            >>> [draw["dram"] for draw in profile("cmos-45nm").draws()]
            [1950.0, 1300.0, 2600.0]
        """
        nominal = {name: price.nominal for name, price in self.prices.items()}
        uncertain = {name: (price.low, price.high) for name, price in self.prices.items() if price.low < price.high}
        corners = product(*uncertain.values())
        return (nominal, *(nominal | dict(zip(uncertain, corner, strict=True)) for corner in corners))


def _sum(low: tuple[str, ...], nominal: tuple[str, ...], high: tuple[str, ...]) -> Price:
    def add(ids: tuple[str, ...], field: str) -> float:
        return math.fsum(getattr(constants()[name], field) for name in ids)

    return Price(add(low, "low"), add(nominal, "value"), add(high, "high"), tuple(dict.fromkeys(low + nominal + high)))


@cache
def profiles() -> Mapping[str, Profile]:
    """The hardware that energy can be estimated for, by name.

    Example:
        >>> sorted(profiles())
        ['cmos-45nm', 'loihi']
    """
    horowitz = [name for name in constants() if name.startswith("horowitz_")]
    davies, sanafe = ("loihi_synop",), ("sanafe_syn_dense",)
    calibrated = ("sanafe_neuron_access", "sanafe_neuron_update")
    cmos = Profile(
        "cmos-45nm",
        MappingProxyType({name.removeprefix("horowitz_"): _sum((name,), (name,), (name,)) for name in horowitz}),
        ("compute_only", "no_reuse", "weight_stationary", "output_stationary", "event_driven"),
        (
            "A digital circuit in 45 nm at 0.9 V; memory is charged per bit, at 1/64 of the price of a 64-bit access.",
            "One on-chip SRAM holds weights and states; its price follows its capacity (log-log).",
            "What does not fit into 1 MB of SRAM is fetched from DRAM.",
        ),
    )
    loihi = Profile(
        "loihi",
        MappingProxyType(
            {
                "synop": _sum(davies, sanafe, sanafe),
                "neuron_update": _sum(calibrated, calibrated, ("loihi_neuron_active",)),
                "spike_out": _sum(("sanafe_spike_out",), ("sanafe_spike_out",), ("sanafe_spike_out",)),
            }
        ),
        ("event_driven",),
        (
            "Nominal prices are those of SANA-FE, calibrated to the chip; the other end of an interval is Davies 2018.",
            "Weights are taken to fit the chip's 9 bits; whether accuracy survives that is not checked.",
            "The bias, the threshold and the reset of a neuron are part of its update.",
        ),
    )
    return MappingProxyType({cmos.name: cmos, loihi.name: loihi})


def profile(name: str) -> Profile:
    """The hardware of that name.

    Raises:
        InputError: no such hardware.

    Example:
        >>> profile("loihi").dataflows
        ('event_driven',)
    """
    if name not in profiles():
        raise InputError("estimate", got=f"hardware={name!r}", expected=f"one of {', '.join(profiles())}")
    return profiles()[name]


def sram(capacity: float, draw: Mapping[str, float]) -> float:
    """Picojoules per bit of an SRAM, log-log between the published capacities and never below the smallest.

    Args:
        capacity: bytes.
        draw: prices, as `Profile.draws` gives them.

    Example:
        >>> round(sram(32 * 1024, profile("cmos-45nm").draws()[0]), 6)  # 20 pJ per 64 bit
        0.3125
    """
    logarithms = np.log([draw[name] for name in SRAM.values()])
    return float(np.exp(np.interp(np.log(max(capacity, 1.0)), np.log(list(SRAM)), logarithms))) / 64
