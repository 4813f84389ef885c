"""One network, three tools: counts and energies of neurosparse, SpikingJelly and NeuroBench, and published totals.

make energy-tools   # prints three tables, writes docs/results/energy-tools.json

The numbers of the other tools come from tests/oracles/energies.json (``make oracles``). Each of them is computed again
from the counts of neurosparse with the prices and the rules of the other tool, so that every difference is arithmetic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import neurosparse as ns

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "oracles" / "make")]

import result  # noqa: E402
import zoo  # noqa: E402

THEIRS = json.loads((ROOT / "tests" / "oracles" / "energies.json").read_text())
CASES = {"MLP": zoo.CASES["spiking MLP"], "CNN": zoo.CASES["spiking CNN"]}
FLOWS = ("compute_only", "no_reuse", "weight_stationary", "output_stationary", "event_driven")

# Prices of other models, in picojoules.
SIMPLE = {"accumulate": 0.9, "byte": 24.96}  # SpikingJelly 2.0.0, from Horowitz 2014 and STEP, table 9
LEMAIRE = {"add": 0.1, "multiply and add": 3.2}
LEMAIRE_SRAM = ((0, 8192, 32768, 1 << 20), (0, 10, 20, 100))  # bytes, price of a 32-bit word; linear in between
SPIKESIM_CYCLE = 828.4861472  # a 64 x 64 RRAM crossbar with 3 x 3 kernels: ela_spikesim.py, commit c2627bc
# NeuroMC, commit 712c66f: an addition and 1/16 of it for the multiplexer of a spike, the arithmetic of a neuron, a
# register bit and a 16-bit register, SRAM of inputs (a bit), weights and sums (16 bits), and of the state of a neuron.
NEUROMC = {"accumulate": 0.58225, "neuron": 1.56225, "bit": 0.00901 / 7.1 * 2, "word": 0.14416 / 7.1 * 2}
NEUROMC |= {"input": 0.44854798, "weight": 5.302477904, "sum": 5.792676768}
NEUROMC |= {"state": 4 * 92.68282828 / 16 + 3 * 7.176767677 / 16}

# Forward layers of S-ResNet18 (3 x 3, one sample, one step) by channels in, channels out and size: what the program of
# NeuroMC returns, as SpikingJelly published it (energy_model_validation.csv, August 2026).
RESNET18 = {(128, 32, 28): 43019966.0777, (128, 64, 28): 86039932.1553, (128, 128, 14): 43615359.6536}
RESNET18 |= {(256, 128, 14): 86715291.2866, (128, 256, 14): 87230719.3071, (256, 256, 7): 45739219.947}
RESNET18 |= {(512, 192, 7): 68415544.4127, (512, 128, 7): 45610362.9418}
# VGG9 on CIFAR-10: channels in, channels out, whether a pool follows; and what ela_spikesim.py prints for five steps.
VGG9 = [(3, 64, False), (64, 64, True), (64, 128, False), (128, 128, True)]
VGG9 += [(128, 256, False), (256, 256, False), (256, 256, True)]
VGG9_PRINTED, VGG9_STEPS = 15906934.02624, 5
NOT_HAD = [
    "The energies in tables and figures of the SpikeSim paper (IEEE TCAD 2023): its text was not available. The total "
    "compared is what its program prints.",
    "The energies in tables and figures of the NeuroMC paper (Nature Communications 2026): its text and its program "
    "were not available. The totals compared are those that SpikingJelly published of that program.",
    "Totals of whole networks by NeuroMC: only those of parts of layers are published.",
]


@dataclass(frozen=True)
class Layer:
    """A layer with weights: its row of counts, that of the neurons behind it, and its shape."""

    row: dict[str, Any]
    neurons: dict[str, Any]
    channels: int
    out: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def spike_pairs(self) -> int:
        """Pairs of a spike and a weight, zero weights included."""
        return self.row["dense_ops"] - self.row["skipped_zero_inputs"]

    @property
    def padded_pairs(self) -> int:
        """Pairs of an input and a weight, padding included, as if every output were connected to every channel."""
        return self.row["output_cells"] * self.channels * prod(self.kernel)

    @property
    def whole_pairs(self) -> int:
        """Pairs of a spike and a weight if every spike reached a whole kernel, over the border too."""
        positions = prod(map(ceil, np.divide(self.kernel, self.stride)))
        return self.row["input_events"] * self.out // self.groups * positions


def network(parts: Any) -> nn.Sequential:
    """The network of other tools with our neurons: ``v = 0.9 v + I``, a spike at 1, which is subtracted at once."""
    images = (nn.Conv2d, nn.MaxPool2d, nn.Flatten)
    made = [ns.LIF(beta=0.9) if isinstance(part, zoo.snn.Leaky) else part for part in parts]
    return nn.Sequential(*(ns.fold(part) if isinstance(part, images) else part for part in made))


def counted(net: nn.Sequential, x: Tensor) -> tuple[ns.OperationCounts, list[Layer]]:
    """Counts of a network for spikes ``(steps, samples, *units)``, and its layers with weights."""
    with torch.no_grad(), ns.record(net) as tape:
        net(ns.EventTensor.from_dense(x, spikes=True))
    counts = ns.count(tape, strict=True)
    modules = dict(net.named_modules())
    synapses = [dict(row) for row in counts.rows if isinstance(modules.get(row["layer"]), nn.Linear | nn.Conv2d)]
    neurons = [dict(row) for row in counts.rows if row["kind"] == "neuron"]
    layers = []
    for row, cells in zip(synapses, neurons, strict=True):
        module: Any = modules[row["layer"]]
        shape = getattr(module, "kernel_size", (1,)), getattr(module, "stride", (1,))
        groups = getattr(module, "groups", 1)
        layers.append(Layer(row, cells, groups * module.weight.shape[1], len(module.weight), groups, *shape))
    return counts, layers


def total(layers: list[Layer], get: Callable[[Layer], int]) -> int:
    return sum(map(get, layers))


def updates(layer: Layer) -> int:
    return layer.neurons["state_updates"]


def accumulates(layers: list[Layer], steps: int) -> int:
    """What SpikingJelly counts: its neurons are an addition and four subtractions, one less in the first step."""
    cells = total(layers, updates)
    return total(layers, lambda la: la.spike_pairs) + 5 * cells - cells // steps


def simple(layers: list[Layer], added: int) -> float:
    """SpikingJelly's simple model in fp32: weights, biases and states are fetched for each use."""
    words = total(layers, lambda la: la.spike_pairs + la.row["bias_adds"] + 2 * updates(la))
    return SIMPLE["accumulate"] * added + SIMPLE["byte"] * 4 * words


