"""Predictive coding: each layer predicts the next, and inference relaxes the errors between them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, operation

__all__ = ["EnergyRose", "PredictiveNetwork", "States"]

#: An activation f and its derivative, written in terms of f itself.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tanh": (torch.tanh, lambda f: 1 - f * f),
    "relu": (torch.relu, lambda f: (f > 0).to(f.dtype)),
    "identity": (lambda a: a, torch.ones_like),
}


class EnergyRose(UserWarning):
    """Inference ended with more energy than it began with: the step is too long.

    Example:
        >>> issubclass(EnergyRose, UserWarning)
        True
    """


@dataclass(frozen=True, eq=False)
class States:
    """Where inference came to rest.

    Args:
        z: states of every layer, input first, each (samples, units).
        errors: ``e_l = z_l - prediction_l`` of every layer but the input.
        history: all error units side by side at every iteration, (steps + 1, samples, units).

    Example:
        >>> states = PredictiveNetwork((4, 8, 3)).infer(torch.rand(2, 4), torch.eye(3)[:2], steps=5)
        >>> states, states.energies.shape
        (States(5 steps, 2 samples, 4 - 8 - 3), torch.Size([6, 2]))
    """

    z: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    history: Tensor

    @property
    def energies(self) -> Tensor:
        """``0.5 sum_l ||e_l||^2`` before the first and after every step, (steps + 1, samples)."""
        return 0.5 * self.history.square().sum(-1)

    @cached_property
    def events(self) -> EventTensor:
        """What the error units send at every iteration: (steps + 1, samples, units), graded, axis "iteration"."""
        return EventTensor.from_dense(self.history, axis="iteration")

    def __repr__(self) -> str:
        sizes = " - ".join(str(z.shape[-1]) for z in self.z)
        return f"States({len(self.history) - 1} steps, {self.history.shape[1]} samples, {sizes})"


class PredictiveNetwork(nn.Module):
    """A predictive-coding network: ``E = 0.5 sum_l ||z_l - f(W_l z_{l-1} + b_l)||^2``, the last layer without ``f``.

    Called, it is the feed-forward network: with a free output inference rests there, where every error is silent, so
    that a prediction costs one pass. With the output clamped to a target, `infer` relaxes the states in between and
    `learn` turns the errors left over into weight gradients. Both use hand-derived local rules, no autograd.

    Args:
        sizes: units of every layer, input first.
        activation: "tanh", "relu" or "identity".
        dt: inference step; stable below 2 / (largest curvature of the energy in the states).
        steps: inference steps.

    Raises:
        InputError: for fewer than two sizes, an unknown activation, dt or steps not above 0.

    Example:
        >>> network = PredictiveNetwork((4, 8, 3))
        >>> states = network.infer(torch.rand(2, 4), torch.eye(3)[:2])
        >>> bool((network.energy(states) < states.energies[0]).all()), states.events.shape
        (True, (21, 2, 11))
        >>> network.learn(states)
        >>> network.layers[0].weight.grad.shape
        torch.Size([8, 4])

    Source: Rao & Ballard (1999); Whittington & Bogacz (2017).
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", dt: float = 0.1, steps: int = 20):
        super().__init__()
        where = "PredictiveNetwork"
        if len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            expected = "at least two whole numbers above 0"
            raise InputError(where, got=f"sizes={sizes}", expected=expected, fix="Pass sizes=(784, 256, 10).")
        if activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}"
            raise InputError(where, got=f"activation={activation!r}", expected=expected, fix='Pass "tanh".')
        _check_inference(where, dt, steps)
        self.activation, self.dt, self.steps = activation, dt, steps
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """The prediction of the last layer: where inference with a free output rests. Differentiable by autograd."""
        for depth in range(len(self.layers)):
            x = self._predict(depth, x)
        return x

    @torch.no_grad()
    def infer(self, x: Tensor, y: Tensor | None = None, steps: int | None = None, dt: float | None = None) -> States:
        """Relax the states: ``dz_l/dt = -e_l + W_{l+1}^T (e_{l+1} f'_{l+1})``, from the feed-forward states.

        Args:
            x: input, (samples, sizes[0]), clamped.
            y: target, (samples, sizes[-1]), clamped; None leaves the output free.
            steps: inference steps, the network's own if not given.
            dt: inference step, the network's own if not given.

        Returns:
            `States`.

        Raises:
            InputError: for shapes that do not fit, NaN or infinity, dt or steps not above 0.
            EnergyRose: as a warning, if the energy ended above where it began.

        Example:
            >>> network = PredictiveNetwork((4, 8, 3))
            >>> free = network.infer(torch.rand(2, 4))
            >>> free.events.n_events, bool((free.z[-1] == network(free.z[0])).all())
            (0, True)
        """
        steps, dt = self.steps if steps is None else steps, self.dt if dt is None else dt
        self._check(x, y, steps, dt)
        z = [x]
        for depth in range(len(self.layers)):
            z.append(self._predict(depth, z[-1]))
        # The input is clamped, so the first prediction never changes.
        predictions, first = z[1:], z[1]
        if y is not None:
            z[-1] = y
        history = []
        for step in range(steps + 1):
            if step:
                predictions = [first, *(self._predict(depth, z[depth]) for depth in range(1, len(self.layers)))]
            errors = [state - prediction for state, prediction in zip(z[1:], predictions, strict=True)]
            history.append(torch.cat(errors, -1))
            if step < steps:
                z = self._relax(z, errors, predictions, dt, free=y is None)
        states = States(tuple(z), tuple(errors), torch.stack(history))
        _warn_if_energy_rose(states, dt)
        return states

    def energy(self, states: States) -> Tensor:
        """``0.5 sum_l ||e_l||^2`` of every sample at the given states and the present weights: (samples,)."""
        pairs = itertools.pairwise(states.z)
        errors = [after - self._predict(depth, before) for depth, (before, after) in enumerate(pairs)]
        return torch.stack([0.5 * error.square().sum(-1) for error in errors]).sum(0)

    @torch.no_grad()
    def learn(self, states: States) -> None:
        """Set each weight's ``.grad`` to ``dE/dW_l = -(e_l f'_l)^T z_{l-1}``, the mean over samples: local, Hebbian.

        The errors are those of the states, so call it before the weights change; then step any torch optimizer.
        """
        for depth, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            signal = self._signal(depth, states.errors[depth], states.z[depth + 1] - states.errors[depth])
            signal = signal / max(len(signal), 1)
            layer.weight.grad = -(signal.T @ states.z[depth])
            layer.bias.grad = -signal.sum(0)

    def _predict(self, depth: int, z: Tensor) -> Tensor:
        prediction = self.layers[depth](z)
        return prediction if depth == len(self.layers) - 1 else ACTIVATIONS[self.activation][0](prediction)

    def _signal(self, depth: int, error: Tensor, prediction: Tensor) -> Tensor:
        """The error as seen before the activation, ``e f'``."""
        return error if depth == len(self.layers) - 1 else error * ACTIVATIONS[self.activation][1](prediction)

    def _relax(
        self, z: list[Tensor], errors: list[Tensor], predictions: list[Tensor], dt: float, free: bool
    ) -> list[Tensor]:
        """One step of every state that is not clamped, all at once."""
        relaxed = list(z)
        for depth in range(1, len(self.layers)):
            weight: Tensor = self.layers[depth].weight  # type: ignore[assignment]
            pull = F.linear(self._signal(depth, errors[depth], predictions[depth]), weight.T)
            relaxed[depth] = z[depth] + dt * (pull - errors[depth - 1])
        if free:
            relaxed[-1] = z[-1] - dt * errors[-1]
        return relaxed

    @operation(lambda *_, **__: ())
    def _check(self, x: Tensor, y: Tensor | None, steps: int, dt: float) -> None:
        _check_inference("PredictiveNetwork.infer", dt, steps)
        first, last = self.layers[0].weight, self.layers[-1].weight
        for name, array, units in (("x", x, first.shape[1]), ("y", y, last.shape[0])):  # type: ignore[index]
            if array is None:
                continue
            shape = (len(x), units)
            if array.ndim != 2 or tuple(array.shape) != shape:
                got, expected = f"{name} {tuple(array.shape)}", f"(samples, units) = {shape}"
                raise InputError("PredictiveNetwork.infer", got=got, expected=expected, fix="Flatten or one-hot it.")
            if not bool(array.isfinite().all()):
                got = f"NaN or infinity in {name}"
                raise InputError("PredictiveNetwork.infer", got=got, expected="finite values", fix="Clean them first.")

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, dt={self.dt}, steps={self.steps}"


def _check_inference(where: str, dt: float, steps: int) -> None:
    if not 0 < dt < float("inf"):
        raise InputError(where, got=f"dt={dt}", expected="a number above 0", fix="Pass dt=0.1.")
    if not (isinstance(steps, int) and steps > 0):
        raise InputError(where, got=f"steps={steps}", expected="a whole number above 0", fix="Pass steps=20.")


@operation(lambda *_, **__: ())
def _warn_if_energy_rose(states: States, dt: float) -> None:
    """Whoever watches the energy pays for it; the network does not."""
    first, last = (0.5 * float(states.history[end].square().sum()) for end in (0, -1))
    if not last <= first * 1.001:
        message = (
            f"PredictiveNetwork.infer: energy rose from {first:.3g} to {last:.3g} with dt={dt:g}. Pass a smaller dt."
        )
        warnings.warn(message, EnergyRose, stacklevel=4)
