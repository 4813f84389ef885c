"""One contract for every spiking layer: a new one is a new row of the table."""

import copy

import pytest
import torch
from torch import nn

import neurosparse as ns

UNITS = 4


def recurrent(**options) -> ns.LIF:
    torch.manual_seed(0)
    return ns.LIF(beta=0.8, recurrent=nn.Linear(UNITS, UNITS, bias=False), **options)


NEURONS = {
    "LIF, beta": lambda: ns.LIF(beta=0.8),
    "LIF, tau": lambda: ns.LIF(tau=0.01, dt=1e-3),
    "LIF, zero reset": lambda: ns.LIF(beta=0.8, reset="zero"),
    "LIF, no reset": lambda: ns.LIF(beta=0.8, reset="none"),
    "LIF, one decay per unit": lambda: ns.LIF(beta=torch.linspace(0.1, 0.9, UNITS), threshold=torch.ones(UNITS)),
    "LIF, trained": lambda: ns.LIF(beta=nn.Parameter(torch.tensor(0.8))),
    "LIF, recurrent": recurrent,
    "LIF, delayed reset": lambda: ns.LIF(beta=0.8, delayed_reset=True),
    "LIF, delayed reset to zero": lambda: ns.LIF(beta=0.8, reset="zero", delayed_reset=True),
    "LIF, refractory": lambda: ns.LIF(beta=0.8, refractory=1),
    "LIF, trained threshold": lambda: ns.LIF(beta=0.8, threshold=nn.Parameter(torch.ones(UNITS))),
    "IF": lambda: ns.neurons.IF(),
    "IF, half charged": lambda: ns.neurons.HalfCharged(),
    "current-based": lambda: ns.LIF(beta=0.8, dynamics=ns.neurons.current_based(0.5)),
    "current-based, trained": lambda: ns.LIF(
        beta=0.8, dynamics=ns.neurons.current_based(nn.Parameter(torch.tensor(0.5)))
    ),
    "adaptive": lambda: ns.LIF(beta=0.8, dynamics=ns.neurons.adaptive(0.9, 0.3)),
    "adaptive, recurrent": lambda: recurrent(dynamics=ns.neurons.adaptive(0.9, 0.3)),
    "LIF, plain torch": lambda: ns.LIF(beta=0.8, reference=True),
}


@pytest.fixture(params=NEURONS)
def neuron(request):
    return NEURONS[request.param]()


