"""Fast inference of dense layers on the CPU: matrix products in reused buffers, one fused pass between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurosparse.kernels.relaxation import add_feedback, send_errors
from neurosparse.predictive.layer import SOFTMAX, Prediction, PredictiveLayer
from neurosparse.predictive.problem import RelaxationProblem

__all__ = ["FastInference", "fast_inference_applies", "relax_fast"]

IN_PLACE: dict[str, Callable[[Tensor], object]] = {
    "identity": lambda a: a,
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
}

ADDED = ("identity", "relu")
"""Activations that the pass over the errors applies, after it has added the bias."""


def fast_inference_applies(problem: RelaxationProblem, z: Sequence[Tensor]) -> bool:
    """Dense layers on a CPU, without priors, precisions or masks, and no function mode (a meter counts products)."""
    plain = not problem.priors and all(log is None for log in problem.log_precisions)
    whole = all(isinstance(unclamped, bool) for unclamped in problem.unclamped)
    dense = all(layer.map is not None and type(layer.module) is nn.Linear for layer in problem.layers)
    known = all({layer.before.name, layer.after.name} <= {*IN_PLACE, SOFTMAX.name} for layer in problem.layers)
    rows = all(state.dim() == 2 and state.device.type == "cpu" and state.dtype == z[0].dtype for state in z)
    native = z[0].dtype in (torch.float32, torch.float64)
    return plain and whole and dense and known and rows and native and not torch._C._is_torch_function_mode_enabled()


@dataclass(frozen=True)
class FastInference:
    """The end of fast inference.

    ``sent`` and ``signals``: messages of states and errors at every step, the layers in one row, if recorded.
    """

    z: list[Tensor]
    predictions: list[Prediction]
    errors: list[Tensor]
    energies: Tensor
    gap: Tensor
    sent: list[Tensor]
    signals: list[Tensor]


def relax_fast(
    problem: RelaxationProblem,
    z: Sequence[Tensor],
    steps: int,
    dt: float,
    record: bool,
    predictions: Sequence[Prediction] | None,
) -> FastInference:
    """Descend the energy as ``inference.relax`` does, in buffers that are allocated once.

    A layer whose error is exactly 0 sends nothing, and a state that does not change is not predicted from again: from a
    forward pass the errors of the output move down by one layer per step.
    """
    known = [None] * len(problem.layers) if predictions is None else predictions
    exact = [old is not None and old.value is above for old, above in zip(known, z[1:], strict=True)]
    free = [bool(part) for part in problem.unclamped]
    z = [s.clone(memory_format=torch.contiguous_format) if k or free[0] else s for k, s in enumerate(z)]
    layers = [
        _Buffers(layer, z[k], z[k + 1], known[k], exact[k], dt * free[k + 1], free[k] or record)
        for k, layer in enumerate(problem.layers)
    ]
    energies = z[0].new_zeros(steps + 1, len(z[0]))
    rows, changed = energies.numpy(), [predictions is None] * len(z)
    sent, signals, before = [], [], {}
    for step in range(steps + 1):
        last = step == steps
        for k in reversed(range(len(layers))):
            if changed[k]:
                layers[k].predict(complete=last or not free[k])
        if record:
            sent.append(torch.cat([layer.message * (free[k] or not step) for k, layer in enumerate(layers)], -1))
        if step == steps - 1:
            before = {k: state.clone() for k, state in enumerate(z) if free[k]}
        nudge = None if problem.nudge is None else _nudge(problem, z[-1], energies[step])
        for k, layer in enumerate(layers):
            if not exact[k]:
                layer.compare(rows[step], last)
        if record:
            signals.append(torch.cat([layer.error_message(last) for layer in layers], -1))
        if last:
            break
        for k, layer in enumerate(layers):
            if free[k] and not exact[k]:
                layer.add_feedback(dt)
        if nudge is not None:
            z[-1].sub_(nudge, alpha=dt)
        if changed != free:
            moves = zip(free, [True, *exact], [*exact, nudge is None], strict=True)
            changed = [moving and not (own and above) for moving, own, above in moves]
            exact = [zero and not (changed[k] or changed[k + 1]) for k, zero in enumerate(exact)]
    moved = [torch.linalg.vector_norm(state.sub_(z[k]), dim=-1) for k, state in before.items()]
    gap = torch.stack(moved).square().sum(0).sqrt() / dt if moved else torch.zeros_like(energies[0])
    predictions = [Prediction(layer.message, layer.value, layer.log) for layer in layers]
    return FastInference(z, predictions, [layer.signal for layer in layers], energies, gap, sent, signals)


def _nudge(problem: RelaxationProblem, output: Tensor, energy: Tensor) -> Tensor:
    """The gradient of the nudge at the output; its term is added to the energy."""
    assert problem.nudge is not None
    energy.add_(problem.loss(output), alpha=problem.nudge)
    return problem.nudge * problem.loss_gradient(output)


class _Buffers:
    """One layer between the states ``below`` and ``above``, and its buffers, also as NumPy views of the same memory.

    ``value`` holds the prediction without what the pass over the errors adds: the bias, and the activation if it is
    "relu". A complete prediction lacks nothing. ``signal`` holds ``after'(a) error``; after the last step the error.

    Args:
        layer: the layer.
        below, above: states; they change in place.
        known: the prediction, if it is computed already.
        exact: whether the state above is its prediction, so that the error is 0.
        step: of the state above along its error; 0 if it is clamped.
        needed: whether the signals are used.
    """

    def __init__(
        self, layer: PredictiveLayer, below: Tensor, above: Tensor, known: Prediction | None, exact: bool,
        step: float, needed: bool,
    ):  # fmt: skip
        assert isinstance(layer.module, nn.Linear)
        self.layer, self.below, self.above, self.needed, self.step = layer, below, above, needed, step
        weight, self.bias = layer.module.weight.detach(), layer.module.bias
        self.weight, self.transposed = weight, weight.t()
        self.signal = torch.zeros_like(above) if exact else torch.empty_like(above)
        self.value = torch.empty_like(above) if known is None else known.value
        self.log = known.log if known is not None else torch.empty_like(above) if layer.after is SOFTMAX else None
        self.message, self.back = below, None
        if layer.before.slope is not None:
            self.message = torch.empty_like(below) if known is None else known.input
            self.back = torch.empty_like(below)
        self.rows = above.numpy(), self.value.numpy()
        self.signal_rows = self.signal.numpy()
        self.nothing = np.zeros(above.shape[1], self.signal_rows.dtype)
        self.bias_row = self.nothing if self.bias is None else self.bias.detach().contiguous().numpy()
        self.lacking = self.nothing  # what is to be added to `value`

    def predict(self, complete: bool) -> None:
        """``value = after(W before(z) + b)``; not ``complete``: without what the pass over the errors adds."""
        after = self.layer.after.name
        if self.back is not None:
            IN_PLACE[self.layer.before.name](self.message.copy_(self.below))
        if after in ADDED and not complete:
            torch.mm(self.message, self.transposed, out=self.value)
            self.lacking = self.bias_row
            return
        self.lacking = self.nothing
        if self.bias is None:
            torch.mm(self.message, self.transposed, out=self.value)
        else:
            torch.addmm(self.bias, self.message, self.transposed, out=self.value)
        if self.log is not None:
            torch.exp(torch.log_softmax(self.value, -1, out=self.log), out=self.value)
        else:
            IN_PLACE[after](self.value)

    def compare(self, energy: NDArray, last: bool) -> None:
        """Signals, if needed, and energy of the state above, which takes ``z -= step error``.

        In the last step the state stays, and the errors take the place of the signals.
        """
        if self.log is not None:
            torch.sub(self.above, self.value, out=self.signal)
            energy -= (self.above * self.log).sum(-1).numpy()
        elif last:
            send_errors(*self.rows, self.lacking, "identity", 0.0, self.signal_rows, energy)
        else:
            out = self.signal_rows if self.needed else None
            send_errors(*self.rows, self.lacking, self.layer.after.name, self.step, out, energy)

    def error_message(self, last: bool) -> Tensor:
        """The message of the error units."""
        return self.layer.signal(Prediction(self.message, self.value), self.signal) if last else self.signal

    def add_feedback(self, dt: float) -> None:
        """``z += dt before'(z) W^T signal`` of the state below."""
        if self.back is None:
            self.below.addmm_(self.signal, self.weight, alpha=dt)
        else:
            torch.mm(self.signal, self.weight, out=self.back)
            views = (part.numpy() for part in (self.below, self.back, self.message))
            add_feedback(*views, self.layer.before.name, dt)
