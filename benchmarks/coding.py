"""Sparse coding of photograph patches, over the time of two dense products; beside FISTA, LCA, scikit-learn and SPAMS.

make bench-coding           # peers that are not installed are left out, and the output names them

Patches of 16 x 16 pixels, mean removed, mean squared norm 1; 512 atoms. The reference is the time of two dense products
in float32, ``x D^T`` and ``a D D^T``. Every solver gets the loosest setting that reaches the goal (mean objective over
the optimum, less 1) on other patches than those timed; the table holds the suboptimality on the timed ones.
"""

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from timing import interleaved, rows, write
from torch import Tensor

import neurosparse as ns
from neurosparse.coding.coordinate_descent import by_threshold
from neurosparse.coding.dictionary import make_problem
from neurosparse.coding.images import patches, whiten
from neurosparse.io.photographs import natural_images

ATOMS, SIZE, SAMPLES = 512, 16, 1000
CACHE = Path(__file__).parents[1] / "runs" / "bench-coding.pt"
GOALS = (1e-2, 1e-3, 1e-4)
FINE = 1e-8
SLOW = 20  # samples for peers that take milliseconds a sample; their seconds are scaled

Solver = Callable[[Tensor, Any], Tensor]


class Case(NamedTuple):
    """Atoms, lambda, patches to choose settings on and patches to time, and the name."""

    name: str
    dictionary: Tensor
    weight: float
    choose: Tensor
    timed: Tensor


def unit(x: Tensor) -> Tensor:
    x = x - x.mean(1, keepdim=True)
    return x / x.square().sum(1).mean().sqrt()


def cases() -> list[Case]:
    """Whitened patches with learned atoms, and raw patches with raw patches as atoms."""
    photographs = natural_images()
    white = whiten(photographs)
    drawn = {"white": partial(patches, white, SIZE, border=4), "raw": partial(patches, photographs, SIZE)}
    learned = atoms_of(unit(drawn["white"](30_000, 0)))
    raw = drawn["raw"](4 * ATOMS, 0)
    raw = raw - raw.mean(1, keepdim=True)
    raw = F.normalize(raw[raw.norm(dim=1) > 1][:ATOMS])
    return [
        Case("whitened patches, learned atoms", learned, 0.05, *(unit(drawn["white"](SAMPLES, s)) for s in (1, 2))),
        Case("raw patches, patches as atoms", raw, 0.05, *(unit(drawn["raw"](SAMPLES, s)) for s in (1, 2))),
    ]


def atoms_of(x: Tensor) -> Tensor:
    """Atoms, learned once and kept in runs/."""
    if not CACHE.exists():
        learner = ns.DictionaryLearning(ATOMS, 0.05, batch_size=512, random_state=0, code_tol=0.1)
        for batch in x.split(512):
            learner.partial_fit(batch.numpy())
        CACHE.parent.mkdir(exist_ok=True)
        torch.save(torch.from_numpy(learner.components_), CACHE)
    return torch.load(CACHE)


def objective(x: Tensor, dictionary: Tensor, weight: float, a: Tensor) -> float:
    x, dictionary, a = x.double(), dictionary.double(), a.double()
    return float((0.5 * (x - a @ dictionary).square().sum(1) + weight * a.abs().sum(1)).mean())


def fista(x: Tensor, dictionary: Tensor, weight: float, iterations: int) -> Tensor:
    """FISTA written with care: the Gram matrix once, the step 1 / L, nothing allocated twice."""
    gram = dictionary @ dictionary.T
    step = 1 / (float(torch.linalg.eigvalsh(dictionary.T @ dictionary)[-1]) * (1 + 1e-5))
    drive, t = x @ dictionary.T * step, 1.0
    a = y = torch.zeros_like(drive)
    shrink = torch.eye(len(gram), dtype=x.dtype) - step * gram
    for _ in range(iterations):
        following = F.softshrink(torch.addmm(drive, y, shrink), step * weight)
        t, last = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        y = torch.lerp(a, following, 1 + (last - 1) / t)
        a = following
    return a


