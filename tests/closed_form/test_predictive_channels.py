"""Accuracy of inference when errors and states are sent as changes or in spikes, against closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurosparse.errors import InputError
from neurosparse.predictive import Channel, EnergyIncreased, PredictiveNetwork, States, delta, graded, spiking

seeds = st.integers(0, 10**6)


def build(sizes=(4, 6, 3), activation="identity", seed=0, **options) -> tuple[PredictiveNetwork, Tensor, Tensor]:
    torch.manual_seed(seed)
    network = PredictiveNetwork(sizes, activation, **options).double()
    return network, *(torch.randn(3, units, dtype=torch.float64) for units in (sizes[0], sizes[-1]))


def follow(channel: Channel, values: Tensor) -> tuple[Tensor, Tensor]:
    """Transmissions and received values at each step, of values (steps, samples, units)."""
    memory, messages = channel.start(values[0]), []
    for value in values:
        messages.append(channel.send(value, memory))
        memory = messages[-1].memory
    return torch.stack([m.sent for m in messages]), torch.stack([m.received for m in messages])


def assert_same(first: States, second: States, tolerance: float = 1e-12) -> None:
    for part in ("z", "errors", "energies", "gap"):
        torch.testing.assert_close(getattr(first, part), getattr(second, part), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("order", ["act_after", "act_before"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_threshold_of_zero_is_exact(activation, order):
    """`graded(0)` sends the same as no channel; `delta(0)` the same levels, as changes."""
    network, x, y = build(activation=activation, order=order)
    options = {"steps": 12, "dt": 0.2}
    plain = network.infer(x, y, **options)
    for kinds in ({"error_channel"}, {"state_channel"}, {"error_channel", "state_channel"}):
        same = network.infer(x, y, **options, **dict.fromkeys(kinds, graded(0)))
        assert_same(same, plain)
        torch.testing.assert_close(same.sent.errors, plain.sent.errors, atol=1e-12, rtol=0)
        torch.testing.assert_close(same.sent.states, plain.sent.states, atol=1e-12, rtol=0)
        changes = network.infer(x, y, **options, **dict.fromkeys(kinds, delta(0)))
        assert_same(changes, plain)
    torch.testing.assert_close(changes.events.cumulate().dense(), plain.events.dense(), atol=1e-12, rtol=0)
    levels = changes.state_events.cumulate().dense()
    torch.testing.assert_close(levels[:, :, 4:], plain.state_events.dense()[:, :, 4:], atol=1e-12, rtol=0)
    assert torch.equal(levels[:, :, :4], x.expand(13, -1, -1))


@settings(max_examples=20)
@given(seed=seeds, threshold=st.floats(0, 2))
def test_sums_of_changes_are_within_the_threshold(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(20, 2, 3, generator=generator, dtype=torch.float64).cumsum(0)
    sent, received = follow(delta(threshold), values)
    assert torch.equal(sent, received)
    assert bool(((sent.cumsum(0) - values).abs() <= threshold + 1e-12).all())
    assert bool((sent[sent != 0].abs() > threshold).all())
    whole, _ = follow(graded(threshold), values)
    assert torch.equal(whole, torch.where(values.abs() > threshold, values, 0.0))


def test_levels_in_a_network_are_within_the_threshold_of_the_values():
    """After any number of steps; and the events are the changes."""
    network, x, y = build()
    for steps in range(1, 8):
        states = network.infer(
            x, y, steps=steps, dt=0.2, error_channel=delta(0.05), state_channel=delta(0.05), start="zero"
        )
        errors, levels = states.events.cumulate().dense()[-1], states.state_events.cumulate().dense()[-1]
        assert bool(((errors - torch.cat(states.errors, -1)).abs() <= 0.05 + 1e-12).all())
        assert bool(((levels - torch.cat(states.z[:-1], -1)).abs() <= 0.05 + 1e-12).all())
    # What a hidden state predicts is made of its level.
    prediction = levels[:, 4:] @ network.layers[1].weight.T + network.layers[1].bias
    torch.testing.assert_close(states.z[2] - states.errors[1], prediction.detach(), atol=1e-12, rtol=0)
    assert 0 < states.events.n_events < states.events.dense().numel()


@pytest.mark.parametrize("threshold", [0.01, 0.1])
def test_the_error_of_delta_coded_inference_is_bounded(threshold):
    """``z <- z - dt (H (z - z*) - W^T d)``, ``|d| <= threshold``: in the end ``|z - z*| <= ||W|| |d| / lambda_min``."""
    network, x, y = build()
    weight = network.layers[1].weight.detach()
    hessian = torch.eye(6, dtype=torch.float64) + weight.T @ weight
    rest = network.infer(x, y, steps=2000, tol=1e-12).z[1]
    found = network.infer(x, y, steps=500, error_channel=delta(threshold)).z[1]
    bound = torch.linalg.matrix_norm(weight, 2) * threshold * 3**0.5 / torch.linalg.eigvalsh(hessian)[0]
    far = (found - rest).norm(dim=1)
    assert bool((far <= bound + 1e-9).all()) and bool((far > 0).any())


@pytest.mark.parametrize("channel", [graded(1e6), delta(1e6), spiking(1e6)], ids=str)
def test_an_error_below_the_threshold_is_not_sent(channel):
    """Without feedback from the output the hidden states stay at their predictions."""
    network, x, y = build(activation="tanh")
    states = network.infer(x, y, error_channel=channel)
    assert states.events.n_events == 0
    torch.testing.assert_close(states.z[1], network.infer(x).z[1], atol=1e-12, rtol=0)
    assert bool(states.errors[-1].any()) and not states.errors[0].any()


@settings(max_examples=20)
@given(seed=seeds, threshold=st.floats(0.05, 3), steps=st.integers(1, 60), constant=st.booleans())
def test_the_mean_of_spikes_is_that_of_the_values(seed, threshold, steps, constant):
    """``sum received = sum v - (u+ - u-)`` and ``0 <= u <= threshold``: the means differ by at most threshold / T."""
    generator = torch.Generator().manual_seed(seed)
    values = threshold * (2 * torch.rand(steps, 2, 3, generator=generator, dtype=torch.float64) - 1)
    values = values[:1].expand(steps, -1, -1) if constant else values
    sent, received = follow(spiking(threshold), values)
    assert bool(((received.mean(0) - values.mean(0)).abs() <= threshold / steps + 1e-12).all())
    assert set(sent.unique().tolist()) <= {0.0, 1.0} and sent.shape == (steps, 2, 6)
    torch.testing.assert_close(received, threshold * (sent[..., :3] - sent[..., 3:]).reshape(received.shape))
    if constant:
        assert not (sent[..., :3].any(0) & sent[..., 3:].any(0)).any(), "one of a pair is always silent"


def test_spikes_clip_large_values_and_leak():
    """At most one spike a step. With a leak, ``beta < 1``, ``v`` below ``(1 - beta) threshold`` never makes a spike."""
    value = torch.tensor([[3.0, -3.0, 0.09, 0.2]], dtype=torch.float64)
    _, received = follow(spiking(1.0, beta=0.9), value.expand(100, -1, -1))
    mean = received.mean(0)[0]
    assert mean[0] == 1 and mean[1] == -1 and mean[2] == 0 and 0 < mean[3] < 0.2


@pytest.mark.parametrize("sizes", [(4, 6, 3), (4, 5, 4, 3)])
def test_mean_spikes_converge_to_the_analogue_errors(sizes):
    """Of a linear network: the mean state is at equilibrium but for ``(z_T - z_0) / dt T`` and ``W^T u_T / T``.

    Both vanish as 1 / T, so that mean received spikes tend to the errors of inference without spikes.
    """
    network, x, y = build(sizes)
    rest = torch.cat(network.infer(x, y, steps=20_000, tol=1e-12, record=False).errors, -1)
    units, far = list(sizes[1:]), []
    for steps in (150, 900):
        states = network.infer(x, y, steps=steps, dt=0.1, error_channel=spiking(3.0))
        spikes = states.events.dense()[:steps]
        layers = [part.unflatten(-1, (2, -1)) for part in spikes.split([2 * n for n in units], -1)]
        mean = torch.cat([3.0 * (part[:, :, 0] - part[:, :, 1]).mean(0) for part in layers], -1)
        far.append((mean - rest)[:, units[0] :].abs().max())
    assert float(rest[:, units[0] :].abs().max()) > 0.3
    assert far[1] < 0.25 * far[0] and far[1] < 0.05
    assert states.events.value is None, "spikes are events without a value"


def test_mean_predictions_of_spiking_states_are_those_of_their_values():
    """A clamped input is sent in spikes at every step; their mean is its value, within threshold / T."""
    network, x, y = build((4, 3))
    x = x.clamp(-1, 1)
    states = network.infer(x, y, steps=400, dt=0.1, state_channel=spiking(1.0))
    spikes = states.state_events.dense()
    mean = (spikes[..., :4] - spikes[..., 4:]).mean(0)
    assert bool(((mean - x).abs() <= 1 / 401 + 1e-12).all()) and states.state_events.value is None


@pytest.mark.parametrize("order", ["act_after", "act_before"])
def test_channels_of_convolutions(order):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 2, 3, stride=2), torch.nn.Conv2d(2, 3, 2), torch.nn.Linear(12, 4)]
    network = PredictiveNetwork(layers, order=order, input_shape=(1, 7, 7)).double()
    y = torch.randn(2, 4, dtype=torch.float64)
    plain = network.infer(y=y, steps=15, dt=0.1)
    near = network.infer(y=y, steps=15, dt=0.1, error_channel=delta(1e-9), state_channel=delta(1e-9))
    assert_same(near, plain, 1e-6)
    assert near.events.shape == (16, 2, 18 + 12 + 4) and plain.z[0].any()


def test_a_step_that_is_too_long_is_refused_with_any_channel():
    network, x, y = build((4, 9, 9, 3))
    for channel in (graded(0.01), delta(0.01), spiking(0.1)):
        for kind in ("error_channel", "state_channel"):
            with pytest.raises(InputError, match="the energy falls"):
                network.infer(x, y, dt=3.0, check=False, steps=100, **{kind: channel})


def test_energy_that_channels_raise_is_a_warning():
    """At equilibrium without channels; errors below the threshold are not sent, so that states leave it."""
    network, x, y = build((4, 9, 9, 3))
    rest = network.infer(x, y, steps=5000, tol=1e-12)
    with pytest.warns(EnergyIncreased, match="channels") as caught:
        network.infer(x, y, start=rest.z, error_channel=graded(float(rest.errors[2].abs().median())))
    assert caught[0].filename == __file__
