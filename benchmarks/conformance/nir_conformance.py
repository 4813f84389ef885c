"""Networks exchanged by NIR with other tools, and with the recordings of the NIR paper: docs/results/nir.json.

make nir-conformance ARGS=FOLDER

FOLDER is ``paper`` of the repository github.com/neuromorphs/NIR: graphs and recordings of Pedersen et al. 2024. Their
Braille samples are too large for that repository; the one sample whose activity was recorded is read from the figure
that shows it, pixel by step. Spikes of other tools for graphs written here, and graphs written by them, are in
tests/oracles/interchange.json (``make oracles``). Without FOLDER only these rows are computed; they are printed and
not kept.
"""

from __future__ import annotations

import json
import sys
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import numpy as np
import result
import torch
from torch import Tensor, nn

import neurosparse as ns

ROOT = Path(__file__).parents[2]
PEERS = json.loads((ROOT / "tests" / "oracles" / "interchange.json").read_text())
DT = PEERS["dt"]

# Recorded voltages in units of the graph's: some tools fold r or the threshold. None: a fixed point, not compared.
UNIT = {"nengo": 0.1, "snntorch": 0.04, "spinnaker2": 0.04, "lava_cpu_fixed": None, "lava_loihi_fixed": None}
TWICE = "it resets a second time, one step later, where the membrane is still above threshold"
LATE_BIAS = "the bias of recurrent weights arrives from the second step on"
DIFFERENCES = {  # by tool, way, kind of neuron, reset and option
    ("snnTorch", "from", "Leaky", "subtract", False): TWICE,
    ("snnTorch", "from", "Synaptic", "subtract", False): TWICE,
    ("SpikingJelly", "from", "LIFNode", "subtract", False): "it refuses: NIR has no field for this reset",
    ("snnTorch", "to", "IF", None, None): "it takes r as what a step adds, and so refuses r = 1 / dt",
    ("snnTorch", "to", "recurrent CubaLIF", None, None): "it fails on loops with nirtorch 2.6",
    ("snnTorch", "to", "recurrent CubaLIF without bias", None, None): "it fails on loops with nirtorch 2.6",
    ("SpikingJelly", "to", "recurrent CubaLIF", None, None): LATE_BIAS,
    ("Norse", "to", "recurrent CubaLIF", None, None): LATE_BIAS,
    ("snnTorch", "to", None, "subtract", None): "it builds resets to zero from any graph",
    ("SpikingJelly", "to", None, "subtract", None): "it builds resets to v_reset from any graph",
    ("Norse", "to", "LIF", None, False): "it does not read r (write with unit_r=True)",
    ("Norse", "to", "IF", "subtract", None): "its reader does not pass reset_method to IF neurons",
    ("snnTorch", "to", "CubaLIF", None, True): "it refuses any r but tau_mem / dt",
    ("SpikingJelly", "to", "CubaLIF", None, True): "it refuses any r but tau_mem / dt",
}


def difference(*case: Any) -> str | None:
    """The reason of a known difference; None in the table stands for any value."""
    found = [
        text
        for known, text in DIFFERENCES.items()
        if all(a is None or a == b for a, b in zip(known, case, strict=True))
    ]
    return found[0] if found else None


# ---- round trips with other tools


def graph_of(plain: dict[str, Any]) -> nir.NIRGraph:
    """A graph from its JSON form."""
    nodes = {
        name: nir.dict2NIRNode({k: v if k == "type" else np.asarray(v) for k, v in fields.items()})
        for name, fields in plain["nodes"].items()
    }
    return nir.NIRGraph(nodes=nodes, edges=[tuple(edge) for edge in plain["edges"]])


def spikes_of(rows: list[str], units: int) -> Tensor:
    """(steps, samples, units) from one text of 0 and 1 per step."""
    return torch.tensor([[int(s) for s in row] for row in rows], dtype=torch.float64).view(len(rows), -1, units)


def linear(n: int, m: int) -> nn.Linear:
    module = nn.Linear(n, m, dtype=torch.float64)
    module.weight.data, module.bias.data = (
        torch.tensor(part, dtype=torch.float64) for part in PEERS["weights"][f"{n}-{m}"]
    )
    return module


