"""Length tuning: the suppression index by hand, refused arguments, and the plot of the data."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from neurosparse import plot
from neurosparse.analysis import suppression_index
from neurosparse.errors import InputError

LENGTHS = [2, 8, 24]


def test_the_index_of_curves_by_hand():
    responses = torch.tensor([[[1.0, 4.0, 1.0], [1.0, 2.0, 2.0]], [[0.0, 0.0, 0.0], [3.0, 2.0, 0.0]]])
    index = suppression_index(LENGTHS, responses, long=24)
    np.testing.assert_array_equal(index, [[0.75, 0.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(suppression_index(LENGTHS, responses[0], long=2), [0.75, 0.5])


@pytest.mark.parametrize(
    ("responses", "long", "message"),
    [
        ([1.0, 2.0], 24, "lengths last"),
        ([1.0, 2.0, 3.0], 20, "one of"),
        ([1.0, -2.0, 3.0], 24, "magnitudes"),
        ([1.0, np.nan, 3.0], 24, "NaN"),
    ],
)
def test_what_has_no_index_is_refused(responses, long, message):
    with pytest.raises(InputError, match=message):
        suppression_index(LENGTHS, responses, long=long)


def test_a_tuning_curve_shows_the_mean_and_one_standard_deviation():
    rows = torch.tensor([[1.0, 3.0, 1.0], [1.0, 5.0, 2.0]])
    ax = plot.length_tuning(LENGTHS, {"feedback": rows, "none": rows + 1}, "error", ax=Figure().subplots())
    for line, mean in zip(ax.lines, ([1.0, 4.0, 1.5], [2.0, 5.0, 2.5]), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), LENGTHS)
        np.testing.assert_allclose(line.get_ydata(), mean)
    corners = ax.collections[0].get_paths()[0].vertices
    assert {(8.0, 3.0), (8.0, 5.0), (24.0, 1.0), (24.0, 2.0)} <= {tuple(corner) for corner in corners.round(6).tolist()}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["feedback", "none"]
    assert ax.get_ylabel() == "error" and ax.get_ylim()[0] == 0
