"""Property 10: dt and lengths travel through torch functions between layers, or the function is refused."""

import copy
import pickle
from functools import reduce
from operator import add

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timed_chains import PIECES
from torch import nn
from torch.utils.data import default_collate

import neurosparse as ns
from neurosparse.events import TimedTensor, Timing, with_timing
from neurosparse.events.table import ELEMENTWISE

DT, UNITS = 1e-3, 6


def recordings(steps: list[int], seed: int) -> list[ns.EventTensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        ns.EventTensor.from_dense((torch.rand(n, 1, 5, generator=generator) < 0.4).double(), dt=DT, spikes=True)
        for n in steps
    ]


def network(names: list[str], tau: bool, seed: int) -> nn.Module:
    """A linear layer, the pieces, and neurons, of which those with a time constant need dt."""
    torch.manual_seed(seed)
    neurons = ns.LIF(tau=5e-3, threshold=0.5) if tau else ns.LIF(beta=0.8, threshold=0.5)
    first = nn.Linear(5, UNITS)
    first.bias.data.fill_(0.4)  # so that padding would fire
    return nn.Sequential(first, *(PIECES[name](UNITS) for name in names), neurons).double()


def check_alone_is_padded(net: nn.Module, items: list[ns.EventTensor]) -> None:
    """Spikes, counts, dt and operation counts of each sample do not depend on the batch it is in."""
    batch = default_collate(items)
    with torch.no_grad(), ns.record(net) as tape:
        out = net(batch)
    assert isinstance(out, ns.EventTensor) and out.dt == DT
    assert out.counts().shape == (len(items), UNITS)
    counts = []
    for i, item in enumerate(items):
        with torch.no_grad(), ns.record(net) as alone:
            expected = net(item)
        part = out.samples(i).steps(0, len(item))
        assert torch.equal(part.dense(), expected.dense()), f"spikes of sample {i}"
        assert torch.equal(out.counts()[i : i + 1], expected.counts()), f"counts of sample {i}"
        counts.append(ns.count(alone))
    together, apart = ns.count(tape), reduce(add, counts)
    new = {row["function"] for row in together.uncounted} - {row["function"] for row in apart.uncounted}
    assert all("of a ragged batch" in name for name in new)  # an equation with padding is named, not counted
    # How torch folds the axes of an equation depends on their sizes, and with it the rows it computes; not the work.
    assert new or work(together) == work(apart)


def work(counts: ns.OperationCounts) -> dict[str, int]:
    names = (
        "dense_ops",
        "effective_macs",
        "effective_acs",
        "state_updates",
        "comparisons",
        "elementwise",
        "spikes_out",
    )
    return {name: counts.totals[name] for name in (*names, "bias_adds", "weights")}


@pytest.mark.parametrize("name", PIECES)
def test_each_piece_keeps_time(name):
    check_alone_is_padded(network([name], tau=True, seed=1), recordings([2, 7, 1], seed=2))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(PIECES)), min_size=2, max_size=5),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_chains_of_functions_keep_time(names, steps, tau, seed):
    check_alone_is_padded(network(names, tau, seed), recordings(steps, seed))


def ragged(*units: int, lengths: tuple[int, ...] | None = (2, 5, 3)) -> TimedTensor:
    x = torch.rand(5, 3, *(units or (4,)), generator=torch.Generator().manual_seed(0)) + 0.1
    return with_timing(x, Timing(dt=DT, lengths=None if lengths is None else torch.tensor(lengths)))


