"""The task of odours: what its generator promises, that cells are drawn and kept, and what they cost."""

import dataclasses
import runpy
from pathlib import Path

import pytest
import torch

from neurosparse.errors import InputError
from neurosparse.experiments import Split, Task, evaluate, load_task
from neurosparse.experiments.classification.train import fit

FOLDER = Path(__file__).parents[2] / "models" / "olfaction"
SCRIPT = runpy.run_path(str(FOLDER / "train.py"))


def test_projection_neurons_fire_at_the_published_rates() -> None:
    receptors = torch.zeros(6_000, 50)
    receptors[:, :3] = torch.tensor([10.0, 50.0, 200.0])
    spikes = SCRIPT["projection_neurons"](receptors, torch.Generator().manual_seed(0)) * (0.1 * 165)
    assert torch.equal(spikes, spikes.round()) and not spikes[:, 3:].any(), "counts; without drive there are no spikes"
    # Averaged over concentrations 2^(x / 2), x normal, by a sum over its quantiles.
    x = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(1000) + 0.5) / 1000)
    rates = receptors[0, :3] * 2 ** (0.5 * x[:, None])
    law = 165 * rates**1.5 / (12**1.5 + rates**1.5 + (10.63 * rates.sum(1, keepdim=True) / 190) ** 1.5)
    torch.testing.assert_close(spikes[:, :3].mean(0), 0.1 * law.mean(0), rtol=0.03, atol=0.0)


def test_every_part_has_new_sniffs_of_all_odours() -> None:
    split = load_task(FOLDER, Task).data()
    assert split.sizes == {"train": 2400, "validation": 800, "test": 2000}
    for x, y in (split.train, split.validation, split.test):
        assert torch.equal(y.bincount(), torch.full((10,), len(y) // 10)) and x.shape == (len(y), 50)
    assert not torch.equal(split.train[0][:200], split.test[0][:200])


def test_expansion_tells_apart_what_is_arbitrary_and_cells_stay_as_drawn() -> None:
    task = dataclasses.replace(load_task(FOLDER, Task), epochs=3)
    whole = task.data()
    few = Split(*((x[: 6 * 200], y[: 6 * 200]) for x, y in (whole.train, whole.validation, whole.test)))
    found = {}
    for config in load_task(FOLDER, Task).models(("fly", "fly-unexpanded")):
        config = dataclasses.replace(config, cells=min(config.cells, 400))
        model = fit(config, task, few, 0, 0.03).model
        drawn = fit(config, dataclasses.replace(task, epochs=1), few, 0, 0.03).model
        assert torch.equal(model.cells.matrix, drawn.cells.matrix)
        assert torch.equal(model.cells.matrix.sum(1), torch.full((config.cells,), 7.0))
        found[config.name] = evaluate(model, few.test)
    assert found["fly"]["correct"].mean() > found["fly-unexpanded"]["correct"].mean() + 0.3
    cells, readout = [row for row in found["fly"]["counts"].rows if row["kind"] == "linear"]
    assert (cells["weights"], cells["nonzero_weights"]) == (400 * 50, 400 * 7), "seven inputs of 50 to each cell"
    assert readout["effective_acs"] == 1200 * 20 * 10, "5 % of 400 cells spike, once for each meaning"
    assert readout["effective_macs"] == 0


def test_a_cell_cannot_sum_more_than_there_is() -> None:
    task = load_task(FOLDER, Task)
    (config,) = task.models(("fly",))
    with pytest.raises(InputError, match="inputs"):
        fit(dataclasses.replace(config, inputs=51), task, task.data(), 0, 0.01)
    with pytest.raises(InputError, match="cells"):
        dataclasses.replace(config, cells=0)
