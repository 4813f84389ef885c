"""Handwritten digits, 8 x 8 pixels: every model of this folder, spiking or not, under one budget.

neurosparse compare models/digits            # all models: search, train with ten seeds, test once, report
neurosparse train models/digits relu         # one of them
"""

import torch
from sklearn.datasets import load_digits

import neurosparse as ns


def data() -> ns.Split:
    """1797 images that ship with scikit-learn, 0..16 scaled to 0..1; one fixed split."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, validation, test = order.split([1000, 197, 600])
    return ns.Split((x[train], y[train]), (x[validation], y[validation]), (x[test], y[test]))


task = ns.Task(
    name="digits",
    title="Handwritten digits (8 x 8 pixels, scikit-learn)",
    data=data,
    hidden=(128,),  # small enough for a minute, large enough that 10 % of it still suffices
    classes=10,
    epochs=27,
    batch_size=100,
    learning_rates=(0.01, 0.003, 0.03),
    trials=30,
    folds=5,
    seeds=10,
    reference="relu",
)
