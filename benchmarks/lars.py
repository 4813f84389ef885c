"""Sparse codes certified by their duality gap: hard ones beside scikit-learn, common ones beside two dense products.

make bench-lars

Whitened photograph patches of 16 x 16 pixels, 512 patches as atoms, lambda 0.02, float64: of variance 1, where more
than half of the dimensions are active, and of mean squared norm 1, there also with every atom twice. Gaps are computed
in float64 from the codes. LARS and ``lasso_cd`` have no tolerance for a gap; each stops by its own rule, with the
budget written below.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from coding import Case, cases
from sklearn.decomposition import sparse_encode
from timing import interleaved, rows, write
from torch import Tensor

import neurosparse as ns
from neurosparse.coding.dictionary import certify, make_problem

WEIGHT, TOL, REPEATS = 0.02, 1e-10, 3
CASES = ("variance 1", "norm 1", "norm 1, every atom twice")
GOALS = {"norm 1": 0.3, "norm 1, every atom twice": 0.3}  # over lasso_cd


def data(case: str) -> tuple[Tensor, Tensor]:
    """Patches and atoms."""
    samples = 20 if case == "variance 1" else 50
    photographs = ns.io.photographs.natural_images(["china", "flower"])
    white = ns.coding.images.whiten(photographs, variance=1.0)
    drawn = ns.coding.images.patches(white, 16, 512 + samples, border=4, remove_mean=True).double()
    x, atoms = drawn[512:], F.normalize(drawn[:512])
    x = x if case == "variance 1" else x / x.square().sum(1).mean().sqrt()
    return x, atoms.repeat(2, 1) if "twice" in case else atoms


def ours(x: Tensor, atoms: Tensor) -> Tensor:
    return ns.solve(x, atoms, ns.l1(WEIGHT), "event", tol=TOL, record_events=False).a


def theirs(x: Tensor, atoms: Tensor, algorithm: str, budget: int, threads: int) -> Tensor:
    options = {"algorithm": algorithm, "alpha": WEIGHT, "max_iter": budget, "n_jobs": threads}
    return torch.from_numpy(sparse_encode(x.numpy(), atoms.numpy(), **options))


def timed(case: str, threads: int) -> list[dict[str, Any]]:
    x, atoms = data(case)
    problem = make_problem(x, atoms, ns.l1(WEIGHT))
    runs: dict[str, Callable[[], Tensor]] = {
        "scikit-learn lasso_lars": partial(theirs, x, atoms, "lasso_lars", 5000, threads),
        "scikit-learn lasso_cd": partial(theirs, x, atoms, "lasso_cd", 10_000, threads),
        "neurosparse coordinate descent": partial(ours, x, atoms),
    }
    goals = {"neurosparse coordinate descent": GOALS[case]} if case in GOALS else None
    found = rows(f"gap 1e-10, {case}", interleaved(runs, REPEATS), "scikit-learn lasso_cd", goals)
    for row in found:
        gap = certify(x, atoms, problem, runs[row["subject"]]())[1]
        row |= {"threads": threads, "patches": len(x), "worst_gap": float(gap.max())}
        print(f"{case}, {row['subject']}: {1e6 * row['seconds'] / len(x):.0f} us a patch, gap {row['worst_gap']:.1e}")
    return found


def certified(case: Case, threads: int) -> list[dict[str, Any]]:
    """Codes with a duality gap below the tolerance, and what a record of their events costs."""
    table = []
    for dtype, tol, goal in ((torch.float32, 1e-3, 3.0), (torch.float32, 1e-4, 3.0), (torch.float64, 1e-10, 2.5)):
        x, atoms = case.timed.to(dtype), case.dictionary.to(dtype)
        gram = atoms @ atoms.T
        solve = partial(ns.solve, x, atoms, ns.l1(case.weight), "event", tol=tol)
        assert solve().gap.max() <= tol
        runs: dict[str, Callable[[], object]] = {
            "dense products": lambda x=x, atoms=atoms, gram=gram: (x @ atoms.T) @ gram,
            "neurosparse": partial(solve, record_events=False),
            "neurosparse, recorded": solve,
        }
        seconds, work = interleaved(runs, 7), f"{case.name}, certified to {tol:g}, {str(dtype)[6:]}"
        recorded = {name: seconds[name] for name in ("neurosparse", "neurosparse, recorded")}
        found = rows(work, seconds, "dense products", {"neurosparse": goal})
        found += rows(f"{work}, recorded", recorded, "neurosparse", {"neurosparse, recorded": 1.15})
        table += [row | {"threads": threads, "patches": len(x)} for row in found]
    return table


if __name__ == "__main__":
    table, (_, raw) = [], cases()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for case in CASES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn warns of its own tolerance
                table += timed(case, threads)
        table += certified(raw, threads)
    write("lars", table)
