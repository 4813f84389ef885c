"""Mushroom body of the fly: sparse random expansion to Kenyon cells, k-winners-take-all, a linear readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from neurosparse.coding import FlyHash
from neurosparse.experiments.classification.config import ModelConfig, count, real
from neurosparse.experiments.classification.space import Space

__all__ = ["FlyConfig"]


@dataclass(frozen=True, kw_only=True)
class FlyConfig(ModelConfig):
    """Kenyon cells that each sum a few random inputs and are not trained; the weights of the readout are.

    Args:
        cells: number of Kenyon cells.
        inputs: how many inputs each of them sums.
        active_fraction: share of the cells that fire: those of the largest sums.
    """

    family: ClassVar[str] = "fly"
    title: ClassVar[str] = "mushroom body"
    space: ClassVar[Space] = {
        **ModelConfig.space,
        "cells": (500, 1000, 2000, 4000),
        "inputs": (3, 7, 14),
        "active_fraction": (0.02, 0.05, 0.1, 0.2),
    }

    cells: int = count(2000, 10**6)
    inputs: int = count(7, 10**6)
    active_fraction: float = real(0.1, 1e-6, 1.0)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        (features,) = units
        seed = int(torch.randint(2**31, ()))
        cells = FlyHash(features, seed=seed, cells=self.cells, inputs=self.inputs, active=self.active_fraction)
        return MushroomBody(cells, nn.Linear(self.cells, classes))


class MushroomBody(nn.Module):
    """Kenyon cells and their readout."""

    def __init__(self, cells: FlyHash, readout: nn.Module):
        super().__init__()
        self.cells, self.readout = cells, readout

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        spikes = self.cells(x)
        if hidden is not None:
            hidden.append(spikes)
        return self.readout(spikes)[0]
