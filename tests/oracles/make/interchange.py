"""NIR graphs written by other tools, and their spikes for both kinds of graphs: tests/oracles/interchange.json.

Two layers of neurons, 6-5-3 units. Every number is a dyadic fraction (decays 7/8 and 3/4, weights in 1/16)
and no membrane equals the threshold, so spikes do not depend on rounding.
"""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import snntorch
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.lif_box import LIFBoxCell, LIFBoxParameters
from snntorch import utils
from snntorch.export_nir import export_to_nir
from snntorch.import_nir import import_from_nir
from spikingjelly.activation_based import functional, layer, neuron, nir_exchange
from torch import nn

import neurosparse as ns

DT, BETA, ALPHA = 1e-4, 0.875, 0.75
THRESHOLD, HIGH = 1 + 2**-11, 4 + 2**-9  # without and with a synaptic current
STEPS, SAMPLES, SIZES = 60, 2, (6, 5, 3)
logging.disable(logging.WARNING)
torch.set_grad_enabled(False)
torch.manual_seed(3)
x = torch.randint(0, 2, (STEPS, SAMPLES, SIZES[0])).float()
weights = {
    (n, m): (torch.randint(-10, 17, (m, n)) / 16, torch.randint(-2, 3, (m,)) / 16)
    for n, m in ((6, 5), (5, 3), (5, 5), (3, 3))
}


def linear(n: int, m: int, kind: type[nn.Linear] = nn.Linear) -> nn.Linear:
    module = kind(n, m)
    module.weight.data, module.bias.data = (part.clone() for part in weights[n, m])
    return module


def network(neurons: Callable[[int], nn.Module], kind: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    return nn.Sequential(linear(6, 5, kind), neurons(5), linear(5, 3, kind), neurons(3))


def as_json(graph: nir.NIRGraph) -> dict[str, Any]:
    """Types, arrays and edges of a graph, without its notes."""

    def plain(value: Any) -> Any:
        return np.asarray(value).tolist() if not isinstance(value, str) else value

    nodes = {
        name: {k: plain(v) for k, v in node.to_dict().items() if k != "metadata"} for name, node in graph.nodes.items()
    }
    return {"nodes": nodes, "edges": [list(edge) for edge in graph.edges]}


def as_text(spikes: torch.Tensor) -> list[str]:
    """One row of 0 and 1 per step."""
    assert bool(((spikes == 0) | (spikes == 1)).all())
    return ["".join(str(int(s)) for s in step.flatten()) for step in spikes]


def stepped(model: Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]]) -> torch.Tensor:
    """Step by step with a carried state."""
    state, out = None, []
    for step in x:
        spikes, state = model(step, state)
        out.append(spikes)
    return torch.stack(out)


