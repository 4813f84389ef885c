"""Foreign modules in inference: a check that a module is a fixed function of each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosparse.events.operation import operation
from neurosparse.predictive.layer import Prediction, PredictiveLayer

__all__ = ["predict_and_compare"]


def predict_and_compare(layer: PredictiveLayer, z: Tensor) -> tuple[Prediction, str]:
    """The prediction of a foreign module, and why the module may not be used in inference: "" if it may.

    The energy has a fixed minimum only if the prediction is the same function of each sample at every step. Batch
    normalisation and dropout in training mode are none. Buffers and random state that the call changed are restored.
    """
    buffers = [(name, buffer, buffer.clone()) for name, buffer in layer.module.named_buffers()]
    random = _random_state(z)
    prediction = layer.predict(z)
    moved = [name for name, buffer, before in buffers if not _same(buffer, before)]
    drawn = not _same(random, _random_state(z))
    reason = ""
    if moved:
        reason = f"changes {', '.join(moved)} at every call"
    elif drawn:
        reason = "draws random numbers at every call"
    elif not _is_repeatable(layer, z, prediction.value):
        reason = "gives a sample another prediction in another call or batch"
    if reason:
        for _, buffer, before in buffers:
            buffer.data.copy_(before)
        _set_random_state(z, random)
    return prediction, reason


@operation(lambda *_, **__: ())
def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())


def _random_state(z: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(z.device) if z.is_cuda else torch.get_rng_state()


def _set_random_state(z: Tensor, state: Tensor) -> None:
    if z.is_cuda:
        torch.cuda.set_rng_state(state, z.device)
    else:
        torch.set_rng_state(state)


@operation(lambda *_, **__: ())
def _is_repeatable(layer: PredictiveLayer, z: Tensor, value: object) -> bool:
    """Whether the first half of the samples alone has the same predictions, but for rounding."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape[:1] != z.shape[:1] or not len(z):
        return True  # refused for another reason
    half = (len(z) + 1) // 2
    again, value = layer.predict(z[:half]).value, value[:half]
    tolerance = torch.finfo(value.dtype).eps ** 0.5
    return torch.allclose(again, value, rtol=tolerance, atol=tolerance * float(value.abs().max()), equal_nan=True)
