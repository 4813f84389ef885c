"""Networks over time, spiking or gated, on recordings: what they are given, how they are read out, what they cost."""

import dataclasses
from itertools import product

import pytest
import torch
from torch import nn

from neurosparse import report
from neurosparse.baselines.gru import GRU
from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import Split, Task, evaluate, load_task, make_model
from neurosparse.experiments.classification.config import drawn_from
from neurosparse.experiments.classification.evaluate import latency
from neurosparse.experiments.classification.families.feedforward import anytime, read
from neurosparse.experiments.classification.inputs import batch_sampler, take
from neurosparse.experiments.classification.summary import summarise
from neurosparse.experiments.classification.train import accuracy, fit
from neurosparse.meter import count, record
from neurosparse.neurons import LIF
from neurosparse.plot.units import MISSING
from neurosparse.report.table import columns, families

STEPS, UNITS = 12, (2, 6, 6)
LENGTHS = torch.tensor([12, 5, 1, 9, 12, 7])


def recordings(samples: int, ragged: bool, seed: int = 0) -> tuple[EventTensor, torch.Tensor]:
    """Spikes at rates that depend on the label."""
    generator = torch.Generator().manual_seed(seed)
    rates = 0.4 * torch.rand(3, *UNITS, generator=torch.Generator().manual_seed(9))
    y = torch.arange(samples) % 3
    lengths = LENGTHS.repeat(-(-samples // 6))[:samples] if ragged else torch.full((samples,), STEPS)
    fires = torch.rand(STEPS, samples, *UNITS, generator=generator) < rates[y]
    fires &= (torch.arange(STEPS)[:, None] < lengths)[:, :, None, None, None]
    step, sample, *units = fires.nonzero().unbind(1)
    found = {"shape": fires.shape, "dt": 2e-3, "lengths": lengths if ragged else None}
    return EventTensor.from_aer(step, sample, torch.stack(units, 1), **found), y


def build(config, units, hidden, classes, seed):
    with drawn_from(seed):
        return config.network(units, hidden, classes)


# ---- what a network is given


@pytest.mark.parametrize("ragged", [False, True])
def test_batches_of_the_sampler_are_those_samples(ragged):
    x, _ = recordings(6, ragged)
    graded = x * 1.5
    for source, which in product((x, graded, torch.rand(6, 4)), (torch.tensor([4, 0, 4]), torch.tensor([2]))):
        sampled, taken = batch_sampler(source)(which), take(source, which)
        if isinstance(source, torch.Tensor):
            assert torch.equal(sampled, taken)
            continue
        assert torch.equal(sampled.dense(), taken.dense()) and (sampled.dt, sampled.t0) == (taken.dt, taken.t0)
        assert (sampled.value is None) == (taken.value is None)
        assert (sampled.lengths is None and taken.lengths is None) or torch.equal(sampled.lengths, taken.lengths)


def test_recordings_are_binned_counted_and_flattened():
    x, _ = recordings(6, ragged=True)
    dense = x.dense()
    assert torch.equal(make_model("a", family="relu").prepare(x), dense.sum(0).flatten(1))
    image = make_model("a", family="relu", layers=("conv 2 3",), bins=4).prepare(x)
    bins = dense.unflatten(0, (4, 3)).sum(1).transpose(0, 1)  # (samples, bins, channels, height, width)
    assert torch.equal(image, bins.flatten(1, 2))
    binned = make_model("a", family="gru", steps=4, encoding="events").prepare(x)
    assert torch.equal(binned.dense(), bins.transpose(0, 1).flatten(2)) and binned.dt == pytest.approx(6e-3)
    assert binned.lengths.tolist() == [-(-n // 3) for n in LENGTHS.tolist()]
    spikes = make_model("a", family="lif", steps=4, encoding="events", collision="any").prepare(x)
    assert spikes.value is None and torch.equal(spikes.dense(), binned.dense().clamp(max=1))
    whole = make_model("a", family="lif", encoding="events", layers=("conv 2 3",)).prepare(x)
    assert whole is x, "one step asked: the recording's own"


def test_data_and_encoding_must_agree():
    x, _ = recordings(6, ragged=False)
    with pytest.raises(InputError, match=r"model 'a': got encoding='current' for data that are events"):
        make_model("a", family="lif", steps=4).prepare(x)
    with pytest.raises(InputError, match=r"got encoding='events' for data that are a tensor"):
        make_model("a", family="gru", encoding="events").prepare(torch.rand(3, 4))


# ---- the gated units


def test_gated_units_are_those_of_torch():
    ours, theirs, x = GRU(5), nn.GRU(7, 5), torch.randn(9, 4, 7)
    drive = nn.Linear(7, 15)
    for mine, other in ((drive, "ih"), (ours.recurrent, "hh")):
        mine.weight.data.copy_(getattr(theirs, f"weight_{other}_l0"))
        mine.bias.data.copy_(getattr(theirs, f"bias_{other}_l0"))
    torch.testing.assert_close(ours(drive(x)), theirs(x)[0])


def test_a_sample_that_has_ended_keeps_its_state():
    units, drive = GRU(5), nn.Linear(7, 15)
    x = torch.randn(9, 3, 7)
    lengths = torch.tensor([4, 9, 0])
    x = x * (torch.arange(9)[:, None] < lengths)[..., None]
    states = units(drive(EventTensor.from_dense(x, lengths=lengths)))
    for sample, length in enumerate(lengths.tolist()):
        alone = units(drive(x[:length, sample : sample + 1])) if length else torch.zeros(1, 1, 5)
        torch.testing.assert_close(states[-1, sample], alone[-1, 0])


@pytest.mark.parametrize("ragged", [False, True])
def test_the_four_products_of_a_gated_step_are_counted(ragged):
    """Per step: events x 3 units from the input, 3 units x units back; the output weights once at each step."""
    x, _ = recordings(6, ragged)
    features, units, classes = 72, 5, 3
    steps = int(LENGTHS.sum()) if ragged else 6 * STEPS
    for readout, read_outs in (("mean", steps), ("last", 6)):
        config = make_model("a", family="gru", encoding="events", readout=readout, layers=(f"gru {units}",))
        model, data = build(config, (features,), (), classes, 0).eval(), config.prepare(x)
        with torch.no_grad(), record(model) as tape:
            model(data)
        counts = count(tape)
        rows = {row["layer"]: row for row in counts.rows if row["kind"] == "linear"}
        assert counts.uncounted == () and counts.samples == 6
        assert [row["dense_ops"] for row in rows.values()] == [
            steps * features * 3 * units, steps * units * 3 * units, read_outs * units * classes,
        ]  # fmt: skip
        assert rows["linears.0"]["effective_acs"] == x.n_events * 3 * units, "spikes are added, not multiplied"
        # At rest the state is zero: the first step's recurrent product has nothing to multiply.
        assert rows["activations.0.recurrent"]["effective_macs"] == (steps - 6) * units * 3 * units


# ---- reading out


@pytest.mark.parametrize(("how", "ragged"), list(product(("mean", "membrane", "peak", "last"), (False, True))))
def test_an_answer_after_each_step_is_that_of_the_recording_cut_there(how, ragged):
    out, lengths = torch.randn(9, 4, 3), torch.tensor([9, 3, 1, 7]) if ragged else None
    early = anytime(out, how, lengths)
    for step in range(1, 10):
        cut = None if lengths is None else lengths.clamp(max=step)
        torch.testing.assert_close(early[step - 1], read(out[:step], how, cut))


@pytest.mark.parametrize("ragged", [False, True])
def test_padding_never_reaches_an_answer(ragged):
    x, _ = recordings(6, ragged)
    longer = EventTensor.from_aer(
        *x.aer(), shape=(STEPS + 4, *x.shape[1:]), dt=x.dt, lengths=LENGTHS if ragged else torch.full((6,), STEPS)
    )
    for config in (
        *(make_model("a", family="lif", encoding="events", readout=how) for how in ("mean", "membrane", "peak")),
        *(make_model("a", family="gru", encoding="events", readout=how) for how in ("mean", "last")),
    ):
        model = build(config, (72,), (8,), 3, 0)
        short, long = (model(config.prepare(data)) for data in (x, longer))
        torch.testing.assert_close(short, long)


def test_the_leaky_membrane_by_hand():
    config = make_model(
        "a", family="lif", encoding="events", readout="membrane", readout_beta=0.5, layers=("linear 4",)
    )
    model, (x, _) = build(config, (72,), (), 3, 0), recordings(6, ragged=False)
    out, membrane = model.linears[1](model.activations[0](model.linears[0](config.prepare(x)))), [0.0]
    for now in out:
        membrane.append(0.5 * membrane[-1] + now)
    torch.testing.assert_close(model(config.prepare(x)), torch.stack(membrane[1:]).mean(0))
    peak = dataclasses.replace(config, readout="peak")
    torch.testing.assert_close(build(peak, (72,), (), 3, 0)(config.prepare(x)), torch.stack(membrane[1:]).amax(0))


def test_latency_is_the_first_step_from_which_the_answer_stays_good():
    assert latency([0.2, 0.9, 0.5, 0.85, 0.86]) == {
        "accuracies": [0.2, 0.9, 0.5, 0.85, 0.86], "steps": 4, "seconds": None,
    }  # fmt: skip
    assert latency([0.9, 0.9], dt=0.01)["seconds"] == 0.01
    assert latency([0.1, 0.2, 0.9], dt=0.01)["seconds"] == pytest.approx(0.03)


class Late(nn.Module):
    """Knows the label at step two, and doubts at step three."""

    def anytime(self, x):
        right, wrong = x, 1 - x
        return torch.stack([wrong, right, wrong, right])

    def forward(self, x):
        return 1.0 * x


def test_every_model_that_answers_at_any_time_has_a_latency():
    found = evaluate(Late(), (torch.eye(3), torch.arange(3)), batch_size=2)
    assert found["latency"] == {"accuracies": [0.0, 1.0, 0.0, 1.0], "steps": 4, "seconds": None}
    spikes = torch.zeros(3, 2, 2)
    spikes[1, 0, 0] = spikes[2, 1, 1] = 1
    answer = EventTensor.from_dense(spikes, dt=0.5, spikes=True)
    relay = nn.Linear(2, 2, bias=False)
    relay.weight.data.copy_(torch.eye(2))
    found = evaluate(nn.Sequential(relay, LIF(beta=0.0, threshold=0.5)), (answer, torch.tensor([0, 1])))
    assert found["latency"] == {"accuracies": [0.5, 0.5, 1.0], "steps": 3, "seconds": 1.5}
    assert evaluate(nn.Linear(3, 3), (torch.eye(3), torch.arange(3)))["latency"] is None
    rows = [found | {"latency": {"accuracies": [0.5, c], "steps": 2, "seconds": None}} for c in (0.7, 0.9)]
    assert summarise("a", rows)["latency"] == {
        "steps": {"mean": 2.0, "sd": 0.0}, "seconds": {"mean": None, "sd": None}, "of": 2,
        "accuracies": pytest.approx([0.5, 0.8]),
    }  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True])
def test_normalised_layers_still_add_spikes(ragged):
    x, _ = recordings(6, ragged)
    config = make_model("a", family="lif", encoding="events", layers=("conv 4 3 norm", "linear 8 norm"), threshold=0.1)
    model = build(config, UNITS, (), 3, 0).eval()
    with torch.no_grad(), record(model) as tape:
        model(config.prepare(x))
    totals = count(tape).totals
    assert totals["effective_macs"] == 0 < totals["effective_acs"] and totals["spikes_out"] > 0


# ---- training


CONFIGS = [
    make_model("relu", family="relu"),
    make_model("relu-image", family="relu", bins=3, layers=("conv 6 3 norm pool 2", "linear 12"), dropout=0.1),
    make_model("lif", family="lif", steps=6, encoding="events", readout="membrane", recurrent=True),
    make_model("lif-image", family="lif", steps=6, encoding="events", layers=("conv 6 3 norm pool 2", "linear 12")),
    make_model("lif-learned", family="lif", encoding="events", readout="peak", learn_beta=True, dropout=0.1),
    make_model("gru", family="gru", steps=6, encoding="events", readout="last"),
    make_model("gru-int8", family="gru", encoding="events", bits=8, label_smoothing=0.1),
]


def toy(ragged: bool, **more: object) -> tuple[Task, Split]:
    parts = (recordings(60, ragged, seed) for seed in range(3))
    split = Split(*parts)
    return Task("toy", "A toy", lambda: split, (16,), 3, 12, 10, (0.02,), **more), split  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "ragged"), list(product(CONFIGS, (False, True))), ids=lambda p: getattr(p, "name", p)
)
def test_every_kind_learns_recordings_and_is_counted(config, ragged):
    task, split = toy(ragged, weight_decay=0.01)
    assert split.sizes == {"train": 60, "validation": 60, "test": 60}
    trained = fit(config, task, split, 0, 0.02)
    x, y = split.test
    data = config.prepare(x), y
    found, parts = evaluate(trained.model, data), evaluate(trained.model, data, batch_size=7)
    assert found["correct"].mean() == accuracy(trained.model, data, 13) > 0.6, "chance is a third"
    assert found["counts"].uncounted == () and found["counts"].rows == parts["counts"].rows
    assert (found["latency"] is None) == (config.family == "relu")
    if found["latency"]:
        of = 12 if config.steps == 1 else config.steps
        assert len(found["latency"]["accuracies"]) == of and found["latency"]["seconds"] <= 12 * 2e-3 + 1e-9
        assert found["latency"]["accuracies"][-1] == pytest.approx(found["correct"].mean())


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[2]], ids=lambda c: c.name)
def test_augmentation_is_seeded_and_applied_to_training_data_before_preparation(config):
    seen = []

    def mirror(x, generator):
        seen.append(x.shape)
        if torch.rand((), generator=generator) < 0.5:
            return x
        return EventTensor.from_dense(x.dense().flip(-1), dt=x.dt, spikes=True)

    task, split = toy(False, augment=mirror)
    before = torch.get_rng_state()
    one, two = (fit(config, dataclasses.replace(task, epochs=2), split, 0, 0.02).losses for _ in range(2))
    assert one == two and torch.equal(torch.get_rng_state(), before)
    assert set(seen) == {(STEPS, 10, *UNITS)} and len(seen) == 2 * 2 * 6, "training batches only"
    plain = fit(config, dataclasses.replace(task, epochs=2, augment=None), split, 0, 0.02).losses
    assert plain != one


