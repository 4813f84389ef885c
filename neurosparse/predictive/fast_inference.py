"""Fast inference of dense layers on the CPU: matrix products in reused buffers, one fused pass between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurosparse.kernels.relaxation import (
    ACTIVE,
    BIAS,
    FIRST,
    SENT,
    SLOPE,
    SLOPES,
    add_feedback,
    layer_table,
    send_errors,
)
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

    ``sent`` and ``signals``: messages of states and errors, (steps + 1, samples, units), the layers in one row; None if
    not recorded.
    """

    z: list[Tensor]
    predictions: list[Prediction]
    errors: list[Tensor]
    energies: Tensor
    gap: Tensor
    sent: Tensor | None
    signals: Tensor | None


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
    rows = _Rows(problem, z, dt, exact, record)
    z = [z[0].clone(memory_format=torch.contiguous_format) if free[0] else z[0], *rows.states]
    layers = [_Buffers(rows, k, layer, z[k], known[k]) for k, layer in enumerate(problem.layers)]
    energies = z[0].new_zeros(steps + 1, len(z[0]))
    energy = energies.numpy()
    changed, before = [predictions is None] * len(z), {}
    # A clamped state is sent once: later steps stay 0.
    sent = energies.new_zeros(*energies.shape, sum(state.shape[1] for state in z[:-1])) if record else None
    signals = energies.new_empty(*energies.shape, sum(state.shape[1] for state in z[1:])) if record else None
    for step in range(steps + 1):
        last = step == steps
        for k in reversed(range(len(layers))):
            if changed[k]:
                layers[k].predict(complete=last or not free[k])
        if sent is not None:
            _keep(sent[step], [layer.message if free[k] or not step else None for k, layer in enumerate(layers)], z)
        if step == steps - 1:
            before = {k: state.clone() for k, state in enumerate(z) if free[k]}
        nudge = None if problem.nudge is None else _nudge(problem, z[-1], energies[step])
        rows.compare(energy[step], last)
        if layers[-1].log is not None:
            energies[step].sub_((z[-1] * layers[-1].log).sum(-1))
        if signals is not None:
            _keep(signals[step], [layer.error_message(last) for layer in layers], z[1:])
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
            rows.table[:, ACTIVE] = [not zero for zero in exact]
    moved = [torch.linalg.vector_norm(state.sub_(z[k]), dim=-1) for k, state in before.items()]
    gap = torch.linalg.vector_norm(torch.stack(moved), dim=0) / dt if moved else torch.zeros_like(energies[0])
    predictions = [Prediction(layer.message, layer.value, layer.log) for layer in layers]
    return FastInference(z, predictions, rows.signals, energies, gap, sent, signals)


def _keep(row: Tensor, messages: Sequence[Tensor | None], z: Sequence[Tensor]) -> None:
    """Write the messages of all layers, as many numbers as their states have, in one row per sample."""
    first = 0
    for message, state in zip(messages, z, strict=False):
        if message is not None:
            row[:, first : first + state.shape[1]] = message
        first += state.shape[1]


def _nudge(problem: RelaxationProblem, output: Tensor, energy: Tensor) -> Tensor:
    """The gradient of the nudge at the output; its term is added to the energy."""
    assert problem.nudge is not None
    energy.add_(problem.loss(output), alpha=problem.nudge)
    return problem.nudge * problem.loss_gradient(output)


