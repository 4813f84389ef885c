"""Gated recurrent units (GRU), written out in linear layers so that every product is metered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.events import dense_of, timing_of, with_timing
from neurosparse.events.state import check_level
from neurosparse.events.timing import refuse_chunk

__all__ = ["GRU"]


class GRU(nn.Module):
    """Gated recurrent units driven by what a linear layer of three outputs per unit makes of the input.

    ``r, z = sigmoid(I_rz[t] + W_rz h[t-1]); n = tanh(I_n[t] + r * W_n h[t-1]); h[t] = (1 - z) n + z h[t-1]``.

    Args:
        units: number of units.

    Returns:
        states ``(steps, samples, units)`` for a drive ``(steps, samples, 3 units)``, from rest; a sample that has ended
        keeps its state, without operations.

    Example:
        >>> GRU(4)(torch.zeros(5, 2, 12)).shape
        torch.Size([5, 2, 4])

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", with the reset gate behind the
    product as in cuDNN.
    """

    def __init__(self, units: int):
        super().__init__()
        self.units, self.recurrent = units, nn.Linear(units, 3 * units)

    def forward(self, drive: Tensor) -> Tensor:
        """The states of a whole sequence."""
        return self.run(drive)[0]

    def run(self, drive: Tensor, state: Tensor | None = None, *, detach: bool = True) -> tuple[Tensor, Tensor]:
        """The same from the states ``(samples, units)`` of the chunk before, and the states at the end."""
        drive, timing, shape = dense_of(drive), timing_of(drive), (drive.shape[1], self.units)
        refuse_chunk("GRU.run", timing)
        drive = drive if drive.is_floating_point() else drive.to(self.recurrent.weight.dtype)
        lengths = None if timing is None or timing.lengths is None else timing.lengths.tolist()
        state, states = drive.new_zeros(shape) if state is None else check_level("GRU", state, shape), []
        for step, now in enumerate(drive.unbind(0)):
            alive = None if lengths is None else [i for i, length in enumerate(lengths) if step < length]
            if alive is None or len(alive) == len(state):
                state = self._step(now, state)
            elif alive:
                which = torch.tensor(alive, device=drive.device)
                state = state.index_put((which,), self._step(now[which], state[which]))
            states.append(state)
        out = torch.stack(states) if states else drive.new_zeros(0, *shape)
        return out if timing is None else with_timing(out, timing), state.detach() if detach else state

    def _step(self, drive: Tensor, state: Tensor) -> Tensor:
        reset, update, new = drive.chunk(3, -1)
        from_reset, from_update, from_new = self.recurrent(state).chunk(3, -1)
        reset, update = torch.sigmoid(reset + from_reset), torch.sigmoid(update + from_update)
        new = torch.tanh(new + reset * from_new)
        return new + update * (state - new)
