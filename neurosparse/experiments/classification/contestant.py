"""A contestant: one TOML file, one network at one operating point."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from neurosparse.baselines import METHODS, Pruning, pruning
from neurosparse.errors import InputError
from neurosparse.experiments.classification.layers import check_layers, parse_layer
from neurosparse.experiments.folder import read_table, refuse_unknown

__all__ = ["FAMILIES", "Contestant", "read_contestant", "read_contestants"]

FAMILIES = {
    "relu": "ReLU",
    "lif": "LIF",
    "kwta": "k-WTA",
    "sparse-code": "sparse code",
    "predictive": "predictive coding",
    "gru": "GRU",
    "fly": "mushroom body",
}
"""What a contestant's ``family`` may be, and how it is called in reports."""

PRUNED = ("pruned", "pruning", "granularity", "distribution", "lasso")
COMPRESSED = (*PRUNED, "bits", "quantised")
LEARNED = (
    "layers",
    "dropout",
    "label_smoothing",
    "activity_penalty",
    *COMPRESSED,
    "distillation",
    "temperature",
    "longer",
)
OVER_TIME = ("steps", "encoding", "collision", "readout", "readout_beta")
USED = {
    "relu": ("levels", "bins", *LEARNED),
    "lif": (*OVER_TIME, "beta", "learn_beta", "threshold", "surrogate", "recurrent", *LEARNED),
    "gru": (*OVER_TIME, *LEARNED),
    "kwta": ("active_fraction", *COMPRESSED),
    "sparse-code": ("atoms", "code_penalty"),
    "fly": ("cells", "inputs", "active_fraction"),
    "predictive": (
        "inference_steps",
        "inference_mode",
        "activation",
        "order",
        "target",
        "nudge",
        "label_smoothing",
        *COMPRESSED,
    ),
}
"""The keys each family reads; any other would be ignored in silence, so it is refused."""

WHOLE = {
    "steps": 10_000,
    "levels": 127,
    "bins": 10_000,
    "atoms": 10**6,
    "cells": 10**6,
    "inputs": 10**6,
    "inference_steps": 10**6,
    "longer": 100,
}
NUMBERS = {
    "beta": (0.0, 1.0),
    "readout_beta": (0.0, 1.0),
    "threshold": (1e-6, 1e6),
    "dropout": (0.0, 0.99),
    "label_smoothing": (0.0, 0.99),
    "pruned": (0.0, 0.999),
    "lasso": (0.0, 1e3),
    "distillation": (0.0, 1.0),
    "temperature": (1e-3, 1e3),
    "activity_penalty": (0.0, 1e6),
    "active_fraction": (1e-6, 1.0),
    "code_penalty": (1e-9, 1e6),
    "nudge": (0.0, 10.0),
}
WORDS = {
    "family": tuple(FAMILIES),
    "encoding": ("current", "latency", "events"),
    "collision": ("sum", "any"),
    "readout": ("mean", "membrane", "peak", "last"),
    "surrogate": ("triangle", "boxcar", "atan", "fast_sigmoid"),
    "bits": (*range(2, 9), 32),
    "quantised": ("after", "training"),
    "pruning": tuple(METHODS),
    "distribution": (None, "global", "uniform", "erk"),
    "activation": ("relu", "tanh"),
    "target": ("squared", "cross_entropy"),
    "order": ("act_after", "act_before"),
    "inference_mode": ("strict", "fixed_prediction", "z_il"),
}


