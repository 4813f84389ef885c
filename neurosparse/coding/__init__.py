"""Sparse coding: penalties, solvers, dictionary learning, k-winners-take-all, associative memory."""

import importlib
from typing import Any

from neurosparse.coding import images as images
from neurosparse.coding import olshausen_field as olshausen_field
from neurosparse.coding import sailnet as sailnet
from neurosparse.coding.associative_memory import Recall as Recall
from neurosparse.coding.associative_memory import covariance_weights as covariance_weights
from neurosparse.coding.associative_memory import overlap as overlap
from neurosparse.coding.associative_memory import recall as recall
from neurosparse.coding.associative_memory import sparse_patterns as sparse_patterns
from neurosparse.coding.autoencoder import KSparseAutoencoder as KSparseAutoencoder
from neurosparse.coding.concave import cauchy as cauchy
from neurosparse.coding.concave import log as log
from neurosparse.coding.concave import lp as lp
from neurosparse.coding.flyhash import FlyHash as FlyHash
from neurosparse.coding.kwta import KWTA as KWTA
from neurosparse.coding.kwta import kwta as kwta
from neurosparse.coding.mean_field import MeanField as MeanField
from neurosparse.coding.mean_field import capacity as capacity
from neurosparse.coding.mean_field import mean_field as mean_field
from neurosparse.coding.penalty import Penalty as Penalty
from neurosparse.coding.penalty import elastic_net as elastic_net
from neurosparse.coding.penalty import l0 as l0
from neurosparse.coding.penalty import l1 as l1
from neurosparse.coding.penalty import nonnegative_l1 as nonnegative_l1
from neurosparse.coding.solve import Code as Code
from neurosparse.coding.solve import NotConverged as NotConverged
from neurosparse.coding.solve import solve as solve
from neurosparse.errors import no_attribute

_LATE = {"DictionaryLearning": "dictionary_learning"}  # imports scikit-learn, which is slow to load


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise no_attribute(__name__, name, [*globals(), *_LATE])
