"""Spoken digits (FSDD) of a held-out speaker, through a cochlea model.

neurosparse compare models/spoken-digits-speaker     # place the recordings as in datasets/fsdd/README.md
"""

from pathlib import Path

import torch

import neurosparse as ns

HELD_OUT = "yweweler"  # last in the alphabet; cochlea, augmentation and layers were chosen with others held out
fsdd = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fsdd" / "data.py")


def data() -> ns.Split:
    """The held-out speaker is the test; takes 0 to 4 of the others are the validation, their rest the training part."""
    found = fsdd.recordings()
    test, early = torch.tensor([speaker == HELD_OUT for speaker in found.speaker]), found.take < 5
    return found.split(~test & ~early, ~test & early, test)


task = ns.Task(
    name="spoken-digits-speaker",
    title="Spoken digits (FSDD), a held-out speaker",
    data=data,
    hidden=(256, 256),
    classes=10,
    epochs=30,
    batch_size=50,
    learning_rates=(0.003,),
    augment=ns.experiments.vary_voice(),
    weight_decay=0.01,
    shared="spoken-digits",
)
