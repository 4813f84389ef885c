"""What counts as a number, a whole number, an array: one contract for the checks of arguments."""

import numpy as np
import pytest
import torch

from neurosparse.checks import generator, number, whole
from neurosparse.errors import InputError


@pytest.mark.parametrize("value", [True, np.bool_(True), torch.tensor(True), "1", b"1", bytearray(b"1"), np.array("1")])
@pytest.mark.parametrize("check", [number, whole])
def test_booleans_and_text_are_no_numbers(check, value):
    with pytest.raises(InputError, match="got x="):
        check("f", "x", value)


@pytest.mark.parametrize("value", [1, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1)])
@pytest.mark.parametrize(("check", "kind"), [(number, float), (whole, int)])
def test_numbers_of_numpy_and_tensors_of_no_axes_are_numbers(check, kind, value):
    found = check("f", "x", value)
    assert found == 1 and type(found) is kind


def test_a_generator_is_kept_and_a_seed_makes_one():
    own = torch.Generator()
    assert generator("f", own) is own
    first, second = (torch.rand(3, generator=generator("f", seed)) for seed in (7, np.int64(7)))
    assert torch.equal(first, second)
    for value in ("7", 0.5, True, None, 2**70):
        with pytest.raises(InputError, match="Pass a seed"):
            generator("f", value)
