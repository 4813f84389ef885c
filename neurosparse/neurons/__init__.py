"""Spiking neurons, surrogates, and encoders from signals to events."""

from neurosparse.kernels.scan.reference import LIFState as LIFState
from neurosparse.neurons.cochlea import cochlea as cochlea
from neurosparse.neurons.cochlea import spectrogram as spectrogram
from neurosparse.neurons.delay import delay_lines as delay_lines
from neurosparse.neurons.dynamics import Dynamics as Dynamics
from neurosparse.neurons.dynamics import adaptive as adaptive
from neurosparse.neurons.dynamics import current_based as current_based
from neurosparse.neurons.encode import constant_current as constant_current
from neurosparse.neurons.encode import delta as delta
from neurosparse.neurons.encode import latency as latency
from neurosparse.neurons.encode import poisson as poisson
from neurosparse.neurons.fixed_point import FixedPointLIF as FixedPointLIF
from neurosparse.neurons.fuse import Fused as Fused
from neurosparse.neurons.fuse import fuse as fuse
from neurosparse.neurons.lif import IF as IF
from neurosparse.neurons.lif import LIF as LIF
from neurosparse.neurons.lif import HalfCharged as HalfCharged
from neurosparse.neurons.readout import Readout as Readout
from neurosparse.neurons.scan import Trace as Trace
from neurosparse.neurons.surrogate import Surrogate as Surrogate
from neurosparse.neurons.surrogate import atan as atan
from neurosparse.neurons.surrogate import boxcar as boxcar
from neurosparse.neurons.surrogate import fast_sigmoid as fast_sigmoid
from neurosparse.neurons.surrogate import triangle as triangle
