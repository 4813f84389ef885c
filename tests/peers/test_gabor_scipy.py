"""SciPy's least_squares over all eight parameters, from several starts within the same limits, finds no better."""

import math

import numpy as np
from scipy.optimize import least_squares

import neurosparse as ns

SIDE = 12


def patterns(n=5):
    """Gabor-like fields with a neighbour and some noise: what is learned is never a Gabor function."""
    generator = np.random.default_rng(7)
    low, high = (3, 3, 1.2, 1.5, 0, 0.12, -3, 1), (9, 9, 2.5, 4, 3.1, 0.32, 3, 1)
    fields = [model(generator.uniform(low, high)) + 0.3 * model(generator.uniform(low, high)) for _ in range(n)]
    return np.stack(fields) + 0.05 * generator.normal(size=(n, SIDE * SIDE))


def model(p):
    row, column, sigma_x, sigma_y, theta, frequency, phase, amplitude = p
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y = columns - column, row - rows
    along, across = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)
    envelope = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return (amplitude * envelope * np.cos(2 * math.pi * frequency * along + phase)).ravel()


def scipys(atom, starts=8):
    """Least residual from random starts within our limits."""
    low = [0, 0, 0.5, 0.5, -np.inf, 0.25 / SIDE, -np.inf, -np.inf]
    high = [SIDE - 1, SIDE - 1, SIDE, SIDE, np.inf, 0.5, np.inf, np.inf]
    generator = np.random.default_rng(0)
    costs = []
    for _ in range(starts):
        start = generator.uniform((2, 2, 1, 1, 0, 0.1, -3, 0.5), (10, 10, 3, 3, 3.1, 0.4, 3, 1.5))
        found = least_squares(lambda p: model(p) - atom, start, bounds=(low, high), x_scale="jac", max_nfev=200)
        costs.append(2 * found.cost)
    return min(costs) / (atom @ atom)


def test_our_residual_is_no_larger_than_scipys():
    atoms = patterns()
    ours, theirs = ns.fit_gabor(atoms).residual, np.array([scipys(atom) for atom in atoms])
    assert (ours <= theirs * 1.01).all(), f"{ours} against {theirs}"
    assert (ours > 1e-3).all(), "a perfect fit would compare nothing"
