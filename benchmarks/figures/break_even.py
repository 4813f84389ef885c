"""Break-even of a spiking network and a dense one, from the counts of a comparison: docs/images/break-even.png.

make break-even             # ARGS="docs/results/digits.json lif-8 relu" are the defaults
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import neurosparse as ns

ROOT = Path(__file__).parents[2]
results, spiking, dense = [*sys.argv[1:], *("docs/results/digits.json", "lif-8", "relu")[len(sys.argv) - 1 :]]
found = json.loads((ROOT / results).read_text(encoding="utf-8"))
layers = {model["name"]: model["layers"] for model in found["models"]}
pair = [ns.meter.OperationCounts(tuple(layers[name]), 1) for name in (spiking, dense)]
point = ns.energy.operating_point(pair[0])
print(f"{spiking}: {point.rate:.1%} of neurons per step, {point.spikes_per_synapse:.2f} spikes per synapse")
axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")[1]
for ax, axis in zip(axes.flat, ("rate", "steps", "bits", "memory"), strict=True):
    curves = ns.energy.break_even(*pair, axis)
    ns.plot.break_even(curves, ax=ax)
    for name, curve in curves.curves.items():
        print(f"{axis:7} {name:36}", " ".join(f"{middle:.3g}" for middle in curve[:, 1]))
plt.suptitle(f"{spiking} against {dense}, {found['task']}")
plt.savefig(ROOT / "docs" / "images" / "break-even.png", dpi=80)
