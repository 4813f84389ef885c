"""Dictionary learning on natural images: seconds to equal objective on held-out images, beside SPAMS and scikit-learn.

make bench-dictionary            # peers that are not installed are left out, and the output names them

The objective is ``0.5 ||x - a D||^2 + 0.1 ||a||_1`` with 256 atoms on 12 x 12 patches of whitened photographs, two of
seven held out. All learners start from the same atoms, learn from the same patches, and take turns in slices of a
second, so that other work on the machine slows all of them alike. Atoms are normalised and held-out patches coded to a
duality gap of 1e-3; this evaluation is not timed.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning
from timing import write

import neurosparse as ns

SIZE, ATOMS, LAMBDA, THREADS = 12, 256, 0.1, 2
HELD_OUT = ("camera", "flower")
SLICES, SLICE_SECONDS, SEEDS = 10, 1, (0, 1, 2)

Learner = Iterator[np.ndarray]
"""Each step learns from one slice of batches and yields the atoms (atoms, features)."""


def batches(x: np.ndarray, size: int) -> Iterator[np.ndarray]:
    while True:
        for start in range(0, len(x) - size + 1, size):
            yield x[start : start + size]


def online(estimator: ns.DictionaryLearning | MiniBatchDictionaryLearning, x: np.ndarray, size: int) -> Learner:
    stream = batches(x, size)
    while True:
        started = time.perf_counter()
        while time.perf_counter() - started < SLICE_SECONDS:
            estimator.partial_fit(next(stream))
        yield estimator.components_


def ours(x: np.ndarray, start: np.ndarray) -> Learner:
    yield from online(ns.DictionaryLearning(ATOMS, LAMBDA, dict_init=start, random_state=0), x, 512)


def scikit_learn(x: np.ndarray, start: np.ndarray) -> Learner:
    options = {"fit_algorithm": "cd", "dict_init": start, "random_state": 0}
    yield from online(MiniBatchDictionaryLearning(ATOMS, alpha=LAMBDA, **options), x, 256)


def spams(x: np.ndarray, start: np.ndarray) -> Learner:
    import spams

    # A negative number of iterations means seconds.
    options = {"lambda1": LAMBDA, "mode": 2, "batchsize": 512, "numThreads": THREADS, "iter": -SLICE_SECONDS}
    atoms, columns, model = np.asfortranarray(start.T), np.asfortranarray(x.T), {}
    where, half = np.random.default_rng(0), len(x) // 2  # every call starts with the first of its columns
    while True:
        begin = where.integers(half)
        atoms, kept = spams.trainDL(
            columns[:, begin : begin + half], D=atoms, return_model=True, verbose=False, **model, **options
        )
        model = {"model": kept}
        yield atoms.T


SUBJECTS: dict[str, Callable[[np.ndarray, np.ndarray], Learner]] = {
    "neurosparse": ours,
    "SPAMS trainDL": spams,
    "scikit-learn MiniBatch": scikit_learn,
}


def curves(seed: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of learning and held-out objective after each slice, by subject."""
    white = ns.coding.images.whiten(ns.io.photographs.natural_images(), variance=0.1)
    held_out = {name: white.pop(name) for name in HELD_OUT}
    options = {"border": 4, "remove_mean": True}
    x = ns.coding.images.patches(white, SIZE, 60_000, seed, **options)
    test = ns.coding.images.patches(held_out, SIZE, 1_000, 100, **options)
    start = torch.nn.functional.normalize(x[x.norm(dim=1) > 0.5][-ATOMS:]).numpy()

    def evaluated(atoms: np.ndarray) -> float:
        dictionary = torch.nn.functional.normalize(torch.tensor(atoms, dtype=torch.float32))
        code = ns.solve(test, dictionary, ns.l1(LAMBDA), "coordinate_descent", tol=1e-3, record_events=False)
        return float(code.objective.mean())

    present = {name: make for name, make in SUBJECTS.items() if name in available()}
    for make in present.values():
        next(make(x.numpy()[:2000], start))  # compiled and loaded before the timing
    learners = {name: make(x.numpy(), start) for name, make in present.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [(0.0, evaluated(start))] for name in learners}
    for _ in range(SLICES):
        for name, learner in learners.items():
            started = time.perf_counter()
            atoms = next(learner)
            seconds = found[name][-1][0] + time.perf_counter() - started
            found[name].append((seconds, evaluated(atoms)))
    return found


def available() -> set[str]:
    return {name for name in SUBJECTS if name != "SPAMS trainDL" or importlib.util.find_spec("spams")}


def seconds_to(curve: list[tuple[float, float]], goal: float) -> float:
    """When the curve first crosses the goal, by linear interpolation between two evaluations."""
    for (before, high), (after, low) in pairwise(curve):
        if low <= goal:
            return before + (after - before) * (high - goal) / max(high - low, 1e-12) if high > goal else before
    return float("nan")


def race(seed: int) -> list[dict[str, object]]:
    """neurosparse beside each peer, to the best objective that both of them reached."""
    found, table = curves(seed), []
    for name, curve in found.items():
        print(f"seed {seed} {name:<24}" + "".join(f"  {seconds:4.1f} s {value:.4f}" for seconds, value in curve[::2]))
    for peer in found.keys() - {"neurosparse"}:
        pair = {name: found[name] for name in ("neurosparse", peer)}
        goal = max(min(value for _, value in curve) for curve in pair.values())
        seconds = {name: seconds_to(curve, goal) for name, curve in pair.items()}
        case = f"to {goal:.4f}, seed {seed}"
        facts = {"case": case, "peer": peer, "threads": THREADS, "objective": goal, "seed": seed}
        table += [{**facts, "subject": n, "seconds": s, "ratio": s / seconds[peer]} for n, s in seconds.items()]
    return table


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")  # scikit-learn warns of codes that its limit of iterations leaves above 1e-8
    if missing := SUBJECTS.keys() - available():
        print(f"not installed: {', '.join(missing)}")
    write("dictionary", [row for seed in SEEDS for row in race(seed)])
