"""Modules for two nodes of NIR without a counterpart in torch: a factor and a delay per unit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.events import EventTensor, dense_of, operation, timing_of, with_timing
from neurosparse.events.checks import silence_padding
from neurosparse.events.state import Stateless, check_level
from neurosparse.events.timing import refuse_chunk

__all__ = ["Delay", "Scale"]


class Scale(Stateless, nn.Module):
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
        dense = dense_of(input)
        product = dense * self.scale.to(dense)
        return product if timing is None else with_timing(product, timing)


@operation(lambda *_: [])
def _gather(x: Tensor, steps: Tensor, longest: int) -> Tensor:
    """Inputs from the step ``longest`` on, each unit ``steps`` earlier: copies, which a meter does not charge."""
    now = torch.arange(longest, len(x), device=x.device)
    then = now.view(-1, *[1] * steps.dim()) - steps  # (steps, *units)
    return x.gather(0, then.unsqueeze(1).expand(len(now), *x.shape[1:]))


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
        return self.run(input)[0]

    def run(
        self, input: Tensor | EventTensor, state: Tensor | None = None, *, detach: bool = True
    ) -> tuple[Tensor | EventTensor, Tensor]:
        """The same behind the chunk before; the state holds its last inputs ``(longest delay, samples, *units)``."""
        timing = timing_of(input)
        refuse_chunk("Delay.run", timing)
        x = dense_of(input)
        longest = int(self.steps.max()) if self.steps.numel() else 0
        before = (
            x.new_zeros(longest, *x.shape[1:])
            if state is None
            else check_level("Delay", state, (longest, *x.shape[1:]))
        )
        x = torch.cat([before.to(x.dtype), x])
        delayed = _gather(x, self.steps, longest)
        after = x[len(x) - longest :]
        after = after.detach() if detach else after
        if timing is None:
            return delayed, after
        delayed = silence_padding(delayed, timing)
        if not isinstance(input, EventTensor):
            return with_timing(delayed, timing), after
        known = {"t0": input.t0, "lengths": input.lengths, "axis": input.axis}
        return EventTensor.from_dense(delayed, input.dt, **known, spikes=input.binary), after
