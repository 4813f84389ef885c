"""Spike-train statistics of Elephant, which needs another NumPy: its results are stored in tests/oracles."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neurosparse.analysis import count_correlation, fano_factor, spike_train_statistics
from neurosparse.events import EventTensor

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "spike_trains.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def events() -> EventTensor:
    step = torch.tensor([step for train in ORACLE["trains"] for step in train])
    unit = torch.tensor([unit for unit, train in enumerate(ORACLE["trains"]) for _ in train])
    shape = (ORACLE["steps"], 1, len(ORACLE["trains"]))
    return EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=shape, dt=ORACLE["dt"])


@pytest.mark.parametrize("name", ["cv", "cv2", "lv"])
def test_irregularity_is_elephants(events: EventTensor, name: str) -> None:
    np.testing.assert_allclose(getattr(spike_train_statistics(events), name)[0], ORACLE[name], rtol=1e-9)


def test_fano_factors_are_elephants_with_an_unbiased_variance(events: EventTensor) -> None:
    windows = ORACLE["steps"] // ORACLE["window"]
    biased = fano_factor(events, ORACLE["window"]) * (windows - 1) / windows
    np.testing.assert_allclose(biased, ORACLE["fano"], rtol=1e-12)


def test_correlations_are_elephants(events: EventTensor) -> None:
    np.testing.assert_allclose(count_correlation(events, ORACLE["window"]), ORACLE["correlation"], atol=1e-12)
