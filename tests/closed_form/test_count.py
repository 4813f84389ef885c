"""Networks small enough to be counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.energy.estimate import estimate
from neurosparse.errors import InputError
from neurosparse.events.operation import Operation
from neurosparse.events.tensor import EventTensor
from neurosparse.meter.count import count
from neurosparse.meter.fan_out import fan_out
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import as_module, record
from neurosparse.meter.tally import tally
from neurosparse.neurons.lif import LIF


def layer(weight: list[list[float]], bias: bool = True) -> nn.Linear:
    made = nn.Linear(len(weight[0]), len(weight), bias=bias)
    made.weight.data = torch.tensor(weight)
    if bias:
        made.bias.data.zero_()
    return made


def by_layer(counts: OperationCounts) -> dict[tuple[str, str], dict]:
    return {(row["layer"], row["kind"]): dict(row) for row in counts.rows}


def test_two_layers_and_a_relu() -> None:
    net = nn.Sequential(layer([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.0]]), nn.ReLU(), layer([[1.0, 1.0]], bias=False))
    with record(net) as tape:
        out = net(torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]))
    assert out.flatten().tolist() == [7.0, 2.0]  # hidden [[7, -1], [0, 2]], after the relu [[7, 0], [0, 2]]
    rows = by_layer(count(tape, strict=True))
    first, relu, second = rows["0", "linear"], rows["1", "compare"], rows["2", "linear"]
    assert (first["dense_ops"], first["effective_macs"], first["bias_adds"]) == (12, 1 + 1 + 1 + 1, 4)
    assert (first["input_events"], first["input_cells"], first["weights"], first["nonzero_weights"]) == (3, 6, 6, 4)
    assert (first["weight_bits"], first["input_bits"], first["output_bits"]) == (32, 32, 32)
    assert first["bytes_read"] == 2 * (6 * 4 + 3 * 4)  # each sample reads every weight and its three inputs
    assert first["bytes_written"] == 2 * 2 * 4
    assert relu["comparisons"] == 4
    assert (second["dense_ops"], second["effective_macs"], second["bias_adds"]) == (4, 2, 0)


def test_spikes_of_a_neuron_and_the_next_layer() -> None:
    """Weights 2 and 0.5, threshold 1, no decay: spikes at steps 0 and 2 pass through the first unit only."""
    net = nn.Sequential(layer([[2.0], [0.5]]), LIF(beta=0.0), layer([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]))
    x = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(4, 1, 1)
    with record(net) as tape:
        net(EventTensor.from_dense(x, spikes=True))
    rows = by_layer(count(tape, strict=True))
    neuron, last = rows["1", "neuron"], rows["2", "linear"]
    assert rows["0", "linear"]["effective_acs"] == 4
    assert (neuron["state_updates"], neuron["spikes_out"], neuron["output_cells"]) == (8, 2, 8)
    assert neuron["active_cells"] == 4  # one unit of two fired, for four steps
    assert (neuron["bytes_read"], neuron["bytes_written"]) == (8 * 4, 8 * 4 + 4 * 1)
    assert (last["effective_acs"], last["effective_macs"], last["dense_ops"]) == (2 * 2, 0, 4 * 6)
    assert (last["input_bits"], last["charged_rows"]) == (1, 4)


def test_convolution_fan_out_at_its_borders() -> None:
    each, outputs = fan_out(torch.ones(1, 1, 3, 3), (1, 3, 3), {"padding": 1})
    assert each.view(3, 3).tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    assert outputs == 9


@pytest.mark.parametrize(
    ("case", "dense"),
    [
        ((nn.Conv1d(1, 2, 3, padding=1), (1, 5)), 2 * (3 * 5 - 2)),
        ((nn.Conv2d(2, 4, 3, padding=1), (2, 8, 8)), 3872),  # 4608 with the zeros of the padding
        ((nn.Conv3d(1, 1, 2), (1, 2, 2, 2)), 8),
        ((nn.Conv2d(2, 2, 1, groups=2), (2, 3, 3)), 18),
    ],
    ids=["1d", "2d", "3d", "grouped"],
)
def test_dense_convolutions(case: tuple[nn.Module, tuple[int, ...]], dense: int) -> None:
    conv, image = case
    with record(conv) as tape:
        conv(torch.ones(3, *image))
    (row,) = count(tape).rows
    assert (row["layer"], row["kind"]) == ("model", "conv")
    assert row["dense_ops"] == row["effective_macs"] == 3 * dense


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_a_border_of_copied_pixels_is_counted(mode: str) -> None:
    """Zeros of the padding are no operations; copies of pixels are."""
    conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode=mode)
    with record(conv) as tape:
        conv(torch.ones(3, 2, 8, 8))
    (row,) = count(tape, strict=True).rows
    assert row["dense_ops"] == row["effective_macs"] == 3 * 2 * 4 * 9 * 64


@pytest.mark.parametrize(("value", "spikes"), [(0.0, True), (0.5, False)])
def test_padded_spikes_are_spikes_if_the_padding_is_silent(value: float, spikes: bool) -> None:
    net = as_module(lambda x: F.linear(F.pad(x, (1, 1), value=value), torch.ones(2, 6)))
    with record(net, spiking=["input"]) as tape:
        net(torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    totals = count(tape).totals
    assert (totals["effective_acs"], totals["effective_macs"]) == ((6, 0) if spikes else (0, 10))


def test_zeros_of_inputs_and_weights_are_counted() -> None:
    """Two of three inputs are zero, one of six weights; the pair with both zero is in both columns."""
    net = layer([[1.0, 0.0, 2.0], [-1.0, 1.0, 3.0]], bias=False)
    with record(net) as tape:
        net(torch.tensor([[1.0, 0.0, 0.0]]))
    (row,) = count(tape).rows
    assert (row["dense_ops"], row["skipped_zero_inputs"], row["skipped_zero_weights"]) == (6, 4, 1)
    assert row["effective_macs"] == 2


def test_scaled_products_cost_their_scaling() -> None:
    net = as_module(lambda x: torch.addmm(torch.ones(2), x, torch.ones(3, 2), beta=0.5, alpha=2.0))
    with record(net) as tape:
        net(torch.ones(4, 3))
    totals = count(tape, strict=True).totals
    assert (totals["dense_ops"], totals["bias_adds"], totals["elementwise"]) == (24, 8, 2 * 8)


def test_parts_of_a_packed_weight_are_weights_of_their_own() -> None:
    net = nn.Module()
    net.packed = nn.Parameter(torch.ones(4, 2))
    net.forward = lambda x: [F.linear(x, part) for part in net.packed.chunk(2)]  # type: ignore[method-assign]
    with record(net) as tape:
        net(torch.ones(1, 2))
    (row,) = count(tape).rows
    assert (row["weights"], row["dense_ops"]) == (8, 8)


def test_counts_do_not_round() -> None:
    """4097 x 4097 ones are 16,785,409 products, which float32 cannot hold."""
    ones = torch.ones((), dtype=torch.int8)
    counts = tally(Operation("linear", ones.expand(1, 4097), ones.expand(4097, 4097)))
    assert counts["effective_macs"] == counts["dense_ops"] == 16_785_409
    assert counts["weight_bits"] == 8


def test_layers_of_low_precision() -> None:
    operation = Operation("linear", torch.ones(2, 8), torch.ones(4, 8), weight_bits=4, input_bits=2)
    counts = tally(operation)
    assert (counts["weight_bits"], counts["input_bits"]) == (4, 2)
    assert counts["bytes_read"] == 2 * 2  # eight inputs of two bits, twice; the tape adds the weights once per sample


class Branches(nn.Module):
    """Functional calls, a product with a parameter, and two blocks whose layers share their last names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.mixing = nn.Parameter(torch.ones(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.a(x) + self.b(x)) @ self.mixing


def test_names_do_not_collide_and_functions_are_counted() -> None:
    net = Branches()
    with record(net) as tape:
        net(torch.rand(3, 4))
    rows = by_layer(count(tape, strict=True))
    assert list(rows) == [
        ("a.0", "linear"),
        ("a.1", "compare"),
        ("b.0", "linear"),
        ("b.1", "compare"),
        ("model.add", "elementwise"),
        ("model.relu", "compare"),
        ("mixing", "linear"),
    ]
    assert rows["model.add", "elementwise"]["elementwise"] == 12
    assert rows["model.relu", "compare"]["comparisons"] == 12
    assert rows["mixing", "linear"]["dense_ops"] == 3 * 8


@pytest.mark.parametrize(
    ("function", "column", "amount"),
    [
        (lambda x: F.avg_pool2d(x, 2), "elementwise", 4 * 4),
        (lambda x: F.max_pool2d(x, (2, 1)), "comparisons", 2 * 8),
        (lambda x: x.sum(), "elementwise", 16),
        (lambda x: 1 - x, "elementwise", 16),
        (lambda x: x.clone().mul_(2), "elementwise", 16),
        (lambda x: x.clamp(0, 1), "comparisons", 32),
        (lambda x: x.flatten(1).softmax(-1), "elementwise", 48),
        (lambda x: F.dropout(x, 0.5, False), "elementwise", 0),
        (lambda x: x.flatten(1).topk(3), "comparisons", 16 * 4),
        (lambda x: x.view(8, 2).topk(3, 0), "comparisons", 16 * 3),
        (lambda x: x.view(2, 8).sort(dim=0), "comparisons", 16 * 1),
        (lambda x: F.max_pool2d(x, 3, 1, 1), "comparisons", (2 + 3 + 3 + 2) ** 2),
        (lambda x: F.batch_norm(x, x.new_zeros(1), x.new_ones(1)), "elementwise", 2 * 16),
        (lambda x: F.batch_norm(x, None, None, training=True), "elementwise", 5 * 16),
        (lambda x: F.layer_norm(x, (4,)), "elementwise", 5 * 16),
        (lambda x: F.fold(x.view(1, 4, 4), (3, 3), 2), "elementwise", 16),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "elementwise", 7 * 64),
        (lambda x: F.interpolate(x, scale_factor=2), "elementwise", 0),
        (lambda x: F.glu(x), "elementwise", 2 * 8),
        (lambda x: x + x.flip(0), "elementwise", 16),  # a residual
    ],
)
def test_scalar_operations(function, column: str, amount: int) -> None:
    net = nn.Module()
    net.forward = lambda x: function(x.view(1, 1, 4, 4))  # type: ignore[method-assign]
    with record(net) as tape:
        net(torch.rand(1, 16))
    if amount == 0:
        assert not tape.rows and not tape.uncounted
        return
    totals = count(tape, strict=True).totals
    assert {name: totals[name] for name in ("elementwise", "comparisons") if totals[name]} == {column: amount}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.linalg.svd, "linalg_svd"),
        (torch.linalg.eigvals, "linalg_eigvals"),
        (torch.linalg.matrix_exp, "linalg_matrix_exp"),
    ],
)
def test_functions_that_cannot_be_counted_are_listed(function, name: str) -> None:
    net = as_module(function)
    with record(net) as tape:
        net(torch.eye(4))
    counts = count(tape)
    assert {entry["function"] for entry in counts.uncounted} == {name}
    assert f"NOT COUNTED: {name}" in repr(counts)
    assert name in counts._repr_html_()
    with pytest.raises(InputError, match=name):
        count(tape, strict=True)
    with pytest.raises(InputError, match=name):
        estimate(counts)


