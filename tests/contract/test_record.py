"""What `record` promises whatever the model: it names, declares, cleans up, and charges only what the samples cost."""

import subprocess
import sys
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from neurosparse.errors import InputError
from neurosparse.events.operation import Operation, operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import COUNTS, OperationCounts
from neurosparse.meter.record import as_module, record
from neurosparse.neurons.lif import LIF


class Step(nn.Module):
    """A foreign neuron: outputs 0/1 tensors, and more beside them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x > 0.5).float(), x * 2


class First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


def foreign() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 4, bias=False), Step(), First(), nn.Unflatten(1, (1, 4)), nn.Flatten(), nn.Linear(4, 2)
    )


def run(model: Any, *inputs: Any, **options: Any) -> OperationCounts:
    with record(model, **options) as tape:
        model(*inputs)
    return count(tape)


def row(counts: OperationCounts, layer: str, kind: str) -> dict[str, Any]:
    return dict(next(r for r in counts.rows if (r["layer"], r["kind"]) == (layer, kind)))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_hooks_are_removed_at_the_end() -> None:
    net = foreign()
    run(net, torch.rand(2, 4))
    assert hooks(net) == 0


def test_hooks_are_removed_after_an_exception_and_the_tape_is_kept() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"), record(net):
        net(torch.rand(2, 4))
    assert hooks(net) == 0
    assert not torch._C._is_torch_function_mode_enabled()
    with record(net) as tape:
        with pytest.raises(RuntimeError, match="shapes"):
            net(torch.rand(2, 4))
        torch.rand(3, 4) @ torch.rand(4, 4)  # outside the model
    assert [r["layer"] for r in count(tape).rows] == ["0"]


def test_recording_does_not_load_torchs_compiler() -> None:
    code = """
import sys, torch, neurosparse as ns
net = torch.nn.Linear(3, 2)
with ns.record(net) as tape:
    net(torch.ones(1, 3))
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recording_does_not_change_the_result() -> None:
    net, x = foreign(), torch.rand(2, 4)
    plain = net(x)
    with record(net, spiking=[Step]):
        assert torch.equal(net(x), plain)


@pytest.mark.parametrize("declared", [[Step], ["1"]])
def test_views_of_declared_spikes_are_spikes(declared: list) -> None:
    net, x = foreign(), torch.rand(5, 4)
    counts = run(net, x, spiking=declared)
    neuron, last = row(counts, "1", "neuron"), row(counts, "5", "linear")
    sent = int((net[0](x) > 0.5).sum())
    assert (neuron["spikes_out"], neuron["state_updates"]) == (sent, 20)
    assert (last["effective_acs"], last["effective_macs"], last["input_bits"]) == (2 * sent, 0, 1)
    assert row(counts, "0", "linear")["effective_acs"] == 0
    assert not any(r["layer"] == "1" and r["kind"] != "neuron" for r in counts.rows)


def test_undeclared_spikes_are_never_guessed() -> None:
    counts = run(foreign(), torch.rand(5, 4))
    assert counts.totals["effective_acs"] == 0
    assert row(counts, "1", "compare")["comparisons"] == 20


@pytest.mark.parametrize("change", [lambda s: s + 0.5, lambda s: s + s, lambda s: s.cumsum(0), lambda s: s.fill_(0.3)])
def test_results_of_arithmetic_are_not_spikes(change) -> None:
    net = foreign()
    net[2].forward = lambda pair: change(pair[0])  # type: ignore[method-assign]
    assert row(run(net, torch.rand(5, 4), spiking=[Step]), "5", "linear")["effective_acs"] == 0


def test_spikes_that_are_written_into_are_not_spikes() -> None:
    def write(pair: tuple[Tensor, Tensor]) -> Tensor:
        pair[0][:, 0] = 0.5
        return pair[0]

    net = foreign()
    net[2].forward = write  # type: ignore[method-assign]
    assert row(run(net, torch.rand(5, 4), spiking=[Step]), "5", "linear")["effective_acs"] == 0


