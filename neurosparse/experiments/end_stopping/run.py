"""The experiment of bars: do the error units of a hierarchy that has seen photographs stop where a bar gets long?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.analysis.length_tuning import suppression_index
from neurosparse.analysis.receptive_fields import receptive_fields
from neurosparse.errors import InputError
from neurosparse.experiments.end_stopping.task import BarTask, bars, load_bar_task, teach
from neurosparse.experiments.provenance import origin, stat
from neurosparse.predictive import PredictiveNetwork, rao_ballard

__all__ = ["Tuning", "show_bars", "tune"]

CENTRE = 1  # the module in the middle
CONDITIONS = {"feedback": True, "no_feedback": False}


class Tuning(NamedTuple):
    """Magnitudes of the error units of the centre module, (rows, lengths, units), and which units were chosen."""

    feedback: Tensor
    no_feedback: Tensor
    chosen: Tensor


def tune(network: PredictiveNetwork, task: BarTask) -> Tuning:
    """Responses at rest to every bar; units are chosen on other bars, by what they prefer with feedback."""

    def respond(rows: tuple[int, ...], feedback: bool) -> Tensor:
        seen = rao_ballard.extract_patches(bars(task.lengths, rows, task.contrast).flatten(0, 1))
        found = rao_ballard.errors(network, seen, feedback)[:, CENTRE].abs()
        return found.unflatten(0, (len(rows), len(task.lengths)))

    best = respond(task.chosen_on, True).mean(0).argmax(0)
    chosen = torch.tensor(task.lengths)[best] < task.short
    with_it, without = (respond(task.rows, feedback) for feedback in CONDITIONS.values())
    return Tuning(with_it, without, chosen)


def show_bars(
    folder: str | PathLike[str],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    checkpoints: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda message, done, total: None,
) -> tuple[dict[str, Any], dict[str, PredictiveNetwork]]:
    """Let hierarchies learn from photographs, show them bars, and measure how their error units answer.

    Args:
        folder: the task's folder.
        seeds: one training each.
        checkpoints: where trainings keep themselves, so that a call that was interrupted goes on; None: nowhere.
        progress: told what is being learned, batches done, and of how many.

    Returns:
        Plain JSON-able values, a row for each of the settings; and the network of the first seed by name of its
        settings.

    Raises:
        InputError: no such task, no seed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> script = '''
        ... import torch, neurosparse as ns
        ... image = {"noise": torch.rand(40, 40, generator=torch.Generator().manual_seed(0))}
        ... prior = ns.predictive.Gaussian(5.0)
        ... settings = {"gaussian": ns.predictive.rao_ballard.Settings((prior, prior))}
        ... task = ns.experiments.BarTask("toy", "A toy", lambda: image, settings, batch_size=4, batches=2)
        ... '''
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train.py").write_text(script)
        ...     results, _ = show_bars(folder, seeds=[0])
        >>> results["settings"][0]["name"], results["bars"]["lengths"][:3]
        ('gaussian', [2, 4, 6])
    """
    task = load_bar_task(folder)
    if not len(seeds):
        raise InputError("show_bars", got="no seed", expected="at least one", fix="Pass seeds=[0].")
    images, rows, networks = task.images(), [], {}
    for name in task.settings:
        found = []
        for seed in seeds:
            watch = lambda done, total, said=f"{name}, seed {seed}": progress(said, done, total)  # noqa: E731
            network = teach(task, name, seed, images, checkpoints, watch)
            networks.setdefault(name, network)
            untaught = tune(rao_ballard.hierarchy(task.settings[name], seed), task).feedback.mean((0, 2))
            before = float(suppression_index(task.lengths, untaught, task.long))
            found.append(_measure(network, task, images) | {"index_before_learning": before})
        rows.append({"name": name, "settings": repr(task.settings[name])} | _over_seeds(found))
    budget = {key: getattr(task, key) for key in ("batch_size", "batches")}
    shown = {key: getattr(task, key) for key in ("long", "short", "contrast")}
    shown |= {key: list(getattr(task, key)) for key in ("lengths", "chosen_on", "rows")}
    header = {"task": task.name, "title": task.title, "seeds": list(seeds)} | origin(None)
    return header | {"budget": budget, "photographs": sorted(images), "bars": shown, "settings": rows}, networks


def _measure(network: PredictiveNetwork, task: BarTask, images: Mapping[str, Tensor]) -> dict[str, Any]:
    """One network: indices, curves as shares of their best, what it explains, what its fields look like."""
    tuning, index = tune(network, task), lambda responses: suppression_index(task.lengths, responses, task.long)
    found: dict[str, Any] = {"chosen": float(tuning.chosen.double().mean())}
    for name in CONDITIONS:
        responses = getattr(tuning, name)
        curve, cells = responses.mean((0, 2)), responses.mean(0).T
        found[f"index_{name}"] = float(index(curve))
        found[f"index_of_units_{name}"] = float(index(cells).mean())
        chosen = cells[tuning.chosen]
        found[f"index_of_chosen_{name}"] = float(index(chosen).mean()) if len(chosen) else None
        found[f"largest_{name}"] = float(curve.max())
        for key, rows in (("curves", responses.mean(2)), ("cells", chosen)):
            found[f"{key}_{name}"] = (rows / rows.amax(1, keepdim=True)).tolist()
    shapes = receptive_fields(rao_ballard.fields(network).level1).by_fit
    return found | _explained(network, task, images) | asdict(shapes)


def _explained(network: PredictiveNetwork, task: BarTask, images: Mapping[str, Tensor]) -> dict[str, float]:
    """Decibels of the photographs over what level 1 leaves; the share of level 1 that level 2 predicts."""
    x = next(task.stream(images, torch.Generator().manual_seed(2**31)))
    states = network.infer(clamp={2: x}, start="zero", steps=300, record=False)
    above, below = (float(error.square().sum()) for error in states.errors)
    snr = 10 * math.log10(float(x.square().sum()) / below)
    return {"snr": snr, "predicted": 1 - above / float(states.z[1].square().sum())}


def _over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means and spreads of numbers over seeds, and of curves over seeds and rows or seeds and cells."""
    numbers = {key: stat(one[key] for one in found) for key, value in found[0].items() if not isinstance(value, list)}
    curves = {}
    for key in (key for key, value in found[0].items() if isinstance(value, list)):
        rows = np.array([row for one in found for row in one[key]])
        some = len(rows) > 0
        spread = {"mean": rows.mean(0).tolist(), "sd": rows.std(0).tolist()} if some else {"mean": None, "sd": None}
        curves[key] = spread | {"rows": rows.round(4).tolist()}
    return numbers | curves
