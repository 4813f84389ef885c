"""The meter: record what a network does, count it exactly, estimate its energy, compare."""

from neurosparse.measure.count import count as count
from neurosparse.measure.dataflow import DATAFLOWS as DATAFLOWS
from neurosparse.measure.energy import EnergyReport as EnergyReport
from neurosparse.measure.energy import estimate as estimate
from neurosparse.measure.energy import ratio as ratio
from neurosparse.measure.fields import ReceptiveFields as ReceptiveFields
from neurosparse.measure.fields import macaque_cells as macaque_cells
from neurosparse.measure.fields import macaque_distance as macaque_distance
from neurosparse.measure.fields import receptive_fields as receptive_fields
from neurosparse.measure.gabor import GaborFit as GaborFit
from neurosparse.measure.gabor import fit_gabor as fit_gabor
from neurosparse.measure.hardware import constants as constants
from neurosparse.measure.ledger import COUNTS as COUNTS
from neurosparse.measure.ledger import Ledger as Ledger
from neurosparse.measure.record import as_module as as_module
from neurosparse.measure.record import record as record
from neurosparse.measure.sparsity import Sparsity as Sparsity
from neurosparse.measure.sparsity import sparsity as sparsity
from neurosparse.measure.spike_triggered import SpikeTriggeredCovariance as SpikeTriggeredCovariance
from neurosparse.measure.spike_triggered import spike_triggered_average as spike_triggered_average
from neurosparse.measure.spike_triggered import spike_triggered_covariance as spike_triggered_covariance
from neurosparse.measure.tape import Tape as Tape
from neurosparse.measure.verdict import Verdict as Verdict
from neurosparse.measure.verdict import frontier as frontier
from neurosparse.measure.verdict import verdict as verdict
