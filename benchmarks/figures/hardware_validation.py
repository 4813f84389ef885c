"""Energies measured on chips beside what their operations explain: a table, a picture, and
docs/results/hardware-validation.json.

make hardware-validation
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from neurosparse import plot
from neurosparse.atomic import write_atomically
from neurosparse.energy import hardware_validation

found = hardware_validation()
for row in found["rows"]:
    low, nominal, high = (row["explained"][end] for end in ("low", "nominal", "high"))
    left = row["residual"]["nominal"]
    print(f"{row['experiment']:30} {row['what']:52} measured {row['measured']:6.1f}, ", end="")
    print(f"explained {nominal:6.1f} [{low:.1f}, {high:.1f}], residual {left:+.1f} uJ ({row['kind']})")
for what, (low, nominal, high) in found["rates"].items():
    print(f"{what}: all of it, if {nominal:.1%} [{low:.1%}, {high:.1%}] of the neurons fired in each step")
path = Path(__file__).parents[2] / "docs" / "results" / "hardware-validation.json"
result = {"command": "make hardware-validation", "stale": None, **found}
write_atomically(path, f"{json.dumps(result, indent=1)}\n".encode())
figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
plot.hardware_validation(found, ax=ax)
figure.savefig(path.parents[1] / "images" / "hardware-validation.png", dpi=80)
