"""The whitening filter: gratings pass it by its own formula, and it makes the images of 1996."""

import math

import numpy as np
import pytest
import torch

import neurosparse as ns
from neurosparse.coding.images import whiten


@pytest.mark.parametrize(("down", "across"), [(0, 3), (5, 0), (4, 7), (12, 20), (24, 32)])
@pytest.mark.parametrize(("cutoff", "order"), [(0.4, 4.0), (0.2, 2.0)])
def test_a_grating_is_scaled_by_its_frequency(down, across, cutoff, order):
    """Sinusoids are what a filter leaves in shape: 48 x 64 pixels, so many cycles down and across."""
    y, x = torch.arange(48.0, dtype=torch.float64)[:, None], torch.arange(64.0, dtype=torch.float64)
    grating = 3 + torch.cos(2 * math.pi * (down * y / 48 + across * x / 64) + 0.3)
    f = math.hypot(down / 48, across / 64)
    expected = f * math.exp(-((f / cutoff) ** order)) * (grating - 3)
    torch.testing.assert_close(whiten(grating, cutoff, order), expected, rtol=0, atol=1e-12)


def test_a_set_is_scaled_by_one_factor():
    generator = torch.Generator().manual_seed(0)
    images = {"strong": 5 * torch.rand(40, 30, generator=generator), "weak": torch.rand(30, 30, generator=generator)}
    plain, scaled = whiten(images), whiten(images, variance=0.1)
    assert np.mean([image.var(correction=0) for image in scaled.values()]) == pytest.approx(0.1, rel=1e-5)
    factors = [(scaled[name] / plain[name]).median().item() for name in images]
    assert factors[0] == pytest.approx(factors[1], rel=1e-5)


def test_the_set_of_1996(shared_data):
    """Five of the raw photographs against Olshausen's own whitening of them."""
    for k in range(5):
        raw = ns.io.photographs.read(shared_data(f"images/olshausen_raw/{k + 1:02}.tif"))
        theirs = np.fromfile(shared_data(f"images/olshausen_whitened/image{k}.f32be"), ">f4")
        assert np.corrcoef(whiten(raw).flatten(), theirs)[0, 1] >= 0.999


def test_it_refuses():
    with pytest.raises(ns.InputError, match="mean over colours"):
        whiten(torch.rand(8, 8, 3))
    with pytest.raises(ns.InputError, match="NaN or infinity in b"):
        whiten({"a": torch.rand(8, 8), "b": torch.full((8, 8), math.nan)})
    with pytest.raises(ns.InputError, match="without contrast"):
        whiten(torch.zeros(8, 8), variance=0.1)
    with pytest.raises(ns.InputError, match="cutoff=0"):
        whiten(torch.rand(8, 8), cutoff=0)
