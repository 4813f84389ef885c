"""The event tensor: invariants, conversions, how torch functions act on it, storage formats and their exact sizes."""

from neurosparse.events import functions as functions  # registers how torch functions act on events
from neurosparse.events.batch import cat as cat
from neurosparse.events.fold import fold as fold
from neurosparse.events.load import load_events as load_events
from neurosparse.events.operation import Operation as Operation
from neurosparse.events.operation import operation as operation
from neurosparse.events.state import Stateless as Stateless
from neurosparse.events.state import run as run
from neurosparse.events.state import stream as stream
from neurosparse.events.tensor import EventTensor as EventTensor
from neurosparse.events.timing import Timing as Timing
from neurosparse.events.timing import timing_of as timing_of
from neurosparse.events.timing import with_timing as with_timing
