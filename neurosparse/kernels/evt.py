"""Decoders of event cameras: words of EVT 2.0, EVT 3.0, DAT (Prophesee) and AEDAT4 (iniVation) to columns of events.

EVT 2.0 and 3.0 encode the time in two parts. The high part is repeated often, and wraps: a decrease from the last 64th
of its range to the first is a wrap, any other decrease is damage. The same holds for the 32 bits of time in DAT. With
``strict`` False, times that decrease are decoded as they are, and the caller decides what to do with them.

Each decoder has two loops. The first one packs what an event holds into 64 bits and stores it in the column of times.
It does not branch on the kinds of words that are usual, whose order no processor predicts well. The second loop unpacks
columns with vector instructions. The same in one loop took 2.6 (EVT 2.0) and 1.6 times as long (EVT 3.0; measured).
"""

from __future__ import annotations

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = [
    "BACKWARDS",
    "SOUND",
    "UNKNOWN_WORD",
    "UNORDERED",
    "aedat",
    "dat",
    "evt2",
    "evt2_state",
    "evt3",
    "evt3_state",
]

SOUND, BACKWARDS, UNKNOWN_WORD, UNORDERED = 0, 1, 2, 3
EVENT, BASE, VECTOR12, VECTOR8, TIME_LOW, ROW, TIME_HIGH = 2, 3, 4, 5, 6, 0, 8  # kinds of words of EVT 3.0
USUAL = 1 << EVENT | 1 << TIME_LOW | 1 << ROW
# Places in the packed event of EVT 3.0: x up to 2047 and the sign, as in its words; y, further bits of x, and the time.
Y_AT, FURTHER_AT, LOW_AT, HIGH_AT = 12, 23, 28, 40


def evt2_state() -> np.ndarray:
    """Before the first word: high part of the time (-1: none yet); counts of events that came before any time, of
    triggers and of words of extensions; last time."""
    return np.array([-1, 0, 0, 0, 0], np.int64)


@kernel
def evt2(words, state, strict, time, x, y, polarity):
    """Decode 32-bit words up to the end or to the first invalid one.

    Args: ``words``; ``state``, read and written; ``strict``; columns with room for one event per word.
    Returns: events decoded, words used, and what is wrong with the next (``UNORDERED``: with one of these).
    """
    high, untimed, triggers, extensions, last = state
    n, done, wrong, i, decreases = 0, 0, 0, 0, False
    low28 = high & 0xFFFFFFF
    while i < words.size:
        while i < words.size and high >= 0 and words[np.uint64(i)] >> 29 == 0:  # off, on
            time[np.uint64(n)] = low28 << 32 | np.int64(words[np.uint64(i)])
            n, i = n + 1, i + 1
        if i == words.size:
            break
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:
            untimed += 1
        elif kind == 8:  # time, its upper 28 bits
            lap, before = high >> 28, low28
            low28 = word & 0xFFFFFFF
            if high < 0:
                lap = 0
            elif low28 < before:
                if before >= 0xFC00000 and low28 < 0x400000:
                    last, falls = _unpack2(lap, last, time[done:n], x[done:n], y[done:n], polarity[done:n])
                    lap, done, decreases = lap + 1, n, decreases | falls
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
    last, falls = _unpack2(high >> 28, last, time[done:n], x[done:n], y[done:n], polarity[done:n])
    state[0], state[1], state[2], state[3], state[4] = high, untimed, triggers, extensions, last
    return n, i, 3 if strict and (decreases or falls) else wrong


@kernel
def _unpack2(lap, last, time, x, y, polarity):
    """Returns the last time, and whether a time is before the one before it."""
    decreases = False
    for k in range(time.size):
        word = time[k]
        now = lap << 34 | word >> 32 << 6 | (word >> 22 & 63)
        x[k], y[k], polarity[k] = word >> 11 & 2047, word & 2047, word & 0x10000000 != 0
        decreases |= now < last
        time[k], last = now, now
    return last, decreases


def evt3_state() -> np.ndarray:
    """As :func:`evt2_state`, then packed: low 24 bits of the time, y (-1: none yet), and base x with its sign."""
    return np.array([-1, 0, 0, 0, 0, 0, -1, 0], np.int64)


