"""`solve`: sparse codes by any method, each sample stopped by its own certificate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from neurosparse.coding import coordinate_descent, ista, lca, proximal_gradient, spiking_lca
from neurosparse.coding.checks import check_arrays, check_options
from neurosparse.coding.dictionary import certify, code_shape, pose
from neurosparse.coding.iterate import Method, Transmissions, iterated
from neurosparse.coding.penalty import Penalty, l1
from neurosparse.coding.problem import free
from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.events.tensor import EventTensor

__all__ = ["Code", "NotConverged", "solve"]

METHODS = {
    "event": Method(coordinate_descent.run, steps=20_000, sends="changes"),
    "fista": iterated(proximal_gradient),
    "ista": iterated(ista),
    "lca": iterated(lca),
    "spiking": Method(spiking_lca.run, steps=1280, tol=1e-2, penalties=spiking_lca.PENALTIES, sends="spikes"),
}


class NotConverged(UserWarning):
    """A solver stopped before every sample reached the tolerance.

    Example:
        >>> issubclass(NotConverged, UserWarning)
        True
    """


@dataclass(frozen=True, eq=False, repr=False)
class Code:
    """What `solve` returns.

    Args:
        a: the codes, (samples, atoms), or (samples, atoms, height, width) of a convolution.
        objective: ``0.5 ||x - a D||^2 + penalty(a)`` of each sample.
        gap: relative duality gap of each sample (convex penalties), else the fixed-point residual.
        iterations: iterations each sample took, (samples,), int64.
        transmissions: what was sent in which iteration; None if not kept.
        penalty, method: what `solve` was asked for.

    Example:
        >>> code = solve(torch.eye(3), torch.eye(3), l1(0.5), "lca", tol=1e-3)
        >>> code, code.events.axis
        (Code(3 samples, 3 atoms, 33.33% active, 10 iterations, gap 0.0e+00), 'iteration')
    """

    a: Tensor
    objective: Tensor
    gap: Tensor
    iterations: Tensor
    transmissions: Transmissions | None
    penalty: Penalty
    method: str

    def __repr__(self) -> str:
        (samples, atoms, *_), active = self.a.shape, float((self.a != 0).double().mean())
        steps, gap = (int(self.iterations.max()), float(self.gap.max())) if samples else (0, 0.0)
        return f"Code({samples} samples, {atoms} atoms, {active:.2%} active, {steps} iterations, gap {gap:.1e})"

    @cached_property
    def events(self) -> EventTensor:
        """Everything sent: (iterations, *shape of a), lengths each sample's iterations.

        Axis "iteration": coefficients, or their changes by "event" (`.cumulate()` makes levels of them). By "spiking"
        they are spikes on the axis "time", exact to the nanosecond, a step for each time constant of 10 ms; signed
        where the penalty is.
        """
        if self.transmissions is None:
            got, fix = "record_events=False", "Solve with record_events=True."
            raise InputError("Code.events", got=got, expected="a recorded solve", fix=fix)
        return _events(self.transmissions, self.iterations, self.a)


@torch.no_grad()
def solve(
    x: Tensor,
    dictionary: Tensor,
    penalty: Penalty | None = None,
    method: str = "fista",
    *,
    tol: float | None = None,
    steps: int | None = None,
    warm_start: Tensor | None = None,
    record_events: bool = True,
) -> Code:
    """Sparse codes: ``argmin_a 0.5 ||x - a D||^2 + penalty(a)``, sample by sample.

    The drive ``x D^T`` is computed once; every iteration sends the non-zero coefficients through ``D D^T - I``. Atoms
    smaller than an image are tried at every place where they fit whole, and ``a D`` is their transposed convolution. A
    sample that has reached the tolerance leaves the batch, so that neither its code nor its cost depends on its
    neighbours. Inference only: no gradient passes.

    Args:
        x: the data, (samples, features), floating point; or images, (samples, channels, height, width).
        dictionary: the atoms, (atoms, features), of any norm but zero; or small ones, (atoms, channels, height, width).
        penalty: `l1`, `nonnegative_l1`, `elastic_net`, `l0`, `lp`, `log` or `cauchy`; ``l1(0.1)`` if not given.
        method: "fista", "ista", "lca"; "event", which moves one coefficient at a time; or "spiking", whose code is a
            firing rate (convex penalties only). The last two do not convolve.
        tol: largest relative duality gap (convex penalties) or fixed-point residual (others); by default the method's
            own: 1e-4, and 1e-2 for "spiking", whose error falls as one over time.
        steps: largest number of iterations, by default the method's own: passes over all coefficients, events
            ("event"), or time constants ("spiking").
        warm_start: codes to start from, shaped like ``.a``; silence if not given.
        record_events: keep what was sent in each iteration, for ``.events``.

    Returns:
        a `Code`: ``.a``, ``.events``, ``.gap``, ``.objective``, ``.iterations``.

    Raises:
        InputError: for an unknown method, shapes that do not meet, values that are not finite, an atom of norm zero.
        NotConverged: as a warning that names the largest gap, if some sample is left above the tolerance.

    Example:
        >>> atoms = torch.eye(3, dtype=torch.float64)
        >>> code = solve(torch.tensor([[3.0, 0.2, -1.0]], dtype=torch.float64), atoms, l1(0.5))
        >>> code.a
        tensor([[ 2.5000,  0.0000, -0.5000]], dtype=torch.float64)
        >>> bool(code.gap < 1e-4), code.events.shape == (int(code.iterations), 1, 3)
        (True, True)

    Source: the method's own file; duality gap: Fercoq, Gramfort & Salmon (2015).
    """
    penalty = l1(0.1) if penalty is None else penalty
    check_options(method, METHODS, penalty, tol, steps)
    check_arrays(x, dictionary, warm_start, METHODS[method].convolves)
    chosen, problem, shape = METHODS[method], pose(x, dictionary, penalty), code_shape(x, dictionary)
    tol, budget = chosen.tol if tol is None else tol, chosen.steps if steps is None else steps
    start = None if warm_start is None else warm_start.detach().to(problem.drive).reshape(problem.drive.shape)
    a, iterations, left, transmissions = chosen.run(problem, start, tol, budget, record_events)
    objective, gap = certify(x, dictionary, problem, a)
    if len(left):
        many, worst = f"{len(left)} of {len(x)} samples", float(gap.max())
        message = f"solve: after {budget} iterations of {method} {many} have a gap up to {worst:.1e}"
        warnings.warn(f"{message} (tol={tol:g}). Pass more steps or a larger tol.", NotConverged, stacklevel=3)
    return Code(a.view(shape), objective, gap, iterations, transmissions, penalty, method)


@operation(free)
def _events(sent: Transmissions, iterations: Tensor, a: Tensor) -> EventTensor:
    if sent.offset is not None:
        return spiking_lca.in_time(sent, tuple(a.shape), iterations)
    coefficients = a[0].numel() if len(a) else 1
    steps = int(iterations.max()) if len(a) else 0
    where = sent.step, sent.position // coefficients, sent.position % coefficients
    return EventTensor.from_aer(*where, sent.value, axis="iteration", shape=(steps, *a.shape), lengths=iterations)
