"""Compilation of kernels by numba, when they are first called, and the choice between event-driven and dense.

Kernels are written as plain Python loops. No other file names numba, so that `import neurosparse` does not pay its half
second. A kernel with ``prange`` is compiled twice, serial and parallel; ``torch.get_num_threads()`` decides which one
runs, so that one setting serves both libraries, and data-loader workers (one torch thread) start no second thread pool
after a fork. Compiled kernels are kept on disk (:mod:`neurosparse.kernels.cache`).
"""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

from neurosparse.kernels.cache import KernelCache, cache_folder, cache_places, source_hash

__all__ = ["block_width", "by_reference", "event_driven_pays", "kernel", "prange", "workers"]

prange = range  # becomes numba.prange inside a compiled kernel
SOURCES = source_hash()  # read with the modules, not when a kernel is first called: a file may be edited in between

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
    """Keep freed memory in the process: by default glibc returns it and faults it in again at every step.

    Freeing one large block raises glibc's own thresholds (to twice its size at most); nothing else changes, and other
    allocators are not affected. Measured: 4500 page faults and a quarter of the time of a training step.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def workers() -> int:
    """Threads that a kernel may use: torch's own setting."""
    return torch.get_num_threads()


BLOCK = 512  # units; narrower blocks stay longer in cache but cost more to walk (measured: 64 twice as slow)


def block_width(n_units: int) -> int:
    """Units that are computed together."""
    return min(-(-max(n_units, 1) // 16) * 16, BLOCK)


def by_reference(x: Tensor) -> bool:
    """Whether operations on ``x`` run by their reference in plain torch, because kernels read values.

    That is inside the transforms of ``torch.func`` (grad, vmap, jvp), in forward-mode differentiation, and for tensors
    without values (meta, fake). Inside ``torch.compile`` kernels are nodes of the graph.
    """
    if torch.compiler.is_compiling():
        return False
    fake = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
    transformed = peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    return fake or transformed or x.is_meta or type(x).__name__ == "FakeTensor"


class kernel:
    """A function of numpy arrays that creates none, compiled by numba at its first call.

    A kernel that creates arrays is declared ``@kernel.allocating``. In all others numba counts no references to the
    views that they take: two thirds of the time of a step of a network, whose views are short (measured). A kernel that
    others call becomes part of them: a call passes seven numbers an array, and takes as long as 200 sums (measured).
    """

    def __init__(
        self, function: Callable[..., Any], *, reassociate: bool = False, allocate: bool = False, apart: bool = False
    ):
        self.function, self.reassociate, self.allocate, self.inline = function, reassociate, allocate, not apart
        self.__doc__ = function.__doc__
        self.uses_prange = "prange" in function.__code__.co_names
        self._compiled: dict[bool, Callable[..., Any]] = {}
        self._part: Any = None

    @classmethod
    def allocating(cls, function: Callable[..., Any]) -> kernel:
        """A kernel that creates arrays; inner loops belong into kernels that do not."""
        return cls(function, allocate=True)

    @classmethod
    def apart(cls, function: Callable[..., Any]) -> kernel:
        """A kernel that stays a function of its own in those that call it: large, called for much work at a time."""
        return cls(function, apart=True)

    @classmethod
    def reassociating(cls, function: Callable[..., Any]) -> kernel:
        """A kernel whose sums may be taken in any order: for gradients, which decide no spike."""
        return cls(function, reassociate=True)

    def __call__(self, *args: Any) -> Any:
        """Run on numpy arrays, in parallel if torch may use more than one thread."""
        threads = workers()
        parallel = threads > 1 and self.uses_prange
        if parallel:
            numba = importlib.import_module("numba")
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        return self.compiled(parallel)(*args)

    def compiled(self, parallel: bool) -> Callable[..., Any]:
        """The serial or the parallel compilation, made once; without ``prange`` there is only the serial one."""
        parallel = parallel and self.uses_prange
        if parallel not in self._compiled:
            _settle_heap()
            self._compiled[parallel] = _compile(self, parallel)
        return self._compiled[parallel]

    def part(self) -> Any:
        """What other kernels call: numba links it into their code, so it has no machine code of its own and no file."""
        if self._part is None:
            copy, options = _numba_function(self, parallel=False)
            _declare_called(copy)
            self._part = importlib.import_module("numba").njit(no_cpython_wrapper=True, **options)(copy)
        return self._part


@functools.cache
def _cache_folder() -> Path | None:
    return cache_folder(f"{SOURCES}-{importlib.import_module('numba').__version__}", cache_places())


def _numba_function(made: kernel, parallel: bool) -> tuple[types.FunctionType, dict[str, Any]]:
    """A copy of a kernel's function with a scope of its own, and the options that it is compiled with."""
    numba, function = importlib.import_module("numba"), made.function
    scope = function.__globals__ | {"prange": numba.prange if parallel else range}
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__ = function.__module__
    # numba's disk cache does not tell the two compilations apart; their names do.
    copy.__qualname__ = f"{function.__qualname__}_{'parallel' if parallel else 'serial'}"
    # No fastmath forward: a fused multiply-add rounds differently and would flip spikes against the reference.
    # A division by zero gives inf, as in NumPy: a test for it would keep loops with divisions from vector instructions.
    options: dict[str, Any] = {"nogil": True, "parallel": parallel, "error_model": "numpy", "no_cfunc_wrapper": True}
    options["forceinline"] = made.inline and not made.uses_prange
    if made.reassociate:
        options["fastmath"] = {"reassoc", "contract", "nsz"}
    if not made.allocate:
        options["_nrt"] = False  # underscored in numba: tests/contract/test_kernel_cache.py holds its effect
    return copy, options


def _declare_called(copy: types.FunctionType) -> None:
    """Put the kernels that a function calls into its scope, before it is compiled."""
    for name in copy.__code__.co_names:
        if isinstance(copy.__globals__.get(name), kernel):
            copy.__globals__[name] = copy.__globals__[name].part()


def _compile(made: kernel, parallel: bool) -> Callable[..., Any]:
    copy, options = _numba_function(made, parallel)
    compiled = _with_cache(importlib.import_module("numba"), copy, options)
    _start_runtime(compiled.targetctx)
    name = copy.__module__.removeprefix("neurosparse.kernels.")
    compiled._cache = KernelCache(compiled._cache, name, functools.partial(_declare_called, copy))
    return compiled


@functools.cache
def _start_runtime(target: Any) -> None:
    """What code that was read from a file calls: numba starts it before it compiles, see :class:`KernelCache`."""
    importlib.import_module("numba.core.runtime").rtsys.initialize(target)


def _with_cache(numba: Any, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """A numba function that is kept in our folder, or in memory where there is none."""
    folder, before = _cache_folder(), numba.config.CACHE_DIR
    if folder is None:
        return numba.njit(**options)(function)
    try:
        numba.config.CACHE_DIR = str(folder)  # read when a function is declared, not when it is compiled
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # the folder can no longer be written
        return numba.njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before
