"""Decoders of event cameras: words of EVT 2.0, EVT 3.0 and DAT (Prophesee) to columns of events.

EVT 2.0 and 3.0 encode the time in two parts. The high part is repeated often, and wraps: a decrease from the last 64th
of its range to the first is a wrap, any other decrease is damage. The same holds for the 32 bits of time in DAT.
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["BACKWARDS", "SOUND", "UNKNOWN_WORD", "dat", "evt2", "evt2_state", "evt3", "evt3_state"]

SOUND, BACKWARDS, UNKNOWN_WORD = 0, 1, 2


def evt2_state() -> np.ndarray:
    """Before the first word: high part of the time (-1: none yet), last time, events that came before any time."""
    return np.array([-1, 0, 0], np.int64)


@kernel
def evt2(words, state, time, x, y, polarity):
    """Decode 32-bit words up to the end or to the first invalid one.

    Args: ``words``; ``state``, read and written; columns with room for one event per word.
    Returns: events decoded, words used, and what is wrong with the next.
    """
    high, last, untimed, n = state[0], state[1], state[2], 0
    for i in range(words.size):
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:  # off, on
            if high < 0:
                untimed += 1
                continue
            now = high << 6 | (word >> 22 & 63)
            if now < last:
                state[0], state[1], state[2] = high, last, untimed
                return n, i, 1
            time[n], x[n], y[n], polarity[n] = now, word >> 11 & 2047, word & 2047, kind == 1
            n, last = n + 1, now
        elif kind == 8:  # time, its upper 28 bits
            low28 = word & 0xFFFFFFF
            lap, before = high >> 28, high & 0xFFFFFFF
            if high < 0:
                lap = 0
            elif low28 < before:
                if before < 0xFC00000 or low28 >= 0x400000:
                    state[0], state[1], state[2] = high, last, untimed
                    return n, i, 1
                lap += 1
            high = lap << 28 | low28
        elif kind != 10 and kind != 14 and kind != 15:  # triggers, extensions and continued words hold no pixel
            state[0], state[1], state[2] = high, last, untimed
            return n, i, 2
    state[0], state[1], state[2] = high, last, untimed
    return n, words.size, 0


def evt3_state() -> np.ndarray:
    """Before the first word: high part of the time (-1), last time, untimed events, low part, y (-1), base x, sign."""
    return np.array([-1, 0, 0, 0, -1, 0, 0], np.int64)


@kernel
def evt3(words, state, time, x, y, polarity):
    """Decode 16-bit words as :func:`evt2` does; columns have room for twelve events per word."""
    high, last, untimed, low, row, base, sign = state
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
                elif bits and now < last:
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
                if before < 4032 or low12 >= 64:
                    wrong = 1
                    break
                lap += 1
            if high != lap << 12 | low12:  # a new high part starts at its first microsecond; a low part follows
                high, low = lap << 12 | low12, 0
        elif kind != 7 and kind != 10 and kind != 14 and kind != 15:
            wrong = 2
            break
        i += 1
    state[0], state[1], state[2], state[3], state[4], state[5], state[6] = high, last, untimed, low, row, base, sign
    return n, i, wrong


@kernel
def dat(words, last, time, x, y, polarity):
    """Decode pairs of 32-bit words (time; polarity 4 bits, y 14, x 14) until their end or time runs backwards.

    Returns: events decoded.
    """
    lap, before = last >> 32, last & 0xFFFFFFFF
    for i in range(time.size):
        now, address = np.int64(words[2 * i]), np.int64(words[2 * i + 1])
        if now < before:
            if before < 0xFC000000 or now >= 0x4000000:
                return i
            lap += 1
        time[i], before = lap << 32 | now, now
        x[i], y[i], polarity[i] = address & 16383, address >> 14 & 16383, address >> 28 > 0
    return time.size
