"""Kernels of a layer of spiking neurons over time: the reference, the compiled scan and the Triton scan."""
