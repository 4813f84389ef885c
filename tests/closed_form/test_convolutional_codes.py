"""Convolutional codes against the dense solver on the same dictionary, unrolled."""

from __future__ import annotations

import pytest
import torch

from neurosparse.coding import elastic_net, l0, l1, nonnegative_l1, solve
from neurosparse.coding.dictionary import make_problem
from neurosparse.coding.solve import METHODS
from neurosparse.errors import InputError
from neurosparse.meter.count import count
from neurosparse.meter.record import as_module, record

CONVOLVING = [name for name, method in METHODS.items() if method.convolves]


def data(channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, channels, 8, 7, generator=generator, dtype=torch.float64)
    atoms = torch.randn(4, channels, 3, 2, generator=generator, dtype=torch.float64)
    return x / 8, atoms / atoms.flatten(1).norm(dim=1)[:, None, None, None]


def unrolled(x: torch.Tensor, dictionary: torch.Tensor) -> torch.Tensor:
    """Every atom at every place, as rows (atoms * places, pixels)."""
    (atoms, channels, high, wide), (height, width) = dictionary.shape, x.shape[2:]
    rows = torch.zeros(atoms, height - high + 1, width - wide + 1, channels, height, width, dtype=x.dtype)
    for i in range(height - high + 1):
        for j in range(width - wide + 1):
            rows[:, i, j, :, i : i + high, j : j + wide] = dictionary
    return rows.flatten(3).flatten(0, 2)


@pytest.mark.parametrize("method", CONVOLVING)
@pytest.mark.parametrize("penalty", [l1(0.1), nonnegative_l1(0.1), elastic_net(0.1, 0.5)], ids=str)
def test_equals_the_unrolled_dictionary(method, penalty):
    x, dictionary = data()
    code = solve(x, dictionary, penalty, method, tol=1e-11, steps=50_000)
    dense = solve(x.flatten(1), unrolled(x, dictionary), penalty, "fista", tol=1e-11, steps=50_000)
    assert code.a.shape == (3, 4, 6, 6) and code.events.shape == (int(code.iterations.max()), 3, 4, 6, 6)
    torch.testing.assert_close(code.a.flatten(1), dense.a, atol=1e-5, rtol=0)
    torch.testing.assert_close(code.objective, dense.objective)
    assert torch.all(code.gap <= 1e-10)


def test_objective_is_that_of_a_transposed_convolution():
    x, dictionary = data()
    code = solve(x, dictionary, l0(0.05), "lca", steps=5000)
    image = torch.nn.functional.conv_transpose2d(code.a, dictionary)
    expected = 0.5 * (x - image).square().sum((1, 2, 3)) + 0.05 * (code.a != 0).sum((1, 2, 3))
    torch.testing.assert_close(code.objective, expected)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_step_is_safe_and_not_timid(channels):
    """The bound on D D^T is above its largest eigenvalue, and close on images that are large beside the atoms."""
    x, dictionary = data(channels)
    bound = make_problem(x, dictionary, l1(0.1)).curvature
    largest = torch.linalg.eigvalsh(unrolled(x, dictionary) @ unrolled(x, dictionary).T)[-1]
    assert largest <= bound <= 1.5 * largest


@pytest.mark.parametrize("method", CONVOLVING)
def test_a_warm_start_stays(method):
    x, dictionary = data()
    cold = solve(x, dictionary, l1(0.1), method, tol=1e-9, steps=50_000)
    warm = solve(x, dictionary, l1(0.1), method, tol=1e-6, warm_start=cold.a)
    assert torch.all(warm.iterations == 10)


def test_both_convolutions_are_charged():
    """The drive; and, each iteration, painting by what is active and reading by every place."""
    x, dictionary = data()
    model = as_module(lambda x: solve(x, dictionary, l1(0.1), "ista", tol=1e-9, steps=30))
    with record(model) as tape, pytest.warns(UserWarning, match="after 30 passes"):
        code = model(x)
    counts = count(tape)
    drive = 3 * 4 * 36 * 2 * 6  # samples, atoms, places, channels, pixels of an atom
    assert counts.uncounted == () and counts.totals["dense_ops"] == drive * (1 + 30 + 30)
    painted = 2 * 6 * code.events.n_events  # each active coefficient reaches every pixel of its atom
    images = torch.nn.functional.conv_transpose2d(code.events.dense().flatten(0, 1), dictionary)
    read = int(torch.nn.functional.conv2d((images != 0).double(), torch.ones_like(dictionary)).sum())
    assert counts.totals["effective_macs"] == drive + painted + read


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": torch.zeros(2, 2, 2, 7, dtype=torch.float64)}, "atoms that fit into an image"),
        ({"x": torch.zeros(2, 3, 8, 7, dtype=torch.float64)}, "the same channels"),
        ({"x": torch.zeros(2, 16, dtype=torch.float64)}, "the same channels"),
        ({"x": torch.zeros(2, 8, 7, dtype=torch.float64)}, r"\(samples, channels, height, width\)"),
        ({"x": torch.full((1, 2, 8, 7), torch.nan, dtype=torch.float64)}, "NaN or infinity in x"),
        ({"dictionary": torch.zeros(1, 2, 3, 2, dtype=torch.float64)}, r"norm zero in atoms \[0\]"),
        ({"warm_start": torch.zeros(3, 4, 8, 7)}, r"\(3, 4, 6, 6\)"),
        ({"method": "coordinate_descent"}, "a convolution"),
        ({"method": "spiking"}, "a convolution"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, said):
    x, dictionary = data()
    with pytest.raises(InputError, match=said):
        solve(**{"x": x, "dictionary": dictionary, **change})
