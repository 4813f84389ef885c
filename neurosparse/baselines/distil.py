"""Knowledge distillation: the loss of a network that is trained on the outputs of another one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import as_tensor, number, positive
from neurosparse.errors import InputError

__all__ = ["distillation"]


def distillation(
    logits: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    alpha: float = 0.9,
    temperature: float = 4.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """``alpha T^2 KL(softmax(teacher / T) || softmax(logits / T)) + (1 - alpha) CE(logits, labels)``.

    Args:
        logits: of the network that learns, ``(samples, classes)``.
        teacher: logits of the network it learns from; no gradient reaches them.
        labels: class of each sample.
        alpha: weight of the teacher's outputs, 0 <= alpha <= 1.
        temperature: T above 0; the higher, the more weight the less likely classes have.
        label_smoothing: of the cross entropy.

    Returns:
        the mean over samples, in nats.

    Raises:
        InputError: alpha or temperature out of range, logits of different shapes.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> float(distillation(logits, logits, labels, alpha=1.0))
        0.0

    Source: Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network".
    """
    alpha = number("distillation", "alpha", alpha, 0, 1)
    temperature = positive("distillation", "temperature", temperature)
    logits, teacher = (as_tensor("distillation", *part) for part in (("logits", logits), ("teacher", teacher)))
    labels = as_tensor("distillation", "labels", labels)
    if logits.shape != teacher.shape:
        got, expected = f"teacher {tuple(teacher.shape)}", f"the logits' {tuple(logits.shape)}"
        raise InputError("distillation", got=got, expected=expected, fix="Pass the same batch to the teacher.")
    learned = F.log_softmax(logits / temperature, dim=-1)
    target = F.log_softmax(teacher.detach() / temperature, dim=-1)
    soft = F.kl_div(learned, target, reduction="batchmean", log_target=True)
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return alpha * temperature**2 * soft + (1 - alpha) * hard
