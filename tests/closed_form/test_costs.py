"""Scalar operations of ATen operators, each counted by hand for a small call."""

import pytest
import torch
from torch import Tensor, ones, tensor

from neurosparse.meter.costs import is_free, name_of, scalar_cost

aten = torch.ops.aten


def whole(*values: int) -> Tensor:
    return tensor(values)


def overload(name: str):
    packet, _, each = name.partition(".")
    return getattr(getattr(aten, packet), each or "default")


x23, x45, image = ones(2, 3), ones(4, 5), ones(1, 2, 4, 4)
z23 = torch.complex(x23, x23)
edges = torch.zeros(10_000, dtype=torch.int64)
E, C = "elementwise", "comparisons"

#: Operator, arguments, column, number; the comment derives the number from the shapes.
BY_HAND = [
    # --- broadcast: one per output
    ("add.Tensor", (ones(2, 1), ones(1, 3)), {}, E, 6),  # 2 x 3 outputs
    ("add.Tensor", (x23, x23), {"alpha": 3}, E, 12),  # x + 3 y: a product and a sum for each of 6
    ("sub.Tensor", (x23, 1.0), {}, E, 6),
    ("rsub.Scalar", (x23, 1.0), {}, E, 6),
    ("mul.Tensor", (ones(7, 1), ones(1, 9)), {}, E, 63),  # outer product
    ("maximum", (ones(10, 1), ones(1, 40)), {}, C, 400),  # not the 10 of the first argument
    ("where.self", (x23 > 0, x23, x23), {}, E, 6),
    ("masked_fill.Scalar", (x23, x23 > 0, 0.0), {}, E, 6),
    ("pow.Tensor_Scalar", (x23, 3.0), {}, E, 6),
    ("exp", (x23,), {}, E, 6),
    ("gelu", (x23,), {}, E, 6),
    ("addcmul", (x23, x23, x23), {}, E, 12),  # product, sum
    ("addcmul", (x23, x23, x23), {"value": 0.5}, E, 18),  # two products, sum
    ("addcdiv", (x23, x23, x23), {"value": -0.1}, E, 18),  # the step of Adam
    ("lerp.Scalar", (x23, x23, 0.1), {}, E, 18),  # a + w (b - a)
    ("logaddexp", (x23, x23), {}, E, 12),
    ("glu", (ones(2, 6),), {}, E, 12),  # a sigmoid and a product for each of 6 outputs
    # --- complex: real operations
    ("add.Tensor", (z23, z23), {}, E, 12),  # two sums each
    ("mul.Tensor", (z23, z23), {}, E, 36),  # four products and two sums each
    ("mul.Tensor", (z23, x23), {}, E, 12),  # two products each
    ("abs", (z23,), {}, E, 24),  # two squares, a sum, a root
    ("sum", (z23,), {}, E, 12),
    # --- comparisons
    ("relu", (x23,), {}, C, 6),
    ("threshold", (x23, 0.0, 0.0), {}, C, 6),
    ("clamp", (x23, 0.0, 1.0), {}, C, 12),  # two bounds
    ("clamp", (x23, 0.0), {}, C, 6),  # one bound
    ("hardtanh", (x23,), {}, C, 12),
    ("ge.Scalar", (x23, 1.0), {}, C, 6),
    ("heaviside", (x23, x23), {}, C, 6),
    ("isnan", (x23,), {}, C, 6),
    ("bernoulli", (x23,), {}, C, 6),  # a random number is below p
    # --- reductions: one per input
    ("sum.dim_IntList", (x45, [0]), {}, E, 20),
    ("mean", (x45,), {}, E, 20),
    ("prod", (x45,), {}, E, 20),
    ("any", (x45 > 0,), {}, E, 20),
    ("var.correction", (x45, [1]), {}, E, 60),  # mean, difference, sum of squares
    ("linalg_vector_norm", (x45,), {}, E, 40),  # square, sum
    ("logsumexp", (x45, [1]), {}, E, 40),  # exponential, sum
    ("amax", (x45, [1]), {}, C, 20),
    ("max.dim", (x45, 0), {}, C, 20),
    ("argmin", (x45,), {}, C, 20),
    ("aminmax", (x45,), {}, C, 40),
    ("cumsum", (x45, 1), {}, E, 20),
    ("cummax", (x45, 1), {}, C, 20),
    ("trace", (x45,), {}, E, 4),  # four entries on the diagonal
    ("count_nonzero", (x45,), {}, E, 20),
    # --- sorts: n ceil(log2 n) along the axis
    ("sort", (ones(3, 8), 1), {}, C, 72),  # 24 x 3
    ("sort", (ones(3, 8), 0), {}, C, 48),  # 24 x 2
    ("topk", (ones(2, 9), 3), {}, C, 72),  # 18 x 4
    ("median", (ones(4, 4),), {}, C, 64),  # of all 16: 16 x 4
    ("_unique2", (ones(2, 8),), {}, C, 64),  # of all 16
    ("unique_consecutive", (ones(8),), {}, C, 8),  # each with the one before
    ("searchsorted.Tensor", (ones(7), ones(5)), {}, C, 15),  # 5 queries, log2(7 + 1) = 3
    ("bucketize.Tensor", (x45, ones(10)), {}, C, 80),  # 20 queries, ceil(log2 11) = 4
    # --- sums into places: one per source
    ("index_add", (ones(10, 8), 0, edges, ones(10_000, 8)), {}, E, 80_000),  # 10,000 edges of 8
    ("index_add", (ones(10, 8), 0, edges, ones(10_000, 8)), {"alpha": 2}, E, 160_000),
    ("scatter_add", (ones(10, 8), 0, edges[:, None].expand(-1, 8), ones(10_000, 8)), {}, E, 80_000),
    ("scatter_add", (ones(10, 8), 0, edges[:5, None], ones(10_000, 8)), {}, E, 5),  # only 5 places are given
    ("scatter_reduce.two", (ones(10), 0, edges, ones(10_000), "sum"), {}, E, 10_000),
    ("scatter_reduce.two", (ones(10), 0, edges, ones(10_000), "mean"), {}, E, 10_010),  # and 10 divisions
    ("index_put", (ones(4, 5), [whole(0, 0, 1)], ones(3, 5), True), {}, E, 15),
    ("index_put", (ones(4, 5), [whole(0, 0, 1)], tensor(1.0), True), {}, E, 15),  # one value for 15 places
    ("index_put", (ones(4, 5), [ones(4, 5) > 0], tensor(1.0), True), {}, E, 20),  # a mask of 20
    ("put", (x45, whole(1, 1, 2), ones(3), True), {}, E, 3),
    ("embedding_dense_backward", (ones(6, 5), whole(0, 1, 2, 0, 1, 2), 4, -1, False), {}, E, 30),
    # --- softmax and norms
    ("_softmax", (x45, 1, False), {}, E, 60),  # exponential, sum, quotient
    ("_log_softmax", (x45, 1, False), {}, E, 60),
    ("_softmax_backward_data", (x45, x45, 1, torch.float32), {}, E, 80),  # y (g - sum(y g))
    ("native_layer_norm", (x45, [5], ones(5), ones(5), 1e-5), {}, E, 100),
    ("native_group_norm", (image, ones(2), ones(2), 1, 2, 16, 1, 1e-5), {}, E, 160),  # 32 values
    ("native_batch_norm", (image, None, None, ones(2), ones(2), False, 0.1, 1e-5), {}, E, 64),  # scale, shift
    ("native_batch_norm", (image, None, None, None, None, True, 0.1, 1e-5), {}, E, 160),
    ("_native_batch_norm_legit_no_training", (image, None, None, ones(2), ones(2), 0.1, 1e-5), {}, E, 64),
    # --- windows; padding is not read
    ("max_pool2d_with_indices", (image, [2, 2]), {}, C, 32),  # 8 windows of 4
    ("max_pool2d_with_indices", (image, [3, 3], [1, 1], [1, 1]), {}, C, 200),  # 2 (2 + 3 + 3 + 2)^2
    ("avg_pool2d", (image, [2, 2]), {}, E, 32),
    ("_adaptive_avg_pool2d", (image, [3, 3]), {}, E, 72),  # rows 0-1, 1-2, 2-3: 2 x 6 x 6
    ("fractional_max_pool2d", (image, [2, 2], [2, 2], ones(1, 2, 2) / 2), {}, C, 32),
    ("col2im", (ones(1, 8, 4), [4, 4], [2, 2], [1, 1], [0, 0], [2, 2]), {}, E, 32),
    ("upsample_linear1d", (ones(1, 1, 4), [8], False), {}, E, 24),  # two products and a sum
    ("upsample_bilinear2d", (image, [8, 8], False), {}, E, 896),  # 128 outputs, four products and three sums
    ("grid_sampler_2d", (image, ones(1, 3, 3, 2), 0, 0, False), {}, E, 252),  # 18 outputs x 7, 9 places x (10 + 4)
    # --- distances, transforms, matrices
    ("_cdist_forward", (ones(3, 4), ones(5, 4), 2.0, None), {}, E, 180),  # 15 pairs, 4 coordinates, 3 operations
    ("_pdist_forward", (ones(4, 5),), {}, E, 90),  # 6 pairs
    ("_fft_c2c", (torch.complex(ones(8), ones(8)), [0], 0, True), {}, E, 120),  # 12 butterflies of 10
    ("_fft_c2c", (torch.complex(ones(8), ones(8)), [0], 2, False), {}, E, 136),  # inverse: 16 products with 1/8
    ("_fft_r2c", (ones(8), [0], 0, True), {}, E, 60),  # half
    ("_fft_c2r", (torch.complex(ones(5), ones(5)), [0], 2, 8), {}, E, 68),  # half, and 8 products
    ("_fft_c2c", (torch.complex(ones(4, 8), ones(4, 8)), [0, 1], 0, True), {}, E, 800),  # 5 x 32 (2 + 3)
    ("linalg_cholesky_ex", (torch.eye(6),), {}, E, 72),  # 6^3 / 3
    ("linalg_lu_factor_ex", (torch.eye(6),), {}, E, 144),  # 2 6^3 / 3
    ("_linalg_solve_ex", (torch.eye(6), ones(6, 2)), {}, E, 288),  # 144, and 2 x 36 for each of 2
    ("linalg_solve_triangular", (torch.eye(6), ones(6, 2)), {"upper": True}, E, 72),  # 36 for each of 2
    ("linalg_inv_ex", (torch.eye(3).expand(2, 3, 3),), {}, E, 108),  # two matrices, 2 27 each
    ("linalg_cross", (ones(4, 3), ones(4, 3)), {}, E, 36),  # two products and a difference for each of 12
    # --- losses
    ("mse_loss", (x45, x45, 0), {}, E, 40),  # difference, square
    ("mse_loss", (x45, x45), {}, E, 60),  # and sum
    ("nll_loss_forward", (x45, whole(0, 1, 2, 3), None, 1, -100), {}, E, 4),
    ("huber_loss", (x45, x45, 0), {}, E, 80),
    # --- backward
    ("threshold_backward", (x45, x45, 0), {}, C, 20),
    ("sigmoid_backward", (x45, x45), {}, E, 60),  # g y (1 - y)
    ("tanh_backward", (x45, x45), {}, E, 60),  # g (1 - y y)
    ("gelu_backward", (x45, x45), {}, E, 40),
    ("max_pool2d_with_indices_backward", (ones(1, 2, 2, 2), image, [2, 2], [2, 2], [0, 0], [1, 1], False,
        torch.zeros(1, 2, 2, 2, dtype=torch.int64)), {}, E, 8),
    ("avg_pool2d_backward", (ones(1, 2, 2, 2), image, [2, 2], [2, 2], [0, 0], False, True, None), {}, E, 40),  # 32 + 8
    ("native_dropout", (x45, 0.5, True), {}, E, 60),  # comparison, scale, product with the mask
    # --- lists and optimizers
    ("_foreach_mul.Scalar", ([x23, x45], 0.9), {}, E, 26),
    ("_foreach_add.List", ([x23, x45], [x23, x45]), {"alpha": -0.1}, E, 52),
    ("_foreach_addcdiv.ScalarList", ([x23, x45], [x23, x45], [x23, x45], [-0.1, -0.1]), {}, E, 78),
    ("_foreach_norm.Scalar", ([x23, x45],), {}, E, 52),
    ("_foreach_maximum.List", ([x23, x45], [x23, x45]), {}, C, 26),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "column", "amount"),
    BY_HAND,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(BY_HAND)],
)
def test_operations_counted_by_hand(name, args, kwargs, column, amount):
    func = overload(name)
    result = func(*args, **kwargs)
    assert not is_free(func, args, kwargs)
    assert scalar_cost(func, args, kwargs, result) == (column, amount)


