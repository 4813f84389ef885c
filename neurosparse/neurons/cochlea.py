"""Cochlea model: sound to the spikes of auditory nerve fibres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neurosparse.checks import number, positive, tensor, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.neurons.lif import LIF

__all__ = ["cochlea", "mel_filters", "spectrogram"]

WINDOW = 25e-3  # seconds of sound in the window of one step


def mel_filters(bands: int, bins: int, rate: float, low: float = 80.0, high: float | None = None) -> Tensor:
    """Triangular filters, evenly spaced in mel: ``mel(f) = 2595 log10(1 + f / 700)``.

    Args:
        bands: number of filters.
        bins: frequency bins of a spectrum from 0 to half the rate.
        rate: samples per second.
        low, high: range in hertz; high: half the rate.

    Returns:
        ``(bands, bins)``, each filter of sum 1.

    Example:
        >>> filters = mel_filters(4, 129, 8000.0)
        >>> filters.shape, filters.argmax(1).tolist()  # centres grow apart with frequency
        (torch.Size([4, 129]), [13, 29, 51, 83])

    Source: Stevens, Volkmann & Newman 1937, in the form of O'Shaughnessy 1987.
    """
    high = rate / 2 if high is None else high

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = 700 * (10 ** (torch.linspace(mel(low), mel(high), bands + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    left, middle, right = (edges[k : bands + k, None] for k in range(3))
    filters = torch.minimum((frequency - left) / (middle - left), (right - frequency) / (right - middle)).clamp(min=0)
    # A band narrower than the distance of two bins takes the nearest bin.
    nearest = (frequency - middle).abs().argmin(1, keepdim=True)
    filters = torch.where(filters.sum(1, keepdim=True) > 0, filters, torch.zeros_like(filters).scatter(1, nearest, 1.0))
    return (filters / filters.sum(1, keepdim=True)).float()


def spectrogram(
    sound: Tensor, rate: float, *, bands: int = 40, dt: float = 10e-3, dynamic_range: float = 60.0
) -> Tensor:
    """Mel spectrogram: loudness of each mel band over time, the drive of the fibres of `cochlea`.

    ``d = max(0, 1 + 10 log10(P / P_max) / range)``, P the power of a band in a Hann window of 25 ms.

    Args:
        sound: waveform ``(samples)``.
        rate, bands, dt, dynamic_range: as in `cochlea`.

    Returns:
        ``(bands, steps)``, 0 to 1, low bands first; a silent sound is 0.

    Raises:
        InputError: as `cochlea`.

    Example:
        >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(4000) / 8000)
        >>> loudness = spectrogram(tone, 8000, bands=20)
        >>> loudness.shape, loudness[:, 25].argmax().item()
        (torch.Size([20, 50]), 8)

    Source: as `mel_filters`.
    """
    (sound,) = _waveforms("spectrogram", [sound])
    hop, window, filters = _bank("spectrogram", rate, bands, dt)
    dynamic_range = positive("spectrogram", "dynamic_range", dynamic_range)
    return _drive(sound, filters, hop, window, dynamic_range).t().contiguous()


def cochlea(
    sounds: Sequence[Tensor],
    rate: float,
    *,
    bands: int = 40,
    fibres: int = 3,
    dt: float = 10e-3,
    dynamic_range: float = 60.0,
    tau: float = 10e-3,
    adaptation: float = 0.0,
) -> EventTensor:
    """Spikes of auditory nerve fibres: mel bands, compression to decibels, leaky integrate-and-fire fibres.

    Each step has a Hann window of 25 ms. The power ``P`` of a band gives a drive between 0 and 1,
    ``d = max(0, 1 + 10 log10(P / P_max) / range)``, where ``P_max`` is the loudest moment of the sound: the gain of the
    recording has no effect. Adaptation lowers each band by its mean over the sound,
    ``max(0, d + adaptation (mean d - mean_band d))``, and so removes the constant spectrum of a voice or a microphone.
    Fibre ``j`` of a band is a LIF neuron with the current ``2 (d - j / fibres)`` where that is positive: the first
    fires for faint sounds, the last for loud ones.

    Args:
        sounds: waveforms ``(samples)``, of any lengths.
        rate: samples per second.
        bands: frequency bands, from 80 hertz to half the rate.
        fibres: per band, with rising thresholds.
        dt: seconds per step.
        dynamic_range: decibels below the loudest moment that are silent.
        tau: the fibres' time constant in seconds.
        adaptation: 0, none, to 1, all bands equally loud in the mean. The mean is over the whole sound.

    Returns:
        Spikes ``(steps, sounds, fibres, bands)`` with ``lengths``; silent sounds stay silent.

    Raises:
        InputError: no sound, NaN, another shape than ``(samples)``, a number out of range.

    Example:
        >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(4000) / 8000)
        >>> spikes = cochlea([tone], 8000, bands=20, fibres=2)
        >>> spikes.shape, spikes.counts()[0, 1].argmax().item()  # the band around 1000 hertz is the loudest
        ((50, 1, 2, 20), 8)

    Source: Cramer et al. 2022, "The Heidelberg spiking data sets for the systematic evaluation of spiking neural
    networks", for spikes from an artificial ear; fibres of three thresholds after Liberman 1978.
    """
    sounds, fibres = _waveforms("cochlea", sounds), whole("cochlea", "fibres", fibres)
    hop, window, filters = _bank("cochlea", rate, bands, dt)
    dynamic_range = positive("cochlea", "dynamic_range", dynamic_range)
    adaptation = number("cochlea", "adaptation", adaptation, 0, 1)
    drives = [_adapted(_drive(sound, filters, hop, window, dynamic_range), adaptation) for sound in sounds]
    lengths = torch.tensor([len(drive) for drive in drives])
    drive = torch.nn.utils.rnn.pad_sequence(drives)  # (steps, sounds, bands)
    steps = torch.arange(fibres, dtype=drive.dtype) / fibres
    current = (2 * (drive.unsqueeze(2) - steps[:, None])).clamp(min=0)
    return LIF(tau=tau, reset="subtract")(EventTensor.from_dense(current, dt=dt, lengths=lengths)).detach()


def _waveforms(where: str, sounds: Sequence[Tensor]) -> list[Tensor]:
    if isinstance(sounds, str | bytes) or not hasattr(sounds, "__len__") or len(sounds) == 0:
        got, fix = type(sounds).__name__, "Pass [waveform], a list of arrays of one axis."
        raise InputError(where, got=f"sounds of type {got}", expected="waveforms (samples)", fix=fix)
    return [tensor(where, "sound", sound, "samples", "Pass [waveform], a list of arrays.") for sound in sounds]


def _bank(where: str, rate: float, bands: int, dt: float) -> tuple[int, int, Tensor]:
    """Samples from step to step, samples of a window, and the filters."""
    rate = number(where, "rate", rate, high=1e7, above=0)
    dt = positive(where, "dt", dt, unit="seconds")
    hop = whole(where, "samples per step (rate * dt)", round(rate * dt))
    window = whole(where, "samples per window", round(rate * WINDOW), 2)
    return hop, window, mel_filters(whole(where, "bands", bands), window // 2 + 1, rate)


def _drive(sound: Tensor, filters: Tensor, hop: int, window: int, dynamic_range: float) -> Tensor:
    """Drive of each band ``(steps, bands)``, 0 to 1; a step for every started hop."""
    steps = -(-len(sound) // hop)
    if steps == 0:
        return sound.new_zeros(0, len(filters))
    padded = torch.nn.functional.pad(sound.float(), (window // 2, window // 2 + window + hop))
    frames = padded.unfold(0, window, hop)[:steps] * torch.hann_window(window)
    power = torch.fft.rfft(frames).abs().square() @ filters.t()
    loudest = float(power.max()) if power.numel() else 0.0
    if loudest == 0:
        return torch.zeros_like(power)
    return (1 + 10 * torch.log10(power / loudest + 1e-30) / dynamic_range).clamp(min=0)


def _adapted(drive: Tensor, share: float) -> Tensor:
    if share == 0 or len(drive) == 0:
        return drive
    return (drive + share * (drive.mean() - drive.mean(0))).clamp(min=0)