@pytest.mark.parametrize("join", [torch.stack, torch.cat])
def test_joined_spikes_are_spikes_only_together(join) -> None:
    weight = torch.ones(2, 8 if join is torch.cat else 4)
    for other, spikes in ((lambda s: s, True), (lambda s: s + 0.5, False)):
        net = nn.Sequential(Step(), First())
        net[1].forward = lambda p, other=other: F.linear(
            join([p[0], other(p[0])], -1 if join is torch.cat else 0), weight
        )
        totals = run(net, torch.rand(3, 4) + 0.6, spiking=[Step]).totals
        assert bool(totals["effective_acs"]) is spikes
        assert bool(totals["effective_macs"]) is not spikes


def test_layers_inside_a_declared_module_still_count() -> None:
    class Recurrent(Step):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(self.inner(x))

    counts = run(nn.Sequential(Recurrent(), First()), torch.rand(2, 4), spiking=[Recurrent])
    assert [(r["layer"], r["kind"]) for r in counts.rows] == [("0.inner", "linear"), ("0", "neuron")]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"spiking": [nn.Linear]}, "values other than 0 and 1 from '0'"),
        ({"spiking": ["input"]}, "values other than 0 and 1 from 'input'"),
        ({"spiking": [nn.LSTM]}, "a module of this model"),
        ({"spiking": ["nowhere"]}, "a module of this model"),
        ({"calls": "step"}, "None, 'steps'"),
        ({"samples": 4}, "axis 4"),
        ({"samples": -1}, "a whole number, at least 0"),
        ({"constant": ["nowhere"]}, "constant='nowhere'"),
        ({"spiking": {First: 1.5}}, "a whole number"),
        ({"spiking": None}, "modules of this model"),
        ({"spiking": 3}, "modules of this model"),
        ({"spiking": nn.Sequential(nn.ReLU())}, "a module of this model"),
        ({"constant": None}, "constant=None"),
        ({"constant": 3}, "constant=3"),
        ({"backward": "no"}, "backward='no'"),
        ({"detail": "yes"}, "detail='yes'"),
    ],
)
def test_bad_declarations_are_refused(options: dict[str, Any], match: str) -> None:
    net = foreign()
    with pytest.raises(InputError, match=match):
        run(net, torch.rand(2, 4), **options)
    assert hooks(net) == 0


def test_an_empty_tape_is_refused() -> None:
    net = foreign()
    with record(net) as tape:
        net[0](torch.rand(2, 4))  # a part, not the recorded model
    with pytest.raises(InputError, match="empty tape"):
        count(tape)


def test_steps_have_the_same_samples_and_calls_have_new_ones() -> None:
    net, x = nn.Linear(4, 2), torch.rand(3, 5, 4)
    for calls, samples in (("steps", 5), (None, 15)):
        with record(net, calls=calls) as tape:
            for step in x:
                net(step)
        counts = count(tape)
        assert counts.samples == samples
        assert counts.totals["dense_ops"] == 3 * 5 * 8
        assert row(counts, "model", "linear")["bytes_read"] == samples * 8 * 4 + 15 * 4 * 4  # weights once per sample
    with pytest.raises(InputError, match="one batch"), record(net, calls="steps"):
        net(x[0])
        net(x[0, :2])


def test_active_cells_of_stepped_neurons() -> None:
    """Unit 0 fires at steps 0 and 1, unit 1 never: one active cell of two, for three steps."""
    net = nn.Sequential(Step(), First())
    with record(net, spiking=[Step], calls="steps") as tape:
        for value in (1.0, 1.0, 0.0):
            net(torch.tensor([[value, 0.0]]))
    neuron = row(count(tape), "0", "neuron")
    assert (neuron["active_cells"], neuron["spikes_out"], neuron["output_cells"]) == (3, 2, 6)


