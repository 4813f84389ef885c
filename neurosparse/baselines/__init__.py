"""What a fair opponent needs: pruning, quantisation, few-level activations."""

from neurosparse.baselines.levels import LevelReLU as LevelReLU
from neurosparse.baselines.levels import quantise_levels as quantise_levels
from neurosparse.baselines.prune import Masks as Masks
from neurosparse.baselines.prune import cubic_sparsity as cubic_sparsity
from neurosparse.baselines.prune import magnitude_masks as magnitude_masks
from neurosparse.baselines.quantise import Quantised as Quantised
from neurosparse.baselines.quantise import quantise as quantise
