"""Families of models. To add one: a file with its configuration and its network, and a row here."""

from neurosparse.experiments.classification.config import ModelConfig
from neurosparse.experiments.classification.families.converted import ConvertedConfig
from neurosparse.experiments.classification.families.delta import DeltaConfig
from neurosparse.experiments.classification.families.early_exit import EarlyExitConfig
from neurosparse.experiments.classification.families.fly import FlyConfig
from neurosparse.experiments.classification.families.gru import GRUConfig
from neurosparse.experiments.classification.families.kwta import KWTAConfig
from neurosparse.experiments.classification.families.lif import LIFConfig
from neurosparse.experiments.classification.families.predictive import PredictiveConfig
from neurosparse.experiments.classification.families.relu import ReLUConfig
from neurosparse.experiments.classification.families.sparse_code import SparseCodeConfig

__all__ = ["FAMILIES"]

FAMILIES: dict[str, type[ModelConfig]] = {
    family.family: family
    for family in (
        ReLUConfig,
        LIFConfig,
        ConvertedConfig,
        KWTAConfig,
        SparseCodeConfig,
        PredictiveConfig,
        GRUConfig,
        DeltaConfig,
        EarlyExitConfig,
        FlyConfig,
    )
}
"""The class of each family, by the value of the key ``family`` in TOML files."""
