"""The event tensor: invariants, conversions, how torch functions act on it, storage formats and their exact sizes."""

from neurosparse.events import functions as functions  # registers how torch functions act on events
from neurosparse.events import table as table  # registers how torch functions act on timed tensors
from neurosparse.events.batch import cat as cat
from neurosparse.events.fold import fold as fold
from neurosparse.events.load import load_events as load_events
from neurosparse.events.operation import Operation as Operation
from neurosparse.events.operation import leak_of as leak_of
from neurosparse.events.operation import operation as operation
from neurosparse.events.state import Stateless as Stateless
from neurosparse.events.state import run as run
from neurosparse.events.state import stream as stream
from neurosparse.events.tensor import EventTensor as EventTensor
from neurosparse.events.timed import TimedTensor as TimedTensor
from neurosparse.events.timed import data_rows as data_rows
from neurosparse.events.timed import dense_of as dense_of
from neurosparse.events.timed import with_timing as with_timing
from neurosparse.events.timing import Timing as Timing
from neurosparse.events.timing import timing_of as timing_of
