"""A trained network as a readable Brian 2 script, with its numbers in an ``.npz`` file."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurosparse.atomic import write_together
from neurosparse.errors import InputError
from neurosparse.events import EventTensor, dense_of
from neurosparse.events.checks import valid_rows
from neurosparse.io.brian2.layers import ExportedLayer, layers_of, outputs_of
from neurosparse.io.brian2.text import script

__all__ = ["write"]


def write(network: nn.Sequential, path: str | PathLike[str], inputs: EventTensor) -> Path:
    """Write a trained network as a Brian 2 script with the same spikes: both of its files, or none.

    ``digits.py`` needs Brian 2, numpy and ``digits.npz`` in the same folder: weights, input spikes, and the spikes of
    every layer in torch. ``python digits.py [numpy | cython | cpp_standalone]`` simulates the network and prints how
    many spikes differ. It computes in float64; its spikes are those of ``network.double().eval()``.

    Args:
        network: ``nn.Sequential`` of linear layers, convolutions, average pooling and batch norms (in a fold or not),
            :class:`LIF` of every kind, and at the end a readout or a linear layer.
        path: the script to write, with suffix ``.py``; the numbers are written to the same name with ``.npz``.
        inputs: events ``(steps, samples, *units)`` with ``dt``, spikes or graded. One simulation contains a copy of
            the network for every sample; its clock is 0 at the first step, whatever the ``t0`` of the events.

    Returns:
        The path of the script.

    Raises:
        InputError: modules or dynamics that the script cannot express, inputs without ``dt`` or with sub-step times, a
            path that is no ``NAME.py``, files that cannot be written.

    Example:
        >>> import tempfile
        >>> from neurosparse.neurons import LIF, poisson
        >>> spikes = poisson(torch.full((1, 8), 0.5), steps=20, dt=1e-3)
        >>> path = write(nn.Sequential(nn.Linear(8, 4), LIF(beta=0.9)), tempfile.mkdtemp() + "/net.py", spikes)
        >>> sorted(file.name for file in path.parent.iterdir())
        ['net.npz', 'net.py']

    Source: Stimberg, Brette & Goodman 2019, "Brian 2, an intuitive and efficient neural simulator", eLife 8:e47314.
    """
    where, path = "io.brian2.write", Path(path)
    if not isinstance(inputs, EventTensor):
        fix = "Use EventTensor.from_dense(x, dt=1e-3)."
        raise InputError(where, got=type(inputs).__name__, expected="an EventTensor", fix=fix)
    if inputs.axis != "time" or inputs.dt is None:
        fix = "Pass dt= where the events are built, for example 1e-3."
        raise InputError(where, got=f"axis={inputs.axis!r}, dt={inputs.dt}", expected="inputs in seconds", fix=fix)
    if path.suffix != ".py" or path.resolve() == path.with_suffix(".npz").resolve():
        raise InputError(where, got=path.name, expected="a name that ends in .py", fix="For example network.py.")
    layers = layers_of(where, network, tuple(inputs.shape[2:]), inputs.dt)
    numbers: dict[str, Any] = _inputs(inputs) | _numbers(layers) | _outputs(network, layers, inputs)
    content = io.BytesIO()
    np.savez_compressed(content, **numbers)
    write_together({path.with_suffix(".npz"): content.getvalue(), path: script(layers, inputs).encode()}, where)
    return path


def _inputs(inputs: EventTensor) -> dict[str, np.ndarray]:
    """Step and neuron of the input spikes, or the values of graded inputs (one step, if they are constant)."""
    inputs = inputs.detach().to("cpu")
    kept = {} if inputs.lengths is None else {"lengths": inputs.lengths.numpy()}
    if inputs.binary:
        return kept | {"input_spikes": _spikes(inputs)}
    dense = inputs.dense().flatten(2).double()
    return kept | {"input": (dense[:1] if inputs.constant else dense).numpy()}


def _spikes(events: EventTensor) -> np.ndarray:
    """Two rows, step and neuron of each spike; sample ``s`` has neurons ``s * n_units`` and up."""
    step, sample, unit, _ = events.aer()
    return torch.stack([step, sample * events.n_units + unit]).int().numpy()


def _numbers(layers: list[ExportedLayer]) -> dict[str, np.ndarray]:
    """Connections, biases and constants that differ between neurons."""
    found: dict[str, Any] = {}
    for source, layer in zip(["inputs", *(each.name for each in layers)], layers, strict=False):
        paths = {f"{source}_to_{layer.name}": layer.forward, f"{layer.name}_to_itself": layer.recurrent}
        for name, path in paths.items():
            if path is not None:
                found |= {f"{name}_pre": path.pre.astype(np.int32), f"{name}_post": path.post.astype(np.int32)}
                found[f"{name}_weight"] = path.weight
        found |= {f"{layer.name}_{name}": value for name, value in layer.arrays.items()}
    return found


def _outputs(network: nn.Sequential, layers: list[ExportedLayer], inputs: EventTensor) -> dict[str, np.ndarray]:
    """Spikes of every layer in torch; of a readout its membranes ``(steps, neurons)``, NaN after a sample's end."""
    found, ended = {}, ~valid_rows(inputs.timing, inputs.shape)
    for layer, out in zip(layers, outputs_of(network, inputs), strict=True):
        if isinstance(out, EventTensor):
            found[f"{layer.name}_spikes"] = _spikes(out)
        else:
            membrane = dense_of(out).flatten(2)
            membrane[ended.cpu()] = torch.nan
            found[f"{layer.name}_membrane"] = membrane.flatten(1).numpy()
    return found
