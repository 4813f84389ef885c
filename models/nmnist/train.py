"""N-MNIST, a subset of recordings from a moving event camera: spiking and dense networks on the same events.

neurosparse compare models/nmnist     # place the recordings as in datasets/nmnist/README.md
"""

import torch

import neurosparse as ns


def data() -> ns.Split:
    """Event counts of each pixel in 8 steps of 40 ms; 800 recordings in a fixed order."""
    events, labels = ns.io.nmnist.read_folder(ns.io.manifest.data_folder("nmnist"), dt=40e-3)
    events = ns.EventTensor.from_dense(events.dense(), events.dt)  # a batch of dense rows is a copy, without a search
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, validation, test = order.split([len(order) * 5 // 8, len(order) // 8, len(order) - len(order) * 6 // 8])
    return ns.Split(*((events.samples(part), labels[part]) for part in (train, validation, test)))


task = ns.Task(
    name="nmnist",
    title="N-MNIST, 800 recordings of an event camera",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=18,
    batch_size=50,
    learning_rates=(0.01, 0.003, 0.03),
    augment=ns.experiments.shift_units(2, 2),
    weight_decay=0.01,
    trials=30,
    folds=5,
    seeds=5,
    reference="relu-bins-4",
)
