"""How much less a cell answers to a long bar than to its best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neurosparse.errors import InputError

__all__ = ["suppression_index"]


def suppression_index(lengths: Sequence[float], responses: Any, long: float) -> np.ndarray:
    """``1 - R(long) / max_L R(L)``: 0 where the long bar is answered best, 1 where it is met with silence.

    The largest of several responses is biased upwards, so that noise alone looks like a little suppression: beside an
    index belongs that of a control.

    Args:
        lengths: of the bars.
        responses: magnitudes (..., lengths), 0 or more; tensor or array.
        long: the length whose response is compared, one of ``lengths``.

    Returns:
        One index for each row of responses, (...); NaN where a cell answers to no bar.

    Raises:
        InputError: another number of lengths than of responses, none of them ``long``, responses below 0.

    Example:
        >>> suppression_index([2, 8, 24], [[1.0, 4.0, 1.0], [1.0, 2.0, 2.0]], long=24)
        array([0.75, 0.  ])

    Source: cells that a line stops driving once it is too long: Hubel & Wiesel (1965), "Receptive fields and functional
    architecture in two nonstriate visual areas (18 and 19) of the cat".
    """
    where = "suppression_index"
    values = responses.detach().cpu().numpy() if isinstance(responses, torch.Tensor) else np.asarray(responses, float)
    if values.ndim < 1 or values.shape[-1] != len(lengths):
        got = f"{len(lengths)} lengths and responses {values.shape}"
        raise InputError(where, got=got, expected="(..., lengths)", fix="Put lengths last.")
    if long not in lengths:
        raise InputError(where, got=f"long={long:g}", expected=f"one of {list(lengths)}")
    if not (values >= 0).all():
        raise InputError(where, got="responses below 0 or NaN", expected="magnitudes", fix="Take absolute values.")
    best = values.max(-1)
    share = np.divide(values[..., list(lengths).index(long)], best, out=np.full(best.shape, np.nan), where=best > 0)
    return 1 - share