FREE = [
    ("view", (x23, [3, 2])), ("permute", (x23, [1, 0])), ("expand", (x23, [4, 2, 3])), ("as_strided", (x23, [2], [1])),
    ("slice.Tensor", (x23, 1, 0, 2)), ("clone", (x23,)), ("_to_copy", (x23,)), ("copy_", (x23.clone(), x23)),
    ("cat", ([x23, x23],)), ("stack", ([x23, x23],)), ("index.Tensor", (x23, [whole(0)])),
    ("gather", (x23, 1, whole(0, 1)[:, None])), ("slice_scatter", (x23, x23[:, :1], 1, 0, 1)),
    ("select_scatter", (x23, x23[0], 0, 0)), ("as_strided_scatter", (x23, x23[0], [3], [1])),
    ("index_put", (x23, [whole(0)], x23[0])), ("index_put", (x23, [whole(0)], x23[0], False)),
    ("scatter.src", (x23, 1, whole(0, 1)[:, None], x23)), ("index_copy", (x23, 0, whole(0), x23[:1])),
    ("put", (x23, whole(0), ones(1))), ("view_as_complex", (ones(3, 2),)), ("view_as_real", (z23,)),
    ("_to_sparse", (x23,)), ("_pack_padded_sequence", (ones(3, 2, 1), whole(3, 2), False)),
    ("constant_pad_nd", (x23, [1, 1])), ("im2col", (image, [2, 2], [1, 1], [0, 0], [1, 1])),
    ("upsample_nearest2d", (image, [8, 8])), ("native_dropout", (x23, 0.5, False)), ("zeros_like", (x23,)),
    ("rand_like", (x23,)), ("arange", (5,)), ("fill_.Scalar", (ones(2), 1.0)), ("_local_scalar_dense", (ones(1),)),
    ("flip", (x23, [0])), ("roll", (x23, [1])), ("tril", (x23,)), ("repeat", (x23, [2, 1])),
    ("unfold_copy", (x23, 1, 2, 1)), ("_foreach_copy_", ([ones(2)], [ones(2)])), ("_foreach_zero_", ([ones(2)],)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), FREE, ids=[f"{number}-{row[0]}" for number, row in enumerate(FREE)])
