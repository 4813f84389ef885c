"""Sparse codes (Olshausen & Field) with a linear readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.coding import l1, solve
from neurosparse.experiments.classification.config import Learned, ModelConfig, count, real
from neurosparse.experiments.classification.inputs import Inputs
from neurosparse.experiments.classification.space import LogUniform, Space

__all__ = ["SparseCodeConfig"]


@dataclass(frozen=True, kw_only=True)
class SparseCodeConfig(ModelConfig):
    """``a = argmin 1/2 ||x - a D||^2 + lambda ||a||_1`` by coordinate descent; logits ``W a + b``.

    Args:
        atoms: rows of the dictionary D.
        code_penalty: lambda.
    """

    family: ClassVar[str] = "sparse-code"
    title: ClassVar[str] = "sparse code"
    space: ClassVar[Space] = {
        **ModelConfig.space,
        "atoms": (64, 128, 256, 512),
        "code_penalty": LogUniform(0.03, 1.0),
    }

    atoms: int = count(256, 10**6)
    code_penalty: float = real(0.1, 1e-9, 1e6)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        (features,) = units
        return SparseCode(features, classes, self.atoms, self.code_penalty)

    def learn(self, model: nn.Module, x: Inputs, y: Tensor, teacher: nn.Module | None = None) -> Learned:
        """Backpropagation into the readout; a local rule for the dictionary."""
        learned = super().learn(model, x, y)
        assert isinstance(model, SparseCode) and isinstance(x, Tensor)
        model.adapt(x, learned.hidden[0])
        return learned


class SparseCode(nn.Module):
    """A dictionary that is learned to reconstruct, and a linear readout that is learned to classify."""

    def __init__(self, features: int, classes: int, atoms: int, code_penalty: float):
        super().__init__()
        self.dictionary = nn.Parameter(F.normalize(torch.randn(atoms, features)), requires_grad=False)
        self.readout = nn.Linear(atoms, classes)
        self.penalty = l1(code_penalty)

    def code(self, x: Tensor) -> Tensor:
        """Coefficients ``(samples, atoms)`` with a relative duality gap of at most one per cent."""
        return solve(x, self.dictionary, self.penalty, "coordinate_descent", tol=1e-2, record_events=False).a

    def forward(self, x: Tensor, hidden: list | None = None) -> Tensor:
        code = self.code(x)
        if hidden is not None:
            hidden.append(code)
        return self.readout(code)

    @torch.no_grad()
    def adapt(self, x: Tensor, code: Tensor, rate: float = 0.1) -> None:
        """Olshausen and Field's rule, then unit norm: ``D_j += rate <a_j (x - a D)> / (<a_j^2> + mean <a^2>)``."""
        power = code.square().mean(0)
        change = code.t() @ (x - code @ self.dictionary) / len(x)
        step = rate * change / (power + power.mean() + 1e-9).unsqueeze(1)
        self.dictionary.copy_(F.normalize(self.dictionary + step))
