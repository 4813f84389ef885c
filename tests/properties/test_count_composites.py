"""Recurrent networks and attention: what the products inside them cost."""

from typing import Any

import counting
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import as_module, record

SEEDS = st.integers(0, 2**32 - 1)


def sparse(generator: np.random.Generator, shape: tuple[int, ...], density: float = 0.5) -> np.ndarray:
    return (generator.standard_normal(shape) * (generator.random(shape) < density)).astype(np.float32)


def metered(model: Any, *inputs: np.ndarray, **options: Any) -> OperationCounts:
    with torch.no_grad(), record(model := as_module(model), **options) as tape:
        model(*(torch.from_numpy(x) for x in inputs))
    return count(tape, strict=True)


def of(row: Any) -> counting.Counted:
    dense, skipped = row["dense_ops"], (row["skipped_zero_inputs"], row["skipped_zero_weights"])
    both = row["effective_macs"] + row["effective_acs"]
    return counting.Counted(dense, dense - skipped[0], dense - skipped[1], both)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def recur(kind: str, x: np.ndarray, state: list[np.ndarray], w_ih: np.ndarray, w_hh: np.ndarray) -> list[np.ndarray]:
    """One step of a cell without biases, in NumPy."""
    a, b = x @ w_ih.T, state[0] @ w_hh.T
    if kind == "rnn":
        return [np.tanh(a + b)]
    if kind == "gru":
        (r, z, n), (r_h, z_h, n_h) = np.split(a, 3, -1), np.split(b, 3, -1)
        z = sigmoid(z + z_h)
        return [(1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * state[0]]
    i, f, g, o = np.split(a + b, 4, -1)
    cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(cell), cell]


RECURRENT = {"rnn": (nn.RNN, nn.RNNCell, 1), "gru": (nn.GRU, nn.GRUCell, 3), "lstm": (nn.LSTM, nn.LSTMCell, 4)}


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_networks(kind: str) -> None:
    """Zeros of the first state are skipped, and those of no other."""
    build, build_cell, gates = RECURRENT[kind]

    @settings(max_examples=6)
    @given(*[st.integers(1, 3)] * 4, SEEDS)
    def check(n_in: int, n_out: int, steps: int, samples: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        x = sparse(generator, (steps, samples, n_in))
        w_ih, w_hh = sparse(generator, (gates * n_out, n_in)), sparse(generator, (gates * n_out, n_out))
        cell = build_cell(n_in, n_out, bias=False).requires_grad_(False)
        layer = build(n_in, n_out, bias=False).requires_grad_(False)
        for module, suffix in ((cell, ""), (layer, "_l0")):
            getattr(module, f"weight_ih{suffix}").copy_(torch.from_numpy(w_ih))
            getattr(module, f"weight_hh{suffix}").copy_(torch.from_numpy(w_hh))
        state = [np.zeros((samples, n_out), np.float32)] * (1 + (kind == "lstm"))
        before = []
        for step in x:
            before.append(state[0])
            state = recur(kind, step, state, w_ih, w_hh)
        inner, outer = counting.linear(x, w_ih), counting.linear(np.stack(before), w_hh)
        rows = {row["layer"]: row for row in metered(layer, x, samples=1).rows if row["kind"] == "linear"}
        assert (of(rows["weight_ih_l0"]), of(rows["weight_hh_l0"])) == (inner, outer)
        with record(cell, calls="steps") as tape:
            hidden = None
            for step in torch.from_numpy(x).unbind(0):
                hidden = cell(step, hidden)
        stepped = {row["layer"]: row for row in count(tape, strict=True).rows if row["kind"] == "linear"}
        assert (of(stepped["weight_ih"]), of(stepped["weight_hh"])) == (inner, outer)

    check()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_recurrent_layers_stack_turn_and_project() -> None:
    """Dense products of two layers, two directions and a projection: 4 H (I + P) + H P for each, step by step."""
    steps, samples, n_in, hidden, projected = 3, 2, 5, 4, 3
    net = nn.LSTM(n_in, hidden, num_layers=2, bidirectional=True, proj_size=projected)
    totals = metered(net, np.ones((steps, samples, n_in), np.float32), samples=1).totals
    own = projected * hidden + 4 * hidden * projected
    first, second = own + 4 * hidden * n_in, own + 4 * hidden * 2 * projected
    assert totals["dense_ops"] == steps * samples * 2 * (first + second)
    assert totals["weights"] == sum(p.numel() for name, p in net.named_parameters() if "weight" in name)
    assert totals["bias_adds"] == steps * samples * 2 * 2 * 2 * 4 * hidden
    backwards = metered(nn.LSTM(n_in, hidden, batch_first=True), np.ones((samples, steps, n_in), np.float32))
    assert (backwards.samples, backwards.totals["dense_ops"]) == (
        samples,
        steps * samples * 4 * hidden * (n_in + hidden),
    )


def test_packed_sequences_are_charged_without_padding() -> None:
    net, lengths = nn.GRU(5, 4, bidirectional=True), [4, 2, 1]
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(4, 3, 5), torch.tensor(lengths))
    with record(net, samples=0) as tape:
        net(packed)
    assert count(tape, strict=True).totals["dense_ops"] == sum(lengths) * 2 * 3 * 4 * (5 + 4)


