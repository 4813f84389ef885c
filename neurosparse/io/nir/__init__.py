"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR), both ways, by the extra ``nir``."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.atomic import write_atomically
from neurosparse.errors import InputError, MissingFileError
from neurosparse.events import fold
from neurosparse.events.fold import Fold
from neurosparse.events.timing import check_dt
from neurosparse.io.nir import data as data
from neurosparse.io.nir.graph import Step, chain
from neurosparse.io.nir.modules import Delay as Delay
from neurosparse.io.nir.modules import Scale as Scale
from neurosparse.io.nir.read import Caller, as_modules, needs
from neurosparse.io.nir.write import METHODS, NOTES, WITHOUT_NODE, Clock, as_nodes
from neurosparse.neurons import LIF, Readout, Surrogate

__all__ = ["Delay", "Scale", "describe", "read", "write"]

RESETS = ("subtract", "zero")
OWN = (LIF, Readout, Scale, Delay, nn.Linear, *WITHOUT_NODE)  # these take (steps, samples, units) as they are


def write(
    network: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    dt: float | None = None,
    input_shape: tuple[int, ...] | None = None,
    method: str = "exponential",
    unit_r: bool = False,
) -> Any:
    """One of our networks as a NIR graph, and as a file.

    NIR describes neurons by differential equations, ``tau dv/dt = v_leak - v + r I``. A step of ours,
    ``u = beta u + I``, is one step of them with ``beta = exp(-dt / tau)`` (``method="exponential"``: exact where the
    input is held for the step) or ``beta = 1 - dt / tau`` (``"euler"``), and ``r = 1 / (1 - beta)``. What NIR has no
    field for (dt, method, reset by subtraction, a delayed reset, constants to the last bit, which of them were trained)
    is kept in the nodes' metadata, where :func:`read` finds it and other tools do not look. Surrogates are not kept.

    Args:
        network: ``nn.Sequential`` of ``nn.Linear``, :class:`LIF`, :class:`Readout`, :class:`Scale`, :class:`Delay` and
            folds of convolutions, average (or sum) pooling and ``nn.Flatten``.
        path: file to write (HDF5, by convention ``.nir``), atomically; None: only the graph.
        dt: seconds per step; default: that of the layers.
        input_shape: of one step of one sample; asked for where the first layer does not tell.
        method: ``"exponential"``, or ``"euler"``, which most other tools take a graph by.
        unit_r: write spiking neurons with ``r = 1`` (and ``w_in = 1``) and thresholds times ``1 - beta``, for tools
            that read no ``r``, such as Norse.

    Returns:
        ``nir.NIRGraph``.

    Raises:
        InputError: what no node can say (adaptation, a refractory time, grouped convolutions, other modules), no
            ``dt``, no ``input_shape``.

    Example:
        >>> graph = write(nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9)), dt=1e-3)
        >>> sorted(graph.nodes), round(float(graph.nodes["lif_1"].tau[0]), 6)  # -1e-3 / log(0.9)
        (['affine_0', 'input', 'lif_1', 'output'], 0.009491)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing".
    """
    nir = importlib.import_module("nir")
    modules = list(_leaves(network))
    clock = Clock(_common_dt(modules, dt), _one_of("write", "method", method, METHODS), bool(unit_r))
    shape = _input_shape(modules, input_shape)
    nodes, edges, last = {"input": nir.Input(input_type=np.array(shape))}, [], "input"
    for number, module in enumerate(modules):
        part = as_nodes(module, shape, clock)
        for place, node in enumerate(part.chain):
            name = f"{type(node).__name__.lower()}_{number}" + f".{place}" * (len(part.chain) > 1)
            if part.returning is not None:
                nodes[f"{name}.w_rec"] = part.returning
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
        write_atomically(path, buffer.getvalue())
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
    """A NIR graph as one of our networks.

    A graph of :func:`write` tells all by itself. Any other leaves open how long a step is, how equations become steps
    and how neurons are really reset (NIR knows a reset to ``v_reset`` only, and tools that subtract write the same
    graph): nothing is guessed, they are asked for. ``r``, ``w_in`` and ``v_leak`` are folded into the thresholds, whose
    unit the membrane then has: ``(v_threshold - v_leak) / (r (1 - beta))``; neurons start at rest. The synaptic current
    of a step drives the membrane of the same step; spikes return one step later.

    Args:
        source: path of a file, or a ``nir.NIRGraph``.
        dt: seconds per step.
        method: ``"exponential"`` or ``"euler"``, see :func:`write`.
        reset: ``"subtract"`` (by ``v_threshold - v_reset``) or ``"zero"`` (to ``v_reset``).
        delayed_reset: reset one step after the spike; NIR's own equations reset at once.
        surrogate: for training on, which no graph holds; default: arc tangent.

    Returns:
        ``nn.Sequential`` from ``(steps, samples, *units)``; modules for images are in folds.

    Raises:
        InputError: no graph, or a damaged file; something open that was not given, or that contradicts the graph's own
            notes; a graph that branches; neurons whose ``v_reset`` is not their rest; delays between two steps.

    Example:
        >>> network = nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9, delayed_reset=True))
        >>> read(write(network, dt=1e-3))[1]
        LIF(beta=0.9, threshold=1, reset='subtract', atan(alpha=2), delayed reset)

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing".
    """
    caller = Caller(check_dt("io.nir.read", dt), method, reset, delayed_reset, surrogate)
    for name, known in (("method", METHODS), ("reset", RESETS)):
        if getattr(caller, name) is not None:
            _one_of("read", name, getattr(caller, name), known)
    steps = chain(_graph(source))
    missing = sorted({need for step in steps for need in needs(step.node) if getattr(caller, need) is None})
    if missing:
        fix = "Its writer knows: snnTorch, for example, writes dt=1e-4, method='euler', and either reset."
        got = "a graph that does not say " + ", ".join(missing)
        raise InputError("io.nir.read", got=got, expected=f"{', '.join(missing)} from the caller", fix=fix)
    modules = [module for step in steps for module in _modules(step, caller)]
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
    """What a graph holds, and what :func:`read` would have to be told.

    Args:
        source: path of a file, or a ``nir.NIRGraph``.

    Returns:
        ``nodes``, ``(name, type, shape of its output, what its notes say of reset and step)`` in the order of the
        signal, and ``needs``, names of arguments of :func:`read`.

    Raises:
        InputError: no graph, or one that branches.

    Example:
        >>> found = describe(write(nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9)), dt=1e-3))
        >>> found["nodes"][1], found["needs"]
        (('lif_1', 'LIF', (4,), {'dt': 0.001, 'method': 'exponential', 'reset': 'subtract'}), [])
    """
    steps, told = chain(_graph(source)), ("dt", "method", "reset")
    nodes = []
    for step in steps:
        notes = step.node.metadata.get(NOTES, {})
        shape = step.node.output_type["output"]
        known = {name: notes[name] for name in told if name in notes}
        size = None if shape is None else tuple(int(n) for n in shape)
        nodes.append((step.name, type(step.node).__name__, size, known))
    return {"nodes": nodes, "needs": sorted({need for step in steps for need in needs(step.node)})}


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
        found = nir.read(path)
    except Exception as error:  # whatever h5py or nir trip over
        fix = "A graph whose types nir refuses can be read as nir.read(path, type_check=False) and given as it is."
        raise InputError("io.nir.read", got=f"{path} ({error})", expected="a NIR graph", fix=fix) from error
    return found