def test_adding_counts_of_different_models_is_refused() -> None:
    runs = []
    for size in (2, 3):
        net = nn.Linear(size, 1)
        with record(net) as tape:
            net(torch.ones(1, size))
        runs.append(count(tape))
    with pytest.raises(InputError, match="same model"):
        runs[0] + runs[1]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_scripted_code_is_counted() -> None:
    def product(x: Tensor, weight: Tensor) -> Tensor:
        return torch.relu(x @ weight)

    scripted = torch.jit.script(product)
    net = as_module(lambda x: scripted(x, torch.eye(4)) + 1)
    with record(net) as tape:
        net(torch.eye(4))
    totals = count(tape, strict=True).totals
    assert (totals["dense_ops"], totals["effective_macs"]) == (4 * 4 * 4, 4)
    assert (totals["comparisons"], totals["elementwise"]) == (16, 16)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own rules of forward derivatives
@pytest.mark.parametrize(
    ("function", "dense", "both"),
    [
        (lambda x: torch.einsum("ij,jk,kl->il", x, x, x), 2 * 64, 2 * 4),
        (lambda x: torch.vmap(lambda row: row @ x)(x), 64, 4),
        # torch also multiplies by the tangent of the second factor, which is zero
        (lambda x: torch.func.jvp(lambda y: y @ x, (x,), (x,))[1], 3 * 64, 2 * 4),
        (lambda x: torch.einsum("ii->i", x), 0, 0),
    ],
    ids=["three operands", "vmap", "jvp", "diagonal"],
)
def test_products_inside_transforms_and_long_equations(function, dense: int, both: int) -> None:
    net = as_module(function)
    with record(net) as tape:
        net(torch.eye(4))
    totals = OperationCounts((), 1).totals if not tape.rows else count(tape, strict=True).totals
    assert (totals["dense_ops"], totals["effective_macs"]) == (dense, both)


@pytest.mark.parametrize("dataflow", ["no_reuse", "weight_stationary", "output_stationary", "event_driven"])
def test_every_product_has_an_energy(dataflow: str) -> None:
    """Every kind of row that multiplies or accumulates has an energy."""

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.attend = nn.Embedding(7, 4), nn.MultiheadAttention(4, 2, batch_first=True)
            self.recall, self.grow = nn.GRU(4, 4, batch_first=True), nn.ConvTranspose1d(5, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.words(x)
            x = self.attend(x, x, x, need_weights=False)[0]
            return self.grow(self.recall(x)[0])

    with record(net := Reads()) as tape:
        net(torch.tensor([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]]))
    report = estimate(count(tape, strict=True), dataflow=dataflow)
    kinds = {row["kind"]: row["compute"] for row in report.rows if row["kind"] not in ("compare", "elementwise")}
    assert set(kinds) == {"embedding", "linear", "matmul", "conv"}
    assert all(joules > 0 for joules in kinds.values())
