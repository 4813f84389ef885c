"""Nodes of a NIR graph in the order of the signal, with subgraphs expanded and loops of one layer resolved."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any, NamedTuple

from neurosparse.errors import InputError

__all__ = ["ChainNode", "chain"]

WHERE = "io.nir.read"
Edges = list[tuple[str, str]]


class ChainNode(NamedTuple):
    """A node of the chain, and the node of its recurrent weights (None: not recurrent)."""

    name: str
    node: Any
    recurrent: Any = None


def chain(graph: Any) -> list[ChainNode]:
    """Nodes between the input and the output, in order.

    Raises:
        InputError: several inputs or outputs, branches, loops over more than one layer.
    """
    nir = importlib.import_module("nir")
    nodes, edges = _expanded(graph)
    ends = {kind: [k for k, node in nodes.items() if isinstance(node, kind)] for kind in (nir.Input, nir.Output)}
    if [len(found) for found in ends.values()] != [1, 1]:
        got = f"{len(ends[nir.Input])} inputs and {len(ends[nir.Output])} outputs"
        raise InputError(WHERE, got=got, expected="one input and one output")
    loops = {a: b for a, b in edges if (b, a) in edges and a != b and _only(edges, b) == (a, a)}
    edges = [(a, b) for a, b in edges if a not in loops.values() and b not in loops.values()]
    ways = [Counter(edge[side] for edge in edges) for side in (0, 1)]
    branching = sorted({name for counts in ways for name, count in counts.items() if count > 1})
    if branching:
        fix = "Supported are chains of layers, each of which may be recurrent."
        raise InputError(WHERE, got=f"a graph that branches at {', '.join(branching)}", expected="a chain", fix=fix)
    follows, at, found = dict(edges), ends[nir.Input][0], []
    while at in follows and len(found) <= len(nodes):
        at = follows[at]
        found.append(ChainNode(at, nodes[at], nodes.get(loops.get(at, ""))))
    if not found or found.pop().name != ends[nir.Output][0] or len(found) + 2 + len(loops) != len(nodes):
        lost = sorted(set(nodes) - {each.name for each in found} - set(loops.values()) - {e[0] for e in ends.values()})
        got = f"nodes that are on no path from input to output: {lost}"
        raise InputError(WHERE, got=got, expected="a chain of all nodes")
    return found


def _only(edges: Edges, name: str) -> tuple[str, str] | None:
    """The source and the target of a node that has one of each."""
    sources, targets = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
    return (sources[0], targets[0]) if len(sources) == len(targets) == 1 else None


def _expanded(graph: Any) -> tuple[dict[str, Any], Edges]:
    """Nodes and edges with every subgraph replaced by its content."""
    nir = importlib.import_module("nir")
    nodes, edges = {}, [(str(a), str(b)) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _expanded(node)
        ends = {kind: {k for k, part in inner.items() if isinstance(part, kind)} for kind in (nir.Input, nir.Output)}
        entries = [b for a, b in inner_edges if a in ends[nir.Input]]
        exits = [a for a, b in inner_edges if b in ends[nir.Output]]
        kept = set(inner) - ends[nir.Input] - ends[nir.Output]
        nodes |= {f"{name}.{k}": inner[k] for k in kept}
        edges = [
            (source, target)
            for a, b in edges
            for source in ([f"{name}.{k}" for k in exits] if a == name else [a])
            for target in ([f"{name}.{k}" for k in entries] if b == name else [b])
        ]
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges if a in kept and b in kept]
    return nodes, edges
