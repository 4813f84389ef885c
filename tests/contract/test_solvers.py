"""One contract over every row of `METHODS`, the table of solvers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.coding import NotConverged, cauchy, elastic_net, l0, l1, log, lp, nonnegative_l1, solve
from neurosparse.coding.coordinate_descent import by_any_penalty, by_threshold
from neurosparse.coding.dictionary import make_problem
from neurosparse.coding.solve import METHODS
from neurosparse.errors import InputError

CONVEX = (l1(0.1), nonnegative_l1(0.1), elastic_net(0.2, 0.5))
PENALTIES = (*CONVEX, l0(0.02), lp(0.04, 0.5), log(0.05, 0.3))
STEEP = (cauchy(0.02, 0.2), log(0.5, 0.2), log(5.0), lp(0.5, 0.9), lp(1.0, 0.1))  # where minima compete, or nearly
EXACT = [name for name, method in METHODS.items() if method.tol <= 1e-4]  # the others' error falls as one over time
every_method = pytest.mark.parametrize("method", METHODS)
every_penalty = pytest.mark.parametrize("penalty", (*PENALTIES, *STEEP), ids=str)


def pairs(methods) -> pytest.MarkDecorator:
    """Every method with every penalty it can solve."""
    solvable = [(m, p) for m in methods for p in PENALTIES if p.name in (METHODS[m].penalties or (p.name,))]
    return pytest.mark.parametrize(("method", "penalty"), solvable, ids=str)


def data(samples: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    x = torch.randn(samples, 16, generator=generator, dtype=torch.float64)
    return (x / x.norm(dim=1, keepdim=True)).to(dtype), (dictionary / dictionary.norm(dim=1, keepdim=True)).to(dtype)


def test_all_methods_agree():
    x, dictionary = data()
    for penalty in CONVEX:
        codes = [solve(x, dictionary, penalty, method, tol=1e-12, steps=100_000).a for method in EXACT]
        for other in codes[1:]:
            torch.testing.assert_close(other, codes[0], atol=1e-5, rtol=0)


@pairs(METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_default_tolerance_is_reached(method, penalty, dtype):
    x, dictionary = data(dtype=dtype)
    code = solve(x, dictionary, penalty, method, steps=5000)
    assert code.a.dtype == code.gap.dtype == code.objective.dtype == dtype
    assert torch.all(code.gap <= METHODS[method].tol * 1.01)


@pairs(METHODS)
def test_events_are_what_was_sent(method, penalty):
    x, dictionary = data()
    code = solve(x, dictionary, penalty, method, steps=5000)
    events = code.events
    sends = METHODS[method].sends
    assert events.axis == ("time" if sends == "spikes" else "iteration")
    assert events.shape == (int(code.iterations.max()), *code.a.shape)
    assert torch.equal(events.lengths, code.iterations)
    if sends == "spikes":  # the code is the rate of the second half of the time
        events = events.bin(1, on_collision="sum")
        for sample, last in enumerate(code.iterations.tolist()):
            rate = events.dense()[last // 2 if last > 10 else 0 : last, sample].double().mean(0)
            torch.testing.assert_close(penalty.weight * rate, code.a[sample])
        return
    levels = (events.cumulate() if sends == "changes" else events).dense()
    for sample, last in enumerate(code.iterations.tolist()):
        torch.testing.assert_close(levels[last - 1, sample], code.a[sample], atol=1e-14, rtol=0)
        assert not bool(levels[last:, sample].any())


@pairs(METHODS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(5)))
def test_a_code_does_not_depend_on_its_batch(method, penalty, seed, order):
    """A sample's code, iterations and events do not depend on the batch it came in."""
    x, dictionary = data(5, seed)
    options = {"steps": 20_000, "tol": max(1e-3, METHODS[method].tol)}
    together = solve(x, dictionary, penalty, method, **options)
    shuffled = solve(x[list(order)], dictionary, penalty, method, **options)
    alone = solve(x[2:3], dictionary, penalty, method, **options)
    torch.testing.assert_close(shuffled.a, together.a[list(order)], atol=1e-9, rtol=0)
    assert torch.equal(shuffled.iterations, together.iterations[list(order)])
    torch.testing.assert_close(alone.a, together.a[2:3], atol=1e-9, rtol=0)
    assert alone.events.n_events == together.events.samples([2]).n_events


