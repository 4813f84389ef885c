"""Spoken digits (FSDD) through a cochlea model: spiking and dense networks on the same spikes.

neurosparse compare models/spoken-digits     # place the recordings as in datasets/fsdd/README.md
"""

import torch

import neurosparse as ns

STEPS = 64  # of 10 ms: 99.9 % of the spikes


def data() -> ns.Split:
    """Counts of 120 nerve fibres in 16 steps of 40 ms, 2500 recordings; takes 0 to 4 of a digit and speaker last."""
    sounds = ns.io.wav.read_folder(ns.io.manifest.data_folder("fsdd"))  # named DIGIT_SPEAKER_TAKE
    spikes = ns.neurons.cochlea([sound.waveform for sound in sounds.values()], rate=8000, adaptation=0.7)
    events = ns.EventTensor.from_dense(spikes[:STEPS].bin(4, "sum").dense(), dt=40e-3)
    names = [name.split("_") for name in sounds]
    digit, take = (torch.tensor([int(name[part]) for name in names]) for part in (0, 2))
    parts = take >= 10, (take >= 5) & (take < 10), take < 5  # the official split; folds mix its parts
    return ns.Split(*((events.samples(part.nonzero()[:, 0]), digit[part]) for part in parts))


task = ns.Task(
    name="spoken-digits",
    title="Spoken digits (FSDD), 2500 recordings of five speakers",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=18,
    batch_size=50,
    learning_rates=(0.01, 0.003, 0.03),
    augment=ns.experiments.shift_units(2),
    weight_decay=0.01,
    trials=30,
    search_samples=1000,
    folds=5,
    seeds=5,
    reference="relu-bins-8",
    shared="nmnist",  # its models of the counts of whole recordings
)
