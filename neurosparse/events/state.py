"""State between chunks of time: networks of any depth run chunk by chunk or step by step, their states passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from inspect import signature
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from neurosparse.errors import InputError
from neurosparse.events.tensor import EventTensor
from neurosparse.events.timed import TimedTensor, with_timing
from neurosparse.events.timing import Timing, refuse_chunk, timing_of

__all__ = ["Carry", "Stateless", "Stream", "check_level", "last_level", "run", "stream"]

MIXES_STEPS = (
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


class Stateless:
    """A module whose output at a step depends on that step alone: its ``run`` carries nothing."""

    def run(self, x: Any, state: None = None, *, detach: bool = True) -> tuple[Any, None]:
        """The output, and None: there is no state."""
        if state is not None:
            refuse_state(type(self).__name__, state, "None, because it has no state")
        return self.forward(x), None  # type: ignore[attr-defined]


def refuse_state(where: str, state: Any, expected: str) -> NoReturn:
    """Refuse a state that another kind of module returned."""
    fix = "Carry the state that the same network returned, or start with state=None."
    raise InputError(f"{where}.run", got=f"a state of type {type(state).__name__}", expected=expected, fix=fix)


def check_level(where: str, level: Any, shape: Sequence[int]) -> Tensor:
    """A state of one number per sample and unit, of the shape that the input has."""
    if not isinstance(level, Tensor):
        refuse_state(where, level, "a tensor")
    if level.shape != tuple(shape):
        got, fix = f"a state of shape {tuple(level.shape)}", "Start a new batch with state=None."
        raise InputError(f"{where}.run", got=got, expected=f"(samples, *units) = {tuple(shape)}", fix=fix)
    return level


def last_level(levels: Tensor, timing: Timing | None, start: Tensor) -> Tensor:
    """The level of each sample at its last step; the start for a sample without steps.

    Args:
        levels: ``(steps, samples, *units)``.
        timing: gives the lengths.
        start: ``(samples, *units)``.
    """
    if timing is None or timing.lengths is None:
        return levels[-1] if len(levels) else start
    if not len(levels):
        return start
    at, axes = (timing.lengths - 1).clamp(min=0), [1] * (start.dim() - 1)
    return torch.where((timing.lengths > 0).view(-1, *axes), levels[at, torch.arange(len(at))], start)


def run(network: nn.Module, x: Any, state: Any = None, *, detach: bool = True) -> tuple[Any, Any]:
    """Run a network for a chunk of time, and return the states of its layers with the output.

    ``y, state = run(network, x, state)``: over chunks in turn, the outputs are those of the whole sequence.

    A module with a method ``run(x, state) -> (y, state)`` carries its own state: every module of this package with
    neurons, and any module of the user. A module without it has no state, or is a container: its ``forward`` runs as
    it stands (``nn.Sequential``, residual blocks, any depth), and the modules inside with ``run`` get their states.
    Two threads must not run one network at the same time.

    Args:
        network: a module.
        x: ``(steps, samples, *units)``, events or a tensor.
        state: what the chunk before returned; None: from rest.
        detach: cut the graph between chunks.

    Returns:
        ``(y, state)``; the state of a container is a dict from the name of a module inside to its state
        (``"1"``, ``"body.0"``; ``"1#2"`` for the second call of one module).

    Raises:
        InputError: a module that cannot be carried between chunks: batch normalisation in training, ``nn.LSTM``,
            attention over steps, a module that writes to its own buffers; a state of another network.

    Example:
        >>> import neurosparse as ns
        >>> network = nn.Sequential(nn.Linear(3, 2), ns.LIF(beta=0.9), nn.Linear(2, 1), ns.neurons.Readout(0.9))
        >>> x = ns.poisson(torch.full((4, 3), 0.3), steps=10)
        >>> first, state = ns.run(network, x.steps(0, 6))
        >>> second, state = ns.run(network, x.steps(6, 10), state)
        >>> bool(torch.allclose(torch.cat([first, second]), network(x))), list(state)
        (True, ['1', '3'])
    """
    return Carry("run", network)(x, state, detach)


def stream(network: nn.Module) -> Stream:
    """A network as a function of one step: the states of its layers are kept from one call to the next.

    Args:
        network: a module; see :func:`run` for what carries state.

    Returns:
        :class:`Stream`: from one step ``(samples, *units)`` to the output of that step.

    Example:
        >>> import neurosparse as ns
        >>> step = ns.stream(nn.Sequential(nn.Linear(3, 2), ns.LIF(beta=0.9)))
        >>> [tuple(step(torch.rand(4, 3)).shape) for _ in range(2)]
        [(4, 2), (4, 2)]
    """
    return Stream(network)


class Stream:
    """A network that is run one step at a time; see :func:`stream`.

    Args:
        network: a module.

    Attributes:
        state: of all layers after the last step, for :func:`run`; None before the first. It can be assigned.
    """

    def __init__(self, network: nn.Module):
        self._carry, self.state = Carry("stream", network), None

    def __call__(self, x: Tensor | EventTensor) -> Any:
        """The output of one step, detached from the steps before.

        Args:
            x: a tensor ``(samples, *units)``, or events or a tensor that come out of events ``(1, samples, *units)``.

        Returns: a tensor ``(samples, *units)`` for a plain tensor, else what the network returns for one step.

        Raises:
            InputError: not one step.
        """
        stepped = isinstance(x, EventTensor) or getattr(x, "timing", None) is not None
        if stepped and len(x) != 1:
            fix = "Pass one step: x.steps(t, t + 1)." if isinstance(x, EventTensor) else "Pass one step: x[t:t + 1]."
            raise InputError("stream", got=f"{len(x)} steps", expected="one step", fix=fix)
        if not stepped and (not isinstance(x, Tensor) or x.dim() < 2):
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"x of type {type(x).__name__}"
            raise InputError("stream", got=got, expected="one step (samples, *units)", fix="Pass x[t] for each t.")
        if isinstance(x, EventTensor) or stepped:
            y, self.state = self._carry(x, self.state, True)
            return y
        y, self.state = self._carry(x[None], self.state, True)
        return _only_step(y) if isinstance(y, Tensor | EventTensor) else tree_map(_only_step, y)


def _only_step(y: Any) -> Any:
    return y.dense()[0] if isinstance(y, EventTensor) else y[0]


class Carry:
    """Runs a network with the states of the modules inside.

    Args:
        where: the caller, for errors.
        network: a module.

    Raises:
        InputError: no module, or one that cannot be carried between chunks.
    """

    def __init__(self, where: str, network: nn.Module):
        if not isinstance(network, nn.Module):
            fix = "Pass nn.Sequential(...) of its layers."
            raise InputError(where, got=f"network of type {type(network).__name__}", expected="a module", fix=fix)
        self.where, self.network = where, getattr(network, "_orig_mod", network)  # what torch.compile wraps
        self.inside = {} if hasattr(self.network, "run") else dict(_with_run(self.network, "", set()))
        self.checked = False
        for name, module in self.network.named_modules():
            self._refuse_mixing(name, module)

    def __call__(self, x: Any, state: Any, detach: bool) -> tuple[Any, Any]:
        refuse_chunk(self.where, timing_of(x))  # inside a forward that is run in chunks
        written = () if self.checked else _buffers(self.network)
        timed = isinstance(x, EventTensor | TimedTensor)
        if hasattr(self.network, "run"):
            y, after = _run_one(self.where, self.network, x, state, detach)
        elif self.checked:
            y, after = self._run_inside(x, state, detach, lambda signal, _: signal)
        else:  # functions in the network's own code refuse a chunk, one by one
            y, after = self._run_inside(_as_chunk(x, True, timed), state, detach, partial(_as_chunk, timed=timed))
            y = _as_chunk(y, False)
        if not timed:  # plain in, plain out
            y = _untimed(y) if isinstance(y, Tensor | EventTensor) else tree_map(_untimed, y)
        if not self.checked:  # the first call shows what every call does
            self._refuse_written(written)
            self._refuse_reduced(y, x)
            self.checked = True
        return y, after

    def _run_inside(self, x: Any, state: dict | None, detach: bool, mark: Callable) -> tuple[Any, dict]:
        """The network's own ``forward``, with a state for every call of a module that has ``run``.

        ``mark(signal, False)`` is a signal without the mark of a chunk, for modules that may work on chunks.
        """
        states, after = {} if state is None else state, {}
        if not isinstance(states, dict):
            refuse_state("ns", state, f"a dict of the states of {', '.join(self.inside) or 'no module'}")
        unknown = [name for name in states if name.split("#")[0] not in self.inside]
        if unknown:
            refuse_state("ns", state, f"states of {', '.join(self.inside) or 'no module'}, not of {unknown[0]!r}")

        def forward_of(name: str, module: nn.Module) -> Callable:
            calls = 0

            def forward(signal: Any) -> Any:
                nonlocal calls
                calls += 1
                key = name if calls == 1 else f"{name}#{calls}"
                del module.__dict__["forward"]  # a run may call its own forward
                try:
                    out, new = _run_one(self.where, module, mark(signal, False), states.get(key), detach)
                finally:
                    module.__dict__["forward"] = forward
                if new is not None:
                    after[key] = new
                return mark(out, True)

            return forward

        with _patched({module: forward_of(name, module) for name, module in self.inside.items()}):
            return self.network(x), after

    def _refuse_mixing(self, name: str, module: nn.Module) -> None:
        """Refuse what needs all steps at once."""
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            got = f"{type(module).__name__} {name!r} with the statistics of its batch"
            fix = "Call network.eval(), or run the whole sequence at once."
        elif isinstance(module, MIXES_STEPS) and not hasattr(module, "run"):
            got, fix = f"{type(module).__name__} {name!r}", "Give it run(x, state) -> (y, state) in a class of its own."
        else:
            return
        raise InputError(self.where, got=got, expected="modules whose output at a step needs no other step", fix=fix)

    def _refuse_reduced(self, y: Any, x: Any) -> None:
        for part in tree_leaves(y):
            if not isinstance(part, Tensor | EventTensor) or part.shape[:1] != x.shape[:1]:
                got = f"an output of shape {tuple(part.shape)}" if hasattr(part, "shape") else f"output {part!r}"
                fix = "Let the network end before the steps are reduced, and reduce the outputs of all chunks."
                raise InputError(self.where, got=got, expected=f"{len(x)} steps, as the input", fix=fix)

    def _refuse_written(self, before: tuple) -> None:
        for (name, old, version), (_, new, _) in zip(before, _buffers(self.network), strict=False):
            if old is not new or new._version != version:
                fix = "Give the module that holds it run(x, state) -> (y, state), or call network.eval()."
                got = f"the buffer {name!r} written during the run"
                raise InputError(self.where, got=got, expected="state that is passed and returned", fix=fix)


def _as_chunk(x: Any, is_chunk: bool, timed: bool = True) -> Any:
    """Signals that refuse functions over steps, because they are a chunk of a sequence; or the same without that.

    ``timed``: whether the network's input has a timing; else what has none is marked, too.
    """

    def mark(part: Any) -> Any:
        timing = timing_of(part)
        if isinstance(part, EventTensor):
            chunk = EventTensor._of(part)
            chunk.__dict__["timing"] = part.timing.with_(partial=is_chunk)
            return chunk
        if not isinstance(part, Tensor) or (timing is None and timed):
            return part
        if not timed and not is_chunk:
            return _untimed(part)
        return with_timing(part, (timing or Timing()).with_(partial=is_chunk))

    return tree_map(mark, x)


def _untimed(part: Any) -> Any:
    return part.dense() if isinstance(part, TimedTensor) else part


def _buffers(network: nn.Module) -> tuple[tuple[str, Tensor, int], ...]:
    """Every buffer with its name and how often it was written."""
    return tuple((name, part, part._version) for name, part in network.named_buffers())


def _with_run(module: nn.Module, prefix: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules below this one that have ``run``, each once, with their names."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, Stateless) or child in seen:
            continue
        seen.add(child)
        if hasattr(child, "run"):
            yield path, child
        else:
            yield from _with_run(child, f"{path}.", seen)


def _run_one(where: str, module: Any, x: Any, state: Any, detach: bool) -> tuple[Any, Any]:
    """``module.run``, its state detached or not."""
    if _takes_detach(type(getattr(module, "_orig_mod", module))):
        return module.run(x, state, detach=detach)
    if not detach and any(hasattr(child, "run") for child in module.modules() if child is not module):
        fix = "Give it run(x, state, *, detach=True), and pass detach on."
        got = f"{type(module).__name__}.run without detach"
        raise InputError(where, got=got, expected="a state with its graph", fix=fix)
    y, state = module.run(x, state)
    return y, tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, state) if detach else state


@cache
def _takes_detach(kind: type) -> bool:
    return "detach" in signature(kind.run).parameters  # type: ignore[attr-defined]


@contextmanager
def _patched(forwards: dict[nn.Module, Callable]) -> Iterator[None]:
    """Let modules run other functions as their ``forward``; their hooks stay."""
    kept = [(module, module.__dict__.get("forward")) for module in forwards]
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, forward in kept:
            module.__dict__.pop("forward") if forward is None else module.__dict__.update(forward=forward)
