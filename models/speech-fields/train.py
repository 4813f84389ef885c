"""Spectro-temporal receptive fields from speech (FSDD), as sparse codes of photographs give spatial ones.

neurosparse atoms models/speech-fields       # the recordings lie where datasets/fsdd/README.md says
"""

import math

import torch
from torch import Tensor

import neurosparse as ns

BANDS, DT, EDGE = 24, 10e-3, 8  # bands of mel from 80 to 4000 hertz, seconds a step, bands beyond the border
HELD_OUT = "theo"  # a speaker
MEL = 2595 * math.log10((1 + 4000 / 700) / (1 + 80 / 700)) / (BANDS + 1)  # from one band to the next


def whitened(sounds: dict[str, Tensor]) -> dict[str, Tensor]:
    """Spectrograms with a level spectrum; mirrored at the border, where whitening would wrap around."""
    pad = {name: torch.nn.functional.pad(each[None], (EDGE,) * 4, "reflect")[0] for name, each in sounds.items()}
    white = ns.coding.images.whiten(pad, variance=0.1)
    return {name: each[EDGE:-EDGE, EDGE:-EDGE].contiguous() for name, each in white.items()}


def images() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Takes 0 to 9 of every digit, the bands of each free of their mean; four speakers to learn from, one held out."""
    sounds = ns.io.wav.read_folder(ns.io.manifest.data_folder("fsdd"))  # named DIGIT_SPEAKER_TAKE
    found: dict[str, dict[str, Tensor]] = {"train": {}, "held out": {}}
    for name, sound in sounds.items():
        _, speaker, take = name.split("_")
        loudness = ns.neurons.spectrogram(sound.waveform, sound.rate, bands=BANDS, dt=DT)
        if int(take) < 10 and loudness.shape[1] >= BANDS:
            part = "held out" if speaker == HELD_OUT else "train"
            found[part][name] = loudness - loudness.mean(1, keepdim=True)
    return whitened(found["train"]), whitened(found["held out"])


task = ns.experiments.FieldTask(
    name="speech-fields",
    title="Speech: 24 bands x 240 ms of spoken digits",
    images=images,
    size=BANDS,
    atoms=144,
    batch_size=100,
    batches=400,
    border=0,
    sound=(MEL / 1000, DT),
)
