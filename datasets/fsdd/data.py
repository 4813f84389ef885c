"""Free Spoken Digit Dataset: spikes of a cochlea model, with digit, speaker and take of each recording."""

from typing import NamedTuple

import torch
from torch import Tensor

import neurosparse as ns

DELAYS = (0, 6, 12, 18, 24)  # steps of 10 ms, up to a quarter of a second


class Recordings(NamedTuple):
    """Spikes ``(steps, samples, delays, fibres)``; digit, speaker and take of each sample."""

    spikes: ns.EventTensor
    digit: Tensor
    speaker: list[str]
    take: Tensor

    def split(self, *parts: Tensor) -> ns.Split:
        """Training, validation and test parts from masks of the samples."""
        return ns.Split(*((self.spikes.samples(part.nonzero()[:, 0]), self.digit[part]) for part in parts))


def recordings() -> Recordings:
    """All recordings as spikes of 120 nerve fibres and their delay lines, steps of 10 ms."""
    sounds = ns.io.wav.read_folder(ns.io.manifest.data_folder("fsdd"))  # named DIGIT_SPEAKER_TAKE
    ear = ns.neurons.cochlea([sound.waveform for sound in sounds.values()], rate=8000, adaptation=0.7)
    names = [name.split("_") for name in sounds]
    digit, take = (torch.tensor([int(name[part]) for name in names]) for part in (0, 2))
    return Recordings(ns.neurons.delay_lines(ear, DELAYS), digit, [name[1] for name in names], take)