def test_moves_are_free(name, args):
    overload(name)(*args)
    assert is_free(overload(name), args, {})


@pytest.mark.parametrize(
    ("plain", "other", "args"),
    [
        ("add.Tensor", "add_.Tensor", (x23, x23)),
        ("relu", "relu_", (x23,)),
        ("eq.Scalar", "eq_.Scalar", (x23, 1.0)),
        ("index_add", "index_add_", (x23, 0, whole(0, 0), x23)),
        ("masked_fill.Scalar", "masked_fill_.Scalar", (x23, x23 > 0, 0.0)),
        ("_foreach_add.List", "_foreach_add_.List", ([x23, x45], [x23, x45])),
        ("addcmul", "addcmul_", (x23, x23, x23)),
        ("cumsum", "cumsum_", (x23, 0)),
    ],
)
def test_an_operator_in_place_costs_what_its_plain_form_costs(plain, other, args):
    copies = torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, args)
    result, in_place = overload(plain)(*args), overload(other)(*copies)
    assert name_of(overload(plain)) == name_of(overload(other))
    assert scalar_cost(overload(plain), args, {}, result) == scalar_cost(overload(other), copies, {}, in_place)


def test_an_operator_with_out_costs_what_its_plain_form_costs():
    kwargs = {"out": ones(2, 3)}
    assert scalar_cost(aten.add.out, (x23, x23), kwargs, aten.add.out(x23, x23, **kwargs)) == (E, 6)
    assert scalar_cost(aten.sum.IntList_out, (x23, [0]), kwargs, kwargs["out"]) == (E, 6)


