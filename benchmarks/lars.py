"""Hard sparse codes to a duality gap of 1e-10 beside scikit-learn's LARS and coordinate descent.

make bench-lars

Whitened photograph patches of 16 x 16 pixels and variance 1, 512 patches as atoms, lambda 0.02, float64: more than half
of the dimensions are active. Gaps are computed in float64 from the codes. LARS and ``lasso_cd`` have no tolerance for a
gap; each stops by its own rule, with the budget written below.
"""

import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.decomposition import sparse_encode
from timing import interleaved, rows, write
from torch import Tensor

import neurosparse as ns
from neurosparse.coding.dictionary import certify, make_problem

WEIGHT, TOL, SAMPLES, REPEATS = 0.02, 1e-10, 20, 3


def data() -> tuple[Tensor, Tensor]:
    """Patches and atoms."""
    photographs = ns.io.photographs.natural_images(["china", "flower"])
    white = ns.coding.images.whiten(photographs, variance=1.0)
    drawn = ns.coding.images.patches(white, 16, 512 + SAMPLES, border=4, remove_mean=True).double()
    return drawn[512:], F.normalize(drawn[:512])


def ours(x: Tensor, atoms: Tensor) -> Tensor:
    return ns.solve(x, atoms, ns.l1(WEIGHT), "event", tol=TOL, record_events=False).a


def theirs(x: Tensor, atoms: Tensor, algorithm: str, budget: int, threads: int) -> Tensor:
    options = {"algorithm": algorithm, "alpha": WEIGHT, "max_iter": budget, "n_jobs": threads}
    return torch.from_numpy(sparse_encode(x.numpy(), atoms.numpy(), **options))


def main() -> None:
    warnings.simplefilter("ignore")  # scikit-learn warns of its own tolerance
    x, atoms = data()
    problem, table = make_problem(x, atoms, ns.l1(WEIGHT)), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs: dict[str, Callable[[], Tensor]] = {
            "scikit-learn lasso_lars": partial(theirs, x, atoms, "lasso_lars", 5000, threads),
            "scikit-learn lasso_cd": partial(theirs, x, atoms, "lasso_cd", 10_000, threads),
            "neurosparse coordinate descent": partial(ours, x, atoms),
        }
        found = rows("gap 1e-10, lambda 0.02, float64", interleaved(dict(runs), REPEATS), "scikit-learn lasso_lars")
        for row in found:
            gap = certify(x, atoms, problem, runs[str(row["subject"])]())[1]
            row |= {"threads": threads, "patches": len(x), "worst_gap": float(gap.max())}
            print(f"{row['subject']}: worst gap {row['worst_gap']:.1e}")
        table += found
    write("lars", table)


if __name__ == "__main__":
    main()
