"""Images from labels and halves from halves: against the law of inference, the Gaussian in closed form, and smoke."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.experiments.generation.channels import SCHEMES, communication_cost
from neurosparse.experiments.generation.model import ErrorModel, decide, fit_error_model, imagine, inpaint, learn_images
from neurosparse.experiments.generation.run import pictures, trained

SCRIPT = Path(__file__).parents[2] / "models" / "predictive-generation" / "train.py"
KNOWN = torch.tensor([True, False, True, True, False, True])


def network(activation: str = "tanh") -> ns.PredictiveNetwork:
    """Label -> 5 -> 4 -> 6 pixels, in double precision."""
    return ns.PredictiveNetwork((3, 5, 4, 6), activation, order="act_before").double()


def toy(pixels: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three kinds of images, each brighter or darker as a whole: the upper half tells both."""
    generator = torch.Generator().manual_seed(seed)
    kinds, y = torch.rand(3, pixels, generator=torch.Generator().manual_seed(9)), torch.arange(90) % 3
    return kinds[y] * (0.4 + 0.6 * torch.rand(90, 1, generator=generator)), y


def toy_task(**change) -> ns.experiments.GenerativeTask:
    split = ns.Split(toy(seed=0), toy(seed=1), toy(seed=2))
    budget = {"hidden": (12,), "classes": 3, "epochs": 60, "batch_size": 15, "learning_rates": (0.01,), "settle": 100}
    return ns.experiments.GenerativeTask("toy", "A toy", lambda: split, **{**budget, **change})


@pytest.mark.parametrize("told", [False, True], ids=["free label", "label told"])
def test_leaving_free_pixels_out_ends_where_they_would_rest(told):
    """The law with free pixels, begun where inference without them ended: no other force, and the same energy."""
    model, image, label = network(), torch.rand(2, 6, dtype=torch.float64), torch.tensor([2, 0])
    painting = inpaint(model, image, KNOWN, label if told else None, steps=3000, record=False)
    given, start = F.one_hot(label, 3).double() if told else None, [*painting.states.z[:-1], painting.image]
    law = model.infer(given, clamp={3: (image, KNOWN.expand(2, 6))}, start=start, steps=1, record=False)
    assert bool((law.gap <= painting.states.gap + 1e-9).all())
    assert float(painting.states.gap.max()) < (1e-6 if told else 0.01), "0.1 and more at first; a label settles slowly"
    torch.testing.assert_close(painting.states.energies[-1], law.energies[0], rtol=0, atol=1e-9)


def test_a_linear_network_paints_the_conditional_mean_of_its_gaussian():
    model, image, label = network("identity"), torch.rand(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2])
    painting = inpaint(model, image, KNOWN, label, steps=3000, record=False)
    _, second, third = (layer.weight.detach() for layer in model.layers)
    # image = W3 (W2 (m + n1) + n2) + n3, each n standard normal.
    covariance = third @ (second @ second.T + torch.eye(4)) @ third.T + torch.eye(6, dtype=torch.float64)
    mean = model(torch.eye(3, dtype=torch.float64)).detach()
    gain = covariance[~KNOWN][:, KNOWN] @ torch.linalg.inv(covariance[KNOWN][:, KNOWN])
    expected = mean[:, ~KNOWN] + (image[:, KNOWN] - mean[:, KNOWN]) @ gain.T
    torch.testing.assert_close(painting.image[:, ~KNOWN], expected, rtol=0, atol=1e-9)
    assert torch.equal(painting.image[:, KNOWN], image[:, KNOWN])


def test_pixels_that_are_not_known_are_not_looked_at():
    model, image = network(), torch.rand(2, 6, dtype=torch.float64)
    other = torch.where(KNOWN, image, torch.full_like(image, torch.nan))
    first, second = (inpaint(model, one, KNOWN, steps=9, record=False).image for one in (image, other))
    assert torch.equal(first, second)
    assert torch.equal(decide(model, image, KNOWN, 9), decide(model, other, KNOWN, 9))


