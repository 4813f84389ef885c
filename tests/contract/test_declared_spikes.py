"""Spikes that are declared, wherever their neurons are, and suggestions for those that are not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import record


def run(model: Any, *inputs: Any, **options: Any) -> OperationCounts:
    with record(model, **options) as tape:
        model(*inputs)
    return count(tape)


def row(counts: OperationCounts, layer: str, kind: str) -> dict[str, Any]:
    return dict(next(r for r in counts.rows if (r["layer"], r["kind"]) == (layer, kind)))


class Surrogate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).float()


class Neuron(nn.Module):
    """A neuron of an unknown library, whose spikes a part of it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = Surrogate()

    def forward(self, x: Tensor) -> Tensor:
        return self.surrogate(x - 0.5)


def suggested(model: Any, *inputs: Tensor, **options: Any) -> list[tuple[str, str, str]]:
    with record(model, **options) as tape:
        for x in inputs:
            model(x)
    return [(entry["layer"], entry["producer"], entry["argument"]) for entry in count(tape).suggestions]


def eye(rows: int) -> nn.Linear:
    layer = nn.Linear(4, rows, bias=False)
    layer.weight.data = torch.eye(rows, 4)
    return layer


def test_modules_that_send_only_zeros_and_ones_are_suggested() -> None:
    net, x = nn.Sequential(eye(4), Neuron(), nn.Unflatten(1, (2, 2)), nn.Flatten(), eye(2)), torch.rand(5, 4)
    x[0] = 0.9
    assert suggested(net, x) == [("4", "1", "spiking=['1']")]
    assert suggested(net, x, spiking=["1"]) == []
    assert suggested(net, 0 * x) == []
    assert suggested(net, 0 * x, x, 0 * x) == [("4", "1", "spiking=['1']")]
    assert suggested(eye(2), (x > 0.5).float()) == [("model", "input", "spiking=['input']")]
    assert suggested(eye(2), (x > 0.5).float().t().contiguous().t(), x) == []


def test_a_copy_of_the_input_is_the_input() -> None:
    net = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Flatten(), eye(2))
    net[0].forward = lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).contiguous()  # type: ignore[method-assign]
    assert suggested(net, torch.ones(3, 4)) == [("2", "input", "spiking=['input']")]


def test_spikes_that_a_block_does_not_return_are_to_be_marked() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = eye(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout((x > 0.5).float())

    for net, name in ((Block(), "model"), (nn.Sequential(Block()), "0")):
        (entry,) = suggested(net, torch.ones(3, 4))
        assert entry[1:] == (name, "ns.spikes(x)")


def test_suggestions_survive_the_addition_of_silent_runs() -> None:
    net, x = nn.Sequential(Neuron(), eye(2)), torch.ones(3, 4)
    firing, silent = run(net, x), run(net, 0 * x)
    assert not silent.suggestions
    for both in (firing + silent, silent + firing, firing + firing):
        assert both.suggestions == firing.suggestions != ()
        assert "pass spiking=['0']" in repr(both)
    graded = nn.Sequential(nn.Identity(), eye(2))
    assert not (run(graded, x) + run(graded, x / 3)).suggestions


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 0.7), (-1.0, 0.0, 1.0), (-0.3, 0.0, 0.3)])
@pytest.mark.parametrize("place", ["child", "list", "dict"])
@pytest.mark.parametrize("by", ["call", "forward"])
def test_declared_neurons_wherever_they_are_and_whatever_their_size(values: tuple, place: str, by: str) -> None:
    class Firing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor(values)[(x.abs() * 100).long() % len(values)]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, neuron = nn.Linear(4, 2), Firing()
            self.neuron = neuron if place == "child" else [neuron] if place == "list" else {"a": {"b": neuron}}

        def forward(self, x: Tensor) -> Tensor:
            held: Any = self.neuron
            neuron = held if place == "child" else held[0] if place == "list" else held["a"]["b"]
            return self.fc(neuron(x) if by == "call" else neuron.forward(x))

    net, x = Net(), torch.rand(5, 4)
    counts = run(net, x, spiking=[Firing])
    assert row(counts, "fc", "linear")["effective_macs"] == 0 < row(counts, "fc", "linear")["effective_acs"]
    (neuron,) = (r for r in counts.rows if r["kind"] == "neuron")
    assert neuron["spikes_out"] == row(counts, "fc", "linear")["input_events"]


def test_a_declared_block_hides_no_distance_and_no_transform() -> None:
    class Block(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            near = torch.cdist(x, x + 1)
            return ((near.sum(1, keepdim=True) + torch.fft.fft(x).real) > 2).float()

    counts = run(nn.Sequential(Block(), eye(2)), torch.rand(5, 4), spiking=["0"])
    inside = [r for r in counts.rows if r["layer"] == "0" and r["kind"] != "neuron"]
    assert sum(r["elementwise"] + r["dense_ops"] for r in inside) >= 3 * 5 * 5 * 4 or counts.uncounted
    assert row(counts, "1", "linear")["effective_macs"] == 0


class Parallel(nn.Module):
    """Parallel spiking neurons: ``S = (W X + b > 0)`` over all steps, without a reset (Fang et al. 2023)."""

    def __init__(self, steps: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(steps, steps)), nn.Parameter(torch.full((steps, 1), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        return (torch.addmm(self.bias, self.weight, x.flatten(1)) > 0).to(x).view(x.shape)


def test_parallel_neurons_count_their_product_over_time_and_send_spikes() -> None:
    net, x = nn.Sequential(Parallel(4), eye(2)), torch.rand(4, 3, 4)
    counts = run(net, x, spiking={"0": 1}, samples=1)
    assert row(counts, "0", "linear")["effective_macs"] == 4 * 4 * 3 * 4
    last = row(counts, "1", "linear")
    assert last["effective_macs"] == 0 < last["effective_acs"] <= last["input_events"]
