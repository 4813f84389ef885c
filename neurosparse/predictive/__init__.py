"""Predictive-coding networks: energy, inference, learning."""

from neurosparse.predictive import rao_ballard as rao_ballard
from neurosparse.predictive.channel import Channel as Channel
from neurosparse.predictive.channel import delta as delta
from neurosparse.predictive.channel import graded as graded
from neurosparse.predictive.channel import spiking as spiking
from neurosparse.predictive.maps import BlockLinear as BlockLinear
from neurosparse.predictive.network import PredictiveNetwork as PredictiveNetwork
from neurosparse.predictive.problem import Prior as Prior
from neurosparse.predictive.rao_ballard import Gaussian as Gaussian
from neurosparse.predictive.stability import EnergyIncreased as EnergyIncreased
from neurosparse.predictive.states import States as States
