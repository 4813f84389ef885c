"""The only file that knows numba: kernels are written as plain Python loops and compiled when first called.

``@kernel`` keeps `import neurosparse` free of numba's half second. A kernel that uses ``prange`` gets two
compilations, serial and parallel; which one runs follows ``torch.get_num_threads()``, so one torch setting rules both
(and data-loader workers, which run torch on one thread, never start a second thread pool after a fork).
"""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["block_width", "event_driven_pays", "kernel", "prange", "workers"]

prange = range  # becomes numba.prange inside a compiled kernel

# A little below the crossovers measured on one machine: 25 % for weights that stay in cache (784-512), and, for weights
# that do not (4096-4096), 8 % on one thread and 3.5 % on two.
DENSITY_LIMIT_CACHED = 0.20
DENSITY_LIMIT_LARGE = 0.045
CACHE_BYTES = 4 << 20


def event_driven_pays(tensor: torch.Tensor, n_events: int, n_cells: int, fan_out_bytes: int) -> bool:
    """Whether an event kernel beats the dense product at this density and weight size."""
    if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64):
        return False
    limit = DENSITY_LIMIT_CACHED if fan_out_bytes <= CACHE_BYTES else DENSITY_LIMIT_LARGE
    return n_events <= limit * n_cells


@functools.cache
def _settle_heap() -> None:
    """Let freed memory stay with the process: by default glibc gives it back and faults it in again at every step.

    Freeing one large block raises glibc's own thresholds (to twice its size at most); nothing else changes, and other
    allocators take no notice. Measured: 4500 page faults and a quarter of the time of a training step.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def workers() -> int:
    """Threads that a kernel may use: torch's own setting."""
    return torch.get_num_threads()


BLOCK = 512  # units; narrower blocks stay longer in cache but cost more to walk (measured: 64 twice as slow)


def block_width(n_units: int) -> int:
    """Units that are computed together."""
    return min(-(-max(n_units, 1) // 16) * 16, BLOCK)


class kernel:
    """A function of numpy arrays, compiled by numba at its first call."""

    def __init__(self, function: Callable[..., Any], *, reassociate: bool = False):
        self.function, self.reassociate = function, reassociate
        self.__doc__ = function.__doc__
        self._compiled: dict[bool, Callable[..., Any]] = {}

    @classmethod
    def reassociating(cls, function: Callable[..., Any]) -> kernel:
        """A kernel whose sums may be taken in any order: for gradients, which decide no spike."""
        return cls(function, reassociate=True)

    def __call__(self, *args: Any) -> Any:
        """Run on numpy arrays, in parallel if torch may use more than one thread."""
        threads = workers()
        parallel = threads > 1
        if parallel:
            numba = importlib.import_module("numba")
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        return self.compiled(parallel)(*args)

    def compiled(self, parallel: bool) -> Callable[..., Any]:
        """The serial or the parallel compilation, made once."""
        if parallel not in self._compiled:
            _settle_heap()
            self._compiled[parallel] = _compile(self.function, parallel, self.reassociate)
        return self._compiled[parallel]


def _compile(function: Callable[..., Any], parallel: bool, reassociate: bool) -> Callable[..., Any]:
    numba = importlib.import_module("numba")
    uses_prange = "prange" in function.__code__.co_names
    scope = dict(function.__globals__)
    scope["prange"] = numba.prange if parallel else range
    for name in function.__code__.co_names:
        if isinstance(scope.get(name), kernel):
            scope[name] = scope[name].compiled(False)
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__ = function.__module__
    # numba's disk cache does not tell the two compilations apart; their names do.
    copy.__qualname__ = f"{function.__qualname__}_{'parallel' if parallel else 'serial'}"
    # No fastmath forward: a fused multiply-add rounds differently and would flip spikes against the plain-torch law.
    options: dict[str, Any] = {"nogil": True, "parallel": parallel and uses_prange}
    if reassociate:
        options["fastmath"] = {"reassoc", "contract", "nsz"}
    try:
        return numba.njit(cache=True, **options)(copy)
    except RuntimeError:  # nowhere to write a cache
        return numba.njit(**options)(copy)
