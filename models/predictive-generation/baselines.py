"""Baselines of in-painting and classification from half an image, and a classifier that evaluates generated images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)


def baselines(
    parts: Sequence[tuple[Tensor, Tensor]], known: Tensor
) -> tuple[dict[str, float], dict[str, float], Tensor]:
    """Errors of simple predictors of the lower half, accuracies of simple classifiers; images of ridge regression."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge

    (x, y), (other, _), (test, truth) = parts
    mean = torch.stack([x[y == label].mean(0) for label in range(int(y.max()) + 1)])
    nearest = torch.cdist(test[:, known], x[:, known]).argmin(1)
    lines = [Ridge(alpha).fit(x[:, known], x[:, ~known]) for alpha in RIDGES]
    fits = [np.square(line.predict(other[:, known]) - other[:, ~known].numpy()).mean() for line in lines]
    ridge = test.clone()
    ridge[:, ~known] = torch.tensor(lines[int(np.argmin(fits))].predict(test[:, known]), dtype=x.dtype)
    images = {"mean": x.mean(0).expand_as(test), "class mean, told": mean[truth], "nearest": x[nearest], "ridge": ridge}
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[:, known], y)
    guesses = {"nearest": float((y[nearest] == truth).float().mean())}
    guesses |= {"linear": accuracy(linear, test[:, known], truth)}
    return {name: error(image, test, known) for name, image in images.items()}, guesses, ridge


def evaluator(x: Tensor, y: Tensor) -> Any:
    """A classifier that is independent of the network."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((128,), early_stopping=True, random_state=0, max_iter=200).fit(x, y)


def accuracy(judge: Any, x: Tensor, y: Tensor) -> float:
    return float((judge.predict(x.numpy()) == y.numpy()).mean())


def error(image: Tensor, truth: Tensor, known: Tensor) -> float:
    """Mean squared error of the pixels that are not known."""
    return float((image - truth)[:, ~known].square().mean())


def spread(x: Tensor, y: Tensor) -> float:
    """Mean distance of two images of a label."""
    return float(torch.stack([torch.pdist(x[y == label]).mean() for label in y.unique()]).mean())
