"""Every public function of events counts a padded recording as the recording alone: no step beyond a length counts."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

import neurosparse as ns
from neurosparse.events import Timing, dense_of, with_timing

UNITS, DT = 4, 1e-3
MODULES = (
    "analysis",
    "baselines",
    "coding",
    "energy",
    "learning",
    "meter",
    "neurons",
    "plot",
    "predictive",
    "simulate",
)
TARGET = torch.tensor([1])


def currents(events: ns.EventTensor) -> Any:
    """A timed tensor that is not silent beyond the lengths."""
    return with_timing(events.dense() + 0.25 * torch.arange(1, UNITS + 1), events.timing)


def stimulus(events: ns.EventTensor) -> torch.Tensor:
    steps = torch.arange(len(events), dtype=torch.float64)
    return torch.stack([steps.cos(), steps.sin()], 1)[:, None]


def seeded(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(UNITS, 5), ns.LIF(beta=0.5), nn.Linear(5, 2), ns.neurons.Readout(0.5))


def eprop(events: ns.EventTensor) -> list[torch.Tensor]:
    network = seeded()
    network[0].bias.data.fill_(0.5)
    loss = ns.learning.eprop(network, events, torch.ones(len(events), 1, 2))
    return [loss, *(parameter.grad for parameter in network.parameters())]


def quantised(events: ns.EventTensor) -> torch.Tensor:
    net = nn.Sequential(nn.Linear(UNITS, 5), nn.ReLU(), nn.Linear(5, 2))
    torch.manual_seed(0)
    nn.init.uniform_(net[0].weight, -1, 0)
    nn.init.constant_(net[0].bias, 1.0)  # the largest activation is that of silence
    return torch.tensor(ns.baselines.quantise(net, 8, calibration=events)[2].input_grid)


def converted(events: ns.EventTensor) -> float:
    net = nn.Sequential(nn.Linear(UNITS, 5), nn.ReLU(), nn.Linear(5, 2))
    nn.init.constant_(net[0].weight, -0.5)
    nn.init.constant_(net[0].bias, 1.0)
    return float(ns.learning.convert(net, events)[1].constants()["threshold"])


def drawn(draw: Callable[[Any], Any]) -> list[Any]:
    ax = Figure().subplots()
    draw(ax)
    lines = [[np.asarray(line.get_xdata()), np.asarray(line.get_ydata())] for line in ax.lines]
    return [
        lines,
        [p.get_data()[0] for each in ax.figure.axes for p in each.patches if hasattr(p, "get_data")],
        ax.get_xlim(),
    ]


def cut(events: ns.EventTensor, result: Any) -> Any:
    """The steps of the first sample that are data."""
    steps = len(events) if events.lengths is None else int(events.lengths[0])
    return dense_of(result)[:steps]


def traced(events: ns.EventTensor) -> Any:
    return ns.LIF(beta=0.5).trace(currents(events))


FUNCTIONS: dict[str, Callable[[ns.EventTensor], Any]] = {
    "EventTensor.counts": lambda e: e.counts(),
    "EventTensor.rates": lambda e: e.rates(),
    "EventTensor.density": lambda e: e.density,
    "EventTensor.bin": lambda e: e.bin(2, "sum").counts(),
    "EventTensor.cumulate": lambda e: cut(e, e.cumulate()),
    "EventTensor.from_dense": lambda e: ns.EventTensor.from_dense(currents(e)).counts(),
    "analysis.count_correlation": lambda e: ns.analysis.count_correlation(e, 2),
    "analysis.fano_factor": lambda e: ns.analysis.fano_factor(e, 2),
    "analysis.spike_train_statistics": lambda e: ns.analysis.spike_train_statistics(e),
    "analysis.spike_triggered_average": lambda e: ns.analysis.spike_triggered_average(e, stimulus(e), 2),
    "analysis.spike_triggered_covariance": lambda e: ns.analysis.spike_triggered_covariance(e, stimulus(e), 2),
    "analysis.sparsity": lambda e: [
        ns.sparsity(ns.cat([e, e])),
        ns.sparsity(torch.cat([currents(e), currents(e) * 2], 1)),
    ],
    "analysis.window_counts": lambda e: ns.analysis.window_counts(e, 2),
    "baselines.quantise": quantised,
    "coding.kwta": lambda e: cut(e, ns.kwta(currents(e), 2)),
    "energy.storage_bits": lambda e: [
        ns.energy.storage_bits(x, name) for x in (e, currents(e)) for name in ("dense", "csr", "rle")
    ],
    "learning.activity_loss": lambda e: ns.learning.activity_loss(e, 0.2),
    "learning.convert": converted,
    "learning.eprop": eprop,
    "learning.first_spikes": lambda e: [ns.learning.first_spikes(x) for x in (e, with_timing(e.dense(), e.timing))],
    "learning.latency_loss": lambda e: ns.learning.latency_loss(e, TARGET),
    "learning.membrane_loss": lambda e: [
        ns.learning.membrane_loss(x, TARGET, over)
        for over in ("max", "mean", "last")
        for x in (currents(e), traced(e).membrane)
    ],
    "learning.rate_loss": lambda e: ns.learning.rate_loss(e, TARGET),
    "learning.stdp": lambda e: ns.learning.stdp(torch.full((UNITS, UNITS), 0.5), e, e),
    "learning.through_time": lambda e: cut(
        e, torch.cat([dense_of(y) for y in ns.learning.through_time(seeded(), e, 2)]).detach()
    ),
    "neurons.LIF": lambda e: [ns.LIF(0.5)(currents(e)).counts(), traced(e).events.counts(), cut(e, traced(e).membrane)],
    "neurons.Readout": lambda e: cut(e, ns.neurons.Readout(0.5)(currents(e))),
    "neurons.delay_lines": lambda e: ns.neurons.delay_lines(e, [0, 2]).counts(),
    "neurons.fuse": lambda e: ns.neurons.fuse(*seeded()[:2])(e).counts().detach(),
    "plot.raster": lambda e: drawn(lambda ax: ns.plot.raster(e, ax=ax, rates=2)),
    "plot.membrane": lambda e: drawn(lambda ax: ns.plot.membrane(traced(e), ax=ax)),
    "meter.record": lambda e: recorded(e),
}
#: What makes, holds or joins events, or compares networks that the other cases contain.
OTHERS = {"Recall", "Trace", "associative_memory", "cat", "compare"}


def recorded(events: ns.EventTensor) -> list[Any]:
    net = nn.Sequential(*seeded(), nn.Tanh(), ns.fold(nn.Linear(2, 2), nn.ReLU()))
    with torch.no_grad(), ns.record(net) as tape:
        net(events)
    return sorted(ns.count(tape).totals.items())


def same(a: Any, b: Any) -> None:
    if is_dataclass(a):
        for field in fields(a):
            same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    elif isinstance(a, str) or a is None:
        assert a == b
    else:
        np.testing.assert_allclose(np.asarray(dense_of(a)), np.asarray(dense_of(b)), rtol=1e-6, atol=1e-7)


def recording(steps: int, seed: int) -> torch.Tensor:
    return (torch.rand(steps, 1, UNITS, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


def padded(x: torch.Tensor, more: int) -> ns.EventTensor:
    """The recording, padded; with ``more=0`` the recording alone."""
    lengths = torch.tensor([len(x)]) if more else None
    return ns.EventTensor.from_dense(torch.cat([x, torch.zeros(more, 1, UNITS)]), dt=DT, lengths=lengths, spikes=True)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=4, deadline=None)
@given(st.integers(4, 9), st.integers(1, 5), st.integers(0, 2**16))
def test_padding_counts_nothing(name, steps, more, seed):
    x = recording(steps, seed)
    same(FUNCTIONS[name](padded(x, more)), FUNCTIONS[name](padded(x, 0)))


def test_every_public_function_of_events_is_here():
    """By the annotations of the arguments."""
    found = set()
    for module in MODULES:
        space = importlib.import_module(f"neurosparse.{module}")
        for name in dir(space):
            function = getattr(space, name)
            if name.startswith("_") or not callable(function) or inspect.isclass(function):
                continue
            if "EventTensor" in str(inspect.signature(function)).split("->")[0]:
                found.add(name)
    here = {name.split(".")[1] for name in FUNCTIONS}
    assert {"stdp", "kwta", "fano_factor"} <= found and not found - here - OTHERS


def test_samples_without_steps_have_no_say():
    lengths = torch.tensor([0, 3])
    x = torch.cat([torch.zeros(3, 1, UNITS), recording(3, 0)], 1)
    events = ns.EventTensor.from_dense(x, dt=DT, lengths=lengths, spikes=True)
    membrane = with_timing(torch.randn(3, 2, UNITS), Timing(lengths=lengths))
    for over in ("max", "mean", "last"):
        alone = ns.learning.membrane_loss(membrane.dense()[:, 1:], TARGET, over)
        both = ns.learning.membrane_loss(membrane, torch.tensor([0, 1]), over)
        torch.testing.assert_close(both, (alone + np.log(UNITS)) / 2)  # equal scores: log of the number of classes
    assert ns.learning.first_spikes(events)[0].tolist() == [0.0] * UNITS


def test_first_spikes_of_silent_samples_are_their_lengths():
    events = ns.EventTensor.from_dense(torch.zeros(9, 2, 1), lengths=torch.tensor([2, 9]), spikes=True)
    assert ns.learning.first_spikes(events).flatten().tolist() == [2.0, 9.0]


def test_trains_of_other_lengths_are_no_pairs():
    a, b = padded(recording(4, 0), 2), padded(recording(5, 0), 1)
    with pytest.raises(ns.InputError, match="different lengths"):
        ns.learning.stdp(torch.full((UNITS, UNITS), 0.5), a, b)