def spams_code(x: Tensor, dictionary: Tensor, weight: float, how: str, setting: float) -> Tensor:
    import spams

    data, atoms = np.asfortranarray(x.numpy().T), np.asfortranarray(dictionary.numpy().T)
    threads = torch.get_num_threads()
    if how == "lasso":
        codes = spams.lasso(data, D=atoms, lambda1=weight, mode=2, numThreads=threads)
    else:
        from scipy.sparse import csc_matrix

        start = csc_matrix((atoms.shape[1], data.shape[1]), dtype=data.dtype)
        codes = spams.cd(data, atoms, A0=start, lambda1=weight, mode=2, itermax=1000, tol=setting, numThreads=threads)
    return torch.from_numpy(codes.toarray().T)


def lasso_cd(x: Tensor, dictionary: Tensor, weight: float, setting: float) -> Tensor:
    from sklearn.decomposition import sparse_encode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"algorithm": "lasso_cd", "alpha": weight, "max_iter": int(setting)}
        return torch.from_numpy(sparse_encode(x.numpy(), dictionary.numpy(), **options))


def ours(method: str, x: Tensor, dictionary: Tensor, weight: float, tol: float) -> Tensor:
    return ns.solve(x, dictionary, ns.l1(weight), method, tol=tol, record_events=False).a


def bare(x: Tensor, dictionary: Tensor, weight: float, tol: float) -> Tensor:
    return by_threshold(make_problem(x, dictionary, ns.l1(weight)), None, tol, 20_000, False)[0]


TOLERANCES = tuple(10 ** (-k / 8) for k in range(4, 120))
ITERATIONS = tuple(round(10 * 1.08**k) for k in range(100))
# Subject: the module it needs, how it solves, settings from loose to tight, whether it is slow.
SUBJECTS: dict[str, tuple[str, Callable[..., Tensor], tuple[float, ...], bool]] = {
    "neurosparse coordinate descent": ("torch", partial(ours, "coordinate_descent"), TOLERANCES, False),
    "neurosparse coordinate descent, uncertified": ("torch", bare, TOLERANCES, False),
    "torch FISTA": ("torch", fista, ITERATIONS, False),
    "neurosparse fista": ("torch", partial(ours, "fista"), TOLERANCES, False),
    "neurosparse lca": ("torch", partial(ours, "lca"), TOLERANCES, False),
    "SPAMS cd": ("spams", lambda *args: spams_code(*args[:3], "cd", args[3]), TOLERANCES, False),
    "SPAMS lasso": ("spams", lambda *args: spams_code(*args[:3], "lasso", args[3]), (0.0,), False),
    "scikit-learn lasso_cd": ("sklearn", lasso_cd, (1000,), True),
}


def chosen(
    case: Case, run: Callable[..., Tensor], settings: tuple[float, ...], goal: float, dtype: Any
) -> float | None:
    """The loosest setting that reaches the goal on patches that are not timed."""
    x, dictionary = case.choose[:400].to(dtype), case.dictionary.to(dtype)
    best = objective(x, dictionary, case.weight, optimum(x, dictionary, case.weight))
    for setting in settings:  # from loose to tight: a tight one may take thousands of iterations
        reached = objective(x, dictionary, case.weight, run(x, dictionary, case.weight, setting)) / best - 1
        if reached <= goal:
            return setting
    return None


def optimum(x: Tensor, dictionary: Tensor, weight: float) -> Tensor:
    return ours("coordinate_descent", x.double(), dictionary.double(), weight, 1e-8)