@pytest.mark.parametrize("again", [lambda x: x, lambda x: x.clone()], ids=["the same tensor", "a copy"])
def test_a_constant_input_is_declared_and_never_guessed(again) -> None:
    net, x = nn.Linear(4, 2), torch.ones(3, 4)
    for constant, charged in (((), 3), ("input", 1)):
        with record(net, calls="steps", constant=constant) as tape:
            for _ in range(3):
                net(again(x))
        counts = count(tape)
        assert counts.totals["dense_ops"] == charged * 3 * 8
        assert counts.totals["constant_rows"] == (3 - charged) * 3


def test_a_constant_input_of_a_loop_inside_the_model() -> None:
    """Direct coding: the first layer multiplies the same image in every step."""
    layer = nn.Linear(4, 2)
    net = nn.Sequential(layer)
    net.forward = lambda x: [layer(x) for _ in range(5)]  # type: ignore[method-assign, assignment]
    counts = [run(net, torch.ones(3, 4), constant=name) for name in ((), ["0"], ["input"])]
    assert [each.totals["dense_ops"] for each in counts] == [5 * 24, 24, 24]


def test_spikes_of_one_class_need_no_list() -> None:
    net, x = foreign(), torch.rand(5, 4)
    assert run(net, x, spiking=Step).rows == run(net, x, spiking=[Step]).rows == run(net, x, spiking="1").rows


@pytest.mark.parametrize("steps", [1, 3])
def test_pruned_and_parametrized_weights_are_prepared_not_computed(steps: int) -> None:
    """A mask times a weight is the same for all samples: free."""

    class Halve(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 0.5

    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    parametrize.register_parametrization(net[1], "weight", Halve())
    x = torch.rand(3, 4) + 0.1
    with record(net, calls="steps") as tape:
        for _ in range(steps):
            net(x)
    counts = count(tape, strict=True)
    assert [(r["layer"], r["kind"]) for r in counts.rows] == [("0", "linear"), ("1", "linear")]
    assert (row(counts, "0", "linear")["nonzero_weights"], row(counts, "0", "linear")["weights"]) == (8, 16)
    assert row(counts, "0", "linear")["effective_macs"] == steps * 3 * 8


def test_a_weight_on_the_left_is_a_weight() -> None:
    net = nn.Module()
    net.dictionary = nn.Parameter(torch.eye(3))
    net.forward = lambda x: net.dictionary @ x.T  # type: ignore[method-assign, operator]
    (only,) = run(net, torch.ones(5, 3)).rows
    assert (only["layer"], only["dense_ops"], only["effective_macs"]) == ("dictionary", 45, 15)


def test_a_dictionary_passed_in_is_a_weight_and_a_second_signal_is_none() -> None:
    x, dictionary = torch.ones(5, 3), torch.ones(7, 3)
    (only,) = run(as_module(lambda x, d: x @ d.T), x, dictionary).rows
    assert (only["kind"], only["weights"], only["dense_ops"]) == ("linear", 21, 105)
    (only,) = run(as_module(lambda x, y: x @ y.T), x, x.clone()).rows
    assert (only["kind"], only["weights"], only["dense_ops"]) == ("matmul", 3, 75)


def test_one_module_may_hold_two_layers() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.first.abs()) + F.linear(x, self.second.abs())

    rows = run(Two(), torch.ones(1, 3)).rows
    assert [(r["layer"], r["dense_ops"], r["weights"]) for r in rows if r["kind"] == "linear"] == [
        ("first", 6, 6),
        ("second", 6, 6),
    ]


def test_the_same_input_again_is_new_samples_unless_calls_are_steps() -> None:
    net, x = nn.Linear(4, 2), torch.ones(3, 4)
    with record(net) as tape:
        net(x)
        net(x)
    counts = count(tape)
    assert (counts.samples, counts.totals["dense_ops"]) == (6, 2 * 3 * 8)


