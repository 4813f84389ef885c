"""Spoken digits (FSDD) through a cochlea model, official split: takes 0 to 4 of each digit and speaker are the test.

neurosparse compare models/spoken-digits     # place the recordings as in datasets/fsdd/README.md
"""

from pathlib import Path

import neurosparse as ns

fsdd = ns.experiments.load_script(Path(__file__).parents[2] / "datasets" / "fsdd" / "data.py")


def data() -> ns.Split:
    """Takes 0 to 4 are the test, 5 to 9 the validation, 10 to 49 the training part."""
    found = fsdd.recordings()
    return found.split(found.take >= 10, (found.take >= 5) & (found.take < 10), found.take < 5)


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
