"""Spectro-temporal fields whose modulations are known: ripples, products of time and frequency, sums of them."""

import numpy as np
import pytest
import torch

from neurosparse.analysis import modulations
from neurosparse.errors import InputError
from neurosparse.neurons import spectrogram

BAND, STEP = np.mgrid[:16, :32]


def ripple(rate: float, scale: float, band: float = 0.25, dt: float = 0.01) -> np.ndarray:
    return np.cos(2 * np.pi * (rate * dt * STEP + scale * band * BAND)).ravel()


@pytest.mark.parametrize(("rate", "scale"), [(6.25, 0.5), (-12.5, 1.0), (25.0, 0.25)])
def test_a_ripple_is_tuned_to_itself_and_rises_if_its_signs_differ(rate: float, scale: float) -> None:
    found = modulations(ripple(rate, scale)[None], (16, 32), 0.25, 0.01)
    assert found.rate[0] == pytest.approx(abs(rate)) and found.scale[0] == pytest.approx(scale)
    assert found.direction[0] * -np.sign(rate) > 0.8
    # A cosine of a sum is cos cos - sin sin: two products, nearly of one energy.
    assert found.separability[0] == pytest.approx(0.5, abs=0.05)


def test_a_product_of_time_and_frequency_separates_and_sweeps_nowhere() -> None:
    time, pitch = np.hanning(32) * np.cos(np.arange(32)), np.exp(-((np.arange(16) - 9) ** 2) / 8)
    found = modulations(np.stack([np.outer(pitch, time).ravel(), np.zeros(512)]), (16, 32), 0.25, 0.01)
    assert found.separability[0] == pytest.approx(1) and found.direction[0] == pytest.approx(0, abs=1e-12)
    assert found.rate[0] == pytest.approx(100 / (2 * np.pi), abs=100 / 128) and found.scale[0] == 0
    assert np.isnan([found.rate[1], found.scale[1], found.separability[1], found.direction[1]]).all()
    both = np.outer(np.eye(16)[2], np.eye(32)[3]) + 2 * np.outer(np.eye(16)[7], np.eye(32)[9])
    assert modulations(both.reshape(1, -1), (16, 32), 0.25, 0.01).separability[0] == pytest.approx(4 / 5)


@pytest.mark.parametrize(("shape", "band"), [((16, 31), 0.25), ((16, 32), 0.0), ((16, 32), np.nan)])
def test_bad_input_is_refused(shape: tuple[int, int], band: float) -> None:
    with pytest.raises(InputError, match="modulations: got"):
        modulations(ripple(5, 1)[None], shape, band, 0.01)


def test_a_spectrogram_of_a_rising_tone_rises_whatever_its_gain() -> None:
    second = torch.arange(8000) / 8000
    sound = torch.sin(2 * torch.pi * (300 * second + 1500 * second**2))  # 300 to 3300 hertz
    heard = spectrogram(sound, 8000, bands=24)
    assert heard.shape == (24, 100) and heard.min() >= 0 and heard.max() == 1
    loudest = heard[:, 5:95].argmax(0)
    assert (loudest.diff() >= 0).all() and loudest[-1] - loudest[0] > 12
    torch.testing.assert_close(spectrogram(0.01 * sound, 8000, bands=24), heard, rtol=0, atol=1e-4)
    assert not spectrogram(torch.zeros(800), 8000, bands=4).any()
    with pytest.raises(InputError, match="expected numbers .samples."):
        spectrogram(torch.zeros(2, 800), 8000)