def ours(kind: str, reset: str) -> nn.Sequential:
    """The network whose graph was given to the tools."""

    def neurons(n: int) -> nn.Module:
        options = {"threshold": PEERS["high threshold" if "CubaLIF" in kind else "threshold"], "reset": reset}
        current = {"dynamics": ns.neurons.current_based(PEERS["alpha"])} if "CubaLIF" in kind else {}
        again = {"recurrent": linear(n, n)} if kind.startswith("recurrent") else {}
        if kind.endswith("without bias"):
            again["recurrent"].bias = None
        return ns.LIF(1.0 if kind == "IF" else PEERS["beta"], **options, **current, **again)

    return nn.Sequential(linear(6, 5), neurons(5), linear(5, 3), neurons(3))


def options(row: dict[str, Any]) -> dict[str, Any]:
    """Options of the reader that a graph of another tool does not hold."""
    at_once = row["tool"] != "snnTorch" or not row["reset_delay"] or (row["neurons"], row["reset"]) == ("Leaky", "zero")
    dt = DT**2 if row["tool"] == "Norse" else DT  # Norse writes dt / tau_mem_inv: its time constants times dt
    return {"dt": dt, "method": "euler", "reset": row["reset"], "delayed_reset": not at_once}


@torch.no_grad()
def round_trips() -> list[dict[str, Any]]:
    """Every case of the oracle: the share of output entries that differ, and the reason."""
    x, rows = spikes_of(PEERS["input"], 6), []
    for row in PEERS["rows"]:
        if "spikes" in row:
            theirs = spikes_of(row["spikes"], 3)
            network = ours(row["neurons"], row["reset"])
            if row["way"] == "from":
                network = ns.io.nir.read(graph_of(row["graph"]), **options(row)).double()
            mismatch = float((network(x).dense() != theirs).double().mean())
        else:
            mismatch = None
        option = row.get("unit_r", row.get("reset_delay", row.get("decay_input")))
        reason = difference(row["tool"], row["way"], row["neurons"], row["reset"], option)
        found = {k: v for k, v in row.items() if k not in ("graph", "spikes")}
        rows.append({**found, "mismatch": mismatch, "difference": reason})
    return rows


# ---- recordings of the paper


@torch.no_grad()
def ramp(folder: Path) -> list[dict[str, Any]]:
    """One LIF neuron under pulses: spikes and voltages of each tool beside those computed here."""
    recorded = {path.stem[4:]: np.genfromtxt(path, delimiter=",") for path in sorted(folder.glob("01_lif/*.csv"))}
    x = torch.tensor(recorded["norse"][:, 0], dtype=torch.float64).view(-1, 1, 1)
    rows = []
    for method in ("euler", "exponential"):
        for reset in ("zero", "subtract"):
            network = ns.io.nir.read(folder / "01_lif/lif_norse.nir", dt=DT, method=method, reset=reset).double()
            trace = network[1].trace(network[0](x))
            spikes = trace.events.dense().flatten().numpy()
            unit = 0.1 / float(network[1].threshold)  # v_threshold of the graph: r is folded into the threshold
            voltage = trace.membrane.flatten().numpy() * unit
            voltage = voltage * (1 - spikes) if reset == "zero" else voltage - 0.1 * spikes
            for tool, (_, theirs, fired) in ((tool, each.T) for tool, each in recorded.items()):
                steps = np.flatnonzero(spikes), np.flatnonzero(fired)
                lag = int(max(steps[1] - steps[0], key=abs)) if len(steps[0]) == len(steps[1]) else None
                scale = UNIT.get(tool, 1.0)
                error = None if scale is None else float(np.abs(theirs * scale - voltage).max())
                row = {"tool": tool, "method": method, "reset": reset, "spikes": len(steps[1]), "ours": len(steps[0])}
                rows.append({**row, "largest lag in steps": lag, "largest voltage difference": error})
    return rows


def braille_input(folder: Path) -> Tensor:
    """The sample (steps, 1, channels) from the image in the figure, one bit per step and channel, channel 1 lowest."""
    content = (folder / "figures/rnn_braille_input.pdf").read_bytes()
    at = content.index(b"stream", content.index(b"/Width 256 /Height 12")) + len(b"stream\n")
    rows = np.frombuffer(zlib.decompressobj().decompress(content[at:]), np.uint8).reshape(12, 33)
    assert not rows[:, 0].any()  # PNG's filter of each row: none
    return torch.tensor(np.unpackbits(rows[::-1, 1:], axis=1).T.copy(), dtype=torch.float64)[:, None]


