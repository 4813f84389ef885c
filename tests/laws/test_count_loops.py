"""Counts of random layers against loops over every pair of an input and a weight."""

from typing import Any

import counting
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neurosparse.measure import meter
from neurosparse.measure.count import count
from neurosparse.measure.equations import EQUATIONS
from neurosparse.measure.ledger import Ledger
from neurosparse.measure.record import as_module, record

SEEDS = st.integers(0, 2**32 - 1)
CONVOLVE = {
    False: (F.conv1d, F.conv2d, F.conv3d),
    True: (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}


def sparse(generator: np.random.Generator, shape: tuple[int, ...], density: float = 0.5) -> np.ndarray:
    return (generator.standard_normal(shape) * (generator.random(shape) < density)).astype(np.float32)


def metered(model: Any, *inputs: np.ndarray, **options: Any) -> Ledger:
    with torch.no_grad(), record(model := as_module(model), **options) as tape:
        model(*(torch.from_numpy(x) for x in inputs))
    return count(tape, strict=True)


def of(row: Any) -> counting.Counted:
    dense, skipped = row["dense_ops"], (row["skipped_zero_inputs"], row["skipped_zero_weights"])
    both = row["effective_macs"] + row["effective_acs"]
    return counting.Counted(dense, dense - skipped[0], dense - skipped[1], both)


@st.composite
def convolutions(draw: st.DrawFn, transposed: bool) -> dict[str, Any]:
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    space, kernel, stride, dilation = each(1, 5 - axes), each(1, 3), each(1, 3), each(1, 2)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    out_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    if transposed:  # at least one output is left
        most = [((n - 1) * s + r + o) // 2 for n, s, r, o in zip(space, stride, reach, out_padding, strict=True)]
        padding = tuple(draw(st.integers(0, min(2, m))) for m in most)
    else:
        padding = tuple(draw(st.integers(max(0, -((n - 1 - r) // 2)), 3)) for n, r in zip(space, reach, strict=True))
    channels = [groups * draw(st.integers(1, 2)) for _ in range(2)]
    generator = np.random.default_rng(draw(SEEDS))
    first, second = channels if transposed else channels[::-1]
    return {
        "axes": axes,
        "x": sparse(generator, (2, channels[0], *space)),
        "weight": sparse(generator, (first, second // groups, *kernel), 0.7),
        "geometry": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        "out_padding": out_padding if transposed else None,
    }


@pytest.mark.parametrize("transposed", [False, True], ids=["gathers", "scatters"])
def test_convolutions(transposed: bool) -> None:
    @settings(max_examples=40)
    @given(convolutions(transposed))
    def law(case: dict[str, Any]) -> None:
        how = case["geometry"] | ({"output_padding": case["out_padding"]} if transposed else {})
        weight = torch.from_numpy(case["weight"])
        convolve = CONVOLVE[transposed][case["axes"] - 1]
        (row,) = metered(lambda x: convolve(x, weight, **how), case["x"]).rows
        assert row["kind"] == "conv"
        assert of(row) == counting.convolution(
            case["x"], case["weight"], **case["geometry"], out_padding=case["out_padding"]
        )

    law()


CONTRACTIONS: dict[str, tuple[Any, str, str]] = {
    "matmul": (torch.matmul, "bij,bjk->bik", "matmul"),
    "matmul repeats": (lambda a, b: a @ b[:1], "bij,bjk->bik", "matmul"),
    "matmul of vectors": (lambda a, b: a[0, 0] @ b[0, :, 0], "j,j->", "matmul"),
    "bmm": (torch.bmm, "bij,bjk->bik", "matmul"),
    "baddbmm": (lambda a, b: torch.baddbmm(a.new_ones(()), a, b), "bij,bjk->bik", "matmul"),
    "addbmm": (lambda a, b: torch.addbmm(a.new_ones(()), a, b), "bij,bjk->ik", "matmul"),
    "mm": (lambda a, b: torch.mm(a[0], b[0]), "ij,jk->ik", "matmul"),
    "addmm": (lambda a, b: torch.addmm(a.new_ones(()), a[0], b[0]), "ij,jk->ik", "matmul"),
    "mv": (lambda a, b: torch.mv(a[0], b[0, :, 0]), "ij,j->i", "matmul"),
    "linear": (lambda a, b: F.linear(a[0], b[0].T), "ij,jk->ik", "matmul"),
    "einsum": (lambda a, b: torch.einsum("bij, bjk", a, b), "bij,bjk->ik", "matmul"),
    "einsum with dots": (lambda a, b: torch.einsum("...ij,...jk->i...", a, b), "bij,bjk->ib", "matmul"),
    "outer einsum": (lambda a, b: torch.einsum("bij,cjk->ik", a, b), "bij,cjk->ik", "matmul"),
    "tensordot": (lambda a, b: torch.tensordot(a, b, dims=([2, 0], [1, 0])), "bij,bjk->ik", "matmul"),
    "outer": (lambda a, b: torch.outer(a[0, 0], b[0, :, 0]), "x,y->xy", "matmul"),
    "inner": (lambda a, b: torch.inner(a[0], b[0].T), "ij,jk->ik", "matmul"),
    "vecdot": (lambda a, b: torch.linalg.vecdot(a[0], b[0].T[:1]), "ij,ij->i", "matmul"),
}
SLICES = {
    "matmul repeats": lambda a, b: (a, b[:1]),
    **dict.fromkeys(("mm", "addmm", "linear", "inner"), lambda a, b: (a[0], b[0])),
    "mv": lambda a, b: (a[0], b[0, :, 0]),
    "vecdot": lambda a, b: (a[0], b[0].T[:1]),
    **dict.fromkeys(("outer", "matmul of vectors"), lambda a, b: (a[0, 0], b[0, :, 0])),
}


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_products_of_two_signals(name: str) -> None:
    function, equation, kind = CONTRACTIONS[name]

    @settings(max_examples=8)
    @given(st.tuples(*[st.integers(1, 4)] * 4), SEEDS)
    def law(sizes: tuple[int, ...], seed: int) -> None:
        batch, rows, inner, columns = sizes
        generator = np.random.default_rng(seed)
        a, b = sparse(generator, (batch, rows, inner)), sparse(generator, (batch, inner, columns))
        (row,) = metered(function, a, b).rows
        assert row["kind"] == kind
        x, y = SLICES.get(name, lambda *both: both)(a, b)
        assert of(row) == counting.contraction(equation, x, y)
        outputs = function(torch.from_numpy(a), torch.from_numpy(b)).numel()
        assert row["output_cells"] == outputs
        assert row["bias_adds"] == (outputs if name.startswith(("add", "badd")) else 0)
        assert (row["input_cells"], row["weights"]) == (x.size, -(-y.size // batch))

    law()


@settings(max_examples=15)
@given(st.tuples(*[st.integers(1, 4)] * 4), SEEDS)
def test_a_constant_of_three_axes_is_a_weight_on_either_side(sizes: tuple[int, ...], seed: int) -> None:
    batch, rows, inner, columns = sizes
    generator = np.random.default_rng(seed)
    x, weight = sparse(generator, (batch, rows, inner)), sparse(generator, (batch, inner, columns))
    held = torch.from_numpy(weight)
    (row,) = metered(lambda x: x @ held, x).rows
    (turned,) = metered(lambda x: held.mT @ x.mT, x).rows
    assert row["kind"] == turned["kind"] == "linear" and row["weights"] == turned["weights"] == weight.size
    assert of(row) == of(turned) == counting.contraction("bij,bjk->bik", x, weight)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 1), SEEDS)
def test_pools_read_no_padding(axes: int, kernel: int, stride: int, padding: int, seed: int) -> None:
    space = tuple(int(n) for n in np.random.default_rng(seed).integers(max(1, kernel - 1), kernel + 3, axes))
    padding = padding * (kernel > 1)
    space = tuple(max(n, kernel - 2 * padding) for n in space)
    image = torch.ones(2, 3, *space)
    average = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    largest = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    out = average(image, kernel, stride, padding).shape[2:]
    covered = 6 * counting.pooling(
        space, out, lambda axis, i: range(i * stride - padding, i * stride - padding + kernel)
    )
    assert metered(lambda x: average(x, kernel, stride, padding), image.numpy()).totals["elementwise"] == covered
    for indices in (False, True):
        pool = metered(lambda x, i=indices: largest(x, kernel, stride, padding, return_indices=i), image.numpy())
        assert pool.totals["comparisons"] == covered


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 2))
def test_adaptive_windows_may_overlap(size: int, out: int, axes: int) -> None:
    image = torch.ones(2, 3, *[size] * axes)

    def window(axis: int, i: int) -> range:
        return range(i * size // out, -(-(i + 1) * size // out))

    covered = 6 * counting.pooling(image.shape[2:], [out] * axes, window)
    mean, most = (
        (F.adaptive_avg_pool1d, F.adaptive_max_pool1d) if axes == 1 else (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
    )
    assert metered(lambda x: mean(x, out), image.numpy()).totals["elementwise"] == covered
    assert metered(lambda x: most(x, out), image.numpy()).totals["comparisons"] == covered


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), SEEDS)
def test_embeddings_send_the_rows_they_look_up(entries: int, width: int, samples: int, tokens: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    table, words = sparse(generator, (entries, width)), generator.integers(0, entries, (samples, tokens))
    weight = torch.from_numpy(table)
    (row,) = metered(lambda x: F.embedding(x, weight), words).rows
    nonzero = sum(int((table[word] != 0).sum()) for word in words.flatten())
    assert (row["kind"], row["dense_ops"], row["effective_acs"]) == ("embedding", words.size * width, nonzero)
    assert (row["weights"], row["output_cells"]) == (table.size, words.size * width)
    index = max(1, int(np.ceil(np.log2(entries))))
    assert row["bytes_read"] == words.size * (-(-index // 8) + 4 * width)
    (bag,) = metered(lambda x: F.embedding_bag(x, weight, mode="sum", padding_idx=0), words).rows
    kept = [word for word in words.flatten() if word != 0]
    assert (bag["dense_ops"], bag["output_cells"]) == (len(kept) * width, samples * width)
    assert bag["effective_acs"] == sum(int((table[word] != 0).sum()) for word in kept)
    mean = metered(lambda x: F.embedding_bag(x, weight, mode="mean"), words).totals
    assert (mean["effective_acs"], mean["elementwise"]) == (nonzero, samples * width)
    most = metered(lambda x: F.embedding_bag(x, weight, mode="max"), words).totals
    assert (most["dense_ops"], most["comparisons"]) == (0, words.size * width)
    share = torch.full(words.shape, 0.5)
    weighed = metered(lambda x: F.embedding_bag(x, weight, mode="sum", per_sample_weights=share), words).totals
    assert (weighed["effective_acs"], weighed["effective_macs"]) == (0, nonzero)


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
    def law(n_in: int, n_out: int, steps: int, samples: int, seed: int) -> None:
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

    law()


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


def test_packed_sequences_pay_for_what_they_hold() -> None:
    net, lengths = nn.GRU(5, 4, bidirectional=True), [4, 2, 1]
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(4, 3, 5), torch.tensor(lengths))
    with record(net, samples=0) as tape:
        net(packed)
    assert count(tape, strict=True).totals["dense_ops"] == sum(lengths) * 2 * 3 * 4 * (5 + 4)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.RNN(3, 4, 2, nonlinearity="relu"), (5, 2, 3)),
        (lambda: nn.RNN(3, 4, bias=False), (5, 2, 3)),
        (lambda: nn.GRU(3, 4, 2, bidirectional=True), (5, 2, 3)),
        (lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), (5, 2, 3)),
        (lambda: nn.LSTM(3, 4, batch_first=True), (5, 2, 3)),
        (lambda: nn.LSTMCell(3, 4), (2, 3)),
        (lambda: nn.LSTMCell(3, 4, bias=False), (2, 3)),
        (lambda: nn.GRUCell(3, 4), (2, 3)),
        (lambda: nn.RNNCell(3, 4), (2, 3)),
        (lambda: as_module(lambda x: F.scaled_dot_product_attention(x, x, x)), (2, 2, 5, 4)),
        (lambda: as_module(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)), (2, 2, 5, 4)),
        (lambda: as_module(lambda x: F.scaled_dot_product_attention(x, x, x, x @ x.mT, scale=0.2)), (2, 2, 5, 4)),
        (
            lambda: as_module(lambda x: F.scaled_dot_product_attention(x, x[:, :1], x[:, :1], enable_gqa=True)),
            (2, 2, 5, 4),
        ),
        (lambda: as_module(lambda x: F.bilinear(x, 2 * x, torch.ones(2, 3, 3), torch.ones(2))), (5, 3)),
    ],
)
def test_an_equation_is_what_torch_computes(
    monkeypatch: pytest.MonkeyPatch, build: Any, shape: tuple[int, ...]
) -> None:
    compared = []

    def checked(equation: Any, function: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            with torch._C.DisableTorchFunction():
                mine, theirs = equation(*args, **kwargs), function(*args, **kwargs)
            both = [x if isinstance(x, Tensor) else x[0] for x in (mine, theirs)]
            compared.append(torch.allclose(*both, atol=1e-6))
            return mine

        return run

    where = {"scaled_dot_product_attention": F, "bilinear": torch}
    mended = {name: checked(rule, getattr(where.get(name, torch._VF), name)) for name, rule in EQUATIONS.items()}
    monkeypatch.setattr(meter, "EQUATIONS", mended)
    torch.manual_seed(1)
    with torch.no_grad(), record(net := build()) as tape:
        net(torch.randn(shape))
    assert compared == [True] and not tape.uncounted


class Attends(nn.Module):
    """Self-attention written out: what the library's own must cost."""

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
    ledger, written = metered(own, x.numpy()), metered(Attends(attention), x.numpy())
    products = {"linear": 4 * width**2 * tokens, "matmul": 2 * tokens**2 * width}
    for kind, dense in products.items():
        for each in (ledger, written):
            assert sum(row["effective_macs"] for row in each.rows if row["kind"] == kind) == samples * dense
    assert ledger.totals["weights"] == 4 * width**2
    assert ledger.totals["bias_adds"] == 4 * samples * tokens * width


def test_other_kinds_of_attention_are_taken_apart() -> None:
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
    """Spikes meet spikes, then values: queries and keys of a spiking transformer need no multiplication."""

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