IMAGE = (2, 4, 4)
MIXING = {
    "flip": lambda x: x.flip(0),
    "flip samples": lambda x: torch.flip(x, (1, 2)),
    "cumsum": lambda x: x.cumsum(0),
    "softmax": lambda x: F.softmax(x, 1),
    "normalize": F.normalize,
    "sort": lambda x: torch.sort(x, dim=0),
    "roll": lambda x: x.roll(1, 0),
    "roll flat": lambda x: x.roll(1),
    "diff": lambda x: x.diff(dim=0),
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1),
    "T": lambda x: x.T,
    "view": lambda x: x.view(-1, 4),
    "reshape": lambda x: x.reshape(15, 4),
    "flatten": nn.Flatten(),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "new axis": lambda x: x[None],
    "expand": lambda x: x.expand(2, 5, 3, 4),
    "repeat": lambda x: x.repeat(2, 1, 1),
    "broadcast": lambda x: x + torch.zeros(2, 5, 3, 4),
    "skipped steps": lambda x: x[::2],
    "listed steps": lambda x: x[[1, 0, 2, 3, 4]],
    "masked steps": lambda x: x[torch.tensor([True, True, False, False, True])],
    "stack": lambda x: torch.stack([x, x]),
    "split": lambda x: x.split(2),
    "chunk": lambda x: x.chunk(3, 1),
    "plain samples": lambda x: torch.cat([x, torch.zeros(5, 1, 4)], 1),
    "written to plain": lambda x: torch.zeros(5, 3, 4).copy_(x),
    "assigned to plain": lambda x: torch.zeros(5, 3, 4).__setitem__(slice(None), x),
    "out": lambda x: torch.add(x, 1, out=torch.zeros(5, 3, 4)),
    "other lengths": lambda x: x + ragged(lengths=(5, 5, 1)),
    "other dt": lambda x: x + with_timing(torch.ones(5, 3, 4), x.timing.with_(dt=2e-3)),
    "shifted": lambda x: x[1:] - x[:-1],
    "einsum": lambda x: torch.einsum("tbi,tbi->ti", x, x),
    "matmul": lambda x: torch.ones(2, 3) @ x,
    "gram": lambda x: x @ x.mT,
    "batch norm": nn.BatchNorm1d(3),
    "group norm": nn.GroupNorm(1, 3),
    "instance norm": nn.InstanceNorm1d(3),
    "layer norm": nn.LayerNorm((3, 4)),
    "convolution": nn.Conv1d(3, 2, 1),
    "pooling": nn.MaxPool1d(2),
    "channel dropout": nn.Dropout1d(0.5),
    "interpolate": nn.Upsample(scale_factor=2),
    "gru": nn.GRU(4, 2),
    "lstm": nn.LSTM(4, 2),
    "attention": lambda x: nn.MultiheadAttention(4, 2)(x, x, x),
    "dot product attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "prelu per channel": nn.PReLU(3),
    "operator": lambda x: torch.ops.aten.mul.Tensor(x, x),
    "fft": torch.fft.fft,
    "class loss": lambda x: F.cross_entropy(x, torch.zeros(5, 4, dtype=torch.long)),
    "distances": lambda x: torch.cdist(x, x),
}
REDUCING = {
    "mean": lambda x: x.mean(),
    "sum over steps": lambda x: x.sum(0),
    "maximum over samples": lambda x: x.max(1).values,
    "std": lambda x: x.std(False),
    "norm": lambda x: x.norm(),
    "any": lambda x: (x > 0).any(),
    "largest": lambda x: x.argmax(0),
    "quantile": lambda x: x.quantile(0.5),
    "mse": lambda x: F.mse_loss(x, torch.zeros(5, 3, 4)),
    "mse as target": lambda x: F.l1_loss(torch.zeros(5, 3, 4), x),
    "last step": lambda x: x[-1],
    "one sample": lambda x: x[:, 1],
    "select": lambda x: x.select(0, 1),
    "steps in turn": lambda x: torch.stack(list(x)),
    "unbind": lambda x: torch.stack(x.unbind(0)),
    "list of values": lambda x: x.flatten() + x.view(-1) + x.ravel() + x.reshape(-1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "mask": lambda x: x[ns.events.dense_of(x) > 0.5],
    "masked select": lambda x: torch.masked_select(x, torch.ones(5, 3, 4, dtype=torch.bool)),
    "nonzero": lambda x: x.nonzero(),
    "contained": lambda x: torch.tensor(0.5 in x),
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("lengths", [(2, 5, 3), None], ids=["ragged", "full"])
def test_what_mixes_steps_or_samples_is_refused(name, lengths):
    if name == "other lengths" and lengths is None:
        pytest.skip("needs lengths")
    with pytest.raises(ns.InputError, match=r"ns\.fold|\.dense\(\)|x\[a:b\]|alike|keepdim|out=|x\.dense"):
        MIXING[name](ragged(lengths=lengths))


@pytest.mark.parametrize(
    "module",
    [nn.Conv2d(2, 1, 3), nn.BatchNorm3d(3), nn.AvgPool2d(2), nn.PixelShuffle(1)],
    ids=lambda m: type(m).__name__,
)
def test_modules_of_images_are_refused(module):
    with pytest.raises(ns.InputError, match=r"ns\.fold"):
        module(ragged(*IMAGE))


@pytest.mark.parametrize("name", REDUCING)
def test_a_reduction_is_plain_where_every_step_is_data_and_refused_where_not(name):
    full = ragged(lengths=None)
    found, expected = REDUCING[name](full), REDUCING[name](full.dense())
    assert type(found) is torch.Tensor and torch.equal(found, expected)
    with pytest.raises(ns.InputError, match=r"\.dense\(\)"):
        REDUCING[name](ragged())


def test_every_pointwise_function_of_torch_is_elementwise():
    """ATen's own mark is the oracle; left out are names that torch does not offer to users."""
    marked = set()
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        overloads = packet.overloads() if hasattr(packet, "overloads") else ()
        if any(torch.Tag.pointwise in getattr(packet, each).tags for each in overloads):
            marked.add(name.rstrip("_"))
    marked = {name for name in marked if not name.startswith("__") and not name.endswith("_backward")}
    assert len(marked) > 100 and marked - ELEMENTWISE <= {"max", "min", "equal"}  # of two tensors; a truth value


def test_indexing_moves_the_timing_along():
    x = ragged()
    part = x[1:4]
    assert part.timing.lengths.tolist() == [1, 3, 2] and part.timing.t0 == pytest.approx(DT)
    assert x[:, [2, 0]].timing.lengths.tolist() == [3, 2] and x[:, 1:].timing.lengths.tolist() == [5, 3]
    assert x[:, torch.tensor([True, False, True])].timing.lengths.tolist() == [2, 3]
    assert x.narrow(0, 1, 3).timing.lengths.tolist() == [1, 3, 2]
    assert x.index_select(1, torch.tensor([1])).timing.lengths.tolist() == [5]
    assert x[..., 0].timing is x.timing and x[:, :, None, 1:].timing is x.timing
    assert type(x[2, 1]) is torch.Tensor  # one row, chosen by name
    events = ns.EventTensor.from_dense(torch.eye(5)[:, None].expand(5, 3, 5) * 1.0, dt=DT, spikes=True)
    assert events[1:3, [0], ::2].binary and events[1:3, [0], ::2].shape == (2, 1, 3)
    assert torch.equal(events[1:3, [0], ::2].dense(), events.dense()[1:3, [0], ::2])
    assert torch.equal(events[:, 1:, 2].dense(), events.dense()[:, 1:, 2])


@pytest.mark.parametrize("cut", [lambda x: x[-2:], lambda x: x[:-1]])
def test_steps_are_counted_from_the_end_only_where_samples_end_together(cut):
    together = ragged(lengths=(5, 5, 5))
    for early, full in ((ragged(), together), tuple(map(ns.EventTensor.from_dense, (ragged() * 1, together)))):
        with pytest.raises(ns.InputError, match="end early"):
            cut(early)
        assert cut(full).timing.lengths.tolist() == [len(cut(together.dense()))] * 3
    with pytest.raises(ns.InputError, match="end early"):
        ns.EventTensor.from_dense(ragged()).steps(-2, 5)


def test_joins_follow_one_rule():
    x, y = ragged(), ragged(lengths=None)
    assert torch.cat([x, y], 1).timing.lengths.tolist() == [2, 5, 3, 5, 5, 5]
    assert torch.hstack([x, x]).timing.lengths.tolist() == [2, 5, 3] * 2
    assert torch.cat([y, x]).timing.lengths.tolist() == [7, 10, 8]
    assert torch.cat([x, x * 2], -1).timing.lengths.tolist() == [2, 5, 3]
    assert torch.cat([x, torch.zeros(5, 3, 1)], 2).timing.lengths.tolist() == [2, 5, 3]
    for a, b in ((x, y), (y, x)):
        with pytest.raises(ns.InputError, match="end together"):
            torch.cat([a, b], 2)


def test_a_timed_tensor_is_a_tensor_to_the_rest_of_torch():
    x = ragged().requires_grad_()
    y = x * 2
    for again in (copy.deepcopy(y), pickle.loads(pickle.dumps(y))):
        assert isinstance(again, TimedTensor) and again.timing.lengths.tolist() == [2, 5, 3] and not again.requires_grad
    assert x.dense().data_ptr() == x.data_ptr() and type(x.dense()) is torch.Tensor
    y.dense().sum().backward()
    assert type(x.grad) is torch.Tensor and bool((x.grad == 2).all())
    assert y.detach().numpy().shape == (5, 3, 4) and torch.equal(y, y.clone()) and torch.allclose(y, y)
    plain = torch.ones(5, 3, 4)
    with_timing(plain, Timing())
    assert type(plain) is torch.Tensor and not hasattr(plain, "timing")


def test_events_and_timed_tensors_combine():
    items = recordings([2, 5], 0)
    batch = default_collate(items)
    layer = nn.Linear(5, 5).double()
    for both in (layer(batch) + batch, batch + layer(batch), torch.where(batch > 0, layer(batch), 0.0)):
        assert isinstance(both, TimedTensor) and both.timing.lengths.tolist() == [2, 5] and both.timing.dt == DT
    with pytest.raises(ns.InputError, match="different lengths"):
        batch + layer(default_collate(recordings([5, 2], 0)))


@pytest.mark.parametrize("context", ["autocast", "inference", "no grad"])
def test_contexts_keep_time(context):
    layer, batch = nn.Linear(5, 4), default_collate(recordings([2, 5], 0))
    contexts = {
        "autocast": torch.autocast("cpu", torch.bfloat16),
        "inference": torch.inference_mode(),
        "no grad": torch.no_grad(),
    }
    with contexts[context]:
        out = torch.relu(layer(batch) * 2)
    assert isinstance(out, TimedTensor) and out.timing.lengths.tolist() == [2, 5]
