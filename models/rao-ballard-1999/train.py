"""End-stopping (Rao & Ballard 1999): error units that respond to short bars, and less to long ones.

A predictive hierarchy learns from photographs. Level 2 predicts level 1 of three neighbouring patches, so it predicts
the middle of a long bar, and the error units of the centre patch respond to it less than to a short bar.

neurosparse run models/rao-ballard-1999                 # both priors, three seeds each: minutes
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import neurosparse as ns
from neurosparse.analysis import suppression_index
from neurosparse.predictive import rao_ballard
from neurosparse.predictive.rao_ballard import AREA, SIDE, Gaussian, Settings

CENTRE = 1  # the module in the middle
CONDITIONS = {"feedback": True, "no_feedback": False}
LEGEND = {"feedback": "with feedback", "no_feedback": "feedback cut"}
EVERY = 20.0  # seconds between two checkpoints
CLOSER, SLOWER = 40, 1.015  # rates are divided by 1.015 every 40 batches; the paper does it every 40 patches
GROWING = 20  # batches in which weights grow fast: the inference step is computed at each, later at every 20th
SHOWN = 48  # fields of level 2 in the picture


@dataclass(frozen=True)
class EndStoppingTask:
    """Photographs, a training budget, and bars.

    Args:
        name, title: for reports.
        images: returns photographs (height, width) by name, in grey levels.
        settings: of each hierarchy, by name.
        batch_size, batches: the budget.
        lengths: of the bars, even numbers of pixels up to 26.
        long: the length whose response is compared with the best one.
        short: units whose best bar is shorter than this are also evaluated on their own.
        contrast: grey levels by which a bar is darker than its ground.
        chosen_on: top rows of the bars by which those units are chosen.
        rows: top rows of the bars of the evaluation; others than ``chosen_on``, so that the choice does not bias them.
    """

    name: str
    title: str
    images: Callable[[], Mapping[str, Tensor]]
    settings: Mapping[str, Settings]
    batch_size: int = 200
    batches: int = 800
    lengths: tuple[int, ...] = tuple(range(2, 27, 2))
    long: int = 24
    short: int = 16
    contrast: float = 50.0
    chosen_on: tuple[int, ...] = (4, 6, 8, 10)
    rows: tuple[int, ...] = (3, 5, 7, 9, 11)

    def run(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        callback: ns.experiments.Callback | None = None,
        *,
        folder: Path | None = None,
    ) -> dict[str, Any]:
        """Train hierarchies on photographs, present bars, and compute the responses of their error units."""
        seeds, images, rows = ns.experiments.check_seeds(seeds), self.images(), []
        for name, settings in self.settings.items():
            found = []
            for seed in seeds:
                progress = callback and partial(callback, f"{name}, seed {seed}")
                network = train(self, name, seed, images, folder, progress)
                untrained = tune(rao_ballard.hierarchy(settings, seed), self).feedback.mean((0, 2))
                before = float(suppression_index(self.lengths, untrained, self.long))
                found.append(evaluate(network, self, images) | {"index_before_learning": before})
            rows.append({"name": name, "settings": repr(settings)} | over_seeds(found))
        shown = {key: getattr(self, key) for key in ("long", "short", "contrast")}
        shown |= {key: list(getattr(self, key)) for key in ("lengths", "chosen_on", "rows")}
        header = {"task": self.name, "title": self.title, "seeds": seeds}
        header |= ns.experiments.origin(ns.experiments.command(Path(__file__).parent, seeds))
        header |= {"budget": {"batch_size": self.batch_size, "batches": self.batches}, "photographs": sorted(images)}
        return header | {"bars": shown, "settings": rows}

    def table(self, results: dict[str, Any]) -> Any:
        """The table for a terminal."""
        return ns.report.as_table(results["title"], columns(results))

    def markdown(self, results: dict[str, Any]) -> str:
        """The table for a document."""
        return ns.report.as_markdown(columns(results))

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json`` and ``end-stopping.png``.

        The picture shows, for each of the settings, the tuning of all error units of the centre module and of those
        that prefer short bars; before them the fields of both levels, where the trained network is in the folder.
        """
        ns.report.write_results(results, folder)
        networks = [trained(self, one["name"], results["seeds"][0], folder) for one in results["settings"]]
        draws, columns = [], 2 if None in networks else 4
        for one, network in zip(results["settings"], networks, strict=True):
            draws += [*(pictures_of_fields(one["name"], network) if columns == 4 else ())]
            draws += [tuning(one, results["bars"], "curves", "all error units of the centre")]
            draws += [tuning(one, results["bars"], "cells", "units that prefer short bars")]
        size = (4.25 * columns, 4.2 * len(networks))
        return ns.report.write_figure(draws, Path(folder, "end-stopping.png"), size, columns=columns, dpi=90)


