"""Sparse coding: penalties, solvers, and the k-winners layer."""

from neurosparse.coding.autoencoder import KSparseAutoencoder as KSparseAutoencoder
from neurosparse.coding.flyhash import FlyHash as FlyHash
from neurosparse.coding.kwta import KWTA as KWTA
from neurosparse.coding.kwta import kwta as kwta
from neurosparse.coding.penalty import Penalty as Penalty
from neurosparse.coding.penalty import l0 as l0
from neurosparse.coding.penalty import l1 as l1
from neurosparse.coding.penalty import nonnegative_l1 as nonnegative_l1
from neurosparse.coding.solve import Code as Code
from neurosparse.coding.solve import NotConverged as NotConverged
from neurosparse.coding.solve import solve as solve
