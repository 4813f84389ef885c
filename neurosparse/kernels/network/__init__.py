"""Kernels of recurrent spiking networks: random numbers, order of synapses, neurons, plasticity, the loop."""
