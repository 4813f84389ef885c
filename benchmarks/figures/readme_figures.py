"""Figures of the README: forest plot and frontier from committed results, the others by running the README's examples.

make readme-figures
"""

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import neurosparse as ns

ROOT = Path(__file__).parents[2]
README, IMAGES = ROOT / "README.md", ROOT / "docs" / "images"
# A block of Python, and the picture that follows it.
EXAMPLE = re.compile(r"```python\n((?:(?!```).)*)```\n\n!\[[^]]*\]\(docs/images/(\w+)\.png\)", re.DOTALL)
# Arithmetic alone, and with memory accesses.
SCENARIOS = ("cmos-45nm/compute_only", "cmos-45nm/cheapest dataflow per layer")


TASKS = ("digits", "fashion-mnist", "nmnist", "spoken-digits")


def forest() -> None:
    paths = (ROOT / "docs" / "results" / f"{name}.json" for name in TASKS)
    found = [ns.report.load(path) for path in paths if path.is_file()]
    rows = ns.report.forest_rows(*(results for results in found if results.get("verdicts")))  # without: no energies
    lines = len(rows) + len({row["group"] for row in rows})
    ns.plot.forest(rows, ax=plt.subplots(figsize=(8.9, 1.5 + 0.36 * lines), layout="constrained")[1])


def frontier() -> None:
    results = ns.report.load(ROOT / "docs" / "results" / "digits.json")
    for scenario, ax in zip(SCENARIOS, plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")[1], strict=True):
        ns.plot.frontier([{**c, "energy": c["energy"][scenario]} for c in results["models"]], ax=ax)
        ax.set_title(scenario.partition("/")[2].replace("_", " "), pad=36)  # above the legend


def save(name: str) -> None:
    plt.savefig(IMAGES / f"{name}.png", dpi=90, metadata={"Software": None})
    plt.close("all")


if __name__ == "__main__":
    forest()
    save("forest")
    frontier()
    save("frontier")
    for code, name in EXAMPLE.findall(README.read_text(encoding="utf-8")):
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
        save(name)
