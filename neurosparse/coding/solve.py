"""Sparse codes by any solver; each sample stops at its own certificate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from neurosparse.checks import one_of, positive, tensor, whole
from neurosparse.coding.batches import Budget, solve_parts
from neurosparse.coding.coordinate_descent import CoordinateDescent
from neurosparse.coding.dictionary import code_shape
from neurosparse.coding.lca import LCA
from neurosparse.coding.penalty import Penalty, l1
from neurosparse.coding.proximal_gradient import FISTA, ISTA
from neurosparse.coding.solver import Solver, Transmissions, no_cost
from neurosparse.coding.spiking_lca import SpikingLCA, in_time
from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.events.tensor import EventTensor

__all__ = ["ALIASES", "METHODS", "Code", "NotConverged", "solve"]

METHODS: dict[str, Solver] = {
    "coordinate_descent": CoordinateDescent(),
    "fista": FISTA(),
    "ista": ISTA(),
    "lca": LCA(),
    "spiking": SpikingLCA(),
}
ALIASES = {"event": "coordinate_descent"}


class NotConverged(UserWarning):
    """A solver stopped before every sample reached the tolerance.

    Example:
        >>> issubclass(NotConverged, UserWarning)
        True
    """


@dataclass(frozen=True, eq=False, repr=False)
class Code:
    """The result of `solve`.

    Args:
        a: the codes, (samples, atoms), or (samples, atoms, height, width) of a convolution.
        objective: ``0.5 ||x - a D||^2 + penalty(a)`` of each sample; float64 where float32 cannot hold it.
        gap: relative duality gap of each sample (convex penalties), else the fixed-point residual.
        iterations: iterations of each sample, (samples,), int64; events for "coordinate_descent".
        transmissions: what was sent in which iteration; None if not recorded.
        penalty, method: penalty and name of the method.

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
        """All transmissions: (iterations, *shape of a); ``lengths`` are the iterations of each sample.

        Axis "iteration": coefficients, or their changes for "coordinate_descent" (`.cumulate()` gives coefficients).
        For "spiking" they are spikes on the axis "time", exact to the nanosecond, one step per time constant of 10 ms;
        signed where the penalty is.
        """
        if self.transmissions is None:
            got, fix = "events that were not kept", "Solve with record_events=True."
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
    record_events: bool | None = None,
) -> Code:
    """Sparse codes: ``argmin_a 0.5 ||x - a D||^2 + penalty(a)``, sample by sample.

    The drive ``x D^T`` is computed once; every iteration sends the non-zero coefficients through ``D D^T - I``. Atoms
    smaller than an image have a coefficient at every place where they fit whole, and ``a D`` is their transposed
    convolution. A sample that has reached the tolerance leaves the batch, so that neither its code nor its cost depends
    on the other samples. Samples are solved part by part, so that memory is bounded. Inference only: no gradient flows.

    The certificate is computed from the data, the atoms and the returned code, in float64. Samples above the tolerance
    by it, although the solver had stopped, go on in float64.

    Args:
        x: the data, (samples, features), tensor or array; or images, (samples, channels, height, width).
        dictionary: the atoms, (atoms, features), of any norm but zero; or small ones, (atoms, channels, height, width).
        penalty: `l1`, `nonnegative_l1`, `elastic_net`, `l0`, `lp`, `log` or `cauchy`; ``l1(0.1)`` if not given.
        method: "fista", "ista", "lca"; "coordinate_descent" (or "event"), which updates one coefficient per event; or
            "spiking", whose code is a firing rate (convex penalties only). The last two do not convolve.
        tol: largest relative duality gap (convex penalties) or fixed-point residual (others); by default 1e-4, and 1e-2
            for "spiking", whose error decreases as one over time.
        steps: largest number of passes over the coefficients of a sample (500 by default): iterations of "fista",
            "ista" and "lca"; for "coordinate_descent" as many events as there are atoms; for "spiking" time constants
            (1280 by default).
        warm_start: initial codes, shaped like ``.a``; zeros if not given.
        record_events: keep what was sent in each iteration, for ``.events``; None: unless there are more than four
            million events.

    Returns:
        a `Code`: ``.a``, ``.events``, ``.gap``, ``.objective``, ``.iterations``.

    Raises:
        InputError: for an unknown method, shapes that do not fit, values that are not finite, an atom of norm zero,
            codes that the precision of the data cannot hold.
        NotConverged: as a warning that names the largest gap, if some sample is left above the tolerance; it says
            whether steps or digits were too few.

    Example:
        >>> atoms = torch.eye(3, dtype=torch.float64)
        >>> code = solve(torch.tensor([[3.0, 0.2, -1.0]], dtype=torch.float64), atoms, l1(0.5))
        >>> code.a
        tensor([[ 2.5000,  0.0000, -0.5000]], dtype=torch.float64)
        >>> bool(code.gap < 1e-4), code.events.shape == (int(code.iterations), 1, 3)
        (True, True)

    Source: the class of the method; duality gap: Fercoq, Gramfort & Salmon (2015).
    """
    penalty = l1(0.1) if penalty is None else penalty
    code = encode(x, dictionary, penalty, method, tol=tol, steps=steps, warm_start=warm_start, record=record_events)
    warn_above("solve", code, tol, steps, "Pass more steps or a larger tol.", stacklevel=3)
    return code


