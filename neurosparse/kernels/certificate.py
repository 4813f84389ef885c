"""Sums of a duality gap in float64, from data, atoms and sparse codes, without a dense product in float64 for float32.

The residual ``x - a D`` is a float64 sum over the active atoms. The largest correlation with an atom is found from a
product in the precision of the data, whose rounding has a known bound: ``(m + 4) eps ||x - a D|| ||d||`` for m
features, in any order of its sums. Every atom that may hold the maximum within that bound is computed again in float64,
so that the maximum is that of a float64 product.

Source: the bound: Higham (2002), "Accuracy and stability of numerical algorithms", section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.kernels.dispatch import kernel, prange, workers

__all__ = ["Sums", "gap_sums"]


class Sums(NamedTuple):
    """Of each sample, in float64, with ``r = x - a D``.

    ``<x, r>``, ``||r||^2``, ``sum |a|``, ``sum a^2``, and the dual norm of ``r D^T - ridge a``.
    """

    overlap: Tensor
    square: Tensor
    absolute: Tensor
    squares: Tensor
    steepest: Tensor


@kernel.reassociating
def _axpy(y, amount, row):
    for k in range(y.shape[0]):
        y[k] -= amount * np.float64(row[k])


@kernel.reassociating
def _dot(a, b):
    total = 0.0
    for k in range(a.shape[0]):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@kernel
def _residual_loop(x, atoms, a, residual, rounded, sums, n_workers):
    for worker in prange(n_workers):
        for s in range(worker, x.shape[0], n_workers):
            own, code, absolute, squares = residual[s], a[s], 0.0, 0.0
            for k in range(own.shape[0]):
                own[k] = x[s, k]
            for j in range(code.shape[0]):
                if code[j] != 0:
                    amount = np.float64(code[j])
                    _axpy(own, amount, atoms[j])
                    absolute += abs(amount)
                    squares += amount * amount
            for k in range(own.shape[0]):
                rounded[s, k] = own[k]
            sums[0, s], sums[1, s], sums[2, s], sums[3, s] = _dot(own, x[s]), _dot(own, own), absolute, squares


@kernel.reassociating
def _steepest(correlation, positive):
    best = correlation.dtype.type(0)
    for k in range(correlation.shape[0]):
        value = correlation[k] if positive else abs(correlation[k])
        best = value if value > best else best
    return best


@kernel
def _steepest_loop(atoms, a, residual, correlation, ridge, positive, bound, rounding, sums, n_workers):
    for worker in prange(n_workers):
        for s in range(worker, a.shape[0], n_workers):
            found, code, own = correlation[s], a[s], residual[s]
            if ridge > 0:
                for k in range(code.shape[0]):
                    found[k] -= ridge * code[k]
            least = _steepest(found, positive) - 2 * (bound * np.sqrt(sums[1, s]) + rounding)
            least = max(least, 0.0)
            best = 0.0
            for k in range(code.shape[0]):
                value = found[k] if positive else abs(found[k])
                if not value < least:  # a value that is no number is computed again, too
                    exact = _dot(own, atoms[k]) - ridge * np.float64(code[k])
                    best = max(best, exact if positive else abs(exact))
            sums[4, s] = best


def gap_sums(x: Tensor, atoms: Tensor, a: Tensor, ridge: float, positive: bool) -> Sums:
    """The sums of samples ``x (samples, features)`` and codes ``a (samples, atoms)``, one dtype, on the CPU.

    Args:
        x, atoms, a: data, atoms (atoms, features), and codes.
        ridge: weight of half the squares of a code.
        positive: whether the dual norm is the largest correlation, not its largest absolute value.
    """
    x, atoms, a = x.contiguous(), atoms.contiguous(), a.contiguous()
    samples, features = x.shape
    sums, residual = torch.zeros(5, samples, dtype=torch.float64), torch.empty(samples, features, dtype=torch.float64)
    rounded = torch.empty_like(x)
    arrays, shared = (x.numpy(), atoms.numpy(), a.numpy()), sums.numpy()
    _residual_loop(*arrays, residual.numpy(), rounded.numpy(), shared, workers())
    correlation = F.linear(rounded, atoms)
    size = float(atoms.square().sum(1).amax().double().sqrt()) if len(atoms) else 0.0
    eps = torch.finfo(x.dtype).eps
    rounding = ridge * float(a.abs().amax()) * 4 * eps if ridge and a.numel() else 0.0
    rounding += features * torch.finfo(x.dtype).tiny  # of products too small for the exponent
    bound = (features + 4) * eps * size
    _steepest_loop(
        *arrays[1:], residual.numpy(), correlation.numpy(), ridge, positive, bound, rounding, shared, workers()
    )
    return Sums(*sums)
