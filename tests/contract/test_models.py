"""Models of task folders: files are checked key by key; every model trains, is tested, and is reproducible."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from neurosparse.baselines import Quantised
from neurosparse.errors import InputError, MissingFileError
from neurosparse.experiments import (
    Split,
    Task,
    evaluate,
    load_task,
    make_model,
    read_model,
)
from neurosparse.experiments.classification import train as training
from neurosparse.experiments.classification.evaluate import SCENARIOS
from neurosparse.experiments.classification.models import find_models
from neurosparse.experiments.classification.train import fit

MODELS = Path(__file__).parents[2] / "models"
FEATURES = 64
MODELS_OF_DIGITS = load_task(MODELS / "digits", Task).models()
ONE_EACH = [
    make_model("relu", family="relu", sparsity=0.5),
    make_model("int8", family="relu", bits=8, levels=4),
    make_model("lif", family="lif", steps=3, encoding="latency"),
    make_model("lif-low", family="lif", steps=3, initial_rate=0.1, activity_penalty=0.1, rate_limit=0.05),
    make_model("lif-learned", family="lif", steps=3, learn_beta=True, learn_threshold=True),
    make_model("integrate-and-fire", family="lif", steps=3, beta=1.0),
    make_model("integers", family="lif", steps=3, beta=0.875, bits=8, state_bits=16),
    make_model("converted", family="converted", steps=3),
    make_model("converted-relu", family="converted", steps=3, normalisation=99.0, bits=4, state_bits=8),
    make_model("kwta", family="kwta"),
    make_model("fly", family="fly", cells=200),
    make_model("sparse-code", family="sparse-code", atoms=16),
    make_model("predictive", family="predictive", sparsity=0.5, inference_steps=3),
]


def toy(samples: int = 32, features: int = 64, **budget: object) -> tuple[Task, Split]:
    """Noisy copies of one pattern per class; by default two training steps."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(samples) % 10
    x = torch.rand(10, features, generator=generator)[y] * torch.rand(samples, features, generator=generator)
    split = Split((x, y), (x, y), (x[:20], y[:20]))
    plain = {"hidden": (32,), "classes": 10, "epochs": 1, "batch_size": samples // 2, "learning_rates": (0.01,)}
    return Task("toy", "A toy", lambda: split, **(plain | budget)), split  # type: ignore[arg-type]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([part.flatten().double() for part in model.state_dict().values()])


@pytest.mark.parametrize("config", MODELS_OF_DIGITS, ids=lambda config: config.name)
def test_every_model_trains_and_is_tested(config):
    task = load_task(MODELS / "digits", Task)
    _, split = toy(features=FEATURES)
    task = dataclasses.replace(task, epochs=1, batch_size=16)
    trained = fit(config, task, split, seed=0, learning_rate=0.01)
    assert trained.steps == 2 and len(trained.losses) == 1 and torch.isfinite(torch.tensor(trained.losses)).all()
    assert not trained.model.training
    found, parts = evaluate(trained.model, split.test), evaluate(trained.model, split.test, batch_size=7)
    assert found["correct"].shape == (20,) and found["correct"].dtype == bool
    assert found["counts"].uncounted == () and found["counts"].samples == 20
    assert list(found["reports"]) == list(SCENARIOS)
    assert all(report.nominal > 0 for report in found["reports"].values())
    assert (found["correct"] == parts["correct"]).all(), "the size of a batch decides nothing"
    assert found["counts"].rows == parts["counts"].rows, "the size of a batch counts nothing"
    assert {n: r.nominal for n, r in found["reports"].items()} == {n: r.nominal for n, r in parts["reports"].items()}
    assert (found["raster"] is not None) == (config.family in ("lif", "converted") and config.steps > 1)
    if config.compression.bits == 8:
        assert any(isinstance(module, Quantised) for module in trained.model.modules())
    if config.compression.sparsity:
        _ends_pruned(trained.model, config)


def _ends_pruned(model: nn.Module, config: make_model) -> None:
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | Quantised)]
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
    expected = round(config.compression.sparsity * sum(layer.weight.numel() for layer in layers))
    # Rounding to integers may only add zeros.
    assert zeros == expected if config.compression.bits == 32 else zeros >= expected


@pytest.mark.parametrize("samples", [2, 6, 40, 130])
def test_pruning_is_complete_however_short_the_training(samples):
    config = make_model("pruned", family="relu", sparsity=0.75)
    task, split = toy(samples=samples, batch_size=2)
    _ends_pruned(fit(config, task, split, 0, 0.01).model, config)


@pytest.mark.parametrize("config", ONE_EACH, ids=lambda c: c.name)
def test_a_seed_is_all_the_randomness(config):
    task, split = toy()
    before = torch.get_rng_state()
    first = weights(fit(config, task, split, 1, 0.01).model)
    assert torch.equal(torch.get_rng_state(), before), "the global random state is unchanged"
    torch.manual_seed(99)
    assert torch.equal(weights(fit(config, task, split, 1, 0.01).model), first)
    assert not torch.equal(weights(fit(config, task, split, 2, 0.01).model), first)


