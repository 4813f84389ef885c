"""Leaky readout: a leaky integrator without spikes."""

from __future__ import annotations

import math

from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, Operation, dense_of, leak_of, operation, timing_of, with_timing
from neurosparse.events.checks import silence_padding
from neurosparse.events.state import check_level, last_level
from neurosparse.events.timing import refuse_chunk
from neurosparse.kernels.scan.filter import leaky_filter
from neurosparse.neurons.constants import Constants, constant, floating
from neurosparse.neurons.dynamics import SHARE

__all__ = ["Readout"]


class Readout(Constants):
    """Leaky integrators without spikes: ``u[t] = beta u[t-1] + I[t]``.

    Args:
        beta: decay per step, 0..1, a number, one per unit or a Parameter, which is trained and used in its range.

    Returns:
        ``readout(current)``: the membrane ``(steps, samples, *units)``, a tensor; zero beyond a sample's length.

    Raises:
        InputError: beta outside 0..1, a current without steps and samples.

    Example:
        >>> import torch
        >>> Readout(beta=0.5)(torch.ones(3, 1, 1)).flatten().tolist()
        [1.0, 1.5, 1.75]

    Source: Zenke & Ganguli 2018, "SuperSpike"; Bellec et al. 2020, "A solution to the learning dilemma for recurrent
    networks of spiking neurons".
    """

    beta: Tensor

    def __init__(self, beta: float | Tensor = 0.9):
        super().__init__()
        self.hold("beta", constant("Readout", "beta", beta, SHARE, fix="Pass beta=0.9."), SHARE)

    def forward(self, current: Tensor | EventTensor) -> Tensor:
        """The membranes of a whole sequence, from rest."""
        return self.run(current)[0]

    def run(
        self, current: Tensor | EventTensor, state: Tensor | None = None, *, detach: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The same from the membrane ``(samples, *units)`` of the chunk before, and the membrane at the end."""
        if not isinstance(current, Tensor | EventTensor) or len(current.shape) < 3:
            fix = "Time comes first: (25, 128, 10)."
            shape = f"shape {tuple(current.shape)}" if hasattr(current, "shape") else f"type {type(current).__name__}"
            got = f"current of {shape}"
            raise InputError("Readout", got=got, expected="(steps, samples, *units)", fix=fix)
        membrane, last = _integrate(self, current, state)
        return membrane, last.detach() if detach else last

    def constants(self) -> dict[str, Tensor]:
        """The value in use of ``beta``; a learned one with its gradient."""
        return self.values()

    def extra_repr(self) -> str:
        return f"beta={self.beta.item():g}" if not self.beta.ndim else "beta per unit"


def _work(result: tuple[Tensor, Tensor], readout: Readout, *_: object) -> list[Operation]:
    membrane, timing = result[0], timing_of(result[0])
    lengths = None if timing is None else timing.lengths
    rows = math.prod(membrane.shape[:2]) if lengths is None else int(lengths.sum())
    leak = leak_of(readout.in_use("beta", membrane.new_empty(0)))
    return [Operation("neuron", state_updates=rows * math.prod(membrane.shape[2:]), leak=leak)]


@operation(_work)
def _integrate(readout: Readout, current: Tensor | EventTensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    timing = timing_of(current)
    refuse_chunk("Readout.run", timing)
    drive = floating(dense_of(current), readout)
    flat = drive.flatten(2)
    beta = readout.in_use("beta", drive, drive.shape[2:]).reshape(-1)
    start = (
        drive.new_zeros(drive.shape[1:])
        if start is None
        else check_level("Readout", start, drive.shape[1:]).to(drive.dtype)
    )
    membrane = leaky_filter(flat, beta, start.flatten(1)).view(drive.shape)
    last = last_level(membrane, timing, start)
    if timing is None:
        return membrane, last
    return with_timing(silence_padding(membrane, timing), timing), last
