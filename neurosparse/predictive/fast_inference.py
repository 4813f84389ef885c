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
    layers = [_Buffers(*parts) for parts in zip(problem.layers, z, z[1:], known, strict=False)]
    depth, unclamped = len(layers), [bool(part) for part in problem.unclamped]
    z = [
        state.clone(memory_format=torch.contiguous_format) if k or unclamped[0] else state for k, state in enumerate(z)
    ]
    views, energies = [state.numpy() for state in z], z[0].new_zeros(steps + 1, len(z[0]))
    rows, changed = energies.numpy(), [predictions is None] * (depth + 1)
    sent, signals, before = [], [], {}
    for step in range(steps + 1):
        last = step == steps
        for k in reversed(range(depth)):
            if changed[k]:
                layers[k].predict(z[k], complete=last or not unclamped[k])
        if record:
            sent.append(
                torch.cat([layer.sent(z[k]) * (unclamped[k] or not step) for k, layer in enumerate(layers)], -1)
            )
        if step == steps - 1:
            before = {k: state.clone() for k, state in enumerate(z) if unclamped[k]}
        nudge = None if problem.nudge is None else _nudge(problem, z[-1], energies[step])
        active = [not layer.is_exact for layer in layers]
        for k in range(depth):
            if active[k]:
                needed = unclamped[k] or record
                layers[k].compare(z[k + 1], views[k + 1], dt * unclamped[k + 1], rows[step], needed, last)
        if record:
            signals.append(torch.cat([layer.sent_error(last) for layer in layers], -1))
        if last:
            break
        for k in range(depth):
            if active[k] and unclamped[k]:
                layers[k].add_feedback(z[k], views[k], dt)
        if nudge is not None:
            z[-1].sub_(nudge, alpha=dt)
        own, above = [False, *active], [*active, nudge is not None]
        changed = [free and (a or b) for free, a, b in zip(unclamped, own, above, strict=True)]
        for k, layer in enumerate(layers):
            layer.is_exact = layer.is_exact and not (changed[k] or changed[k + 1])
    moved = [torch.linalg.vector_norm(state.sub_(z[k]), dim=-1) for k, state in before.items()]
    gap = torch.stack(moved).square().sum(0).sqrt() / dt if moved else torch.zeros_like(energies[0])
    predictions = [
        Prediction(layer.sent(state), layer.value, layer.log) for layer, state in zip(layers, z, strict=False)
    ]
    return FastInference(z, predictions, [layer.signal for layer in layers], energies, gap, sent, signals)


def _nudge(problem: RelaxationProblem, output: Tensor, energy: Tensor) -> Tensor:
    """The gradient of the nudge at the output; its term is added to the energy."""
    assert problem.nudge is not None
    energy.add_(problem.loss(output), alpha=problem.nudge)
    return problem.nudge * problem.loss_gradient(output)


class _Buffers:
    """One layer and its buffers, as tensors and as NumPy views of the same memory.

    ``value`` holds the prediction without the bias and, for "relu", without the activation, which `send_errors` adds in
    its pass; after a complete prediction it holds the prediction. ``signal`` holds ``after'(a) error``; after the last
    step the error.
    """

    def __init__(self, layer: PredictiveLayer, below: Tensor, above: Tensor, known: Prediction | None):
        assert isinstance(layer.module, nn.Linear)
        self.weight, self.bias = layer.module.weight.detach(), layer.module.bias
        self.layer, self.before, self.after = layer, layer.before, layer.after
        #: Whether the state above is its prediction, so that the error is 0.
        self.is_exact = known is not None and known.value is above
        self.signal = torch.zeros_like(above) if self.is_exact else torch.empty_like(above)
        self.value = torch.empty_like(above) if known is None else known.value
        self.log = known.log if known is not None else torch.empty_like(above) if self.after is SOFTMAX else None
        self.nothing = np.zeros(above.shape[1], self.signal.numpy().dtype)
        self.row = self.nothing if self.bias is None else self.bias.detach().numpy()
        self.left_out = self.nothing  # what `value` lacks
        self.views = self.value.numpy(), self.signal.numpy()
        inner = self.before.slope is not None
        self.input, self.back = (torch.empty_like(below), torch.empty_like(below)) if inner else (None, None)
        if self.input is not None and known is not None:
            self.input = known.input

    def sent(self, z: Tensor) -> Tensor:
        """The message of the state below: ``before(z)``."""
        return z if self.input is None else self.input

    def predict(self, z: Tensor, complete: bool) -> None:
        """``value = after(W before(z) + b)``; what `send_errors` adds may be left out where not ``complete``."""
        if self.input is not None:
            IN_PLACE[self.before.name](self.input.copy_(z))
        if not complete and self.after.name in ("identity", "relu"):
            torch.mm(self.sent(z), self.weight.t(), out=self.value)
            self.left_out = self.row
            return
        self.left_out = self.nothing
        if self.bias is None:
            torch.mm(self.sent(z), self.weight.t(), out=self.value)
        else:
            torch.addmm(self.bias, self.sent(z), self.weight.t(), out=self.value)
        if self.log is not None:
            torch.exp(torch.log_softmax(self.value, -1, out=self.log), out=self.value)
        else:
            IN_PLACE[self.after.name](self.value)

    def compare(
        self, z: Tensor, view: NDArray, backward_step: float, energy: NDArray, needed: bool, last: bool
    ) -> None:
        """Signals, where needed, and energy of the state above, which takes ``z -= backward_step error``.

        In the last step the state stays, and the errors take the place of the signals.
        """
        value, signal = self.views
        if self.log is not None:
            torch.sub(z, self.value, out=self.signal)
            energy -= (z * self.log).sum(-1).numpy()
        elif last:
            send_errors(view, value, self.left_out, "identity", 0.0, signal, energy)
        else:
            out = signal if needed else None
            send_errors(view, value, self.left_out, self.after.name, backward_step, out, energy)

    def sent_error(self, last: bool) -> Tensor:
        """The message of the error units."""
        return self.layer.signal(Prediction(self.value, self.value), self.signal) if last else self.signal

    def add_feedback(self, z: Tensor, view: NDArray, dt: float) -> None:
        """``z += dt before'(z) W^T signal`` of the state below."""
        if self.input is None or self.back is None:
            z.addmm_(self.signal, self.weight, alpha=dt)
        else:
            torch.mm(self.signal, self.weight, out=self.back)
            add_feedback(view, self.back.numpy(), self.input.numpy(), self.before.name, dt)
