"""The order in which a signal passes the nodes of a NIR graph; subgraphs are opened, loops of one layer are found."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any, NamedTuple

from neurosparse.errors import InputError

__all__ = ["Step", "chain"]

WHERE = "io.nir.read"
Edges = list[tuple[str, str]]


class Step(NamedTuple):
    """A node, and the node between its spikes and its own input."""

    name: str
    node: Any
    returning: Any = None


def chain(graph: Any) -> list[Step]:
    """Nodes between the one input and the one output, in order.

    Raises:
        InputError: several inputs or outputs, branches, loops over more than one layer.
    """
    nir = importlib.import_module("nir")
    nodes, edges = _opened(graph)
    ends = {kind: [k for k, node in nodes.items() if isinstance(node, kind)] for kind in (nir.Input, nir.Output)}
    if [len(found) for found in ends.values()] != [1, 1]:
        got = f"{len(ends[nir.Input])} inputs and {len(ends[nir.Output])} outputs"
        raise InputError(WHERE, got=got, expected="one input and one output")
    loops = {a: b for a, b in edges if (b, a) in edges and a != b and _only(edges, b) == (a, a)}
    edges = [(a, b) for a, b in edges if a not in loops.values() and b not in loops.values()]
    ways = [Counter(edge[side] for edge in edges) for side in (0, 1)]
    branching = sorted({name for counts in ways for name, count in counts.items() if count > 1})
    if branching:
        fix = "Only chains, with loops of one layer, are read."
        raise InputError(WHERE, got=f"a graph that branches at {', '.join(branching)}", expected="a chain", fix=fix)
    follows, at, steps = dict(edges), ends[nir.Input][0], []
    while at in follows and len(steps) <= len(nodes):
        at = follows[at]
        steps.append(Step(at, nodes[at], nodes.get(loops.get(at, ""))))
    if not steps or steps.pop().name != ends[nir.Output][0] or len(steps) + 2 + len(loops) != len(nodes):
        lost = sorted(set(nodes) - {step.name for step in steps} - set(loops.values()) - {e[0] for e in ends.values()})
        raise InputError(WHERE, got=f"no way from input to output past {lost}", expected="a chain of all nodes")
    return steps


def _only(edges: Edges, name: str) -> tuple[str, str] | None:
    """Its one source and its one target."""
    sources, targets = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
    return (sources[0], targets[0]) if len(sources) == len(targets) == 1 else None


def _opened(graph: Any) -> tuple[dict[str, Any], Edges]:
    """Nodes and edges with every subgraph replaced by what is in it."""
    nir = importlib.import_module("nir")
    nodes, edges = {}, [(str(a), str(b)) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _opened(node)
        doors = {kind: {k for k, part in inner.items() if isinstance(part, kind)} for kind in (nir.Input, nir.Output)}
        entries = [b for a, b in inner_edges if a in doors[nir.Input]]
        exits = [a for a, b in inner_edges if b in doors[nir.Output]]
        kept = set(inner) - doors[nir.Input] - doors[nir.Output]
        nodes |= {f"{name}.{k}": inner[k] for k in kept}
        edges = [
            (source, target)
            for a, b in edges
            for source in ([f"{name}.{k}" for k in exits] if a == name else [a])
            for target in ([f"{name}.{k}" for k in entries] if b == name else [b])
        ]
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges if a in kept and b in kept]
    return nodes, edges
