"""Text of a Brian 2 script: a template for each part, filled in for a network."""

from __future__ import annotations

from textwrap import fill, indent

import numpy as np

from neurosparse.events import EventTensor
from neurosparse.io.brian2.equations import describe_layer, equations_of
from neurosparse.io.brian2.layers import ExportedLayer

__all__ = ["script"]

HEAD = '''"""A spiking network trained in PyTorch, as a Brian 2 simulation with the same spikes.

{summary}

Run it:  python SCRIPT [numpy | cython | cpp_standalone]

It needs Brian 2 and numpy. The .npz file of the same name holds the weights, the input and, for comparison, the
output of the network in PyTorch. Written by neurosparse.
"""

import sys
from pathlib import Path

import brian2 as b2
import numpy as np

DATA = np.load(Path(__file__).with_suffix(".npz"))
SAMPLES, STEPS, DT = {samples}, {steps}, {dt}

# Order of computation within a step. As in PyTorch, a spike reaches all later layers in the step in which it was
# fired. In Brian 2's default order, each layer would receive the spikes of the layer before it one step later.
SCHEDULE = [
    "start",
    "inputs",
{slots}
    "end",
]


def neurons(name, n, equations, update, **settings):
    """A layer of n neurons per sample; each part of its step has its own slot in the order above."""
    group = b2.NeuronGroup(SAMPLES * n, equations, name=name, **settings)
    group.state_updater.when = f"before_{{name}} update"
    group.run_regularly(update, when=f"{{name}} update")
    if "threshold" in settings:
        group.thresholder["spike"].when = f"{{name}} spike"
        group.resetter["spike"].when = f"{{name}} reset"
    return group


def connect(source, target, name, when):
    """Synapses with the weights of the file, for the copy of the network of each sample."""
    synapses = b2.Synapses(source, target, "weight : 1", on_pre="current_post += weight", name=name)
    sample = np.arange(SAMPLES)[:, np.newaxis]
    pre = DATA[f"{{name}}_pre"] + sample * (len(source) // SAMPLES)
    post = DATA[f"{{name}}_post"] + sample * (len(target) // SAMPLES)
    synapses.connect(i=pre.ravel(), j=post.ravel())
    synapses.weight = each_sample(f"{{name}}_weight")
    synapses.pre.when = when
    return synapses


def each_sample(name):
    """Numbers from the file, repeated for each sample."""
    return np.tile(DATA[name], SAMPLES)


def simulate(target="numpy"):
    """Run the network; returns the monitors of its layers."""
    # Compiled code must round every sum and product in the order in which it is written.
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O3", "-ffp-contract=off", "-std=c++11"]
    if target == "cpp_standalone":
        b2.set_device("cpp_standalone", directory=None)
    else:
        b2.prefs.codegen.target = target
    b2.defaultclock.dt = DT
'''

SPIKES = """
    step, neuron = DATA["input_spikes"]
    inputs = b2.SpikeGeneratorGroup(SAMPLES * {size}, neuron, step * DT, when="inputs", name="inputs")
"""

GRADED = """
    # The input is graded: input times weights is a current for each step and neuron.
    weight = np.zeros(({size}, {target}))
    weight[DATA["{path}_pre"], DATA["{path}_post"]] = DATA["{path}_weight"]
    drive = b2.TimedArray((DATA["input"] @ weight).reshape(-1, SAMPLES * {target}), dt=DT)
"""

LAYER = '''
{words}
    {name} = neurons(
        "{name}",
        {size},
        equations="""
{equations}
        """,
        update="""
{update}
        """,
{settings}
    )
{values}'''

RUN = '''
    monitors = {{
{monitors}
    }}
    network = b2.Network(
{objects}
        monitors.values(),
    )
    network.schedule = SCHEDULE
    network.run(STEPS * DT, namespace={{}})
    return monitors


def main(target="numpy"):
    """Simulate, and return whether the output is that of PyTorch."""
    same = True
    for name, monitor in simulate(target).items():
{compare}    return same


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
'''

COMPARE_MEMBRANES = """\
        if name == "readout":
            difference = np.nanmax(np.abs(monitor.v[:].T - DATA["readout_membrane"]))
            print(f"readout: membranes differ by at most {difference:.1g}")
            same = same and difference < 1e-9
            continue
"""

COMPARE_SPIKES = """\
        n = len(monitor.source)
        step, neuron = DATA[f"{name}_spikes"]
        differ = len(np.setxor1d(np.rint(monitor.t / DT) * n + monitor.i[:], step * n + neuron))
        print(f"{name}: {len(monitor.t)} spikes, {differ} differ from PyTorch")
        same = same and differ == 0
"""


