"""Spoken digits (FSDD) of a speaker that no training has heard, through a spiking ear.

neurosparse compare models/spoken-digits-speaker     # the recordings lie where datasets/fsdd/README.md says
"""

import torch

import neurosparse as ns

UNHEARD = "yweweler"  # the last in the alphabet; ear, augmentation and layers were chosen with others left out
DELAYS = (0, 6, 12, 18, 24)  # steps: what a unit hears now, and what it heard up to a quarter of a second ago


def data() -> ns.Split:
    """Four speakers train, takes 0 to 4 of theirs validate; all recordings of the fifth are the test."""
    sounds = ns.io.wav.read_folder(ns.io.manifest.data_folder("fsdd"))  # named DIGIT_SPEAKER_TAKE
    ear = ns.neurons.cochlea([sound.waveform for sound in sounds.values()], rate=8000, adaptation=0.7)
    spikes = ns.neurons.delay_lines(ear, DELAYS)
    digit = torch.tensor([int(name.split("_")[0]) for name in sounds])
    speaker = [name.split("_")[1] for name in sounds]
    unheard = torch.tensor([name == UNHEARD for name in speaker])
    early = torch.tensor([int(name.split("_")[2]) < 5 for name in sounds])
    parts = (~unheard & ~early, ~unheard & early, unheard)
    return ns.Split(*((spikes.samples(part.nonzero()[:, 0]), digit[part]) for part in parts))


task = ns.Task(
    name="spoken-digits-speaker",
    title="Spoken digits (FSDD), an unheard speaker",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=30,
    batch_size=50,
    learning_rates=(0.003,),
    augment=ns.experiments.vary_voice(),
    weight_decay=0.01,
)
