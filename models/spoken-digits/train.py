"""Spoken digits (FSDD) through a spiking ear: the official test split, recordings 0 to 4 of each digit and speaker.

neurosparse compare models/spoken-digits     # the recordings lie where datasets/fsdd/README.md says
"""

import os
from pathlib import Path

import torch

import neurosparse as ns

FOLDERS = (Path(os.environ.get("NEUROSPARSE_DATA", "~/.cache/neurosparse")), Path("~/.cache/neurosparse"))
DELAYS = (0, 6, 12, 18, 24)  # steps: what a unit hears now, and what it heard up to a quarter of a second ago
SHIFT, STRETCH, LOST = 3, 0.15, 0.1  # bands, share of the length, share of the spikes


def data() -> ns.contest.Split:
    """Spikes of 120 nerve fibres and their delay lines, steps of 10 ms; recordings 5 to 9 validate, 10 to 49 train."""
    folder = next((f for f in FOLDERS if (f / "fsdd").expanduser().is_dir()), FOLDERS[0]).expanduser() / "fsdd"
    names = sorted(path.stem for path in folder.glob("*_*_*.wav"))
    if not names:
        fix = "datasets/fsdd/README.md says where it comes from."
        raise ns.MissingFileError("spoken-digits", got=f"no recording in {folder}", expected="FSDD", fix=fix)
    spikes = ns.neurons.cochlea([ns.io.wav.read(folder / f"{name}.wav").waveform for name in names], rate=8000)
    spikes = delayed(spikes)
    digit = torch.tensor([int(name.split("_")[0]) for name in names])
    take = torch.tensor([int(name.split("_")[2]) for name in names])
    parts = (take >= 10, (take >= 5) & (take < 10), take < 5)
    return ns.contest.Split(*((spikes.samples(part.nonzero()[:, 0]), digit[part]) for part in parts))


def delayed(spikes: ns.EventTensor) -> ns.EventTensor:
    """Delay lines: every spike arrives again and again, ``(steps, samples, delays x fibres, 1, bands)``.

    An image of one row, for convolutions along frequency.
    """
    aer, (steps, samples, *units) = spikes.aer(), spikes.shape
    delay = torch.tensor(DELAYS).repeat_interleave(spikes.n_events)
    copy = torch.arange(len(DELAYS)).repeat_interleave(spikes.n_events)
    step, sample, unit = (part.repeat(len(DELAYS)) for part in aer[:3])
    step, unit = step + delay, unit + copy * spikes.n_units
    heard = step < spikes.lengths[sample]
    shape = (steps, samples, len(DELAYS) * units[0], 1, units[1])
    return ns.EventTensor.from_aer(
        step[heard], sample[heard], unit[heard], shape=shape, dt=spikes.dt, lengths=spikes.lengths
    )


def augment(spikes: ns.EventTensor, generator: torch.Generator) -> ns.EventTensor:
    """Another vocal tract (shifted bands), another pace (stretched time), a tenth of the spikes lost."""
    aer, (steps, samples, *_, bands) = spikes.aer(), spikes.shape
    pace = 1 + STRETCH * (2 * torch.rand(samples, generator=generator) - 1)
    shift = torch.randint(-SHIFT, SHIFT + 1, (samples,), generator=generator)
    lengths = (spikes.lengths * pace).long().clamp(1, steps)
    step, band = (aer.step * pace[aer.sample]).long(), aer.unit % bands + shift[aer.sample]
    kept = (step < lengths[aer.sample]) & (band >= 0) & (band < bands)
    kept &= torch.rand(len(step), generator=generator) > LOST
    unit = aer.unit - aer.unit % bands + band
    options = {"dt": spikes.dt, "lengths": lengths, "on_collision": "any"}
    return ns.EventTensor.from_aer(step[kept], aer.sample[kept], unit[kept], shape=spikes.shape, **options)


task = ns.contest.Task(
    name="spoken-digits",
    title="Spoken digits (FSDD), official split",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=40,
    batch_size=50,
    learning_rates=(0.003,),
    augment=augment,
    weight_decay=0.01,
)