def test_decay_shrinks_weights_but_no_bias_and_no_time_constant():
    task, split = toy(False)
    config = make_model("lif", family="lif", steps=6, encoding="events", learn_beta=True)
    plain, decayed = (
        fit(config, dataclasses.replace(task, weight_decay=decay), split, 0, 0.02).model for decay in (0.0, 5.0)
    )
    norms = [[float(p.detach().norm()) for p in model.parameters()] for model in (plain, decayed)]
    names = [name for name, _ in plain.named_parameters()]
    shrunk = {name: after < 0.5 * before for name, before, after in zip(names, *norms, strict=True)}
    assert shrunk["linears.0.weight"] and shrunk["linears.1.weight"] and not shrunk["activations.0.beta"]
    betas = decayed.activations[0].beta
    assert float(betas.detach().min()) >= 0 and float(betas.detach().max()) <= 1
    with pytest.raises(InputError, match="weight_decay=-1"):
        dataclasses.replace(task, weight_decay=-1)


def test_dropout_silences_a_unit_for_a_whole_sample_and_keeps_the_mean():
    config = make_model("a", family="lif", encoding="events", dropout=0.25, layers=("linear 400",), threshold=0.1)
    model, (x, _) = build(config, (72,), (), 3, 0), recordings(6, ragged=False)
    met, hidden = [], []
    model.linears[-1].register_forward_pre_hook(lambda _, inputs: met.append(inputs[0]))
    model(config.prepare(x), hidden)
    before, after = hidden[0].dense(), met[0]
    fired, passed = before.any(0), after.any(0)
    assert 0.2 < 1 - float(passed.sum() / fired.sum()) < 0.3
    torch.testing.assert_close(after, before * passed / 0.75)
    model.eval()(config.prepare(x))
    assert isinstance(met[1], EventTensor) and met[1].value is None, "spikes stay spikes where nothing is dropped"


