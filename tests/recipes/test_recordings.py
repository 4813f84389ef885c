"""From a recording to a sparsity figure in five lines: NWB, neo, Brian2; the counts are numpy's own."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import neo
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

import neurosparse as ns

RECIPES = {
    "nwb": """
import neurosparse as ns
spikes, units = ns.io.nwb.read("session.nwb", dt=1e-3)
responses = spikes.bin(500, on_collision="sum").dense()[:, 0]  # spikes in each half second: (stimuli, units)
axes = ns.plot.sparsity(ns.sparsity(responses))
axes.figure.savefig("sparsity.svg")
""",
    "neo": """
import neo, neurosparse as ns
block = neo.io.PickleIO("block.pkl").read_block()  # any of neo's formats; its segments are the stimuli
spikes, units = ns.io.neo.read(block, dt=1e-3)
axes = ns.plot.sparsity(ns.sparsity(spikes))
axes.figure.savefig("sparsity.svg")
""",
    "brian2": """
import neurosparse as ns
spikes = ns.io.brian2.read(monitor, dt=1e-3, duration=4.0)
responses = spikes.bin(500, on_collision="sum").dense()[:, 0]
axes = ns.plot.sparsity(ns.sparsity(responses))
axes.figure.savefig("sparsity.svg")
""",
}
STIMULI, UNITS, SECONDS = 8, 5, 0.5


def recorded() -> tuple[np.ndarray, np.ndarray]:
    """Times and units; the fifth unit is silent, all units are silent during the last stimulus."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, (STIMULI - 1) * SECONDS, 120))
    return times, rng.choice(UNITS - 1, 120, p=[0.7, 0.2, 0.05, 0.05])


def as_nwb(times: np.ndarray, units: np.ndarray) -> dict:
    options = {"n_units": UNITS, "dt": 1e-3, "duration": STIMULI * SECONDS}
    events = ns.EventTensor.from_times(torch.from_numpy(times), torch.from_numpy(units), **options)
    ns.io.nwb.write(events, "session.nwb", datetime(2020, 1, 1, tzinfo=UTC))
    return {}


def as_neo(times: np.ndarray, units: np.ndarray) -> dict:
    neo.io.PickleIO("block.pkl").write(blocks(times, units))
    return {}


def blocks(times: np.ndarray, units: np.ndarray) -> neo.Block:
    block = neo.Block()
    for stimulus in range(STIMULI):
        segment, since = neo.Segment(), times - stimulus * SECONDS
        now = (since >= 0) & (since < SECONDS)
        for unit in range(UNITS):
            mine = 1000 * since[now & (units == unit)]
            segment.spiketrains.append(neo.SpikeTrain(mine, units="ms", t_stop=1000 * SECONDS))
        block.segments.append(segment)
    return block


def as_brian2(times: np.ndarray, units: np.ndarray) -> dict:
    return {"monitor": SimpleNamespace(i=units, t=times, source=range(UNITS))}


@pytest.mark.parametrize(("name", "made"), [("nwb", as_nwb), ("neo", as_neo), ("brian2", as_brian2)])
def test_five_lines_to_a_sparsity_figure(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times, units = recorded()
    counts = np.histogram2d(times, units, [np.arange(STIMULI + 1) * SECONDS, np.arange(UNITS + 1)])[0]
    a = counts.mean(0) ** 2 / (counts**2).mean(0).clip(1e-9)
    lifetime = (1 - a[:-1]) / (1 - 1 / STIMULI)
    assert len(RECIPES[name].strip().splitlines()) == 5
    scope = made(times, units)
    exec(RECIPES[name], scope)
    assert scope["spikes"].n_events == len(times)
    axes = scope["axes"]
    assert axes.get_legend_handles_labels()[1] == [
        "lifetime, 4 units (1 silent left out)",
        "population, 7 stimuli (1 silent left out)",
    ]
    assert axes.lines[0].get_xdata()[0] == pytest.approx(lifetime.mean())
    assert Path("sparsity.svg").read_text().rstrip().endswith("</svg>")
    plt.close("all")


def test_stimuli_shown_at_any_time():
    """Where stimuli do not follow each other at one pace: the counts of each interval."""
    times, units = recorded()
    intervals = [(0.1, 0.35), (0.4, 1.9), (1.85, 2.0)]
    spikes = ns.EventTensor.from_times(torch.from_numpy(times), torch.from_numpy(units), n_units=UNITS, dt=1e-3)
    responses = torch.cat([spikes.steps(round(start / 1e-3), round(stop / 1e-3)).counts() for start, stop in intervals])
    for row, (start, stop) in zip(responses, intervals, strict=True):
        inside = (times >= start) & (times < stop)
        assert row.tolist() == np.bincount(units[inside], minlength=UNITS).tolist()


def test_real_recordings(shared_data):
    """Cells of a rat's head direction system, and of a cockroach's antennal lobe that smells."""
    spikes, units = ns.io.nwb.read(shared_data("neuro/A8604-211122.nwb"), dt=1e-3)
    s = ns.sparsity(spikes.bin(1000, on_collision="sum").dense()[:, 0])
    assert len(units) == 3 and s.silent_units == 0
    with np.load(shared_data("neuro/star_spike_trains.npz")) as trains:
        names = sorted({key.split("/stim")[0] for key in trains if key.startswith("CAL1V/") and "/stim" in key})
        block = neo.Block()
        for stimulus in range(1, 21):
            block.segments.append(neo.Segment())
            for name in names:
                train = neo.SpikeTrain(trains[f"{name}/stim. {stimulus}"], units="s", t_stop=11.0, name=name)
                block.segments[-1].spiketrains.append(train)
    spikes, units = ns.io.neo.read(block, dt=1e-3)
    assert units == names and spikes.shape == (11_000, 20, len(names))
    assert spikes.counts().sum() == sum(len(t) for segment in block.segments for t in segment.spiketrains)
    assert 0 <= ns.sparsity(spikes).vinje_gallant.mean().population < 1
