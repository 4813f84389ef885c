"""Drawn products: convolutions, their gradients and contractions against loops over all pairs."""

from typing import Any

import counting
import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurosparse.meter.contraction import Equation, Pairs, contract
from neurosparse.meter.fan_out import fan_out
from neurosparse.meter.matrices import matrices
from neurosparse.meter.products import PRODUCTS
from neurosparse.meter.tally import tally

SEEDS = st.integers(0, 2**32 - 1)
FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def sparse(generator: np.random.Generator, *shape: int) -> np.ndarray:
    density = generator.choice([0.2, 0.5, 1.0])
    return (generator.standard_normal(shape) * (generator.random(shape) < density)).astype(np.float32)


def counted(products: Any) -> list[counting.Counted]:
    found = []
    for product in products:
        columns = tally(product.operation)
        dense = columns["dense_ops"]
        one_sided = dense - columns["skipped_zero_inputs"], dense - columns["skipped_zero_weights"]
        found.append(counting.Counted(dense, *one_sided, columns["effective_macs"]))
    return found


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[np.random.Generator, dict[str, Any]]:
    """A generator of values, and the shapes and geometry of a (transposed) convolution that torch accepts."""
    axes, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    most = {1: 7, 2: 4, 3: 3}[axes]

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))

    stride, padding, dilation, kernel, space = each(1, 3), each(0, 2), each(1, 3), each(1, 3), each(1, most)
    transposed = draw(st.booleans())
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    for d in range(axes):  # at least one output
        if transposed:
            padding[d] = min(padding[d], ((space[d] - 1) * stride[d] + reach[d] + more[d]) // 2)
        else:
            space[d] = max(space[d], reach[d] + 1 - 2 * padding[d])
    channels, others = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    weight = (channels, others, *kernel) if transposed else (groups * others, channels // groups, *kernel)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    found = {"shape": (draw(st.integers(1, 2)), channels, *space), "weight": weight, "how": how}
    return np.random.default_rng(draw(SEEDS)), found | {"more": more if transposed else None}


def check_convolution(case: tuple[np.random.Generator, dict[str, Any]]) -> None:
    generator, drawn = case
    shape, how, more = drawn["shape"], drawn["how"], drawn["more"]
    x, weight = sparse(generator, *shape), sparse(generator, *drawn["weight"])
    function = (FORWARD if more is None else TRANSPOSED)[len(shape) - 2]
    named = how if more is None else how | {"output_padding": more}
    out = function(torch.from_numpy(x), torch.from_numpy(weight), **named)
    grad = sparse(generator, *out.shape)
    geometry = (*how.values(), more)
    tensors = [torch.from_numpy(y) for y in (x, weight, grad)]
    arguments = how["stride"], how["padding"], how["dilation"], more is not None, more or [0], how["groups"]
    forward = PRODUCTS["convolution"](lambda _: "signal", *tensors[:2], None, *arguments)
    assert counted(forward) == [counting.convolution(x, weight, *geometry)]
    assert tally(forward[0].operation)["output_cells"] == out.numel()
    backward = PRODUCTS["convolution_backward"](
        lambda _: "signal", tensors[2], *tensors[:2], None, *arguments, [True, True, False]
    )
    assert counted(backward) == [
        counting.input_gradient(grad, weight, shape, *geometry),
        counting.weight_gradient(x, grad, weight.shape, *geometry),
    ]
    assert [tally(product.operation)["output_cells"] for product in backward] == [x.size, weight.size]


@settings(max_examples=40)
@given(convolutions())
def test_convolutions_and_their_gradients(case: tuple[np.random.Generator, dict[str, Any]]) -> None:
    check_convolution(case)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 3), st.sampled_from(["same", "valid"]))