def test_two_weights_from_one_parameter() -> None:
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(2, 3))
    net.forward = lambda x: F.linear(x, net.weight * 1) + F.linear(x, net.weight * 2)  # type: ignore[method-assign]
    assert run(net, torch.ones(1, 3)).totals["dense_ops"] == 2 * 6


def test_a_copy_of_a_parameter_that_takes_in_samples_is_computed() -> None:
    net = nn.Linear(3, 2)

    def forward(x: Tensor) -> Tensor:
        total = net.bias.detach().clone().expand(len(x), 2).clone()
        total += x[:, :2]
        return total * 2

    net.forward = forward  # type: ignore[method-assign]
    assert run(net, torch.ones(5, 3)).totals["elementwise"] == 2 * 10


def test_a_function_is_recorded_as_a_module() -> None:
    weight = torch.ones(2, 3)

    def readout(x: Tensor) -> Tensor:
        return F.linear(x, 2 * weight)  # the weight is made first: samples are still read off the input

    counts = run(as_module(readout), torch.ones(5, 3))
    assert counts.samples == 5
    assert [(r["layer"], r["dense_ops"]) for r in counts.rows if r["kind"] == "linear"] == [("model", 30)]
    with pytest.raises(InputError, match="as_module"), record(readout):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_grad_mode(mode) -> None:
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), torch.ones(2, 1, 4, 4)
    with mode():
        inside = run(net, x)
    assert inside.rows == run(net, x).rows


def test_states_are_updated_as_often_as_they_are_declared() -> None:
    net, x = nn.Sequential(Step(), First()), torch.rand(5, 4)
    for spiking, states in (([Step], 1), ({Step: 3}, 3), ({"0": 2}, 2)):
        neuron = row(run(net, x, spiking=spiking), "0", "neuron")
        assert (neuron["state_updates"], neuron["output_cells"]) == (states * 20, 20)


def test_a_tape_keeps_no_input_alive() -> None:
    net, alive = nn.Linear(4, 4), []
    with record(net, calls="steps") as tape:
        for _ in range(5):
            x = torch.rand(2, 4)
            alive.append(weakref.ref(x))
            net(x)
        del x
        assert not any(ref() is not None for ref in alive)
    assert count(tape).totals["dense_ops"] == 5 * 2 * 16


def test_declared_operations_of_our_layers() -> None:
    @dataclass
    class Code:
        events: EventTensor

    def work(result: Code, x: EventTensor) -> list[Operation]:
        return [Operation("compare", comparisons=7, output=result.events)]

    @operation(work)
    def winners(x: EventTensor) -> Code:
        x.dense().sort()  # not counted: the declaration covers all operations inside
        return Code(x)

    net = nn.Module()
    net.forward = winners  # type: ignore[method-assign]
    counts = run(net, EventTensor.from_dense(torch.ones(2, 3, 4), spikes=True))
    (only,) = counts.rows
    assert (only["layer"], only["comparisons"], only["spikes_out"], counts.samples) == ("model", 7, 24, 3)


def test_our_spiking_layer_declared_again_is_not_counted_twice() -> None:
    net, x = nn.Sequential(nn.Linear(4, 3), LIF(beta=0.9)), EventTensor.from_dense(torch.rand(5, 2, 4))
    assert run(net, x, spiking=[LIF]).rows == run(net, x).rows


def test_recurrent_spikes_are_accumulated_by_recurrent_weights() -> None:
    net = LIF(beta=0.0, recurrent=nn.Linear(2, 2, bias=False))
    counts = run(net, EventTensor.from_dense(torch.full((3, 1, 2), 9.0)))
    assert row(counts, "recurrent", "linear")["dense_ops"] == 2 * 4


def test_per_sample_is_exact_and_rows_have_all_columns() -> None:
    counts = run(nn.Linear(4, 2), torch.ones(3, 4))
    (row,) = counts.per_sample
    assert (row["dense_ops"], row["weights"]) == (8.0, 8)
    assert set(COUNTS) <= set(row)
    assert all(isinstance(counts.rows[0][name], int) for name in COUNTS)
