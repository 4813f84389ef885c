"""Rao & Ballard's hierarchy against its published equations, module by module; its patches and its equilibrium."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neurosparse.coding import log
from neurosparse.errors import InputError
from neurosparse.meter import count, record
from neurosparse.predictive import rao_ballard
from neurosparse.predictive.rao_ballard import Gaussian, Settings, errors, extract_patches, fields, hierarchy, learn

SETTINGS = Settings((Gaussian(1.0), Gaussian(0.05)), (1.0, 10.0), rates=(0.03, 0.3), decays=(0.02, 0.01))


def weights(network) -> tuple[np.ndarray, np.ndarray]:
    """``U`` (3, 256, 32) and ``U_h`` (96, 128), float64 copies."""
    level2, level1 = (layer.weight.detach().double().numpy().copy() for layer in network.layers)
    return level1, level2


def drawn(samples: int = 3, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """An image, r and r_h."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (samples, 768), (samples, 96), (samples, 128)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)  # type: ignore[return-value]


def published_step(u, uh, image, r, rh, k1, k1h, settings):
    """One step of one sample, as the paper writes it; Gaussian priors. Also the errors of both levels."""
    (sigma2, sigma2_td), (alpha1, alpha2) = settings.variances, (prior.precision for prior in settings.priors)
    r_td = uh @ rh
    dr, below = np.zeros(96), np.zeros((3, 256))
    for m in range(3):
        own = slice(32 * m, 32 * m + 32)
        below[m] = image[256 * m : 256 * m + 256] - u[m] @ r[own]
        dr[own] = k1 / sigma2 * u[m].T @ below[m] + k1 / sigma2_td * (r_td - r)[own] - k1 * alpha1 * r[own]
    drh = k1h / sigma2_td * uh.T @ (r - r_td) - k1h * alpha2 * rh
    return r + dr, rh + drh, below, r - r_td


def test_a_step_of_inference_is_the_published_one():
    """The priors' implicit step makes of dt the published rate ``dt / (1 + dt alpha)`` of each level."""
    network, (x, r, rh), dt = hierarchy(SETTINGS).double(), drawn(), 2e-3
    states = network.infer(clamp={2: x}, start=[rh, r, x], steps=1, dt=dt)
    u, uh = weights(network)
    k1, k1h = (dt / (1 + dt * prior.precision) for prior in SETTINGS.priors)
    for sample in range(3):
        one = (part[sample].numpy() for part in (x, r, rh))
        r_next, rh_next, *_ = published_step(u, uh, *one, k1, k1h, SETTINGS)
        np.testing.assert_allclose(states.z[1][sample], r_next, atol=1e-10)
        np.testing.assert_allclose(states.z[0][sample], rh_next, atol=1e-10)


def test_a_step_under_the_kurtotic_prior_is_implicit():
    """``r' = r + k (drive - alpha r' / (1 + r'^2))``: slope of ``alpha / 2 log(1 + r^2)``, at the end of the step."""
    settings, alpha, dt = SETTINGS._replace(priors=(log(0.4), Gaussian(0.05))), 0.8, 2e-3
    network, (x, r, rh) = hierarchy(settings).double(), drawn()
    after = network.infer(clamp={2: x}, start=[rh, r, x], steps=1, dt=dt).z[1].numpy()
    u, uh = weights(network)
    flat = SETTINGS._replace(priors=(Gaussian(0.0), Gaussian(0.05)))
    for sample in range(3):
        one = (part[sample].numpy() for part in (x, r, rh))
        driven, *_ = published_step(u, uh, *one, dt, dt, flat)
        np.testing.assert_allclose(
            after[sample], driven - dt * alpha * after[sample] / (1 + after[sample] ** 2), atol=1e-12
        )


@pytest.mark.parametrize("rate_factor", [1.0, 0.25])
def test_a_step_of_the_weights_is_the_published_one(rate_factor):
    """``dU = k2 / sigma^2 (I - U r) r^T - k2 lambda U``, the mean over samples; level 2 the same of ``r - r_td``."""
    network, (x, *_) = hierarchy(SETTINGS).double(), drawn()
    u, uh = weights(network)
    states = learn(network, x, SETTINGS, rate_factor)
    assert len(states.energies) == 31, "thirty iterations"
    (k2, k2h), (decay, decay_h) = (rate_factor * np.array(SETTINGS.rates)), SETTINGS.decays
    du, duh = -k2 * decay * u, -k2h * decay_h * uh
    for sample in range(3):
        rh, r, image = (part[sample].numpy() for part in states.z)
        *_, below, error = published_step(u, uh, image, r, rh, 0.0, 0.0, SETTINGS)
        du += k2 / SETTINGS.variances[0] * np.stack([np.outer(below[m], r[32 * m : 32 * m + 32]) for m in range(3)]) / 3
        duh += k2h / SETTINGS.variances[1] * np.outer(error, rh) / 3
    after_u, after_uh = weights(network)
    np.testing.assert_allclose(after_u, u + du, atol=1e-9)
    np.testing.assert_allclose(after_uh, uh + duh, atol=1e-9)


