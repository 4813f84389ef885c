"""Pairs of a spiking and a dense network: twins that differ in nothing else, champions chosen on validation data."""

import math
from typing import Any

import pytest

from neurosparse.report.pairs import champions, pairs_to_judge, setting, twins

FLOW = "cmos-45nm/cheapest dataflow per layer"


def model(name: str, family: str, validation: float = 0.9, joules: float = 1.0, **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "family": family,
        "config": {"family": family, **config},
        "weight_bits": config.get("bits", 32),
        "validation_accuracy": {"mean": validation},
        "validation_energy": {"cmos-45nm/compute_only": 0.1, FLOW: joules},
    }


RELU = model("relu", "relu")


@pytest.mark.parametrize(
    ("spiking", "dense"),
    [
        ({"depth": 3}, {"depth": 3}),
        ({"layers": ["linear 128 norm"]}, {"layers": ("linear 128 norm",)}),
        ({"bits": 8, "sparsity": 0.9}, {"bits": 8, "sparsity": 0.9}),
        ({"bits": 8, "quantization": "qat"}, {"bits": 8}),
        ({"sparsity": 0.9, "pruning_method": "rigl"}, {"sparsity": 0.9, "pruning_method": "rigl"}),
        ({"loss": "squared"}, {"loss": "squared"}),
        ({"epoch_factor": 2}, {"epoch_factor": 2}),
        ({"steps": 4, "encoding": "latency", "threshold": 2.0, "state_bits": 16, "activity_penalty": 0.1}, {}),
        ({"encoding": "events"}, {"bins": 5, "dropout": 0.2}),
    ],
)
def test_twins_differ_only_in_what_makes_a_network_spike(spiking: dict, dense: dict) -> None:
    found = model("lif", "lif", **spiking)
    other = model("other", "relu", **dense)
    assert twins([other, found]) == [("lif", "other")]
    unlike = [key for key in dense if key not in ("bins", "dropout")]
    assert twins([RELU, found]) == ([] if unlike else [("lif", "relu")])


def test_a_loss_that_the_search_has_chosen_is_that_of_the_network() -> None:
    squared = {"chosen": [{"loss": "squared", "activity_penalty": 0.1}, {"loss": "squared", "activity_penalty": 0}]}
    models = [RELU, RELU | {"name": "free"} | squared, model("lif", "lif"), model("lif-free", "lif") | squared]
    assert twins(models) == [("lif", "relu"), ("lif-free", "free")]


def test_a_depth_that_the_file_does_not_set_is_that_of_the_layers() -> None:
    layers = [{"layer": name, "kind": "linear", "weights": 9} for name in ("first", "second")]
    models = [RELU | {"layers": layers}, model("lif", "lif", depth=1), model("deeper", "lif", depth=2)]
    assert twins(models) == [("lif", "relu")]


def test_losses_that_differ_between_folds_are_no_loss_of_a_twin() -> None:
    mixed = {"chosen": [{"loss": "squared"}, {"loss": "cross_entropy"}]}
    assert setting(mixed, "loss") == "cross_entropy or squared"
    assert twins([RELU, model("lif", "lif") | mixed]) == []


def test_a_twin_is_plain() -> None:
    special = [
        model("levels", "relu", levels=8),
        model("quiet", "relu", activity_penalty=0.1),
        model("kwta", "kwta"),
        {"name": "mine", "config": {"family": "python"}},
        {"name": "bare", "config": None},
    ]
    assert twins([*special, model("lif", "lif"), model("converted", "converted")]) == []
    assert twins([model("bins", "relu", bins=5), RELU, model("lif", "lif")]) == [("lif", "relu")]


@pytest.mark.parametrize(("steps", "twin"), [(2, "two"), (4, "four"), (8, "four"), (3, "four"), (1, "relu")])
def test_a_twin_on_recordings_has_as_many_bins_as_steps(steps: int, twin: str) -> None:
    models = [RELU, model("two", "relu", bins=2), model("four", "relu", bins=4)]
    assert twins([*models, model("lif", "lif", encoding="events", steps=steps)]) == [("lif", twin)]
    assert twins([*models, model("lif", "lif", steps=steps)]) == [("lif", "relu")], "images have no bins"


def test_a_twin_is_quantized_alike_where_there_is_one() -> None:
    after, while_trained = model("ptq", "relu", bits=4), model("qat", "relu", bits=4, quantization="qat")
    models = [after, while_trained, model("lif", "lif", bits=4, quantization="qat")]
    assert twins(models) == [("lif", "qat")]


def test_the_champion_needs_least_energy_within_one_standard_error_of_the_best() -> None:
    # 0.9 of 100 samples: standard error 0.03, so 0.871 is as good as the best and 0.869 is not.
    dense = [model("best", "relu", 0.9, 5), model("near", "kwta", 0.871, 2), model("far", "relu", 0.869, 1)]
    spiking = [model("lif", "lif", 0.6, 3), model("converted", "converted", 0.5, 1)]  # 0.6: 0.049
    assert champions([*dense, *spiking], 100) == {(32, False): ("lif", "near")}
    assert champions([*dense, *spiking], 10) == {(32, False): ("converted", "far")}
    assert champions([*dense, *spiking]) == {(32, False): ("lif", "best")}


def test_champions_of_a_class_have_its_bits_and_its_pruning() -> None:
    names = {(32, False): "a", (8, False): "b", (8, True): "c"}
    kinds = {key: {"bits": key[0]} | ({"sparsity": 0.9} if key[1] else {}) for key in names}
    models = [model(f"{names[key]}-{family}", family, **kinds[key]) for key in names for family in ("relu", "lif")]
    lonely = model("alone", "lif", bits=4)
    assert champions([*models, lonely]) == {key: (f"{each}-lif", f"{each}-relu") for key, each in names.items()}


def test_champions_without_energies_have_fewest_weights() -> None:
    def sized(name: str, weights: int) -> dict[str, Any]:
        layers = [{"layer": "fc", "kind": "linear", "weights": weights}]
        return model(name, "relu") | {"validation_energy": None, "layers": layers}

    found = champions([sized("large", 20), sized("small", 10), model("lif", "lif")])
    assert found == {(32, False): ("lif", "small")}


def test_a_model_that_the_hardware_does_not_execute_is_the_last_choice() -> None:
    stuck = model("stuck", "relu", 0.9) | {"validation_energy": {FLOW: None}}
    assert champions([stuck, model("able", "relu", 0.9, math.pi), model("lif", "lif")]) == {
        (32, False): ("lif", "able")
    }


def test_predictive_coding_and_sparse_codes_are_of_neither_side() -> None:
    assert champions([model("lif", "lif"), model("p", "predictive"), model("s", "sparse-code")]) == {}


def test_each_pair_is_judged_once() -> None:
    models = [
        RELU,
        model("lif", "lif", joules=0.5),
        model("kwta", "kwta", joules=0.5),
        model("relu-deep", "relu", depth=3),
        model("lif-deep", "lif", depth=3),
        model("relu8", "relu", bits=8),
        model("lif8", "lif", bits=8),
    ]
    found = pairs_to_judge(models, "relu")
    assert len({frozenset(pair) for pair in found}) == len(found)
    reference = [("lif", "relu"), ("kwta", "relu"), ("relu-deep", "relu"), ("lif-deep", "relu")]
    assert found[:6] == [*reference, ("relu8", "relu"), ("lif8", "relu")]
    assert found[6:] == [("lif8", "relu8"), ("lif-deep", "relu-deep"), ("lif", "kwta")]
