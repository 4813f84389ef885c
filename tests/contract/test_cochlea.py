"""The cochlea model: spikes of sounds, by theory and against another implementation."""

import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

import neurosparse as ns
from neurosparse.neurons import cochlea

RATE = 8000


def tone(hertz, seconds=0.3, loudness=1.0, rate=RATE):
    return loudness * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("hertz", [200, 500, 1000, 2000, 3000])
def test_a_tone_excites_the_band_of_its_frequency_most(hertz):
    """Forty-two edges even in mel from 80 to 4000 hertz: the loudest band is the one whose centre is nearest."""
    edges = np.linspace(*(2595 * math.log10(1 + f / 700) for f in (80, 4000)), 42)
    nearest = np.abs(edges[1:-1] - 2595 * math.log10(1 + hertz / 700)).argmin()
    profile = cochlea([tone(hertz)], RATE).counts()[0].sum(0)
    assert abs(int(profile.argmax()) - nearest) <= 1


def test_places_are_ordered_as_in_another_ear():
    """lauscher's basilar membrane: the higher the tone, the nearer to its base (channel 0)."""
    other = json.loads((Path(__file__).parents[1] / "oracles" / "lauscher.json").read_text())
    theirs, ours = [], []
    for hertz, counts in other["counts"].items():
        theirs.append(-int(np.argmax(counts)))
        sound = tone(int(hertz), other["seconds"], rate=other["rate"])
        ours.append(int(cochlea([sound], other["rate"], bands=other["channels"]).counts()[0].sum(0).argmax()))
    assert sorted(range(5), key=theirs.__getitem__) == sorted(range(5), key=ours.__getitem__) == list(range(5))
    assert len(set(ours)) == 5


def test_faint_sounds_reach_the_first_fibres_only():
    """The end is 40 of 60 decibels below the beginning: a third of full drive, where fibre 1 begins."""
    sound = torch.cat([tone(1000, 0.2), tone(1000, 0.2, loudness=0.01)])
    spikes = cochlea([sound], RATE, fibres=3).dense()[:, 0].sum(-1)
    loud, faint = spikes[:18].sum(0), spikes[24:].sum(0)
    assert faint[0] > 0 and faint[1] == 0 and faint[2] == 0
    assert bool((loud > 0).all()) and bool((loud[:-1] >= loud[1:]).all())


def test_gain_changes_nothing_and_silence_stays_silent():
    sound = tone(700) + 0.3 * tone(2100)
    assert torch.equal(cochlea([sound], RATE).dense(), cochlea([sound * 0.125], RATE).dense())
    assert cochlea([torch.zeros(800)], RATE).n_events == 0


def test_each_sound_is_as_long_as_it_is_and_heard_alone():
    sounds = [tone(500, 0.101), tone(900, 0.3), torch.zeros(0)]
    spikes = cochlea(sounds, RATE, dt=10e-3)
    assert spikes.lengths.tolist() == [11, 30, 0] and spikes.dt == 10e-3
    alone = cochlea(sounds[:1], RATE, dt=10e-3)
    assert torch.equal(spikes.dense()[:11, :1], alone.dense())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cochlea([], RATE), "waveforms"),
        (lambda: cochlea([torch.zeros(2, 100)], RATE), "waveform"),
        (lambda: cochlea([torch.full((100,), float("nan"))], RATE), "NaN"),
        (lambda: cochlea([torch.zeros(100)], RATE, bands=0), "bands=0"),
    ],
)
def test_slips_are_refused(call, message):
    with pytest.raises(ns.InputError, match=message):
        call()


@pytest.mark.parametrize(("width", "dtype", "scale"), [(1, "u1", 128), (2, "<i2", 2**15), (4, "<i4", 2**31)])
def test_wav_files_of_every_width(tmp_path, width, dtype, scale):
    levels = np.array([[0.0, 0.5], [-0.5, -1.0]])  # two samples of two channels
    stored = (levels * scale + (128 if width == 1 else 0)).astype(dtype)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, width, RATE, 2, "NONE", ""))
        file.writeframes(stored.tobytes())
    sound = ns.io.wav.read(tmp_path / "a.wav")
    assert sound.rate == RATE and sound.waveform.tolist() == [0.25, -0.75]


def test_what_is_no_wav_file_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(ns.InputError, match="uncompressed wav"):
        ns.io.wav.read(tmp_path / "a.wav")
    with pytest.raises(ns.MissingFileError, match="expected a wav file"):
        ns.io.wav.read(tmp_path / "b.wav")


def test_adaptation_removes_a_constant_filter():
    """A filter that is the same at all times, as a throat or a microphone is, moves every band by a constant."""
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(8000, generator=generator) * (1 + torch.sin(torch.arange(8000) / 300))
    coloured = sound.clone()
    coloured[1:] -= 0.9 * sound[:-1]  # high frequencies up
    spread = {}
    for share in (0.0, 1.0):
        models = [ns.neurons.cochlea([each], 8000, adaptation=share) for each in (sound, coloured)]
        rates = [one.dense().mean((0, 1, 2)) for one in models]
        spread[share] = (rates[0] - rates[1]).std()
    assert spread[1.0] < 0.25 * spread[0.0]
