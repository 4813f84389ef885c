"""Counter-based random numbers: a function of (seed, name, step, block), for any number of threads and any start.

The Poisson spikes of a block come from one Poisson process of rate 1 on a line, on which each neuron has an interval of
the length of its mean count. Its gaps are exponential, so that the work is one draw per spike.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from neurosparse.kernels.dispatch import kernel

__all__ = ["BLOCK", "arrivals_reference", "next_arrival", "start_of_stream", "stream_key"]

BLOCK = 256  # neurons that are updated together and share a stream of random numbers

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)
_30, _27, _31, _11, _1 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11), np.uint64(1)
WORD = (1 << 64) - 1


def _mix_reference(z: int) -> int:
    """The output function of SplitMix64 (Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> 30)) * FIRST & WORD
    z = (z ^ (z >> 27)) * SECOND & WORD
    return z ^ (z >> 31)


@kernel
def _mix(z):
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


def stream_key(seed: int, name: str) -> np.uint64:
    """The key of one stream: of its seed and its name alone, so that no other part of a network changes it."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(errors="surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


@kernel
def start_of_stream(key, step, block):
    """The initial state of the generator of one block in one step."""
    return _mix(_mix(key + _GOLDEN * np.uint64(step)) + _GOLDEN * np.uint64(block + 1))


@kernel
def next_arrival(state):
    """The gap to the next arrival, exponential with mean 1, and the next state of the generator."""
    state = state + _GOLDEN
    return -np.log(np.float64((_mix(state) >> _11) + _1) * 2.0**-53), state


def arrivals_reference(key: int, step: int, block: int, mean: np.ndarray) -> np.ndarray:
    """Reference: the number of arrivals of each neuron of a block in a step, of the given mean counts."""
    state = _mix_reference((_mix_reference((key + GOLDEN * step) & WORD) + GOLDEN * (block + 1)) & WORD)
    counts, end, position = np.zeros(len(mean), dtype=np.int64), 0.0, 0.0
    position, state = _next_reference(state, position)
    for k, length in enumerate(mean):
        end += length
        while position <= end:
            counts[k] += 1
            position, state = _next_reference(state, position)
    return counts


def _next_reference(state: int, position: float) -> tuple[float, int]:
    state = (state + GOLDEN) & WORD
    return position - math.log(((_mix_reference(state) >> 11) + 1) * 2.0**-53), state
