"""Products of ATen operators against counts by hand: shapes in a comment, effective pairs from masks of 0 and 1.

The masks go through torch's own functions in float64, which count pairs exactly: every product of two ones adds one.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hand_counts import GEOMETRIES, Counts, counts_of, mask, pairs, recorded, sparse
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

import neurosparse as ns
from neurosparse.meter.matrices import Roles
from neurosparse.meter.products import PRODUCTS

# Each case: the call, the shapes of its operands, the pairs of their masks, and by hand the dense products, additions
# of a bias, element-wise operations and comparisons.
MATRICES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...], Callable[..., int], tuple[int, ...]]] = {
    # (3, 4) @ (4, 5): 3 * 4 * 5
    "mm": (torch.mm, ((3, 4), (4, 5)), pairs("xy,yz"), (60,)),
    # 15 outputs: one addition each
    "addmm": (lambda a, b: torch.addmm(torch.ones(5), a, b), ((3, 4), (4, 5)), pairs("xy,yz"), (60, 15)),
    # 15 outputs: each of alpha and beta multiplies them once
    "addmm scaled": (
        lambda a, b: torch.addmm(torch.ones(5), a, b, alpha=2, beta=0.5),
        ((3, 4), (4, 5)),
        pairs("xy,yz"),
        (60, 15, 30),
    ),
    # beta = 0: nothing is added, and nothing multiplied by it
    "addmm without addition": (
        lambda a, b: torch.addmm(torch.ones(5), a, b, beta=0),
        ((3, 4), (4, 5)),
        pairs("xy,yz"),
        (60,),
    ),
    # the operands by name, in any order (M5)
    "mm by name": (lambda a, b: torch.mm(mat2=b, input=a), ((3, 4), (4, 5)), pairs("xy,yz"), (60,)),
    # (3, 4) @ (4): 3 * 4
    "mv": (torch.mv, ((3, 4), (4,)), pairs("xy,y"), (12,)),
    "addmv": (lambda a, b: torch.addmv(torch.ones(3), a, b), ((3, 4), (4,)), pairs("xy,y"), (12, 3)),
    "dot": (torch.dot, ((6,), (6,)), pairs("x,x"), (6,)),
    "vdot": (torch.vdot, ((6,), (6,)), pairs("x,x"), (6,)),
    # 2 matrices: 2 * 3 * 4 * 5
    "bmm": (torch.bmm, ((2, 3, 4), (2, 4, 5)), pairs("bxy,byz"), (120,)),
    "baddbmm": (
        lambda a, b: torch.baddbmm(torch.ones(3, 5), a, b, alpha=3),
        ((2, 3, 4), (2, 4, 5)),
        pairs("bxy,byz"),
        (120, 30, 30),
    ),
    # the sum over both matrices is 3 x 5
    "addbmm": (
        lambda a, b: torch.addbmm(torch.ones(3, 5), a, b),
        ((2, 3, 4), (2, 4, 5)),
        pairs("bxy,byz"),
        (120, 15),
    ),
    "addr": (lambda a, b: torch.addr(torch.ones(3, 4), a, b), ((3,), (4,)), pairs("x,y"), (12, 12)),
    # 2 * 6 rows of 4, each times (5, 4)
    "linear": (F.linear, ((2, 6, 4), (5, 4)), pairs("abi,oi"), (240,)),
    # the second operand is repeated for the 2 of the first axis: 2 * 3 * 4 * 5 * 6
    "matmul": (torch.matmul, ((2, 3, 4, 5), (3, 5, 6)), pairs("abxy,byz"), (720,)),
    "matmul of a vector": (torch.matmul, ((5,), (3, 5, 6)), pairs("y,byz"), (90,)),
    "einsum": (lambda a, b: torch.einsum("bij,kj->bik", a, b), ((2, 3, 4), (5, 4)), pairs("bij,kj"), (120,)),
    "tensordot": (
        lambda a, b: torch.tensordot(a, b, ([1, 2], [1, 0])),
        ((2, 3, 4), (4, 3, 5)),
        pairs("bij,jik"),
        (120,),
    ),
    "inner": (torch.inner, ((3, 4), (5, 4)), pairs("xy,zy"), (60,)),
    # two products: (3, 4) @ (4, 5) with 60 pairs, then (3, 5) @ (5, 2); values of the middle are counted as they are
    "multi_dot": (
        lambda a, b, c: torch.linalg.multi_dot((a, b, c)),
        ((3, 4), (4, 5), (5, 1)),
        lambda a, b, c: pairs("xy,yz")(b, c) + pairs("xy,yz")(a, mask(b.float() @ c.float())),
        (4 * 5 * 1 + 3 * 4 * 1,),
    ),
    "covariance": (lambda a: a.mT @ a, ((4, 3),), lambda a: pairs("xy,xz")(a, a), (36,)),
    # 12 outputs: a ReLU compares each, a GELU computes one function
    "addmm with a ReLU": (
        lambda a, b: torch._addmm_activation(torch.ones(4), a, b),
        ((3, 5), (5, 4)),
        pairs("xy,yz"),
        (60, 12, 0, 12),
    ),
    "addmm with a GELU": (
        lambda a, b: torch._addmm_activation(torch.ones(4), a, b, use_gelu=True),
        ((3, 5), (5, 4)),
        pairs("xy,yz"),
        (60, 12, 12),
    ),
    "nothing": (torch.mm, ((0, 4), (4, 5)), lambda a, b: 0, (0,)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str) -> None:
    function, shapes, both, expected = MATRICES[name]
    operands = [sparse(*shape, seed=i) for i, shape in enumerate(shapes)]
    dense, *others = expected
    assert recorded(function, *operands) == Counts(dense, both(*(mask(x) for x in operands)), *others)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.int8])
def test_products_of_any_type(dtype: torch.dtype) -> None:
    a, b = (10 * sparse(3, 4)).to(dtype), (10 * sparse(4, 5, seed=1)).to(dtype)
    assert recorded(torch.mm, a, b) == Counts(60, pairs("xy,yz")(mask(a), mask(b)))


def test_products_of_views() -> None:
    """Strides of a view change nothing: columns, every second row, a broadcast row, a conjugate."""
    x, w = sparse(6, 8), sparse(8, 4, seed=1)
    for a, b in ((x.T, w[:6]), (x[::2], w), (x[:1].expand(5, 8), w), (x.flip(1), w), (x.conj(), w)):
        dense = a.shape[0] * a.shape[1] * 4
        assert recorded(torch.mm, a, b) == Counts(dense, pairs("xy,yz")(mask(a), mask(b)))


def test_complex_products_are_their_real_ones() -> None:
    """(a + ib)(c + id) is four real products; a real or imaginary part of zero takes none (M5)."""
    a, b = torch.complex(sparse(3, 4), sparse(3, 4, seed=1)), torch.complex(sparse(4, 5, seed=2), torch.zeros(4, 5))
    parts = [torch.view_as_real(x) for x in (a, b)]
    expected = Counts(4 * 60, pairs("xyp,yzq")(*(mask(x) for x in parts)))
    assert recorded(torch.mm, a, b) == expected
    assert recorded(lambda a, b: torch.mm(a, b.mH), a, b.mH.contiguous()) == expected
    # Two real additions for each of the 15 outputs.
    assert recorded(lambda a, b: torch.addmm(torch.ones(5, dtype=a.dtype), a, b), a, b).bias_adds == 30


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "coo": Tensor.to_sparse,
    "csr": Tensor.to_sparse_csr,
    "csc": Tensor.to_sparse_csc,
    "bsr": lambda x: x.to_sparse_bsr((2, 2)),
}


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR) tensor support is in beta state")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_matrices(layout: str) -> None:
    """The zeros that a sparse matrix leaves out are zeros of a dense product: (4, 6) @ (6, 5)."""
    x, w = sparse(4, 6), sparse(6, 5, seed=1)
    held = LAYOUTS[layout](x)
    expected = Counts(120, pairs("xy,yz")(mask(x), mask(w)))
    assert recorded(lambda w: held @ w, w) == expected
    if layout != "bsr":
        assert recorded(lambda w: torch.sparse.mm(held, w), w) == expected
        assert recorded(lambda w: torch.addmm(torch.ones(4, 5), held, w), w) == expected._replace(bias_adds=20)
        assert recorded(lambda w: held @ w[:, 0], w) == Counts(24, pairs("xy,y")(mask(x), mask(w[:, 0])))
    if layout == "coo":
        both = Counts(4 * 6 * 4, pairs("xy,zy")(mask(x), mask(x)))
        assert recorded(lambda x: x.to_sparse() @ x.T.to_sparse(), x) == both


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC) tensor support is in beta state")
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_a_sparse_weight_is_held_once(layout: str) -> None:
    """Three products of (6, 6) with (6, 4): 3 * 6 * 6 * 4, and 36 weights."""

    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(LAYOUTS[layout](sparse(6, 6)))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = torch.mm(self.weight, x)
            return x

    with torch.no_grad(), ns.record(net := Repeats()) as tape:
        net(sparse(6, 4, seed=1))
    (row,) = ns.count(tape, strict=True).rows
    assert (row["dense_ops"], row["weights"], row["nonzero_weights"]) == (432, 36, int(mask(sparse(6, 6)).sum()))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_products_at_the_places_of_a_sparse_matrix() -> None:
    """Only the outputs that the pattern has are computed: its number of places times 4 inputs."""
    pattern = mask(sparse(3, 5)).float().to_sparse_csr()
    a, b = sparse(3, 4, seed=1), sparse(4, 5, seed=2)
    rows, columns = pattern.to_sparse_coo().indices()
    both = pairs("ny,yn")(mask(a)[rows], mask(b)[:, columns])
    places = len(rows)
    found = recorded(lambda a, b: torch.sparse.sampled_addmm(pattern, a, b, alpha=2), a, b)
    assert found == Counts(4 * places, both, places, places)


# ---- quantised


def test_products_of_eight_bits() -> None:
    """(4, 16) @ (16, 32): 4 * 16 * 32 products, and one scaling of each of the 128 outputs."""
    x, w = sparse(4, 16), sparse(16, 32, seed=1)
    both = pairs("xy,yz")
    small, columns = x.to(torch.float8_e4m3fn), w.T.contiguous().to(torch.float8_e4m3fn).T
    one = torch.ones(())
    found = recorded(lambda a: torch._scaled_mm(a, columns, one, one, out_dtype=torch.bfloat16), small)
    assert found == Counts(2048, both(mask(small.float()), mask(columns.float())), 0, 128)
    a, b = (20 * x).to(torch.int8), (20 * w).to(torch.int8)
    assert recorded(lambda a: torch._int_mm(a.repeat(5, 1), b), a) == Counts(5 * 2048, 5 * both(mask(a), mask(b)))
    scales, half = torch.rand(32).bfloat16(), x.bfloat16()
    found = recorded(lambda x: torch._weight_int8pack_mm(x, b.T.contiguous(), scales), half)
    assert found == Counts(2048, both(mask(half), mask(b)), 0, 128)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    "name", ["linear_dynamic", "linear_relu_dynamic", "linear_dynamic_fp16", "linear", "linear_relu"]
)
def test_quantised_layers(name: str) -> None:
    """(3, 6) times (4, 6) and four biases; values below half a step are zero. A ReLU compares the 12 outputs."""
    x, w = sparse(3, 6), sparse(4, 6, seed=1)
    operators, bits = torch.ops.quantized, 16 if name.endswith("fp16") else 8
    if bits == 16:
        packed, held, options = operators.linear_prepack_fp16(w, torch.ones(4)), w, ()
    else:
        quantised = torch.quantize_per_tensor(w, 0.05, 0, torch.qint8)
        packed, held, options = operators.linear_prepack(quantised, torch.ones(4)), quantised.dequantize(), ()
    if "dynamic" not in name:
        x, options = torch.quantize_per_tensor(x, 0.05, 128, torch.quint8), (0.1, 0)
    model = ns.meter.as_module(lambda x: getattr(operators, name)(x, packed, *options))
    with torch.no_grad(), ns.record(model) as tape:
        model(x)
    rows = ns.count(tape, strict=True).rows
    (row,) = [row for row in rows if row["dense_ops"]]
    both = pairs("xy,zy")(mask(x.dequantize()), mask(held))
    assert counts_of(rows) == Counts(72, both, 12, 0, 12 * ("relu" in name))
    assert (row["weight_bits"], row["input_bits"]) == ((16, 32) if bits == 16 else (8, 8))


def test_packed_weights_of_four_bits() -> None:
    """(3, 64) @ (64, 32) with values 0 to 15; 8 stands for zero where the zero point is zero."""
    values = torch.randint(0, 16, (32, 64), dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values, 1)
    scales = torch.stack([torch.ones(2, 32), torch.zeros(2, 32)], -1)
    x = sparse(3, 64)
    product = torch.ops.aten._weight_int4pack_mm_for_cpu
    model = ns.meter.as_module(lambda x: product(x, packed, 32, scales))
    with ns.record(model) as tape:
        model(x)
    (row,) = ns.count(tape, strict=True).rows
    assert counts_of([row]) == Counts(3 * 64 * 32, pairs("xy,zy")(mask(x), mask(values - 8)))
    assert row["weight_bits"] == 4


def test_experts_multiply_their_own_rows() -> None:
    """Rows 0-2 go to the first expert, none to the second, 3-7 to the third: 8 rows of 16 times 8."""
    x, w = sparse(8, 16).bfloat16(), sparse(3, 16, 8, seed=1).bfloat16()
    ends = torch.tensor([3, 3, 8], dtype=torch.int32)
    parts = [(0, 3, 0), (3, 8, 2)]
    both = sum(pairs("xy,yz")(mask(x[start:end]), mask(w[i])) for start, end, i in parts)
    assert recorded(lambda x: F.grouped_mm(x, w, offs=ends), x) == Counts(8 * 16 * 8, both)


# ---- convolutions


@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolutions(name: str) -> None:
    case = GEOMETRIES[name]
    x, w = sparse(*case.input), sparse(*case.weight, seed=1)
    out = case.function(mask(x), mask(w), **case.geometry)
    assert out.shape[2:] == case.outputs
    bias = torch.ones(out.shape[1])
    found = recorded(lambda x: case.function(x, w, bias, **case.geometry), x)
    assert found == Counts(case.dense, int(out.sum()), out.numel())


# ---- embeddings


def test_embeddings() -> None:
    """6 entries take 6 rows of 4; of 3 bags the mean divides 12 sums; a maximum compares instead of adding."""
    table, words = sparse(5, 4), torch.tensor([[1, 2], [0, 0], [4, 1]])
    both = int(mask(table)[words].sum())
    assert recorded(lambda words: F.embedding(words, table), words) == Counts(24, both)
    assert recorded(lambda words: F.embedding_bag(words, table, mode="sum"), words) == Counts(24, both)
    assert recorded(lambda words: F.embedding_bag(words, table, mode="mean"), words) == Counts(24, both, 0, 12)
    assert recorded(lambda words: F.embedding_bag(words, table, mode="max"), words) == Counts(0, 0, 0, 0, 24)
    # Without the entry 0 there are 4 rows.
    kept = int(mask(table)[words[words != 0]].sum())
    padded = recorded(lambda words: F.embedding_bag(words, table, mode="sum", padding_idx=0), words)
    assert padded == Counts(16, kept)


# ---- fused


def test_attention() -> None:
    """2 samples, 2 heads, 5 queries and 3 keys of 4 units, values of 4.

    Scores 2*2*5*3*4 and outputs 2*2*5*3*4; element-wise 80 scaled queries, and a softmax of 60 scores at 3 each.
    """
    q, k, v = sparse(2, 2, 5, 4), sparse(2, 2, 3, 4, seed=1), sparse(2, 2, 3, 4, seed=2)
    scores = pairs("bhqd,bhkd")(mask(q), mask(k))
    values = 5 * int(mask(v).sum())  # no attention weight is zero
    assert recorded(F.scaled_dot_product_attention, q, k, v) == Counts(480, scores + values, 0, 80 + 180)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_with_a_function_of_scores() -> None:
    """2 heads, 16 queries and keys of 8 units: scores and outputs 2*16*16*8 each; the function has no product."""
    q = sparse(1, 2, 16, 8)
    attend = ns.meter.as_module(lambda q: flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + (i - j)))
    assert recorded(attend, q)[:2] == (2 * 4096, pairs("bhqd,bhkd")(mask(q), mask(q)) + 16 * int(mask(q).sum()))


def test_a_loss_by_parts_of_the_batch() -> None:
    """(6, 5) times (7, 5), then for each sample two products: of its weight with its score, and with the sum of scores.

    With gradients the operator computes them at once: 6*7*5 products for the input and as many for the weights.
    """
    x, w, target = torch.randn(6, 5), torch.randn(7, 5), torch.arange(6)
    options = LinearCrossEntropyOptions(chunking_method=None, batch_chunk_size=2)
    assert recorded(lambda x: F.linear_cross_entropy(x, w, target, options=options), x).dense == 210 + 12
    w.requires_grad_()
    model = ns.meter.as_module(lambda x: F.linear_cross_entropy(x, w, target, options=options))
    with ns.record(model) as tape:
        model(x.requires_grad_())
    assert counts_of(ns.count(tape, strict=True).rows).dense == 3 * 210 + 12


def test_distances() -> None:
    """30 and 26 points of 4: products 30*26*4; squares and their sums 2*56*4, 120 doubled, two additions and a root."""
    x, y = sparse(30, 4), sparse(26, 4, seed=1)
    found = recorded(torch.cdist, x, y)
    assert found == Counts(3120, pairs("xd,yd")(mask(x), mask(y)), 0, 2 * 56 * 4 + 120 + 3 * 780, 780)


def test_a_bilinear_layer() -> None:
    """5 samples, (2, 3, 4): the left input times the weights 5*2*3*4, then 5*2*4 with the right input; 10 biases."""
    x, y, w = sparse(5, 3), sparse(5, 4, seed=1), sparse(2, 3, 4, seed=2)
    inner = mask(torch.einsum("ni,oij->noj", x, w))
    both = pairs("ni,oij")(mask(x), mask(w)) + pairs("noj,nj")(inner, mask(y))
    assert recorded(lambda x, y: F.bilinear(x, y, w), x, y) == Counts(120 + 40, both)


# ---- roles


def test_the_weight_is_what_does_not_depend_on_the_samples() -> None:
    """In a product from the left, too; of a product of two signals neither is."""

    class Left(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(sparse(5, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight @ x

    x = sparse(4, 3, seed=1)
    with ns.record(net := Left()) as tape:
        net(x)
    (row,) = ns.count(tape).rows
    assert (row["kind"], row["weights"], row["input_events"]) == ("linear", 20, int(mask(x).sum()))
    roles: list[tuple[Roles, str]] = [(("signal", "signal"), "matmul"), (("signal", "parameter"), "linear")]
    for (first, second), kind in roles:
        a, b = sparse(3, 4), sparse(4, 5, seed=1)
        (product,) = PRODUCTS["mm"](lambda t, a=a, first=first, second=second: first if t is a else second, a, b)
        assert product.operation.kind == kind
