"""Layers in words: what the grammar takes, the networks it stands for, and what it refuses."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from neurosparse.errors import InputError
from neurosparse.experiments import make_model, read_model
from neurosparse.experiments.classification.config import drawn_from
from neurosparse.experiments.classification.layers import Layer, front_shape, modules_of, parse_layer
from neurosparse.neurons import LIF

WORDS = ("conv 6 3 stride 2 norm", "pool 2", "conv 5 5 pad 0", "linear 16 norm", "linear 12")
IMAGES = torch.rand(3, 2, 21, 20, generator=torch.Generator().manual_seed(0))


def build(config, units, hidden, classes, seed):
    with drawn_from(seed):
        return config.network(units, hidden, classes)


@pytest.mark.parametrize(
    "text", ["conv 6 3", "conv 6 4 stride 3 pad 2 pool 2", "conv 1 1 pad 0", "pool 3", "average 2"]
)
def test_front_shape_is_the_shape_of_the_output(text):
    layer = parse_layer("here", text)
    made = nn.Sequential(*modules_of(layer, (2, 21, 20)))(IMAGES)
    assert tuple(made.shape[1:]) == front_shape(layer, (2, 21, 20))


def test_words_are_a_network_by_hand():
    """The same modules, in the same order, with the weights of the same seed."""
    model = build(make_model("a", family="relu", layers=WORDS), (2, 21, 20), (), 4, seed=3).eval()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        hand = nn.Sequential(
            nn.Conv2d(2, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 5),
            nn.ReLU(), nn.Flatten(), nn.Linear(5, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 12),
            nn.ReLU(), nn.Linear(12, 4),
        ).eval()  # fmt: skip
    assert torch.equal(model(IMAGES), hand(IMAGES))


def test_over_time_each_step_is_the_network_without_time():
    """Neurons without memory that fire on any positive current are step functions at every step."""
    words = ("conv 6 3", "average 2", "linear 12")
    lif = make_model("a", family="lif", layers=words, steps=4, beta=0.0, threshold=1e-6)
    spiking = build(lif, (2, 21, 20), (), 4, seed=0)

    class Step(nn.Module):
        def forward(self, x):
            return (x > 1e-6).float()

    still = build(make_model("a", family="relu", layers=words), (2, 21, 20), (), 4, seed=0)
    still.activations = nn.ModuleList(Step() for _ in range(2))
    torch.testing.assert_close(spiking(IMAGES), still(IMAGES))


def test_no_layers_are_the_widths_of_the_task():
    plain, named = (
        build(make_model("a", family="relu", layers=words), (9,), (7, 5), 4, seed=0) for words in ((), ("linear 8",))
    )
    sizes = [[layer.weight.shape for layer in model.linears] for model in (plain, named)]
    assert sizes == [[(b, a) for a, b in pairwise((9, 7, 5, 4))], [(8, 9), (4, 8)]]


def test_learned_decays_and_recurrence_reach_the_neurons():
    config = make_model(
        "a", family="lif", layers=("conv 3 3", "linear 6"), beta=0.8, learn_beta=True, recurrent=True, threshold=0.5
    )
    model = build(config, (2, 4, 4), (), 4, 0)
    image, flat = (module for module in model.modules() if isinstance(module, LIF))
    assert image.beta.shape == (3, 4, 4) and flat.beta.shape == (6,) and flat.beta.requires_grad
    assert image.recurrent is None and flat.recurrent.weight.shape == (6, 6) and flat.threshold == 0.5


BAD = {
    'family = "relu"\nlayers = ["convolve 3 3"]': "got layer 'convolve 3 3'; expected conv CHANNELS SIZE",
    'family = "relu"\nlayers = [""]': "got layer ''",
    'family = "relu"\nlayers = ["conv 3"]': "expected 'conv CHANNELS SIZE [stride S]",
    'family = "relu"\nlayers = ["conv 3 3 stride"]': "'conv 3 3 stride'",
    'family = "relu"\nlayers = ["conv 3 3 step 2"]': "'conv 3 3 step 2'",
    'family = "relu"\nlayers = ["conv 3 3 size 2"]': "'conv 3 3 size 2'",
    'family = "relu"\nlayers = ["conv 3 3 pad 1 pad 2"]': "'conv 3 3 pad 1 pad 2'",
    'family = "relu"\nlayers = ["conv 0 3"]': "'conv 0 3'",
    'family = "relu"\nlayers = ["linear 1.5"]': "'linear 1.5'",
    'family = "relu"\nlayers = ["linear 8 9"]': "'linear 8 9'",
    'family = "relu"\nlayers = ["pool 2 norm"]': "'pool 2 norm'",
    'family = "relu"\nlayers = ["linear 8", "conv 3 3"]': "'conv' behind a flat layer",
    'family = "relu"\nlayers = ["linear 8", "pool 2"]': "'pool' behind a flat layer",
    'family = "relu"\nlayers = ["gru 8"]': "layers of family 'relu'",
    'family = "gru"\nlayers = ["linear 8"]': "layers of family 'gru'",
    'family = "relu"\nlayers = "linear 8"': "a list of texts",
    'family = "relu"\nlayers = [8]': "a list of texts",
    'family = "sparse-code"\nlayers = ["linear 8"]': "of family 'sparse-code'",
    'family = "relu"\nreadout = "peak"': "of family 'relu'",
    'family = "lif"\nreadout = "last"': "one of 'mean', 'membrane', 'peak'",
    'family = "gru"\nreadout = "membrane"': "one of 'mean', 'last'",
    'family = "lif"\nrecurrent = 1': "one of True, False",
    'family = "lif"\ndropout = 1.0': "dropout <= 0.99",
    'family = "lif"\nthreshold = 0': "<= threshold",
    'family = "lif"\nsurrogate = "step"': "'triangle', 'boxcar'",
    'family = "relu"\nbins = 0': "a whole number, 1 to 10000",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_model(tmp_path / "mine.toml")
    message = str(refused.value)
    assert message.startswith("model 'mine'") and BAD[text] in message and "\n" not in message


def test_a_list_in_a_file_is_the_layers(tmp_path):
    (tmp_path / "mine.toml").write_text('family = "relu"\nlayers = ["conv 32 5", "pool 2", "linear 256"]')
    mine = read_model(tmp_path / "mine.toml")
    assert mine.layers == ("conv 32 5", "pool 2", "linear 256") and mine.settings["layers"] == mine.layers


def test_images_that_are_none_or_too_small_are_refused():
    convolutional = make_model("a", family="relu", layers=("conv 4 3", "pool 4"))
    with pytest.raises(InputError, match=r"got units \(784,\); expected an image"):
        build(convolutional, (784,), (), 10, 0)
    with pytest.raises(InputError, match="as large as the window"):
        build(convolutional, (1, 3, 3), (), 10, 0)
    with pytest.raises(InputError, match="as large as the window"):
        front_shape(Layer("conv", 4, 5, pad=0), (1, 4, 9))
