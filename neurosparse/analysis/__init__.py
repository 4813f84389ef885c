"""Analysis of codes and recordings: receptive fields, sparsity statistics, spike-train statistics."""

from neurosparse.analysis.gabor import GaborFit as GaborFit
from neurosparse.analysis.gabor import fit_gabor as fit_gabor
from neurosparse.analysis.length_tuning import suppression_index as suppression_index
from neurosparse.analysis.modulation import Modulations as Modulations
from neurosparse.analysis.modulation import modulations as modulations
from neurosparse.analysis.receptive_fields import ReceptiveFields as ReceptiveFields
from neurosparse.analysis.receptive_fields import macaque_cells as macaque_cells
from neurosparse.analysis.receptive_fields import macaque_distance as macaque_distance
from neurosparse.analysis.receptive_fields import receptive_fields as receptive_fields
from neurosparse.analysis.sparsity import Sparsity as Sparsity
from neurosparse.analysis.sparsity import sparsity as sparsity
from neurosparse.analysis.spike_trains import SpikeTrainStatistics as SpikeTrainStatistics
from neurosparse.analysis.spike_trains import count_correlation as count_correlation
from neurosparse.analysis.spike_trains import fano_factor as fano_factor
from neurosparse.analysis.spike_trains import spike_train_statistics as spike_train_statistics
from neurosparse.analysis.spike_trains import window_counts as window_counts
from neurosparse.analysis.spike_triggered import SpikeTriggeredCovariance as SpikeTriggeredCovariance
from neurosparse.analysis.spike_triggered import spike_triggered_average as spike_triggered_average
from neurosparse.analysis.spike_triggered import spike_triggered_covariance as spike_triggered_covariance