def attempt(case: dict[str, Any], run: Callable[[], torch.Tensor]) -> dict[str, Any]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return {**case, "spikes": as_text(run())}
    except Exception as error:
        return {**case, "refused": f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"}


# ---- from a tool: its graph and its spikes


def from_snntorch(kind: str, reset: str, delay: bool) -> dict[str, Any]:
    def neurons(n: int) -> nn.Module:
        options = {"reset_mechanism": reset, "reset_delay": delay, "init_hidden": True}
        options["threshold"] = torch.full((n,), HIGH if kind.endswith("Synaptic") else THRESHOLD)
        if kind == "Leaky":
            return snntorch.Leaky(torch.full((n,), BETA), **options)
        if kind == "Synaptic":
            return snntorch.Synaptic(torch.full((n,), ALPHA), torch.full((n,), BETA), **options)
        recurrent = {"linear_features": n, **options}
        made = snntorch.RLeaky(BETA, **recurrent) if kind == "RLeaky" else snntorch.RSynaptic(ALPHA, BETA, **recurrent)
        made.recurrent = linear(n, n)
        return made

    net = network(neurons)
    graph = export_to_nir(net, torch.zeros(1, SIZES[0]), ignore_dims=[0])
    utils.reset(net)
    case = {"tool": "snnTorch", "way": "from", "neurons": kind, "reset": reset, "reset_delay": delay}
    return attempt({**case, "graph": as_json(graph)}, lambda: torch.stack([net(step) for step in x]))


def from_spikingjelly(kind: str, v_reset: float | None, **options: Any) -> dict[str, Any]:
    threshold = HIGH if kind == "CUBALIFNode" else THRESHOLD / 8 if options.get("decay_input") else THRESHOLD
    net = network(lambda n: getattr(neuron, kind)(v_threshold=threshold, v_reset=v_reset, **options), layer.Linear)
    functional.set_step_mode(net, "m")
    case = {"tool": "SpikingJelly", "way": "from", "neurons": kind, "reset": "subtract" if v_reset is None else "zero"}
    case |= {k: v for k, v in options.items() if k == "decay_input"}
    try:
        case["graph"] = as_json(nir_exchange.export_to_nir(net, x, dt=DT))
    except NotImplementedError as error:
        return {**case, "refused": f"NotImplementedError: {error}"}
    return attempt(case, lambda: net(x))


def from_norse(reset: str) -> dict[str, Any]:
    method = {"zero": reset_value, "subtract": reset_subtract}[reset]

    def neurons(n: int) -> nn.Module:
        each = {"tau_mem_inv": torch.full((n,), 1250.0), "v_th": torch.full((n,), THRESHOLD / 8)}
        each |= {"v_leak": torch.zeros(n), "v_reset": torch.zeros(n)}
        return LIFBoxCell(LIFBoxParameters(**each, reset_method=method), dt=DT)

    net = norse.SequentialState(*network(neurons))
    graph = norse.to_nir(net, x[0, 0], dt=DT)
    case = {"tool": "Norse", "way": "from", "neurons": "LIFBoxCell", "reset": reset, "graph": as_json(graph)}
    return attempt(case, lambda: stepped(net))


# ---- to a tool: the spikes of the network that it builds from a graph written here


def ours(kind: str, reset: str) -> nn.Sequential:
    def neurons(n: int) -> nn.Module:
        options = {"threshold": HIGH if "CubaLIF" in kind else THRESHOLD, "reset": reset}
        if kind == "IF":
            return ns.neurons.IF(**options)
        current = {"dynamics": ns.neurons.current_based(ALPHA)} if kind != "LIF" else {}
        again = {"recurrent": linear(n, n)} if kind.startswith("recurrent") else {}
        if kind.endswith("without bias"):
            again["recurrent"].bias = None
        return ns.LIF(BETA, **options, **current, **again)

    return network(neurons)


def by_norse(graph: nir.NIRGraph, reset: str) -> torch.Tensor:
    method = {"zero": reset_value, "subtract": reset_subtract}[reset]
    return stepped(norse.from_nir(graph, dt=DT, reset_method=method))


READERS = {
    "snnTorch": lambda graph, reset: stepped(import_from_nir(graph)),
    "SpikingJelly": lambda graph, reset: stepped(nir_exchange.import_from_nir(graph, dt=DT)),
    "Norse": by_norse,
}


written: dict[str, Any] = {}


def to_others(kind: str, reset: str, unit_r: bool = False) -> list[dict[str, Any]]:
    rows = []
    for tool, reader in READERS.items():
        graph = ns.io.nir.write(ours(kind, reset), dt=DT, method="euler", unit_r=unit_r)
        written[f"{kind}, {reset}, unit_r={unit_r}"] = as_json(graph)
        case = {"tool": tool, "way": "to", "neurons": kind, "reset": reset, "unit_r": unit_r}
        rows.append(attempt(case, lambda reader=reader, graph=graph: reader(graph, reset)))
    return rows


rows = [
    *(
        from_snntorch(kind, reset, delay)
        for kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic")
        for reset in ("zero", "subtract")
        for delay in ((True, False) if kind[0] != "R" else (True,))  # snnTorch cannot run RSynaptic otherwise
    ),
    from_spikingjelly("IFNode", 0.0),
    from_spikingjelly("LIFNode", 0.0, tau=8.0, decay_input=False),
    from_spikingjelly("LIFNode", 0.0, tau=8.0, decay_input=True),
    from_spikingjelly("LIFNode", None, tau=8.0, decay_input=False),
    from_spikingjelly("CUBALIFNode", 0.0, c_decay=ALPHA, v_decay=BETA),
    from_norse("zero"),
    from_norse("subtract"),
    *(row for kind in ("IF", "LIF", "CubaLIF") for reset in ("zero", "subtract") for row in to_others(kind, reset)),
    *(row for kind in ("LIF", "CubaLIF") for row in to_others(kind, "zero", unit_r=True)),
    *to_others("recurrent CubaLIF", "zero"),
    *to_others("recurrent CubaLIF without bias", "zero"),
]
out = {
    "versions": {name: version(name) for name in ("nir", "nirtorch", "snntorch", "spikingjelly", "norse", "torch")},
    "dt": DT,
    "beta": BETA,
    "alpha": ALPHA,
    "threshold": THRESHOLD,
    "high threshold": HIGH,
    "input": as_text(x),
    "weights": {f"{n}-{m}": [part.tolist() for part in parts] for (n, m), parts in weights.items()},
    "written": written,
    "rows": rows,
}
Path(sys.argv[1]).write_text(json.dumps(out) + "\n")
