"""What counts as a choice, a number, a whole number, an array: one contract for the checks of arguments."""

import math
import re
from types import SimpleNamespace

import brian2
import numpy as np
import pytest
import torch

from neurosparse.checks import generator, number, one_of, positive, several, si, tensor, whole
from neurosparse.errors import InputError


def shown(value) -> str:
    """A test id that is the same in every process: without addresses."""
    return re.sub(r" at 0x\w+", "", repr(value))


ONES = [
    1,
    *(kind(1) for kind in (np.int8, np.uint8, np.int32, np.int64, np.uint64)),
    np.array(1),
    torch.tensor(1),
    torch.tensor(1, dtype=torch.uint8),
]
HALVES = [
    0.5,
    *(kind(0.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
    np.array(0.5),
    torch.tensor(0.5),
    torch.tensor(0.5, dtype=torch.float16),
]
NO_NUMBERS = [
    None,
    True,
    np.bool_(True),
    np.array(True),
    torch.tensor(True),
    "1",
    b"1",
    bytearray(b"1"),
    np.array("1"),
    1j,
    np.complex64(1),
    torch.tensor(1j),
    [1],
    (1,),
    np.ones(1),
    torch.ones(1),
    torch.ones(1, dtype=torch.int64),
    {},
    object,
    len,
    np.str_("1"),
    memoryview(b"1"),
    np.array("1", dtype=object),
    np.array(True, dtype=object),
    np.datetime64(1, "s"),
    np.timedelta64(1, "s"),
    np.ndarray,  # a class, whose ndim is a descriptor
    torch.tensor(1, device="meta"),
    torch.tensor(1.0, device="meta"),
    torch.ones(1).to_sparse(),
]
NOT_FINITE = [kind(x) for kind in (float, np.float32, torch.tensor) for x in (math.nan, math.inf, -math.inf)]


@pytest.mark.parametrize("value", ONES, ids=shown)
@pytest.mark.parametrize(("check", "kind"), [(number, float), (positive, float), (whole, int)])
def test_whole_numbers_of_any_library(check, kind, value):
    found = check("f", "x", value)
    assert found == 1 and type(found) is kind


@pytest.mark.parametrize("value", HALVES, ids=shown)
def test_numbers_of_any_library(value):
    assert number("f", "x", value) == 0.5 and type(number("f", "x", value)) is float
    with pytest.raises(InputError, match=r"f: got x=.*a whole number"):
        whole("f", "x", value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=shown)
@pytest.mark.parametrize("check", [number, positive, whole])
def test_what_is_no_number_is_refused(check, value):
    with pytest.raises(InputError, match="f: got x="):
        check("f", "x", value)


@pytest.mark.parametrize("value", NOT_FINITE, ids=shown)
@pytest.mark.parametrize("check", [number, positive, whole])
def test_what_is_not_finite_is_refused(check, value):
    with pytest.raises(InputError, match="f: got x="):
        check("f", "x", value)


@pytest.mark.parametrize(
    "value", [np.ones((9, 9)), torch.ones(9, 9), torch.eye(2).to_sparse(), [0.5] * 10_000], ids=type
)
def test_an_error_is_one_line_of_bounded_length(value):
    with pytest.raises(InputError) as error:
        number("f", "x", value, 0, 1)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value) and str(error.value).endswith("expected 0 <= x <= 1.")


def test_huge_whole_numbers_stay_exact():
    assert whole("f", "x", 2**70) == 2**70 and number("f", "x", 2**70) == 2.0**70
    with pytest.raises(InputError):
        number("f", "x", 10**400)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "expected"),
    [
        ({"low": 0, "high": 1}, (0, 0.5, 1), (-1e-9, 1 + 1e-9), "0 <= x <= 1"),
        ({"above": 0, "high": 1}, (1e-300, 1), (0, -1, 1.1), "0 < x <= 1"),
        ({"low": 0, "below": 1}, (0, 0.999), (1, -1), "0 <= x < 1"),
        ({"above": 0, "below": 1}, (0.5,), (0, 1), "0 < x < 1"),
        ({"low": 2}, (2, 1e300), (1.9,), "x >= 2"),
        ({"above": 2}, (2.1,), (2, 1), "x > 2"),
        ({"high": 2}, (2, -1e300), (2.1,), "x <= 2"),
    ],
)
def test_bounds_are_open_or_closed(bounds, inside, outside, expected):
    for value in inside:
        assert number("f", "x", value, **bounds) == value
    for value in outside:
        with pytest.raises(InputError) as refused:
            number("f", "x", value, **bounds, fix="Do this.")
        assert str(refused.value) == f"f: got x={value!r}; expected {expected}. Do this."


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, None, "a whole number, at least 1"),
        (None, 3, "a whole number, at most 3"),
        (1, 3, "a whole number, 1 to 3"),
        (None, None, "a whole number"),
    ],
)
def test_bounds_of_whole_numbers_are_included(low, high, expected):
    for value in {low, high} - {None}:
        assert whole("f", "x", value, low, high) == value
    for value in {0.5, -1 if low else 0.5, 4 if high else 0.5}:
        with pytest.raises(InputError) as refused:
            whole("f", "x", value, low, high)
        assert str(refused.value) == f"f: got x={value!r}; expected {expected}."