def lemaire(layers: list[Layer], samples: int) -> float:
    """Lemaire 2022 by SpikingJelly; the memory of potentials holds those of so many samples."""

    def sram(words: float) -> float:
        return float(np.interp(4 * words, *LEMAIRE_SRAM))

    energy = 0.0
    for la in layers:
        spikes, sent, biases = la.row["input_events"], la.neurons["spikes_out"], la.row["bias_adds"]
        reached = spikes * la.out // la.groups * prod(la.kernel)
        energy += LEMAIRE["add"] * (la.whole_pairs + biases + sent + reached)
        energy += LEMAIRE["multiply and add"] * (updates(la) + (2 * spikes if len(la.kernel) > 1 else 0))
        energy += (spikes + sent) * sram(1000) + (reached + biases) * sram(
            la.row["weights"] + (la.out if biases else 0)
        )
        potentials = samples * la.row["output_cells"] / la.row["charged_rows"]
        energy += 2 * (reached + updates(la)) * sram(potentials)
    return energy


def neuromc(layers: list[Layer], loads: int, registers: int) -> float:
    """NeuroMC's forward pass: weights stay in 16 x 16 cells, sums of 16 inputs leave them; it depends on no spike.

    Args:
        layers: of the network.
        loads: how often the weights are loaded.
        registers: accesses of a neuron to each of its registers: 2 in the program, 1 in SpikingJelly.
    """
    p, energy = NEUROMC, 0.0
    for la in layers:
        pairs, out, weights = la.padded_pairs, la.row["output_cells"], loads * la.row["weights"]
        sums = out * ceil(la.channels / 16) * prod(la.kernel)
        energy += p["accumulate"] * pairs + 2 * p["bit"] * pairs + p["input"] * sums + p["weight"] * weights
        energy += p["word"] * (2 * weights + 3 * pairs + sums - 2 * out) + p["sum"] * (2 * sums - out)
        energy += updates(la) * (p["neuron"] + p["state"] + registers * (4 * p["word"] + 3 * p["bit"]))
    return energy


def crossbar_cycles(layer: Layer, size: int = 64) -> int:
    """SpikeSim: positions of a convolution times the crossbars that hold its weights."""
    positions = layer.row["output_cells"] // layer.out if len(layer.kernel) > 1 else 0
    return positions * ceil(layer.channels / size) * ceil(layer.out / size)


