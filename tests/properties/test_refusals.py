"""What no event tensor can be made of is refused with one sentence: got, expected, do this."""

import pickle

import pytest
import torch

import neurosparse as ns

NAN = float("nan")


@pytest.mark.parametrize(
    ("x", "options", "sentence"),
    [
        (torch.ones(3, 4), {}, r"shape \(3, 4\); expected \(steps, samples, \*units\)\. Time comes first"),
        ("text", {}, "shape|str"),
        (torch.full((1, 1, 1), NAN), {}, "NaN"),
        (torch.ones(1, 1, 1, dtype=torch.complex64), {}, "real values"),
        (torch.full((1, 1, 1), 2.0), {"spikes": True}, "Drop spikes=True to keep graded values"),
        (torch.ones(2, 1, 1), {"dt": 0.0}, "dt > 0"),
        (torch.ones(2, 1, 1), {"dt": -1e-3}, "dt > 0"),
        (torch.ones(2, 1, 1), {"dt": NAN}, "dt > 0"),
        (torch.ones(2, 1, 1), {"dt": "1 ms"}, "dt > 0"),
        (torch.ones(2, 1, 1), {"t0": float("inf")}, "t0=inf; expected a finite number of seconds"),
        (torch.ones(2, 1, 1), {"axis": "space"}, "one of 'time', 'iteration', None"),
        (torch.ones(2, 1, 1), {"lengths": torch.tensor([1])}, "events beyond lengths"),
        (torch.ones(2, 1, 1), {"lengths": torch.tensor([3])}, "0 <= length <= 2"),
        (torch.ones(2, 1, 1), {"lengths": torch.tensor([-1])}, "0 <= length <= 2"),
        (torch.ones(2, 1, 1), {"lengths": torch.tensor([2, 2])}, "one integer per sample"),
        (torch.ones(2, 1, 1), {"lengths": torch.tensor([2.0])}, "one integer per sample"),
    ],
)
def test_from_dense(x, options, sentence):
    with pytest.raises(ns.InputError, match=f"EventTensor.from_dense: got .*{sentence}"):
        ns.EventTensor.from_dense(x, **options)


@pytest.mark.parametrize(("start", "stop"), [(0.0, 20.0), ("0", 1), (True, 2), (None, 2)])
def test_steps(start, stop):
    with pytest.raises(
        ns.InputError, match=r"EventTensor.steps: got st.*expected a whole number\. Divide seconds by dt"
    ):
        ns.EventTensor.from_dense(torch.ones(3, 1, 1)).steps(start, stop)


AER = {"step": [0, 1], "sample": [0, 0], "unit": [0, 1], "value": None, "shape": (2, 1, 3)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": [0, 2]}, r"step in 0\.\.2; expected 0 <= step < 2"),
        ({"step": [-1, 0]}, "0 <= step < 2"),
        ({"sample": [0, 1]}, "0 <= sample < 1"),
        ({"unit": [0, 3]}, "0 <= unit < 3"),
        ({"unit": [[0, 0], [0, 1]]}, r"unit of shape \(2, 2\)"),
        ({"step": [0.0, 1.0]}, "expected integers.*from_times"),
        ({"step": [[0], [1]]}, r"expected \(events,\)"),
        ({"step": [0]}, "one entry per event"),
        ({"value": [1.0]}, "one entry per event"),
        ({"value": [1.0, NAN]}, "NaN values"),
        ({"value": [True, False]}, "Leave value out for unit spikes"),
        ({"step": [0, 0], "unit": [1, 1]}, "1 duplicate events"),
        ({"on_collision": "max"}, "one of 'error', 'sum', 'any'"),
        ({"shape": (2, 3)}, r"\(steps, samples, \*units\)"),
        ({"shape": (2, 1, -3)}, "size in shape=-3; expected a whole number, at least 0"),
        ({"shape": (2, 1, 2**31)}, r"fewer than 2\*\*31 units"),
        ({"shape": (2**40, 2**10, 2**20)}, r"2\*\*63 cells"),
        ({"lengths": torch.tensor([1])}, "events beyond lengths"),
    ],
)
def test_from_aer(changes, sentence):
    named = AER | changes
    coordinates = [named.pop(n) for n in ("step", "sample", "unit", "value")]
    parts = [None if part is None else torch.tensor(part) for part in coordinates]
    with pytest.raises(ns.InputError, match=sentence):
        ns.EventTensor.from_aer(*parts, **named)


def test_lists_will_do_and_none_is_no_event():
    assert ns.EventTensor.from_aer([0], [0], [2], [1.5], shape=(1, 1, 3)).dense().flatten().tolist() == [0, 0, 1.5]
    assert ns.EventTensor.from_aer([], [], [], shape=(1, 1, 3)).n_events == 0


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda e: e.samples(5), "EventTensor.samples: got 5; expected samples of 2"),
        (lambda e: e.bin(0), "k=.* a whole number, at least 1"),
        (lambda e: e.bin(1.5), "k=.* a whole number, at least 1"),
        (lambda e: e.bin(2), "duplicate"),
        (lambda e: e.bin(2, on_collision="last"), "one of 'error', 'sum', 'any'"),
    ],
)
def test_parts(act, sentence):
    with pytest.raises(ns.InputError, match=sentence):
        act(ns.EventTensor.from_dense(torch.ones(4, 2, 1)))


def test_a_recording_gives_its_sub_step_times_up_by_name_only():
    recording = ns.EventTensor.from_times([1e-4, 2e-4], [0, 0], n_units=1, dt=1e-3)
    with pytest.raises(ns.InputError, match=r"\.bin\(1, on_collision='sum'\)"):
        recording.dense()
    with pytest.raises(ns.InputError, match="duplicate"):
        recording.bin(1)
    assert recording.bin(1, on_collision="sum").dense().item() == 2
    assert recording.counts().item() == 2


def test_errors_travel_between_processes():
    error = ns.InputError("here", got="this", expected="that", fix="Do so.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "here: got this; expected that. Do so."


NO_LISTS = (None, 3, "ab", [1], {"a": 1})


@pytest.mark.parametrize("value", NO_LISTS, ids=repr)
def test_other_objects_are_refused_in_one_sentence(value):
    calls = (
        lambda: ns.analysis.macaque_distance(value, [0.1, 0.2]),
        lambda: ns.count(value),
        lambda: ns.simulate.to_pynn(value, "net.py", 0.1),
        lambda: ns.neurons.Readout(0.9)(value),
        lambda: ns.KWTA(k=1)(value),
        lambda: ns.energy.frontier(value),
        lambda: ns.energy.scenarios("cmos-45nm", value),
        lambda: ns.experiments.check_seeds({"a": value}),
        lambda: ns.Task("toy", "A toy", None, value, 4, 1, 3, 0.01),
        lambda: ns.baselines.quantise(torch.nn.Linear(4, 3), calibration=value),
    )
    for call in calls:
        with pytest.raises(ns.InputError, match=": got .*; expected "):
            call()
