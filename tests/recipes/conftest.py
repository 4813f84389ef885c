"""A task as a user would add one: a folder with a train.py and a TOML file for each model, in smoke size."""

from pathlib import Path

import pytest

TRAIN = '''
from pathlib import Path
import torch
import neurosparse as ns


class Part(tuple):
    """Test data that record each access in a file."""

    def __iter__(self):
        with open(Path(__file__).with_name("touched"), "a") as file:
            file.write("test ")
        return super().__iter__()

    def __getitem__(self, key):
        return tuple(iter(self))[key]


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 4
    x = torch.rand(4, 16, generator=generator)[y] * torch.rand(120, 16, generator=generator)
    return ns.Split((x[:80], y[:80]), (x[80:100], y[80:100]), Part((x[100:], y[100:])))


task = ns.Task("toy", "A toy", data, (24,), 4, 6, 8, (0.001, 0.03))
'''
CONTESTANTS = {
    "relu": 'family = "relu"',
    "relu-int8": 'family = "relu"\nbits = 8',
    "lif": 'note = "over 3 steps"\nfamily = "lif"\nsteps = 3',
}


@pytest.fixture
def toy(tmp_path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    for name, text in CONTESTANTS.items():
        (folder / f"{name}.toml").write_text(text)
    return folder
