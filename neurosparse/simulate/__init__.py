"""Networks of spiking neurons with sparse synapses and delays; every spike is an event."""

from neurosparse.simulate.distributions import normal as normal
from neurosparse.simulate.distributions import uniform as uniform
from neurosparse.simulate.network import Network as Network
from neurosparse.simulate.neurons import conductance_lif as conductance_lif
from neurosparse.simulate.neurons import delta_lif as delta_lif
from neurosparse.simulate.neurons import lif as lif
from neurosparse.simulate.neurons import poisson as poisson
from neurosparse.simulate.plasticity import stdp as stdp
from neurosparse.simulate.pynn import to_pynn as to_pynn
from neurosparse.simulate.rules import all_to_all as all_to_all
from neurosparse.simulate.rules import fixed_in_degree as fixed_in_degree
from neurosparse.simulate.rules import fixed_out_degree as fixed_out_degree
from neurosparse.simulate.rules import fixed_probability as fixed_probability
from neurosparse.simulate.rules import from_matrix as from_matrix
from neurosparse.simulate.rules import from_pairs as from_pairs
from neurosparse.simulate.rules import one_to_one as one_to_one
from neurosparse.simulate.state import State as State
from neurosparse.simulate.state import load_state as load_state
