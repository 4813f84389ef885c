"""Predictive-coding networks: energy, inference, learning."""

from neurosparse.predictive.network import EnergyRose as EnergyRose
from neurosparse.predictive.network import PredictiveNetwork as PredictiveNetwork
from neurosparse.predictive.network import States as States
