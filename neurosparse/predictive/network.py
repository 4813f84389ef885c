"""Predictive coding: each layer predicts the next, and inference relaxes the errors between them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events.operation import operation
from neurosparse.predictive import gradients as local
from neurosparse.predictive.activation import ACTIVATIONS, IDENTITY, SOFTMAX
from neurosparse.predictive.build import (
    check_choice,
    check_exact,
    check_pace,
    check_plan,
    check_precisions,
    modules_of,
    precisions_of,
    priors_of,
    shape_of,
)
from neurosparse.predictive.channel import Channel
from neurosparse.predictive.inference import Plan, relax
from neurosparse.predictive.layer import Layer, Prediction
from neurosparse.predictive.maps import MAPS, map_of
from neurosparse.predictive.problem import Prior, Problem
from neurosparse.predictive.stability import largest_curvature
from neurosparse.predictive.start import begin, check_distribution, check_finite, check_like, clamps
from neurosparse.predictive.states import Lesson, States

__all__ = ["MODES", "ORDERS", "OUTPUTS", "EnergyIncreased", "PredictiveNetwork"]

MODES = ("strict", "fixed_prediction", "z_il", "incremental")
ORDERS = ("act_after", "act_before")
OUTPUTS = ("squared", "cross_entropy")

Clamps = Mapping[int, Tensor | tuple[Tensor, Tensor]]
AfterStep = Callable[[Problem, tuple[Lesson, ...]], None]
Start = str | Sequence[Tensor] | Callable[[Mapping[int, Tensor]], Sequence[Tensor]]


class EnergyIncreased(UserWarning):
    """Inference ended with more energy than it began with: the step is too long.

    Example:
        >>> issubclass(EnergyIncreased, UserWarning)
        True
    """


class PredictiveNetwork(nn.Module):
    r"""A predictive-coding network: states ``z_0 .. z_L``, each predicting the next, and the errors of that.

    ``E = sum_l 0.5 pi_l ||z_l - p_l||^2 - 0.5 log pi_l (+ priors)`` with ``p_l = f(W_l z_{l-1} + b_l)`` ("act_after",
    the last layer without ``f``) or ``p_l = W_l f(z_{l-1}) + b_l`` ("act_before", the first without). Both are the same
    feed-forward network and different energies.

    Called, it is that network: with a free output inference rests there, where every error is silent, so that a
    prediction costs one pass. `infer` relaxes what is not clamped; `learn` turns the errors left over into gradients.

    Args:
        layers: units of every layer, input first; or the modules between them. `nn.Linear` and convolutions are
            differentiated by hand and take the network's activation; any other module is a whole prediction, left to
            autograd, and must be deterministic.
        activation: "tanh", "relu", "identity", "sigmoid" or "softplus".
        order: "act_after" or "act_before".
        output: "squared", or "cross_entropy" of the softmax of the last prediction, where the output is clamped.
        precision: ``pi``: a number, or one for each predicted layer, numbers or tensors that broadcast to its units.
        learn_precision: make ``log pi`` parameters.
        prior: of states, by their number: ``{0: ns.l1(0.1)}``, a penalty of the sparse coders, met by its proximal map.
        dt: inference step, or "auto": one over the largest curvature of the energy (see `stable_dt`).
        steps: inference steps.
        input_shape: units of the first state where it is free; `nn.Linear` knows their number.
        gradients: "hand", or "autograd" for the reference.

    Raises:
        InputError: for what does not fit; the message says what.

    Example:
        >>> network = PredictiveNetwork((4, 8, 3))
        >>> states = network.infer(torch.rand(2, 4), torch.eye(3)[:2])
        >>> bool((network.energy(states) < states.energies[0]).all()), states.events.shape
        (True, (21, 2, 11))
        >>> network.learn(states)
        >>> network.layers[0].weight.grad.shape
        torch.Size([8, 4])

    Source: Rao & Ballard (1999), "Predictive coding in the visual cortex"; Whittington & Bogacz (2017), "An
    approximation of the error backpropagation algorithm in a predictive coding network".
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[nn.Module],
        activation: str = "tanh",
        *,
        order: str = "act_after",
        output: str = "squared",
        precision: float | Sequence[float | Tensor] = 1.0,
        learn_precision: bool = False,
        prior: Mapping[int, Prior] | None = None,
        dt: float | str = "auto",
        steps: int = 20,
        input_shape: Sequence[int] | None = None,
        gradients: str = "hand",
    ):
        super().__init__()
        where = "PredictiveNetwork"
        check_choice(where, "activation", activation, tuple(ACTIVATIONS))
        check_choice(where, "order", order, ORDERS)
        check_choice(where, "output", output, OUTPUTS)
        check_choice(where, "gradients", gradients, ("hand", "autograd"))
        check_pace(where, dt, steps)
        self.layers = modules_of(layers)
        self.activation, self.order, self.output, self.gradients = activation, order, output, gradients
        self.dt, self.steps = dt, steps
        crossed = output == "cross_entropy"
        self.log_precisions = precisions_of(precision, learn_precision, crossed, len(self.layers))
        self.priors = priors_of(prior, len(self.layers))
        first = self.layers[0]
        self.input_shape = shape_of(input_shape) or ((first.in_features,) if isinstance(first, nn.Linear) else None)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction of the last layer: where inference with a free output rests. Differentiable by autograd."""
        for layer in self._chain():
            x = layer.predict(x).value
        return x

    @torch.no_grad()
    def infer(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        *,
        clamp: Clamps | None = None,
        mode: str = "strict",
        start: Start = "forward",
        nudge: float | None = None,
        steps: int | None = None,
        dt: float | str | None = None,
        tol: float = 0.0,
        error_channel: Channel | None = None,
        state_channel: Channel | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        record: bool = True,
        check: bool = True,
        generator: torch.Generator | int = 0,
    ) -> States:
        """Relax the free states, all at once: ``dz_l/dt = -pi_l e_l + (dp_{l+1}/dz_l)^T pi_{l+1} e_{l+1}``.

        Args:
            x: first state, (samples, *units), clamped; None leaves it free.
            y: last state, clamped (or, with ``nudge``, a target); None leaves it free.
            clamp: other states by number, or ``(value, known)`` with a mask: True where the value is known.
            mode: "strict"; "fixed_prediction", predictions and slopes stay those of the start, so that learning equals
                backpropagation; "z_il", strict with a step of 1, where layer l of L learns after L - l steps: the same;
                "incremental", the weights step with the states.
            start: "forward", "zero", "normal", all states themselves, or a function from the clamped values to them.
            nudge: instead of clamping the output, add ``nudge * loss(z_L, y)`` to the energy; may be negative.
            steps, dt: the network's own if not given; ``dt`` beyond ``2 / largest curvature`` is refused.
            tol: the gap at which to stop.
            error_channel, state_channel: how errors and states are sent: `graded`, `delta` or `spiking` of this room;
                None, as they are.
            optimizer: of the weights, for "incremental".
            record: keep all transmissions.
            check: look for NaN and measure the curvature; a training loop that did once may leave it.
            generator: draws a normal start; an int is a seed.

        Returns:
            `States`.

        Raises:
            InputError: for clamps that contradict, shapes that do not fit, NaN or infinity, ``dt`` beyond the bound.
            EnergyIncreased: as a warning, if the energy ended above where it began.

        Example:
            >>> network = PredictiveNetwork((4, 8, 3))
            >>> free = network.infer(torch.rand(2, 4))
            >>> free.events.n_events, bool((free.z[-1] == network(free.z[0])).all())
            (0, True)
        """
        problem, z, predictions = self._pose(x, y, clamp, start, nudge, generator, check)
        plan = Plan(1, None, tol=tol, record=record, error_channel=error_channel, state_channel=state_channel)
        planned = self._plan(problem, plan, mode, start, steps, dt, optimizer)
        if mode in ("strict", "incremental") and (check or planned.dt is None):
            planned = replace(planned, dt=_stable(problem, z, planned.dt))
        states = relax(problem, z, planned, predictions)
        noisy = state_channel is not None and state_channel.spikes  # predictions made of single spikes
        if mode in ("strict", "incremental") and not noisy:
            _warn_if_energy_rose(states)
        return states

    @torch.no_grad()
    def stable_dt(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        *,
        clamp: Clamps | None = None,
        nudge: float | None = None,
    ) -> float:
        """One over the largest curvature of the energy at the start: half of what is stable, where descent is sure.

        Args:
            x, y, clamp, nudge: as for `infer`.

        Returns:
            the inference step that ``dt="auto"`` takes.

        Example:
            >>> network = PredictiveNetwork((4, 8, 3), "identity")
            >>> 0 < network.stable_dt(torch.rand(2, 4), torch.eye(3)[:2]) <= 1
            True
        """
        problem, z, _ = self._pose(x, y, clamp, "forward", nudge, 0, True)
        return _stable(problem, z, None)

    def energy(self, states: States) -> Tensor:
        """The energy of every sample at the given states and the present weights: (samples,). Differentiable.

        The pull of a nudge is no part of it.
        """
        free = [True] * len(states.z)
        problem = Problem(self._chain(states.cross_entropy), self._precisions(), self.priors, free)
        predictions = problem.predictions(states.z)
        return problem.energy(states.z, predictions, problem.errors(states.z, predictions))

    @torch.no_grad()
    def learn(self, states: States, opposite: States | None = None) -> None:
        """Set ``.grad`` of every weight to ``dE/dw``, the mean over samples: local, Hebbian; then step any optimizer.

        Of nudged states it is the gradient over the nudge, which tends to that of the loss as the nudge tends to 0;
        with ``opposite`` the difference of both over that of their nudges: needed where states would not rest in
        silence without a nudge, as under a prior.

        Args:
            states: what `infer` found, before the weights change.
            opposite: states under another nudge, such as the negative one.

        Raises:
            InputError: if ``opposite`` has no other nudge.
        """
        found: local.Gradients = {}
        for seen, scale in zip((states, opposite), local.nudge_scale(states, opposite), strict=True):
            if seen is not None:
                chain = self._chain(seen.cross_entropy)
                local.add(found, local.of_lessons(chain, seen.lessons, scale))
                nudged = seen.nudge is not None
                local.add(found, local.of_precisions(self.log_precisions, seen.lessons, scale, nudged))
        local.write(found)

    def _chain(self, cross_entropy: bool = False) -> tuple[Layer, ...]:
        """The layers with the activations that their order gives them."""
        chain, last = [], len(self.layers) - 1
        for depth, module in enumerate(self.layers):
            by_hand = map_of(module)
            own = ACTIVATIONS[self.activation] if isinstance(module, tuple(MAPS)) else IDENTITY
            before = own if self.order == "act_before" and depth else IDENTITY
            after = own if self.order == "act_after" and depth < last else IDENTITY
            after = SOFTMAX if cross_entropy and depth == last else after
            chain.append(Layer(module, before, after, by_hand if self.gradients == "hand" else None))
        return tuple(chain)

    def _precisions(self) -> list[Tensor | None]:
        known = self.log_precisions
        return [known.get(str(number), None) for number in range(1, len(self.layers) + 1)]

    def _pose(
        self, x: Tensor | None, y: Tensor | None, clamp: Clamps | None, start: Start, nudge: float | None,
        generator: torch.Generator | int, check: bool,
    ) -> tuple[Problem, list[Tensor], list[Prediction] | None]:  # fmt: skip
        """What is to be minimised, and from where."""
        depth, where = len(self.layers), "PredictiveNetwork.infer"
        if nudge is not None and (y is None or not (isinstance(nudge, int | float) and nudge and abs(nudge) < 1e6)):
            got = f"nudge={nudge!r}, y {'missing' if y is None else 'given'}"
            raise InputError(where, got=got, expected="a number other than 0, and y", fix="Pass y and nudge=0.1.")
        given = clamps(depth, x, None if nudge is not None else y, clamp)
        crossed = self.output == "cross_entropy"
        softmax = crossed and depth in given
        if softmax and given[depth].free is not False:
            got = "an output clamped in part under a cross entropy"
            raise InputError(where, got=got, expected="all of it, or none", fix='Pass output="squared".')
        if nudge is not None and depth in given and given[depth].free is False:
            raise InputError(where, got="an output both clamped and nudged", expected="one of both")
        chain = self._chain(softmax)
        z, predictions = begin(chain, given, start, self.input_shape, generator)
        if nudge is not None:
            check_like(y, z[-1], "y")
        check_precisions(self._precisions(), z)
        if crossed and (softmax or nudge is not None):
            check_distribution(z[-1] if softmax else y)
        if check:
            check_finite(z, None if nudge is None else y)
        free = [
            given[number].free if number in given else not (softmax and number == depth) for number in range(depth + 1)
        ]
        return Problem(chain, self._precisions(), self.priors, free, nudge, y, crossed), z, predictions

    def _plan(
        self, problem: Problem, plan: Plan, mode: str, start: Start, steps: int | None, dt: float | str | None,
        optimizer: torch.optim.Optimizer | None,
    ) -> Plan:  # fmt: skip
        """How it is to be minimised: what is left to the network or the mode filled in, all of it checked."""
        where, depth = "PredictiveNetwork.infer", len(self.layers)
        check_choice(where, "mode", mode, MODES)
        check_plan(plan, mode, optimizer, all(layer.map is not None for layer in problem.layers))
        exact = mode in ("fixed_prediction", "z_il")
        if exact:
            check_exact(problem, mode, start)
        if dt is None:
            dt = "auto" if exact else self.dt
        if steps is None:
            steps = max(depth - (mode == "z_il"), 1) if exact else self.steps
        check_pace(where, dt, steps)
        if mode == "z_il" and (dt not in ("auto", 1) or steps < depth - 1):
            got, expected = f"dt={dt}, steps={steps}", f"dt=1 and {depth - 1} steps or more"
            raise InputError(where, got=got, expected=expected, fix="Leave dt and steps to the mode.")
        if exact and not isinstance(dt, str) and dt >= 2:
            raise InputError(where, got=f"dt={dt:g}", expected="dt below 2: beyond it errors grow", fix="Pass dt=1.")
        pace = (1.0 if exact else None) if isinstance(dt, str) else float(dt)
        inner, after_step = "strict" if mode == "incremental" else mode, self._stepper(optimizer)
        return replace(plan, steps=steps, dt=pace, mode=inner, after_step=after_step)

    def _stepper(self, optimizer: torch.optim.Optimizer | None) -> AfterStep | None:
        """Weights and precisions that step with the states."""
        if optimizer is None:
            return None

        def step(problem: Problem, lessons: tuple[Lesson, ...]) -> None:
            nudged = problem.nudge is not None
            scale = 1 / problem.nudge if problem.nudge is not None else 1.0
            found = local.of_lessons(problem.layers, lessons, scale)
            local.write(local.add(found, local.of_precisions(self.log_precisions, lessons, scale, nudged)))
            optimizer.step()

        return step

    def extra_repr(self) -> str:
        parts = f"activation={self.activation!r}, order={self.order!r}, output={self.output!r}"
        return f"{parts}, dt={self.dt}, steps={self.steps}"


@operation(lambda *_, **__: ())
def _stable(problem: Problem, z: list[Tensor], dt: float | None) -> float:
    """The step, if it is stable, or one that is. Choosing it is tuning, which a meter does not charge."""
    curvature = largest_curvature(problem, z)
    if dt is None:
        return 1 / curvature if curvature > 0 else 1.0
    if dt * curvature > 2:
        got, expected = f"dt={dt:g}", f"at most 2 / curvature = {2 / curvature:.3g}: beyond it errors grow"
        raise InputError("PredictiveNetwork.infer", got=got, expected=expected, fix='Pass dt="auto".')
    return dt


@operation(lambda *_, **__: ())
def _warn_if_energy_rose(states: States) -> None:
    """Whoever watches the energy pays for it; the network does not."""
    first, last = float(states.energies[0].sum()), float(states.energies[-1].sum())
    if not last <= first + 1e-3 * abs(first):
        message = f"energy rose from {first:.3g} to {last:.3g} with dt={states.dt:g}. Pass a smaller dt."
        warnings.warn(f"PredictiveNetwork.infer: {message}", EnergyIncreased, stacklevel=5)
