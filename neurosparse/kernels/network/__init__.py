"""Kernels of recurrent spiking networks: random connectivity, layout, neurons, plasticity, one run."""
