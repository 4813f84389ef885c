"""What drives a network, and what changes in it, as arrays of the compiled loop."""

from __future__ import annotations

import numpy as np

from neurosparse.events import EventTensor
from neurosparse.kernels.network.draw import stream_key
from neurosparse.kernels.network.plasticity import Plastic
from neurosparse.kernels.network.run import Noise
from neurosparse.simulate.drawn import ROWS, Connections, Drawn, per_neuron
from neurosparse.simulate.state import State

__all__ = ["noise", "plastic"]


def noise(drawn: Drawn, seed: int) -> Noise:
    """Streams of random numbers, keyed by ``seed``, and recorded spikes."""
    places = {p.name: q for q, p in enumerate(drawn.populations)}
    keys = np.array([stream_key(seed, q) for q in range(len(places))], dtype=np.uint64)
    base, steps = np.zeros(len(places), dtype=np.int64), np.zeros(len(places), dtype=np.int64)
    pointers, indices, at, n_events = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int32)], 0, 0
    for q, p in enumerate(drawn.populations):
        if isinstance(p.model, EventTensor):
            base[q], steps[q] = at, p.model.shape[0]
            pointers.append(p.model.row_ptr.cpu().numpy().astype(np.int64) + n_events)
            indices.append(p.model.index.cpu().numpy().astype(np.int32))
            at, n_events = at + len(pointers[-1]), n_events + len(indices[-1])
    means = [per_neuron("Network.drive", "rate", d.source.mean(drawn.dt), d.target.size) for d in drawn.drives]
    return Noise(
        keys,
        base,
        steps,
        np.concatenate(pointers),
        np.concatenate(indices),
        np.array([places[d.target.name] for d in drawn.drives], dtype=np.int64),
        np.array([ROWS[d.receptor] for d in drawn.drives], dtype=np.int64),
        np.array([d.weight for d in drawn.drives], dtype=np.float64),
        np.array([stream_key(seed, len(places) + d) for d in range(len(means))], dtype=np.uint64),
        np.cumsum([0, *(len(mean) for mean in means)])[:-1].astype(np.int64),
        np.concatenate([np.zeros(0), *means]),
    )


def plastic(drawn: Drawn, state: State, bounds: np.ndarray, order: tuple[np.ndarray | None, ...]) -> Plastic:
    """Plastic projections, with the traces of a state."""
    begins = np.cumsum([0, *(len(c.target) for c in drawn.connections)])[:-1]
    tables = [
        _table(drawn, state, c, int(begin), o, bounds)
        for c, begin, o in zip(drawn.connections, begins, order, strict=True)
        if c.projection.plasticity is not None
    ]
    scalars = [[table[k] for table in tables] for k in range(13)]
    own = np.array([table[13] for table in tables], dtype=np.int64).reshape(len(tables), len(bounds) - 1, 4)
    arrays = [[table[k] for table in tables] for k in range(14, 20)]
    before, after, into, entry, sources, delays = arrays
    kinds = [np.int64] * 4 + [np.float64] * 6 + [np.int64] * 3
    offsets = [np.cumsum([0, *map(len, parts)])[:-1].astype(np.int64) for parts in (before, after, into)]
    starts = np.cumsum([0, *map(len, entry)])[:-1]
    into = [part + start for part, start in zip(into, starts, strict=True)]
    floats, integers = np.zeros(0), np.zeros(0, dtype=np.int64)
    joined = [np.concatenate([floats, *part]) for part in (before, after)]
    joined += [np.concatenate([integers, *part]) for part in (into, entry, sources, delays)]
    columns = [np.array(column, dtype=kind) for column, kind in zip(scalars, kinds, strict=True)]
    return Plastic(*columns, own, *offsets, *joined)  # pyright: ignore[reportCallIssue]


def _table(
    drawn: Drawn, state: State, c: Connections, begin: int, order: np.ndarray | None, bounds: np.ndarray
) -> tuple:
    rule, source, target = c.projection.plasticity, c.projection.source, c.projection.target
    assert rule is not None
    places = {p.name: q for q, p in enumerate(drawn.populations)}
    keep = np.exp(-drawn.dt / rule.tau_rise), np.exp(-drawn.dt / rule.tau_fall)
    before, after = state.traces[c.projection.name]
    own = np.stack([np.clip(edge - p.start, 0, p.size) for p in (source, target) for edge in (bounds[:-1], bounds[1:])])
    n = len(c.target)
    of_source = np.repeat(np.arange(source.size), np.diff(c.row_pointer))
    delay = np.broadcast_to(c.delay, (n,))
    place = np.arange(n) if order is None else np.argsort(order)  # in memory, of each synapse as drawn
    by_target = np.argsort(c.target, kind="stable")
    into = np.concatenate([[0], np.cumsum(np.bincount(c.target - np.uint32(target.start), minlength=target.size))])
    return (
        *(places[source.name], places[target.name], source.start, target.start),
        *(rule.rise, rule.fall, *keep, rule.low, rule.high),
        *(int(rule.scaled), source.size, len(before)),
        own.T,
        *(before.ravel(), after, into, begin + place[by_target], of_source[by_target], delay[by_target]),
    )