def test_a_sparse_tensor_costs_its_stored_values():
    sparse = tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]).to_sparse()
    assert scalar_cost(aten.mul.Scalar, (sparse, 2.0), {}, sparse * 2) == (E, 2)
    twice = torch.sparse_coo_tensor([[0, 0, 1]], [1.0, 2.0, 3.0], (2,), is_coalesced=False, check_invariants=True)
    assert scalar_cost(aten._coalesce.default, (twice,), {}, twice.coalesce()) == (E, 1)  # 1 + 2


def test_fused_optimizers_count_every_parameter():
    lists = [[ones(3), ones(4)] for _ in range(4)]
    adam = (*lists, [], [tensor(1.0), tensor(1.0)])
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}
    # two means (3 and 4), root, quotient, sum, step (quotient, product, difference): 13
    assert scalar_cost(aten._fused_adam_.default, adam, options | {"weight_decay": 0.0}, None) == (E, 13 * 7)
    assert scalar_cost(aten._fused_adam_.default, adam, options | {"weight_decay": 0.1}, None) == (E, 15 * 7)
    assert scalar_cost(aten._fused_adamw_.default, adam, options | {"weight_decay": 0.1}, None) == (E, 14 * 7)


def test_other_libraries_and_unknown_operators_have_no_number():
    library = torch.library.Library("test_costs", "DEF")
    library.define("add(Tensor x) -> Tensor")
    library.define("clone(Tensor x) -> Tensor")
    for func in (torch.ops.test_costs.add.default, torch.ops.test_costs.clone.default, aten._linalg_svd.default):
        assert not is_free(func, (x23,), {}) and scalar_cost(func, (x23,), {}, x23) is None
    assert scalar_cost(torch.ops.higher_order.cond, (x23,), {}, x23) is None
    assert not is_free(torch.ops.higher_order.cond, (x23,), {})
