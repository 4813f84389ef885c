"""The k-sparse autoencoder: a linear code of which only the k largest survive."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.coding.kwta import KWTA
from neurosparse.errors import InputError
from neurosparse.events import EventTensor

__all__ = ["KSparseAutoencoder"]


class KSparseAutoencoder(nn.Module):
    """``a = kwta(W x + b, k)``, ``y = a W + c``: encoder and decoder share their weights.

    Args:
        features: of a sample.
        atoms: hidden units.
        k: of them that survive while it learns.
        alpha: ``alpha k`` survive when it encodes in evaluation mode.

    Returns:
        Called on ``(samples, features)``: the reconstruction. ``.encode`` gives the code as events.

    Raises:
        InputError: k or alpha out of range.

    Example:
        >>> network = KSparseAutoencoder(20, 50, k=5)
        >>> x = torch.rand(4, 20)
        >>> network(x).shape, network.encode(x).n_events, network.eval().encode(x).n_events
        (torch.Size([4, 20]), 20, 40)

    Source: Makhzani & Frey (2014), "k-sparse autoencoders".
    """

    def __init__(self, features: int, atoms: int, k: int, alpha: float = 2.0):
        super().__init__()
        if not (1 <= k <= atoms and alpha > 0):
            raise InputError(
                "KSparseAutoencoder", got=f"k={k}, alpha={alpha}", expected=f"1 <= k <= {atoms}, alpha > 0"
            )
        self.encoder, self.offset = nn.Linear(features, atoms), nn.Parameter(torch.zeros(features))
        self.learning, self.encoding = KWTA(k), KWTA(min(max(1, round(alpha * k)), atoms))

    @property
    def atoms(self) -> Tensor:
        """The dictionary ``(atoms, features)``."""
        return self.encoder.weight.detach()

    def encode(self, x: Tensor) -> EventTensor:
        """The code, ``(1, samples, atoms)``."""
        return (self.learning if self.training else self.encoding)(self.encoder(x)[None])

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction."""
        return nn.functional.linear(self.encode(x).dense()[0], self.encoder.weight.t(), self.offset)
