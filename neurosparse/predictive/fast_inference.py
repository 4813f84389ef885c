"""Fast inference of dense layers on the CPU: matrix products in reused buffers, one fused pass between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """Descend the energy as ``inference.relax`` does, in buffers that are allocated once."""
    known = [None] * len(problem.layers) if predictions is None else predictions
    layers = [_Buffers(*parts) for parts in zip(problem.layers, z, z[1:], known, strict=False)]
    unclamped = problem.unclamped
    z = [
        state.clone(memory_format=torch.contiguous_format) if k or unclamped[0] else state for k, state in enumerate(z)
    ]
    views, energies = [state.numpy() for state in z], z[0].new_zeros(steps + 1, len(z[0]))
    rows = energies.numpy()
    sent, signals, before = [], [], z
    for step in range(steps + 1):
        last = step == steps
        for k, layer in enumerate(layers):
            if unclamped[k] if step else predictions is None:
                layer.predict(z[k])
        if record:
            sent.append(
                torch.cat([layer.sent(z[k]) * (bool(unclamped[k]) or not step) for k, layer in enumerate(layers)], -1)
            )
        if step == steps - 1:
            before = [state.clone() for state in z]
        nudge = None if problem.nudge is None else _nudge(problem, z[-1], energies[step])
        for k, layer in enumerate(layers, 1):
            layer.compare(z[k], views[k], dt if unclamped[k] and not last else 0.0, rows[step])
        if record:
            signals.append(torch.cat([layer.signal for layer in layers], -1))
        if last:
            break
        for k, layer in enumerate(layers):
            if unclamped[k]:
                layer.add_feedback(z[k], views[k], dt)
        if nudge is not None:
            z[-1].sub_(nudge, alpha=dt)
    gap = torch.stack([(a - b).square().sum(-1) for a, b in zip(before, z, strict=True)]).sum(0).sqrt() / dt
    predictions = [
        Prediction(layer.sent(state), layer.value, layer.log) for layer, state in zip(layers, z, strict=False)
    ]
    return FastInference(z, predictions, [layer.error for layer in layers], energies, gap, sent, signals)


def _nudge(problem: RelaxationProblem, output: Tensor, energy: Tensor) -> Tensor:
    """The gradient of the nudge at the output; its term is added to the energy."""
    assert problem.nudge is not None
    energy.add_(problem.loss(output), alpha=problem.nudge)
    return problem.nudge * problem.loss_gradient(output)


class _Buffers:
    """One layer and its buffers, as tensors and as NumPy views of the same memory."""

    def __init__(self, layer: PredictiveLayer, below: Tensor, above: Tensor, known: Prediction | None):
        assert isinstance(layer.module, nn.Linear)
        self.weight, self.bias = layer.module.weight, layer.module.bias
        self.before, self.after = layer.before, layer.after
        self.value, self.error, self.signal = (torch.empty_like(above) for _ in range(3))
        self.log = torch.empty_like(above) if self.after is SOFTMAX else None
        if known is not None:
            self.value, self.log = known.value, known.log
        self.views = self.value.numpy(), self.error.numpy(), self.signal.numpy()
        inner = self.before.slope is not None
        self.input, self.back = (torch.empty_like(below), torch.empty_like(below)) if inner else (None, None)
        if self.input is not None and known is not None:
            self.input = known.input

    def sent(self, z: Tensor) -> Tensor:
        """The message of the state below: ``before(z)``."""
        return z if self.input is None else self.input

    def predict(self, z: Tensor) -> None:
        """``value = after(W before(z) + b)``."""
        if self.input is not None:
            IN_PLACE[self.before.name](self.input.copy_(z))
        if self.bias is None:
            torch.mm(self.sent(z), self.weight.t(), out=self.value)
        else:
            torch.addmm(self.bias, self.sent(z), self.weight.t(), out=self.value)
        if self.log is not None:
            torch.exp(torch.log_softmax(self.value, -1, out=self.log), out=self.value)
        elif self.after.name != "relu":  # `send_errors` applies it
            IN_PLACE[self.after.name](self.value)

    def compare(self, z: Tensor, view: NDArray, backward_step: float, energy: NDArray) -> None:
        """Errors, signals and energy of the state above; an unclamped state takes ``z -= backward_step error``."""
        value, error, signal = self.views
        if self.log is not None:
            torch.sub(z, self.value, out=self.error)
            self.signal.copy_(self.error)
            energy -= (z * self.log).sum(-1).numpy()
        else:
            send_errors(view, value, self.after.name, backward_step, error, signal, energy)

    def add_feedback(self, z: Tensor, view: NDArray, dt: float) -> None:
        """``z += dt before'(z) W^T signal`` of the state below."""
        if self.input is None or self.back is None:
            z.addmm_(self.signal, self.weight, alpha=dt)
        else:
            torch.mm(self.signal, self.weight, out=self.back)
            add_feedback(view, self.back.numpy(), self.input.numpy(), self.before.name, dt)
