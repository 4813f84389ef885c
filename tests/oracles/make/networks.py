"""Spikes of NEST for a network exported to PyNN: python networks.py OUT, in .venv (NEST is in .venv-nest).

The file holds the network too, every synapse and initial membrane, so that no random number has to be drawn again.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import neurosparse as ns

NEST = Path(__file__).parents[3] / ".venv-nest" / "bin" / "python"
N, DEGREE, STEPS = 60, 10, 2000


def described() -> dict[str, list]:
    """A balanced network with a recorded input; a weight and a delay each; some pairs connected twice."""
    rng = np.random.default_rng(7)
    source = np.repeat(np.arange(N), DEGREE)
    excites = source < 48
    weight = np.where(excites, rng.uniform(2, 8, len(source)), rng.uniform(-20, -8, len(source))).round(3)
    step, unit = np.nonzero((rng.random((STEPS, 10)) < 0.01) & (np.arange(STEPS) > 20)[:, None])
    return {
        "initial": rng.uniform(-60, -50, N).round(3).tolist(),
        "source": source.tolist(),
        "target": rng.integers(0, N, len(source)).tolist(),
        "weight": weight.tolist(),
        "delay steps": rng.integers(2, 40, len(source)).tolist(),
        "input step": step.tolist(),
        "input unit": unit.tolist(),
    }


def network(d: dict[str, list]) -> ns.Network:
    """The network with these parameters."""
    net, part = ns.Network(dt=1e-4), {name: np.array(values) for name, values in d.items()}
    model = ns.simulate.lif(
        20e-3, rest=-49e-3, threshold=-50e-3, reset=-60e-3, refractory=5e-3, tau_inhibitory=8e-3, bias=0.5e-3
    )
    cells = net.population("cells", N, model, initial=part["initial"] * 1e-3)
    step, unit = torch.from_numpy(part["input step"]), torch.from_numpy(part["input unit"])
    events = ns.EventTensor.from_aer(step, torch.zeros_like(step), unit, shape=(STEPS, 1, 10), dt=1e-4)
    film = net.input("film", events)
    net.connect(film, cells, ns.simulate.all_to_all(), weight=1.5e-3, delay=0.5e-3)
    for name, chosen in (("excite", part["weight"] > 0), ("inhibit", part["weight"] < 0)):
        rule = ns.simulate.from_pairs(part["source"][chosen], part["target"][chosen])
        weight, delay = part["weight"][chosen] * 1e-3, part["delay steps"][chosen] * 1e-4
        net.connect(cells, cells, rule, weight=weight, delay=delay, name=name)
    return net


if __name__ == "__main__":
    d = described()
    with tempfile.TemporaryDirectory() as folder:
        script = ns.simulate.to_pynn(network(d), Path(folder) / "network.py", STEPS * 1e-4)
        subprocess.run([NEST, script, "nest"], check=True, stdout=subprocess.DEVNULL)
        found = np.load(script.with_name("spikes.npz"))
        d |= {"spike step": found["cells step"].tolist(), "spike unit": found["cells unit"].tolist()}
    Path(sys.argv[1]).write_text(json.dumps({"NEST": "3.10.0", "PyNN": "0.13.0", **d}) + "\n")