@kernel
def evt3(words, state, strict, time, x, y, polarity):
    """Decode 16-bit words as :func:`evt2` does, up to the end or until the columns have no room for twelve events."""
    high, untimed, triggers, extensions, last, now, row, base = state
    n, done, wrong, i, decreases = 0, 0, 0, 0, False
    timed, room = high >= 0 and row >= 0, time.size - 12
    upper = (high & 4095) << HIGH_AT
    while i < words.size and n <= room:
        stop = min(words.size, i + room - n + 1) if timed else i
        first = n
        n, i, now, row = _usual3(words, i, stop, upper, now, row, n, time)
        base = time[n - 1] & 4095 if n > first else base
        if timed and i == stop:
            continue
        word = np.int64(words[i])
        kind, low12 = word >> 12, word & 4095
        if kind == TIME_LOW:
            now = upper | low12 << LOW_AT
        elif kind == ROW:
            row = (low12 & 2047) << Y_AT
            timed = high >= 0
        elif EVENT <= kind <= BASE:
            base = low12
            untimed += kind == EVENT
        elif VECTOR12 <= kind <= VECTOR8:
            size = 12 if kind == VECTOR12 else 8
            at, sign = base & 2047 | base >> FURTHER_AT << 11, base & 2048
            for bit in range(size):
                found = low12 >> bit & 1
                if timed:
                    time[np.uint64(n)] = now | row | sign | (at & 2047) | (at >> 11 & 31) << FURTHER_AT
                    n += found
                else:
                    untimed += found
                at += 1
            base = sign | (at & 2047) | (at >> 11 & 31) << FURTHER_AT
        elif kind == TIME_HIGH:
            lap, before = high >> 12, high & 4095
            if high < 0:
                lap = 0
            elif low12 < before:
                if before >= 4032 and low12 < 64:
                    last, falls = _unpack3(lap, last, time[done:n], x[done:n], y[done:n], polarity[done:n])
                    lap, done, decreases = lap + 1, n, decreases | falls
                elif strict:
                    wrong = 1
                    break
            if high != lap << 12 | low12:  # a new high part starts at its first microsecond; a low part follows
                high, now, upper = lap << 12 | low12, low12 << HIGH_AT, low12 << HIGH_AT
            timed = row >= 0
        elif kind == 10:
            triggers += 1
        elif kind == 7 or kind == 14 or kind == 15:  # an extension and what continues it
            extensions += 1
        else:
            wrong = 2
            break
        i += 1
    last, falls = _unpack3(high >> 12, last, time[done:n], x[done:n], y[done:n], polarity[done:n])
    state[0], state[1], state[2], state[3], state[4] = high, untimed, triggers, extensions, last
    state[5], state[6], state[7] = now, row, base
    return n, i, 3 if strict and (decreases or falls) else wrong


@kernel
def _usual3(words, i, stop, upper, now, row, n, time):
    """Pack the events of words of events, y and low parts of the time, without branches, up to another word."""
    while i < stop:
        word = np.int64(words[np.uint64(i)])
        kind, low12 = word >> 12, word & 4095
        if not USUAL >> kind & 1:
            break
        now = (upper | low12 << LOW_AT) if kind == TIME_LOW else now
        row = ((low12 & 2047) << Y_AT) if kind == ROW else row
        time[np.uint64(n)] = now | row | low12  # the next event replaces what is none
        n += kind == EVENT
        i += 1
    return n, i, now, row


@kernel
def _unpack3(lap, last, time, x, y, polarity):
    decreases = False
    for k in range(time.size):
        event = time[k]
        now = lap << 24 | event >> LOW_AT
        decreases |= now < last
        x[k], y[k] = event & 2047 | (event >> FURTHER_AT & 31) << 11, event >> Y_AT & 2047
        polarity[k], time[k], last = event & 2048 != 0, now, now
    return last, decreases


@kernel
def dat(words, last, strict, x_bits, y_bits, sign_at, time, x, y, polarity):
    """Decode 64-bit words (time; above it, from its lowest bit: x, y and polarity) until their end or time decreases.

    Args: ``words``; ``last`` time before them; ``strict``; bits of x and y, and the lowest bit of polarity; columns.
    Returns: events decoded.
    """
    lap, before, decreases = last >> 32, last & 0xFFFFFFFF, False
    x_mask, y_mask, base = (1 << x_bits) - 1, (1 << y_bits) - 1, lap << 32
    for i in range(words.size):
        now, address = np.int64(words[i] & np.uint64(0xFFFFFFFF)), np.int64(words[i] >> np.uint64(32))
        decreases |= now < before
        time[i], before = base | now, now
        x[i], y[i] = address & x_mask, address >> x_bits & y_mask
        polarity[i] = address >> sign_at != 0
    if not decreases:
        return words.size
    before = last & 0xFFFFFFFF
    for i in range(words.size):
        now = time[i] & 0xFFFFFFFF
        if now < before:
            if before >= 0xFC000000 and now < 0x4000000:
                lap += 1
            elif strict:
                return i
        time[i], before = lap << 32 | now, now
    return words.size


@kernel
def aedat(words, last, time, x, y, polarity):
    """Columns of records of two 64-bit words: the time; from the lowest bit, x (16 bits), y (16) and polarity (8).

    Returns: whether a time is before the one before it (``last`` before the first).
    """
    decreases = False
    for i in range(time.size):
        now, address = np.int64(words[2 * i]), np.int64(words[2 * i + 1])
        decreases |= now < last
        time[i], last = now, now
        x[i], y[i], polarity[i] = address & 0xFFFF, address >> 16 & 0xFFFF, address >> 32 & 0xFF != 0
    return decreases
