"""Networks to and from graphs of the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fsdecode, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.atomic import write_atomically
from neurosparse.checks import one_of, positive, whole
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import fold
from neurosparse.events.fold import Fold
from neurosparse.io._library import check_hdf5
from neurosparse.io.nir.graph import ChainNode, chain
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.io.nir.read import NIRReadOptions, as_modules, needs
from neurosparse.io.nir.write import METHODS, NOTES, WITHOUT_NODE, Discretization, as_nodes
from neurosparse.neurons import LIF, Readout, Surrogate

__all__ = ["describe", "read", "write"]

RESETS = ("subtract", "zero")
OWN = (LIF, Readout, Scale, Delay, nn.Linear, *WITHOUT_NODE)  # modules that accept (steps, samples, units)


def write(
    network: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    dt: float | None = None,
    input_shape: tuple[int, ...] | None = None,
    method: str = "exponential",
    unit_r: bool = False,
) -> Any:
    """A network as a NIR graph, and as a file.

    NIR describes neurons by differential equations, ``tau dv/dt = v_leak - v + r I``. One step here,
    ``u = beta u + I``, is one step of that equation with ``beta = exp(-dt / tau)`` (``method="exponential"``: exact for
    an input that is constant in the step) or ``beta = 1 - dt / tau`` (``"euler"``), and ``r = 1 / (1 - beta)``. NIR has
    no field for dt, method, reset by subtraction, a delayed reset, the exact constants and which of them were trained:
    these are in the nodes' metadata, which :func:`read` uses and other tools ignore. Surrogates are not kept.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear``, :class:`LIF`, :class:`Readout`, :class:`Scale`, :class:`Delay` and
            folds of convolutions, average (or sum) pooling and ``nn.Flatten``.
        path: HDF5 file to write (suffix ``.nir``), all of it or none of it; None: only return the graph.
        dt: seconds per step; default: that of the layers.
        input_shape: shape of the units; required where the first layer is not a ``nn.Linear``.
        method: ``"exponential"``, or ``"euler"``, which most other tools use.
        unit_r: write spiking neurons with ``r = 1`` (and ``w_in = 1``) and thresholds times ``1 - beta``, for tools
            that ignore ``r``, such as Norse.

    Returns:
        ``nir.NIRGraph``.

    Raises:
        InputError: what no node can express (adaptation, a refractory time, grouped convolutions, other modules); no
            ``dt``; no ``input_shape``.

    Example:
        >>> graph = write(nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9)), dt=1e-3)
        >>> sorted(graph.nodes), round(float(graph.nodes["lif_1"].tau[0]), 6)  # -1e-3 / log(0.9)
        (['affine_0', 'input', 'lif_1', 'output'], 0.009491)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing".
    """
    nir = importlib.import_module("nir")
    modules = list(_leaves(network))
    one_of("io.nir.write", "method", method, METHODS)
    discretization = Discretization(_common_dt(modules, dt), method, bool(unit_r))
    shape = _input_shape(modules, input_shape)
    nodes, edges, last = {"input": nir.Input(input_type=np.array(shape))}, [], "input"
    for number, module in enumerate(modules):
        part = as_nodes(module, shape, discretization)
        for place, node in enumerate(part.chain):
            name = f"{type(node).__name__.lower()}_{number}" + f".{place}" * (len(part.chain) > 1)
            if part.recurrent is not None:
                nodes[f"{name}.w_rec"] = part.recurrent
                edges += [(f"{name}.lif", f"{name}.w_rec"), (f"{name}.w_rec", f"{name}.lif")]
                name = f"{name}.lif"
            edges.append((last, name))
            nodes[name], last = node, name
        shape = _shape_after(module, shape)
    nodes["output"] = nir.Output(output_type=np.array(shape))
    graph = nir.NIRGraph(nodes=nodes, edges=[*edges, (last, "output")])
    if path is not None:
        buffer = io.BytesIO()
        nir.write(buffer, graph)
        write_atomically(path, buffer.getvalue(), "io.nir.write")
    return graph


def read(
    source: Any,
    *,
    dt: float | None = None,
    method: str | None = None,
    reset: str | None = None,
    delayed_reset: bool | None = None,
    surrogate: Surrogate | Callable[[Tensor], Tensor] | None = None,
) -> nn.Sequential:
    """A NIR graph as a network.

    A graph of :func:`write` is complete. A graph of another tool does not state the duration of a step, the method of
    integration and the kind of reset (NIR has a field for a reset to ``v_reset`` only; tools with a reset by
    subtraction write the same graph): they are required arguments and never guessed. ``r``, ``w_in`` and ``v_leak``
    are merged into the thresholds, ``(v_threshold - v_leak) / (r (1 - beta))``, and the membrane has their unit.
    Neurons start at rest. The synaptic current of a step drives the membrane in the same step; recurrent spikes arrive
    one step later.

    Args:
        source: path of a file, or a ``nir.NIRGraph``.
        dt: seconds per step.
        method: ``"exponential"`` or ``"euler"``, see :func:`write`.
        reset: ``"subtract"`` (by ``v_threshold - v_reset``) or ``"zero"`` (to ``v_reset``).
        delayed_reset: reset one step after the spike; NIR's own equations reset at once.
        surrogate: derivative of the spike in training, which no graph holds; default: arc tangent.

    Returns:
        A ``nn.Sequential`` with input ``(steps, samples, *units)``; modules for images are in folds.

    Raises:
        InputError: not a graph, a damaged file; a required argument that is missing or contradicts the notes in the
            graph; a graph that branches; neurons whose ``v_reset`` is not their rest; delays that are not whole steps.

    Example:
        >>> network = nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9, delayed_reset=True))
        >>> read(write(network, dt=1e-3))[1]
        LIF(beta=0.9, threshold=1, reset='subtract', atan(alpha=2), delayed reset)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing".
    """
    where = "io.nir.read"
    dt = None if dt is None else positive(where, "dt", dt, unit="seconds")
    for name, value, known in (("method", method, METHODS), ("reset", reset, RESETS)):
        if value is not None:
            one_of(where, name, value, known)
    delayed_reset = None if delayed_reset is None else bool(delayed_reset)
    options = NIRReadOptions(dt, method, reset, delayed_reset, surrogate)
    nodes = chain(_graph(source))
    missing = sorted({need for each in nodes for need in needs(each.node) if getattr(options, need) is None})
    if missing:
        fix = "They depend on the tool that wrote it; snnTorch writes dt=1e-4, method='euler', and either reset."
        got = "a graph that does not state " + ", ".join(missing)
        raise InputError(where, got=got, expected=f"the arguments {', '.join(missing)}", fix=fix)
    modules = [module for each in nodes for module in _modules(each, options)]
    layers: list[nn.Module] = []
    for module in modules:
        if isinstance(module, OWN):
            layers.append(module)
        elif layers and isinstance(layers[-1], Fold):
            layers[-1].append(module)
        else:
            layers.append(fold(module))
    return nn.Sequential(*layers)


def describe(source: Any) -> dict[str, Any]:
    """The nodes of a graph, and the arguments that :func:`read` needs for it.

    Args:
        source: path of a file, or a ``nir.NIRGraph``.

    Returns:
        ``nodes``: ``(name, type, shape of its output, noted dt, method and reset)`` in the order of the signal;
        ``needs``: names of required arguments of :func:`read`.

    Raises:
        InputError: not a graph, or one that branches.

    Example:
        >>> found = describe(write(nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9)), dt=1e-3))
        >>> found["nodes"][1], found["needs"]
        (('lif_1', 'LIF', (4,), {'dt': 0.001, 'method': 'exponential', 'reset': 'subtract'}), [])
    """
    found, nodes = chain(_graph(source)), []
    for each in found:
        notes, shape = each.node.metadata.get(NOTES, {}), each.node.output_type["output"]
        known = {name: notes[name] for name in ("dt", "method", "reset") if name in notes}
        size = None if shape is None else tuple(int(n) for n in shape)
        nodes.append((each.name, type(each.node).__name__, size, known))
    return {"nodes": nodes, "needs": sorted({need for each in found for need in needs(each.node)})}


def _graph(source: Any) -> Any:
    nir = importlib.import_module("nir")
    if isinstance(source, nir.NIRGraph):
        return source
    try:
        path = fspath(source)
        open(path, "rb").close()
    except TypeError:
        got = type(source).__name__
        raise InputError("io.nir.read", got=got, expected="a path or a nir.NIRGraph") from None
    except OSError as error:
        raise MissingFileError("io.nir.read", got=f"{source}", expected=f"a file ({error.strerror})") from None
    try:
        check_hdf5("io.nir.read", Path(fsdecode(path)), room=1 << 29)  # weights of a pruned network compress well
        found = nir.read(path)
    except InputError:
        raise
    except Exception as error:  # h5py and nir raise errors of many types
        fix = "For a graph that nir itself refuses, pass nir.read(path, type_check=False)."
        raise InputError("io.nir.read", got=f"{path} ({error})", expected="a NIR graph", fix=fix) from error
    return found


def _modules(each: ChainNode, options: NIRReadOptions) -> list[nn.Module]:
    try:
        return as_modules(each.name, each.node, options, each.recurrent)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # damaged notes or arrays
        got = f"node {each.name!r} ({type(error).__name__}: {error})"
        raise InputError("io.nir.read", got=got, expected="a valid node") from error


def _leaves(network: nn.Module, folded: bool = False) -> Iterator[nn.Module]:
    """Layers in order; modules for images must be in a fold."""
    if isinstance(network, nn.Sequential):
        for module in network:
            yield from _leaves(module, folded or isinstance(network, Fold))
    elif folded or isinstance(network, OWN):
        yield network
    else:
        got = type(network).__name__
        expected = "a nn.Sequential of Linear, LIF, Readout, Scale, Delay and folds"
        raise InputError("io.nir.write", got=got, expected=expected, fix="Modules for images go into ns.fold(...).")


def _common_dt(modules: list[nn.Module], dt: float | None) -> float:
    found = {module.dt for module in modules if isinstance(module, LIF) and module.dt is not None}
    dt = None if dt is None else positive("io.nir.write", "dt", dt, unit="seconds")
    if len(found | ({dt} - {None})) != 1:
        got = f"dt={dt} and layers with dt {sorted(found)}"
        raise InputError(
            "io.nir.write", got=got, expected="one number of seconds per step", fix="Pass dt=, for example 1e-3."
        )
    return dt or found.pop()


def _input_shape(modules: list[nn.Module], given: Any) -> tuple[int, ...]:
    first = next((module for module in modules if not isinstance(module, WITHOUT_NODE)), None)
    if given is None and isinstance(first, nn.Linear):
        return (first.in_features,)
    fix = "Pass the shape of the units, such as input_shape=(channels, height, width)."
    if not isinstance(given, Iterable) or not (shape := tuple(given)):
        raise InputError("io.nir.write", got=f"input_shape={given!r}", expected="whole numbers", fix=fix)
    return tuple(whole("io.nir.write", "input_shape", n, fix=fix) for n in shape)


def _shape_after(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(module, (LIF, Readout, Scale, Delay)):
        return shape
    weight = next(module.parameters(), None)
    with torch.no_grad():
        return tuple(module(torch.zeros(1, *shape, dtype=None if weight is None else weight.dtype)).shape[1:])