@pytest.mark.parametrize(
    "value", [torch.ones((), device="meta"), torch.ones(2).to_sparse(), torch.ones(2, device="meta")]
)
def test_a_tensor_without_dense_values_has_no_numbers(value):
    with pytest.raises(InputError, match="seconds as numbers"):
        si("f", "x", value, "seconds")


def test_a_number_with_a_gradient_is_refused():
    with pytest.raises(InputError, match="detach"):
        number("f", "x", torch.tensor(0.5, requires_grad=True))


def test_one_of_compares_types_too():
    assert one_of("f", "x", "a", ("a", "b")) == "a" and one_of("f", "x", None, ("a", None)) is None
    for value in ("c", None, 1, True, ["a"], {}, np.ones(2), torch.ones(2)):
        with pytest.raises(InputError, match="one of 'a', 2"):
            one_of("f", "x", value, ("a", 2))
    with pytest.raises(InputError, match="one of 0, 1"):
        one_of("f", "x", True, (0, 1))
    with pytest.raises(InputError, match="there is none"):
        one_of("f", "x", "a", ())


def test_choices_may_come_from_arrays():
    for value, known in (
        (np.array(["a", "b"])[1], ("a", "b")),
        (np.array([2, 8])[1], (2, 8)),
        (np.bool_(True), (True,)),
    ):
        assert one_of("f", "x", value, known) == value and type(one_of("f", "x", value, known)) is type(known[-1])
    with pytest.raises(InputError, match="one of 0, 1"):
        one_of("f", "x", np.bool_(True), (0, 1))


def test_a_generator_is_kept_and_a_seed_makes_one():
    own = torch.Generator()
    assert generator("f", own) is own
    first, second = (torch.rand(3, generator=generator("f", seed)) for seed in (7, np.int64(7)))
    assert torch.equal(first, second)
    for value in ("7", 0.5, True, None, 2**70):
        with pytest.raises(InputError, match="Pass a seed"):
            generator("f", value)


TABLE = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "view",
    [
        TABLE,
        TABLE.tolist(),
        torch.from_numpy(TABLE),
        np.asfortranarray(TABLE),
        TABLE[::-1].copy()[::-1],
        TABLE[:, ::-1].copy()[:, ::-1],
        np.repeat(TABLE, 2, 1)[:, ::2],
        np.broadcast_to(TABLE, (4, 2, 3))[1],
        TABLE.astype(">f8"),
        TABLE.astype(np.int16),
        TABLE.astype(np.uint8)[:, ::-1].copy()[:, ::-1],
        torch.from_numpy(TABLE.T.copy()).T,
    ],
)
def test_any_view_is_an_array(view):
    found = tensor("f", "x", view, "samples, features")
    assert found.is_floating_point() and found.tolist() == TABLE.tolist()


