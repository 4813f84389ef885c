"""Images from labels and halves from halves: against the reference of inference and a Gaussian in closed form."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import neurosparse as ns

FOLDER = Path(__file__).parents[2] / "models" / "predictive-generation"
SCRIPT = ns.experiments.load_script(FOLDER / "train.py")
MODEL, CHANNELS = SCRIPT.model, SCRIPT.channels
KNOWN = torch.tensor([True, False, True, True, False, True])


def network(activation: str = "tanh") -> ns.PredictiveNetwork:
    """Label -> 5 -> 4 -> 6 pixels, in double precision."""
    return ns.PredictiveNetwork((3, 5, 4, 6), activation, order="act_before").double()


def toy(pixels: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three kinds of images, each brighter or darker as a whole: the upper half tells both."""
    generator = torch.Generator().manual_seed(seed)
    kinds, y = torch.rand(3, pixels, generator=torch.Generator().manual_seed(9)), torch.arange(90) % 3
    return kinds[y] * (0.4 + 0.6 * torch.rand(90, 1, generator=generator)), y


def toy_set(**change):
    split = ns.Split(toy(seed=0), toy(seed=1), toy(seed=2))
    budget = {"hidden": (12,), "classes": 3, "epochs": 60, "batch_size": 15, "learning_rates": (0.01,), "settle": 100}
    return SCRIPT.ImageSet("toy", "A toy", lambda: split, **{**budget, **change})


@pytest.mark.parametrize("told", [False, True], ids=["free label", "label told"])
def test_leaving_free_pixels_out_ends_where_they_would_rest(told):
    """The law with free pixels, begun where inference without them ended: no other force, and the same energy."""
    model, image, label = network(), torch.rand(2, 6, dtype=torch.float64), torch.tensor([2, 0])
    painting = MODEL.inpaint(model, image, KNOWN, label if told else None, steps=3000, record=False)
    given, start = F.one_hot(label, 3).double() if told else None, [*painting.states.z[:-1], painting.image]
    law = model.infer(given, clamp={3: (image, KNOWN.expand(2, 6))}, start=start, steps=1, record=False)
    assert bool((law.gap <= painting.states.gap + 1e-9).all())
    assert float(painting.states.gap.max()) < (1e-6 if told else 0.01), "0.1 and more at first; a label settles slowly"
    torch.testing.assert_close(painting.states.energies[-1], law.energies[0], rtol=0, atol=1e-9)


def test_a_linear_network_paints_the_conditional_mean_of_its_gaussian():
    model, image, label = network("identity"), torch.rand(3, 6, dtype=torch.float64), torch.tensor([0, 1, 2])
    painting = MODEL.inpaint(model, image, KNOWN, label, steps=3000, record=False)
    _, second, third = (layer.weight.detach() for layer in model.layers)
    # image = W3 (W2 (m + n1) + n2) + n3, each n standard normal.
    covariance = third @ (second @ second.T + torch.eye(4)) @ third.T + torch.eye(6, dtype=torch.float64)
    mean = model(torch.eye(3, dtype=torch.float64)).detach()
    gain = covariance[~KNOWN][:, KNOWN] @ torch.linalg.inv(covariance[KNOWN][:, KNOWN])
    expected = mean[:, ~KNOWN] + (image[:, KNOWN] - mean[:, KNOWN]) @ gain.T
    torch.testing.assert_close(painting.image[:, ~KNOWN], expected, rtol=0, atol=1e-9)
    assert torch.equal(painting.image[:, KNOWN], image[:, KNOWN])


def test_pixels_that_are_not_known_are_not_read():
    model, image = network(), torch.rand(2, 6, dtype=torch.float64)
    other = torch.where(KNOWN, image, torch.full_like(image, torch.nan))
    first, second = (MODEL.inpaint(model, one, KNOWN, steps=9, record=False).image for one in (image, other))
    assert torch.equal(first, second)
    assert torch.equal(MODEL.classify(model, image, KNOWN, 9), MODEL.classify(model, other, KNOWN, 9))


def test_draws_have_the_mean_and_covariance_of_the_errors_that_images_left():
    task, (x, y) = toy_set(), toy()
    model = SCRIPT.learn_images(task, x, y, 0.01, seed=0)
    errors = model.infer(F.one_hot(y, 3).float(), x, steps=100).errors[0]
    drawn = MODEL.fit_error_model(model, x, y, 100).draw(40000, torch.Generator().manual_seed(0))
    scale = errors.std(0).max()
    torch.testing.assert_close(drawn.mean(0), errors.mean(0), rtol=0, atol=0.03 * float(scale))
    torch.testing.assert_close(drawn.T.cov(), errors.T.cov(), rtol=0, atol=0.05 * float(scale**2))