def script(layers: list[ExportedLayer], inputs: EventTensor) -> str:
    """The whole script."""
    (steps, samples), dt = inputs.shape[:2], _seconds(inputs.dt or 0.0)
    kind = "neurons" if inputs.binary else "graded values"
    lines = [f"{'inputs':9} {inputs.n_units} {kind}, {samples} sample{'s' * (samples != 1)} of {steps} steps"]
    lines += [fill(f"{layer.name:9} {describe_layer(layer)}", 112, subsequent_indent=" " * 10) for layer in layers]
    head = HEAD.format(
        summary=indent("\n".join(lines), "    "),
        samples=samples,
        steps=steps,
        dt=dt,
        slots="\n".join(f"    {_slots(layer)}," for layer in layers),
    )
    return head + _network(layers, inputs)


def _seconds(dt: float) -> str:
    """In milliseconds where that is exact."""
    short = f"{1e3 * dt:.12g}"
    return f"{short} * b2.ms" if float(short) * 1e-3 == dt else f"{dt!r} * b2.second"


def _slots(layer: ExportedLayer) -> str:
    """The slots of a layer in the order of a step."""
    spiking = layer.neurons is not None
    slots = ["input", "update", *["spike", "reset"] * spiking, *["feedback"] * (layer.recurrent is not None)]
    return ", ".join(f'"{layer.name} {slot}"' for slot in slots)


def _network(layers: list[ExportedLayer], inputs: EventTensor) -> str:
    """Groups, synapses and monitors."""
    first, source = layers[0], "inputs"
    sizes = {"size": inputs.n_units, "target": first.size, "path": f"inputs_to_{first.name}"}
    text, objects, monitors = (SPIKES if inputs.binary else GRADED).format(**sizes), ["inputs"] * inputs.binary, []
    for layer in layers:
        graded = layer is first and not inputs.binary
        text += _neurons(layer, graded, inputs.lengths is not None)
        paths = {} if graded else {f"{source}_to_{layer.name}": (source, "input")}
        paths |= {f"{layer.name}_to_itself": (layer.name, "feedback")} if layer.recurrent is not None else {}
        for name, (origin, slot) in paths.items():
            text += f'    {name} = connect({origin}, {layer.name}, "{name}", when="{layer.name} {slot}")\n'
        objects.append(", ".join([layer.name, *paths]))
        kind, what = ("State", ', "v", record=True') if layer.neurons is None else ("Spike", "")
        monitors.append(f'"{layer.name}": b2.{kind}Monitor({layer.name}{what}, when="end")')
        source = layer.name
    return text + RUN.format(
        monitors="\n".join(f"        {each}," for each in monitors),
        objects="\n".join(f"        {each}," for each in objects),
        compare=COMPARE_MEMBRANES * (layers[-1].neurons is None) + COMPARE_SPIKES,
    )


def _neurons(layer: ExportedLayer, graded: bool, ragged: bool) -> str:
    """Group of one layer."""
    has_input = not graded or layer.recurrent is not None
    terms = ["current"] * has_input + ["drive(t, i)"] * graded + ["bias"] * bool(layer.bias.any())
    found = equations_of(layer, terms[0] if len(terms) == 1 else f"({' + '.join(terms)})")
    states = found.states | ({"current": "input of this step"} if has_input else {})
    lines = [f"{name} : 1  # {words}" for name, words in states.items()]
    lines += [f"{name} : 1 (constant)" for name in layer.arrays]
    lines += ["until : second (constant)  # end of its sample"] * ragged
    threshold = found.threshold + " and t < until" * (ragged and bool(found.threshold))
    names = {name: value for name, value in layer.constants.items() if not isinstance(value, np.ndarray)}
    namespace = [f'"{name}": {value!r}' for name, value in names.items()] + ['"drive": drive'] * graded
    settings = [f'threshold="{threshold}"', f'reset="{found.reset}"'] if layer.neurons is not None else []
    settings += [f"refractory={found.refractory + 1} * DT"] * (found.refractory > 0)
    settings += [f"namespace={{{', '.join(namespace)}}}"] * bool(namespace)
    values = [f'{layer.name}.{name} = each_sample("{layer.name}_{name}")' for name in layer.arrays]
    values += [f'{layer.name}.until = np.repeat(DATA["lengths"] - 0.5, {layer.size}) * DT'] * ragged
    return LAYER.format(
        words=fill(describe_layer(layer), 116, initial_indent="    # ", subsequent_indent="    # "),
        name=layer.name,
        size=layer.size,
        equations=indent("\n".join(lines), " " * 12),
        update=indent("\n".join([*found.update, *["current = 0"] * has_input]), " " * 12),
        settings="\n".join(f"        {each}," for each in settings),
        values="".join(f"    {line}\n" for line in values),
    )
