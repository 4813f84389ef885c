"""A merged norm computes what it computed on its own, or is refused by its name."""

import random

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.learning import merge_norms

DOUBLE = torch.float64
CONVS = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def norms(network):
    return [name for name, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)]


def drawn(seed):
    """A network over time of folds and nested blocks, with norms behind layers of every kind; and its input."""
    draw = random.Random(seed)
    axes, channels = draw.choice([1, 2, 3]), draw.choice([2, 4])
    shape, layers = (channels, *[5] * axes), []
    for _ in range(draw.randint(1, 2)):
        kind, out = CONVS[axes][draw.random() < 0.5], draw.choice([2, 4])
        groups = draw.choice([1, 2])
        conv = kind(channels, out, 3, padding=1, groups=groups, bias=draw.random() < 0.5)
        block = [conv, *[nn.Dropout(0.5)] * draw.randint(0, 1), BATCH[axes](out, affine=draw.random() < 0.7), nn.ReLU()]
        cut = draw.randint(0, len(block))
        nested = [*block[:cut], nn.Sequential(*block[cut:])]
        layers.append(ns.fold(*nested) if draw.random() < 0.5 else ns.fold(nn.Sequential(*nested)))
        channels = out
    layers.append(ns.fold(nn.Flatten(), nn.Linear(channels * 5**axes, 6, bias=draw.random() < 0.5)))
    if draw.random() < 0.5:
        layers[-1] = nn.Sequential(*layers[-1:], ns.fold(nn.BatchNorm1d(6)))
    else:
        layers += [nn.Linear(6, 5), nn.Sequential(ns.fold(nn.BatchNorm1d(5), nn.BatchNorm1d(5)))]
    return nn.Sequential(*layers, ns.LIF(0.9)).double(), torch.randn(3, 4, *shape, dtype=DOUBLE)


@pytest.mark.parametrize("seed", range(20))
def test_drawn_networks_compute_the_same(seed):
    torch.manual_seed(seed)
    network, x = drawn(seed)
    for _ in range(2):
        network(x * 3 + 1)
    for norm in network.modules():
        if isinstance(norm, nn.modules.batchnorm._NormBase) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)
    network.eval()
    before = {name: part.clone() for name, part in network.state_dict().items()}
    merged = merge_norms(network)
    assert norms(network) and not norms(merged)
    torch.testing.assert_close(merged[:-1](x), network[:-1](x), rtol=1e-9, atol=1e-9)
    assert all(torch.equal(part, before[name]) for name, part in network.state_dict().items())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        return x + self.norm(self.conv(x))


class Halved(nn.BatchNorm1d):
    def forward(self, input):
        return super().forward(input) / 2


def shared():
    linear = nn.Linear(3, 3)
    return nn.Sequential(linear, nn.BatchNorm1d(3), linear)


REFUSED = {
    "behind a nonlinearity": (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.BatchNorm1d(3)), "BatchNorm1d '2'"),
    "first": (lambda: nn.Sequential(nn.Sequential(nn.BatchNorm1d(3)), nn.Linear(3, 3)), r"'0\.0'.*not the input"),
    "behind pooling": (lambda: nn.Sequential(nn.Conv1d(2, 2, 3), nn.MaxPool1d(2), nn.BatchNorm1d(2)), "not MaxPool1d"),
    "in a module of its own forward": (lambda: nn.Sequential(ns.fold(Residual())), r"BatchNorm2d '0\.0\.norm'"),
    "layer norm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), "LayerNorm '1'"),
    "no statistics": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        "running statistics",
    ),
    "lazy": (lambda: nn.Sequential(nn.Linear(3, 3), nn.LazyBatchNorm1d()), "LazyBatchNorm1d '1'"),
    "of other axes": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm2d(3)), "over the 3 outputs of '0'"),
    "of other channels": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(3)), "over the 4 outputs"),
    "outside of the layer's fold": (
        lambda: nn.Sequential(ns.fold(nn.Linear(3, 3)), nn.BatchNorm1d(3)),
        "over the 3 outputs of '0.0'",
    ),
    "a layer that runs twice": (shared, "runs several times"),
    "a norm of its own": (lambda: nn.Sequential(nn.Linear(3, 3), Halved(3)), "Halved '1'"),
    "computed weights": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3)),
        "weights of '0' that are not computed",
    ),
    "no container": (lambda: nn.BatchNorm1d(3), "got a BatchNorm1d"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused_by_name(case):
    make, sentence = REFUSED[case]
    with pytest.raises(ns.InputError, match=sentence):
        merge_norms(make())


def test_names_and_folds_are_kept():
    torch.manual_seed(0)
    parts = {"first": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4), "last": nn.ReLU()}
    network = ns.fold(nn.Sequential(*[]), *parts.values())
    assert type(merge_norms(network)) is type(network)
    named = nn.Sequential()
    for name, module in parts.items():
        named.add_module(name, module)
    assert list(merge_norms(named)._modules) == ["first", "last"]
