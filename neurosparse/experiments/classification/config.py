"""Configuration of a model: frozen fields with their bounds, one class per family of networks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosparse.baselines import METHODS, Pruning, pruning, quantise
from neurosparse.checks import number, one_of, whole
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments.classification.inputs import Inputs, take, units_of
from neurosparse.experiments.classification.space import Space
from neurosparse.experiments.classification.split import Split

__all__ = ["LOSSES", "SOME", "UNCOMPRESSED", "Compression", "Learned", "ModelConfig", "choice", "classification_loss"]
__all__ += ["count", "drawn_from", "flag", "real", "targets", "text", "texts"]

SOME = 512
"""Training samples, the first ones, from which the ranges and rates of signals are taken."""


ABOUT = ("name", "note", "fixed")
"""Fields of a configuration that change no training."""

# ---- fields of a configuration


def choice(default: Any, known: Collection[Any]) -> Any:
    """A field that is one of some words."""
    return _checked(default, lambda where, name, value: one_of(where, name, value, known))


def count(default: int | None, most: int, least: int = 1) -> Any:
    """A field that is a whole number from ``least`` to ``most``, or its default."""
    return _checked(default, lambda where, name, value: whole(where, name, value, least, most))


def real(default: float | None, low: float, high: float, **options: Any) -> Any:
    """A field that is a number from ``low`` to ``high``, or its default."""
    return _checked(default, lambda where, name, value: number(where, name, value, low, high), **options)


def flag(default: bool) -> Any:
    """A field that is true or false."""
    return _checked(default, lambda where, name, value: one_of(where, name, value, (True, False)))


def text(default: str) -> Any:
    """A field of free text."""
    return _checked(default, _text)


def texts() -> Any:
    """A field that is a list of texts, by default an empty one."""
    return _checked((), _texts)


def _checked(default: Any, check: Callable[[str, str, Any], Any], **options: Any) -> Any:
    return field(default=default, metadata={"check": check}, **options)


def _texts(where: str, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        expected = 'a list of texts, such as ["conv 32 5", "linear 256"]'
        raise InputError(where, got=f"{name}={value!r}", expected=expected)
    return tuple(value)


def _text(where: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(where, got=f"{name}={value!r}", expected="text")
    return value


def _bits(where: str, name: str, value: Any) -> int:
    return one_of(where, name, whole(where, name, value), (*range(2, 9), 32))


def check_fields(config: Any, where: str) -> None:
    """Check every field of a frozen dataclass, and store it as Python's own number or word."""
    for each in fields(config):
        value = getattr(config, each.name)
        if "check" in each.metadata and not (value is None and each.default is None):
            object.__setattr__(config, each.name, each.metadata["check"](where, each.name, value))


