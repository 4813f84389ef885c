"""Energy: estimates from operation counts and published constants, verdicts, break-even; measurements beside them."""

from neurosparse.energy.assumptions import Assumptions as Assumptions
from neurosparse.energy.break_even import BreakEven as BreakEven
from neurosparse.energy.break_even import break_even as break_even
from neurosparse.energy.break_even import thresholds as thresholds
from neurosparse.energy.counters import Nvml as Nvml
from neurosparse.energy.counters import Rapl as Rapl
from neurosparse.energy.dataflow import DATAFLOWS as DATAFLOWS
from neurosparse.energy.estimate import EnergyReport as EnergyReport
from neurosparse.energy.estimate import estimate as estimate
from neurosparse.energy.estimate import ratio as ratio
from neurosparse.energy.hardware import constants as constants
from neurosparse.energy.hardware import profiles as profiles
from neurosparse.energy.hardware_validation import hardware_validation as hardware_validation
from neurosparse.energy.measured import MeasuredEnergy as MeasuredEnergy
from neurosparse.energy.measured import measured as measured
from neurosparse.energy.memory import Memory as Memory
from neurosparse.energy.scaling import operating_point as operating_point
from neurosparse.energy.scaling import scale_counts as scale_counts
from neurosparse.energy.scenarios import comparison_scenarios as comparison_scenarios
from neurosparse.energy.scenarios import same_estimates as same_estimates
from neurosparse.energy.storage_bits import storage_bits as storage_bits
from neurosparse.energy.verdict import Verdict as Verdict
from neurosparse.energy.verdict import frontier as frontier
from neurosparse.energy.verdict import scenarios as scenarios
from neurosparse.energy.verdict import verdict as verdict
from neurosparse.energy.verdict import verdicts as verdicts
