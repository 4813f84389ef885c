"""Rows of operation counts of two small layers, which the tests of energies price by hand."""

# 4 inputs, 2 of them active, to 3 outputs, for 2 steps; no zero weights, int8; 2 samples.
SPIKES = {
    "layer": "fc",
    "kind": "linear",
    "dense_ops": 48,
    "effective_acs": 24,
    "bias_adds": 12,
    "input_cells": 16,
    "input_events": 8,
    "output_cells": 12,
    "charged_rows": 4,
    "weights": 12,
    "nonzero_weights": 12,
    "weight_bits": 8,
    "input_bits": 1,
}
# A dense ReLU layer of the same size, one pass, int8.
ANALOG = {
    "layer": "fc",
    "kind": "linear",
    "dense_ops": 12,
    "effective_macs": 12,
    "bias_adds": 3,
    "input_cells": 4,
    "input_events": 4,
    "output_cells": 3,
    "charged_rows": 1,
    "weights": 12,
    "nonzero_weights": 12,
    "weight_bits": 8,
    "input_bits": 8,
}
