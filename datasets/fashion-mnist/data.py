"""Fashion-MNIST, in the format of MNIST."""

from functools import partial
from pathlib import Path

import neurosparse as ns

data = partial(ns.experiments.load_script(Path(__file__).parents[1] / "mnist" / "data.py").data, "fashion-mnist")
