"""Order of a projection's synapses in memory: by source, part of the target, delay; targets ascend within."""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["arrange"]


@kernel.allocating
def _arrange(row_pointer, target, delay, shortest, bounds, n_delays, pointer, order):
    stride = (bounds.shape[0] - 1) * n_delays
    cursor = np.empty(stride, dtype=np.int64)
    for row in range(row_pointer.shape[0] - 1):
        base = row * stride
        for filling in range(2):
            part = 0
            for j in range(row_pointer[row], row_pointer[row + 1]):
                if j > row_pointer[row] and target[j] < target[j - 1]:
                    part = 0
                while target[j] >= bounds[part + 1]:
                    part += 1
                steps = delay[j] - shortest if n_delays > 1 else 0
                key = part * n_delays + steps
                if filling == 0:
                    pointer[base + key + 1] += 1
                else:
                    order[cursor[key]] = j
                    cursor[key] += 1
            if filling == 0:
                for key in range(stride):
                    cursor[key] = pointer[base + key]
                    pointer[base + key + 1] += pointer[base + key]
                if n_delays == 1:
                    break


def arrange(
    row_pointer: np.ndarray,
    target: np.ndarray,
    delay: np.ndarray | None,
    shortest: int,
    longest: int,
    bounds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pointers of the rows (source, part, delay), and the former place of each synapse (None: the same order).

    Args:
        row_pointer: (sources + 1).
        target: (synapses), ascending within a source.
        delay: (synapses) in steps; None if all have the shortest.
        shortest, longest: the range of the delays.
        bounds: (parts + 1), the neurons of each part.
    """
    if delay is None and len(bounds) == 2:
        return row_pointer, None
    n_delays = longest - shortest + 1
    pointer = np.zeros((len(row_pointer) - 1) * (len(bounds) - 1) * n_delays + 1, dtype=np.int64)
    order = np.empty(len(target) if n_delays > 1 else 0, dtype=np.int64)
    given = np.zeros(0, dtype=np.int64) if delay is None else delay
    _arrange(row_pointer, target, given, shortest, bounds, n_delays, pointer, order)
    return pointer, order if n_delays > 1 else None