@torch.no_grad()
def encode(
    x: Tensor,
    dictionary: Tensor,
    penalty: Penalty,
    method: str,
    *,
    tol: float | None = None,
    steps: int | None = None,
    warm_start: Tensor | None = None,
    record: bool | None = None,
) -> Code:
    """`solve` without its warning; a caller compares ``.gap`` with ``tol``."""
    method, solver = _solver(method, penalty)
    tol = solver.tol if tol is None else positive("solve", "tol", tol)
    steps = solver.steps if steps is None else whole("solve", "steps", steps)
    x, dictionary = _array("x", "samples", x), _array("dictionary", "atoms", dictionary)
    warm_start = None if warm_start is None else _array("warm_start", "samples", warm_start)
    _check(x, dictionary, warm_start, solver.convolves)
    start = None if warm_start is None else warm_start.detach().to(x).flatten(1)
    budget = Budget(tol, solver.iterations(steps, len(dictionary)), record)
    found = solve_parts(x.detach(), dictionary.detach(), penalty, solver, start, budget)
    return Code(found.a.view(code_shape(x, dictionary)), *found[1:], penalty, method)


def warn_above(where: str, code: Code, tol: float | None, steps: int | None, fix: str, stacklevel: int) -> int:
    """Warn of samples above the tolerance; the warning names the largest gap and what would lower it.

    Samples that stopped before their budget was spent have stopped at rounding: more steps would not help them.
    """
    solver = METHODS[code.method]
    tol, steps = solver.tol if tol is None else tol, solver.steps if steps is None else steps
    above = (code.gap <= tol).logical_not()
    many = int(above.sum())
    if many:
        worst = f"{many} of {len(code.gap)} samples have a gap up to {float(code.gap[above].max()):.1e} (tol={tol:g})"
        spent = code.iterations[above] >= solver.iterations(steps, code.a.shape[1])
        if bool(spent.any()):
            message = f"{where}: after {steps} {solver.unit} of {code.method} {worst}. {fix}"
        else:
            fix = "Pass float64 data" if code.a.dtype != torch.float64 else "Pass a larger tol"
            message = f"{where}: {worst}, which is the rounding of {code.a.dtype}. {fix}: more steps do not help."
        warnings.warn(message, NotConverged, stacklevel=stacklevel)
    return many


def _solver(method: str, penalty: Any) -> tuple[str, Solver]:
    """The name of the method and its solver, which can solve this penalty."""
    method = ALIASES.get(method, method) if isinstance(method, str) else method
    method = one_of("solve", "method", method, METHODS, 'Pass method="fista".')
    if not isinstance(penalty, Penalty):
        raise InputError("solve", got=f"penalty={penalty!r}", expected="a penalty", fix="Pass penalty=l1(0.1).")
    solvable = METHODS[method].penalties
    if solvable is not None and penalty.name not in solvable:
        got, expected = f"penalty={penalty!r} with {method}", f"one of {', '.join(solvable)}"
        raise InputError("solve", got=got, expected=expected, fix='Pass method="fista".')
    return method, METHODS[method]


@operation(no_cost)
def _check(x: Tensor, dictionary: Tensor, warm_start: Tensor | None, convolves: bool) -> None:
    """Shapes and dtypes match, and no atom is zero. (It returns no tensor: a meter would take it for a signal.)"""
    if x.ndim != dictionary.ndim or x.shape[1] != dictionary.shape[1] or x.dtype != dictionary.dtype:
        got, channels = f"x {tuple(x.shape)} of {x.dtype}", "channels" if dictionary.ndim == 4 else "features"
        got = f"{got}, atoms {tuple(dictionary.shape)} of {dictionary.dtype}"
        raise InputError("solve", got=got, expected=f"the same {channels} and dtype", fix="Reshape or convert one.")
    if not dictionary.numel():
        got = f"a dictionary of shape {tuple(dictionary.shape)}"
        raise InputError("solve", got=got, expected="at least one atom and one feature", fix="Pass the atoms as rows.")
    if any(size < extent for size, extent in zip(x.shape[2:], dictionary.shape[2:], strict=True)):
        got = f"images {tuple(x.shape[2:])} and atoms {tuple(dictionary.shape[2:])}"
        raise InputError("solve", got=got, expected="atoms that fit into an image", fix="Pad the images.")
    if dictionary.ndim == 4 and not convolves:
        got, expected = "a convolution", "one coefficient per atom, (atoms, features)"
        raise InputError("solve", got=got, expected=expected, fix='Pass method="fista", or patches of the images.')
    zero = (dictionary == 0).flatten(1).all(1).nonzero().flatten().tolist()
    if zero:
        got = f"norm zero in atoms {zero[:5]}"
        raise InputError("solve", got=got, expected="atoms of any other norm", fix="Drop or draw them again.")
    shape = code_shape(x, dictionary)
    if warm_start is not None and tuple(warm_start.shape) != shape:
        got, expected = f"warm_start {tuple(warm_start.shape)}", f"the shape of the codes, {shape}"
        raise InputError("solve", got=got, expected=expected, fix="Pass a code of these data.")


def _array(name: str, rows: str, value: Any) -> Tensor:
    axes = getattr(value, "ndim", 2)
    images = isinstance(axes, int) and axes > 2
    return tensor("solve", name, value, f"{rows}, channels, height, width" if images else f"{rows}, features")


@operation(no_cost)
def _events(sent: Transmissions, iterations: Tensor, a: Tensor) -> EventTensor:
    if sent.offset is not None:
        return in_time(sent, tuple(a.shape), iterations)
    coefficients = a[0].numel() if len(a) else 1
    steps = int(iterations.max()) if len(a) else 0
    where = sent.step, sent.position // coefficients, sent.position % coefficients
    return EventTensor.from_aer(*where, sent.value, axis="iteration", shape=(steps, *a.shape), lengths=iterations)
