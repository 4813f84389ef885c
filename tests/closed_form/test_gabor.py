"""Gabor fits of known Gabor functions, their symmetries, and refused arguments."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosparse as ns
from neurosparse.errors import InputError

SHAPE = (16, 18)


def gabor(shape, row, column, sigma_x, sigma_y, theta, frequency, phase, amplitude=1.0):
    """Ringach's equation 1, written down again: y points up, so that angles are as seen."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = columns - column, -(rows - row)
    along, across = x * math.cos(theta) + y * math.sin(theta), -x * math.sin(theta) + y * math.cos(theta)
    envelope = np.exp(-(along**2) / (2 * sigma_x**2) - across**2 / (2 * sigma_y**2))
    return amplitude * envelope * np.cos(2 * math.pi * frequency * along + phase)


def angle(a, b, period):
    """Distance of two angles on a circle."""
    return np.abs((np.asarray(a) - b + period / 2) % period - period / 2)


@st.composite
def fields(draw):
    """Fields that an image of 16 x 18 shows well: a third of a cycle to one cycle and a half in a sigma."""
    frequency = draw(st.floats(0.12, 0.35))
    sigma_x, sigma_y = (draw(st.floats(max(0.3 / frequency, 1.2), min(1.2 / frequency, 4.0))) for _ in range(2))
    place = [draw(st.floats(4, n - 5)) for n in SHAPE]
    return (*place, sigma_x, sigma_y, draw(st.floats(0, 3.14)), frequency, draw(st.floats(-3.1, 3.1)))