def test_an_array_that_cannot_be_written_is_copied():
    fixed = TABLE.copy()
    fixed.flags.writeable = False
    tensor("f", "x", fixed, "a, b").zero_()
    assert fixed.tolist() == TABLE.tolist()


def test_a_tensor_keeps_its_graph_and_its_type():
    x = torch.ones(2, dtype=torch.float16, requires_grad=True)
    assert tensor("f", "x", x, "units") is x


def test_a_star_is_one_axis_or_more():
    for shape in [(2, 3), (2, 3, 4), (2, 3, 4, 5)]:
        assert tensor("f", "x", torch.ones(shape), "samples, *units").shape == shape
    for shape in [(), (2,)]:
        with pytest.raises(InputError, match=r"numbers \(samples, \*units\)"):
            tensor("f", "x", torch.ones(shape), "samples, *units")


@pytest.mark.parametrize(
    "value",
    [
        None, 1.0, "text", b"3", object, {}, [[1.0, 2.0], [3.0]], np.array([["a"]]), np.array([[None]]), [["1"]],
        np.ones((2, 2), bool), torch.ones(2, 2, dtype=torch.bool), np.ones((2, 2), complex), np.ones(2),
        np.ones((1, 2, 3)),
        [[np.nan]], np.array([[np.inf]]), torch.tensor([[-math.inf]]), np.ndarray,
        torch.eye(2).to_sparse(), torch.ones(2, 2, device="meta"), torch.ones(2, 2).to(torch.float8_e5m2),
    ],
    ids=shown,
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_refused(value):
    with pytest.raises(InputError, match="^f: got"):
        tensor("f", "x", value, "samples, features")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (5 * brian2.ms, "seconds", 0.005),
        ([1, 2] * brian2.mV, "volts", [0.001, 0.002]),
        (2 * brian2.kHz, "hertz", 2000.0),
        (3, "plain numbers", 3.0),
        (brian2.mV / brian2.volt, "plain numbers", 0.001),
        (torch.tensor([0.5]), "seconds", [0.5]),
        (np.array([1.0, 2.0])[::-1], "seconds", [2.0, 1.0]),
    ],
)
def test_quantities_become_numbers_in_si_units(value, unit, expected):
    found = si("f", "x", value, unit)
    assert np.allclose(found, expected, rtol=1e-15, atol=0) and found.shape == np.shape(expected)


@pytest.mark.parametrize(
    "value",
    [
        5 * brian2.mV, 5 * brian2.Hz, math.nan, math.inf, "fast", None, True, SimpleNamespace(units="ms"),
        [[1], [1, 2]],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_time_is_refused(value):
    for check in (si, lambda *args: number(*args[:3], unit=args[3])):
        with pytest.raises(InputError, match="x"):
            check("f", "x", value, "seconds")


def test_one_quantity_is_the_decimal_that_was_written():
    """0.3 ms is 0.0003 s: the rounding of the unit does not show."""
    for milliseconds in (0.1, 0.3, 0.9, 1.3, 12.3):
        assert number("f", "x", milliseconds * brian2.ms, unit="seconds") == float(f"{milliseconds}e-3")
    assert number("f", "x", [3] * brian2.ms, unit="seconds") == 0.003
    with pytest.raises(InputError, match="one number"):
        number("f", "x", [1, 2] * brian2.ms, unit="seconds")
    with pytest.raises(InputError, match="expected 0 < x"):
        number("f", "x", -1 * brian2.ms, above=0, high=1, unit="seconds")


@pytest.mark.parametrize(
    "value", [[1, 2], (1, 2), range(1, 3), np.array([2, 1])[::-1], torch.tensor([1, 2]), {1: 0, 2: 0}.keys()]
)
def test_several_values_are_a_list(value):
    assert several("f", "x", value, "numbers") == [1, 2]


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, True, "12", b"12", {1: 2}, [], (), np.array(3), torch.tensor(3), np.ones(0)], ids=repr
)
def test_one_value_or_none_is_not_several(value):
    with pytest.raises(InputError, match="^f: got x=.*; expected numbers. Pass two.$"):
        several("f", "x", value, "numbers", "Pass two.")