def test_labels_are_smoothed_as_torch_does():
    x, y = torch.rand(9, 4), torch.arange(9) % 3
    config = make_model("a", family="relu", label_smoothing=0.3)
    model = build(config, (4,), (5,), 3, 0)
    expected = nn.CrossEntropyLoss(label_smoothing=0.3)(model(x), y)
    assert config.learn(model, x, y).loss == pytest.approx(expected.item())


SCRIPT = """
import torch, neurosparse as ns

def part(seed):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(24) % 2
    rates = torch.tensor([[0.6, 0.1, 0.3], [0.1, 0.6, 0.3]])
    fires = torch.rand(8, 24, 3, generator=generator) < rates[y]
    return ns.EventTensor.from_dense(fires, dt=0.01), y

def data():
    return ns.Split(part(0), part(1), part(2))

task = ns.Task("toy", "A toy", data, (8,), 2, 10, 6, (0.03,))
"""


def test_results_of_recordings_hold_the_latency(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    for name, text in {"relu": "", "lif": '\nencoding = "events"', "gru": '\nencoding = "events"\nsteps = 4'}.items():
        (tmp_path / f"{name}.toml").write_text(f'family = "{name}"{text}')
    results = load_task(tmp_path, Task).run([0, 1], processes=1)
    rows = {row["name"]: row for row in results["models"]}
    assert rows["relu"]["latency"] is None
    assert (rows["lif"]["latency"]["of"], rows["gru"]["latency"]["of"]) == (8, 4)
    for row, dt in ((rows["lif"], 0.01), (rows["gru"], 0.02)):
        assert row["latency"]["seconds"]["mean"] == pytest.approx(row["latency"]["steps"]["mean"] * dt)
    assert {(v["a"], v["b"]) for v in results["verdicts"]} == {("lif", "relu"), ("gru", "relu")}
    (latency,) = columns(report.check(results), ["latency"])
    names = [model["name"] for models in families(results).values() for model in models]
    shown = dict(zip(names, map(latency.cell, latency.values), strict=True))
    seconds = rows["lif"]["latency"]["seconds"]["mean"]
    assert float(shown["lif"].split(" ")[0]) * latency.scale == pytest.approx(seconds, rel=0.006)
    assert shown["relu"] == MISSING and latency.unit == "ms"
