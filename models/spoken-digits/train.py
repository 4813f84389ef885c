"""Spoken digits (FSDD) through a spiking ear: the official test split, recordings 0 to 4 of each digit and speaker.

neurosparse compare models/spoken-digits     # the recordings lie where datasets/fsdd/README.md says
"""

import torch

import neurosparse as ns

DELAYS = (0, 6, 12, 18, 24)  # steps: what a unit hears now, and what it heard up to a quarter of a second ago


def data() -> ns.Split:
    """Spikes of 120 nerve fibres and their delay lines, steps of 10 ms; takes 5 to 9 validate, 10 to 49 train."""
    sounds = ns.io.wav.read_folder(ns.io.manifest.data_folder("fsdd"))  # named DIGIT_SPEAKER_TAKE
    ear = ns.neurons.cochlea([sound.waveform for sound in sounds.values()], rate=8000, adaptation=0.7)
    spikes = ns.neurons.delay_lines(ear, DELAYS)
    digit = torch.tensor([int(name.split("_")[0]) for name in sounds])
    take = torch.tensor([int(name.split("_")[2]) for name in sounds])
    parts = (take >= 10, (take >= 5) & (take < 10), take < 5)
    return ns.Split(*((spikes.samples(part.nonzero()[:, 0]), digit[part]) for part in parts))


task = ns.Task(
    name="spoken-digits",
    title="Spoken digits (FSDD), official split",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=30,
    batch_size=50,
    learning_rates=(0.003,),
    augment=ns.experiments.vary_voice(),
    weight_decay=0.01,
)