def changed(config: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults; those of a :class:`Compression` beside them."""
    found: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if isinstance(value, Compression):
            found |= changed(value)
        elif each.name not in ABOUT and each.default is not MISSING and value != each.default:
            found[each.name] = value
    return found


# ---- compression


@dataclass(frozen=True)
class Compression:
    """How weights are pruned and quantized.

    Args:
        sparsity: share of the weights that are zero after training.
        pruning_method: a row of :data:`neurosparse.baselines.METHODS`, such as ``"gradual"`` or ``"rigl"``.
        granularity: what is pruned together: ``"weight"``, ``"row"``, ``"block 4 4"`` or ``"n:4"``.
        distribution: how layers share the sparsity: ``"global"``, ``"uniform"`` or ``"erk"``; None: the method's own.
        lasso: factor of the weights' magnitudes in the objective, or of the groups' norms if the granularity names
            groups; applied by proximal steps until the weights are pruned.
        bits: precision of weights and graded activations: 32, or 2 (ternary weights) to 8.
        quantization: ``"ptq"``, post-training quantization, or ``"qat"``, quantization-aware training with
            straight-through gradients.

    Raises:
        InputError: a value out of range, or one that nothing reads.

    Example:
        >>> Compression(sparsity=0.9, pruning_method="rigl").plan.growth
        'gradient'
    """

    sparsity: float = real(0.0, 0.0, 0.999)
    pruning_method: str = choice("gradual", METHODS)
    granularity: str = text("weight")
    distribution: str | None = choice(None, ("global", "uniform", "erk"))
    lasso: float = real(0.0, 0.0, 1e3)
    bits: int = _checked(32, _bits)
    quantization: str = choice("ptq", ("ptq", "qat"))

    def __post_init__(self) -> None:
        check_fields(self, "Compression")
        given = changed(self)
        if not self.sparsity:
            for key in ("pruning_method", "distribution", *(() if self.lasso else ("granularity",))):
                if key in given:
                    got, fix = f"{key}={given[key]!r} without sparsity", "Set sparsity = 0.9."
                    raise InputError("Compression", got=got, expected="a sparsity above 0", fix=fix)
        if self.quantization == "qat" and self.bits == 32:
            raise InputError("Compression", got="quantization='qat' with 32 bits", expected="2 to 8 bits")
        if self.lasso and self.granularity.startswith("n:"):
            got = f"granularity={self.granularity!r} with a lasso"
            raise InputError("Compression", got=got, expected="weights, rows or blocks")
        try:
            _ = self.plan or Pruning(0.0, granularity=self.granularity)
        except InputError as error:
            raise InputError(f"Compression: got {given}; {error}") from error

    @property
    def plan(self) -> Pruning | None:
        """How weights are pruned; None: they are not."""
        if not self.sparsity:
            return None
        own = {} if self.distribution is None else {"distribution": self.distribution}
        return pruning(self.pruning_method, self.sparsity, granularity=self.granularity, **own)


UNCOMPRESSED = Compression()


# ---- losses

LOSSES = ("cross_entropy", "squared")
"""Losses between logits and classes: :func:`classification_loss`."""


def targets(y: Tensor, classes: int, label_smoothing: float = 0.0) -> Tensor:
    """``(1 - s) onehot(y) + s / classes``, of shape ``(samples, classes)``.

    Example:
        >>> targets(torch.tensor([1]), 2, 0.5).tolist()
        [[0.25, 0.75]]
    """
    one_hot = F.one_hot(y, classes).to(torch.get_default_dtype())
    return one_hot.lerp(torch.full((), 1 / classes, device=y.device), label_smoothing)


def classification_loss(logits: Tensor, y: Tensor, loss: str, label_smoothing: float = 0.0) -> Tensor:
    """Mean over samples of ``-sum_k t_k log softmax(logits)_k`` or of ``0.5 sum_k (logits_k - t_k)^2``.

    The second is the energy of the output layer of a :class:`neurosparse.PredictiveNetwork` with squared errors.

    Args:
        logits: ``(samples, classes)``.
        y: class of each sample; t are its :func:`targets`.
        loss: ``"cross_entropy"`` or ``"squared"``.
        label_smoothing: share of each label's weight that is spread over all classes.

    Example:
        >>> classification_loss(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([0, 0]), "squared").item()
        0.5
    """
    if loss == "cross_entropy":
        return F.cross_entropy(logits, y, label_smoothing=label_smoothing)
    return 0.5 * (logits - targets(y, logits.shape[1], label_smoothing)).square().sum(1).mean()


# ---- models


class Learned(NamedTuple):
    """One batch: its loss, its logits (None for a local rule), the activations of the hidden layers."""

    loss: float
    logits: Tensor | None
    hidden: list


@dataclass(frozen=True)
class ModelConfig:
    """One network at one operating point. Each family is a subclass whose fields are the keys of its TOML files.

    A subclass defines ``family``, ``title``, ``space`` and :meth:`network`; it overrides :meth:`prepare` where its
    inputs, :meth:`objective` or :meth:`learn` where its learning rule, and :meth:`finish` where the network that is run
    differ. The fields ``compression``, ``distillation`` and ``epoch_factor`` exist in the families that read them.

    Args:
        name: the file's name without its suffix.
        note: one line for the report.
        loss: between logits and classes, ``"cross_entropy"`` or ``"squared"``, see :func:`classification_loss`.
        label_smoothing: share of each label's weight that is spread over all classes.
        fixed: parameters of ``space`` that are set, so that no search changes them.
    """

    name: str
    note: str = field(default="", kw_only=True, metadata={"check": _text})
    loss: str = _checked("cross_entropy", lambda where, name, value: one_of(where, name, value, LOSSES), kw_only=True)
    label_smoothing: float = real(0.0, 0.0, 0.99, kw_only=True)
    fixed: tuple[str, ...] = field(default=(), kw_only=True)

    family: ClassVar[str]
    """Value of the key ``family`` in TOML files."""
    title: ClassVar[str]
    """Name of the family in reports."""
    space: ClassVar[Space] = {"loss": LOSSES, "label_smoothing": (0.0, 0.1)}
    """The parameters of the family that a search tunes; the learning rate is one of the task."""

    # Without annotation: constants of the families that have no field of the name.
    compression = UNCOMPRESSED
    distillation = 0.0
    epoch_factor = 1
    steps = 1
    spiking: ClassVar[Sequence[type | str]] = ()

    def __post_init__(self) -> None:
        check_fields(self, self.where)
        if self.compression.pruning_method == "synflow" and not self._is_positive():
            got, fix = "pruning_method='synflow'", "Choose 'snip' or 'gradual'."
            raise InputError(self.where, got=got, expected="activations that pass positive inputs unchanged", fix=fix)

    @property
    def where(self) -> str:
        """The model's name in messages."""
        return f"model {self.name!r}"

    @property
    def settings(self) -> dict[str, Any]:
        """The family and the keys that differ from their defaults."""
        return {"family": self.family} | changed(self)

    @property
    def training_settings(self) -> dict[str, Any]:
        """The settings that training depends on: models that differ in the others share trained weights."""
        after = ("bits",) if self.compression.quantization == "ptq" else ()
        return {key: value for key, value in self.settings.items() if key not in after}

    @property
    def uncompressed(self) -> ModelConfig:
        """The same network in full precision, without pruning and distillation: the teacher in a distillation."""
        return self if self.compression == UNCOMPRESSED else replace(self, compression=UNCOMPRESSED)

    @property
    def searchable(self) -> Space:
        """The part of ``space`` that is not fixed."""
        return {key: values for key, values in self.space.items() if key not in self.fixed}

    def with_parameters(self, values: Mapping[str, Any]) -> ModelConfig:
        """The same model with other values of some parameters, those of its compression among them.

        Raises:
            InputError: an unknown parameter, a value out of range.
        """
        own, shared = keys(type(self))
        for key in values:
            one_of(self.where, "parameter", key, (*own, *shared))
        given = {key: value for key, value in values.items() if key in own}
        if compression := {key: value for key, value in values.items() if key in shared}:
            given["compression"] = replace(self.compression, **compression)
        return replace(self, **given)

    def network(self, units: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> nn.Module:
        """A module from prepared inputs to logits ``(samples, classes)``; a list ``hidden`` takes its activations.

        Args:
            units: shape of one sample, at one step where there are steps.
            hidden: widths of the hidden layers of the task.
            classes: number of outputs.
        """
        raise NotImplementedError

    def network_for(self, split: Split, hidden: tuple[int, ...], classes: int) -> nn.Module:
        """The network for the units of these data."""
        return self.network(units_of(self.prepare(take(split.train[0], torch.arange(1)))), hidden, classes)

    def finish(self, model: nn.Module, x: Inputs) -> nn.Module:
        """The network that is run, from the trained one: with ``bits`` below 32, quantized.

        Args:
            model: in evaluation mode.
            x: some training samples, prepared, that give the ranges of signals.
        """
        bits = self.compression.bits
        return model if bits == 32 else quantise(model, bits=bits, calibration=x)

    def prepare(self, x: Inputs) -> Inputs:
        """Data as the network reads them. This is part of reading the data, so it is not metered.

        Args:
            x: tensor ``(samples, *units)``, or events ``(steps, samples, *units)``.

        Returns:
            ``(samples, features)``; of recordings the counts of events.
        """
        return (x.counts() if isinstance(x, EventTensor) else x).flatten(1)

    def learn(self, model: nn.Module, x: Inputs, y: Tensor, teacher: nn.Module | None = None) -> Learned:
        """Put the gradients of one batch into the parameters of the network: backpropagation of :meth:`objective`."""
        hidden: list = []
        logits = model(x, hidden)
        answers = None
        if teacher is not None:
            with torch.no_grad():
                answers = teacher(x)
        loss = self.objective(logits, y, hidden, answers)
        loss.backward()
        return Learned(float(loss.detach()), logits.detach(), hidden)

    def objective(self, logits: Tensor, y: Tensor, hidden: list, answers: Tensor | None) -> Tensor:
        """What training minimises: the loss.

        Args:
            logits: ``(samples, classes)``.
            y: class of each sample.
            hidden: activations of the hidden layers.
            answers: logits of a teacher, where there is one.
        """
        return classification_loss(logits, y, self.loss, self.label_smoothing)

    def _is_positive(self) -> bool:
        """Whether all activations pass positive inputs unchanged, as synaptic flow assumes."""
        return False


def keys(family: type[ModelConfig]) -> tuple[list[str], list[str]]:
    """The keys of a family's TOML files, its own and those of its compression."""
    own = [each.name for each in fields(family) if each.name not in ("name", "fixed", "compression")]
    compressed = any(each.name == "compression" for each in fields(family))
    return own, [each.name for each in fields(Compression)] if compressed else []


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Inside, torch draws from this seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
