"""N-MNIST files: real recordings against the counts of another decoder, round trips, damaged files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosparse as ns


def test_a_real_recording_agrees_with_another_decoder(shared_data):
    formats = shared_data("events/formats")
    golden = json.loads((formats / "GOLDEN.json").read_text())["sample_nmnist.bin"]
    events = ns.io.nmnist.read(formats / "sample_nmnist.bin")
    time = events.times() // 1000
    polarity, y, x = events.index // 34**2, events.index // 34 % 34, events.index % 34
    assert (events.n_events, int(time.min()), int(time.max())) == (golden["n"], golden["t_first"], golden["t_last"])
    assert (int(x.sum()), int(y.sum()), int(polarity.sum())) == (golden["sum_x"], golden["sum_y"], golden["n_on"])
    t, column, row, sign = golden["first3"][0]
    first = int(time.argmin())
    assert (int(time[first]), int(x[first]), int(y[first]), int(polarity[first])) == (t, column, row, sign)
    assert int((time - time.min()).sum()) == golden["sum_dt"]


def test_a_folder_of_recordings_has_the_published_counts(shared_data):
    golden = json.loads((shared_data("events/formats") / "GOLDEN.json").read_text())["nmnist_small"]
    events, labels = ns.io.nmnist.read_folder(shared_data("events/nmnist_small"), dt=20e-3)
    assert events.shape[1:] == (golden["files"], 2, 34, 34)
    assert torch.bincount(labels).tolist() == golden["class_counts"]
    assert events.value is not None and int(events.value.sum()) == golden["events"], "no event is lost in a bin"


@given(st.lists(st.tuples(st.integers(0, (1 << 23) - 1), st.integers(0, 2 * 34 * 34 - 1)), min_size=1, max_size=40))
def test_round_trip(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("nmnist") / "one.bin"
    time, unit = (torch.tensor([e[k] for e in events], dtype=torch.float64 if k == 0 else torch.int64) for k in (0, 1))
    flat = ns.EventTensor.from_times(time / 1e6, unit, n_units=2 * 34 * 34, dt=1e-3)
    parts = {"row": flat.row, "index": flat.index, "offset": flat.offset}
    spikes = ns.EventTensor((flat.shape[0], 1, 2, 34, 34), flat.timing, flat.dtype, binary=True, **parts)
    ns.io.nmnist.write(spikes, path)
    again = ns.io.nmnist.read(path)
    assert sorted(zip((again.times() // 1000).tolist(), again.index.tolist(), strict=True)) == sorted(events)


def test_an_overflow_event_advances_the_clock(tmp_path):
    rows = [[1, 2, 0, 0, 10], [0, 240, 0, 0, 0], [3, 4, 128, 0, 5]]
    (tmp_path / "a.bin").write_bytes(np.array(rows, np.uint8).tobytes())
    assert (ns.io.nmnist.read(tmp_path / "a.bin").times() // 1000).tolist() == [10, 8197]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(7), "words of 5 bytes"),
        (bytes([34, 0, 0, 0, 0]), "x < 34 and y < 34"),
        (bytes([1, 1, 0, 0, 9, 1, 1, 0, 0, 8]), "time that runs backwards"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ns.InputError, match=message):
        ns.io.nmnist.read(tmp_path / "a.bin")


def test_missing_files_and_malformed_labels_are_named(tmp_path):
    with pytest.raises(ns.MissingFileError, match="expected labels.txt"):
        ns.io.nmnist.read_folder(tmp_path)
    (tmp_path / "labels.txt").write_text("1 5\n")
    with pytest.raises(ns.MissingFileError, match="expected a recording"):
        ns.io.nmnist.read_folder(tmp_path)
    (tmp_path / "labels.txt").write_text("1 five\n")
    with pytest.raises(ns.InputError, match="NAME CLASS"):
        ns.io.nmnist.read_folder(tmp_path)


def test_events_that_the_format_cannot_hold_are_refused(tmp_path):
    one = torch.tensor([0])
    for events, message in [
        (ns.EventTensor.from_aer(one, one, one, shape=(1, 1, 2, 3, 4), dt=1e-3), "2, 34, 34"),
        (ns.EventTensor.from_aer(one, one, one, one + 2.0, shape=(1, 1, 2, 34, 34), dt=1e-3), "graded"),
        (ns.EventTensor.from_aer(one[:0], one[:0], one[:0], shape=(0, 1, 2, 34, 34), dt=1e-3), "no events"),
        (ns.EventTensor.from_aer(one, one, one, shape=(9, 1, 2, 34, 34), dt=1e-3), "8 steps of silence"),
        (ns.EventTensor.from_aer(one + 1, one, one, shape=(2, 1, 2, 34, 34), dt=1e-7), "whole microseconds"),
    ]:
        with pytest.raises(ns.InputError, match=message):
            ns.io.nmnist.write(events, tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())