class _Unbiased(nn.Module):
    """A recurrent layer without its bias in the first step."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear, self.started = linear, False

    def forward(self, spikes: Tensor) -> Tensor:
        started, self.started = self.started, True
        return self.linear(spikes) if started else torch.zeros_like(spikes)


@torch.no_grad()
def braille(folder: Path) -> list[dict[str, Any]]:
    """Spikes of the recurrent layer beside each recording: by the graph, and by the equations of that tool."""
    x, rows = braille_input(folder), []
    for name, reset in (("bias_zero", "zero"), ("noBias_subtract", "subtract")):
        path = folder / f"03_rnn/braille_noDelay_{name}.nir"
        for recording in sorted(folder.glob(f"03_rnn/*_activity_noDelay_{name}.npy")):
            tool, theirs = recording.name.split("_")[0], torch.tensor(np.load(recording)).squeeze().double()
            theirs = theirs.T if len(theirs) != len(x) else theirs
            if theirs.shape[0] != len(x):
                continue
            plain = _hidden(path, reset, x)
            row = {"graph": name, "tool": tool, "spikes": int(theirs.sum()), "ours": int(plain.sum())}
            row |= {"mismatches": int((plain != theirs).sum()), "cosine": _cosine(plain, theirs)}
            equations, found = _by_equations(tool, name, path, x)
            if equations is not None:
                row |= {"equations": equations, "by its equations": int((found != theirs).sum())}
            rows.append(row)
    return rows


def _hidden(path: Path, reset: str, x: Tensor, recurrent: type[nn.Module] | None = None) -> Tensor:
    layers = list(ns.io.nir.read(path, dt=DT, method="euler", reset=reset).double())[:2]
    if recurrent is not None:
        layers[1].recurrent = recurrent(layers[1].recurrent)
    return nn.Sequential(*layers)(x).dense()[:, 0]


def _by_equations(tool: str, name: str, path: Path, x: Tensor) -> tuple[str | None, Any]:
    """How the equations of a tool differ, and the spikes of the same network with these equations."""
    if tool == "norse" and name == "bias_zero":
        return LATE_BIAS, _hidden(path, "zero", x, _Unbiased)
    if tool == "norse":
        return "recorded with a reset to zero", _hidden(path, "zero", x)
    if tool == "spyx" and name == "noBias_subtract":
        return "one step late", _hidden(path, "subtract", torch.cat([torch.zeros_like(x[:1]), x[:-1]]))
    if tool == "snntorch" and name == "noBias_subtract":
        return TWICE, _twice(path, x)
    return None, None


def _twice(path: Path, x: Tensor) -> Tensor:
    """snnTorch's immediate reset by subtraction, written out, as no neuron here has it."""
    first, lif = list(ns.io.nir.read(path, dt=DT, method="euler", reset="subtract").double())[:2]
    membrane = current = spikes = torch.zeros(1, lif.recurrent.out_features, dtype=torch.float64)
    out = []
    for drive in first(x):
        late = (membrane > lif.threshold).double()
        current = lif.dynamics.alpha * current + drive + lif.recurrent(spikes)
        membrane = lif.beta * membrane + current - lif.threshold * late
        spikes = (membrane > lif.threshold).double()
        membrane = membrane - lif.threshold * (spikes - late)
        out.append(spikes)
    return torch.cat(out)


def _cosine(a: Tensor, b: Tensor) -> float:
    """Of the mean activity of each unit, as the paper measures it."""
    return float(torch.cosine_similarity(a.mean(0), b.mean(0), 0))


def main() -> None:
    parts = {"round trips": round_trips()}
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        parts |= {"ramp": ramp(folder), "braille": braille(folder)}
        result.keep(
            "nir",
            {"versions": {**PEERS["versions"], "neurosparse": version("neurosparse")}, **parts},
            "make nir-conformance ARGS=NIR/paper",
        )
    for row in (row for rows in parts.values() for row in rows):
        print({k: v for k, v in row.items() if v is not None})


if __name__ == "__main__":
    main()