@pairs(METHODS)
def test_silence_is_silent(method, penalty):
    _, dictionary = data()
    code = solve(torch.zeros(2, 16, dtype=torch.float64), dictionary, penalty, method)
    assert not code.a.any() and not code.objective.any() and not code.gap.any() and code.events.n_events == 0


@pairs(EXACT)
def test_a_warm_start_at_the_solution_stays(method, penalty):
    x, dictionary = data()
    cold = solve(x, dictionary, penalty, method, tol=1e-9, steps=100_000)
    warm = solve(x, dictionary, penalty, method, tol=1e-6, warm_start=cold.a)
    assert torch.all(
        warm.iterations == (0 if METHODS[method].sends == "changes" else 10)
    )  # an event is sent only if it must be
    torch.testing.assert_close(warm.a, cold.a, atol=1e-5, rtol=0)


@every_method
def test_stopping_early_says_how_far_it_is(method):
    x, dictionary = data()
    with pytest.warns(NotConverged, match="gap up to"):
        code = solve(x, dictionary, l1(0.01), method, tol=1e-10, steps=1)
    passes = 24 if METHODS[method].sends == "changes" else 1
    assert torch.all(code.iterations == passes) and torch.all(code.gap > 1e-10)


@every_method
def test_no_samples(method):
    _, dictionary = data()
    code = solve(torch.zeros(0, 16, dtype=torch.float64), dictionary, l1(0.1), method)
    assert code.a.shape == (0, 24) and "0 samples" in repr(code)


def test_codes_and_penalties_travel():
    x, dictionary = data()
    code = solve(x, dictionary, l1(0.1))
    for copied in (pickle.loads(pickle.dumps(code)), copy.deepcopy(code)):
        assert torch.equal(copied.a, code.a) and copied.events.n_events == code.events.n_events
    assert pickle.loads(pickle.dumps(l1(0.1))) == l1(0.1) != l1(0.2)


def test_unrecorded_events_say_so():
    x, dictionary = data()
    with pytest.raises(InputError, match="record_events=True"):
        solve(x, dictionary, record_events=False).events  # noqa: B018


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": torch.zeros(2, 15, dtype=torch.float64)}, "same features"),
        ({"x": torch.zeros(2, 16)}, "same features and dtype"),
        ({"x": torch.zeros(16, dtype=torch.float64)}, r"\(samples, features\)"),
        ({"x": torch.zeros(2, 16, dtype=torch.bool)}, "x .2, 16. of torch.bool"),
        ({"x": torch.full((2, 16), torch.nan, dtype=torch.float64)}, "NaN or infinity in x"),
        ({"dictionary": torch.zeros(3, 16, dtype=torch.float64)}, r"norm zero in atoms \[0, 1, 2\]"),
        ({"dictionary": [[1.0]]}, "same features"),
        ({"dictionary": torch.empty(0, 16, dtype=torch.float64)}, "at least one atom"),
        ({"dictionary": "atoms"}, "dictionary of type str"),
        ({"penalty": 0.1}, "penalty=l1"),
        ({"method": "newton"}, "'coordinate_descent', 'fista', 'ista', 'lca', 'spiking'"),
        ({"method": "spiking", "penalty": l0(0.1)}, "l0.* with spiking.*one of l1, nonnegative_l1, elastic_net"),
        ({"tol": 0.0}, "tol=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"warm_start": torch.zeros(1, 1)}, "warm_start"),
        ({"warm_start": torch.full((6, 24), torch.inf)}, "warm_start"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change, said):
    x, dictionary = data()
    with pytest.raises(InputError, match=said):
        solve(**{"x": x, "dictionary": dictionary, **change})


@pytest.mark.parametrize("penalty", [l0, l1, nonnegative_l1, elastic_net, log, cauchy, lp])
@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), "0.1", True])
def test_a_penalty_needs_a_positive_weight(penalty, weight):
    with pytest.raises(InputError, match="(weight|variance) > 0"):
        penalty(weight)


@pytest.mark.parametrize(
    ("penalty", "said"),
    [
        (lambda: elastic_net(0.1, 0.0), "l1_ratio=0.0.*0 < l1_ratio <= 1"),
        (lambda: elastic_net(0.1, 1.5), "l1_ratio=1.5"),
        (lambda: log(0.1, scale=0.0), "scale=0.0"),
        (lambda: cauchy(0.1, scale=float("nan")), "scale=nan"),
        (lambda: lp(0.1, p=1.0), "p=1.0.*0 < p < 1"),
        (lambda: lp(0.1, p=-0.5), "p=-0.5"),
    ],
)
def test_so_does_its_shape(penalty, said):
    with pytest.raises(InputError, match=said):
        penalty()