def _modules(step: Step, caller: Caller) -> list[nn.Module]:
    try:
        return as_modules(step.name, step.node, caller, step.returning)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # notes or arrays that no writer writes
        got = f"{step.name!r} ({type(error).__name__}: {error})"
        raise InputError("io.nir.read", got=got, expected="a node as it was written") from error


def _leaves(network: nn.Module, folded: bool = False) -> Iterator[nn.Module]:
    """Layers in order; those for images must stand in a fold, as they must to run."""
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
    dt = check_dt("io.nir.write", dt)
    if len(found | ({dt} - {None})) != 1:
        got = f"dt={dt} and layers with dt {sorted(found)}"
        raise InputError("io.nir.write", got=got, expected="one number of seconds per step", fix="Pass dt=1e-3.")
    return dt or found.pop()


def _input_shape(modules: list[nn.Module], given: tuple[int, ...] | None) -> tuple[int, ...]:
    first = next((module for module in modules if not isinstance(module, WITHOUT_NODE)), None)
    if given is None and isinstance(first, nn.Linear):
        return (first.in_features,)
    if not given or any(type(n) is not int or n < 1 for n in given):
        fix = "Pass input_shape=(channels, height, width), or (units,)."
        expected = "the shape of one step of one sample"
        raise InputError("io.nir.write", got=f"input_shape={given}", expected=expected, fix=fix)
    return tuple(given)


def _shape_after(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(module, (LIF, Readout, Scale, Delay)):
        return shape
    weight = next(module.parameters(), None)
    with torch.no_grad():
        return tuple(module(torch.zeros(1, *shape, dtype=None if weight is None else weight.dtype)).shape[1:])


def _one_of(function: str, name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InputError(f"io.nir.{function}", got=f"{name}={value!r}", expected=" or ".join(map(repr, known)))
    return value
