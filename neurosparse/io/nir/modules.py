"""Modules for two nodes of NIR without a counterpart in torch: a factor and a delay per unit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, timing_of
from neurosparse.events.timing import with_timing

__all__ = ["Delay", "Scale"]


class Scale(nn.Module):
    """A factor per unit: ``y = scale x``.

    Args:
        scale: ``(units)``; a Parameter is trained.

    Returns:
        ``scale(input)``: a tensor of the input's shape.

    Example:
        >>> Scale(torch.tensor([1.0, 2.0]))(torch.ones(1, 1, 2)).tolist()
        [[[1.0, 2.0]]]

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation".
    """

    def __init__(self, scale: Tensor):
        super().__init__()
        scale = scale if isinstance(scale, Tensor) else torch.from_numpy(np.array(scale))
        if not isinstance(scale, nn.Parameter):
            self.register_buffer("scale", scale)
        self.scale = scale

    def forward(self, input: Tensor | EventTensor) -> Tensor:
        timing = timing_of(input)
        dense = input.dense() if isinstance(input, EventTensor) else input
        product = dense * self.scale.to(dense)
        return product if timing is None else with_timing(product, timing)


class Delay(nn.Module):
    """A delay per unit in whole steps: ``y[t] = x[t - steps]``, and 0 for the first steps.

    Args:
        steps: integers ``(units)``, 0 or more. Events delayed beyond a sample's length are lost.

    Returns:
        ``delay(input)``: events for events, a tensor for a tensor, of the same shape.

    Raises:
        InputError: negative or fractional steps.

    Example:
        >>> Delay(torch.tensor([0, 1]))(torch.ones(2, 1, 2)).tolist()
        [[[1.0, 0.0]], [[1.0, 1.0]]]

    Source: Pedersen et al. 2024, "Neuromorphic intermediate representation".
    """

    steps: Tensor

    def __init__(self, steps: Tensor):
        super().__init__()
        steps = steps if isinstance(steps, Tensor) else torch.from_numpy(np.array(steps))
        if steps.is_floating_point() or steps.dtype == torch.bool or bool((steps < 0).any()):
            raise InputError("io.nir.Delay", got=f"steps={steps.tolist()}", expected="whole steps, 0 or more")
        self.register_buffer("steps", steps.long())

    def forward(self, input: Tensor | EventTensor) -> Tensor | EventTensor:
        timing = timing_of(input)
        x = input.dense() if isinstance(input, EventTensor) else input
        now = torch.arange(len(x), device=x.device)
        then = now.view(-1, *[1] * self.steps.dim()) - self.steps  # (steps, *units)
        valid = (then >= 0).unsqueeze(1)
        if timing is not None and timing.lengths is not None:
            valid = valid & (now[:, None] < timing.lengths).view(len(x), -1, *[1] * self.steps.dim())
        delayed = x.gather(0, then.clamp(min=0).unsqueeze(1).expand(x.shape))
        delayed = torch.where(valid, delayed, torch.zeros_like(delayed))
        if not isinstance(input, EventTensor):
            return delayed if timing is None else with_timing(delayed, timing)
        known = {"t0": input.t0, "lengths": input.lengths, "axis": input.axis}
        return EventTensor.from_dense(delayed, input.dt, **known, spikes=input.binary)