def test_errors_of_zero_change_nothing_and_errors_move_the_state_they_belong_to():
    model, labels = network(), torch.tensor([0, 2])
    one_pass = model(torch.eye(3, dtype=torch.float64)).detach()[labels]
    torch.testing.assert_close(MODEL.generate(model, labels, torch.zeros(2, 9, dtype=torch.float64)), one_pass)
    errors = torch.randn(2, 9, dtype=torch.float64)
    states = model.layers[0](F.one_hot(labels, 3).double()) + errors[:, :5]
    states = model.layers[1](states.tanh()) + errors[:, 5:]
    torch.testing.assert_close(MODEL.generate(model, labels, errors), model.layers[2](states.tanh()).detach())
    still = MODEL.ErrorModel(torch.ones(9), torch.zeros(9, 9))
    assert torch.equal(still.draw(4, torch.Generator()), torch.ones(4, 9))


def test_a_network_learns_to_predict_the_other_half(tmp_path):
    results = SCRIPT.make_images(toy_set(), [0, 1], folder=tmp_path)
    painted, label = results["in_painting"], results["label"]
    assert painted["best label"]["mean"] < 0.5 * painted["class mean, told"]["mean"] < painted["mean"]["mean"]
    assert label["best label"]["mean"] > 0.9 and painted["best label"]["sd"] is not None
    assert results["generation"]["one pass"]["mean"] == 1 and results["generation"]["drawn"]["mean"] > 0.8
    assert 0.5 < results["generation"]["diversity"]["mean"] < 2
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    rows = SCRIPT.kept_rows(tmp_path, results)
    assert all(row.shape[1] == 16 for row in rows.values()) and bool(rows["upper half"][:, 8:].isnan().all())


@pytest.mark.slow
def test_higher_thresholds_send_less_and_cost_less():
    task, (x, y) = toy_set(), toy(seed=2)
    model, known = SCRIPT.learn_images(task, *toy(), 0.01, seed=0), SCRIPT.upper_half(16)
    found = CHANNELS.communication_cost([model], x, y, known, [0.0001, 0.5], 100)
    everything = found["everything"]
    assert set(found["ways"]) == set(CHANNELS.SCHEMES)
    for name, (little, much) in found["ways"].items():
        assert much["errors_sent"]["mean"] < little["errors_sent"]["mean"] <= everything["errors_sent"]["mean"], name
        assert much["operations"]["mean"] < everything["operations"]["mean"], name
        if name != "spiking errors":  # which are cut off at so small a threshold
            assert little["error"]["mean"] == pytest.approx(everything["error"]["mean"], rel=0.05), name


def test_trainings_are_kept_and_used_again(tmp_path):
    task, (x, y), steps = toy_set(epochs=1), toy(), []
    first, again = (SCRIPT.trained(task, x, y, 0.01, 0, lambda *step: steps.append(step), tmp_path) for _ in range(2))
    assert torch.equal(first.layers[0].weight, again.layers[0].weight) and len(steps) == 6
    other = SCRIPT.trained(task, x, y, 0.01, 1, folder=tmp_path)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_the_task_runs_on_digits_in_smoke_size(tmp_path):
    small = replace(SCRIPT.task.sets[0], epochs=1, settle=5, hidden=(16,), learning_rates=(0.01,))
    task = replace(SCRIPT.task, sets=(small,), thresholds={})
    results = task.run([0], folder=tmp_path)
    found = results["digits"]
    assert found["split"] == {"train": 1000, "validation": 197, "test": 600}
    assert found["in_painting"]["ridge"]["mean"] < found["in_painting"]["mean"]["mean"]
    assert task.save(results, tmp_path).name == "images.png"
    with pytest.raises(ns.InputError, match="one of digits"):
        task.run([0], only=["mnist"])


def test_the_committed_results_are_read(tmp_path):
    docs = FOLDER.parents[1] / "docs" / "results"
    images, cost = (json.loads((docs / f"predictive-{name}.json").read_text()) for name in ("generation", "silence"))
    images["digits"]["communication_cost"] = cost
    assert SCRIPT.task.save(images, tmp_path).name == "results.json", "no images are kept in this folder"
    assert (tmp_path / "communication-cost.png").is_file() and len(SCRIPT.task.table(images).rows) > 11
