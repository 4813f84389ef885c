"""The contest of images made: from labels, judged by a classifier; from their upper halves, beside plain rivals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.experiments.checkpoint import load_weights, save_weights
from neurosparse.experiments.classification.split import Split
from neurosparse.experiments.generation.model import (
    GenerativeTask,
    decide,
    fit_error_model,
    imagine,
    inpaint,
    learn_images,
)
from neurosparse.experiments.provenance import origin, stat
from neurosparse.predictive import PredictiveNetwork

__all__ = ["make_images", "trained", "upper_half"]

Watch = Callable[[str, int, int], None]
EACH = 50  # images imagined of each label
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)


class Pictures(NamedTuple):
    """Flat images (samples, pixels) and labels (samples) of each part."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def pictures(split: Split) -> Pictures:
    """The same images, flat.

    Raises:
        InputError: recordings, which are no images.

    Example:
        >>> part = torch.rand(5, 1, 4, 4), torch.zeros(5, dtype=torch.long)
        >>> pictures(Split(part, part, part)).test[0].shape
        torch.Size([5, 16])
    """
    parts = [(x.flatten(1), y) for x, y in (split.train, split.validation, split.test) if isinstance(x, Tensor)]
    if len(parts) < 3:
        raise InputError("make_images", got="recordings", expected="images, (samples, ...)", fix="Bin them first.")
    return Pictures(*parts)


def upper_half(pixels: int) -> Tensor:
    """Which pixels of a square image are in its upper half.

    Example:
        >>> upper_half(4)
        tensor([ True,  True, False, False])
    """
    return torch.arange(pixels) < pixels // 2


