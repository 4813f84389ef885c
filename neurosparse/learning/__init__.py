"""Training of spiking networks: losses, backpropagation in chunks, e-prop, STDP, batch norm, conversion of ANNs."""

from neurosparse.learning.chunks import through_time as through_time
from neurosparse.learning.convert import convert as convert
from neurosparse.learning.eprop import eprop as eprop
from neurosparse.learning.loss import activity_loss as activity_loss
from neurosparse.learning.loss import first_spikes as first_spikes
from neurosparse.learning.loss import latency_loss as latency_loss
from neurosparse.learning.loss import membrane_loss as membrane_loss
from neurosparse.learning.loss import rate_loss as rate_loss
from neurosparse.learning.norm import merge_norms as merge_norms
from neurosparse.learning.norm import scale_norms as scale_norms
from neurosparse.learning.stdp import stdp as stdp
