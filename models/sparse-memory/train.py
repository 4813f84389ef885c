"""How many patterns a sparse associative memory holds (Tsodyks & Feigelman 1988), beside its mean-field theory.

neurosparse recall models/sparse-memory            # four activities, three seeds: minutes
"""

import neurosparse as ns

task = ns.experiments.MemoryTask(
    name="sparse-memory",
    title="Sparse associative memory: 2000 units, covariance rule, k winners",
    units=2000,
    activities=(0.5, 0.1, 0.05, 0.02),
    loads=(0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6),
)