def make_images(
    task: GenerativeTask,
    seeds: Sequence[int] = (0, 1, 2),
    folder: Path | None = None,
    watch: Watch = lambda what, step, steps: None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Train with every seed, choose the learning rate on validation images, look at the test images once.

    Args:
        task: images, labels, budget.
        seeds: one training each.
        folder: keeps trained networks, which are then used again; None keeps none.
        watch: told what is trained, the step, and of how many.

    Returns:
        plain JSON-able results; rows of images to look at, of the first seed.

    Example:
        >>> part = torch.rand(60, 16, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
        >>> task = GenerativeTask("toy", "A toy", lambda: Split(part, part, part), (8,), 3, 1, 20, (0.01,), settle=5)
        >>> results, rows = make_images(task, seeds=[0])
        >>> sorted(results["in_painting"]), rows["upper half"].shape
        (['best label', 'class mean, told', 'free label', 'mean', 'nearest', 'ridge'], torch.Size([10, 16]))
    """
    split = pictures(task.data())
    (x, y), (images, _) = split.train, split.validation
    known = upper_half(x.shape[1])
    tried = {}
    for rate in task.learning_rates:
        network = trained(task, x, y, rate, seeds[0], folder, watch)
        tried[rate] = _error(_filled(task, network, images, known)[0], images, known)
    rate = min(tried, key=tried.__getitem__)
    networks = [trained(task, x, y, rate, seed, folder, watch) for seed in seeds]
    judge = _judge(x, y)
    made = [_imagined(task, network, split, judge, seed) for network, seed in zip(networks, seeds, strict=True)]
    painted = [_painted(task, network, split, known) for network in networks]
    ours, read = (_stats([one[key] for one in painted]) for key in ("error", "accuracy"))
    rivals, guesses, ridge = _rivals(split, known)
    budget = {field.name: getattr(task, field.name) for field in fields(task) if field.name not in ("name", "title")}
    budget = {key: value for key, value in budget.items() if key != "data"} | {"rate": rate, "tried": tried}
    results = {
        "name": task.name,
        "title": task.title,
        "split": {part: len(labels) for part, (_, labels) in split._asdict().items()},
        "seeds": list(seeds),
        "budget": budget,
        "generation": _stats(made) | {"judge": _accuracy(judge, *split.test)},
        "in_painting": ours | {name: {"mean": value, "sd": None} for name, value in rivals.items()},
        "label": read | {name: {"mean": value, "sd": None} for name, value in guesses.items()},
    }
    return origin(None) | results, _rows(task, networks[0], split, known, ridge)


def trained(
    task: GenerativeTask,
    x: Tensor,
    y: Tensor,
    rate: float,
    seed: int,
    folder: Path | None = None,
    watch: Watch = lambda what, step, steps: None,
) -> PredictiveNetwork:
    """A network of this budget, from the folder if it is there; arguments as of `learn_images` and `make_images`.

    Example:
        >>> x, y = torch.rand(6, 4), torch.arange(6) % 2
        >>> task = GenerativeTask("toy", "A toy", lambda: Split((x, y), (x, y), (x, y)), (8,), 2, 1, 3, (0.01,))
        >>> trained(task, x, y, rate=0.01, seed=0)
        PredictiveNetwork(
        ...
    """
    budget = {field.name: getattr(task, field.name) for field in fields(task) if field.name not in ("data", "settle")}
    text = json.dumps([budget, len(x), rate, seed], sort_keys=True)
    path = None if folder is None else folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
    network = task.network(x.shape[1], seed)
    if path is not None and load_weights(path, network) is not None:
        return network
    network = learn_images(task, x, y, rate, seed, lambda step, steps: watch(f"{task.name}, {seed}", step, steps))
    if path is not None:
        save_weights(path, network, {"rate": rate, "seed": seed})
    return network


def _imagined(
    task: GenerativeTask, network: PredictiveNetwork, split: Pictures, judge: Any, seed: int
) -> dict[str, float]:
    """What a classifier sees in images of labels, and how much they differ: beside test images of a label, 1."""
    x, y = split.train
    labels = torch.arange(task.classes).repeat_interleave(EACH)
    errors = fit_error_model(network, x[:2000], y[:2000], task.settle)
    drawn = imagine(network, labels, errors.draw(len(labels), torch.Generator().manual_seed(seed)))
    test, truth = split.test
    return {
        "one pass": _accuracy(judge, imagine(network, torch.arange(task.classes)), torch.arange(task.classes)),
        "drawn": _accuracy(judge, drawn, labels),
        "diversity": _spread(drawn, labels) / _spread(test, truth),
    }


def _painted(task: GenerativeTask, network: PredictiveNetwork, split: Pictures, known: Tensor) -> dict[str, Any]:
    """Error of the lower half, and whether the label was right: relaxed freely, and the best of all labels."""
    x, y = split.test
    free = inpaint(network, x, known, steps=task.settle, record=False)
    best, label = _filled(task, network, x, known)
    whole = inpaint(network, x, torch.ones_like(known), steps=task.settle, record=False)
    return {
        "error": {"free label": _error(free.image, x, known), "best label": _error(best, x, known)},
        "accuracy": {
            "free label": float((free.states.z[0].argmax(1) == y).float().mean()),
            "best label": float((label == y).float().mean()),
            "free label, whole image": float((whole.states.z[0].argmax(1) == y).float().mean()),
        },
    }


def _filled(task: GenerativeTask, network: PredictiveNetwork, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The image under the label that explains its known half best, and that label."""
    label = decide(network, x, known, task.settle)
    return inpaint(network, x, known, label, steps=task.settle, record=False).image, label


def _rivals(split: Pictures, known: Tensor) -> tuple[dict[str, float], dict[str, float], Tensor]:
    """Errors of plain ways to fill in the lower half, accuracies of plain ways to tell the label; ridge's images."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge

    (x, y), (other, _), (test, truth) = split.train, split.validation, split.test
    mean = torch.stack([x[y == label].mean(0) for label in range(int(y.max()) + 1)])
    nearest = torch.cdist(test[:, known], x[:, known]).argmin(1)
    lines = [Ridge(alpha).fit(x[:, known], x[:, ~known]) for alpha in RIDGES]
    fits = [np.square(line.predict(other[:, known]) - other[:, ~known].numpy()).mean() for line in lines]
    ridge = test.clone()
    ridge[:, ~known] = torch.tensor(lines[int(np.argmin(fits))].predict(test[:, known]), dtype=x.dtype)
    images = {"mean": x.mean(0).expand_as(test), "class mean, told": mean[truth], "nearest": x[nearest], "ridge": ridge}
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[:, known], y)
    guesses = {
        "nearest": float((y[nearest] == truth).float().mean()),
        "linear": _accuracy(linear, test[:, known], truth),
    }
    return {name: _error(image, test, known) for name, image in images.items()}, guesses, ridge


def _rows(
    task: GenerativeTask, network: PredictiveNetwork, split: Pictures, known: Tensor, ridge: Tensor
) -> dict[str, Tensor]:
    """One image of each label, as made in one pass, drawn thrice, and filled in."""
    (x, y), (test, truth) = split.train, split.test
    labels = torch.arange(task.classes)
    rows = {"label, one pass": imagine(network, labels)}
    errors, generator = fit_error_model(network, x[:2000], y[:2000], task.settle), torch.Generator().manual_seed(0)
    for number in ("first", "second", "third"):
        rows[f"{number} draw"] = imagine(network, labels, errors.draw(len(labels), generator))
    some = torch.stack([(truth == label).nonzero()[0, 0] for label in labels if bool((truth == label).any())])
    some = torch.cat([some, torch.arange(len(test))])[:10]
    half = test[some].masked_fill(~known, float("nan"))
    painted, _ = _filled(task, network, test[some], known)
    return rows | {"test image": test[some], "upper half": half, "in-painted": painted, "ridge": ridge[some]}


def _judge(x: Tensor, y: Tensor) -> Any:
    """A classifier that has nothing to do with the network."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((128,), early_stopping=True, random_state=0, max_iter=200).fit(x, y)


def _accuracy(judge: Any, x: Tensor, y: Tensor) -> float:
    return float((judge.predict(x.numpy()) == y.numpy()).mean())


def _error(image: Tensor, truth: Tensor, known: Tensor) -> float:
    return float((image - truth)[:, ~known].square().mean())


def _spread(x: Tensor, y: Tensor) -> float:
    """Mean distance of two images of a label."""
    return float(torch.stack([torch.pdist(x[y == label]).mean() for label in y.unique()]).mean())


def _stats(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {key: stat(one[key] for one in found) for key in found[0]}
