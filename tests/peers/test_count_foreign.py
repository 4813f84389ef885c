"""Counts of networks of other libraries: spikes, layers and states.

SpikingJelly and Norse live in an environment of their own: ``make test-peers`` runs this file there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.io import norse as norse_adapter
from neurosparse.io import snntorch as snntorch_adapter
from neurosparse.io import spikingjelly as spikingjelly_adapter
from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import record

STEPS, SAMPLES = 7, 3


def strong(network: nn.Module) -> nn.Module:
    """Weights that make neurons fire; some are zero."""
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if "weight" in name:
            parameter.data = torch.rand_like(parameter) * 1.5 - 0.3
            parameter.data[torch.rand_like(parameter) < 0.25] = 0
    return network


def spikes(*units: int) -> Tensor:
    torch.manual_seed(2)
    return (torch.rand(STEPS, SAMPLES, *units) < 0.6).float()


def metered(network: nn.Module, how: dict[str, Any], inputs: Sequence[Tensor], state: bool = False) -> OperationCounts:
    with torch.no_grad(), record(network, **how) as tape:
        hidden = None
        for x in inputs:
            if state:
                _, hidden = network(x, hidden)
            else:
                network(x)
    return count(tape, strict=True)


def by_hooks(network: nn.Module, run: Callable[[], Any]) -> dict[str, int]:
    """Pairs of a spike and a weight of every plain layer, from what came into it."""
    found: dict[str, int] = {}

    def hook(name: str) -> Callable[[Any, tuple], None]:
        def hook(layer: Any, inputs: tuple) -> None:
            x, weight = inputs[0].flatten(0, inputs[0].dim() - 2).double(), (layer.weight != 0).double()
            found[name] = found.get(name, 0) + int(((x != 0).double() @ weight.T).sum())

        return hook

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return found


def accumulates(counts: OperationCounts) -> dict[str, int]:
    return {row["layer"]: row["effective_acs"] for row in counts.rows if row["kind"] in ("linear", "conv")}


def neurons(counts: OperationCounts) -> dict[str, tuple[int, int]]:
    """State updates and cells of each layer of neurons."""
    rows = [row for row in counts.rows if row["kind"] == "neuron"]
    return {row["layer"]: (row["state_updates"], row["output_cells"]) for row in rows}


def test_snntorch() -> None:
    snn = pytest.importorskip("snntorch")
    reset = pytest.importorskip("snntorch.utils").reset
    hidden: dict[str, Any] = {"init_hidden": True}
    layers = [
        nn.Linear(6, 5),
        snn.Synaptic(alpha=0.8, beta=0.9, **hidden),
        nn.Linear(5, 4),
        snn.Alpha(alpha=0.8, beta=0.7, **hidden),
        nn.Linear(4, 3),
        snn.RLeaky(beta=0.9, linear_features=3, **hidden),
        nn.Linear(3, 2),
        snn.Leaky(beta=0.9, **hidden, output=True),
    ]
    network, x = strong(nn.Sequential(*layers)), spikes(6)
    how = snntorch_adapter.recording(network, spiking_input=True)
    assert how == {"spiking": {"1": 2, "3": 3, "5": 1, "7": 1, "input": 0}, "calls": "steps", "samples": 0}
    reset(network)
    counts = metered(network, how, x.unbind(0))
    reset(network)
    assert accumulates(counts) == by_hooks(network, lambda: [network(step) for step in x])
    cells = {"1": 5, "3": 4, "5": 3, "7": 2}
    assert neurons(counts) == {n: (how["spiking"][n] * 21 * c, 21 * c) for n, c in cells.items()}
    assert counts.totals["effective_macs"] == counts.totals["elementwise"] == 0 < counts.totals["spikes_out"]


def test_graded_spikes_of_snntorch_are_values() -> None:
    snn = pytest.importorskip("snntorch")
    network = nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=0.9, init_hidden=True, graded_spikes_factor=0.5))
    how = snntorch_adapter.recording(network)
    assert how["spiking"] == {}
    with pytest.raises(InputError, match="no neurons of snnTorch"):
        snntorch_adapter.recording(nn.Linear(2, 2))


@pytest.mark.parametrize("mode", ["m", "s"])
def test_spikingjelly(mode: str) -> None:
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    layers = [
        layer.Conv2d(1, 3, 3, padding=1),
        neuron.LIFNode(tau=2.0),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Linear(12, 5),
        neuron.ParametricLIFNode(),
        layer.Linear(5, 4),
        neuron.IFNode(v_reset=None),
        layer.Linear(4, 2),
        neuron.NonSpikingLIFNode(tau=2.0),
    ]
    network, x = strong(nn.Sequential(*layers)), spikes(1, 4, 4)
    functional.set_step_mode(network, mode)
    inputs = [x] if mode == "m" else list(x.unbind(0))
    how = spikingjelly_adapter.recording(network, spiking_input=True)
    assert how["spiking"] == {"1": 1, "5": 1, "7": 1, "input": 0}
    counts = metered(network, how, inputs)
    assert counts.samples == SAMPLES
    functional.reset_net(network)
    synops = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([synops]):
        for part in inputs:
            network(part)
    totals = counts.totals
    assert totals["dense_ops"] - totals["skipped_zero_inputs"] == synops.get_total() > totals["effective_acs"] > 0
    assert totals["effective_macs"] == 0
    cells = {"1": 3 * 16, "5": 5, "7": 4}
    assert neurons(counts) == {n: (21 * c, 21 * c) for n, c in cells.items()}
    with pytest.raises(InputError, match="one step mode"):
        network[1].step_mode = "s" if mode == "m" else "m"
        spikingjelly_adapter.recording(network)


@pytest.mark.parametrize(
    ("name", "bits"), [("TernaryIFNode", 2), ("TernaryLIFNode", 2), ("PSN", 1), ("MaskedPSN", 1), ("SlidingPSN", 1)]
)
def test_ternary_and_parallel_neurons_of_spikingjelly(name: str, bits: int) -> None:
    neuron: Any = pytest.importorskip("spikingjelly.activation_based.neuron")
    sizes = {"PSN": {"T": STEPS}, "MaskedPSN": {"k": 2, "T": STEPS}, "SlidingPSN": {"k": 2}}
    how = {} if name == "PSN" else {"step_mode": "m"}
    node = getattr(neuron, name)(**sizes.get(name, {}), **how)
    network, x = nn.Sequential(nn.Linear(6, 20), node, nn.Linear(20, 2)), 4 * torch.randn(STEPS, SAMPLES, 6)
    declared = spikingjelly_adapter.recording(network)
    assert declared["spiking"] == {"1": 1}
    last = next(row for row in metered(network, declared, [x]).rows if row["layer"] == "2")
    assert (last["effective_macs"], last["input_bits"]) == (0, bits)
    assert last["effective_acs"] == 2 * last["input_events"] > 0


def test_norse_layers_with_time() -> None:
    norse: Any = pytest.importorskip("norse.torch")
    layers = [
        nn.Linear(6, 5),
        norse.LIF(),
        nn.Linear(5, 4),
        norse.LIFRecurrent(4, 4),
        nn.Linear(4, 3),
        norse.LSNN(),
        nn.Linear(3, 2),
        norse.LI(),
    ]
    network, x = strong(norse.SequentialState(*layers)), spikes(6)
    for part in network.parameters():
        part.data *= 8
    how = norse_adapter.recording(network, spiking_input=True)
    assert how == {"spiking": {"1": 2, "3": 2, "5": 3, "input": 0}, "calls": None, "samples": 1}
    counts = metered(network, how, [x])
    assert counts.samples == SAMPLES
    plain = by_hooks(network, lambda: network(x))
    assert {name: n for name, n in accumulates(counts).items() if name in plain} == plain
    cells = {"1": 5, "3": 4, "5": 3}
    assert neurons(counts) == {n: (how["spiking"][n] * 21 * c, 21 * c) for n, c in cells.items()}
    # Recurrent weights multiply the spikes of the step before; the input is the current of the layer before.
    recurrent = next(row for row in counts.rows if row["layer"] == "3.recurrent_weights")
    sent = norse.SequentialState(*layers[:4])(x)[0][:-1]
    reached = (network[3].recurrent_weights != 0).sum(0).double()
    assert recurrent["effective_acs"] == int((sent.double() @ reached).sum()) > 0
    assert recurrent["effective_macs"] == 0
    assert next(row for row in counts.rows if row["layer"] == "3.input_weights")["effective_acs"] == 0


def test_norse_cells() -> None:
    norse: Any = pytest.importorskip("norse.torch")
    layers = [
        nn.Linear(6, 5),
        norse.LIFCell(),
        nn.Linear(5, 4),
        norse.LIFBoxCell(),
        nn.Linear(4, 3),
        norse.LIFRefracCell(),
    ]
    network, x = strong(norse.SequentialState(*layers)), spikes(6)
    for part in network.parameters():
        part.data *= 8
    how = norse_adapter.recording(network, spiking_input=True)
    assert how == {"spiking": {"1": 2, "3": 1, "5": 3, "input": 0}, "calls": "steps", "samples": 0}
    counts = metered(network, how, x.unbind(0), state=True)

    def run() -> None:
        state = None
        for step in x:
            _, state = network(step, state)

    assert accumulates(counts) == by_hooks(network, run)
    cells = {"1": 5, "3": 4, "5": 3}
    assert neurons(counts) == {n: (how["spiking"][n] * 21 * c, 21 * c) for n, c in cells.items()}
    with pytest.raises(InputError, match="only cells or only layers"):
        norse_adapter.recording(nn.Sequential(norse.LIFCell(), norse.LIF()))
