"""e-prop: an online learning rule with eligibility traces and broadcast errors; time is not unrolled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, dense_of
from neurosparse.events.checks import silence_padding
from neurosparse.neurons import LIF, Readout

__all__ = ["eprop"]


@torch.no_grad()
def eprop(network: nn.Sequential, x: EventTensor | Tensor, target: Tensor, feedback: Tensor | None = None) -> Tensor:
    r"""Add the e-prop gradient of a regression loss to ``.grad`` of a network's weights.

    For ``E = 1/2 sum over t of |y[t] - target[t]|^2`` and readout decay ``kappa``:
    ``dE/dW_ji = sum over t of L_j[t] F_kappa(psi_j[t] eps_i[t])``, with ``eps_i[t] = beta eps_i[t-1] + x_i[t]``,
    ``psi`` the surrogate's derivative and the learning signal ``L_j[t] = sum over k of B_jk (y_k[t] - target_k[t])``:
    everything runs forward in time. Without recurrent weights and with ``B`` the readout's own weights this is the
    exact gradient; with them it leaves out the later effect of a spike on other units.

    Args:
        network: ``nn.Sequential(nn.Linear, LIF, nn.Linear, Readout)``; the LIF may have ``recurrent=nn.Linear(n, n)``.
        x: ``(steps, samples, inputs)``; steps beyond a sample's length are left out.
        target: ``(steps, samples, outputs)``.
        feedback: ``B (units, outputs)``; default: the readout weights, transposed (symmetric e-prop).

    Returns:
        the loss, summed over steps and averaged over samples.

    Raises:
        InputError: another network, or neurons with a decay per unit, dynamics, a wait or a delayed reset.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 8), LIF(beta=0.9), nn.Linear(8, 2), Readout(0.8))
        >>> loss = eprop(network, torch.ones(10, 3, 4), torch.zeros(10, 3, 2))
        >>> network[0].weight.grad.shape
        torch.Size([8, 4])

    Source: Bellec et al. 2020, "A solution to the learning dilemma for recurrent networks of spiking neurons", eq. 1-5.
    """
    linear, lif, out, readout = _parts(network)
    trace = lif.trace(linear(x))
    signal, spikes = dense_of(x).to(linear.weight.dtype), trace.events.dense()
    slope = lif.surrogate.derivative(dense_of(trace.membrane) - lif.in_use("threshold", signal))
    error = silence_padding(dense_of(readout(out(trace.events))) - dense_of(target), trace.events.timing)
    to_units = error @ (out.weight if feedback is None else feedback.t())
    steps, samples = signal.shape[:2]
    scale, kappa, beta = 1 / max(samples, 1), float(readout.in_use("beta")), float(lif.in_use("beta"))
    ones = torch.ones_like(signal[..., :1])
    inputs = torch.cat([signal, ones] if linear.bias is not None else [signal], -1)
    _add(linear, _eligible(inputs, slope, to_units, beta, kappa) * scale)
    if isinstance(lif.recurrent, nn.Linear):
        before = torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]])
        with_bias = torch.cat([before, ones], -1) if lif.recurrent.bias is not None else before
        _add(lif.recurrent, _eligible(with_bias, slope, to_units, beta, kappa) * scale)
    sent = torch.cat([spikes, ones], -1) if out.bias is not None else spikes
    level, gradient = sent.new_zeros(sent.shape[1:]), torch.zeros(error.shape[2], sent.shape[2], dtype=sent.dtype)
    for t in range(steps):
        level = kappa * level + sent[t]
        gradient += error[t].t() @ level
    _add(out, gradient * scale)
    return 0.5 * error.square().sum() * scale


def _parts(network: nn.Sequential) -> tuple[nn.Linear, LIF, nn.Linear, Readout]:
    kinds = (nn.Linear, LIF, nn.Linear, Readout)
    layers = list(network)
    if len(layers) != 4 or any(not isinstance(a, b) for a, b in zip(layers, kinds, strict=True)):
        got = ", ".join(type(layer).__name__ for layer in layers)
        raise InputError("eprop", got=got, expected="nn.Sequential(nn.Linear, LIF, nn.Linear, Readout)")
    lif = layers[1]
    assert isinstance(lif, LIF) and isinstance(layers[3], Readout)
    constants = [lif.beta, layers[3].beta, lif.threshold, *lif.surrogate.parameters()]
    other = any(beta is None or beta.ndim for beta in constants[:2])
    trained = any(part is not None and part.requires_grad for part in constants)
    if other or trained or lif.dynamics is not None or lif.refractory or lif.delayed_reset or lif.reset == "zero":
        expected = "constants that are numbers, reset 'subtract' or 'none', no dynamics, no wait"
        raise InputError("eprop", got=str(lif), expected=expected)
    return layers[0], lif, layers[2], layers[3]  # type: ignore[return-value]


def _eligible(inputs: Tensor, slope: Tensor, signal: Tensor, beta: float, kappa: float) -> Tensor:
    """Sum over steps and samples of the learning signal times the filtered eligibility ``(units, inputs)``."""
    samples, units = slope.shape[1:]
    arrived = inputs.new_zeros(inputs.shape[1:])
    eligibility = inputs.new_zeros(samples, units, inputs.shape[2])
    gradient = inputs.new_zeros(units, inputs.shape[2])
    for t in range(len(inputs)):
        arrived = beta * arrived + inputs[t]
        eligibility = kappa * eligibility + slope[t].unsqueeze(2) * arrived.unsqueeze(1)
        gradient += torch.einsum("bj,bji->ji", signal[t], eligibility)
    return gradient


def _add(linear: nn.Linear, gradient: Tensor) -> None:
    parts = [(linear.weight, gradient[:, : linear.in_features])]
    if linear.bias is not None:
        parts.append((linear.bias, gradient[:, -1]))
    for weight, found in parts:
        weight.grad = found.clone() if weight.grad is None else weight.grad + found
