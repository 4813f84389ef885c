"""Length tuning (end-stopping): the suppression of responses to long bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neurosparse.checks import number, si, tensor
from neurosparse.errors import InputError

__all__ = ["suppression_index"]


def suppression_index(lengths: Sequence[float], responses: Any, long: float) -> np.ndarray:
    """Suppression index ``1 - R(long) / max_L R(L)``: 0 if the long bar has the largest response, 1 if it has none.

    The largest of several responses is biased upwards, so that noise alone gives a small suppression: compare an index
    with that of a control.

    Args:
        lengths: of the bars.
        responses: magnitudes (..., lengths), 0 or more; tensor or array.
        long: the length whose response is compared, one of ``lengths``.

    Returns:
        One index per row of responses, (...); NaN where all responses are 0.

    Raises:
        InputError: another number of lengths than of responses, none of them ``long``, negative responses.

    Example:
        >>> suppression_index([2, 8, 24], [[1.0, 4.0, 1.0], [1.0, 2.0, 2.0]], long=24)
        array([0.75, 0.  ])

    Source: cells that a line stops driving once it is too long: Hubel & Wiesel (1965), "Receptive fields and functional
    architecture in two nonstriate visual areas (18 and 19) of the cat".
    """
    where = "suppression_index"
    given = responses if isinstance(responses, torch.Tensor) else si(where, "responses", responses, "plain numbers")
    axes = ", ".join(["..."] * (given.ndim - 1) + ["lengths"])
    values = tensor(where, "responses", given, axes).detach().cpu().double().numpy()
    lengths = np.atleast_1d(si(where, "lengths", lengths, "plain numbers")).tolist()
    if values.shape[-1] != len(lengths):
        got = f"{len(lengths)} lengths and responses {values.shape}"
        raise InputError(where, got=got, expected="(..., lengths)", fix="Put lengths last.")
    if number(where, "long", long) not in lengths:
        raise InputError(where, got=f"long={long!r}", expected=f"one of {lengths}")
    if not (values >= 0).all():
        raise InputError(where, got="negative responses", expected="magnitudes", fix="Take absolute values.")
    best = values.max(-1)
    share = np.divide(values[..., lengths.index(float(long))], best, out=np.full(best.shape, np.nan), where=best > 0)
    return 1 - share
