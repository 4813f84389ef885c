"""Public functions take NumPy numbers, tensors of no axes and views as plain arguments, and refuse the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arguments import Function, Given, check, kinds
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns

GENERATOR = torch.Generator().manual_seed(0)
X, ATOMS = torch.randn(4, 6, generator=GENERATOR), torch.randn(5, 6, generator=GENERATOR)

FUNCTIONS = [
    Function("l1", ns.l1, {"weight": 0.1}),
    Function("nonnegative_l1", ns.nonnegative_l1, {"weight": 0.1}),
    Function("elastic_net", ns.elastic_net, {"weight": 0.1, "l1_ratio": 0.5}),
    Function("l0", ns.l0, {"weight": 0.1}),
    Function("log", ns.log, {"weight": 0.1, "scale": 1.0}),
    Function("cauchy", ns.cauchy, {"variance": 0.1, "scale": 1.0}),
    Function("lp", ns.lp, {"weight": 0.1, "p": 0.5}),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
@settings(max_examples=60)
@given(data=st.data())
def test_the_result_is_that_of_the_plain_argument(function, data):
    check(function, data)


def numbers_only(x: float) -> float:
    if type(x) is not float:
        raise ns.InputError("f", got=x, expected="a float")
    return x


@pytest.mark.parametrize(
    "wrong",
    [
        Function("takes anything", lambda x: 0.0, {"x": 0.5}),
        Function("raises another error", lambda x: 1.0 / x, {"x": 0.5}),
        Function("refuses NumPy numbers", numbers_only, {"x": 0.5}),
        Function("returns what was passed", lambda x: type(x), {"x": torch.ones(2, 3)}),
    ],
    ids=lambda function: function.name,
)
def test_the_property_can_fail(wrong):
    @settings(max_examples=200, report_multiple_bugs=False)
    @given(data=st.data())
    def property_of_wrong(data):
        check(wrong, data)

    with pytest.raises((AssertionError, ArithmeticError, TypeError)):
        property_of_wrong()


@settings(max_examples=200)
@given(data=st.data())
def test_what_is_passed_equals_the_plain_argument(data):
    """An oracle for the generator: by NumPy's own conversion."""
    drawn: Given = data.draw(kinds(data.draw(st.sampled_from([3, 0.25, torch.eye(3)]))))
    if drawn.answer == "as the plain argument":
        passed, plain = (x.detach() if isinstance(x, torch.Tensor) else x for x in (drawn.passed, drawn.plain))
        assert np.array_equal(np.asarray(passed, np.float64), np.asarray(plain, np.float64))
