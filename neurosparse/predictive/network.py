"""Predictive coding: each layer predicts the next; inference descends the energy of the prediction errors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurosparse.checks import number, one_of
from neurosparse.errors import InputError
from neurosparse.predictive import gradients as local
from neurosparse.predictive.build import modules_of, precisions_of, priors_of, shape_of
from neurosparse.predictive.channel import Channel
from neurosparse.predictive.checks import (
    EXACT,
    INFER,
    NETWORK,
    check_distribution,
    check_exact,
    check_finite,
    check_like,
    check_nudge,
    check_plan,
    check_precisions,
    check_states,
    check_steps,
    describe,
    predict,
)
from neurosparse.predictive.inference import InferencePlan
from neurosparse.predictive.layer import ACTIVATIONS, IDENTITY, SOFTMAX, Prediction, PredictiveLayer
from neurosparse.predictive.maps import MAPS, map_of
from neurosparse.predictive.problem import Prior, RelaxationProblem
from neurosparse.predictive.stability import relax_stably, stable_step
from neurosparse.predictive.start import Start, initial_states, read_clamps
from neurosparse.predictive.states import LayerTerms, States

__all__ = ["MODES", "ORDERS", "OUTPUTS", "PredictiveNetwork"]

MODES = ("strict", "fixed_prediction", "z_il", "incremental")
ORDERS = ("act_after", "act_before")
OUTPUTS = ("squared", "cross_entropy")

Clamps = Mapping[int, Tensor | tuple[Tensor, Tensor]]
AfterStep = Callable[[RelaxationProblem, tuple[LayerTerms, ...]], None]


class PredictiveNetwork(nn.Module):
    r"""A predictive-coding network: states ``z_0 .. z_L``, each predicting the next, and the prediction errors.

    ``E = sum_l 0.5 pi_l ||z_l - p_l||^2 - 0.5 log pi_l (+ priors)`` with ``p_l = f(W_l z_{l-1} + b_l)`` ("act_after",
    the last layer without ``f``) or ``p_l = W_l f(z_{l-1}) + b_l`` ("act_before", the first without). Both are the same
    feed-forward network and different energies.

    A call is the feed-forward pass: with an unclamped output all errors are 0 there, so it is the equilibrium of
    inference. `infer` relaxes the unclamped states; `learn` computes gradients from the remaining errors.

    Args:
        layers: units of every layer, input first; or the modules between them. `nn.Linear`, convolutions and
            transposed convolutions are differentiated by hand and take the network's activation; any other module is a
            prediction of its own, differentiated by autograd. It maps (samples, *units) to (samples, *units) and must
            be a fixed function of each sample: batch normalisation and dropout only in evaluation mode.
        activation: "tanh", "relu", "identity", "sigmoid" or "softplus".
        order: "act_after" or "act_before".
        output: "squared", or "cross_entropy" of the softmax of the last prediction, where the output is clamped.
        precision: ``pi``: a number, or one for each predicted layer, numbers or tensors that broadcast to its units.
        learn_precision: make ``log pi`` parameters.
        prior: of states, by their number: ``{0: ns.l1(0.1)}``, a penalty of the sparse coders; its proximal map is
            applied after every gradient step.
        dt: inference step, or "auto": one over the largest curvature of the energy (see `stable_dt`).
        steps: inference steps.
        input_shape: units of the first state, needed where it is unclamped and the first layer is no `nn.Linear`.
        gradients: "hand", or "autograd" for the reference.

    Raises:
        InputError: an argument of another kind or out of range.

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
        self.activation = one_of(NETWORK, "activation", activation, tuple(ACTIVATIONS))
        self.order = one_of(NETWORK, "order", order, ORDERS)
        self.output = one_of(NETWORK, "output", output, OUTPUTS)
        self.gradients = one_of(NETWORK, "gradients", gradients, ("hand", "autograd"))
        self.dt, self.steps = check_steps(NETWORK, dt, steps)
        self.layers = modules_of(layers)
        crossed = output == "cross_entropy"
        self.log_precisions = precisions_of(precision, learn_precision, crossed, len(self.layers))
        self.priors = priors_of(prior, len(self.layers))
        first = self.layers[0]
        self.input_shape = shape_of(input_shape) or ((first.in_features,) if isinstance(first, nn.Linear) else None)

    def forward(self, x: Tensor) -> Tensor:
        """The feed-forward pass, differentiable by autograd: (samples, *units) -> (samples, *units of the output).

        Raises:
            InputError: no tensor, no axis of samples, units that a layer refuses.
        """
        if not isinstance(x, Tensor) or x.dim() < 2:
            fix = "The first axis is that of the samples: x[None] is one sample."
            raise InputError(NETWORK, got=f"x {describe(x)}", expected="a tensor (samples, *units)", fix=fix)
        for depth, layer in enumerate(self._predictive_layers(), 1):
            x = predict(NETWORK, layer, x, depth).value
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
        """Relax the unclamped states, all at once: ``dz_l/dt = -pi_l e_l + (dp_{l+1}/dz_l)^T pi_{l+1} e_{l+1}``.

        Args:
            x: first state, (samples, *units), clamped; None leaves it unclamped.
            y: last state, clamped (or, with ``nudge``, a target); None leaves it unclamped.
            clamp: other states by number, or ``(value, known)`` with a mask: True where the value is known.
            mode: "strict"; "fixed_prediction", predictions and slopes stay those of the start, so that learning equals
                backpropagation; "z_il", strict with a step of 1, where layer l of L learns after L - l steps: the same;
                "incremental", the weights step with the states.
            start: "forward", "zero", "normal", all states themselves, or a function from the clamped values to them.
            nudge: instead of clamping the output, add ``nudge * loss(z_L, y)`` to the energy; may be negative.
            steps, dt: the network's own if not given. A ``dt`` beyond 2 over the largest curvature is refused at once.
                If the energy rises, the run is undone: with a given ``dt`` it is refused, with "auto" repeated with
                half the step.
            tol: the gap at which to stop.
            error_channel, state_channel: how errors and states are sent: `graded`, `delta` or `spiking` of
                ``ns.predictive``; None, as values at every step.
            optimizer: of the weights, for "incremental".
            record: keep all transmissions.
            check: test the input for NaN, and a given ``dt`` against the curvature. A training loop may leave it out
                for most batches; the energy of the run is compared in any case.
            generator: draws a normal start; an int is a seed.

        Returns:
            `States`.

        Raises:
            InputError: a state clamped twice, shapes that do not fit, NaN or infinity, a step that is too long, a
                module that is no fixed function of each sample.
            EnergyIncreased: as a warning, if the run was repeated with a shorter step, or if channels raise the energy.

        Example:
            >>> network = PredictiveNetwork((4, 8, 3))
            >>> free = network.infer(torch.rand(2, 4))
            >>> free.events.n_events, bool((free.z[-1] == network(free.z[0])).all())
            (0, True)
        """
        problem, z, predictions = self._make_problem(x, y, clamp, start, nudge, generator, check)
        tol = number(INFER, "tol", tol, 0, fix="Pass tol=1e-6.")
        plan = InferencePlan(1, None, tol=tol, record=record, error_channel=error_channel, state_channel=state_channel)
        planned = self._make_plan(problem, plan, mode, start, steps, dt, optimizer)
        automatic = planned.dt is None
        if mode not in EXACT and (check or automatic):
            planned = replace(planned, dt=stable_step(problem, z, planned.dt, predictions))
        return relax_stably(problem, z, planned, predictions, automatic, self._undo(optimizer))

    @torch.no_grad()
    def stable_dt(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        *,
        clamp: Clamps | None = None,
        nudge: float | None = None,
    ) -> float:
        """One over the largest curvature of the energy at the start: half the largest stable step.

        For a quadratic energy it falls at every step of this length.

        Args:
            x, y, clamp, nudge: as for `infer`.

        Returns:
            the inference step that ``dt="auto"`` takes.

        Example:
            >>> network = PredictiveNetwork((4, 8, 3), "identity")
            >>> 0 < network.stable_dt(torch.rand(2, 4), torch.eye(3)[:2]) <= 1
            True
        """
        problem, z, predictions = self._make_problem(x, y, clamp, "forward", nudge, 0, True)
        return stable_step(problem, z, None, predictions)

    def energy(self, states: States) -> Tensor:
        """The energy of every sample at the given states and the present weights: (samples,). Differentiable.

        The term of a nudge is not included.

        Raises:
            InputError: anything but `States`.
        """
        check_states("PredictiveNetwork.energy", states)
        unclamped = [True] * len(states.z)
        layers = self._predictive_layers(states.cross_entropy)
        problem = RelaxationProblem(layers, self._precisions(), self.priors, unclamped)
        predictions = problem.predictions(states.z)
        return problem.energy(states.z, predictions, problem.errors(states.z, predictions))

    @torch.no_grad()
    def learn(self, states: States, opposite: States | None = None) -> None:
        """Set ``.grad`` of every weight to ``dE/dw``, the mean over samples: local, Hebbian; then step any optimizer.

        For nudged states it is the gradient divided by the nudge, which tends to that of the loss as the nudge tends
        to 0. With ``opposite`` it is the difference of both gradients divided by the difference of the nudges: needed
        where errors are not 0 at equilibrium without a nudge, as under a prior.

        Args:
            states: of `infer`, before the weights change.
            opposite: states under another nudge, such as the negative one.

        Raises:
            InputError: if ``opposite`` has the same nudge; anything but `States`.
        """
        found: local.Gradients = {}
        for part in (states,) if opposite is None else (states, opposite):
            check_states("PredictiveNetwork.learn", part)
        for part, scale in zip((states, opposite), local.nudge_scales(states, opposite), strict=True):
            if part is not None:
                layers = self._predictive_layers(part.cross_entropy)
                local.add(found, local.of_weights(layers, part.terms, scale))
                nudged = part.nudge is not None
                local.add(found, local.of_precisions(self.log_precisions, part.terms, scale, nudged))
        local.write(found)

    def _predictive_layers(self, cross_entropy: bool = False) -> tuple[PredictiveLayer, ...]:
        """The layers with the activations of the network's order."""
        layers, last = [], len(self.layers) - 1
        for depth, module in enumerate(self.layers):
            by_hand = map_of(module)
            own = ACTIVATIONS[self.activation] if isinstance(module, tuple(MAPS)) else IDENTITY
            before = own if self.order == "act_before" and depth else IDENTITY
            after = own if self.order == "act_after" and depth < last else IDENTITY
            after = SOFTMAX if cross_entropy and depth == last else after
            layers.append(PredictiveLayer(module, before, after, by_hand if self.gradients == "hand" else None))
        return tuple(layers)

    def _precisions(self) -> list[Tensor | None]:
        known = self.log_precisions
        return [known.get(str(number), None) for number in range(1, len(self.layers) + 1)]

    def _make_problem(
        self, x: Tensor | None, y: Tensor | None, clamp: Clamps | None, start: Start, nudge: float | None,
        seed: torch.Generator | int, check: bool,
    ) -> tuple[RelaxationProblem, list[Tensor], list[Prediction] | None]:  # fmt: skip
        """The energy to minimise, the states before the first step, and their predictions if computed already."""
        depth = len(self.layers)
        nudge = None if nudge is None else check_nudge(nudge, y)
        given = read_clamps(depth, x, None if nudge is not None else y, clamp)
        crossed = self.output == "cross_entropy"
        softmax = crossed and depth in given
        if softmax and given[depth].unclamped is not False:
            got = "an output clamped in part under a cross entropy"
            raise InputError(INFER, got=got, expected="all of it, or none", fix='Pass output="squared".')
        if nudge is not None and depth in given and given[depth].unclamped is False:
            raise InputError(INFER, got="an output both clamped and nudged", expected="one of both")
        layers = self._predictive_layers(softmax)
        z, predictions = initial_states(layers, given, start, self.input_shape, seed)
        if nudge is not None:
            check_like(y, z[-1], "y")
        check_precisions(self._precisions(), z)
        if crossed and (softmax or nudge is not None):
            check_distribution(z[-1] if softmax else y)
        if check:
            check_finite(z, None if nudge is None else y)
        unclamped = [
            given[state].unclamped if state in given else not (softmax and state == depth) for state in range(depth + 1)
        ]
        problem = RelaxationProblem(layers, self._precisions(), self.priors, unclamped, nudge, y, crossed)
        return problem, z, predictions

    def _make_plan(
        self, problem: RelaxationProblem, plan: InferencePlan, mode: str, start: Start, steps: int | None,
        dt: float | str | None, optimizer: torch.optim.Optimizer | None,
    ) -> InferencePlan:  # fmt: skip
        """The plan with the defaults of the network or of the mode filled in, and checked."""
        depth = len(self.layers)
        one_of(INFER, "mode", mode, MODES)
        check_plan(plan, mode, optimizer, all(layer.map is not None for layer in problem.layers))
        exact = mode in EXACT
        if exact:
            check_exact(problem, mode, start)
        if dt is None:
            dt = "auto" if exact else self.dt
        if steps is None:
            steps = max(depth - (mode == "z_il"), 1) if exact else self.steps
        dt, steps = check_steps(INFER, dt, steps)
        if mode == "z_il" and (dt not in ("auto", 1) or steps < depth - 1):
            got, expected = f"dt={dt}, steps={steps}", f"dt=1 and {depth - 1} steps or more"
            raise InputError(INFER, got=got, expected=expected, fix="Leave out dt and steps.")
        if exact and not isinstance(dt, str) and dt >= 2:
            raise InputError(INFER, got=f"dt={dt:g}", expected="dt below 2: beyond it errors grow", fix="Pass dt=1.")
        chosen = (1.0 if exact else None) if isinstance(dt, str) else dt
        inner, after_step = "strict" if mode == "incremental" else mode, self._after_step(optimizer)
        return replace(plan, steps=steps, dt=chosen, mode=inner, after_step=after_step)

    def _after_step(self, optimizer: torch.optim.Optimizer | None) -> AfterStep | None:
        """A step of weights and precisions after every step of the states."""
        if optimizer is None:
            return None

        def step(problem: RelaxationProblem, terms: tuple[LayerTerms, ...]) -> None:
            nudged = problem.nudge is not None
            scale = 1 / problem.nudge if problem.nudge is not None else 1.0
            found = local.of_weights(problem.layers, terms, scale)
            local.write(local.add(found, local.of_precisions(self.log_precisions, terms, scale, nudged)))
            optimizer.step()

        return step

    def _undo(self, optimizer: torch.optim.Optimizer | None) -> Callable[[], None]:
        """A function that restores the present weights, their gradients and the state of the optimizer."""
        if optimizer is None:
            return lambda: None
        groups = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        kept = {p: (p.detach().clone(), p.grad) for p in (*self.parameters(), *groups)}
        state = copy.deepcopy(optimizer.state_dict())

        def undo() -> None:
            for parameter, (value, gradient) in kept.items():
                parameter.copy_(value)
                parameter.grad = gradient
            optimizer.load_state_dict(copy.deepcopy(state))

        return undo

    def extra_repr(self) -> str:
        parts = f"activation={self.activation!r}, order={self.order!r}, output={self.output!r}"
        return f"{parts}, dt={self.dt}, steps={self.steps}"
