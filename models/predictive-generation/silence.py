"""What in-painting loses and saves when error units say less: with the networks that train.py made of digits.

python models/predictive-generation/train.py digits
python models/predictive-generation/silence.py
"""

import json
import runpy
from pathlib import Path

import matplotlib.pyplot as plt

import neurosparse as ns

script = runpy.run_path(str(Path(__file__).with_name("train.py")))
task, out = script["TASKS"]["digits"], script["OUT"]
THRESHOLDS = (0.003, 0.01, 0.03, 0.1, 0.3)
IMAGES = 200


def curves(found: dict, sent: str, value: str, scale: float, named: bool) -> dict:
    """Points as ``ns.plot.communication_cost`` takes them; an error of half as much again would dwarf the others."""
    far = 1.5 * found["everything"]["error"]["mean"]
    return {
        name: [
            {
                "sent": point[sent]["mean"],
                "value": scale * point[value]["mean"],
                "sd": scale * (point[value]["sd"] or 0),
                **({"threshold": point["threshold"]} if named else {}),
            }
            for point in points
            if point["error"]["mean"] < far
        ]
        for name, points in found["ways"].items()
    }


if __name__ == "__main__":
    results = json.loads((out / "results.json").read_text())["digits"]
    split = ns.experiments.pictures(task.data())
    rate, seeds = results["budget"]["rate"], results["seeds"]
    networks = [ns.experiments.trained(task, *split.train, rate, seed, out / "checkpoints") for seed in seeds]
    images, labels = (part[:IMAGES] for part in split.test)
    known = ns.experiments.upper_half(images.shape[1])
    found = ns.experiments.communication_cost(networks, images, labels, known, THRESHOLDS, task.settle)
    header = {key: results[key] for key in ("name", "title", "seeds", "versions", "machine", "created")}
    header |= {"images": IMAGES, "steps": task.settle}
    (out / "silence.json").write_text(json.dumps(header | found, indent=1))
    panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")[1]
    rest = found["everything"]
    said, spent = "errors sent per in-painted image", "operations per in-painted image"
    error, label = "squared error of the unseen half", "labels right, whole image (%)"
    for ax, sent, xlabel, value, ylabel, scale in (
        (panels[0], "errors_sent", said, "error", error, 1),
        (panels[1], "operations", spent, "error", error, 1),
        (panels[2], "errors_sent", said, "accuracy", label, 100),
    ):
        points = curves(found, sent, value, scale, named=sent == "errors_sent")
        ns.plot.communication_cost(points, ylabel, xlabel, scale * rest[value]["mean"], ax=ax)
    plt.savefig(out / "silence.png", dpi=90, metadata={"Software": None})
