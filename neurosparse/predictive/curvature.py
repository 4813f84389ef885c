"""Curvature of the energy: the extreme eigenvalues of its Hessian in the unclamped states, by the Lanczos method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurosparse.predictive.layer import SOFTMAX, Prediction, PredictiveLayer, softmax_slope
from neurosparse.predictive.problem import RelaxationProblem

__all__ = ["extreme_curvatures"]

CANDIDATES = 16
"""Lanczos iterations that go on together: of as many samples, or of several starts for each sample."""

ITERATIONS, QUADRATIC = 8, 12
"""Their steps, and those in a quadratic energy, where all samples have the same Hessian."""

#: ``H v`` of each sample: (samples, unclamped units) -> the same.
Product = Callable[[Tensor], Tensor]


@torch.no_grad()
def extreme_curvatures(
    problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction] | None = None
) -> tuple[float, float]:
    """The lowest and the largest eigenvalue of the Hessian ``d2E / dz2`` of the unclamped states, over all samples.

    The Hessian is block-diagonal over samples. Two products find the samples of large curvature, and the Lanczos method
    goes on with these; in a quadratic energy all have the same. A smaller batch has several starts for each sample.
    Estimates are within the spectrum, or 0. Products with the Hessian are exact for layers by hand; for other modules
    they are differences of gradients. Proximal maps of priors are not part of the Hessian.

    Args:
        problem: layers and clamps.
        z: states, (samples, *units) each.
        predictions: those of ``z``, if they are computed already.

    Returns:
        both; inference is stable for ``dt`` below 2 over the largest one. 0 and 0 where all states are clamped, minus
        and plus infinity where the products overflow.

    Source: Innocenti, Achour, Singh & Buckley (2024), "Only strict saddles in the energy landscape of predictive coding
    networks?", for the Hessian; Nesterov (2004) for the bound.
    """
    if all(unclamped is False for unclamped in problem.unclamped) or not len(z[0]):
        return 0.0, 0.0
    predictions = problem.predictions(z) if predictions is None else predictions
    best = torch.arange(CANDIDATES) % len(z[0])
    if len(z[0]) > CANDIDATES and not problem.is_quadratic:
        best = _samples_of_large_curvature(problem, z, predictions)
    problem, z, predictions = problem.take(best), [s[best] for s in z], [_take(p, best) for p in predictions]
    start = _random_directions(problem, z, CANDIDATES)
    steps = QUADRATIC if problem.is_quadratic else ITERATIONS
    return _lanczos(hessian_product(problem, z, predictions), start, steps)


def _samples_of_large_curvature(
    problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction]
) -> Tensor:
    """Numbers of the samples whose products are largest: half by their largest entry, half by their norm.

    A product with random signs has a large entry where one unit has a large curvature. The mean product is near to what
    many samples have in common, and a product with it has a large norm where many units share a large curvature.
    """
    product, half = hessian_product(problem, z, predictions), CANDIDATES // 2
    once = product(_random_directions(problem, z, 1).sign())
    peaks = once.abs().amax(1)
    norms = product(once.mean(0, keepdim=True).expand_as(once)).norm(dim=1)
    first = norms.topk(half).indices
    peaks[first] = -1
    return torch.cat([first, peaks.topk(CANDIDATES - half).indices])


def _take(prediction: Prediction, samples: Tensor) -> Prediction:
    log = None if prediction.log is None else prediction.log[samples]
    return Prediction(prediction.input[samples], prediction.value[samples], log)


def _random_directions(problem: RelaxationProblem, z: Sequence[Tensor], different: int) -> Tensor:
    """Random values of the unclamped units, (samples, units): so many different rows, or one for all samples.

    Clamped units of a state that is clamped in part have 0.
    """
    moving = [number for number, unclamped in enumerate(problem.unclamped) if unclamped is not False]
    units = sum(z[number].shape[1:].numel() for number in moving)
    drawn = torch.from_numpy(np.random.default_rng(0).random((different, units), np.float32)).to(z[0]) - 0.5
    return _join(problem, moving, _split(drawn.expand(len(z[0]), -1), z, moving))


def _split(rows: Tensor, z: Sequence[Tensor], moving: Sequence[int]) -> list[Tensor | None]:
    """The part of each state, in its shape; None for states that are clamped as a whole."""
    found: list[Tensor | None] = [None] * len(z)
    for number, part in zip(moving, rows.split([z[n].shape[1:].numel() for n in moving], 1), strict=True):
        found[number] = part.reshape(z[number].shape)
    return found


def _join(problem: RelaxationProblem, moving: Sequence[int], parts: Sequence[Any]) -> Tensor:
    """The inverse of `_split`, with 0 for the clamped units of a state clamped in part."""
    masks = problem.unclamped
    rows = [(parts[n] if masks[n] is True else parts[n] * masks[n]).flatten(1) for n in moving]
    return torch.cat(rows, 1)


def _lanczos(product: Product, start: Tensor, steps: int) -> tuple[float, float]:
    """The lowest and largest eigenvalue over all samples: ``H v_k = b_{k-1} v_{k-1} + a_k v_k + b_k v_{k+1}``."""
    ahead, here, least, diagonal, beside = start, start, torch.zeros(()), [], []
    for step in range(min(steps, start.shape[1])):
        length = ahead.norm(dim=1, keepdim=True)
        length = length * (length > least)  # 0 where the vectors span an invariant subspace
        before, here = here, ahead / length.where(length > 0, torch.inf)
        ahead = product(here)
        diagonal.append((ahead * here).sum(1, keepdim=True))
        if step:
            beside.append(length)
        else:
            least = 1e-5 * ahead.norm(dim=1, keepdim=True)
        ahead = ahead.addcmul(diagonal[-1], here, value=-1)
        ahead = ahead.addcmul_(length, before, value=-1) if step else ahead
    matrices = torch.cat(diagonal, 1).diag_embed()
    if beside:
        matrices += torch.cat(beside, 1).diag_embed(-1)
    if not bool(matrices.isfinite().all()):
        return -torch.inf, torch.inf
    found = torch.linalg.eigvalsh(matrices.double())
    return float(found.min()), float(found.max())


def hessian_product(problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction]) -> Product:
    """``v -> H v`` for the unclamped states of each sample."""
    moving = [number for number, unclamped in enumerate(problem.unclamped) if unclamped is not False]
    by_hand = all(layer.map is not None for layer in problem.layers)
    inner = (_exact_product if by_hand else _difference_product)(problem, z, predictions)

    return lambda rows: _join(problem, moving, inner(_split(rows, z, moving)))


def _difference_product(
    problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction]
) -> Callable[[Sequence[Tensor | None]], list[Tensor]]:
    """``(g(z + h v) - g(z)) / h`` with the gradient ``g`` of each sample."""
    here = _gradient(problem, z, predictions)
    sizes = torch.stack([state.flatten(1).square().sum(1) for state in z]).sum(0).sqrt()
    steps = torch.finfo(z[0].dtype).eps ** 0.5 * sizes.clamp(min=1)

    def product(change: Sequence[Tensor | None]) -> list[Tensor]:
        ahead = [s if c is None else s + c * _like(steps, s) for s, c in zip(z, change, strict=True)]
        there = _gradient(problem, ahead, problem.predictions(ahead, predictions))
        return [(b - a) / _like(steps, a) for a, b in zip(here, there, strict=True)]

    return product


def _like(rows: Tensor, state: Tensor) -> Tensor:
    """One number per sample, in a shape that broadcasts to the state."""
    return rows.reshape(-1, *(1 for _ in state.shape[1:]))


def _gradient(problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction]) -> list[Tensor]:
    weighted = problem.weighted(problem.errors(z, predictions))
    return problem.gradient(z, weighted, problem.feedback(predictions, weighted))


def _exact_product(
    problem: RelaxationProblem, z: Sequence[Tensor], predictions: Sequence[Prediction]
) -> Callable[[Sequence[Tensor | None]], list[Tensor]]:
    """The derivative of the gradient in the direction of a change of the states; None is no change."""
    weighted = problem.weighted(problem.errors(z, predictions))
    parts = zip(problem.layers, predictions, weighted, problem.log_precisions, strict=True)
    layers = [_Derivatives(*part) for part in parts]

    def product(change: Sequence[Tensor | None]) -> list[Tensor]:
        found: list[Any] = [None] * len(z)
        for depth, (layer, below, above) in enumerate(zip(layers, change, change[1:], strict=False)):
            if below is None and above is None:
                continue
            a = None if below is None else layer.output(below)
            error = layer.error(above, a)
            if above is not None:
                found[depth + 1] = error
            if below is not None and a is not None:
                back = layer.feedback(below, a, error)
                found[depth] = -back if found[depth] is None else found[depth] - back
        if problem.nudge is not None and change[-1] is not None:
            found[-1] = found[-1] + problem.nudge * problem.loss_hessian(z[-1], change[-1])
        return found

    return product


class _Derivatives:
    """First and second derivatives of a layer by hand, at one prediction and its weighted error."""

    def __init__(self, layer: PredictiveLayer, prediction: Prediction, weighted: Tensor, log_precision: Tensor | None):
        before, after = layer.before, layer.after
        self.layer, self.value, self.shape = layer, prediction.value, prediction.input.shape
        self.precision = None if log_precision is None else log_precision.exp()
        self.inner = before.slope and before.slope(prediction.input)
        self.outer = after.slope and after.slope(prediction.value)
        self.outer_bend = after.bend and after.bend(prediction.value) * weighted
        self.inner_bend = None
        if before.bend is not None:
            back = layer.transpose(layer.signal(prediction, weighted), self.shape)
            self.inner_bend = before.bend(prediction.input) * back

    def output(self, below: Tensor) -> Tensor:
        """Change of the module's output, from that of the state below."""
        return self.layer.product(_times(below, self.inner), False)

    def error(self, above: Tensor | None, a: Tensor | None) -> Tensor:
        """Change of the weighted error, from those of the state above and of the module's output."""
        if a is not None and self.layer.after is SOFTMAX:
            a = softmax_slope(self.value, a)
        moved = None if a is None else _times(a, self.outer)
        change = above if moved is None else -moved if above is None else above - moved
        assert change is not None
        return _times(change, self.precision)

    def feedback(self, below: Tensor, a: Tensor, error: Tensor) -> Tensor:
        """Change of the feedback, from those of the state below, of the module's output and of the weighted error."""
        signal = _times(error, self.outer)
        signal = signal if self.outer_bend is None else signal + self.outer_bend * a
        back = _times(self.layer.transpose(signal, self.shape), self.inner)
        return back if self.inner_bend is None else back + self.inner_bend * below


def _times(value: Tensor, factor: Tensor | None) -> Tensor:
    return value if factor is None else value * factor