def current(steps=6, samples=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(steps, samples, UNITS, generator=generator, dtype=dtype) * 2


def test_emits_unit_spikes_of_the_input_s_shape(neuron):
    spikes = neuron(current())
    assert isinstance(spikes, ns.EventTensor) and spikes.binary and spikes.value is None
    assert spikes.shape == (6, 3, UNITS) and 0 < spikes.n_events < 6 * 3 * UNITS
    assert set(spikes.dense().unique().tolist()) <= {0.0, 1.0}


def test_events_and_dense_input_agree(neuron):
    x = current()
    for events in (ns.EventTensor.from_dense(x), ns.constant_current(x[0], steps=6)):
        assert torch.equal(neuron(events).dense(), neuron(events.dense().contiguous()).dense())


def test_state_is_fresh_on_every_call(neuron):
    x = current()
    first = neuron(x).dense()
    neuron(x * 3)
    assert torch.equal(neuron(x).dense(), first)
    assert torch.equal(copy.deepcopy(neuron)(x).dense(), first)


def test_chunks_carry_the_state_explicitly(neuron):
    x = current()
    whole, last = neuron.run(x)
    head, state = neuron.run(x[:2])
    assert not state.membrane.requires_grad
    tail, end = neuron.run(x[2:], state)
    assert torch.equal(torch.cat([head.dense(), tail.dense()]), whole.dense())
    assert torch.equal(end.membrane, last.membrane)


def test_ragged_samples_end_early_and_in_silence(neuron):
    x = current()
    lengths = torch.tensor([6, 2, 0])
    padded = x * (torch.arange(6)[:, None, None] < lengths[:, None])
    spikes = neuron(ns.EventTensor.from_dense(padded, lengths=lengths))
    assert spikes.lengths.tolist() == [6, 2, 0]
    for sample, length in enumerate(lengths.tolist()):
        alone = neuron(x[:length, sample : sample + 1]).dense()
        assert torch.equal(spikes.dense()[:length, sample : sample + 1], alone)
        assert not bool(spikes.dense()[length:, sample].any())


@pytest.mark.parametrize("shape", [(0, 3, UNITS), (6, 0, UNITS), (1, 1, UNITS)])
def test_sizes_at_the_edge(neuron, shape):
    assert neuron(torch.zeros(shape)).shape == shape
    assert neuron.run(torch.zeros(shape))[1].membrane.shape == shape[1:]


def test_the_gradient_reaches_the_input_and_stops_at_the_state(neuron):
    x = current().requires_grad_()
    spikes, state = neuron.run(x)
    spikes.counts().sum().backward()
    assert bool((x.grad != 0).any()) and bool(x.grad.isfinite().all())
    again = x.detach().clone().requires_grad_()
    neuron.run(again, state)[0].counts().sum().backward()
    assert bool((again.grad != 0).any())


def test_trace_agrees_with_the_call(neuron):
    x = current()
    trace = neuron.trace(x)
    assert torch.equal(trace.events.dense(), neuron(x).dense())
    assert trace.membrane.shape == x.shape


def test_timing_travels_with_the_spikes(neuron):
    events = ns.EventTensor.from_dense(current(), dt=1e-3, t0=0.5)
    assert (neuron(events).dt, neuron(events).t0) == (1e-3, 0.5)
    layer = nn.Linear(UNITS, UNITS)
    assert (neuron(layer(events)).dt, neuron(layer(events)).t0) == (1e-3, 0.5)


@pytest.mark.parametrize("bad", [float("nan")])
def test_refuses_what_is_no_number(neuron, bad):
    x = current()
    x[1, 0, 0] = bad
    with pytest.raises(ns.InputError, match="NaN in the current"):
        neuron(x)


def test_refuses_other_shapes(neuron):
    with pytest.raises(ns.InputError, match="Time comes first"):
        neuron(torch.ones(3, UNITS))
    _, state = neuron.run(current(samples=3))
    with pytest.raises(ns.InputError, match="Start a new batch with state=None"):
        neuron.run(current(samples=2), state)


def test_shows_what_it_is(neuron):
    assert repr(neuron).startswith(f"{type(neuron).__name__}(") and "reset=" in repr(neuron) and "atan" in repr(neuron)


def test_half_precision_runs(neuron):
    if "per unit" not in repr(neuron) and next(neuron.parameters(), None) is None:
        assert neuron(current(dtype=torch.float16)).dtype == torch.float16


def test_recurrent_spikes_arrive_one_step_later():
    """By hand: unit 0 is driven and excites unit 1 with weight 2; both fire, one step apart."""
    loop = nn.Linear(2, 2, bias=False)
    loop.weight.data = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    x = torch.zeros(4, 1, 2)
    x[0, 0, 0] = 1.5
    spikes = ns.LIF(beta=0.0, recurrent=loop)(x)
    assert spikes.dense()[:, 0].tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_decay_and_threshold_follow_the_module():
    lif = ns.LIF(beta=torch.full((UNITS,), 0.5), threshold=torch.ones(UNITS))
    assert {"beta", "threshold"} < set(lif.state_dict())
    again = ns.LIF(beta=torch.zeros(UNITS), threshold=torch.ones(UNITS) * 9)
    again.load_state_dict(lif.state_dict())
    assert torch.equal(again(current()).dense(), lif(current()).dense())


def test_a_python_decay_is_exact_in_float64():
    x = torch.zeros(3, 1, 1, dtype=torch.float64)
    x[0] = 0.5
    assert ns.LIF(beta=0.9).run(x)[1].membrane.item() == 0.9 * (0.9 * 0.5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "expected one of them"),
        ({"beta": 0.9, "tau": 0.1}, "expected one of them"),
        ({"beta": 1.5}, "0 <= beta <= 1"),
        ({"beta": float("nan")}, "0 <= beta <= 1"),
        ({"beta": torch.tensor([0.5, -0.1])}, "0 <= beta <= 1"),
        ({"tau": 0.0}, "tau > 0"),
        ({"beta": 0.9, "dt": -1e-3}, "dt > 0"),
        ({"beta": 0.9, "reset": "hard"}, "one of 'subtract', 'zero', 'none'"),
        ({"beta": 0.9, "threshold": 0.0}, "threshold > 0"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ns.InputError, match=sentence):
        ns.LIF(**options)


def test_bad_combinations_are_refused():
    events = ns.EventTensor.from_dense(current(), dt=1e-3)
    with pytest.raises(ns.InputError, match=r"dt=0.001 from the input; expected this layer's dt=0.002"):
        ns.LIF(beta=0.9, dt=2e-3)(events)
    with pytest.raises(ns.InputError, match="tau without dt"):
        ns.LIF(tau=0.01)(current())
    with pytest.raises(ns.InputError, match=r"one per unit \(4,\)"):
        ns.LIF(beta=torch.full((3,), 0.5))(current())


@pytest.mark.parametrize("surrogate", [ns.atan, ns.fast_sigmoid, ns.triangle, ns.boxcar])
@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_surrogates_refuse_what_has_no_slope(surrogate, bad):
    with pytest.raises(ns.InputError, match="> 0"):
        surrogate(bad)


@pytest.mark.parametrize("make", [lambda beta: ns.LIF(beta=beta), ns.neurons.Readout], ids=["LIF", "Readout"])
@pytest.mark.parametrize("shape", [(UNITS + 1,), (1, UNITS)], ids=str)
def test_decays_of_another_number_of_units_are_refused(make, shape):
    with pytest.raises(ns.InputError, match=r"beta of shape .*expected a number or one per unit \(4,\)"):
        make(torch.full(shape, 0.5))(torch.ones(3, 2, UNITS))
