"""`compare`: trained networks, ours or of another library, in one call; every number by hand."""

import json

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.errors import InputError
from neurosparse.report.headline import answer
from neurosparse.report.results import like_for_like


def reader(classes: int = 4, gain: float = 1.0) -> nn.Linear:
    model = nn.Linear(4, classes, bias=False)
    model.weight.data.copy_(gain * torch.eye(4)[:classes])
    return model


class Spiking(nn.Module):
    """Four steps of the same input, each input unit relayed by one neuron."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(reader(), ns.LIF(beta=1.0, threshold=0.5), reader())

    def forward(self, x):
        return self.net(ns.constant_current(x, steps=4)).mean(0)


def foreign() -> nn.Module:
    """The same network as a snnTorch user writes it."""
    snn = pytest.importorskip("snntorch")

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.relay = reader(), reader(), snn.Leaky(beta=1.0, threshold=0.5)

        def forward(self, x):
            membrane, out = self.relay.init_leaky(), []
            for _ in range(4):
                spikes, membrane = self.relay(self.first(x), membrane)
                out.append(self.last(spikes))
            return torch.stack(out).mean(0)

    return Loop()


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    # Activations of 0 and 2 are no spikes.
    return {"relu": nn.Sequential(reader(gain=2.0), nn.ReLU(), reader()), "lif": Spiking()}


def counts(found: ns.Comparison, name: str) -> dict[str, float]:
    (row,) = [row for row in found.results["models"] if row["name"] == name]
    return {column: stat["mean"] for column, stat in row["operations"].items()}


def test_relu_and_lif_by_hand(networks, data):
    found = ns.compare(networks, data, title="by hand")
    relu, lif = counts(found, "relu"), counts(found, "lif")
    # One input of four is on, one weight of its four is not zero: once in each layer, for spikes at each of four steps.
    assert (relu["dense_ops"], relu["effective_macs"], relu["effective_acs"]) == (32, 2, 0)
    assert (lif["dense_ops"], lif["effective_macs"], lif["effective_acs"]) == (16 + 4 * 16, 1, 4)
    assert (lif["state_updates"], lif["spikes_out"]) == (16, 4)
    rows = {row["name"]: row for row in found.results["models"]}
    assert rows["relu"]["accuracy"] == rows["lif"]["accuracy"] == {"mean": 1.0, "sd": None, "seeds": [1.0]}
    assert rows["relu"]["raster"] is None and rows["lif"]["raster"]["step"] == [0, 1, 2, 3]
    assert rows["lif"]["sparsity"]["temporal"]["mean"] == 0 and rows["relu"]["sparsity"]["temporal"] is None
    assert rows["lif"]["sparsity"]["activation"]["mean"] == rows["relu"]["sparsity"]["activation"]["mean"] == 0.75
    assert found.results["reference"] == "relu" and found.results["title"] == "by hand"


def test_verdicts_follow_the_energies_where_there_are_enough_samples(networks):
    for repeats, decided in ((3, False), (75, True)):  # 12 samples and 300
        found = ns.compare(networks, (torch.eye(4).repeat(repeats, 1), torch.arange(4).repeat(repeats)))
        energy = {row["name"]: row["energy"] for row in found.results["models"]}
        assert {(v["a"], v["b"]) for v in found.results["verdicts"]} == {("lif", "relu")}
        for verdict in found.results["verdicts"]:
            lif, relu = (energy[name][verdict["scenario"]]["nominal"] for name in ("lif", "relu"))
            assert verdict["ratio"][1] == pytest.approx(lif / relu)
            assert verdict["noninferior_a"] is verdict["noninferior_b"] is decided
            said = f"{'a' if verdict['ratio'][2] < 1 else 'b'} cheaper"
            expected = (said, "") if decided else ("undecided", "too few samples")
            assert (verdict["verdict"], verdict["reason"]) == expected


def test_identical_networks_tie(data):
    found = ns.compare({"one": reader(), "two": reader()}, (torch.eye(4).repeat(75, 1), torch.arange(4).repeat(75)))
    assert {row["verdict"] for row in found.results["verdicts"]} == {"equal"}
    text = answer(found.results)
    assert "one and two tie for the least energy in" in text


def test_scenarios_and_weights_are_described(networks, data):
    found = ns.compare(networks, data).results
    assert set(found["scenarios"]) == set(found["models"][0]["energy"])
    given = found["scenarios"]["cmos-45nm/compute_only"]
    assert (given["hardware"], given["dataflow"], given["memory"]) == ("cmos-45nm", "compute_only", "auto")
    (like,) = like_for_like(found)
    # Three of four weights are zero.
    assert (like["class"], like["reference"]) == ("32-bit, pruned", "relu")
    assert {(row["a"], row["b"]) for row in like["verdicts"]} == {("lif", "relu")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_neurons_of_a_known_library_are_recognised(networks, data):
    snn = pytest.importorskip("snntorch")
    loop = foreign()
    found = ns.compare(networks | {"loop": loop}, data)
    ours, theirs = counts(found, "lif"), counts(found, "loop")
    columns = ("effective_acs", "state_updates", "spikes_out")
    assert {name: theirs[name] for name in columns} == {name: ours[name] for name in columns}, "both always fire"
    # The loop multiplies the image in each of four steps, a constant current once.
    assert (theirs["dense_ops"], theirs["effective_macs"]) == (2 * 4 * 16, 4)
    for spiking in ([snn.Leaky], snn.Leaky, ["relay"], "relay", {snn.Leaky: 1}):
        assert counts(ns.compare({"loop": loop}, data, spiking=spiking), "loop") == theirs
    once = counts(ns.compare({"loop": loop}, data, options={"loop": {"constant": "first"}}), "loop")
    assert (once["dense_ops"], once["effective_macs"]) == (ours["dense_ops"], ours["effective_macs"]) == (5 * 16, 1)


class Step(nn.Module):
    """A neuron of no known library: 1 where its input is above a half."""

    def forward(self, x):
        return (x > 0.5).to(x.dtype)


def test_other_modules_that_send_only_0_and_1_are_named_with_the_argument_to_pass(data):
    net = nn.Sequential(reader(), Step(), reader())
    with pytest.warns(
        UserWarning, match=r"model 'mine': the outputs of 1 were 0 and 1 .* options=\{'mine': \{'spiking'"
    ):
        silent = ns.compare({"mine": net}, data)
    assert counts(silent, "mine")["effective_acs"] == 0, "spikes are never inferred from the values of a tensor"
    assert [row["producer"] for row in silent.results["models"][0]["suggestions"]] == ["input", "1"]
    declared = ns.compare({"mine": net}, data, options={"mine": {"spiking": ["1"]}})
    assert counts(declared, "mine")["effective_acs"] == 1
    assert counts(ns.compare({"mine": net}, data, spiking=Step), "mine") == counts(declared, "mine")


def test_arrays_are_data_and_a_list_holds_models(networks, data):
    x, y = data
    whole = ns.compare(list(networks.values()), (x.numpy().astype("float64"), y.numpy()))
    assert [row["name"] for row in whole.results["models"]] == ["Sequential", "Spiking"]
    assert counts(whole, "Sequential") == counts(ns.compare(networks, (x, y.tolist())), "relu")
    twice = ns.compare([reader(), reader(), networks["lif"]], data)
    assert [row["name"] for row in twice.results["models"]] == ["Linear 1", "Linear 2", "Spiking"]


def test_the_size_of_a_batch_changes_nothing(networks, data):
    whole, parts = ns.compare(networks, data), ns.compare(networks, data, batch_size=5)
    for name in networks:
        assert counts(whole, name) == counts(parts, name)
    assert whole.results["verdicts"] == parts.results["verdicts"]


def test_events_go_in_as_they_are():
    spikes = ns.EventTensor.from_dense(torch.eye(4).repeat(3, 1, 1), spikes=True)
    found = ns.compare({"relay": nn.Sequential(reader(), ns.LIF(beta=1.0, threshold=0.5))}, (spikes, torch.arange(4)))
    assert counts(found, "relay")["effective_acs"] == 3
    assert found.results["models"][0]["accuracy"]["mean"] == 1.0


def test_table_json_and_page(networks, data, tmp_path):
    rich = pytest.importorskip("rich.console")
    found = ns.compare(networks, data, title="two <networks>")
    console = rich.Console(width=160)
    with console.capture() as printed:
        console.print(found.table())
    text = printed.get()
    assert "relu" in text and "lif" in text and "100.0" in text
    assert json.loads(found.to_json()) == found.results, "plain values, nothing lost"
    found.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "two &lt;networks&gt;" in page and "http-equiv" not in page
    with pytest.raises(InputError, match="existing folder"):
        found.save(tmp_path / "none" / "report.html")


def test_the_machine_and_the_constants_are_named(networks, data):
    found = ns.compare(networks, data).results
    assert found["machine"]["cpu"] and found["versions"]["torch"] == torch.__version__
    assert {"horowitz_mul_fp32", "horowitz_dram"} <= {constant["id"] for constant in found["assumptions"]}
    assert found["split"] == {"test": 12}


def test_what_is_refused(networks, data):
    x, y = data
    for models, given, options, message in [
        ({}, data, {}, "got models={}"),
        ([], data, {}, r"got models=\[\]"),
        (networks["relu"], data, {}, "models of type Sequential; expected a mapping"),
        (networks, x, {}, "data of Tensor; expected a pair"),
        (networks, data, {"options": {"gru": {}}}, "a name in options='gru'; expected one of 'relu', 'lif'"),
        (networks, data, {"options": {"lif": {"spikes": 1}}}, "an option of 'lif'='spikes'; expected one of 'spiking'"),
        (networks, (x, y[:3]), {}, "12 inputs"),
        (networks, (x[:0], y[:0]), {}, "0 inputs"),
        (networks, data, {"spiking": [nn.GRU]}, "a module of one of the models"),
        (networks, data, {"spiking": ["nonesuch"]}, "a module of one of the models"),
    ]:
        with pytest.raises(InputError, match=message):
            ns.compare(models, given, **options)


def test_logits_with_nan_are_refused_by_the_name_of_the_model():
    broken = reader()
    broken.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"model 'broken': evaluate: got logits with NaN for 4 of 4 samples"):
        ns.compare({"sound": reader(), "broken": broken}, (torch.eye(4), torch.arange(4)))
