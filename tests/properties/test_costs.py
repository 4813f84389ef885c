"""Scalar costs of drawn operators against what a sum of ones says: each addition adds a one."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from neurosparse.meter.costs import is_free, scalar_cost

aten = torch.ops.aten
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)
SEEDS = st.integers(0, 2**31)


def cost(func, *args, **kwargs) -> int:
    found = scalar_cost(func, args, kwargs, func(*args, **kwargs))
    assert found is not None and not is_free(func, args, kwargs)
    return found[1]


def ones_added(result: Tensor) -> int:
    return int(result.sum())


@given(SIZES, SIZES, st.sampled_from(["add.Tensor", "mul.Tensor", "maximum.default", "atan2.default", "le.Tensor"]))
def test_an_operation_of_two_tensors_costs_one_per_output(left, right, name):
    """Axes of size 1 on either side are broadcast."""
    size = max(len(left), len(right))
    left, right = [1] * (size - len(left)) + left, [1] * (size - len(right)) + right
    right = [b if 1 in (a, b) or a == b else a for a, b in zip(left, right, strict=True)]
    packet, overload = name.split(".")
    a, b = torch.rand(left), torch.rand(right)
    assert cost(getattr(getattr(aten, packet), overload), a, b) == sum(1 for _ in (a + b).flatten())


@given(SIZES, st.integers(0, 2), st.integers(0, 9), SEEDS)
def test_index_add_adds_every_source(sizes, axis, sources, seed):
    torch.manual_seed(seed)
    axis %= len(sizes)
    index = torch.randint(sizes[axis], (sources,))
    source = torch.ones([*sizes[:axis], sources, *sizes[axis + 1 :]])
    target = torch.zeros(sizes)
    assert cost(aten.index_add.default, target, axis, index, source) == ones_added(
        target.index_add(axis, index, source)
    )


@given(SIZES, st.integers(0, 2), st.integers(0, 9), SEEDS)
def test_scatter_add_adds_every_place_of_the_index(sizes, axis, sources, seed):
    torch.manual_seed(seed)
    axis %= len(sizes)
    shape = [int(torch.randint(1, n + 1, ())) for n in sizes]
    shape[axis] = sources
    index = torch.randint(sizes[axis], shape)
    larger = torch.ones([n + 2 for n in shape])  # of which only the places of the index are read
    target = torch.zeros(sizes)
    expected = ones_added(target.scatter_add(axis, index, larger))
    assert cost(aten.scatter_add.default, target, axis, index, larger) == expected
    assert cost(aten.scatter_reduce.two, target, axis, index, larger, "sum") == expected


@st.composite
def places(draw: st.DrawFn) -> tuple[list[int], list[Tensor | None]]:
    """Sizes of a tensor, and indices of it: numbers that are broadcast, masks, and axes that are left out."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    torch.manual_seed(draw(SEEDS))
    if draw(st.booleans()):
        return sizes, [torch.rand(sizes[: draw(st.integers(1, len(sizes)))]) < 0.5]
    many = draw(st.integers(1, 3))
    shapes = st.sampled_from([(many,), (1,), (2, many), (2, 1)])
    chosen = [draw(st.booleans()) for _ in sizes]
    indices = [torch.randint(n, draw(shapes)) if take else None for n, take in zip(sizes, chosen, strict=True)]
    return sizes, indices if any(chosen) else [torch.randint(sizes[0], (many,))]


@given(places())
def test_index_put_adds_at_every_place(case):
    sizes, indices = case
    target, one = torch.zeros(sizes), torch.tensor(1.0)
    expected = ones_added(aten.index_put(target, indices, one, True))
    assert cost(aten.index_put.default, target, indices, one, True) == expected
    assert is_free(aten.index_put.default, (target, indices, one), {})


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(1, 2),
    st.booleans(),
)  # fmt: skip
def test_windows_of_pooling_hold_what_a_convolution_of_ones_adds(
    height, width, kernel, stride, padding, dilation, ceil
):
    reach = (kernel - 1) * dilation + 1
    if padding > kernel // 2 or min(height, width) + 2 * padding < reach:
        return
    x = torch.ones(1, 1, height, width)
    args = ([kernel] * 2, [stride] * 2, [padding] * 2, [dilation] * 2, ceil)
    pooled = aten.max_pool2d_with_indices(x, *args)[0]
    room = [(n - 1) * stride + reach for n in pooled.shape[-2:]]  # windows that ceil_mode adds reach over the end
    extra = [max(0, n - m - 2 * padding) for n, m in zip(room, x.shape[-2:], strict=True)]
    padded = F.pad(x, (padding, padding + extra[1], padding, padding + extra[0]))
    added = F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride, dilation=dilation)
    assert cost(aten.max_pool2d_with_indices.default, x, *args) == ones_added(added)
    if dilation == 1:
        assert cost(aten.avg_pool2d.default, x, *args[:3], ceil) == ones_added(added)


@given(st.integers(1, 12), st.integers(1, 12))
def test_windows_of_adaptive_pooling_hold_what_their_gradient_reaches(size, bins):
    """The gradient of a mean times the size of its window is a one for each entry of the window."""
    x = torch.zeros(1, 1, size, 1, requires_grad=True)
    windows = [(size * i // bins, -(-size * (i + 1) // bins)) for i in range(bins)]
    out = F.adaptive_avg_pool2d(x, (bins, 1)).flatten()
    sums = (out * torch.tensor([float(end - start) for start, end in windows])).sum()
    (reached,) = torch.autograd.grad(sums, x)
    found = cost(aten._adaptive_avg_pool2d.default, x.detach(), [bins, 1])
    assert found == round(float(reached.sum()))


@given(st.lists(SIZES, min_size=1, max_size=4), st.sampled_from(["mul", "sqrt", "add", "addcmul", "norm", "clamp_min"]))
def test_an_operator_over_lists_costs_the_sum_of_its_tensors(shapes, name):
    tensors = [torch.rand(shape) for shape in shapes]
    rest = {"mul": (2.0,), "add": (tensors,), "addcmul": (tensors, tensors, 1.0), "clamp_min": (0.5,)}.get(name, ())
    func = getattr(aten, f"_foreach_{name}")
    overload = {"mul": "Scalar", "add": "List", "addcmul": "Scalar", "norm": "Scalar", "clamp_min": "Scalar"}
    listed = cost(getattr(func, overload.get(name, "default")), tensors, *rest)
    each = {"addcmul": 2, "norm": 2}.get(name, 1)
    assert listed == each * sum(len(x.flatten()) for x in tensors)
