"""Online dictionary learning (Mairal et al. 2010) as a scikit-learn estimator, with the solvers of this library."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import sparse_encode
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from neurosparse.checks import number, one_of, positive, tensor, whole
from neurosparse.coding.penalty import Penalty, l1, nonnegative_l1
from neurosparse.coding.solve import Code, NotConverged, encode, warn_above
from neurosparse.coding.update import Statistics, accumulate, learn_atoms, replace_dead
from neurosparse.errors import InputError

__all__ = ["DictionaryLearning"]

# Exact LASSO solvers by other names: codes are the same, so ours is used.
EXACT: dict[str, str] = dict.fromkeys(("event", "lars", "cd", "lasso_lars", "lasso_cd"), "coordinate_descent")
OURS = ("coordinate_descent", "fista", "ista", "lca")
THEIRS = ("omp", "lars", "threshold")
SMALLEST = 1e-6  # of the largest drive: the lambda that stands for 0
FIT_PASSES = 500  # over the coefficients of a batch
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}  # of transform
NAME = "DictionaryLearning"


class DictionaryLearning(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Online dictionary learning: atoms of unit norm that code the data sparsely.

    ``min_{a, D} sum_n 0.5 ||x_n - a_n D||^2 + alpha ||a_n||_1``, one batch at a time: codes by a certified solver,
    atoms by descent on the quadratic model that all past codes make. It takes the place of scikit-learn's
    ``MiniBatchDictionaryLearning``: the same arguments, attributes and defaults, but for the solver.

    Args:
        n_components: atoms; as many as features by default.
        alpha: lambda, 0 or more; 0 is solved as the small lambda ``1e-6 max |x D^T|``.
        max_iter: largest number of passes over the data; with 0 the atoms are the initial ones, of any norm.
        fit_algorithm: ``"coordinate_descent"``, ``"fista"``, ``"ista"`` or ``"lca"``; scikit-learn's ``"lars"`` and
            ``"cd"`` solve the same problem and mean ``"coordinate_descent"``.
        n_jobs: for compatibility with scikit-learn; the number of threads is torch's.
        batch_size: samples of a batch.
        shuffle: draw a new order for each pass.
        dict_init: initial atoms, (n_components, features); by default random samples.
        transform_algorithm: ``"omp"``, ``"lars"`` or ``"threshold"`` (scikit-learn's); or the LASSO, by ``"lasso_cd"``,
            ``"lasso_lars"`` or a fit algorithm.
        transform_n_nonzero_coefs, transform_alpha, transform_max_iter: as in scikit-learn; the last is in passes over
            the coefficients of a sample, ``steps`` of `solve`.
        verbose: print the objective of each pass.
        split_sign: positive and negative parts of a code as separate features.
        random_state: draws the initial atoms and the order.
        positive_code, positive_dict: no negative coefficient, no negative entry of an atom; positive codes need a
            ``transform_algorithm`` other than ``"omp"`` and ``"lars"``, and no ``penalty`` but ``ns.nonnegative_l1``.
        callback: called after each batch with the learner's local variables.
        tol: stop when atoms move less than this per atom; 0: never.
        max_no_improvement: stop after this number of batches without a better objective; None: never.
        penalty: a function of lambda such as ``ns.l0``, instead of ``ns.l1``. With ``ns.log``, ``ns.cauchy`` and
            ``ns.lp`` the fast algorithm is ``"lca"``, not ``"coordinate_descent"``.
        code_tol: tolerance of the codes of a batch, ``tol`` of `solve`.

    Attributes:
        components_: (n_components, features), the only copy of the atoms: another array may be assigned. ``n_iter_``,
        ``n_steps_``, ``n_features_in_`` as in scikit-learn; ``n_dead_``, the number of dead atoms that were replaced.

    Raises:
        InputError: at ``fit`` and ``partial_fit``, for options out of range and options that contradict.
        NotConverged: as a warning that names the largest gap, if codes are left above their tolerance: of learning
            (``code_tol``), or of ``transform`` (1e-6, of float32 data 1e-4).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> atoms = np.linalg.qr(rng.normal(size=(20, 8)))[0].T
        >>> x = rng.laplace(size=(2000, 8)) * (rng.random((2000, 8)) < 0.2) @ atoms
        >>> learner = DictionaryLearning(8, alpha=0.1, max_iter=30, max_no_improvement=None, random_state=0).fit(x)
        >>> bool(np.abs(learner.components_ @ atoms.T).max(1).min() > 0.95)  # each of the true atoms is found
        True

    Source: Mairal, Bach, Ponce & Sapiro (2010), "Online learning for matrix factorization and sparse coding".
    """

    def __init__(
        self,
        n_components: int | None = None,
        alpha: float = 1.0,
        *,
        max_iter: int = 1000,
        fit_algorithm: str = "coordinate_descent",
        n_jobs: int | None = None,
        batch_size: int = 256,
        shuffle: bool = True,
        dict_init: np.ndarray | None = None,
        transform_algorithm: str = "omp",
        transform_n_nonzero_coefs: int | None = None,
        transform_alpha: float | None = None,
        verbose: bool = False,
        split_sign: bool = False,
        random_state: Any = None,
        positive_code: bool = False,
        positive_dict: bool = False,
        transform_max_iter: int = 1000,
        callback: Callable[[dict[str, Any]], object] | None = None,
        tol: float = 1e-3,
        max_no_improvement: int | None = 10,
        penalty: Callable[[float], Penalty] | None = None,
        code_tol: float = 1e-2,
    ):
        self.n_components, self.alpha, self.max_iter, self.fit_algorithm = n_components, alpha, max_iter, fit_algorithm
        self.n_jobs, self.batch_size, self.shuffle, self.dict_init = n_jobs, batch_size, shuffle, dict_init
        self.transform_algorithm, self.transform_n_nonzero_coefs = transform_algorithm, transform_n_nonzero_coefs
        self.transform_alpha, self.transform_max_iter, self.split_sign = transform_alpha, transform_max_iter, split_sign
        self.verbose, self.random_state, self.callback = verbose, random_state, callback
        self.positive_code, self.positive_dict = positive_code, positive_dict
        self.tol, self.max_no_improvement, self.penalty, self.code_tol = tol, max_no_improvement, penalty, code_tol

    def fit(self, X: Any, y: Any = None) -> DictionaryLearning:
        """Learn from ``X`` (samples, features) until the atoms converge or for ``max_iter`` passes."""
        self._check()
        data = _tensor(validate_data(self, X, dtype=[np.float64, np.float32]))
        generator = self._begin(data)
        best, since, smooth = np.inf, 0, 0.0
        above: list[Tensor] = []
        for epoch in range(self.max_iter):
            order = torch.randperm(len(data), generator=generator) if self.shuffle else torch.arange(len(data))
            for batch in order.split(int(self.batch_size)):
                before, objective = self._atoms(data.dtype), self._learn(data[batch], generator, above)
                share = min(1.0, 2 * len(batch) / (len(data) + 1))
                smooth = objective if self.n_steps_ == 1 else smooth * (1 - share) + objective * share
                best, since = (smooth, 0) if smooth < best else (best, since + 1)
                if self.callback is not None:
                    self.callback(locals())
                moved = float((self._atoms(data.dtype) - before).norm()) / len(before)
                if epoch and self._converged(moved, since):
                    return self._finish(epoch + 1, above)
            if self.verbose:
                print(f"pass {epoch + 1}: objective {smooth:.6g}, {self.n_dead_} dead atoms replaced")
        return self._finish(self.max_iter, above)

    def partial_fit(self, X: Any, y: Any = None) -> DictionaryLearning:
        """Learn from one batch (samples, features), for instance of a stream of patches."""
        self._check()
        first, above = not hasattr(self, "components_"), list[Tensor]()
        x = _tensor(validate_data(self, X, dtype=[np.float64, np.float32], reset=first))
        generator = self._begin(x) if first else self._generator
        self._learn(x.to(_tensor(self._A).dtype), generator, above)
        return self._finish(getattr(self, "n_iter_", 0), above)

    def transform(self, X: Any) -> np.ndarray:
        """Codes of ``X`` (samples, n_components), twice as wide with ``split_sign``."""
        check_is_fitted(self)
        codes = self._encode(np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False)))
        return np.hstack([np.maximum(codes, 0), -np.minimum(codes, 0)]) if self.split_sign else codes

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Data of codes ``X`` (samples, n_components)."""
        check_is_fitted(self)
        codes, atoms = np.asarray(X), len(self.components_)
        expected = 2 * atoms if self.split_sign else atoms
        if codes.ndim != 2 or codes.shape[1] != expected:
            got, fix = f"codes of shape {codes.shape}", ""
            if codes.ndim == 2:
                fix = f"Pass as many coefficients as there are atoms. Expected {expected}, got {codes.shape[1]}."
            raise InputError(f"{NAME}.inverse_transform", got=got, expected=f"(samples, {expected})", fix=fix)
        return (codes[:, :atoms] - codes[:, atoms:] if self.split_sign else codes) @ self.components_

    def _check(self) -> None:
        """Refuse at fit what fit or transform could not do, and options that contradict."""
        algorithm = self.transform_algorithm
        one_of(NAME, "fit_algorithm", self.fit_algorithm, (*OURS, *EXACT))
        one_of(NAME, "transform_algorithm", algorithm, dict.fromkeys((*THEIRS, *OURS, *EXACT)))
        for name in ("alpha", "transform_alpha", "tol"):
            if name != "transform_alpha" or self.transform_alpha is not None:
                number(NAME, name, getattr(self, name), 0)
        positive(NAME, "code_tol", self.code_tol)
        least = {"max_iter": 0, "batch_size": 1, "transform_max_iter": 0}
        optional = {"n_components": 1, "transform_n_nonzero_coefs": 1, "max_no_improvement": 0}
        least |= {name: low for name, low in optional.items() if getattr(self, name) is not None}
        for name, low in least.items():
            whole(NAME, name, getattr(self, name), low)
        name = self._penalty(1.0).name
        if self.positive_code and name != "nonnegative_l1":
            got = f"positive_code=True and a penalty {name} of either sign"
            fix = "Pass penalty=ns.nonnegative_l1, or leave one of the two out."
            raise InputError(NAME, got=got, expected="one constraint of the sign", fix=fix)
        if name == "nonnegative_l1" and algorithm in ("omp", "lars"):
            option = "positive_code=True" if self.positive_code else "penalty=nonnegative_l1"
            got, fix = f"{option} and transform_algorithm={algorithm!r}", "Pass transform_algorithm='lasso_cd'."
            raise InputError(NAME, got=got, expected="an algorithm with positive codes", fix=fix)

    def _penalty(self, weight: float) -> Penalty:
        make = self.penalty or (nonnegative_l1 if self.positive_code else l1)
        made = make(weight) if callable(make) else None
        if not isinstance(made, Penalty):
            got = f"penalty={self.penalty!r}"
            raise InputError(NAME, got=got, expected="a function of lambda that returns a penalty", fix="Pass ns.l1.")
        return made

    def _size(self, features: int) -> int:
        """The number of atoms."""
        atoms, chosen = self.n_components or features, self.transform_n_nonzero_coefs
        if self.transform_algorithm == "omp" and chosen is not None and chosen > atoms:
            got, expected = f"transform_n_nonzero_coefs={chosen}", f"at most {atoms}, the number of atoms"
            raise InputError(NAME, got=got, expected=expected)
        return int(atoms)

    def _begin(self, x: Tensor) -> torch.Generator:
        """Initial atoms: as given, or samples (and noise, where there are too few) of norm one."""
        features = x.shape[1]
        atoms = self._size(features)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = self._generator = torch.Generator().manual_seed(seed)
        if self.dict_init is not None:
            start = tensor(NAME, "dict_init", self.dict_init, "n_components, features").to(x.dtype)
            if start.shape != (atoms, features):
                got = f"dict_init of shape {tuple(start.shape)}"
                raise InputError(NAME, got=got, expected=f"({atoms}, {features})")
            start = start.clamp(min=0) if self.positive_dict else start
        else:
            start = x[torch.randperm(len(x), generator=generator)[:atoms]]
            spread = float(x.std(correction=0)) or 1.0
            noise = torch.randn(atoms, features, dtype=x.dtype, generator=generator) * spread
            start = torch.cat([start + 1e-2 * noise[: len(start)], noise[len(start) :]])
            start = F.normalize(start.clamp(min=0) + 1e-12 if self.positive_dict else start)
        self.components_ = start.numpy().copy()
        zeros = (x.new_zeros(size) for size in ((atoms, atoms), (atoms, features), (atoms,)))
        self._A, self._B, self._active = (part.numpy() for part in zeros)
        self._seen = 0.0
        self.n_steps_ = self.n_dead_ = 0
        return generator

    def _atoms(self, dtype: torch.dtype) -> Tensor:
        """``components_`` as a tensor."""
        atoms = tensor(NAME, "components_", self.components_, "n_components, features")
        features: int = getattr(self, "n_features_in_")  # noqa: B009 (set by scikit-learn)
        if atoms.shape[1] != features:
            got = f"components_ of shape {tuple(atoms.shape)}"
            raise InputError(NAME, got=got, expected=f"(n_components, {features})", fix="Assign such an array.")
        return atoms.to(dtype)

    def _learn(self, x: Tensor, generator: torch.Generator, above: list[Tensor]) -> float:
        """One batch; returns its mean objective before the atoms moved, and adds to ``above`` gaps above code_tol."""
        atoms, (A, B, active) = (
            self._atoms(x.dtype),
            (torch.from_numpy(part) for part in (self._A, self._B, self._active)),
        )
        if atoms.shape != B.shape:
            got = f"components_ of shape {tuple(atoms.shape)} after learning {tuple(B.shape)}"
            raise InputError(NAME, got=got, expected="as many atoms as before", fix="Fit a new learner with dict_init.")
        tol = float(self.code_tol)
        code = self._codes(x, atoms, self.fit_algorithm, self.alpha, tol, FIT_PASSES)
        above.append(code.gap[code.gap > tol])
        past = accumulate(Statistics(A, B, self._seen, active), code.a, x, self.n_steps_ + 1)
        moved = learn_atoms(atoms, past, self.positive_dict)
        moved, past, dead = replace_dead(moved, past, x, generator)
        self.components_, self._seen = moved.numpy(), past.samples
        self._A, self._B, self._active = past.outer.numpy(), past.cross.numpy(), past.active.numpy()
        self.n_steps_, self.n_dead_ = self.n_steps_ + 1, self.n_dead_ + dead
        return float(code.objective.mean())

    def _codes(self, x: Tensor, atoms: Tensor, method: str, weight: float, tol: float, steps: int) -> Code:
        weight = weight or SMALLEST * float(F.linear(x, atoms).abs().max()) or 1.0
        return encode(x, atoms, self._penalty(weight), EXACT.get(method, method), tol=tol, steps=steps, record=False)

    def _converged(self, moved: float, since: int) -> bool:
        no_better = self.max_no_improvement is not None and since >= self.max_no_improvement
        return no_better or (self.tol > 0 and moved <= self.tol)

    def _finish(self, passes: int, above: list[Tensor]) -> DictionaryLearning:
        self.n_iter_, gaps = passes, torch.cat(above) if above else torch.empty(0)
        if len(gaps):
            message = f"{NAME}: {len(gaps)} codes of batches have a gap up to {float(gaps.max()):.1e}"
            message = f"{message} (code_tol={self.code_tol:g}). Pass a larger alpha or code_tol."
            warnings.warn(message, NotConverged, stacklevel=3)
        return self

    def _encode(self, data: np.ndarray) -> np.ndarray:
        weight = self.alpha if self.transform_alpha is None else self.transform_alpha
        if self.transform_algorithm not in THEIRS:
            x = _tensor(data)
            tol, steps = TOLERANCE[x.dtype], max(self.transform_max_iter, 1)
            code = self._codes(x, self._atoms(x.dtype), self.transform_algorithm, weight, tol, steps)
            warn_above(f"{NAME}.transform", code, tol, steps, "Pass a larger transform_max_iter.", stacklevel=4)
            return code.a.numpy()
        atoms = np.asarray(self.components_).astype(data.dtype, copy=False)
        nonnegative = self._penalty(1.0).name == "nonnegative_l1"
        options = {"n_nonzero_coefs": self.transform_n_nonzero_coefs, "max_iter": self.transform_max_iter}
        options |= {"alpha": weight, "positive": nonnegative, "n_jobs": self.n_jobs}
        return sparse_encode(data, atoms, algorithm=self.transform_algorithm, **options)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_) * (2 if self.split_sign else 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _tensor(data: Any) -> Tensor:
    """The array as a tensor; a view or a read-only array is copied."""
    return torch.from_numpy(np.require(data, requirements=["C", "W"]))
