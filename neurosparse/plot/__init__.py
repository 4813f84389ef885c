"""Plots: functions that draw on ``ax``, or on the current axes, and return the axes."""

from typing import Any

from neurosparse.errors import no_attribute
from neurosparse.plot.atoms import atoms
from neurosparse.plot.break_even import break_even
from neurosparse.plot.coefficients import coefficients
from neurosparse.plot.communication_cost import communication_cost
from neurosparse.plot.correlation import correlation
from neurosparse.plot.energy import energy
from neurosparse.plot.fields import coverage, gabor_scatter, orientation
from neurosparse.plot.forest import forest
from neurosparse.plot.frontier import frontier
from neurosparse.plot.hardware_validation import hardware_validation
from neurosparse.plot.images import images
from neurosparse.plot.intensity import intensity
from neurosparse.plot.intervals import intervals, irregularity
from neurosparse.plot.learning import learning
from neurosparse.plot.length_tuning import length_tuning
from neurosparse.plot.membrane import membrane
from neurosparse.plot.operations import operations
from neurosparse.plot.raster import raster
from neurosparse.plot.rates import rates
from neurosparse.plot.recall import recall
from neurosparse.plot.relaxation import relaxation
from neurosparse.plot.savings import savings
from neurosparse.plot.sparsity import sparsity
from neurosparse.plot.spectro_temporal import modulations, spectro_temporal
from neurosparse.plot.waterfall import waterfall

__all__ = [
    "atoms", "break_even", "coefficients", "communication_cost", "correlation", "coverage", "energy", "forest",
    "frontier", "gabor_scatter", "hardware_validation", "images", "intensity", "intervals", "irregularity",
    "learning", "length_tuning", "membrane", "modulations", "operations", "orientation", "raster", "rates",
    "recall", "relaxation", "savings", "sparsity", "spectro_temporal", "waterfall",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)


def __dir__() -> list[str]:
    return __all__