class Attends(nn.Module):
    """Self-attention in single functions, for comparison."""

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        heads, width = self.attention.num_heads, x.shape[-1]
        packed = F.linear(x, self.attention.in_proj_weight, self.attention.in_proj_bias)
        q, k, v = packed.unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
        weights = ((q / (width // heads) ** 0.5) @ k.mT).softmax(-1)
        return self.attention.out_proj((weights @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mode", [nn.Module.train, nn.Module.eval])
def test_attention(need_weights: bool, mode: Any) -> None:
    samples, tokens, width, heads = 3, 5, 8, 2
    attention = mode(nn.MultiheadAttention(width, heads, batch_first=True))
    x = torch.randn(samples, tokens, width)
    own = as_module(lambda x: attention(x, x, x, need_weights=need_weights)[0])
    counts, written = metered(own, x.numpy()), metered(Attends(attention), x.numpy())
    products = {"linear": 4 * width**2 * tokens, "matmul": 2 * tokens**2 * width}
    for kind, dense in products.items():
        for each in (counts, written):
            assert sum(row["effective_macs"] for row in each.rows if row["kind"] == kind) == samples * dense
    assert counts.totals["weights"] == 4 * width**2
    assert counts.totals["bias_adds"] == 4 * samples * tokens * width


def test_other_kinds_of_attention_are_counted_by_their_equations() -> None:
    """Keys and values of their own widths, masks, and a whole transformer layer: nothing is left uncounted."""
    x, y = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True, add_bias_kv=True, add_zero_attn=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    with record(attention) as tape:
        attention(x, y, y, key_padding_mask=mask)
    totals = count(tape, strict=True).totals
    keys = 3 + 2  # one of biases and one of zeros
    assert totals["dense_ops"] == 2 * (5 * 8 * 8 * 2 + 2 * 3 * 6 * 8 + 2 * 5 * keys * 8)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    assert metered(layer, x.numpy()).totals["dense_ops"] == 2 * (4 * 5 * 64 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16)


def test_attention_between_spikes_accumulates() -> None:
    """Products of spikes with spikes and with values: a spiking transformer needs no multiplication."""

    class Spiking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spikes = nn.Threshold(0.5, 0.0)
            self.spikes.forward = lambda x: (x > 0.5).float()  # type: ignore[method-assign]

        def forward(self, x: Tensor) -> Tensor:
            sent = self.spikes(x)
            return (sent @ sent.mT) @ sent

    x = np.random.default_rng(0).random((2, 4, 3), np.float32)
    sent = (x > 0.5).astype(np.float32)
    rows = metered(Spiking(), x, spiking=["spikes"]).rows
    (row,) = [row for row in rows if row["kind"] == "matmul"]
    first = counting.contraction("bij,bkj->bik", sent, sent)
    second = counting.contraction("bik,bkj->bij", sent @ sent.transpose(0, 2, 1), sent)
    assert (row["effective_macs"], row["effective_acs"]) == (0, first.both + second.both)
    assert row["input_bits"] == 1
