"""Images made from labels, and lower halves made from upper halves, by one predictive-coding network.

A network predicts images from labels and learns by its local rule. Afterwards it runs in both directions: one pass from
a label gives an image; with the upper half of an image clamped, label and hidden states relax, and predict the lower
half. Error units that send less are counted on digits (``channels.py``).

neurosparse run models/predictive-generation                      # digits and Fashion-MNIST
neurosparse run models/predictive-generation --only digits        # minutes
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import neurosparse as ns

HERE = Path(__file__).parent
model = ns.experiments.load_script(HERE / "model.py")
channels = ns.experiments.load_script(HERE / "channels.py")
baselines = ns.experiments.load_script(HERE / "baselines.py")
accuracy, error, spread = baselines.accuracy, baselines.error, baselines.spread

EACH = 50  # images generated of each label
COSTED = 200  # images in-painted with channels of several thresholds

Part = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, and the budget of a network that predicts the images from the labels.

    Args:
        name, title: for reports.
        data: returns the split; square images, pixels 0 to 1.
        hidden: widths of the hidden layers.
        classes: number of labels.
        epochs, batch_size: the budget.
        learning_rates: one tuning trial each; the in-painting error of validation images decides, first seed.
        weight_decay: of AdamW.
        steps: of inference, of each training batch.
        settle: steps of inference when an image is in-painted.
    """

    name: str
    title: str
    data: Callable[[], ns.Split]
    hidden: tuple[int, ...]
    classes: int
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    weight_decay: float = 0.1
    steps: int = 20
    settle: int = 150

    def network(self, pixels: int, seed: int) -> ns.PredictiveNetwork:
        """Label -> hidden -> image, weights drawn from ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ns.PredictiveNetwork((self.classes, *self.hidden, pixels), order="act_before", steps=self.steps)


@dataclass(frozen=True)
class GenerationTask:
    """Generation, in-painting and classification on several sets of images.

    Args:
        name, title: for reports.
        sets: of images.
        thresholds: by name of a set, those of the channels whose communication cost is counted.
    """

    name: str
    title: str
    sets: tuple[ImageSet, ...]
    thresholds: Mapping[str, tuple[float, ...]]

    def run(
        self,
        seeds: Sequence[int] = (0, 1, 2),
        callback: ns.experiments.Callback | None = None,
        *,
        folder: Path | None = None,
        only: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Train with every seed, choose the learning rate on validation images, read the test images once.

        ``only`` are names of sets; all by default.
        """
        seeds = ns.experiments.check_seeds(seeds)
        sets = {one.name: one for one in self.sets}
        for name in only:
            if name not in sets:
                raise ns.InputError("--only", got=name, expected=f"one of {', '.join(sets)}")
        header = {"task": self.name, "title": self.title, "seeds": seeds}
        found = header | ns.experiments.origin(ns.experiments.command(HERE, seeds, only=only))
        for name in only or sets:
            found[name] = make_images(sets[name], seeds, callback, folder, self.thresholds.get(name, ()))
        return found

    def table(self, results: dict[str, Any]) -> Any:
        """Squared error of the in-painted half and accuracy of its label, a row for each way, for a terminal."""
        return ns.report.as_table(self.title, columns(self, results))

    def save(self, results: dict[str, Any], folder: Path) -> Path:
        """Write ``results.json``, ``communication-cost.png``, and ``images.png`` of the sets whose images are kept."""
        path = ns.report.write_results(results, folder)
        shown = {one: kept_rows(folder, results[one.name]) for one in self.sets if one.name in results}
        draws = [partial(ns.plot.images, rows, title=one.title) for one, rows in shown.items() if rows]
        if draws:
            size = (6.2 * len(draws), 5.0)
            path = ns.report.write_figure(draws, Path(folder, "images.png"), size, columns=len(draws), dpi=90)
        costs = [results[one.name].get("communication_cost") for one in shown]
        panels = [panel for cost in costs if cost for panel in channels.pictures(cost)]
        if panels:
            ns.report.write_figure(
                panels, Path(folder, "communication-cost.png"), (14, 4 * len(panels) // 3), columns=3, dpi=90
            )
        return path


# ---- training


def learn_images(
    images: ImageSet, x: Tensor, y: Tensor, rate: float, seed: int,
    callback: Callable[[int, int], None] | None = None,
) -> ns.PredictiveNetwork:  # fmt: skip
    """Clamp labels below and images above, relax the hidden states, let every layer learn from its own error.

    Args:
        images: the budget.
        x, y: images (samples, pixels) and labels (samples).
        rate: learning rate, the highest one of a one-cycle schedule.
        seed: of weights and of the order of images.
        callback: called after each step with the step, and of how many.
    """
    network, generator = images.network(x.shape[1], seed), torch.Generator().manual_seed(seed)
    labels, steps = F.one_hot(y, images.classes).to(x.dtype), images.epochs * math.ceil(len(x) / images.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=images.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    dt: float | str = "auto"
    for _ in range(images.epochs):
        batches = torch.randperm(len(x), generator=generator).split(images.batch_size)
        for number, batch in enumerate(batches):
            # Weights change slowly, and the step is half of what is stable: it is computed at every tenth batch.
            dt = "auto" if number % 10 == 0 else dt
            try:
                states = network.infer(labels[batch], x[batch], dt=dt, check=False, record=False)
            except ns.InputError:  # they have changed faster
                states = network.infer(labels[batch], x[batch], dt="auto", check=False, record=False)
            dt = states.dt
            network.learn(states)
            optimizer.step()
            schedule.step()
            if callback:
                callback(schedule.last_epoch, steps)
    return network


def trained(
    images: ImageSet, x: Tensor, y: Tensor, rate: float, seed: int,
    callback: ns.experiments.Callback | None = None, folder: Path | None = None,
) -> ns.PredictiveNetwork:  # fmt: skip
    """A network of this budget, from its checkpoint in the folder if there is one; arguments as of `learn_images`."""
    names = [field.name for field in fields(images) if field.name not in ("data", "settle")]
    text = json.dumps([{name: getattr(images, name) for name in names}, len(x), rate, seed], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = None if folder is None else Path(folder, "checkpoints", f"{digest}.safetensors")
    network = images.network(x.shape[1], seed)
    if path is not None and ns.experiments.load_weights(path, network) is not None:
        return network
    progress = callback and partial(callback, f"{images.name}, rate {rate:g}, seed {seed}")
    network = learn_images(images, x, y, rate, seed, progress)
    if path is not None:
        ns.experiments.save_weights(path, network, {"rate": rate, "seed": seed})
    return network


# ---- evaluation


def make_images(
    images: ImageSet,
    seeds: Sequence[int],
    callback: ns.experiments.Callback | None = None,
    folder: Path | None = None,
    thresholds: Sequence[float] = (),
) -> dict[str, Any]:
    """Results of one set of images; rows of images of the first seed are kept in the folder."""
    split = images.data()
    parts = [(x.flatten(1), y) for x, y in (split.train, split.validation, split.test)]
    (x, y), (validation, _), test = parts
    known = upper_half(x.shape[1])
    tried = {}
    for rate in images.learning_rates:
        network = trained(images, x, y, rate, seeds[0], callback, folder)
        tried[rate] = error(filled(images, network, validation, known)[0], validation, known)
    rate = min(tried, key=tried.__getitem__)
    networks = [trained(images, x, y, rate, seed, callback, folder) for seed in seeds]
    judge = baselines.evaluator(x, y)
    made = [generated(images, network, parts, judge, seed) for network, seed in zip(networks, seeds, strict=True)]
    painted = [inpainted(images, network, test, known) for network in networks]
    errors, accuracies = (stats([one[key] for one in painted]) for key in ("error", "accuracy"))
    others, guesses, ridge = baselines.baselines(parts, known)
    names = [field.name for field in fields(images) if field.name not in ("name", "title", "data")]
    budget = {name: getattr(images, name) for name in names} | {"rate": rate, "tried": tried}
    found = {
        "name": images.name,
        "title": images.title,
        "split": split.sizes,
        "seeds": list(seeds),
        "budget": json.loads(json.dumps(budget)),
        "generation": stats(made) | {"judge": accuracy(judge, *test)},
        "in_painting": errors | {name: {"mean": value, "sd": None} for name, value in others.items()},
        "label": accuracies | {name: {"mean": value, "sd": None} for name, value in guesses.items()},
    }
    if thresholds:
        some, labels = (part[:COSTED] for part in test)
        cost = channels.communication_cost(networks, some, labels, known, thresholds, images.settle)
        found["communication_cost"] = {"images": len(some), "steps": images.settle} | cost
    if folder:
        rows = example_rows(images, networks[0], parts, known, ridge)
        path = Path(folder, "images", f"{images.name}.safetensors")
        ns.experiments.write_checkpoint(path, rows, {"seeds": found["seeds"], "budget": found["budget"]})
    return found


def upper_half(pixels: int) -> Tensor:
    """Which pixels of a square image are in its upper half, (pixels)."""
    return torch.arange(pixels) < pixels // 2


def filled(images: ImageSet, network: ns.PredictiveNetwork, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The images in-painted under the labels of least energy, and these labels."""
    label = model.classify(network, x, known, images.settle)
    return model.inpaint(network, x, known, label, steps=images.settle, record=False).image, label


def generated(
    images: ImageSet, network: ns.PredictiveNetwork, parts: Sequence[Part], judge: Any, seed: int
) -> dict[str, float]:
    """Accuracy of a classifier on generated images; their diversity, as a multiple of that of test images."""
    (x, y), _, test = parts
    labels = torch.arange(images.classes).repeat_interleave(EACH)
    errors = model.fit_error_model(network, x[:2000], y[:2000], images.settle)
    drawn = model.generate(network, labels, errors.draw(len(labels), torch.Generator().manual_seed(seed)))
    once = torch.arange(images.classes)
    return {
        "one pass": accuracy(judge, model.generate(network, once), once),
        "drawn": accuracy(judge, drawn, labels),
        "diversity": spread(drawn, labels) / spread(*test),
    }


def inpainted(images: ImageSet, network: ns.PredictiveNetwork, test: Part, known: Tensor) -> dict[str, Any]:
    """Error of the lower half, and accuracy of the label: relaxed freely, and the one of least energy."""
    (x, y), steps = test, images.settle
    free = model.inpaint(network, x, known, steps=steps, record=False)
    best, label = filled(images, network, x, known)
    whole = model.inpaint(network, x, torch.ones_like(known), steps=steps, record=False)
    return {
        "error": {"free label": error(free.image, x, known), "best label": error(best, x, known)},
        "accuracy": {
            "free label": float((free.states.z[0].argmax(1) == y).float().mean()),
            "best label": float((label == y).float().mean()),
            "free label, whole image": float((whole.states.z[0].argmax(1) == y).float().mean()),
        },
    }


def stats(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {key: ns.experiments.stat(one[key] for one in found) for key in found[0]}


# ---- report


def example_rows(
    images: ImageSet, network: ns.PredictiveNetwork, parts: Sequence[Part], known: Tensor, ridge: Tensor
) -> dict[str, Tensor]:
    """One image of each label: of one pass, drawn three times, and in-painted."""
    (x, y), _, (test, truth) = parts
    labels = torch.arange(images.classes)
    rows = {"label, one pass": model.generate(network, labels)}
    errors = model.fit_error_model(network, x[:2000], y[:2000], images.settle)
    generator = torch.Generator().manual_seed(0)
    for number in ("first", "second", "third"):
        rows[f"{number} draw"] = model.generate(network, labels, errors.draw(len(labels), generator))
    some = torch.stack([(truth == label).nonzero()[0, 0] for label in labels if bool((truth == label).any())])
    some = torch.cat([some, torch.arange(len(test))])[:10]
    half = test[some].masked_fill(~known, float("nan"))
    painted, _ = filled(images, network, test[some], known)
    return rows | {"test image": test[some], "upper half": half, "in-painted": painted, "ridge": ridge[some]}


def kept_rows(folder: Path, found: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The rows of images that a run with these results kept, in their order; None where there are none."""
    kept = ns.experiments.read_checkpoint(Path(folder, "images", f"{found['name']}.safetensors"))
    if kept is None or kept[1] != {"seeds": found["seeds"], "budget": found["budget"]}:
        return None
    order = ("label, one pass", "first draw", "second draw", "third draw")
    return {name: kept[0][name] for name in (*order, "test image", "upper half", "in-painted", "ridge")}


def columns(task: GenerationTask, results: Mapping[str, Any]) -> list[list[str]]:
    """The table as rows of text: a head, then a row for each way to fill in the lower half, and to tell its label."""
    mean_sd, found = ns.report.mean_sd, [results[one.name] for one in task.sets if one.name in results]
    rows = [["", *(one["name"] for one in found)]]
    for key, said, digits in (("in_painting", "squared error", 4), ("label", "accuracy of the label", 3)):
        rows += [[f"{said}, {way}", *(mean_sd(one[key][way], digits) for one in found)] for way in found[0][key]]
    ways = [way for way in found[0]["generation"] if way != "judge"]
    return rows + [[f"generated, {way}", *(mean_sd(one["generation"][way], 3) for one in found)] for way in ways]


# ---- the task


def digits() -> ns.Split:
    """The images and the split of models/digits."""
    return ns.experiments.load_task(HERE.parent / "digits", ns.Task).data()


def fashion() -> ns.Split:
    """The first images of each part of models/fashion-mnist: enough for a network of this size."""
    split = ns.experiments.load_task(HERE.parent / "fashion-mnist", ns.Task).data()
    parts = zip((split.train, split.validation, split.test), (10000, 500, 1000), strict=True)
    return ns.Split(*((x[:some], y[:some]) for (x, y), some in parts))


task = GenerationTask(
    name="predictive-generation",
    title="Images from labels, lower halves from upper halves",
    sets=(
        ImageSet(
            name="digits",
            title="Handwritten digits (8 x 8 pixels, scikit-learn)",
            data=digits,
            hidden=(128, 128),
            classes=10,
            epochs=30,
            batch_size=50,
            learning_rates=(0.003, 0.01),
            weight_decay=1.0,
        ),
        ImageSet(
            name="fashion-mnist",
            title="Fashion-MNIST (28 x 28 pixels)",
            data=fashion,
            hidden=(128, 128),
            classes=10,
            epochs=6,
            batch_size=100,
            learning_rates=(0.005,),
            weight_decay=0.3,
        ),
    ),
    thresholds={"digits": (0.003, 0.01, 0.03, 0.1, 0.3)},
)