@settings(max_examples=12)
@given(st.lists(fields(), min_size=8, max_size=8), st.sampled_from([1e-6, 1.0, 4e5]))
def test_it_finds_the_gabor_function_that_made_the_image(made, amplitude):
    atoms = np.stack([gabor(SHAPE, *each, amplitude).ravel() for each in made])
    fit = ns.fit_gabor(atoms, SHAPE)
    row, column, sigma_x, sigma_y, theta, frequency, phase = np.array(made).T
    assert (fit.residual < 1e-9).all()
    np.testing.assert_allclose(fit.fields(), atoms, atol=1e-3 * amplitude)
    np.testing.assert_allclose(fit.centre, np.stack([row, column], 1), atol=1e-3)
    for name, value in (("sigma_x", sigma_x), ("sigma_y", sigma_y), ("frequency", frequency)):
        np.testing.assert_allclose(getattr(fit, name), value, rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(fit.amplitude, amplitude, rtol=1e-3)
    assert (angle(fit.theta, theta, math.pi) < 1e-3).all() and ((fit.theta >= 0) & (fit.theta < math.pi)).all()
    flipped = angle(fit.theta, theta, 2 * math.pi) > 1  # half a turn reverses the wave and so the phase
    assert (angle(np.where(flipped, -fit.phase, fit.phase), phase, 2 * math.pi) < 1e-2).all()
    assert not fit.at_limit.any() and fit.n_unfitted == 0


def test_noise_moves_the_parameters_by_no_more_than_theory_allows():
    """The residual is the noise's share less eight parameters' worth; errors obey the bound of Cramer and Rao."""
    made, spread = (8.0, 8.5, 2.5, 3.0, 0.7, 0.2, 0.4), 0.1
    clean, generator = gabor(SHAPE, *made).ravel(), np.random.default_rng(0)
    fit = ns.fit_gabor(clean + spread * generator.normal(size=(200, clean.size)), SHAPE)
    expected = spread**2 * (clean.size - 8) / (clean @ clean + spread**2 * clean.size)
    assert fit.residual.mean() == pytest.approx(expected, rel=0.02)
    steps = np.eye(8) * 1e-5
    jacobian = [
        (gabor(SHAPE, *(np.array((*made, 1.0)) + step)) - gabor(SHAPE, *(np.array((*made, 1.0)) - step))).ravel() / 2e-5
        for step in steps
    ]
    bound = spread * np.sqrt(np.linalg.inv(np.array(jacobian) @ np.array(jacobian).T).diagonal())
    errors = np.stack([fit.centre[:, 0], fit.centre[:, 1], fit.sigma_x, fit.sigma_y, fit.theta, fit.frequency], 1) - [
        made[:6]
    ]
    np.testing.assert_allclose(errors.std(0), bound[:6], rtol=0.2)
    assert (np.abs(errors.mean(0)) < 4 * bound[:6] / math.sqrt(200)).all()


def real_fields(n=12):
    """Gabors with a second one laid over them: no exact fit, as in a learned dictionary."""
    generator = np.random.default_rng(3)
    images = []
    for _ in range(n):
        one, two = (
            gabor((16, 16), *generator.uniform((5, 5, 1.5, 1.5, 0, 0.15, -3), (10, 10, 3, 3, 3, 0.3, 3)))
            for _ in range(2)
        )
        images.append(one + 0.2 * two)
    return np.stack(images)


def test_scale_and_sign_change_only_the_amplitude_and_the_phase():
    atoms = real_fields().reshape(12, -1)
    one, other = ns.fit_gabor(atoms), ns.fit_gabor(-8.0 * atoms)
    for name in ("centre", "sigma_x", "sigma_y", "frequency", "residual"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(other.amplitude, 8 * one.amplitude, rtol=1e-5)
    assert (angle(other.phase, one.phase + math.pi, 2 * math.pi) < 1e-4).all()


def test_a_quarter_turn_turns_theta_and_the_centre():
    images = real_fields()
    one, turned = (ns.fit_gabor(each.reshape(12, -1)) for each in (images, np.rot90(images, axes=(1, 2))))
    assert (angle(turned.theta, one.theta + math.pi / 2, math.pi) < 1e-4).all()
    assert (angle(turned.orientation, one.orientation + math.pi / 2, math.pi) < 1e-4).all()
    # rot90 is counter-clockwise: what was at the right is now at the top.
    np.testing.assert_allclose(turned.centre, np.stack([15 - one.centre[:, 1], one.centre[:, 0]], 1), atol=1e-3)
    for name in ("sigma_x", "sigma_y", "frequency", "residual", "n_x", "aspect"):
        np.testing.assert_allclose(getattr(turned, name), getattr(one, name), rtol=1e-4, err_msg=name)


def test_moving_the_image_moves_the_centre_alone():
    """On a field narrow enough that nothing reaches the border."""
    image = gabor((24, 24), 11, 10, 1.6, 2.0, 1.1, 0.22, 0.5) + 0.1 * gabor((24, 24), 10, 11, 1.2, 1.2, 0.2, 0.3, 0)
    moved = np.roll(image, (3, -2), axis=(0, 1))
    fit = ns.fit_gabor(np.stack([image, moved]).reshape(2, -1))
    np.testing.assert_allclose(fit.centre[1] - fit.centre[0], [3, -2], atol=1e-4)
    for name in ("sigma_x", "sigma_y", "theta", "frequency", "phase", "residual"):
        assert getattr(fit, name)[1] == pytest.approx(getattr(fit, name)[0], abs=1e-4), name


def test_company_changes_no_fit():
    atoms = real_fields().reshape(12, -1)
    alone = np.concatenate([ns.fit_gabor(atom[None]).frequency for atom in atoms[:3]])
    np.testing.assert_allclose(ns.fit_gabor(atoms[::-1].copy()).frequency[::-1][:3], alone, rtol=1e-6)


def test_bandwidths_are_read_off_the_spectrum():
    """The spectrum of a large image of the field falls to half at the ends of both bandwidths."""
    n, sigma_x, sigma_y, f = 256, 4.0, 6.0, 0.15
    spectrum = np.abs(np.fft.fft2(gabor((n, n), 128, 128, sigma_x, sigma_y, 0.0, f, 0.3), (4 * n, 4 * n)))
    fit = ns.fit_gabor(gabor((40, 40), 20, 20, sigma_x, sigma_y, 0.0, f, 0.3).reshape(1, -1))
    wide = spectrum[0, : 2 * n]
    inside = np.flatnonzero(wide >= wide.max() / 2) / (4 * n)
    assert fit.bandwidth[0] == pytest.approx(math.log2(inside[-1] / inside[0]), abs=0.02)
    # Orientation: along the line tangent to the circle at the peak.
    column = spectrum[: 2 * n, round(4 * n * f)]
    half = np.flatnonzero(column >= column.max() / 2)[-1] / (4 * n)
    assert fit.orientation_bandwidth[0] == pytest.approx(2 * math.atan(half / f), rel=0.04)  # a bin is 1/32 of it
    assert fit.n_x[0] == pytest.approx(sigma_x * f, rel=1e-3) and fit.n_y[0] == pytest.approx(sigma_y * f, rel=1e-3)


def test_a_blob_has_no_lower_end_of_its_band():
    rows, columns = np.mgrid[:16, :16]
    fit = ns.fit_gabor(np.exp(-((rows - 7) ** 2 + (columns - 9) ** 2) / 8).reshape(1, -1))
    assert fit.bandwidth[0] == math.inf and fit.residual[0] < 1e-4 and fit.at_limit[0]
    assert fit.n_x[0] == fit.n_y[0] == 0 and fit.orientation_bandwidth[0] == pytest.approx(math.pi)
    np.testing.assert_allclose(fit.centre, [[7, 9]], atol=0.01)


def test_an_edge_has_the_peak_of_its_spectrum_though_its_frequency_is_anybodys_guess():
    """u exp(-u^2 / 2 s^2) is the limit of ever slower, ever larger odd Gabor functions; its spectrum, proportional to
    f exp(-2 pi^2 s^2 f^2), peaks at 1 / (2 pi s)."""
    rows, columns = np.mgrid[:20, :20] - 9.5
    s = 2.5
    edge = columns * np.exp(-(columns**2) / (2 * s**2) - rows**2 / (2 * 4**2))
    fit = ns.fit_gabor(edge.reshape(1, -1))
    assert fit.residual[0] < 1e-3 and fit.frequency[0] < 0.5 * fit.peak_frequency[0]
    assert fit.peak_frequency[0] == pytest.approx(1 / (2 * math.pi * s), rel=0.02)
    assert fit.n_x[0] == pytest.approx(1 / (2 * math.pi), rel=0.02) and math.isfinite(fit.bandwidth[0])
    assert fit.n_y[0] == pytest.approx(4 / (2 * math.pi * s), rel=0.02)


@pytest.mark.parametrize("theta", [0.0, math.pi / 4, math.pi / 2])
def test_nyquists_frequency_is_found_where_a_sine_vanishes_on_every_pixel(theta):
    image = gabor((12, 12), 6, 6, 2, 2, theta, 0.5, 0)
    fit = ns.fit_gabor(image.reshape(1, -1))
    assert fit.residual[0] < 1e-6 and fit.frequency[0] == pytest.approx(0.5, abs=2e-3) and fit.frequency[0] <= 0.5


def test_what_has_no_shape_has_no_fit_and_is_counted():
    atoms = np.zeros((4, 64))
    atoms[1], atoms[2] = 0.3, gabor((8, 8), 4, 3, 2, 2, 1, 0.2, 0).ravel()
    fit = ns.fit_gabor(atoms)
    assert fit.n_unfitted == 3 and np.isnan(fit.fields()[[0, 1, 3]]).all() and np.isnan(fit.n_x[[0, 1, 3]]).all()
    assert fit.residual[2] < 1e-6 and "3 without a fit" in repr(fit)
    html = fit._repr_html_()
    assert html.count("<tr>") == 1 + 7 and "3 without a fit" in html
    cells = re.findall(r"<t[hd]>([^<]+)</t[hd]>", html)
    assert [cell for cell in cells if cell not in repr(fit) and cell != "unit"] == []
    nothing = ns.fit_gabor(torch.zeros(2, 64))
    assert nothing.n_unfitted == 2 and not nothing.at_limit.any() and "nan" in repr(nothing)


@pytest.mark.parametrize("seed", range(3))
def test_anything_finite_gets_a_finite_fit_within_the_limits(seed):
    """Noise, single pixels, steps and gratings: whatever a dictionary may hold."""
    generator = np.random.default_rng(seed)
    images = [generator.normal(size=(9, 12)), np.zeros((9, 12)), np.ones((9, 12)), np.zeros((9, 12))]
    images[1][generator.integers(9), generator.integers(12)] = 1
    images[2][:, 5:] = -1
    images[3][:] = np.cos(2 * np.pi * np.arange(12) / 4)
    fit = ns.fit_gabor(np.stack(images).reshape(4, -1).astype(np.float32), (9, 12))
    assert ((fit.residual >= 0) & (fit.residual <= 1)).all() and np.isfinite(fit.fields()).all()
    assert ((fit.frequency >= 0.25 / 12 * (1 - 1e-9)) & (fit.frequency <= 0.5 + 1e-9)).all()
    for sigma in (fit.sigma_x, fit.sigma_y):
        assert ((sigma >= 0.5 - 1e-9) & (sigma <= 12 + 1e-9)).all()
    assert ((fit.centre >= 0) & (fit.centre <= [8, 11])).all()
    atoms = np.stack(images).reshape(4, -1)
    left = ((atoms - fit.fields()) ** 2).sum(1) / (atoms**2).sum(1)
    np.testing.assert_allclose(left, fit.residual, atol=1e-6)


@pytest.mark.parametrize(
    ("atoms", "shape"),
    [
        (np.full((2, 64), np.nan), None),
        (np.full((2, 64), np.inf), None),
        (np.ones(64), None),
        (np.ones((0, 64)), None),
        (np.ones((2, 60)), None),
        (np.ones((2, 64)), (4, 4)),
        (np.ones((2, 4)), None),
    ],
)
def test_refusals(atoms, shape):
    with pytest.raises(InputError, match="fit_gabor: got .*; expected"):
        ns.fit_gabor(atoms, shape)