# ---- training


def stream(task: EndStoppingTask, images: Mapping[str, Tensor], generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of patches without end, drawn from the photographs."""
    height, width = AREA
    top = (width - height) // 2
    for squares in ns.coding.images.stream(images, width, task.batch_size, generator):
        yield rao_ballard.extract_patches(squares.view(-1, width, width)[:, top : top + height])


def train(
    task: EndStoppingTask,
    name: str,
    seed: int,
    images: Mapping[str, Tensor],
    folder: Path | None = None,
    callback: Callable[[int, int], None] | None = None,
    every: float = EVERY,
) -> ns.PredictiveNetwork:
    """One training; one that was interrupted continues from its checkpoint.

    Args:
        task: photographs and budget.
        name: of the settings.
        seed: draws weights and patches.
        images: what ``task.images`` returned.
        folder: of the results, with the checkpoints in it; None: nothing is kept.
        callback: called after each batch with batches done, and of how many.
        every: seconds between two checkpoints.
    """
    settings, generator = task.settings[name], torch.Generator().manual_seed(seed)
    network = rao_ballard.hierarchy(settings, generator)
    path = None if folder is None else checkpoint(task, name, seed, folder)
    found = ns.experiments.read_checkpoint(path) if path else None
    begin, dt = 0, 0.0
    if found:
        generator.set_state(found[0].pop("generator"))
        network.load_state_dict(found[0])
        begin, dt = found[1]["batches"], found[1]["dt"]
    patches, kept = stream(task, images, generator), time.monotonic()
    for batch in range(begin, task.batches):
        step = "auto" if batch < GROWING or batch % GROWING == 0 else dt
        dt = rao_ballard.learn(network, next(patches), settings, SLOWER ** -(batch // CLOSER), step).dt
        if path and (batch + 1 == task.batches or time.monotonic() - kept > every):
            state = network.state_dict() | {"generator": generator.get_state()}
            ns.experiments.write_checkpoint(path, state, {"batches": batch + 1, "dt": dt})
            kept = time.monotonic()
        if callback:
            callback(batch + 1, task.batches)
    return network


def trained(task: EndStoppingTask, name: str, seed: int, folder: Path) -> ns.PredictiveNetwork | None:
    """The network of a training that is done; None where the folder has none."""
    found = ns.experiments.read_checkpoint(checkpoint(task, name, seed, folder))
    if found is None or found[1]["batches"] < task.batches:
        return None
    network = rao_ballard.hierarchy(task.settings[name])
    network.load_state_dict({key: value for key, value in found[0].items() if key != "generator"})
    return network


def checkpoint(task: EndStoppingTask, name: str, seed: int, folder: Path) -> Path:
    """A file name that changes with everything that training depends on but code and photographs."""
    text = json.dumps([task.name, task.batch_size, task.batches, repr(task.settings[name])])
    return Path(folder, "checkpoints", f"{name}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors")


# ---- evaluation


class Tuning(NamedTuple):
    """Magnitudes of the error units of the centre module, (rows, lengths, units), and which units were chosen."""

    feedback: Tensor
    no_feedback: Tensor
    chosen: Tensor


def bars(lengths: Sequence[int], rows: Sequence[int], contrast: float) -> Tensor:
    """Dark horizontal bars, two pixels high, in the middle of the width: (rows, lengths, 16, 26)."""
    drawn = torch.zeros(len(rows), len(lengths), *AREA)
    for i, row in enumerate(rows):
        for j, length in enumerate(lengths):
            left = (AREA[1] - length) // 2
            drawn[i, j, row : row + 2, left : left + length] = -contrast
    return drawn


def tune(network: ns.PredictiveNetwork, task: EndStoppingTask) -> Tuning:
    """Responses at rest to every bar; units are chosen on other bars, by the length they prefer with feedback."""

    def respond(rows: Sequence[int], feedback: bool) -> Tensor:
        patches = rao_ballard.extract_patches(bars(task.lengths, rows, task.contrast).flatten(0, 1))
        found = rao_ballard.errors(network, patches, feedback)[:, CENTRE].abs()
        return found.unflatten(0, (len(rows), len(task.lengths)))

    best = respond(task.chosen_on, True).mean(0).argmax(0)
    chosen = torch.tensor(task.lengths)[best] < task.short
    with_feedback, without = (respond(task.rows, feedback) for feedback in CONDITIONS.values())
    return Tuning(with_feedback, without, chosen)


def evaluate(network: ns.PredictiveNetwork, task: EndStoppingTask, images: Mapping[str, Tensor]) -> dict[str, Any]:
    """One network: suppression indices, tuning curves as shares of their maximum, explained variance, field shapes."""
    responses_of = tune(network, task)
    found: dict[str, Any] = {"chosen": float(responses_of.chosen.double().mean())}
    for name in CONDITIONS:
        responses = getattr(responses_of, name)
        curve, cells = responses.mean((0, 2)), responses.mean(0).T
        chosen = cells[responses_of.chosen]
        found[f"index_{name}"] = float(suppression_index(task.lengths, curve, task.long))
        found[f"index_of_units_{name}"] = float(suppression_index(task.lengths, cells, task.long).mean())
        index = float(suppression_index(task.lengths, chosen, task.long).mean()) if len(chosen) else None
        found[f"index_of_chosen_{name}"] = index
        found[f"largest_{name}"] = float(curve.max())
        for key, rows in (("curves", responses.mean(2)), ("cells", chosen)):
            found[f"{key}_{name}"] = (rows / rows.amax(1, keepdim=True)).tolist()
    shapes = ns.receptive_fields(rao_ballard.fields(network).level1).by_fit
    return found | explained(network, task, images) | asdict(shapes)


def explained(network: ns.PredictiveNetwork, task: EndStoppingTask, images: Mapping[str, Tensor]) -> dict[str, float]:
    """Signal-to-noise ratio of level 1's prediction of the image in dB; the share of level 1 that level 2 predicts."""
    x = next(stream(task, images, torch.Generator().manual_seed(2**31)))
    states = network.infer(clamp={2: x}, start="zero", steps=300, record=False)
    above, below = (float(error.square().sum()) for error in states.errors)
    snr = 10 * math.log10(float(x.square().sum()) / below)
    return {"snr": snr, "predicted": 1 - above / float(states.z[1].square().sum())}


def over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means and deviations of numbers over seeds, and of curves over seeds and rows or seeds and cells."""
    names = [key for key, value in found[0].items() if not isinstance(value, list)]
    numbers = {key: ns.experiments.stat(one[key] for one in found) for key in names}
    curves = {}
    for key in (key for key, value in found[0].items() if isinstance(value, list)):
        rows = np.array([row for one in found for row in one[key]])
        some = len(rows) > 0
        spread = {"mean": rows.mean(0).tolist(), "sd": rows.std(0).tolist()} if some else {"mean": None, "sd": None}
        curves[key] = spread | {"rows": rows.round(4).tolist()}
    return numbers | curves


# ---- report


def columns(results: Mapping[str, Any]) -> list[list[str]]:
    """The table as rows of text: a head, then a row for each of the settings."""
    mean_sd, percent = ns.report.mean_sd, ns.report.percent
    short = results["bars"]["short"]
    head = ["prior", "index", "index, feedback cut", "index before learning", f"units best below {short} px, %"]
    rows = [[*head, "their index", "their index, feedback cut", "r predicted %", "SNR dB", "oriented %"]]
    for one in results["settings"]:
        row = [one["name"], mean_sd(one["index_feedback"], 3), mean_sd(one["index_no_feedback"], 3)]
        row += [mean_sd(one["index_before_learning"], 3), percent(one["chosen"])]
        row += [mean_sd(one[f"index_of_chosen_{key}"], 3) for key in LEGEND]
        rows.append([*row, percent(one["predicted"]), mean_sd(one["snr"], 1), percent(one["oriented"])])
    return rows


def pictures_of_fields(name: str, network: ns.PredictiveNetwork) -> list[Callable[..., Any]]:
    """The fields of level 1, and the strongest of level 2."""
    level1, level2 = rao_ballard.fields(network)
    strongest = level2[level2.norm(dim=1).argsort(descending=True)[:SHOWN]]
    first = partial(ns.plot.atoms, level1, (SIDE, SIDE), 12)
    second = partial(ns.plot.atoms, strongest, AREA, 6)
    titles = f"{name}: the fields of level 1", f"{name}: the {SHOWN} strongest fields of level 2"
    return [partial(titled, draw, title) for draw, title in zip((first, second), titles, strict=True)]


def tuning(one: Mapping[str, Any], bars: Mapping[str, Any], kind: str, title: str) -> Callable[..., Any]:
    """Responses over the length of the bar, with feedback and without."""
    curves = {said: np.array(one[f"{kind}_{key}"]["rows"]) for key, said in LEGEND.items()}
    ylabel = "|r - r_td|, share of the best length"
    some = all(map(len, curves.values()))
    draw = partial(ns.plot.length_tuning, bars["lengths"], curves, ylabel) if some else nothing
    return partial(titled, draw, f"{one['name']}: {title}")


def nothing(ax: Any) -> Any:
    """The word "none" on empty axes."""
    ax.set_axis_off()
    ax.annotate("none", (0.5, 0.5), ha="center")
    return ax


def titled(draw: Callable[..., Any], title: str, ax: Any) -> Any:
    """A picture with a title."""
    draw(ax=ax).set_title(title, fontsize="medium")
    return ax


# ---- the task


def images() -> dict[str, Tensor]:
    """The natural photographs of scikit-learn and scikit-image in grey levels, so that sigma = 1 is one of 256."""
    return {name: 255 * image for name, image in ns.io.photographs.natural_images().items()}


# Level 2 as published has alpha = 0.05 and lambda = 0.02. Only their product matters; this division of it settles in
# fewer steps.
LEVEL2 = Gaussian(50.0)
# Level 1 as published has alpha = 1 and lambda = 0.02. Under the kurtotic prior, alpha / 2 log(1 + r^2), both are forty
# times as large: the scale of r is the same, and the prior takes effect within this budget.

task = EndStoppingTask(
    name="rao-ballard-1999",
    title="Rao & Ballard 1999: error units and the length of bars",
    images=images,
    settings={
        "gaussian": Settings((Gaussian(1.0), LEVEL2), rates=(0.1, 1000.0), decays=(0.02, 2e-5)),
        "kurtotic": Settings((ns.log(20.0), LEVEL2), rates=(0.1, 1000.0), decays=(0.8, 2e-5)),
    },
)
