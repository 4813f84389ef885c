"""Data of a classification task: any split trains, or is refused with an InputError when it is made or loaded."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosparse.errors import InputError
from neurosparse.events import EventTensor
from neurosparse.experiments import Split, Task, make_model
from neurosparse.experiments.classification.train import accuracy, fit

CLASSES, FEATURES = 3, 4


def inputs(kind: str, samples: int) -> object:
    x = torch.rand(samples, FEATURES, generator=torch.Generator().manual_seed(samples))
    spikes = EventTensor.from_dense((x > 0.5).expand(2, -1, -1), spikes=True)
    dirty = x.clone()
    dirty[:1, 0] = float("nan")
    return {
        "tensor": x,
        "double": x.double(),
        "image": x.view(samples, 1, 2, 2),
        "whole": (10 * x).long(),
        "numpy": x.numpy(),
        "view": np.repeat(x.numpy(), 2, 1)[:, ::-2],
        "list": x.tolist(),
        "events": spikes,
        "graded": EventTensor.from_dense(x.expand(2, -1, -1)),
        "flat": x.flatten()[:samples],
        "empty": x[:, :0],
        "nan": dirty,
        "bool": x > 0.5,
        "complex": x.to(torch.complex64),
        "text": ["a"] * samples,
        "none": None,
    }[kind]


def labels(kind: str, samples: int) -> object:
    y = torch.arange(samples) % CLASSES
    return {
        "tensor": y,
        "short": y.to(torch.int16),
        "numpy": y.numpy(),
        "view": y.numpy()[::-1],
        "list": y.tolist(),
        "from one": y + 1,
        "negative": y - 1,
        "float": y.float(),
        "bool": y > 0,
        "column": y[:, None],
        "one hot": torch.nn.functional.one_hot(y, CLASSES),
        "text": ["a"] * samples,
        "none": None,
    }[kind]


FINE = ["tensor", "double", "image", "whole", "numpy", "view", "list", "events", "graded"]
FINE_LABELS = ["tensor", "short", "numpy", "view", "list"]
ALL_INPUTS = [*FINE, "flat", "empty", "nan", "bool", "complex", "text", "none"]
ALL_LABELS = [*FINE_LABELS, "from one", "negative", "float", "bool", "column", "one hot", "text", "none"]


def trains(make) -> bool:
    """Whether data train a network; False: an InputError in one sentence."""
    task = Task("toy", "A toy", make, (5,), CLASSES, 1, 2, (0.01,))
    try:
        split = task.load()
    except InputError as refused:
        assert "\n" not in str(refused)
        return False
    model = make_model("a", family="relu")
    trained = fit(model, task, split, 0, 0.01).model
    x, y = split.validation
    assert 0 <= accuracy(trained, (model.prepare(x), y)) <= 1
    return True


@settings(max_examples=150)
@given(
    kinds=st.one_of(st.sampled_from(FINE).map(lambda kind: (kind,) * 3), st.tuples(*[st.sampled_from(ALL_INPUTS)] * 3)),
    targets=st.one_of(st.just(("tensor",) * 3), st.tuples(*[st.sampled_from(ALL_LABELS)] * 3)),
    sizes=st.tuples(*[st.integers(0, 6)] * 3),
    missing=st.sampled_from([0, 0, 0, 1]),
)
def test_any_split_trains_or_is_refused(kinds, targets, sizes, missing):
    def make() -> Split:
        parts = [
            (inputs(kind, size + 2 if part == 0 else size), labels(target, size + 2 + missing if part == 0 else size))
            for part, (kind, target, size) in enumerate(zip(kinds, targets, sizes, strict=True))
        ]
        return Split(*parts)

    fine = len(set(kinds)) == 1 and {*kinds} <= {*FINE} and {*targets} <= {*FINE_LABELS}
    if fine and not missing and all(sizes):
        assert trains(make)
    elif missing or not all(sizes[1:]) or not set(targets) <= {*FINE_LABELS, "from one"}:
        assert not trains(make)
    else:
        trains(make)


@pytest.mark.parametrize("part", [3, None, (torch.rand(4, 2),), "ab", torch.rand(3, 2)])
def test_a_part_is_a_pair(part):
    fine = torch.rand(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(InputError, match="Split: got train"):
        Split(part, fine, fine)


def test_messages_name_the_part_and_the_way_out():
    x, y = torch.rand(4, 2), torch.arange(4) % 2
    fine = x, y
    with pytest.raises(InputError, match=r"validation labels \(4,\) of torch.float32; .*Pass labels.long\(\)"):
        Split(fine, (x, y.float()), fine)
    with pytest.raises(InputError, match="validation with 0 inputs and 0 labels"):
        Split(fine, (x[:0], y[:0]), fine)
    with pytest.raises(
        InputError, match=r"label 2 in the train part; expected labels from 0 to 1\. Number the classes"
    ):
        Task("toy", "A toy", lambda: Split((x, y + 1), fine, fine), (5,), 2, 1, 2, (0.01,)).load()
    with pytest.raises(InputError, match=r"data\(\) of type tuple; expected a Split"):
        Task("toy", "A toy", lambda: (fine, fine, fine), (5,), 2, 1, 2, (0.01,)).load()


@pytest.mark.parametrize("part", range(3))
def test_what_no_training_would_reveal_is_refused(part):
    """Boolean labels are cast in silence by some losses, and a test part of another width fails after the training."""
    x, y = torch.rand(4, 2), torch.arange(4) % 2
    with pytest.raises(InputError, match="torch.bool"):
        Split(*[(x, y > 0 if each == part else y) for each in range(3)])
    events = EventTensor.from_dense(torch.ones(3, 4, 2), spikes=True)
    for other in (torch.rand(4, 3), torch.rand(4, 1, 2), events):
        with pytest.raises(InputError, match="the same kind and shape in all parts"):
            Split(*[(other if each == part else x, y) for each in range(3)])