def timed(case: Case, goal: float, threads: int, names: tuple[str, ...], dtype: Any) -> list[dict[str, object]]:
    """All subjects in turn at one goal."""
    x, dictionary = case.timed.to(dtype), case.dictionary.to(dtype)
    gram, single, atoms = case.dictionary @ case.dictionary.T, case.timed, case.dictionary
    runs: dict[str, Callable[[], object]] = {"dense products": lambda: (single @ atoms.T) @ gram}
    found: dict[str, tuple[Callable[..., Tensor], float, int]] = {}
    for name in names:
        module, run, settings, slow = SUBJECTS[name]
        if importlib.util.find_spec(module) is None:
            continue
        setting = settings[0] if len(settings) == 1 else chosen(case, run, settings, goal, dtype)
        if setting is None:
            print(f"{name}: no setting reaches {goal:g}")
            continue
        found[name] = run, setting, SLOW if slow else len(x)
        runs[name] = partial(run, x[: found[name][2]], dictionary, case.weight, setting)
    seconds = interleaved(runs, 5)
    for name, (_, _, samples) in found.items():
        seconds[name] *= len(x) / samples
    best = optimum(x, dictionary, case.weight)
    precision = "float64" if dtype == torch.float64 else "float32"
    table = rows(f"{case.name}, {goal:g}, {precision}", seconds, "dense products")
    for row in table:
        row |= {"threads": threads, "patches": len(x)}
        if row["subject"] not in found:
            print(f"{row['case']}, {threads} threads: floor {1e6 * seconds['dense products'] / len(x):.1f} us a patch")
            continue
        run, setting, samples = found[str(row["subject"])]
        part = x[:samples]
        codes = run(part, dictionary, case.weight, setting)
        reached = objective(part, dictionary, case.weight, codes)
        row["setting"] = setting
        row["suboptimality"] = reached / objective(part, dictionary, case.weight, best[:samples]) - 1
        if str(row["subject"]).startswith("neurosparse coordinate descent"):
            row |= work(part, dictionary, case.weight, setting)
        print(f"  {row['subject']:<32} {row['ratio']:8.2f} x, {row['suboptimality']:.1e}, setting {setting:.3g}")
    return table


def work(x: Tensor, dictionary: Tensor, weight: float, tol: float) -> dict[str, object]:
    """Events and multiply-accumulates a patch, as counted by the meter."""
    x = x[:200]
    model = torch.nn.Module()
    model.forward = lambda x: ns.solve(x, dictionary, ns.l1(weight), "coordinate_descent", tol=tol).a  # type: ignore
    code = ns.solve(x, dictionary, ns.l1(weight), "coordinate_descent", tol=tol, record_events=False)
    with ns.record(model) as tape:
        model(x)
    return {
        "events": float(code.iterations.double().mean()),
        "macs": ns.count(tape).totals["effective_macs"] / len(x),
        "active": float((code.a != 0).double().mean()),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore", ns.NotConverged)
    for module in sorted({module for module, *_ in SUBJECTS.values()}):
        if importlib.util.find_spec(module) is None:
            print(f"{module} is not installed here")
    table: list[dict[str, object]] = []
    single = tuple(name for name in SUBJECTS if not name.startswith("scikit"))
    fine = (
        "neurosparse coordinate descent",
        "neurosparse coordinate descent, uncertified",
        "SPAMS lasso",
        "scikit-learn lasso_cd",
    )
    white, raw = cases()
    quick = tuple(name for name in single if name != "neurosparse lca")  # it takes seconds on raw patches
    for threads in (2, 1):
        torch.set_num_threads(threads)
        for goal in GOALS if threads == 2 else GOALS[1:]:
            table += timed(white, goal, threads, single, torch.float32)
        table += timed(white, FINE, threads, fine, torch.float64)
        table += timed(raw, GOALS[-1], threads, quick, torch.float32)
    for row in table:
        if "events" in row:
            print(f"{row['case']:<52} {row['events']:7.1f} events {row['macs']:9.0f} MAC, {row['active']:.1%} active")
    write("coding", table)
