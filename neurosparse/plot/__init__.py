"""Pictures: pass ``ax`` or draw on the current axes, get the axes back. matplotlib is imported here only."""

from neurosparse.plot.atoms import atoms
from neurosparse.plot.energy import energy
from neurosparse.plot.frontier import frontier
from neurosparse.plot.membrane import membrane
from neurosparse.plot.operations import operations
from neurosparse.plot.raster import raster
from neurosparse.plot.rates import rates
from neurosparse.plot.savings import savings
from neurosparse.plot.sparsity import sparsity

__all__ = ["atoms", "energy", "frontier", "membrane", "operations", "raster", "rates", "savings", "sparsity"]