@pytest.mark.parametrize("config", [make_model("relu", family="relu"), make_model("lif", family="lif", steps=4)])
def test_an_activity_penalty_lowers_the_activity(config):
    task, split = toy(epochs=20)

    def events(each: make_model) -> int:
        rows = evaluate(fit(each, task, split, 0, 0.01).model, split.test)["counts"].rows
        return [row for row in rows if row["kind"] == "linear"][-1]["input_events"]

    assert events(dataclasses.replace(config, activity_penalty=5.0)) < 0.7 * events(config)


def test_training_learns():
    task, split = toy(samples=200, epochs=15)
    for config in ONE_EACH:
        trained = fit(config, task, split, 0, 0.01)
        assert evaluate(trained.model, split.train)["correct"].mean() > 0.3, f"{config.name}: chance is 0.1"


def test_a_checkpoint_is_the_same_model_without_training(tmp_path, monkeypatch):
    task, split = toy()
    for config in ONE_EACH:
        trained = fit(config, task, split, 1, 0.01, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(training, "_train", None)
            again = fit(config, task, split, 1, 0.01, tmp_path)
            with pytest.raises(TypeError):
                fit(config, task, split, 2, 0.01, tmp_path)
            with pytest.raises(TypeError):
                fit(config, task, split, 1, 0.02, tmp_path)
        assert torch.equal(weights(again.model), weights(trained.model)) and not again.model.training
        assert (again.seconds, again.steps, again.losses) == (trained.seconds, trained.steps, trained.losses)


def test_the_name_of_a_checkpoint_changes_with_all_that_training_depends_on(tmp_path):
    task, split = toy()
    config = make_model("a", family="relu", sparsity=0.5)
    fit(config, task, split, 0, 0.01, tmp_path)
    for other in (dataclasses.replace(task, epochs=2), dataclasses.replace(task, hidden=(31,))):
        fit(config, other, split, 0, 0.01, tmp_path)
    fit(make_model("a", family="relu", sparsity=0.6), task, split, 0, 0.01, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    fit(make_model("b", family="relu", note="renamed", sparsity=0.5, bits=8), task, split, 0, 0.01, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4, "post-training quantization: the same weights"


@pytest.mark.parametrize(
    ("trained", "same", "other"),
    [
        ({"family": "lif", "beta": 0.5}, [{"bits": 8, "state_bits": 16}, {"bits": 4, "state_bits": 8}], {"steps": 5}),
        ({"family": "converted", "steps": 4}, [{"levels": 4, "steps": 8}, {"bits": 8, "state_bits": 16}], {"steps": 5}),
        ({"family": "converted", "normalisation": 99}, [{"normalisation": 98, "steps": 8}], {"loss": "squared"}),
    ],
    ids=["lif", "twin", "normalised"],
)  # fmt: skip
def test_what_is_applied_after_training_shares_the_trained_weights(tmp_path, trained, same, other):
    task, split = toy()
    for keys in ({}, *same):
        fit(make_model("a", **(trained | keys)), task, split, 0, 0.01, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    fit(
        make_model("a", **{k: v for k, v in (trained | other).items() if v is not None}), task, split, 0, 0.01, tmp_path
    )
    assert len(list(tmp_path.iterdir())) == 2


BAD = {
    'famly = "lif"': "no family",
    'family = "lif"\nstep = 4': "Did you mean 'steps'?",
    "steps = 4": "no family",
    'family = "lfi"': "one of 'relu', 'lif'",
    'family = ["lif"]': "one of 'relu', 'lif'",
    'family = "lif"\nsteps = 0': "a whole number, 1 to 10000",
    'family = "lif"\nsteps = 2.5': "a whole number",
    'family = "lif"\nsteps = true': "a whole number",
    'family = "lif"\nbeta = 1.5': "0 <= beta <= 1",
    'family = "lif"\nbeta = "high"': "0 <= beta <= 1",
    'family = "lif"\nbeta = nan': "0 <= beta <= 1",
    'family = "lif"\nencoding = "morse"': "'current', 'latency'",
    'family = "lif"\nbeta = 0.5\nstate_bits = 16': "expected integer weights",
    'family = "lif"\nbeta = 0.5\nbits = 8\nstate_bits = 7': "a whole number, 8 to 32",
    'family = "lif"\nbeta = 0.9\nbits = 8\nstate_bits = 16': "got beta=0.9; expected 1 - 2^-k",
    'family = "lif"\nbeta = 0.5\nbits = 8\nstate_bits = 16\nlearn_beta = true': "expected learn_beta=False",
    'family = "converted"\nencoding = "latency"': "whose mean is the input",
    'family = "converted"\nlevels = 4\nnormalisation = 99': "activations of few levels, or plain ones",
    'family = "converted"\nnormalisation = 99\nlayers = ["conv 8 3 pool 2"]': "without a maximum over windows",
    'family = "relu"\nsparsity = 1.0': "sparsity <= 0.999",
    'family = "relu"\npruned = 0.9': "expected sparsity",
    'family = "relu"\npruning = "rigl"': "expected pruning_method",
    'family = "relu"\nlonger = 5': "expected epoch_factor",
    'family = "relu"\nquantised = "after"': 'expected quantization = "ptq" or "qat"',
    'family = "gru"\nreadout_beta = 0.5': "of family 'gru': got key 'readout_beta'; expected family, note, loss",
    'family = "relu"\nbits = 16': "8, 32",
    'family = "relu"\nloss = "hinge"': "'cross_entropy', 'squared'",
    'family = "predictive"\ntarget = "squared"': "expected loss",
    'family = "predictive"\nnudge = 0.1\ninference_mode = "z_il"': "nudge=0.1 with inference_mode='z_il'",
    'family = "relu"\ndepth = 2\nlayers = ["linear 8"]': "depth=2 with layers",
    'family = "relu"\nlevels = 0': "a whole number",
    'family = "relu"\nnote = 3': "text",
    'family = "relu"\nsteps = 8': "of family 'relu'",
    'family = "sparse-code"\nsparsity = 0.5': "got key 'sparsity'; expected family, note, loss, label_smoothing, atoms",
    'family = "lif': "expected TOML",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_model(tmp_path / "mine.toml")
    message = str(refused.value)
    assert message.startswith("model 'mine'") and BAD[text] in message and "\n" not in message


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected TOML"):
        read_model(tmp_path / "mine.toml")


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(MissingFileError, match="lif-int8, lif-"):
        read_model(MODELS / "digits" / "liff.toml")
    monkeypatch.chdir(MODELS.parent)
    with pytest.raises(MissingFileError, match=r"models/digits, models/fashion-mnist"):
        load_task("digit")
    assert load_task("digits", Task).name == "digits", "short for models/digits"
    (tmp_path / "train.py").write_text("budget = 3")
    with pytest.raises(InputError, match="without a `task`"):
        load_task(tmp_path)
    with pytest.raises(MissingFileError, match="a TOML file per model"):
        find_models(tmp_path)


def test_only_picks_each_once_in_order():
    assert [c.name for c in find_models(MODELS / "digits", ("relu", "kwta", "relu"))] == ["relu", "kwta"]


@pytest.mark.parametrize("budget", [{"epochs": 0}, {"hidden": (0,)}, {"learning_rates": ()}, {"learning_rates": (0,)}])
def test_a_bad_budget_is_refused(budget):
    with pytest.raises(InputError, match="task 'toy'"):
        toy(**budget)


def test_a_batch_needs_enough_samples():
    task, split = toy(batch_size=33)
    with pytest.raises(InputError, match="32 training samples"):
        fit(make_model("relu", family="relu"), task, split, 0, 0.01)


def test_two_models_of_one_name_are_refused(tmp_path):
    def write(**texts: str) -> None:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in texts.items():
            stem, _, kind = name.rpartition("_")
            (tmp_path / f"{stem.replace('_', '-')}.{kind}").write_text(text)

    write(lif_toml='family = "lif"\nsteps = [2, 2]')
    with pytest.raises(InputError, match=r"steps=\[2, 2\]; expected different values"):
        find_models(tmp_path)
    write(lif_toml='family = "lif"\nsteps = [2, 4]', lif_2_toml='family = "relu"')
    with pytest.raises(InputError, match="two models 'lif-2'"):
        find_models(tmp_path)
    assert find_models(tmp_path, ("lif-2",))[0].family == "relu"
    write(lif_toml='family = "lif"', lif_py="def network(split): ...")
    with pytest.raises(InputError, match=r"got lif\.py and lif\.toml"):
        find_models(tmp_path)
    write(lif_toml='family = "lif"\nsteps = [2, 4]')
    assert [model.name for model in find_models(tmp_path, ("lif-4", "lif"))] == ["lif-4", "lif-2"]


def test_a_training_that_diverges_is_refused_by_name(tmp_path):
    text = "import torch\ndef network(split):\n    net = torch.nn.Linear(64, 10)\n    net.weight.data[::2] = 3e38\n"
    (tmp_path / "huge.py").write_text(text + "    return torch.nn.Sequential(net, torch.nn.Linear(10, 10))")
    task, _ = toy(learning_rates=(1e-3,))
    task = dataclasses.replace(task, home=tmp_path, sources={})
    with pytest.raises(InputError, match=r"model 'huge': got logits with NaN in every trial"):
        task.run([0], processes=1)
    with pytest.raises(InputError, match="model 'huge': got a loss of NaN or infinity"):
        task.train("huge")


def test_a_name_of_several_models_is_refused_where_one_is_trained():
    with pytest.raises(InputError, match=r"got 4 models of lif; expected one model\. Name 'lif-1'"):
        load_task(MODELS / "digits", Task).train("lif")
