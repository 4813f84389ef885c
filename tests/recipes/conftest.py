"""A small task: a folder with a train.py and a TOML file per model."""

from pathlib import Path

import pytest

TRAIN = '''
from pathlib import Path
import torch
import neurosparse as ns


class Watched(ns.Split):
    """Writes a file when the test part of a finished split is read."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "finished", True)

    def __getattribute__(self, name):
        if name == "test" and "finished" in super().__getattribute__("__dict__"):
            Path(__file__).with_name("touched").touch()
        return super().__getattribute__(name)


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 4
    x = torch.rand(4, 16, generator=generator)[y] * torch.rand(120, 16, generator=generator)
    return Watched((x[:80], y[:80]), (x[80:100], y[80:100]), (x[100:], y[100:]))


task = ns.Task("toy", "A toy", data, (24,), 4, 6, 8, (0.001, 0.03))
'''
MODELS = {
    "relu": 'family = "relu"',
    "relu-int8": 'family = "relu"\nbits = 8',
    "lif": 'note = "over 3 steps"\nfamily = "lif"\nsteps = 3',
}


@pytest.fixture
def toy(tmp_path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    for name, text in MODELS.items():
        (folder / f"{name}.toml").write_text(text)
    return folder
