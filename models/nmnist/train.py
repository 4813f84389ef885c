"""N-MNIST, a subset of recordings from a moving event camera: spiking and other networks on the same events.

neurosparse compare models/nmnist     # place the recordings as in datasets/nmnist/README.md
"""

import torch

import neurosparse as ns

SHIFT = 2  # pixels


def data() -> ns.Split:
    """Events of each pixel in steps of 20 ms. A fixed shuffle; 500 of 800 recordings train, 100 validate, 200 test."""
    events, labels = ns.io.nmnist.read_folder(ns.io.manifest.data_folder("nmnist"), dt=20e-3)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, validation, test = order.split([len(order) * 5 // 8, len(order) // 8, len(order) - len(order) * 6 // 8])
    return ns.Split(*((events.samples(part), labels[part]) for part in (train, validation, test)))


def augment(events: ns.EventTensor, generator: torch.Generator) -> ns.EventTensor:
    """Shift each recording by up to two pixels and remove a tenth of its events."""
    aer, samples = events.aer(), events.shape[1]
    dy, dx = torch.randint(-SHIFT, SHIFT + 1, (2, samples), generator=generator)
    side = events.shape[-1]
    polarity, pixel = aer.unit // side**2, aer.unit % side**2
    y, x = pixel // side + dy[aer.sample], pixel % side + dx[aer.sample]
    kept = (y >= 0) & (y < side) & (x >= 0) & (x < side) & (torch.rand(len(y), generator=generator) > 0.1)
    unit = ((polarity * side + y) * side + x)[kept]
    value = None if aer.value is None else aer.value[kept]
    timing = {"dt": events.dt, "lengths": events.lengths}
    return ns.EventTensor.from_aer(aer.step[kept], aer.sample[kept], unit, value, shape=events.shape, **timing)


task = ns.Task(
    name="nmnist",
    title="N-MNIST, 800 recordings of an event camera",
    data=data,
    hidden=(128,),
    classes=10,
    epochs=60,
    batch_size=50,
    learning_rates=(0.01,),
    augment=augment,
    weight_decay=0.01,
)