@every_penalty
def test_a_penalty_is_called_by_its_name(penalty):
    assert repr(eval(repr(penalty))) == repr(penalty) and pickle.loads(pickle.dumps(penalty)) == penalty


@every_penalty
@settings(max_examples=20)
@given(over=st.floats(1e-9, 0.1))
def test_threshold_is_where_silence_ends(penalty, over):
    """Up to the threshold nothing is sent, above it something is; a smooth penalty has none."""
    assert not penalty.prox(torch.tensor([penalty.threshold * (1 - over)], dtype=torch.float64)).any()
    assert penalty.prox(torch.tensor([penalty.threshold * (1 + over) + over], dtype=torch.float64)).all()


@every_penalty
@settings(max_examples=5)
@given(shift=st.floats(0, 0.02), step=st.floats(0.1, 2))
def test_prox_is_the_minimiser(penalty, shift, step):
    """No point of a fine grid does better than the proximal map, wherever it starts."""
    a = torch.arange(-10, 10, 0.02, dtype=torch.float64)[:, None] + shift
    grid = torch.linspace(0 if penalty.name.startswith("non") else -10, 10, 1001, dtype=torch.float64)

    def cost(z: torch.Tensor) -> torch.Tensor:
        return 0.5 * (z - a).square() + step * penalty.value(z[..., None])

    assert torch.all(cost(penalty.prox(a, step)) <= cost(grid[None]).amin(1, keepdim=True) + 1e-12)


@pytest.mark.parametrize("penalty", [l1(0.1), nonnegative_l1(0.1), elastic_net(0.1), l0(0.02)], ids=str)
@pytest.mark.parametrize("unit_norm", [True, False])
def test_the_kernel_of_coordinate_descent_equals_its_reference(penalty, unit_norm):
    """Event by event: the same atoms in the same order, the same number of evaluations and checks."""
    x, dictionary = data()
    dictionary = dictionary if unit_norm else dictionary * torch.linspace(0.5, 2, 24, dtype=torch.float64)[:, None]
    problem = make_problem(x, dictionary, penalty)
    for tol in (1e-2, 1e-10):
        codes, found = by_threshold(problem, None, tol, 5000, True)
        expected, reference = by_any_penalty(problem, None, tol, 5000, True)
        torch.testing.assert_close(codes, expected, atol=1e-12, rtol=0)
        assert torch.equal(found.atom.long(), reference.atom)
        for part in ("events", "evaluations", "checks"):
            assert torch.equal(getattr(found, part), getattr(reference, part))
        torch.testing.assert_close(found.change, reference.change, atol=1e-12, rtol=0)


def test_event_is_another_name_of_coordinate_descent():
    x, dictionary = data()
    one, other = (solve(x, dictionary, l1(0.1), method) for method in ("event", "coordinate_descent"))
    assert one.method == other.method == "coordinate_descent" and torch.equal(one.a, other.a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_arrays_are_taken_in_any_order_of_memory(dtype):
    x, dictionary = (part.numpy().astype(dtype) for part in data())
    expected = solve(torch.tensor(x), torch.tensor(dictionary)).a
    for view in (lambda a: a, np.asfortranarray, lambda a: a[::-1].copy()[::-1]):
        assert torch.equal(solve(view(x), view(dictionary)).a, expected)


def test_threads_change_no_code():
    x, dictionary = data(9)
    threads, codes = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            codes.append(solve(x, dictionary, l1(0.1), "coordinate_descent"))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(codes[0].a, codes[1].a, atol=1e-12, rtol=0)
    assert torch.equal(codes[0].iterations, codes[1].iterations)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_an_atom_too_small_for_float32_beside_one_spoils_nothing(penalty):
    """Its squared norm, 1e-9, is lost where 1 is taken off and added again; alone it can explain almost nothing."""
    x, dictionary = data(dtype=torch.float32)
    dictionary[3] *= 10**-4.5
    others = torch.arange(len(dictionary)) != 3
    code = solve(x, dictionary, penalty, "coordinate_descent", steps=20_000)
    alone = solve(x, dictionary[others], penalty, "coordinate_descent", steps=20_000)
    assert bool(code.a.isfinite().all()) and bool(code.gap.isfinite().all())
    if penalty.convex and not penalty.ridge:
        torch.testing.assert_close(code.objective, alone.objective, atol=1e-4, rtol=1e-3)
