"""Published break-even points of spiking networks, each with what it assumes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Threshold", "thresholds"]


@dataclass(frozen=True)
class Threshold:
    """Below how much activity somebody found a spiking network to be cheaper, and under which assumptions.

    ``low`` and ``high`` are spikes per neuron and step (``unit="rate"``) or spikes per synapse and inference, for
    networks of ``steps[0]`` to ``steps[1]`` steps where the source says so.
    """

    id: str
    low: float
    high: float
    unit: str
    steps: tuple[float, float] | None
    assumption: str
    source: str
    status: str

    def spikes_per_synapse(self, steps: float) -> tuple[float, float] | None:
        """The threshold for that many steps per inference, ``rate * steps``; None outside of what was assumed.

        Example:
            >>> thresholds()[2].spikes_per_synapse(8), thresholds()[1].spikes_per_synapse(8)
            ((0.15, 1.38), None)
        """
        if self.steps and not self.steps[0] <= steps <= self.steps[1]:
            return None
        scale = steps if self.unit == "rate" else 1.0
        return self.low * scale, self.high * scale


@cache
def thresholds() -> tuple[Threshold, ...]:
    """The published thresholds, read from ``thresholds.csv``.

    Example:
        >>> [threshold.id for threshold in thresholds()][2:]
        ['dampfhoffer_2023', 'davidson_furber_2021']
    """
    with Path(__file__).with_name("thresholds.csv").open(newline="", encoding="utf-8") as table:
        return tuple(_threshold(row) for row in csv.DictReader(table))


def _threshold(row: dict[str, str]) -> Threshold:
    steps = (float(row["steps_low"]), float(row["steps_high"])) if row["steps_low"] else None
    words = {name: row[name] for name in ("id", "unit", "assumption", "source", "status")}
    return Threshold(low=float(row["low"]), high=float(row["high"]), steps=steps, **words)
