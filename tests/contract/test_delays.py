"""Delay lines, conversions and augmentations of recordings."""

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.experiments import mirror_and_shift, shift_units

LENGTHS = torch.tensor([9, 4, 0])


def _recording(spikes: bool) -> ns.EventTensor:
    x = torch.rand(9, 3, 2, 5, generator=torch.Generator().manual_seed(0))
    x = torch.where(x < 0.4, x, 0.0) * (torch.arange(9)[:, None] < LENGTHS)[..., None, None]
    return ns.EventTensor.from_dense((x > 0).float() if spikes else x, spikes=spikes, dt=0.01, lengths=LENGTHS)


def test_delay_lines_take_events():
    with pytest.raises(ns.InputError, match="expected an EventTensor"):
        ns.neurons.delay_lines(torch.ones(3, 1, 2), [0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize("spikes", [True, False])
def test_a_delayed_copy_is_the_recording_rolled(spikes):
    events = _recording(spikes)
    out = ns.neurons.delay_lines(events, [0, 3, 20])
    assert out.shape == (9, 3, 6, 5)
    assert out.dt == 0.01
    x, inside = events.dense(), (torch.arange(9)[:, None] < LENGTHS)[..., None, None]
    rolled = torch.cat([torch.zeros_like(x[:3]), x[:-3]]) * inside
    assert torch.equal(out.dense(), torch.cat([x, rolled, torch.zeros_like(x)], 2))


@pytest.mark.parametrize("delays", [[], [-1], [1.5], [True], 1, "12", None, [[1]]])
def test_delays_that_are_none_are_refused(delays):
    with pytest.raises(ns.InputError, match="delays"):
        ns.neurons.delay_lines(_recording(True), delays)


@pytest.mark.parametrize("recorded", [True, False])
def test_shifted_units_are_the_padded_ones_moved(recorded):
    events, generator, seen = _recording(recorded), torch.Generator().manual_seed(0), set()
    for _ in range(40):
        shifted = shift_units(1, 2)(events if recorded else events.dense().transpose(0, 1), generator)
        if recorded:
            assert (shifted.dt, shifted.binary) == (0.01, True) and torch.equal(shifted.lengths, LENGTHS)
        out = shifted.dense() if recorded else shifted.transpose(0, 1)
        for sample in range(3):
            padded = torch.nn.functional.pad(events.dense()[:, sample], (2, 2, 1, 1))
            options = {(i, j): padded[:, i : i + 2, j : j + 5] for i in range(3) for j in range(5)}
            found = {key for key, option in options.items() if torch.equal(option, out[:, sample])}
            assert found, "every sample is one of the possible"
            seen |= found if len(found) == 1 else set()
    assert len(seen) == 15, "all shifts occur"
    assert not shift_units(0, 9)(torch.ones(50, 1, 2), torch.Generator().manual_seed(0)).all()


def test_a_mirrored_and_shifted_image_is_one_of_the_possible():
    x = torch.rand(40, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    out = mirror_and_shift(1)(x, torch.Generator().manual_seed(1))
    seen = set()
    for image, moved in zip(x, out, strict=True):
        options = {}
        for mirrored in (False, True):
            padded = torch.nn.functional.pad(image.flip(-1) if mirrored else image, (1, 1, 1, 1))
            options |= {(mirrored, i, j): padded[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3)}
        seen |= {key for key, option in options.items() if torch.equal(option, moved)}
    assert len(seen) > 12


@pytest.mark.parametrize("build", [lambda: shift_units(-1), lambda: shift_units(), lambda: mirror_and_shift(-1)])
def test_augmentations_out_of_range_are_refused(build):
    with pytest.raises(ns.InputError):
        build()


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x,
        lambda x: x.dense(),
        lambda x: x[..., :3],
        lambda x: x.steps(1, 4),
        lambda x: x.samples([1, 0]),
        lambda x: ns.cat([x, x]),
        lambda x: ns.neurons.delay_lines(x, [0, 1]),
    ],
)
def test_a_conversion_of_events_costs_nothing_and_keeps_spikes(convert) -> None:
    class Converts(nn.Module):
        def __init__(self, units: int):
            super().__init__()
            self.layer = nn.Linear(units, 4)

        def forward(self, x):
            return self.layer(convert(x))

    spikes = (torch.arange(60).view(6, 2, 5) % 3 == 0).float()
    held = ns.EventTensor.from_dense(spikes, spikes=True)
    found = ns.EventTensor.from_aer(*held.aer()[:3], shape=held.shape)
    moved = convert(held)
    events = int((moved if isinstance(moved, torch.Tensor) else moved.dense()).sum())
    for form in (ns.EventTensor.from_dense(spikes, spikes=True), found):
        with ns.record(model := Converts(moved.shape[-1])) as tape:
            model(form)
        counts = ns.count(tape)
        assert counts.totals["effective_acs"] == 4 * events
        assert all(counts.totals[name] == 0 for name in ("effective_macs", "elementwise", "comparisons"))