def count_rows(name: str, layers: list[Layer], steps: int) -> list[dict[str, Any]]:
    """Counts of every tool over all samples, the same from our counts, and what a difference consists of."""
    jelly, bench = (THEIRS["networks"][name][tool] for tool in ("SpikingJelly", "NeuroBench"))
    dense, spikes = (total(layers, get) for get in (lambda la: la.row["dense_ops"], lambda la: la.spike_pairs))
    padded, whole = (total(layers, get) for get in (lambda la: la.padded_pairs, lambda la: la.whole_pairs))
    effective = total(layers, lambda la: la.row["effective_acs"] + la.row["effective_macs"])
    cells, added = total(layers, updates), accumulates(layers, steps)
    in_neuromc = (jelly["neuromc"]["compute"] - NEUROMC["neuron"] * cells) / NEUROMC["accumulate"]
    of_counter = jelly["counts"]["ac"] - jelly["accumulates alone"]
    states = f"an addition and four subtractions in each of {cells:,} updates, one less in the first step: "
    states += f"5 x {cells:,} - {cells // steps:,} = {added - spikes:,} more"
    beside = f", and {of_counter:,} additions of its own memory counter" if of_counter else ""
    inputs, pairs = "pairs of an input and a weight", "pairs of a spike and a weight"
    rows = [
        (inputs, dense, "NeuroBench, Dense", bench["Dense"], dense, ""),
        (inputs, dense, "SpikingJelly, NeuroMC", in_neuromc, padded, f"padding is counted: {padded - dense:,} more"),
        (pairs, spikes, "SpikingJelly, SynOps", jelly["counts"]["synop"], spikes, ""),
        (pairs, spikes, "SpikingJelly, Lemaire", jelly["lemaire counts"]["synop"], whole,
         f"a spike reaches a whole kernel, over the border too: {whole - spikes:,} more"),
        (pairs, spikes, "SpikingJelly, accumulates", jelly["accumulates alone"], added, states),
        (pairs, spikes, "SpikingJelly, the same in Simple", jelly["counts"]["ac"], added + of_counter,
         f"the same{beside}"),
        (f"{pairs} that is not zero", effective, "NeuroBench, Effective",
         bench["Effective_ACs"] + bench["Effective_MACs"], effective, ""),
        (f"{pairs} that is not zero", effective, "SpikingJelly, SynOps", jelly["counts"]["synop"], spikes,
         f"zero weights are counted: {spikes - effective:,} more"),
    ]  # fmt: skip
    return [
        {"network": name, "quantity": quantity, "neurosparse": ours, "tool": tool, "its number": round(theirs),
         "from our counts": again, "because": "equal" if round(theirs) == ours else because}
        for quantity, ours, tool, theirs, again, because in rows
    ]  # fmt: skip


def energy_rows(name: str, counts: ns.OperationCounts, layers: list[Layer], steps: int) -> list[dict[str, Any]]:
    """Picojoules per sample by every model of every tool, and those of other tools from our counts."""
    jelly, n = THEIRS["networks"][name]["SpikingJelly"], counts.samples
    of_counter = jelly["counts"]["ac"] - jelly["accumulates alone"]
    effective = total(layers, lambda la: la.row["effective_acs"] + la.row["effective_macs"])
    cycles = SPIKESIM_CYCLE * total(layers, crossbar_cycles)
    rows = [("neurosparse", f"cmos-45nm, {flow}", picojoules(counts, "cmos-45nm", flow), None) for flow in FLOWS]
    rows += [
        ("neurosparse", "lemaire-45nm, no_reuse", picojoules(counts, "lemaire-45nm", "no_reuse"), None),
        ("neurosparse", "loihi", picojoules(counts, "loihi", "event_driven"), None),
        ("NeuroBench", "none; its effective operations x 0.9 pJ",
         0.9 * sum(THEIRS["networks"][name]["NeuroBench"][key] for key in ("Effective_ACs", "Effective_MACs")),
         0.9 * effective),
        ("SpikingJelly", "Simple", jelly["simple"]["total"], simple(layers, accumulates(layers, steps) + of_counter)),
        ("SpikingJelly", f"Lemaire, {n} samples at once", jelly["lemaire"]["total"], lemaire(layers, n)),
        ("SpikingJelly", "Lemaire, one sample at a time", jelly["lemaire, one sample at a time"], lemaire(layers, 1)),
        ("SpikingJelly", f"NeuroMC, {n} samples at once", jelly["neuromc"]["total"], neuromc(layers, steps, 1)),
        ("SpikingJelly", "NeuroMC, one sample at a time", jelly["neuromc, one sample at a time"],
         neuromc(layers, steps * n, 1)),
    ]  # fmt: skip
    if cycles:
        rows.append(("SpikingJelly", "SpikeSim, convolutions only", jelly["spikesim"]["total"], cycles))
    keys = ("network", "tool", "model", "pJ per sample", "from our counts")
    return [
        dict(zip(keys, (name, tool, model, theirs / n, again and again / n), strict=True))
        for tool, model, theirs, again in rows
    ]