def test_fan_out_of_named_padding(kernel: int, size: int, dilation: int, padding: str) -> None:
    """``same`` padding of torch: as many outputs as inputs; an odd zero is put at the end."""
    if padding == "valid":
        size += dilation * (kernel - 1)
    zeros = dilation * (kernel - 1) if padding == "same" else 0
    padded = F.pad(torch.ones(1, 1, size), (zeros // 2, zeros - zeros // 2))
    weight = torch.ones(1, 1, kernel)
    expected = F.conv1d(padded, weight, dilation=dilation)
    each, outputs = fan_out(weight, (1, size), {"padding": padding, "dilation": dilation})
    assert (int(each.sum()), outputs) == (int(expected.sum()), expected.numel())


@st.composite
def equations(draw: st.DrawFn) -> tuple[Equation, list[tuple[int, ...]]]:
    """Two terms of up to four letters, any result of letters in them, and shapes in which an axis may be repeated."""
    left, right = (draw(st.lists(st.sampled_from("abcde"), max_size=4, unique=True)) for _ in range(2))
    out = draw(st.lists(st.sampled_from(sorted({*left, *right}) or ["a"]), max_size=3, unique=True))
    sizes = {letter: draw(st.integers(0, 3)) for letter in "abcde"}
    shapes = [tuple(draw(st.sampled_from([sizes[letter], 1])) for letter in term) for term in (left, right)]
    return Equation("".join(left), "".join(right), "".join(out if left or right else [])), shapes


@settings(max_examples=150)
@given(equations(), SEEDS)
def test_contractions(drawn: tuple[Equation, list[tuple[int, ...]]], seed: int) -> None:
    equation, shapes = drawn
    generator = np.random.default_rng(seed)
    left, right = (sparse(generator, *shape) for shape in shapes)
    found = contract(equation, *(torch.from_numpy(np.asarray(x)) for x in (left, right)))
    sizes = equation.sizes(left.shape, right.shape)
    whole = [
        np.broadcast_to(x, [sizes[letter] for letter in t]) for x, t in ((left, equation.left), (right, equation.right))
    ]
    assert found == Pairs(*counting.contraction(str(equation), *whole))


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 3), max_size=2),
    st.tuples(*[st.integers(1, 4)] * 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["signal", "parameter", "constant"]),
    st.sampled_from(["signal", "parameter", "constant"]),
    SEEDS,
)
def test_matrices_of_any_roles(
    batch: list[int], sizes: tuple[int, ...], vector: bool, of_vector: bool, first: Any, second: Any, seed: int
) -> None:
    """Which operand is the weight changes the columns of input and weight, never the pairs."""
    generator, (rows, inner, columns) = np.random.default_rng(seed), sizes
    a = sparse(generator, inner) if vector and not batch else sparse(generator, *batch, rows, inner)
    b = sparse(generator, inner) if of_vector else sparse(generator, inner, columns)
    (product,) = matrices((first, second), torch.from_numpy(a), torch.from_numpy(b), bias=True)
    (found,) = counted([product])
    terms = ["xyz"[: len(batch)] + "ij" if a.ndim > 1 else "j", "jk" if b.ndim > 1 else "j"]
    expected = counting.contraction(f"{','.join(terms)}->", a, b)
    swapped = product.weight is not None and product.weight.data_ptr() == torch.from_numpy(a).data_ptr()
    assert swapped == (second == "signal" != first or ((first, second) == ("parameter", "constant") and a.ndim == 2))
    assert found == (expected._replace(inputs=expected.weights, weights=expected.inputs) if swapped else expected)
    out = np.asarray(a @ b)
    assert tally(product.operation)["bias_adds"] == out.size


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 3)] * 4), st.booleans(), st.booleans(), SEEDS)
def test_complex_products(sizes: tuple[int, ...], first: bool, conjugate: bool, seed: int) -> None:
    """Four real products for two complex operands, two for a complex and a real one, of parts that are not zero."""
    generator, (batch, rows, inner, columns) = np.random.default_rng(seed), sizes

    def drawn(*shape: int) -> tuple[np.ndarray, Tensor]:
        parts = sparse(generator, *shape, 2)
        return parts, torch.view_as_complex(torch.from_numpy(parts))

    a, left = drawn(batch, rows, inner)
    b, right = drawn(batch, inner, columns)
    left = left.conj() if conjugate else left
    products = PRODUCTS["bmm"](lambda x: "signal" if (x is left) == first else "parameter", left, right)
    expected = counting.contraction("bijp,bjkq->", a, b)
    if not first:
        expected = expected._replace(inputs=expected.weights, weights=expected.inputs)
    assert counted(products) == [expected]
    assert tally(products[0].operation)["output_cells"] == 2 * batch * rows * columns