@dataclass(frozen=True)
class Contestant:
    """One network at one operating point; every key of its TOML file is a field here.

    Args:
        name: the file's name without ``.toml``.
        family: ``"relu"``, ``"lif"``, ``"kwta"``, ``"sparse-code"``, ``"predictive"`` or ``"gru"``.
        note: one line for the report.
        layers: hidden layers in the words of ``layers.parse_layer``, such as ``"conv 32 5 norm pool 2"`` or
            ``"linear 256"``; none: linear ones of the task's widths.
        steps: time steps of a network over time; of recordings: bins asked of their steps, 1 keeps them as they are.
        encoding: how data reach a network over time: ``"current"`` (the same graded value at every step, charged once),
            ``"latency"`` (one spike, the stronger the earlier), or ``"events"``, the recording itself.
        collision: events that share a bin are one graded event (``"sum"``) or one spike (``"any"``).
        bins: a network without time sees the counts of a recording's events in that many bins; none: their sum.
        readout: of a network over time: ``"mean"`` of the outputs; of a leaky ``"membrane"`` that sums them, or its
            ``"peak"``; the ``"last"`` output.
        readout_beta: decay per step of that membrane.
        beta, threshold: membrane decay per step and threshold of a spiking network.
        learn_beta: train the decay of every unit.
        surrogate: derivative of a spike: ``"triangle"``, ``"boxcar"``, ``"atan"`` or ``"fast_sigmoid"``.
        recurrent: every linear layer of spiking neurons also feeds itself.
        dropout: share of hidden units that are silenced during training, the same at all steps of a sample.
        label_smoothing: share of each label's weight that goes to all classes alike.
        pruned: share of weights that is removed during training.
        pruning: how: a row of :data:`neurosparse.baselines.METHODS`, such as ``"gradual"`` or ``"rigl"``.
        granularity: what is pruned together: ``"weight"``, ``"row"``, ``"block 4 4"`` or ``"n:4"``.
        distribution: how layers share: ``"global"``, ``"uniform"`` or ``"erk"``; none: the method's own.
        lasso: price in the loss of each weight's magnitude, or of each group's norm if the granularity names groups;
            paid by proximal steps until the weights are pruned.
        distillation: weight of the answers of the same network, uncompressed, which is trained before.
        temperature: of those answers.
        longer: how many times the task's epochs it trains, for methods whose epochs cost less than others'.
        bits: precision of weights and graded activations: 32, or 2 (ternary weights) to 8.
        quantised: ``"after"`` training, or in ``"training"``, with gradients that pass straight through.
        levels: quantise ReLU activations to ``levels + 1`` values: the fair twin of a spiking network with ``levels``
            steps.
        activity_penalty: weight in the loss of the mean over hidden units of spike counts or magnitudes.
        active_fraction: share of units that win in a k-WTA layer, or of cells that fire in a mushroom body.
        cells, inputs: of a mushroom body, which is drawn and never trained: Kenyon cells, and what each of them sums.
        atoms, code_penalty: of a sparse code: dictionary size, lambda.
        inference_steps, inference_mode: of a predictive-coding network, while it learns.
        activation, order, target: of a predictive-coding network: its hidden units, whether they are active before or
            after their weights, and what its output's error is of.
        nudge: how strongly its output is drawn to the target while it learns; 0 clamps it.

    Raises:
        InputError: a value out of range, or a setting that the family does not use.

    Example:
        >>> Contestant("quiet", "lif", steps=4, activity_penalty=0.1).settings
        {'family': 'lif', 'steps': 4, 'activity_penalty': 0.1}
    """

    name: str
    family: str
    note: str = ""
    layers: tuple[str, ...] = ()
    steps: int = 1
    encoding: str = "current"
    collision: str = "sum"
    bins: int | None = None
    readout: str = "mean"
    readout_beta: float = 0.9
    beta: float = 0.9
    learn_beta: bool = False
    threshold: float = 1.0
    surrogate: str = "triangle"
    recurrent: bool = False
    dropout: float = 0.0
    label_smoothing: float = 0.0
    pruned: float = 0.0
    pruning: str = "gradual"
    granularity: str = "weight"
    distribution: str | None = None
    lasso: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    longer: int = 1
    bits: int = 32
    quantised: str = "after"
    levels: int | None = None
    activity_penalty: float = 0.0
    active_fraction: float = 0.1
    cells: int = 2000
    inputs: int = 7
    atoms: int = 256
    code_penalty: float = 0.1
    inference_steps: int = 20
    inference_mode: str = "strict"
    activation: str = "relu"
    order: str = "act_after"
    nudge: float = 0.0
    target: str = "cross_entropy"

    def __post_init__(self) -> None:
        for key, known in WORDS.items():
            self._among(key, known)
        if not isinstance(self.note, str):
            self._refuse("note", "text")
        for key in ("learn_beta", "recurrent"):
            if not isinstance(getattr(self, key), bool):
                self._refuse(key, "true or false")
        for key, most in WHOLE.items():
            value = getattr(self, key)
            if value is not None and (type(value) is not int or not 1 <= value <= most):
                self._refuse(key, f"a whole number, 1 <= {key} <= {most}")
        for key, (low, high) in NUMBERS.items():
            value = getattr(self, key)
            if type(value) not in (int, float) or not low <= value <= high:
                self._refuse(key, f"a number, {low} <= {key} <= {high}")
        for key in self.settings:
            if key != "family" and key not in USED[self.family]:
                self._refuse(key, f"settings of family {self.family!r}: {', '.join(USED[self.family])}")
        if self.readout not in ("mean", *{"lif": ("membrane", "peak"), "gru": ("last",)}.get(self.family, ())):
            self._refuse("readout", f"what family {self.family!r} has")
        if not isinstance(self.layers, list | tuple) or not all(isinstance(text, str) for text in self.layers):
            self._refuse("layers", 'a list of texts, such as ["conv 32 5", "linear 256"]')
        object.__setattr__(self, "layers", tuple(self.layers))
        self._check_compression()
        where = f"contestant {self.name!r}"
        check_layers(where, [parse_layer(where, text) for text in self.layers], self.family)

    def _check_compression(self) -> None:
        if not self.pruned:
            for key in ("pruning", "distribution", *(() if self.lasso else ("granularity",))):
                if key in self.settings:
                    self._refuse(key, "pruned above 0 beside it")
        if self.quantised == "training" and self.bits == 32:
            self._refuse("quantised", "fewer bits beside it")
        if self.pruning == "synflow" and (self.family != "relu" or self.levels):
            self._refuse("pruning", "another method where activations do not pass all that is positive")
        if not isinstance(self.granularity, str) or (self.lasso and self.granularity.startswith("n:")):
            self._refuse("granularity", "text; with a lasso, weights, rows or blocks")
        try:
            # A lasso without pruning reads the granularity, too.
            _ = self.plan or Pruning(0.0, granularity=self.granularity)
        except InputError as error:
            raise InputError(f"contestant {self.name!r}: got {self.settings}; {error}") from error

    def _among(self, key: str, known: tuple) -> None:
        if getattr(self, key) not in known or isinstance(getattr(self, key), bool):
            self._refuse(key, f"one of {', '.join(map(repr, known))}")

    def _refuse(self, key: str, expected: str) -> None:
        raise InputError(f"contestant {self.name!r}", got=f"{key}={getattr(self, key)!r}", expected=expected)

    @property
    def plan(self) -> Pruning | None:
        """How it is pruned; None: it is not."""
        if not self.pruned:
            return None
        other = {} if self.distribution is None else {"distribution": self.distribution}
        return pruning(self.pruning, self.pruned, granularity=self.granularity, **other)

    @property
    def uncompressed(self) -> Contestant:
        """The same network with all its weights in full precision, and no teacher."""
        defaults = {field.name: field.default for field in fields(self)}
        return replace(self, **{key: defaults[key] for key in (*COMPRESSED, "distillation", "temperature")})

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the defaults: the contestant in a line."""
        defaults = {field.name: field.default for field in fields(self)}
        return {
            key: value for key, value in asdict(self).items() if value != defaults[key] and key not in ("name", "note")
        }


def read_contestant(path: str | PathLike[str]) -> Contestant:
    """Read one TOML file; its name is the contestant's name.

    Args:
        path: for example ``models/digits/lif.toml``.

    Returns:
        the `Contestant`.

    Raises:
        MissingFileError: no such file, naming the contestants that exist.
        InputError: not TOML, an unknown key, a value out of range.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "lif.toml").write_text('family = "lif"\\nsteps = 8')
        ...     read_contestant(Path(folder, "lif.toml")).steps
        8
    """
    found = read_contestants(path)
    if len(found) > 1:
        got = f"{len(found)} operating points"
        raise InputError(f"contestant {Path(path).stem!r}", got=got, expected="one", fix=f"Name {found[0].name!r}.")
    return found[0]


def read_contestants(path: str | PathLike[str]) -> list[Contestant]:
    """Read one TOML file in which one number may be a list: one contestant for each, ``rigl-0.8``, ``rigl-0.9``, ...

    Args:
        path: for example ``models/lenet-300-100/rigl.toml``.

    Returns:
        the contestants, in the order of the list.

    Raises:
        MissingFileError, InputError: what :func:`read_contestant` raises, and more than one list.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "pruned.toml").write_text('family = "relu"\\npruned = [0.8, 0.9]')
        ...     [contestant.name for contestant in read_contestants(Path(folder, "pruned.toml"))]
        ['pruned-0.8', 'pruned-0.9']
    """
    path = Path(path)
    where = f"contestant {path.stem!r}"
    table = read_table(path, where)
    refuse_unknown(table, [field.name for field in fields(Contestant) if field.name != "name"], where)
    if "family" not in table:
        raise InputError(where, got="no family", expected=f"family = one of {', '.join(FAMILIES)}")
    lists = [key for key, value in table.items() if isinstance(value, list) and key in (*NUMBERS, *WHOLE, "bits")]
    if not lists:
        return [Contestant(name=path.stem, **table)]
    if len(lists) > 1 or not table[lists[0]]:
        raise InputError(where, got=f"lists of {', '.join(lists)}", expected="at most one list, of numbers")
    return [Contestant(name=f"{path.stem}-{value}", **(table | {lists[0]: value})) for value in table[lists[0]]]
