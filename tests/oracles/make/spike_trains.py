"""Irregularity, Fano factors and correlations of spike trains by Elephant: tests/oracles/spike_trains.json.

Elephant needs another version of numpy: run in an environment of its own, pip install elephant==1.1.1
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import correlation_coefficient
from elephant.statistics import cv, cv2, fanofactor, isi, lv, time_histogram
from neo import SpikeTrain

STEPS, DT, WINDOW = 1000, 1e-3, 50  # steps, seconds, steps


def trains() -> list[np.ndarray]:
    """Steps of spikes: gamma processes of several orders, the last two with a common source."""
    random = np.random.RandomState(7)
    made = [np.cumsum(np.ceil(random.gamma(order, 30 / order, 80))).astype(int) for order in (1, 2, 5, 20)]
    common = np.flatnonzero(random.random_sample(STEPS) < 0.03)
    made += [np.union1d(common, np.flatnonzero(random.random_sample(STEPS) < 0.02)) for _ in range(2)]
    return [train[train < STEPS] for train in made]


def main(path: Path) -> None:
    steps = trains()
    neo = [SpikeTrain(train * DT * 1000, units="ms", t_stop=STEPS * DT * 1000) for train in steps]
    intervals = [isi(train).rescale("s").magnitude for train in neo]
    window = WINDOW * DT * 1000 * pq.ms
    counts = [time_histogram([train], window, output="counts").magnitude[:, 0] for train in neo]
    found = {
        "versions": {"elephant": version("elephant"), "neo": version("neo")},
        "steps": STEPS,
        "dt": DT,
        "window": WINDOW,
        "trains": [train.tolist() for train in steps],
        "cv": [float(cv(each)) for each in intervals],
        "cv2": [float(cv2(each)) for each in intervals],
        "lv": [float(lv(each)) for each in intervals],
        "fano": [_fano(each) for each in counts],
        "correlation": correlation_coefficient(BinnedSpikeTrain(neo, bin_size=window)).tolist(),
    }
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")


def _fano(counts: np.ndarray) -> float:
    """Elephant's Fano factor of trials, one for each window; its variance is the biased one."""
    trials = [SpikeTrain(np.arange(count) + 0.5, units="ms", t_stop=1000) for count in counts]
    return float(fanofactor(trials))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
