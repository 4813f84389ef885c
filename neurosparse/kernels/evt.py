"""Decoders of event cameras: words of EVT 2.0, EVT 3.0 and DAT (Prophesee) to columns of events.

EVT 2.0 and 3.0 encode the time in two parts. The high part is repeated often, and wraps: a decrease from the last 64th
of its range to the first is a wrap, any other decrease is damage. The same holds for the 32 bits of time in DAT. With
``strict`` False, times that decrease are decoded as they are, and the caller decides what to do with them.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["BACKWARDS", "SOUND", "UNKNOWN_WORD", "dat", "evt2", "evt2_state", "evt3", "evt3_state"]

SOUND, BACKWARDS, UNKNOWN_WORD = 0, 1, 2


def evt2_state() -> np.ndarray:
    """Before the first word: high part of the time (-1: none yet), last time; then counts of events that came before
    any time, of triggers and of words of extensions."""
    return np.array([-1, 0, 0, 0, 0], np.int64)


@kernel
def evt2(words, state, strict, time, x, y, polarity):
    """Decode 32-bit words up to the end or to the first invalid one.

    Args: ``words``; ``state``, read and written; ``strict``; columns with room for one event per word.
    Returns: events decoded, words used, and what is wrong with the next.
    """
    high, last, untimed, triggers, extensions = state
    n, wrong, i = 0, 0, 0
    while i < words.size:
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:  # off, on
            if high < 0:
                untimed += 1
            else:
                now = high << 6 | (word >> 22 & 63)
                if strict and now < last:
                    wrong = 1
                    break
                time[n], x[n], y[n], polarity[n] = now, word >> 11 & 2047, word & 2047, kind == 1
                n, last = n + 1, now
        elif kind == 8:  # time, its upper 28 bits
            low28 = word & 0xFFFFFFF
            lap, before = high >> 28, high & 0xFFFFFFF
            if high < 0:
                lap = 0
            elif low28 < before:
                if before >= 0xFC00000 and low28 < 0x400000:
                    lap += 1
                elif strict:
                    wrong = 1
                    break
            high = lap << 28 | low28
        elif kind == 10:
            triggers += 1
        elif kind == 14 or kind == 15:  # an extension and what continues it
            extensions += 1
        else:
            wrong = 2
            break
        i += 1
    state[0], state[1], state[2], state[3], state[4] = high, last, untimed, triggers, extensions
    return n, i, wrong


def evt3_state() -> np.ndarray:
    """As :func:`evt2_state`, then the low part of the time, y (-1: none yet), base x and sign."""
    return np.array([-1, 0, 0, 0, 0, 0, -1, 0, 0], np.int64)


@kernel
def evt3(words, state, strict, time, x, y, polarity):
    """Decode 16-bit words as :func:`evt2` does; columns have room for twelve events per word."""
    high, last, untimed, triggers, extensions, low, row, base, sign = state
    n, wrong, i = 0, 0, 0
    while i < words.size:
        word = np.int64(words[i])
        kind, low12 = word >> 12, word & 4095
        if 2 <= kind <= 5:  # one event; the base of vectors; vectors of 12 and of 8
            if kind <= 3:
                base, sign = low12 & 2047, low12 >> 11
            if kind != 3:
                bits = 1 if kind == 2 else low12 if kind == 4 else low12 & 255
                now = high << 12 | low
                if high < 0 or row < 0:
                    while bits:
                        untimed, bits = untimed + 1, bits & (bits - 1)
                elif strict and bits and now < last:
                    wrong = 1
                    break
                at = base
                while bits:
                    if bits & 1:
                        time[n], x[n], y[n], polarity[n] = now, at, row, sign == 1
                        n, last = n + 1, now
                    bits, at = bits >> 1, at + 1
                if kind != 2:
                    base += 12 if kind == 4 else 8
        elif kind == 6:
            low = low12
        elif kind == 0:
            row = low12 & 2047
        elif kind == 8:
            lap, before = high >> 12, high & 4095
            if high < 0:
                lap = 0
            elif low12 < before:
                if before >= 4032 and low12 < 64:
                    lap += 1
                elif strict:
                    wrong = 1
                    break
            if high != lap << 12 | low12:  # a new high part starts at its first microsecond; a low part follows
                high, low = lap << 12 | low12, 0
        elif kind == 10:
            triggers += 1
        elif kind == 7 or kind == 14 or kind == 15:  # an extension and what continues it
            extensions += 1
        else:
            wrong = 2
            break
        i += 1
    state[0], state[1], state[2], state[3], state[4] = high, last, untimed, triggers, extensions
    state[5], state[6], state[7], state[8] = low, row, base, sign
    return n, i, wrong


@kernel
def dat(words, last, strict, x_bits, y_bits, sign_at, time, x, y, polarity):
    """Decode pairs of 32-bit words (time; from the lowest bit x, y and polarity) until their end or time decreases.

    Args: ``words``; ``last`` time before them; ``strict``; bits of x and y, and the lowest bit of polarity; columns.
    Returns: events decoded.
    """
    lap, before = last >> 32, last & 0xFFFFFFFF
    for i in range(time.size):
        now, address = np.int64(words[2 * i]), np.int64(words[2 * i + 1])
        if now < before:
            if before >= 0xFC000000 and now < 0x4000000:
                lap += 1
            elif strict:
                return i
        time[i], before = lap << 32 | now, now
        x[i], y[i] = address & ((1 << x_bits) - 1), address >> x_bits & ((1 << y_bits) - 1)
        polarity[i] = address >> sign_at > 0
    return time.size
