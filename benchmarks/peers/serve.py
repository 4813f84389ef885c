"""Server of training steps, run in the environment of a peer: PYTHON predictive_PEER.py PROBLEM.npz DT RATE T

It prints one line of JSON: versions, and for each subject the norms of the first weight gradients, layer by layer. Then
a line ``subject<TAB>n`` on stdin runs n training steps; an empty line on stdout says that they are done. The time
between the two is measured by the process that sends the line.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

with np.load(sys.argv[1]) as found:
    ARRAYS = {name: jnp.asarray(array) for name, array in found.items()}
X, Y = ARRAYS.pop("x"), ARRAYS.pop("y")
LAYERS = [(ARRAYS[f"weight{i}"], ARRAYS[f"bias{i}"]) for i in range(len(ARRAYS) // 2)]
DT, RATE, T = float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])


class Subject(NamedTuple):
    """A jitted step from state to state, the first state, and where a state keeps Adam's first moments."""

    step: Callable[[Any], Any]
    state: Any
    moments: Callable[[Any], Any]


def gradients(moments: Any) -> list[float]:
    """After one step Adam's first moment is a tenth of the gradient."""
    return [10 * float(jnp.linalg.norm(leaf)) for leaf in jax.tree_util.tree_leaves(moments) if leaf.ndim == 2]


def serve(packages: tuple[str, ...], subjects: dict[str, Subject]) -> None:
    states = {name: subject.step(subject.state) for name, subject in subjects.items()}
    norms = {name: gradients(subject.moments(states[name])) for name, subject in subjects.items()}
    print(json.dumps({"versions": [f"{name} {version(name)}" for name in packages], "norms": norms}), flush=True)
    for line in sys.stdin:
        name, times = line.split("\t")
        for _ in range(int(times)):
            states[name] = subjects[name].step(states[name])
        jax.block_until_ready(jax.tree_util.tree_leaves(states[name]))
        print(flush=True)