def test_draws_have_the_mean_and_covariance_of_the_errors_that_images_left():
    task, (x, y) = toy_task(), toy()
    model = learn_images(task, x, y, 0.01, seed=0)
    errors = model.infer(F.one_hot(y, 3).float(), x, steps=100).errors[0]
    drawn = fit_error_model(model, x, y, 100).draw(40000, torch.Generator().manual_seed(0))
    scale = errors.std(0).max()
    torch.testing.assert_close(drawn.mean(0), errors.mean(0), rtol=0, atol=0.03 * float(scale))
    torch.testing.assert_close(drawn.T.cov(), errors.T.cov(), rtol=0, atol=0.05 * float(scale**2))


def test_errors_of_zero_change_nothing_and_errors_move_the_state_they_belong_to():
    model, labels = network(), torch.tensor([0, 2])
    one_pass = model(torch.eye(3, dtype=torch.float64)).detach()[labels]
    torch.testing.assert_close(imagine(model, labels, torch.zeros(2, 9, dtype=torch.float64)), one_pass)
    errors = torch.randn(2, 9, dtype=torch.float64)
    states = model.layers[0](F.one_hot(labels, 3).double()) + errors[:, :5]
    states = model.layers[1](states.tanh()) + errors[:, 5:]
    torch.testing.assert_close(imagine(model, labels, errors), model.layers[2](states.tanh()).detach())
    still = ErrorModel(torch.ones(9), torch.zeros(9, 9))
    assert torch.equal(still.draw(4, torch.Generator()), torch.ones(4, 9))


def test_a_network_learns_what_the_other_half_tells():
    results, rows = ns.experiments.make_images(toy_task(), seeds=[0, 1])
    painted, label = results["in_painting"], results["label"]
    assert painted["best label"]["mean"] < 0.5 * painted["class mean, told"]["mean"] < painted["mean"]["mean"]
    assert label["best label"]["mean"] > 0.9 and painted["best label"]["sd"] is not None
    assert results["generation"]["one pass"]["mean"] == 1 and results["generation"]["drawn"]["mean"] > 0.8
    assert 0.5 < results["generation"]["diversity"]["mean"] < 2
    json.dumps(results, allow_nan=False)
    assert all(row.shape[1] == 16 for row in rows.values()) and bool(rows["upper half"][:, 8:].isnan().all())


def test_silence_of_nothing_costs_nothing_and_more_silence_is_cheaper():
    task, (x, y) = toy_task(), toy(seed=2)
    model, known = learn_images(task, *toy(), 0.01, seed=0), ns.experiments.upper_half(16)
    found = communication_cost([model], x, y, known, [0.0001, 0.5], 100)
    everything = found["everything"]
    assert set(found["ways"]) == set(SCHEMES)
    for name, (little, much) in found["ways"].items():
        assert much["errors_sent"]["mean"] < little["errors_sent"]["mean"] <= everything["errors_sent"]["mean"], name
        assert much["operations"]["mean"] < everything["operations"]["mean"], name
        if name != "spiking errors":  # which are cut off at so small a threshold
            assert little["error"]["mean"] == pytest.approx(everything["error"]["mean"], rel=0.05), name


def test_trainings_are_kept_and_used_again(tmp_path):
    task, (x, y), told = toy_task(epochs=1), toy(), []
    first, again = (trained(task, x, y, 0.01, 0, tmp_path, lambda *seen: told.append(seen)) for _ in range(2))
    assert torch.equal(first.layers[0].weight, again.layers[0].weight) and len(told) == 6
    other = trained(task, x, y, 0.01, 1, tmp_path, lambda *seen: None)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight) and len(list(tmp_path.iterdir())) == 2


def test_the_script_runs_on_digits_in_smoke_size():
    task = runpy.run_path(str(SCRIPT))["TASKS"]["digits"]
    small = replace(task, epochs=1, settle=5, hidden=(16,), learning_rates=(0.01,))
    results, rows = ns.experiments.make_images(small, seeds=[0])
    assert results["split"] == {"train": 1000, "validation": 197, "test": 600} and len(rows) == 8
    assert results["in_painting"]["ridge"]["mean"] < results["in_painting"]["mean"]["mean"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="hidden=0"):
        toy_task(hidden=(0,))
    with pytest.raises(InputError, match="learning rate"):
        toy_task(learning_rates=())
    events, y = ns.EventTensor.from_dense(torch.zeros(5, 3, 4)), torch.zeros(3, dtype=torch.long)
    with pytest.raises(InputError, match="recordings"):
        pictures(ns.Split((events, y), (events, y), (events, y)))
