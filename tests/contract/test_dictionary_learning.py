"""`DictionaryLearning` is a scikit-learn estimator with scikit-learn's arguments, and finds the atoms of its data."""

import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode
from sklearn.utils.estimator_checks import parametrize_with_checks

import neurosparse as ns
from neurosparse.coding.update import Statistics, accumulate, learn_atoms


@parametrize_with_checks([ns.DictionaryLearning(max_iter=5, n_components=6)])
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal atoms, and data that use a fifth of them."""
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.normal(size=(20, 8)))[0].T
    return atoms, rng.laplace(size=(2000, 8)) * (rng.random((2000, 8)) < 0.2) @ atoms


@pytest.mark.parametrize("algorithm", ["coordinate_descent", "fista", "lca", "cd"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_atoms_that_made_the_data_are_found(made, algorithm, dtype):
    atoms, x = made
    options = {"max_iter": 12, "max_no_improvement": None, "tol": 0, "random_state": 0}
    learner = ns.DictionaryLearning(8, 0.1, fit_algorithm=algorithm, **options).fit(x.astype(dtype))
    assert learner.components_.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(learner.components_, axis=1), 1, rtol=1e-5)
    assert np.abs(learner.components_ @ atoms.T).max(0).min() > 0.95


def test_every_argument_of_minibatch_dictionary_learning_is_taken():
    theirs = inspect.signature(MiniBatchDictionaryLearning).parameters
    ours = inspect.signature(ns.DictionaryLearning).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        if name not in ("fit_algorithm", "alpha", "verbose"):
            assert ours[name].default == parameter.default, name


def test_as_good_as_scikit_learn_on_data_it_has_not_seen():
    """Patches of a photograph, the same passes, objective of exact codes on held-out patches."""
    from sklearn.datasets import load_sample_image
    from sklearn.feature_extraction.image import extract_patches_2d

    picture = load_sample_image("china.jpg").mean(2) / 255
    parts = [
        extract_patches_2d(picture[rows], (6, 6), max_patches=n, random_state=0).reshape(n, -1)
        for rows, n in ((slice(0, 300), 3000), (slice(300, None), 400))
    ]
    train, held_out = (part - part.mean(1, keepdims=True) for part in parts)
    options = {"n_components": 40, "alpha": 0.1, "max_iter": 6, "max_no_improvement": None, "tol": 0, "random_state": 0}

    def objective(learner) -> float:
        atoms = learner.fit(train).components_
        atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
        codes = sparse_encode(held_out, atoms, algorithm="lasso_cd", alpha=0.1, max_iter=5000)
        return float((0.5 * ((held_out - codes @ atoms) ** 2).sum(1) + 0.1 * np.abs(codes).sum(1)).mean())

    theirs = objective(MiniBatchDictionaryLearning(fit_algorithm="cd", **options))
    assert objective(ns.DictionaryLearning(**options)) < 1.01 * theirs


def test_a_stream_of_batches_is_a_fit(made):
    _, x = made
    start = np.random.default_rng(1).normal(size=(8, 20))
    options = {"dict_init": start, "random_state": 0, "batch_size": 500}
    whole = ns.DictionaryLearning(8, 0.1, max_iter=1, shuffle=False, **options).fit(x)
    stream = ns.DictionaryLearning(8, 0.1, **options)
    for batch in np.split(x, 4):
        stream.partial_fit(batch)
    np.testing.assert_allclose(stream.components_, whole.components_, rtol=1e-12)
    assert stream.n_steps_ == whole.n_steps_ == 4


def test_signs_and_positivity(made):
    _, x = made
    split = ns.DictionaryLearning(8, 0.1, max_iter=3, split_sign=True, transform_algorithm="lasso_cd", random_state=0)
    codes = split.fit_transform(x)
    assert codes.shape == (2000, 16) and codes.min() >= 0
    plain = split.set_params(split_sign=False).transform(x)
    np.testing.assert_array_equal(codes[:, :8] - codes[:, 8:], plain)
    np.testing.assert_allclose(split.inverse_transform(plain), plain @ split.components_)
    positive = ns.DictionaryLearning(8, 0.1, max_iter=3, positive_code=True, positive_dict=True, random_state=0)
    positive.set_params(transform_algorithm="coordinate_descent").fit(np.abs(x))
    assert positive.components_.min() >= 0
    assert positive.transform(np.abs(x)).min() >= 0


def test_a_sweep_never_increases_the_objective():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(300, 12, dtype=torch.float64, generator=generator)
    codes = torch.where(codes.abs() > 1, codes, 0.0)
    atoms = torch.nn.functional.normalize(torch.randn(12, 30, dtype=torch.float64, generator=generator))
    x = codes @ atoms + 0.1 * torch.randn(300, 30, dtype=torch.float64, generator=generator)
    zeros = Statistics(x.new_zeros(12, 12), x.new_zeros(12, 30), 0.0, x.new_zeros(12))
    past = accumulate(zeros, codes, x, 1)
    dictionary = torch.nn.functional.normalize(torch.randn(12, 30, dtype=torch.float64, generator=generator))
    values = []
    for _ in range(10):
        values.append(float((x - codes @ dictionary).square().sum()))
        dictionary = learn_atoms(dictionary, past)
    assert all(b <= a for a, b in pairwise(values))


def test_a_dead_atom_is_replaced(made):
    _, x = made
    data = np.hstack([np.zeros((len(x), 1)), x])
    start = np.hstack([np.zeros((9, 1)), np.linalg.qr(np.random.default_rng(0).normal(size=(20, 9)))[0].T])
    start[8] = np.eye(21)[0]  # at right angles to all data
    options = {"dict_init": start, "max_iter": 20, "max_no_improvement": None, "tol": 0, "random_state": 0}
    learner = ns.DictionaryLearning(9, 0.1, **options).fit(data)
    assert learner.n_dead_ >= 1
    assert abs(learner.components_[8, 0]) < 0.1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fit_algorithm": "svd"}, "fit_algorithm='svd'"),
        ({"transform_algorithm": "svd"}, "transform_algorithm='svd'"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"alpha": True}, "alpha=True"),
        ({"n_components": 0}, "n_components=0"),
        ({"max_iter": 2.5}, "max_iter=2.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"n_components": 3, "transform_n_nonzero_coefs": 5}, "transform_n_nonzero_coefs=5; expected at most 3"),
        ({"positive_code": True}, "transform_algorithm='omp'.*Pass transform_algorithm='lasso_cd'"),
        ({"n_components": 3, "dict_init": np.ones((2, 5))}, "dict_init of shape"),
        (
            {"positive_code": True, "penalty": ns.elastic_net, "transform_algorithm": "event"},
            "elastic_net of either sign",
        ),
        ({"penalty": ns.nonnegative_l1}, "penalty=nonnegative_l1 and transform_algorithm='omp'"),
        ({"penalty": ns.l1(0.1)}, "expected a function of lambda"),
    ],
)
def test_bad_settings_are_refused_when_fitting(options, match):
    with pytest.raises(ns.InputError, match=match):
        ns.DictionaryLearning(**options).fit(np.ones((10, 5)))


@pytest.mark.parametrize("view", [lambda x: x[::-1], lambda x: x[:, ::-1], np.asfortranarray])
def test_views_are_fitted_as_their_copies(made, view):
    x = view(made[1])
    learners = [
        ns.DictionaryLearning(8, 0.1, max_iter=1, random_state=0).fit(data) for data in (x, np.array(x, order="C"))
    ]
    np.testing.assert_array_equal(learners[0].components_, learners[1].components_)


def test_no_pass_leaves_the_initial_atoms(made):
    """scikit-learn takes ``max_iter=0`` too."""
    start = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 8)))[0].T
    learner = ns.DictionaryLearning(8, dict_init=start, max_iter=0).fit(made[1])
    np.testing.assert_allclose(learner.components_, start, atol=1e-12)
    assert learner.n_iter_ == learner.n_steps_ == 0


def test_an_alpha_of_zero_is_least_squares(made):
    """As many independent atoms as features: every sample is a combination of them."""
    x = made[1] @ np.random.default_rng(2).normal(size=(20, 5))
    learner = ns.DictionaryLearning(5, 0, max_iter=3, random_state=0, transform_algorithm="lasso_cd").fit(x)
    codes = learner.transform(x)
    np.testing.assert_allclose(learner.inverse_transform(codes), x, atol=1e-3 * np.abs(x).max())


def test_a_search_over_numbers_of_numpy(made):
    from sklearn.model_selection import GridSearchCV

    def score(learner, x, y=None):
        return -float(np.square(x - learner.inverse_transform(learner.transform(x))).mean())

    learner = ns.DictionaryLearning(8, max_iter=1, random_state=0, transform_algorithm="lasso_cd")
    grid = {"alpha": np.float32([0.1, 10.0]), "n_components": np.array([4, 8])}
    found = GridSearchCV(learner, grid, scoring=score, cv=2).fit(made[1])
    assert found.best_params_ == {"alpha": np.float32(0.1), "n_components": 8}


@pytest.mark.parametrize("algorithm", ["lasso_cd", "event", "fista", "threshold"])
def test_codes_are_of_the_present_components(made, algorithm):
    """``components_`` is the only copy of the atoms."""
    atoms, x = made
    options = {"max_iter": 1, "random_state": 0, "transform_algorithm": algorithm, "transform_alpha": 0.1}
    learner = ns.DictionaryLearning(8, 0.1, **options).fit(x)
    learner.components_ = atoms
    assigned = learner.transform(x[:20])
    fitted = ns.DictionaryLearning(8, **{**options, "max_iter": 0}, dict_init=atoms).fit(x)
    np.testing.assert_array_equal(assigned, fitted.transform(x[:20]))
    assert not np.array_equal(learner.partial_fit(x[:100]).components_, atoms)


def test_a_budget_of_transform_is_in_passes_and_running_out_is_a_warning():
    generator = np.random.default_rng(0)
    x, atoms = generator.normal(size=(30, 16)), generator.normal(size=(40, 16))
    learner = ns.DictionaryLearning(40, dict_init=atoms, max_iter=0, transform_algorithm="lasso_cd")
    learner.set_params(transform_alpha=1e-3).fit(x)
    learner.transform(x)  # within 1000 passes; a warning would be an error
    with pytest.warns(ns.NotConverged, match="DictionaryLearning.transform: after 1 passes.*gap up to"):
        learner.set_params(transform_max_iter=1).transform(x)


@pytest.mark.parametrize("given", [None, 0.3])
@pytest.mark.parametrize("algorithm", ["threshold", "lars"])
def test_codes_are_those_of_scikit_learn_whether_transform_alpha_is_given_or_not(made, algorithm, given):
    options = {"alpha": 0.2, "random_state": 0, "transform_algorithm": algorithm, "transform_alpha": given}
    ours = ns.DictionaryLearning(8, max_iter=1, **options).fit(made[1])
    theirs = MiniBatchDictionaryLearning(8, max_iter=1, **options).fit(made[1][:50])
    theirs.components_ = ours.components_
    np.testing.assert_allclose(ours.transform(made[1][:20]), theirs.transform(made[1][:20]), atol=1e-6)


@pytest.mark.parametrize(("tol", "patience"), [(1e9, None), (0.0, 1)])
def test_either_rule_ends_learning(tol, patience):
    """Atoms that move less than tol, or an objective that no longer falls: one is enough."""
    x = np.random.default_rng(0).normal(size=(40, 5))
    options = {"max_iter": 200, "batch_size": 10, "random_state": 0, "tol": tol, "max_no_improvement": patience}
    assert ns.DictionaryLearning(3, 0.1, **options).fit(x).n_steps_ < 400