class _Rows:
    """States, predictions and signals of all predicted layers in one memory, for one pass over the errors of all.

    ``values`` hold the predictions without what that pass adds: the bias, and the activation if it is "relu"; complete
    predictions lack nothing. ``signals`` hold ``after'(a) error``; after the last step the errors.
    """

    def __init__(self, problem: RelaxationProblem, z: Sequence[Tensor], dt: float, exact: Sequence[bool], record: bool):
        free, samples, units = problem.unclamped, len(z[0]), [state.shape[1] for state in z[1:]]
        slopes = [SLOPES.index(layer.after.name) for layer in problem.layers]
        sent = [record or bool(below) for below in free[:-1]]
        self.table, lengths = layer_table(samples, units, slopes, sent, [not zero for zero in exact])
        self.memory = z[0].new_empty(3, sum(lengths)).numpy()
        first = self.table[:, FIRST].tolist()
        parts = [
            [torch.from_numpy(part[a : a + samples * n].reshape(samples, n)) for a, n in zip(first, units, strict=True)]
            for part in self.memory
        ]
        self.states, self.values, self.signals = parts
        for state, own, signal, zero in zip(z[1:], self.states, self.signals, exact, strict=True):
            own.copy_(state)
            if zero:
                signal.zero_()
        biases = [np.zeros(max(units), self.memory.dtype)]
        for n, layer in zip(units, problem.layers, strict=True):
            bias = layer.module.bias
            biases.append(bias.detach().numpy() if isinstance(bias, Tensor) else biases[0][:n])
        self.biases = np.concatenate(biases)
        self.first_bias = [max(units) + sum(units[:k]) for k in range(len(units))]
        self.steps = np.array([dt if above else 0.0 for above in free[1:]], self.memory.dtype)

    def compare(self, energy: NDArray, last: bool) -> None:
        """Signals and energies; free states take ``z -= dt error``.

        In the last step states stay, and the errors take the place of the signals.
        """
        if last:
            self.table[:, SENT], self.steps[:] = True, 0
            self.table[:, SLOPE] *= self.table[:, SLOPE] == SLOPES.index(SOFTMAX.name)  # the others are 1
        states, values, signals = self.memory
        send_errors(states, values, self.biases, self.table, self.steps, signals, energy)


class _Buffers:
    """One layer, the state below it, and its part of the rows."""

    def __init__(self, rows: _Rows, number: int, layer: PredictiveLayer, below: Tensor, known: Prediction | None):
        assert isinstance(layer.module, nn.Linear)
        self.layer, self.below, self.value, self.signal = layer, below, rows.values[number], rows.signals[number]
        weight, self.bias = layer.module.weight.detach(), layer.module.bias
        self.weight, self.transposed = weight, weight.t()
        self.log = torch.empty_like(self.value) if layer.after is SOFTMAX else None
        self.message, self.back = below, None
        if layer.before.slope is not None:
            self.message, self.back = torch.empty_like(below), torch.empty_like(below)
        self.row, self.first_bias = rows.table[number], rows.first_bias[number]
        if known is not None:
            self.value.copy_(known.value)
            self.log = known.log
            self.message = below if self.back is None else known.input

    def predict(self, complete: bool) -> None:
        """``value = after(W before(z) + b)``; not ``complete``: without what the pass over the errors adds."""
        after = self.layer.after.name
        if self.back is not None:
            IN_PLACE[self.layer.before.name](self.message.copy_(self.below))
        if after in ADDED and not complete:
            torch.mm(self.message, self.transposed, out=self.value)
            self.row[BIAS] = self.first_bias
            return
        self.row[BIAS] = 0
        if self.bias is None:
            torch.mm(self.message, self.transposed, out=self.value)
        else:
            torch.addmm(self.bias, self.message, self.transposed, out=self.value)
        if self.log is not None:
            torch.exp(torch.log_softmax(self.value, -1, out=self.log), out=self.value)
        else:
            IN_PLACE[after](self.value)

    def error_message(self, last: bool) -> Tensor:
        """The message of the error units."""
        return self.layer.signal(Prediction(self.message, self.value), self.signal) if last else self.signal

    def add_feedback(self, dt: float) -> None:
        """``z += dt before'(z) W^T signal`` of the state below."""
        if self.back is None:
            self.below.addmm_(self.signal, self.weight, alpha=dt)
        else:
            torch.mm(self.signal, self.weight, out=self.back)
            below, back, message = self.below.numpy(), self.back.numpy(), self.message.numpy()
            add_feedback(below, back, message, self.layer.before.name, dt)
