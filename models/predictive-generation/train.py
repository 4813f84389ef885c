"""Images made from labels, and lower halves made from upper halves, by one predictive-coding network.

python models/predictive-generation/train.py                 # digits and Fashion-MNIST
python models/predictive-generation/train.py digits          # a minute
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import neurosparse as ns

MODELS = Path(__file__).parents[1]
OUT = Path("runs/predictive-generation")


def digits() -> ns.Split:
    """The images and the split of the contest of classifiers."""
    return ns.experiments.load_task(MODELS / "digits", ns.Task).data()


def fashion() -> ns.Split:
    """The first images of each part: enough for a network this small."""
    split = ns.experiments.load_task(MODELS / "fashion-mnist", ns.Task).data()
    parts = zip((split.train, split.validation, split.test), (10000, 500, 1000), strict=True)
    return ns.Split(*((x[:some], y[:some]) for (x, y), some in parts))


TASKS = {
    "digits": ns.experiments.GenerativeTask(
        name="digits",
        title="Handwritten digits (8 x 8 pixels, scikit-learn)",
        data=digits,
        hidden=(128, 128),
        classes=10,
        epochs=30,
        batch_size=50,
        learning_rates=(0.003, 0.01),
        weight_decay=1.0,
    ),
    "fashion-mnist": ns.experiments.GenerativeTask(
        name="fashion-mnist",
        title="Fashion-MNIST (28 x 28 pixels)",
        data=fashion,
        hidden=(128, 128),
        classes=10,
        epochs=6,
        batch_size=100,
        learning_rates=(0.005,),
        weight_decay=0.3,
    ),
}


if __name__ == "__main__":
    names = sys.argv[1:] or list(TASKS)
    made = {name: ns.experiments.make_images(TASKS[name], folder=OUT / "checkpoints") for name in names}
    (OUT / "results.json").write_text(json.dumps({name: found for name, (found, _) in made.items()}, indent=1))
    panels = plt.subplots(1, len(names), figsize=(6.2 * len(names), 5.0), layout="constrained", squeeze=False)[1][0]
    for ax, (found, rows) in zip(panels, made.values(), strict=True):
        ns.plot.images(rows, title=found["title"], ax=ax)
    plt.savefig(OUT / "images.png", dpi=90, bbox_inches="tight", metadata={"Software": None})
