"""k-sparse autoencoder (Makhzani & Frey 2014): a linear code of which only the k largest values are kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurosparse.checks import as_tensor, positive, whole
from neurosparse.coding.kwta import KWTA
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.events.state import Stateless

__all__ = ["KSparseAutoencoder"]


class KSparseAutoencoder(Stateless, nn.Module):
    """``a = kwta(W x + b, k)``, ``y = a W + c``: encoder and decoder share their weights.

    Args:
        features: number of features of a sample.
        atoms: number of hidden units.
        k: number of active units in training mode.
        alpha: ``alpha k`` units are active in evaluation mode.

    Returns:
        Called on ``(samples, features)``: the reconstruction. ``.encode`` gives the code as events.

    Raises:
        InputError: a number out of range.

    Example:
        >>> network = KSparseAutoencoder(20, 50, k=5)
        >>> x = torch.rand(4, 20)
        >>> network(x).shape, network.encode(x).n_events, network.eval().encode(x).n_events
        (torch.Size([4, 20]), 20, 40)

    Source: Makhzani & Frey (2014), "k-sparse autoencoders".
    """

    def __init__(self, features: int, atoms: int, k: int, alpha: float = 2.0):
        super().__init__()
        where = "KSparseAutoencoder"
        features, atoms = whole(where, "features", features), whole(where, "atoms", atoms)
        k, alpha = whole(where, "k", k, 1, atoms), positive(where, "alpha", alpha)
        self.encoder, self.offset = nn.Linear(features, atoms), nn.Parameter(torch.zeros(features))
        self.learning, self.encoding = KWTA(k), KWTA(min(max(1, round(alpha * k)), atoms))

    @property
    def atoms(self) -> Tensor:
        """The dictionary ``(atoms, features)``."""
        return self.encoder.weight.detach()

    def encode(self, x: Tensor) -> EventTensor:
        """The code, ``(1, samples, atoms)``."""
        x = as_tensor("KSparseAutoencoder", "x", x)
        if x.dim() != 2 or x.shape[1] != self.encoder.in_features:
            expected = f"(samples, {self.encoder.in_features})"
            raise InputError("KSparseAutoencoder", got=f"x of shape {tuple(x.shape)}", expected=expected)
        return (self.learning if self.training else self.encoding)(self.encoder(x)[None])

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction."""
        return nn.functional.linear(self.encode(x).dense()[0], self.encoder.weight.t(), self.offset)