def picojoules(counts: ns.OperationCounts, hardware: str, flow: str, **assume: Any) -> float:
    """Our estimate of all samples together."""
    nominal = ns.estimate(counts, hardware, flow, assume=ns.energy.Assumptions(**assume)).nominal
    assert nominal is not None
    return 1e12 * nominal * counts.samples


def resnet18_rows() -> list[dict[str, Any]]:
    """Layers of NeuroMC's S-ResNet18: the published energy, the same from our counts, and our own estimates."""
    rows = []
    for (channels, out, size), published in RESNET18.items():
        convolution = nn.Conv2d(channels, out, 3, bias=False)
        nn.init.constant_(convolution.weight, 0.1)
        net = nn.Sequential(ns.fold(convolution), ns.LIF(beta=1.0))
        counts, layers = counted(net, torch.ones(1, 1, channels, size + 2, size + 2))
        narrow = replace(counts, rows=tuple({**row, "weight_bits": 16} for row in counts.rows))
        assume = {"state_bits": 16, "leak": "multiply"}
        sums = [
            picojoules(narrow, "cmos-45nm", "weight_stationary", sums_in_registers=where, **assume) / published
            for where in (True, False)
        ]
        what = f"NeuroMC, S-ResNet18, {channels} to {out} channels, {size} x {size}"
        rows.append(published_row(what, published, neuromc(layers, 1, 2), "equal", sums))
    return rows


def vgg9_rows() -> list[dict[str, Any]]:
    """VGG9 by SpikeSim: the printed energy and the same from our counts."""
    parts: list[nn.Module] = []
    for channels, out, pooled in VGG9:
        parts += [nn.Conv2d(channels, out, 3, padding=1, bias=False), zoo.leaky(), *[nn.MaxPool2d(2)] * pooled]
    _, layers = counted(network(parts), torch.ones(VGG9_STEPS, 1, 3, 32, 32))
    cycles = [crossbar_cycles(layer) for layer in layers]
    behind = [n // 4 if pooled else n for n, (*_, pooled) in zip(cycles, VGG9, strict=True)]
    note = (
        f"{sum(cycles):,} cycles; the program's list has {sum(behind):,}, with the sizes of layers 2, 4 and 7 behind "
    )
    what, note = "SpikeSim, VGG9 on CIFAR-10, 5 steps", f"{note}their pools, a quarter of the positions"
    return [
        published_row(what, VGG9_PRINTED, SPIKESIM_CYCLE * sum(cycles), note),
        published_row(f"{what}, sizes behind the pools", VGG9_PRINTED, SPIKESIM_CYCLE * sum(behind), "equal"),
    ]


def published_row(
    what: str, published: float, again: float, because: str, ours: list[float] | None = None
) -> dict[str, Any]:
    ratios = {"ratio": again / published, "our estimate / published": ours}
    return {"what": what, "published pJ": published, "from our counts": again} | ratios | {"because": because}


def text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(f"{each:.2g}" for each in value)
    return "-" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = {"counts": [], "energies": []}
    for name, case in CASES.items():
        steps = case.data.shape[1]
        counts, layers = counted(network(case.build()), case.data.transpose(0, 1).contiguous())
        found["counts"] += count_rows(name, layers, steps)
        found["energies"] += energy_rows(name, counts, layers, steps)
    found["published"] = resnet18_rows() + vgg9_rows()
    versions = {**THEIRS["versions"], "neurosparse": ns.__version__}
    result.keep("energy-tools", {"versions": versions, **found, "not had": NOT_HAD})
    for rows in found.values():
        print(
            *(" | ".join(map(text, cells)) for cells in [rows[0], *(row.values() for row in rows)]),
            sep="\n",
            end="\n\n",
        )
    print(*NOT_HAD, sep="\n")


if __name__ == "__main__":
    main()
