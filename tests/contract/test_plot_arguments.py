"""Arguments of the plots: tensors and any views of NumPy arrays are taken, other arguments are refused."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_examples import DENSE, FIELDS, FIT, MOVING, RELAXED, RESPONSES, SPIKING, TRAINS, events, report, states, trace

from neurosparse import plot
from neurosparse.analysis.gabor import fit_gabor
from neurosparse.analysis.sparsity import sparsity
from neurosparse.energy import estimate
from neurosparse.errors import InputError

BAD: dict[str, Callable[[Axes], Any]] = {
    "no such sample": lambda ax: plot.raster(events(), sample=3, ax=ax),
    "a trace without the sample": lambda ax: plot.membrane(trace(), sample=2, ax=ax),
    "a trace without the unit": lambda ax: plot.membrane(trace(), units=[3], ax=ax),
    "no unit": lambda ax: plot.membrane(trace(), units=0, ax=ax),
    "a trace of two shapes": lambda ax: plot.membrane(SimpleNamespace(events=events(), membrane=torch.ones(2)), ax=ax),
    "a membrane with NaN": lambda ax: plot.membrane(
        SimpleNamespace(events=trace().events, membrane=torch.full((6, 2, 3), np.nan)), ax=ax
    ),
    "rates of nothing": lambda ax: plot.rates({}, ax=ax),
    "a layer without epochs": lambda ax: plot.rates({"first": []}, ax=ax),
    "a negative rate": lambda ax: plot.rates({"first": [0.1, -0.1]}, ax=ax),
    "atoms of three axes": lambda ax: plot.atoms(np.ones((2, 3, 3)), ax=ax),
    "atoms that are no square": lambda ax: plot.atoms(np.ones((2, 12)), ax=ax),
    "atoms with NaN": lambda ax: plot.atoms(np.full((2, 4), np.nan), ax=ax),
    "fits of other atoms": lambda ax: plot.atoms(FIELDS[:2], order=FIT, ax=ax),
    "no fitted atom": lambda ax: plot.gabor_scatter(fit_gabor(np.zeros((2, 144))), ax=ax),
    "no orientation": lambda ax: plot.orientation(FIT, residual=-1, ax=ax),
    "one bin": lambda ax: plot.orientation(FIT, bins=1, ax=ax),
    "polar axes": lambda ax: plot.orientation(FIT, ax=Figure().add_subplot(projection="polar")),
    "unknown plane": lambda ax: plot.coverage(FIT, "time", ax=ax),
    "a code of zeros": lambda ax: plot.coefficients(np.zeros((2, 3)), ax=ax),
    "a code with NaN": lambda ax: plot.coefficients({"l1": np.full(3, np.nan)}, ax=ax),
    "no learner": lambda ax: plot.learning({}, ax=ax),
    "an objective too few": lambda ax: plot.learning({"fista": ([1, 2], [0.1])}, ax=ax),
    "no samples": lambda ax: plot.learning({"fista": ([0, 2], [0.1, 0.2])}, ax=ax),
    "no states": lambda ax: plot.relaxation({}, ax=ax),
    "an energy of NaN": lambda ax: plot.relaxation(states([[np.nan]], [[[1.0]]]), ax=ax),
    "a negative threshold": lambda ax: plot.relaxation(RELAXED, -1, ax=ax),
    "no scheme": lambda ax: plot.communication_cost({}, ax=ax),
    "nothing sent": lambda ax: plot.communication_cost({"graded": [{"sent": 0, "value": 1}]}, ax=ax),
    "no image": lambda ax: plot.images({}, ax=ax),
    "images of two sizes": lambda ax: plot.images({"a": np.ones((1, 4)), "b": np.ones((1, 9))}, ax=ax),
    "an image that is no square": lambda ax: plot.images({"a": np.ones((1, 6))}, ax=ax),
    "no columns": lambda ax: plot.atoms(np.ones((2, 4)), columns=0, ax=ax),
    "unknown sparsity": lambda ax: plot.sparsity(sparsity(RESPONSES), "nonesuch", ax=ax),
    "no reports": lambda ax: plot.energy({}, ax=ax),
    "unsupported report": lambda ax: plot.energy({"lif": {"unsupported": "no MACs"}}, ax=ax),
    "negative energy": lambda ax: plot.energy({"lif": report(-1.0)}, ax=ax),
    "no points": lambda ax: plot.frontier([], ax=ax),
    "no pairs": lambda ax: plot.forest([], ax=ax),
    "pairs by name": lambda ax: plot.forest({"a": 1.0}, ax=ax),
    "a pair without ratios": lambda ax: plot.forest([{"name": "a", "ratios": {}}], ax=ax),
    "bounds in another order": lambda ax: plot.forest([{"name": "a", "ratios": {"p": (2.0, 1.0, 3.0)}}], ax=ax),
    "a ratio without bounds": lambda ax: plot.forest([{"name": "a", "ratios": {"p": 1.0}}], ax=ax),
    "an unknown outcome": lambda ax: plot.forest([{"name": "a", "ratios": {"p": (1, 1, 1)}, "outcome": "?"}], ax=ax),
    "no memory traffic": lambda ax: plot.intensity({"lif": SPIKING}, ax=ax),
    "a mapping instead of a report": lambda ax: plot.waterfall({"nominal": 1.0}, ax=ax),
    "operations that a chip cannot execute": lambda ax: plot.waterfall(estimate(DENSE, "loihi"), ax=ax),
    "no counts": lambda ax: plot.operations({"relu": {"effective_macs": 0}}, ax=ax),
    "no condition": lambda ax: plot.length_tuning([2, 8], {}, ax=ax),
    "a length too few": lambda ax: plot.length_tuning([2], {"feedback": [[1, 2]]}, ax=ax),
    "no rows": lambda ax: plot.hardware_validation({"rows": []}, ax=ax),
    "no curves": lambda ax: plot.break_even({}, ax=ax),
    "no ratios": lambda ax: plot.savings({}, {}, ax=ax),
    "a window that is no whole number": lambda ax: plot.raster(events(), rates=1e3, ax=ax),
    "a window longer than the recording": lambda ax: plot.raster(events(), rates=7, ax=ax),
    "a raster of numbers": lambda ax: plot.raster(torch.ones(3, 1, 2), ax=ax),
    "rates of events": lambda ax: plot.rates(events(), ax=ax),
    "curves without names": lambda ax: plot.learning(([1, 2], [0.1, 0.2]), ax=ax),
    "bins that are no whole number": lambda ax: plot.coefficients([1.0], bins=2.5, ax=ax),
    "an array instead of fits": lambda ax: plot.orientation(FIELDS, ax=ax),
    "an unknown measure": lambda ax: plot.irregularity(TRAINS, "nonesuch", ax=ax),
    "counts without names": lambda ax: plot.intensity(MOVING, ax=ax),
    "a trace without events": lambda ax: plot.membrane(torch.ones(3, 1, 2), ax=ax),
    "states without energies": lambda ax: plot.relaxation(torch.ones(3), ax=ax),
    "no theory": lambda ax: plot.recall({"a": {"load": [0.1]}}, ax=ax),
    "text": lambda ax: plot.correlation("text", ax=ax),
    "zero ratio": lambda ax: plot.savings({"lif": {"p": 0.0}}, {}, ax=ax),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused_before_anything_is_drawn(case: str) -> None:
    ax = Figure().subplots()
    with pytest.raises(InputError, match="got .*; expected"):
        BAD[case](ax)
    assert not ax.has_data()


VALUES = np.array([[0.5, 0.25, 0.0, 1.0], [0.0, 1.0, 0.5, 0.25], [0.75, 0.5, 1.0, 0.0], [0.25, 0.0, 0.5, 0.5]])
ARRAYS: dict[str, Callable[..., Axes]] = {
    "atoms": lambda x, ax: plot.atoms(x, ax=ax),
    "images": lambda x, ax: plot.images(x, ax=ax),
    "images by name": lambda x, ax: plot.images({"one": x}, ax=ax),
    "coefficients": lambda x, ax: plot.coefficients(x, ax=ax),
    "correlation": lambda x, ax: plot.correlation(x, ax=ax),
    "spectro_temporal": lambda x, ax: plot.spectro_temporal(x, (2, 2), 0.01, ax=ax),
    "length_tuning": lambda x, ax: plot.length_tuning(x[0] + 1, {"one": x}, ax=ax),
    "learning": lambda x, ax: plot.learning({"one": (x[0] + 1, x[1])}, ax=ax),
    "rates": lambda x, ax: plot.rates({"one": x[0]}, ax=ax),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_and_views_are_drawn_as_arrays_are(name: str) -> None:
    def drawn(x: Any) -> list[np.ndarray]:
        ax = ARRAYS[name](x, Figure().subplots())
        shapes = [np.concatenate(patch.get_data()[:2]) for patch in ax.patches if hasattr(patch, "get_data")]
        images = [np.ma.filled(image.get_array(), np.nan) for image in ax.images]
        return [*shapes, *images, *(np.asarray(line.get_data()) for line in ax.lines)]

    expected = drawn(VALUES)
    assert expected
    backwards = np.ascontiguousarray(VALUES[::-1])[::-1]
    tensor = torch.tensor(VALUES)
    for x in (tensor, tensor.clone().requires_grad_(), tensor.float(), backwards, np.asfortranarray(VALUES)):
        for one, other in zip(drawn(x), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_images_without_a_name_are_one_row() -> None:
    ax = plot.images(torch.ones(3, 4), ax=Figure().subplots())
    assert [text.get_text() for text in ax.get_yticklabels()] == [""]
    assert ax.images[0].get_array().shape == (2, 8)
