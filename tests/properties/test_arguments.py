"""Public functions take NumPy numbers, tensors of no axes and views as plain arguments, and refuse the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from arguments import Function, Given, check, kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

import neurosparse as ns
from neurosparse import learning

GENERATOR = torch.Generator().manual_seed(0)
X, ATOMS = torch.randn(4, 6, generator=GENERATOR), torch.randn(5, 6, generator=GENERATOR)

IMAGE = torch.rand(9, 8, generator=GENERATOR)
PATTERNS = (torch.rand(3, 12, generator=GENERATOR) < 0.4).float()
of, sailnet = ns.coding.olshausen_field, ns.coding.sailnet


def learned(**options):
    """Of a scikit-learn estimator the hyper-parameters are checked by `fit`."""
    return ns.DictionaryLearning(random_state=0, **options).fit(X.numpy()).components_


CODING = [
    Function("l1", ns.l1, {"weight": 0.1}),
    Function("nonnegative_l1", ns.nonnegative_l1, {"weight": 0.1}),
    Function("elastic_net", ns.elastic_net, {"weight": 0.1, "l1_ratio": 0.5}),
    Function("l0", ns.l0, {"weight": 0.1}),
    Function("log", ns.log, {"weight": 0.1, "scale": 1.0}),
    Function("cauchy", ns.cauchy, {"variance": 0.1, "scale": 1.0}),
    Function("lp", ns.lp, {"weight": 0.1, "p": 0.5}),
    Function(
        "solve",
        lambda **given: ns.solve(**given).a,
        {"x": X, "dictionary": ATOMS, "method": "fista", "tol": 0.01, "steps": 40, "warm_start": torch.zeros(4, 5)},
        optional=("tol", "steps", "warm_start"),
    ),
    Function(
        "DictionaryLearning",
        learned,
        {"n_components": 3, "alpha": 0.1, "max_iter": 2, "batch_size": 2, "tol": 0.01, "code_tol": 0.1}
        | {"max_no_improvement": 3, "transform_n_nonzero_coefs": 2, "transform_alpha": 0.1, "transform_max_iter": 9}
        | {"fit_algorithm": "cd", "transform_algorithm": "omp", "dict_init": torch.randn(3, 6, generator=GENERATOR)},
        optional=("n_components", "max_no_improvement", "transform_n_nonzero_coefs", "transform_alpha", "dict_init"),
    ),
    Function("kwta", lambda k: ns.kwta(X[None], k), {"k": 2}),
    Function(
        "KWTA",
        lambda **given: ns.KWTA(**given),
        {"fraction": 0.5, "boost": 1.0, "memory": 10},
    ),
    Function("KWTA by number", lambda k: ns.KWTA(k=k), {"k": 3}),
    Function("KSparseAutoencoder", ns.coding.KSparseAutoencoder, {"features": 4, "atoms": 6, "k": 2, "alpha": 2.0}),
    Function(
        "FlyHash",
        ns.coding.FlyHash,
        {"features": 6, "cells": 20, "inputs": 2, "active": 0.2, "seed": 1},
        optional=("inputs",),
    ),
    Function(
        "sparse_patterns",
        ns.coding.sparse_patterns,
        {"patterns": 3, "units": 12, "activity": 0.25, "generator": 1},
    ),
    Function("covariance_weights", ns.coding.covariance_weights, {"patterns": PATTERNS}),
    Function(
        "recall",
        ns.coding.recall,
        {"weights": ns.coding.covariance_weights(PATTERNS), "cue": PATTERNS, "k": 3, "steps": 4},
    ),
    Function("overlap", ns.coding.overlap, {"state": PATTERNS, "patterns": PATTERNS}),
    Function("mean_field", ns.coding.mean_field, {"activity": 0.3, "load": 0.1}),
    Function("capacity", ns.coding.capacity, {"activity": 0.3}),
    Function(
        "images.whiten",
        ns.coding.images.whiten,
        {"images": IMAGE, "cutoff": 0.4, "order": 4.0, "variance": 0.1},
        optional=("variance",),
    ),
    Function("images.patches", ns.coding.images.patches, {"images": IMAGE, "size": 3, "n": 4, "border": 1}),
    Function(
        "images.hold_out",
        lambda n, generator: ns.coding.images.hold_out({"a": IMAGE, "b": IMAGE, "c": IMAGE}, n, generator),
        {"n": 1, "generator": 2},
    ),
    Function("olshausen_field.start", of.start, {"atoms": 3, "features": 2, "generator": 1}),
    Function(
        "olshausen_field.infer",
        of.infer,
        {"x": X, "dictionary": ATOMS, "weight": 0.1, "scale": 0.3, "tol": 0.1, "steps": 4},
    ),
    Function(
        "olshausen_field.energy",
        of.energy,
        {"x": X, "dictionary": ATOMS, "codes": torch.ones(4, 5), "weight": 0.1, "scale": 0.3},
    ),
    Function(
        "olshausen_field.learn",
        lambda **given: of.learn(of.start(5, 6), **given),
        {"x": X, "weight": 0.1, "scale": 0.3, "rate": 0.5, "memory": 100.0, "tol": 0.1, "steps": 4},
    ),
    Function("sailnet.start", sailnet.start, {"units": 3, "features": 2, "threshold": 1.0, "generator": 1}),
    Function(
        "sailnet.respond",
        lambda **given: sailnet.respond(sailnet.start(5, 6), **given),
        {"x": X, "steps": 4, "leak": 0.5},
    ),
    Function(
        "sailnet.learn",
        lambda **given: sailnet.learn(sailnet.start(5, 6), **given),
        {"x": X, "rate": 0.05, "alpha": 1.0, "beta": 0.1, "gamma": 0.1, "steps": 4, "leak": 0.5},
    ),
]
SPIKES = ns.EventTensor.from_dense(torch.rand(12, 2, 3, generator=GENERATOR) < 0.5, dt=1e-3)
RESPONSES = torch.rand(4, 5, generator=GENERATOR)
analysis = ns.analysis

ANALYSIS = [
    Function("sparsity", ns.sparsity, {"eps": 0.1, "x": RESPONSES}),
    Function("window_counts", lambda steps: analysis.window_counts(SPIKES, steps), {"steps": 3}),
    Function("fano_factor", lambda steps: analysis.fano_factor(SPIKES, steps), {"steps": 3}),
    Function("count_correlation", lambda steps: analysis.count_correlation(SPIKES, steps), {"steps": 3}),
    Function(
        "spike_triggered_average",
        lambda **given: ns.spike_triggered_average(SPIKES, **given),
        {"stimulus": torch.rand(12, 2, generator=GENERATOR), "steps": 2},
    ),
    Function(
        "spike_triggered_covariance",
        lambda **given: analysis.spike_triggered_covariance(SPIKES, **given),
        {"stimulus": torch.rand(12, 2, 2, generator=GENERATOR), "steps": 2},
    ),
    Function(
        "suppression_index",
        lambda **given: analysis.suppression_index([1, 2, 3, 4, 5], **given),
        {"responses": RESPONSES, "long": 5.0},
    ),
    Function(
        "modulations",
        lambda **given: analysis.modulations(shape=(4, 3), **given),
        {"atoms": torch.randn(2, 12, generator=GENERATOR), "band": 0.5, "dt": 0.01},
    ),
    Function("fit_gabor", ns.fit_gabor, {"atoms": torch.randn(1, 9, generator=GENERATOR)}),
]
FUNCTIONS = [*CODING, *ANALYSIS]

U, CURRENT = torch.rand(3, 4, generator=GENERATOR), torch.rand(6, 2, 3, generator=GENERATOR)
SPIKES = ns.EventTensor.from_dense((CURRENT > 0.5).float(), dt=1e-3, spikes=True)
TONE = torch.sin(torch.arange(800.0))


def cochlea(sound: torch.Tensor, **numbers: float) -> ns.EventTensor:
    return ns.neurons.cochlea([sound], **numbers)


FUNCTIONS += [
    Function("EventTensor.from_dense", lambda **numbers: ns.EventTensor.from_dense(CURRENT, **numbers),
             {"dt": 1e-3, "t0": 0.0}, ("dt",)),
    Function("EventTensor.bin", lambda k: SPIKES.bin(k, on_collision="sum"), {"k": 2}),
    Function("EventTensor.times", lambda dt, t0: ns.EventTensor.from_times([3.5], [0], n_units=1, dt=dt, t0=t0).times(),
             {"dt": 0.5, "t0": 0.3}),
    Function("constant_current", ns.constant_current, {"x": U, "steps": 3, "dt": 1e-3}, ("dt",)),
    Function("poisson", ns.poisson, {"x": U, "steps": 3, "dt": 1e-3, "seed": 2}, ("dt",)),
    Function("latency", ns.latency, {"x": U, "steps": 3, "dt": 1e-3}, ("dt",)),
    Function("delta", ns.delta, {"x": CURRENT, "threshold": 0.2, "dt": 1e-3}, ("dt",)),
    Function("LIF", lambda **numbers: ns.LIF(**numbers), {"beta": 0.9, "threshold": 0.5, "dt": 1e-3, "refractory": 1},
             ("dt",)),
    Function("LIF(tau)", lambda **numbers: ns.LIF(**numbers)(CURRENT), {"tau": 0.02, "dt": 1e-3, "reset": "zero"}),
    Function("Readout", lambda beta: ns.neurons.Readout(beta)(CURRENT), {"beta": 0.9}),
    Function("current_based", lambda alpha: ns.neurons.current_based(alpha).constants, {"alpha": 0.9}),
    Function("adaptive", lambda **numbers: ns.neurons.adaptive(**numbers).constants, {"decay": 0.9, "strength": 0.5}),
    Function("atan", lambda alpha: ns.atan(alpha).derivative(X), {"alpha": 2.0}),
    Function("fast_sigmoid", lambda slope: ns.fast_sigmoid(slope).derivative(X), {"slope": 2.0}),
    Function("triangle", lambda width: ns.triangle(width).derivative(X), {"width": 2.0}),
    Function("boxcar", lambda width: ns.boxcar(width).derivative(X), {"width": 2.0}),
    Function("delay_lines", lambda delay: ns.neurons.delay_lines(SPIKES, [0, delay]), {"delay": 2}),
    Function("cochlea", cochlea, {"sound": TONE, "rate": 8000.0, "bands": 5, "fibres": 2, "dynamic_range": 50.0,
                                  "tau": 0.01, "adaptation": 0.5}),
    Function("spectrogram", ns.neurons.spectrogram, {"sound": TONE, "rate": 8000.0, "bands": 5, "dynamic_range": 50.0}),
    Function("latency_loss", lambda tau: learning.latency_loss(SPIKES, torch.tensor([0, 1]), tau), {"tau": 1.5}),
    Function("membrane_loss", lambda over: learning.membrane_loss(CURRENT, torch.tensor([0, 1]), over),
             {"over": "max"}),
    Function("activity_loss", lambda target: learning.activity_loss(SPIKES, target), {"target": 0.3}),
    Function("stdp", lambda **numbers: learning.stdp(torch.full((3, 3), 0.5), SPIKES, SPIKES, **numbers),
             {"rise": 0.1, "fall": 0.2, "tau_rise": 0.01, "tau_fall": 0.02, "pairs": "all"}),
    Function("scale_norms", lambda **numbers: learning.scale_norms(nn.BatchNorm1d(3), **numbers),
             {"threshold": 0.5, "alpha": 1.0}),
    Function("convert", lambda percentile: learning.convert(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), X, percentile),
             {"percentile": 99.0}),
    Function("through_time", lambda chunk: list(learning.through_time(nn.Sequential(nn.Linear(3, 2)), CURRENT, chunk)),
             {"chunk": 2}),
]  # fmt: skip


LAYER = {"layer": "fc", "kind": "linear", "weights": 100, "nonzero_weights": 100, "weight_bits": 8}
SPIKING = {"dense_ops": 1000, "effective_acs": 100, "input_cells": 100, "input_events": 10, "input_bits": 1}
SPIKING = ns.OperationCounts((LAYER | SPIKING | {"charged_rows": 10, "output_cells": 100},), 1)
DENSE = {"dense_ops": 100, "effective_macs": 100, "input_cells": 10, "input_events": 10, "input_bits": 8}
DENSE = ns.OperationCounts((LAYER | DENSE | {"charged_rows": 1, "output_cells": 10},), 1)
REPORT, CORRECT = ns.estimate(SPIKING), torch.tensor([1.0, 0.0, 1.0, 1.0])
TRAINS = ns.EventTensor.from_dense(torch.eye(5, 3, dtype=torch.bool)[:, None])


def recorded(samples):
    layer = torch.nn.Linear(3, 2)
    with ns.record(layer, samples=samples) as tape:
        layer(torch.ones(4, 3))
    return ns.count(tape)


def break_even(axis, values):
    return ns.energy.break_even(SPIKING, DENSE, axis, values, where={"arithmetic": {"dataflow": "compute_only"}})


def drawn(ax: Axes) -> list:
    patches = [patch for each in ax.figure.axes for patch in each.patches if hasattr(patch, "get_data")]
    images = [np.ma.filled(image.get_array(), np.nan) for image in ax.images]
    stairs = [part for patch in patches for part in patch.get_data()[:2]]
    return [*stairs, *images, *(np.asarray(line.get_data()) for line in ax.lines)]


FUNCTIONS += [
    Function("record", recorded, {"samples": 0}, ("samples",)),
    Function(
        "estimate",
        lambda **given: ns.estimate(SPIKING, **given),
        {"hardware": "cmos-45nm", "dataflow": "cheapest", "memory": 100},
    ),
    Function("Assumptions", ns.energy.Assumptions, {"state_bits": 16, "reuse": 4.0}, ("state_bits",)),
    Function("uncertainty", lambda factor: ns.energy.Assumptions(uncertainty={"sram": factor}), {"factor": 2.0}),
    Function("Memory", ns.energy.Memory, {"capacity": 100, "banks": 2, "width": 64, "messages": 10}, ("capacity",)),
    Function(
        "verdict",
        lambda correct, **given: ns.energy.verdict(correct, CORRECT, REPORT, REPORT, **given),
        {"correct": CORRECT, "margin": 0.01, "confidence": 0.95},
    ),
    Function("frontier", lambda x: ns.energy.frontier({"a": (x, 1.0), "b": (0.5, 2.0)}), {"x": 0.9}),
    Function("with_overhead", REPORT.with_overhead, {"seconds": 0.5, "idle": 0.03}),
    Function(
        "scale_counts",
        lambda **given: ns.energy.scale_counts(SPIKING, **given),
        {"activity": 2.0, "steps": 20.0, "bits": 4},
        ("steps", "bits"),
    ),
    Function("break_even", break_even, {"axis": "steps", "values": torch.tensor([5.0, 10.0])}, ("values",)),
    Function("Threshold", ns.energy.thresholds()[2].spikes_per_synapse, {"steps": 8.0}),
    Function("storage_bits", lambda bits: ns.energy.storage_bits(torch.eye(3), "csr", bits), {"bits": 8}, ("bits",)),
    Function(
        "plot.raster",
        lambda **given: drawn(ns.plot.raster(TRAINS, ax=Figure().subplots(), **given)),
        {"sample": 0, "rates": 2},
        ("rates",),
    ),
    Function(
        "plot.coefficients",
        lambda code, bins: drawn(ns.plot.coefficients(code, bins, ax=Figure().subplots())),
        {"code": X, "bins": 7},
    ),
    Function(
        "plot.atoms",
        lambda atoms, columns: drawn(ns.plot.atoms(atoms, (2, 3), columns, ax=Figure().subplots())),
        {"atoms": ATOMS, "columns": 2},
        ("columns",),
    ),
    Function(
        "plot.rates", lambda rates: drawn(ns.plot.rates({"a": rates}, ax=Figure().subplots())), {"rates": X[0] ** 2}
    ),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
@settings(max_examples=60)
@given(data=st.data())
def test_the_result_is_that_of_the_plain_argument(function, data):
    check(function, data)


def numbers_only(x: float) -> float:
    if type(x) is not float:
        raise ns.InputError("f", got=x, expected="a float")
    return x


@pytest.mark.parametrize(
    "wrong",
    [
        Function("takes anything", lambda x: 0.0, {"x": 0.5}),
        Function("raises another error", lambda x: 1.0 / x, {"x": 0.5}),
        Function("refuses NumPy numbers", numbers_only, {"x": 0.5}),
        Function("returns what was passed", lambda x: type(x), {"x": torch.ones(2, 3)}),
    ],
    ids=lambda function: function.name,
)
def test_the_property_can_fail(wrong):
    @settings(max_examples=200, report_multiple_bugs=False)
    @given(data=st.data())
    def property_of_wrong(data):
        check(wrong, data)

    with pytest.raises((AssertionError, ArithmeticError, TypeError)):
        property_of_wrong()


@settings(max_examples=200)
@given(data=st.data())
def test_what_is_passed_equals_the_plain_argument(data):
    """An oracle for the generator: by NumPy's own conversion."""
    drawn: Given = data.draw(kinds(data.draw(st.sampled_from([3, 0.25, torch.eye(3)]))))
    if drawn.answer == "as the plain argument":
        passed, plain = (x.detach() if isinstance(x, torch.Tensor) else x for x in (drawn.passed, drawn.plain))
        assert np.array_equal(np.asarray(passed, np.float64), np.asarray(plain, np.float64))
