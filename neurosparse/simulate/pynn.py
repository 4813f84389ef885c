"""Export of a network as a PyNN script with the instance synapses, for example to run it in NEST under MPI."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from neurosparse.atomic import write_together
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.simulate.instance import Connections, NetworkInstance
from neurosparse.simulate.network import Network
from neurosparse.simulate.neurons import Neuron, PoissonSource

__all__ = ["to_pynn"]

RESULT = "spikes.npz"

HEAD = '''"""Written by neurosparse. Run: python SCRIPT [nest], or mpirun -n 4 python SCRIPT nest.

The synapses are in the .npz file of the same name.

Units of PyNN are milliseconds, millivolts, nanofarads. The capacity in nanofarads equals the membrane time constant
in milliseconds, so that a weight in nanoamperes equals one in millivolts. A spike has the time at the end of its step.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

name = sys.argv[1] if len(sys.argv) > 1 else "nest"
sim = importlib.import_module("pyNN." + name)
data = np.load(Path(__file__).with_suffix(".npz"))
rank = sim.setup(timestep={dt!r}, min_delay={shortest!r}, max_delay={longest!r}, spike_precision="on_grid")
populations = {{}}
'''

TAIL = """
for population in populations.values():
    population.record("spikes")
sim.run({duration!r})
found = {{}}
for label, population in populations.items():
    trains = population.get_data("spikes").segments[0].spiketrains
    times = [np.asarray(train.rescale("ms").magnitude) for train in trains]
    units = [np.full(len(t), train.annotations["source_index"]) for t, train in zip(times, trains)]
    step = np.rint(np.concatenate([[], *times]) / {dt!r}).astype(np.int64) - 1
    found[label + " step"], found[label + " unit"] = step, np.concatenate([[], *units]).astype(np.int64)
if rank == 0:
    np.savez(Path(__file__).with_name("{result}"), **found)
sim.end()
"""


def to_pynn(network: Network, path: str | PathLike[str], seconds: Any) -> Path:
    """Write a network as a PyNN script, and its synapses as arrays in a file beside it: both files, or none.

    In NEST, networks of `lif` with recorded input fire the same spikes in float64. Poisson populations and drives
    become sources of NEST, with other spikes of the same rate; `conductance_lif` is integrated by NEST's own method:
    these agree in statistics. The script writes ``spikes.npz``: by population ``"NAME step"`` and ``"NAME unit"``, in
    the steps of this network.

    Args:
        network: the network; its synapses come from its seed.
        path: of the script, ``NAME.py``; the arrays go to ``NAME.npz``.
        seconds: duration of the script's run, in steps as in ``Network.run``.

    Returns:
        the path of the script.

    Raises:
        InputError: what PyNN's models do not express: plasticity as in `stdp`, `delta_lif` (NEST and Brian2 lose
            different arrivals at the end of a refractory time), inhibitory currents above 0, excitatory currents below
            0, recorded spikes before the shortest delay has passed; a path that is no ``NAME.py``, or of which one
            file would overwrite the other; files that cannot be written.

    Example:
        >>> import tempfile
        >>> from neurosparse import simulate
        >>> net = Network(dt=1e-4)
        >>> cells = net.population("cells", 10, simulate.lif(bias=20e-3))
        >>> loop = net.connect(cells, cells, simulate.fixed_in_degree(3), weight=1e-4, delay=1.5e-3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     script = to_pynn(net, folder + "/net.py", 0.1)
        ...     "FromListConnector" in script.read_text()
        True

    Source: Davison, Bruderle, Eppler, Kremkow, Muller, Pecevski, Perrinet & Yger 2009, "PyNN: a common interface for
    neuronal network simulators".
    """
    if not isinstance(network, Network):
        raise InputError("to_pynn", got=f"a {type(network).__name__}", expected="an ns.Network")
    script, data = _paths(path)
    instance = network.instance()
    arrays: dict[str, np.ndarray] = {}
    lines = [_population(instance, k, arrays) for k in range(len(instance.populations))]
    lines += [_projection(instance, k, c, arrays) for k, c in enumerate(instance.connections)]
    lines += [_drive(instance, k) for k in range(len(instance.drives))]
    shortest = instance.shortest_delay()
    longest = max([shortest, *(int(c.delay.max()) for c in instance.connections if c.delay.size)])
    dt = _milli(instance.dt)
    head = HEAD.format(dt=dt, shortest=_milli(shortest * instance.dt), longest=_milli(longest * instance.dt))
    duration = _milli(network.steps("simulate.to_pynn", seconds) * instance.dt)
    text = head + "\n".join(lines) + "\n" + TAIL.format(dt=dt, duration=duration, result=RESULT)
    content = io.BytesIO()
    np.savez(content, **arrays)  # pyright: ignore[reportArgumentType]
    write_together({data: content.getvalue(), script: text.encode()}, "simulate.to_pynn")
    return script


def _paths(path: str | PathLike[str]) -> tuple[Path, Path]:
    """Of the script and of its arrays, which no file of the script overwrites."""
    script = Path(path)
    data = script.with_suffix(".npz") if script.suffix == ".py" else script
    if data.resolve() == script.resolve() or data.name.lower() == RESULT:
        expected = f"NAME.py, beside which NAME.npz and {RESULT}, the result of the script, are other files"
        raise InputError("simulate.to_pynn", got=str(path), expected=expected, fix="For example network.py.")
    return script, data


def _milli(value: float) -> float:
    """A number times 1000, without the rounding error of the product."""
    return float(f"{float(value) * 1e3:.12g}")


def _population(instance: NetworkInstance, k: int, arrays: dict[str, np.ndarray]) -> str:
    p = instance.populations[k]
    begin, key = f"populations[{p.name!r}] = sim.Population({p.size}, ", f"population {k}"
    if isinstance(p.model, EventTensor):
        shortest, step = instance.shortest_delay(), p.model.row.cpu().numpy() + p.first_step
        if step.size and int(step.min()) < shortest:
            got, fix = f"spikes of {p.name!r} before {shortest * instance.dt:g} s", "Begin the input with empty steps."
            expected = "none within the shortest delay, in which PyNN's sources cannot fire"
            raise InputError("simulate.to_pynn", got=got, expected=expected, fix=fix)
        arrays[f"{key} step"], arrays[f"{key} unit"] = step, p.model.index.cpu().numpy()
        # NEST rounds a time up to the end of its step.
        times = f'(data["{key} step"][data["{key} unit"] == k] + 0.99999) * {_milli(instance.dt)!r}'
        trains = f"[{times} for k in range({p.size})]"
        return f"{begin}sim.SpikeSourceArray(spike_times={trains}), label={p.name!r})"
    if isinstance(p.model, PoissonSource):
        arrays[f"{key} rate"] = p.model.rate * p.model.sources
        return f'{begin}sim.SpikeSourcePoisson(rate=data["{key} rate"]), label={p.name!r})'
    model, q = p.model, p.model.parameters
    if model.model == "delta":
        fix = "Use lif with a short tau_excitatory, or Brian2."
        raise InputError("simulate.to_pynn", got=f"delta_lif in {p.name!r}", expected="lif or conductance_lif", fix=fix)
    arrays[f"{key} initial"] = (instance.values[0, p.start : p.start + p.size] + q["rest"]) * 1e3
    arrays[f"{key} offset"] = np.broadcast_to(model.bias, (p.size,)) * 1e3
    parameters = {
        "v_rest": _milli(q["rest"]),
        "v_thresh": _milli(q["threshold"]),
        "v_reset": _milli(q["reset"]),
        "tau_m": _milli(q["tau"]),
        "cm": _milli(q["tau"]),
        "tau_refrac": _milli(model.held_steps(instance.dt, instance.grid) * instance.dt),
        "tau_syn_E": _milli(q["tau_excitatory"]),
        "tau_syn_I": _milli(q["tau_inhibitory"]),
    }
    if model.model == "conductance":
        parameters |= {"e_rev_E": _milli(q["reversal_excitatory"]), "e_rev_I": _milli(q["reversal_inhibitory"])}
    kind = "IF_curr_exp" if model.model == "current" else "IF_cond_exp"
    text = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    return (
        f'{begin}sim.{kind}({text}, i_offset=data["{key} offset"]), label={p.name!r})\n'
        f'populations[{p.name!r}].initialize(v=data["{key} initial"])'
    )


def _signed(name: str, receptor: str, conductance: bool, weight: np.ndarray) -> np.ndarray:
    """Weights of PyNN: nanoamperes equal millivolts, by the choice of the capacity; conductances stay the same."""
    wrong = weight > 0 if receptor == "inhibitory" else weight < 0
    if not conductance and wrong.any():
        got = f"{receptor} currents of the other sign in {name!r}"
        raise InputError("simulate.to_pynn", got=got, expected="excitatory weights >= 0, inhibitory <= 0")
    return weight if conductance else weight * 1e3


def _projection(instance: NetworkInstance, k: int, c: Connections, arrays: dict[str, np.ndarray]) -> str:
    p = c.projection
    if p.plasticity is not None:
        fix = "Export it with the learned weights, without plasticity=."
        raise InputError("simulate.to_pynn", got=f"plasticity in {p.name!r}", expected="fixed weights", fix=fix)
    s = c.synapses(instance.dt)
    assert isinstance(p.target.model, Neuron)
    weight = _signed(p.name, c.receptor, p.target.model.model == "conductance", s.weight.numpy())
    delay = np.round(s.delay.numpy() * 1e3, 9)
    arrays[f"synapses {k}"] = np.column_stack([s.source.numpy(), s.target.numpy(), weight, delay])
    ends = f"populations[{p.source.name!r}], populations[{p.target.name!r}]"
    rule = f'sim.FromListConnector(data["synapses {k}"], column_names=["weight", "delay"])'
    return f'sim.Projection({ends}, {rule}, sim.StaticSynapse(), receptor_type="{c.receptor}", label={p.name!r})'


def _drive(instance: NetworkInstance, k: int) -> str:
    drive = instance.drives[k]
    name, target = f"drive {k}", drive.target
    assert isinstance(target.model, Neuron)
    weight = _signed(name, drive.receptor, target.model.model == "conductance", np.asarray(drive.weight))
    rate = (drive.source.rate * drive.source.sources).tolist()
    source = f"sim.Population({target.size}, sim.SpikeSourcePoisson(rate={rate!r}), label={name!r})"
    synapse = f"sim.StaticSynapse(weight={float(weight)!r}, delay={_milli(instance.dt)!r})"
    ends = f"{source}, populations[{target.name!r}]"
    return f'sim.Projection({ends}, sim.OneToOneConnector(), {synapse}, receptor_type="{drive.receptor}")'
