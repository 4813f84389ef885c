"""Operation counts: record what a network computes and count every operation exactly."""

from neurosparse.meter.count import count as count
from neurosparse.meter.declared import spikes as spikes
from neurosparse.meter.operation_counts import COUNTS as COUNTS
from neurosparse.meter.operation_counts import OperationCounts as OperationCounts
from neurosparse.meter.record import as_module as as_module
from neurosparse.meter.record import record as record
from neurosparse.meter.tape import Tape as Tape
