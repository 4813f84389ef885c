"""Models that are Python files: ``def network(split) -> nn.Module`` beside the TOML files of a task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurosparse.errors import InputError
from neurosparse.experiments.classification.config import Learned, ModelConfig
from neurosparse.experiments.classification.evaluate import scores
from neurosparse.experiments.classification.inputs import Inputs, n_samples, take
from neurosparse.experiments.classification.space import Space
from neurosparse.experiments.classification.split import Split
from neurosparse.experiments.folder import load_script

__all__ = ["PythonModel"]


@dataclass(frozen=True, kw_only=True)
class PythonModel(ModelConfig):
    """Any torch module, trained by backpropagation of a loss under the task's budget.

    The file defines ``network(split)``: a module from inputs as the :class:`Split` holds them to logits
    ``(samples, classes)``, or to an EventTensor of spikes ``(steps, samples, classes)``, whose counts are the logits.
    It may define ``note``, one line for the report, ``loss`` and ``label_smoothing``, and ``spiking``, the modules of
    other libraries whose outputs are spikes, see :func:`neurosparse.record`.

    Args:
        path: the file.

    Raises:
        InputError: a file that cannot be run, or that defines no ``network``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> text = '''
        ... import torch, neurosparse as ns
        ... note = "one layer of neurons"
        ... def network(split):
        ...     features = split.train[0].shape[1]
        ...     return torch.nn.Sequential(torch.nn.Linear(features, 10), torch.nn.ReLU(), torch.nn.Linear(10, 2))
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mine.py").write_text(text)
        ...     PythonModel("mine", path=Path(folder, "mine.py")).note
        'one layer of neurons'
    """

    family: ClassVar[str] = "python"
    title: ClassVar[str] = "Python file"

    space: ClassVar[Space] = {}

    path: Path
    sha256: str = field(init=False)
    spiking: tuple[type | str, ...] = field(init=False)

    def __post_init__(self) -> None:
        script = self._script()
        if not callable(getattr(script, "network", None)):
            got = f"{self.path} without network"
            raise InputError(self.where, got=got, expected="def network(split) -> nn.Module")
        spiking = getattr(script, "spiking", ())
        if not isinstance(spiking, list | tuple):
            raise InputError(self.where, got=f"spiking={spiking!r}", expected="a list of classes or names of modules")
        spiking = tuple(spiking)
        for each in spiking:
            own = isinstance(each, type) and each.__module__ == script.__name__
            if own or not isinstance(each, type | str):
                got, fix = f"spiking={each!r}", "Name a module by its path in the network, such as 'layers.1'."
                raise InputError(self.where, got=got, expected="imported classes or names of modules", fix=fix)
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        for key in ("note", "loss", "label_smoothing"):
            object.__setattr__(self, key, getattr(script, key, getattr(self, key)))
        for key, value in {"spiking": spiking, "sha256": digest}.items():
            object.__setattr__(self, key, value)
        super().__post_init__()

    @property
    def settings(self) -> dict[str, Any]:
        """The family and a checksum of the file."""
        return {"family": self.family, "sha256": self.sha256}

    def network_for(self, split: Split, hidden: tuple[int, ...], classes: int) -> nn.Module:
        """The file's network, whose output is checked with two samples."""
        script, x = self._script(), split.train[0]
        some = take(x, torch.arange(min(2, n_samples(x))))
        try:
            model = script.network(split)
            output = None
            if isinstance(model, nn.Module):
                with torch.no_grad():
                    output = model.eval()(some)
        except (Exception, SystemExit) as error:
            raise InputError(self.where, got=_line(error), expected=f"a network in {self.path}") from error
        if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
            got = f"network(split) of type {type(model).__name__}"
            raise InputError(self.where, got=got, expected="an nn.Module with parameters to train")
        found = scores(output, n_samples(some), self.where)
        if found.shape[1] != classes:
            got, expected = f"{found.shape[1]} outputs", f"one for each of the task's {classes} classes"
            raise InputError(self.where, got=got, expected=expected)
        return model

    def prepare(self, x: Inputs) -> Inputs:
        """The inputs as they are."""
        return x

    def learn(self, model: nn.Module, x: Inputs, y: Tensor, teacher: nn.Module | None = None) -> Learned:
        try:
            output = model(x)
        except Exception as error:
            expected = f"a network in {self.path} that takes {len(y)} samples in training"
            raise InputError(self.where, got=_line(error), expected=expected) from error
        logits = scores(output, len(y), self.where)
        if not logits.requires_grad:
            got = "an output without gradient"
            raise InputError(self.where, got=got, expected="one that depends on the parameters")
        loss = self.objective(logits, y, [], None)
        loss.backward()
        return Learned(float(loss.detach()), logits.detach(), [])

    def _script(self) -> SimpleNamespace:
        try:
            return load_script(self.path)
        except (Exception, SystemExit) as error:
            got = f"{self.path}: {_line(error)}"
            raise InputError(self.where, got=got, expected="a Python file that runs") from error


def _line(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
