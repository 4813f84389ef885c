"""Inference in dense stacks on a CPU: the matrix products of the law, and one pass over memory between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurosparse.kernels.relaxation import follow, send_errors
from neurosparse.predictive.activation import SOFTMAX
from neurosparse.predictive.layer import Layer, Prediction
from neurosparse.predictive.problem import Problem

__all__ = ["Relaxed", "fits_dense", "relax_dense"]

IN_PLACE: dict[str, Callable[[Tensor], object]] = {
    "identity": lambda a: a,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "softmax": lambda a: torch.softmax(a, -1, out=a),
}


def fits_dense(problem: Problem, z: Sequence[Tensor]) -> bool:
    """Whether the problem is plain enough, and nobody watches: a meter has to see every product."""
    plain = not problem.priors and all(log is None for log in problem.log_precisions)
    clamped = all(isinstance(free, bool) for free in problem.free)
    dense = all(layer.map is not None and type(layer.module) is nn.Linear for layer in problem.layers)
    known = all({layer.before.name, layer.after.name} <= set(IN_PLACE) for layer in problem.layers)
    rows = all(state.dim() == 2 and state.device.type == "cpu" and state.dtype == z[0].dtype for state in z)
    native = z[0].dtype in (torch.float32, torch.float64)
    return plain and clamped and dense and known and rows and native and not torch._C._is_torch_function_mode_enabled()


@dataclass(frozen=True)
class Relaxed:
    """Where inference ended.

    ``told`` and ``signals``: what states and errors sent at every step, layers side by side, if it was to be recorded.
    """

    z: list[Tensor]
    predictions: list[Prediction]
    errors: list[Tensor]
    energies: Tensor
    gap: Tensor
    told: list[Tensor]
    signals: list[Tensor]


def relax_dense(
    problem: Problem,
    z: Sequence[Tensor],
    steps: int,
    dt: float,
    record: bool,
    predictions: Sequence[Prediction] | None,
) -> Relaxed:
    """Step down the energy, as the law does, in buffers that are made once."""
    known = [None] * len(problem.layers) if predictions is None else predictions
    layers = [_Buffers(*parts) for parts in zip(problem.layers, z, z[1:], known, strict=False)]
    free = problem.free
    z = [state.clone(memory_format=torch.contiguous_format) if k or free[0] else state for k, state in enumerate(z)]
    views, energies = [state.numpy() for state in z], z[0].new_zeros(steps + 1, len(z[0]))
    rows = energies.numpy()
    told, signals, before = [], [], z
    for step in range(steps + 1):
        last = step == steps
        for k, layer in enumerate(layers):
            if free[k] if step else predictions is None:
                layer.predict(z[k])
        if record:
            told.append(
                torch.cat([layer.sent(z[k]) * (bool(free[k]) or not step) for k, layer in enumerate(layers)], -1)
            )
        if step == steps - 1:
            before = [state.clone() for state in z]
        drawn = None if problem.nudge is None else _draw(problem, z[-1], energies[step])
        for k, layer in enumerate(layers, 1):
            layer.compare(z[k], views[k], dt if free[k] and not last else 0.0, rows[step])
        if record:
            signals.append(torch.cat([layer.signal for layer in layers], -1))
        if last:
            break
        for k, layer in enumerate(layers):
            if free[k]:
                layer.pull(z[k], views[k], dt)
        if drawn is not None:
            z[-1].sub_(drawn, alpha=dt)
    gap = torch.stack([(a - b).square().sum(-1) for a, b in zip(before, z, strict=True)]).sum(0).sqrt() / dt
    predictions = [Prediction(layer.sent(state), layer.value) for layer, state in zip(layers, z, strict=False)]
    return Relaxed(z, predictions, [layer.error for layer in layers], energies, gap, told, signals)


def _draw(problem: Problem, output: Tensor, energy: Tensor) -> Tensor:
    """How the target draws at the output, whose energy it adds to."""
    assert problem.nudge is not None
    energy.add_(problem.loss(output), alpha=problem.nudge)
    return problem.nudge * problem.loss_gradient(output)


class _Buffers:
    """One layer and its memory, seen by torch and by numpy."""

    def __init__(self, layer: Layer, below: Tensor, above: Tensor, known: Prediction | None):
        assert isinstance(layer.module, nn.Linear)
        self.weight, self.bias = layer.module.weight, layer.module.bias
        self.before, self.after = layer.before, layer.after
        self.value, self.error, self.signal = (torch.empty_like(above) for _ in range(3))
        if known is not None:
            self.value = known.value
        self.views = self.value.numpy(), self.error.numpy(), self.signal.numpy()
        inner = self.before.slope is not None
        self.input, self.back = (torch.empty_like(below), torch.empty_like(below)) if inner else (None, None)
        if self.input is not None and known is not None:
            self.input = known.input

    def sent(self, z: Tensor) -> Tensor:
        """What the state below sends."""
        return z if self.input is None else self.input

    def predict(self, z: Tensor) -> None:
        """``value = after(W before(z) + b)``."""
        if self.input is not None:
            IN_PLACE[self.before.name](self.input.copy_(z))
        if self.bias is None:
            torch.mm(self.sent(z), self.weight.t(), out=self.value)
        else:
            torch.addmm(self.bias, self.sent(z), self.weight.t(), out=self.value)
        if self.after.name != "relu":  # which comparing takes
            IN_PLACE[self.after.name](self.value)

    def compare(self, z: Tensor, view: NDArray, backward_step: float, energy: NDArray) -> None:
        """Errors, signals and energy of the state above, which retreats from its error if it is free."""
        value, error, signal = self.views
        if self.after is SOFTMAX:
            torch.sub(z, self.value, out=self.error)
            self.signal.copy_(self.error)
            energy -= (z * self.value.clamp(min=torch.finfo(z.dtype).tiny).log()).sum(-1).numpy()
        else:
            send_errors(view, value, self.after.name, backward_step, error, signal, energy)

    def pull(self, z: Tensor, view: NDArray, dt: float) -> None:
        """Let the errors above move the state below."""
        if self.input is None or self.back is None:
            z.addmm_(self.signal, self.weight, alpha=dt)
        else:
            torch.mm(self.signal, self.weight, out=self.back)
            follow(view, self.back.numpy(), self.input.numpy(), self.before.name, dt)
