"""Counts of random layers against loops over every pair of an input and a weight."""

from typing import Any

import counting
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.meter.count import count
from neurosparse.meter.operation_counts import OperationCounts
from neurosparse.meter.record import as_module, record

SEEDS = st.integers(0, 2**32 - 1)
CONVOLVE = {
    False: (F.conv1d, F.conv2d, F.conv3d),
    True: (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}


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
    def check(case: dict[str, Any]) -> None:
        how = case["geometry"] | ({"output_padding": case["out_padding"]} if transposed else {})
        weight = torch.from_numpy(case["weight"])
        convolve = CONVOLVE[transposed][case["axes"] - 1]
        (row,) = metered(lambda x: convolve(x, weight, **how), case["x"]).rows
        assert row["kind"] == "conv"
        assert of(row) == counting.convolution(
            case["x"], case["weight"], **case["geometry"], out_padding=case["out_padding"]
        )

    check()


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
    "tensordot": (lambda a, b: torch.tensordot(a, b, dims=([2, 0], [1, 0])), "bij,bjk->ik", "matmul"),
    "inner": (lambda a, b: torch.inner(a[0], b[0].T), "ij,jk->ik", "matmul"),
}
SLICES = {
    "matmul repeats": lambda a, b: (a, b[:1]),
    **dict.fromkeys(("mm", "addmm", "linear", "inner"), lambda a, b: (a[0], b[0])),
    "mv": lambda a, b: (a[0], b[0, :, 0]),
    "matmul of vectors": lambda a, b: (a[0, 0], b[0, :, 0]),
}


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_products_of_two_signals(name: str) -> None:
    function, equation, kind = CONTRACTIONS[name]

    @settings(max_examples=8)
    @given(st.tuples(*[st.integers(2, 4)] * 4), SEEDS)
    def check(sizes: tuple[int, ...], seed: int) -> None:
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

    check()


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
def test_embeddings_count_the_rows_they_look_up(entries: int, width: int, samples: int, tokens: int, seed: int) -> None:
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