def test_by_hand_equals_autograd():
    network, (x, *_) = hierarchy(SETTINGS).double(), drawn()
    found = []
    for network.gradients in ("hand", "autograd"):
        states = network.infer(clamp={2: x}, start="zero", steps=10)
        network.learn(states)
        found.append([*states.z, *(layer.weight.grad.clone() for layer in network.layers)])
    for hand, auto in zip(*found, strict=True):
        torch.testing.assert_close(hand, auto, atol=1e-11, rtol=0)


@pytest.mark.parametrize("feedback", [True, False])
def test_errors_at_equilibrium_are_those_of_the_posterior_mean(feedback):
    """Gaussian priors: r and r_h solve one linear system; without feedback r alone solves that of its own level."""
    settings = SETTINGS._replace(priors=(Gaussian(1.0), Gaussian(5.0)))
    network, (x, *_) = hierarchy(settings, seed := 3).double(), drawn(seed=seed)
    u, uh = weights(network)
    u = np.block([[u[a] if a == b else np.zeros((256, 32)) for b in range(3)] for a in range(3)])
    top = u.T @ u + (1.0 + 0.1) * np.eye(96)
    both = np.block([[top, -0.1 * uh], [-0.1 * uh.T, 0.1 * uh.T @ uh + 5.0 * np.eye(128)]])
    drive = x.numpy() @ u
    if feedback:
        rest = np.linalg.solve(both, np.hstack([drive, np.zeros((3, 128))]).T).T
        expected = rest[:, :96] - rest[:, 96:] @ uh.T
    else:
        expected = np.linalg.solve(top, drive.T).T
    found = errors(network, x, feedback, tol=1e-9).flatten(1)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_the_scale_of_level_2_is_arbitrary():
    """``c U_h`` with ``c^2 alpha2`` predicts the same: only alpha2 times the decay of U_h matters."""
    (x, *_), priors = drawn(), [(Gaussian(1.0), Gaussian(alpha2)) for alpha2 in (5.0, 9 * 5.0)]
    network, scaled = (hierarchy(SETTINGS._replace(priors=pair)).double() for pair in priors)
    with torch.no_grad():
        scaled.layers[0].weight.mul_(3)
    one, other = (errors(each, x, tol=1e-9, steps=20_000) for each in (network, scaled))
    torch.testing.assert_close(one, other, atol=1e-5 * float(one.abs().max()), rtol=0)


def test_three_patches_without_their_means_through_a_window():
    area = torch.randn(2, 16, 26, dtype=torch.float64)
    patches = extract_patches(area).reshape(2, 3, 16, 16)
    for module in range(3):
        patch = area[:, :, 5 * module : 5 * module + 16]
        flat = patch - patch.mean((1, 2), keepdim=True)
        for row, column in ((0, 0), (3, 9), (7, 8), (15, 2)):
            distance = (row - 7.5) ** 2 + (column - 7.5) ** 2
            expected = flat[:, row, column] * np.exp(-distance / (2 * rao_ballard.WINDOW**2))
            torch.testing.assert_close(patches[:, module, row, column], expected, atol=1e-12, rtol=0)
    for wrong in (torch.zeros(16, 26), torch.zeros(2, 26, 16)):
        with pytest.raises(InputError, match="16, 26"):
            extract_patches(wrong)


def test_fields_are_the_predictions_of_single_units():
    network = hierarchy(SETTINGS).double()
    found, (u, uh) = fields(network), weights(network)
    np.testing.assert_array_equal(found.level1[32 + 5], u[1, :, 5])
    area = np.zeros((16, 26))
    for m in range(3):
        area[:, 5 * m : 5 * m + 16] += (u[m] @ uh[32 * m : 32 * m + 32, 7]).reshape(16, 16)
    np.testing.assert_allclose(found.level2[7].reshape(16, 26), area, atol=1e-12)


def test_the_meter_counts_no_zeros_of_the_block_diagonal():
    network = hierarchy(SETTINGS)
    with record(network) as tape:
        network(torch.randn(5, 128))
    counts = count(tape)
    assert counts.uncounted == () and counts.totals["dense_ops"] == 5 * (128 * 96 + 3 * 32 * 256)
