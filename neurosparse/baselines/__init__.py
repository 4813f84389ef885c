"""What a fair opponent needs: pruning, sparse training, quantisation, few-level activations."""

from neurosparse.baselines.choose import choose as choose
from neurosparse.baselines.choose import exchange as exchange
from neurosparse.baselines.criteria import gradient as gradient
from neurosparse.baselines.criteria import magnitude as magnitude
from neurosparse.baselines.criteria import random as random
from neurosparse.baselines.criteria import snip as snip
from neurosparse.baselines.criteria import synflow as synflow
from neurosparse.baselines.distil import distillation as distillation
from neurosparse.baselines.distribution import erk as erk
from neurosparse.baselines.distribution import uniform as uniform
from neurosparse.baselines.levels import LevelReLU as LevelReLU
from neurosparse.baselines.levels import quantise_levels as quantise_levels
from neurosparse.baselines.masks import Masks as Masks
from neurosparse.baselines.masks import prunable as prunable
from neurosparse.baselines.proximal import proximal as proximal
from neurosparse.baselines.proximal import proximal_step_ as proximal_step_
from neurosparse.baselines.pruning import METHODS as METHODS
from neurosparse.baselines.pruning import Pruning as Pruning
from neurosparse.baselines.pruning import forget_ as forget_
from neurosparse.baselines.pruning import pruning as pruning
from neurosparse.baselines.quantise import Quantised as Quantised
from neurosparse.baselines.quantise import quantise as quantise
from neurosparse.baselines.schedule import ROUNDS as ROUNDS
from neurosparse.baselines.schedule import cubic_sparsity as cubic_sparsity
from neurosparse.baselines.schedule import exchange_fraction as exchange_fraction
from neurosparse.baselines.schedule import geometric_sparsity as geometric_sparsity
