"""Neuromorphic Intermediate Representation (NIR): networks as its graphs, both ways, by the extra ``nir``."""

from neurosparse.io.nir import data
from neurosparse.io.nir.modules import Delay, Scale
from neurosparse.io.nir.networks import describe, read, write

__all__ = ["Delay", "Scale", "data", "describe", "read", "write"]
