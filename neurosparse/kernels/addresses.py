"""Columns of pixels to sorted addresses of events, for recordings of event cameras."""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["first_decrease", "flatten_pixels", "sort_rows"]


@kernel
def first_decrease(time, last):
    """Index of the first time that is before the one before it (``last`` before the first); -1: none."""
    decreases = time.size > 0 and time[0] < last
    for i in range(time.size - 1):  # with vector instructions, which an early return rules out
        decreases |= time[i + 1] < time[i]
    for i in range(time.size if decreases else 0):
        if time[i] < last:
            return i
        last = time[i]
    return -1


@kernel
def flatten_pixels(x, y, polarity, height, width, index):
    """Flat unit ``(polarity height + y) width + x``; returns how many come before the first one off the sensor."""
    for i in range(x.size):
        if x[i] >= width or y[i] >= height:
            return i
        index[i] = (np.int64(polarity[i]) * height + y[i]) * width + x[i]
    return x.size


@kernel.allocating
def sort_rows(row, index, offset):
    """Sort the events of each row by unit, in place; equal ones keep their order. Returns whether a cell repeats.

    Rows are sorted; an empty ``offset`` means that there are none.
    """
    repeats, start = False, 0
    while start < row.size:
        stop = start + 1
        while stop < row.size and row[stop] == row[start]:
            stop += 1
        if stop - start <= 16:  # a microsecond of a camera
            for i in range(start + 1, stop):
                unit, rest, at = index[i], offset[i] if offset.size else 0, i
                while at > start and index[at - 1] > unit:
                    index[at] = index[at - 1]
                    if offset.size:
                        offset[at] = offset[at - 1]
                    at -= 1
                index[at] = unit
                if offset.size:
                    offset[at] = rest
        else:
            order = np.argsort(index[start:stop], kind="mergesort")
            index[start:stop] = index[start:stop][order]
            if offset.size:
                offset[start:stop] = offset[start:stop][order]
        for i in range(start + 1, stop):
            repeats |= index[i] == index[i - 1]
        start = stop
    return repeats
