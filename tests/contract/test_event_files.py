"""Event files: what docs/format.md says, damage of every kind, and writers that are interrupted."""

import errno
import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import neurosparse as ns

FORMAT_PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def dense_spikes() -> ns.EventTensor:
    return ns.EventTensor.from_dense(torch.rand(9, 2, 5, generator=torch.Generator().manual_seed(0)) < 0.5)


def sparse(n_units: int = 100, graded: bool = False) -> ns.EventTensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, n_units, generator=generator) * (torch.rand(40, 3, n_units, generator=generator) < 0.01)
    return ns.EventTensor.from_dense(x if graded else x != 0, dt=1 / 3e-3, t0=0.1)


FILES = {
    "bitmap": dense_spikes,
    "bitmap, graded": lambda: ns.EventTensor.from_dense(torch.arange(24.0, dtype=torch.float64).view(4, 2, 3)),
    "csr, row pointers": lambda: ns.EventTensor.from_dense(torch.eye(200)[None]),
    "csr, rows": lambda: sparse(n_units=30),
    "csr, graded": lambda: sparse(graded=True),
    "csr, wide": lambda: ns.EventTensor.from_aer(
        *torch.tensor([[0, 1], [0, 0], [5, 65_536]]), shape=(2, 1, 65_537), axis="iteration"
    ),
    "recording": lambda: ns.EventTensor.from_times([1e-4, 1e-4, 0.02], [0, 0, 1], n_units=2, dt=1e-3),
    "ragged": lambda: ns.EventTensor.from_dense(torch.zeros(4, 2, 3), lengths=torch.tensor([4, 0]), dt=1e-3),
    "nothing": lambda: ns.EventTensor.from_dense(torch.zeros(0, 0, 0)),
}


@pytest.fixture(params=FILES)
def case(request, tmp_path):
    events = FILES[request.param]()
    path = tmp_path / "events.safetensors"
    events.save(path)
    return request.param, events, path


def header_of(path: Path) -> tuple[dict, dict]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header.pop("__metadata__"), header


def test_layout_is_what_the_page_says(case):
    name, events, path = case
    meta, tensors = header_of(path)
    assert (meta["format"], meta["version"]) == ("neurosparse-events", "1")
    assert json.loads(meta["shape"]) == list(events.shape)
    assert (json.loads(meta["dt"]), json.loads(meta["t0"])) == (events.dt, events.t0)
    if name != "nothing":
        assert meta["layout"] == {"recording": "csr", "ragged": "csr"}.get(name, name.split(",")[0]) or name == "ragged"
    if name == "csr, row pointers":
        assert (tensors["row_ptr"]["dtype"], tensors["index"]["dtype"]) == ("I32", "U16")
    if name == "csr, rows":
        assert tensors["row"]["dtype"] == "I64" and "row_ptr" not in tensors
    if name == "csr, wide":
        assert tensors["index"]["dtype"] == "I32"
    content = path.read_bytes()
    unsealed = re.sub(rb'"crc32":"[0-9a-f]{8}"', b'"crc32":"00000000"', content)
    assert content.count(b'"crc32":"') == 1 and meta["crc32"] == f"{zlib.crc32(unsealed):08x}"


def test_the_smaller_layout_is_written(tmp_path):
    """Bytes on disk, header left out: at most those of either layout worked out by hand."""
    for density in (0.001, 0.02, 0.05, 0.2, 0.9):
        x = torch.rand(50, 4, 256, generator=torch.Generator().manual_seed(1)) < density
        events, path = ns.EventTensor.from_dense(x), tmp_path / "x.safetensors"
        events.save(path)
        content = path.read_bytes()
        payload = len(content) - 8 - int.from_bytes(content[:8], "little")
        assert payload <= min(50 * 4 * 256 // 8, 2 * events.n_events + 4 * (50 * 4 + 1))


def test_the_reader_on_the_page_reads(case):
    """The numpy-only reader in docs/format.md, run as it stands there."""
    _, events, path = case
    (code,) = re.findall(r"```python\n(.*?)```", FORMAT_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict = {}
    exec(code, scope)
    shape, row, index, value, parts = scope["read_events"](path)
    assert tuple(shape) == events.shape
    np.testing.assert_array_equal(row, events.row.numpy())
    np.testing.assert_array_equal(index, events.index.numpy())
    assert (value is None) == (events.value is None)
    if value is not None:
        np.testing.assert_array_equal(value, events.value.numpy())
    for name in ("offset", "lengths"):
        assert (name in parts) == (getattr(events, name) is not None)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    if len(damaged) > 8 + int.from_bytes(damaged[:8], "little"):
        with pytest.raises(SystemExit):
            scope["read_events"](path)


CONTENTS: dict[str, bytes] = {}


def content_of(name: str, folder: Path) -> bytes:
    if name not in CONTENTS:
        FILES[name]().save(folder / "whole")
        CONTENTS[name] = (folder / "whole").read_bytes()
    return CONTENTS[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


def refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ns.InputError, match="load_events: got"):
        ns.load_events(path)


@settings(max_examples=200)
@given(name=st.sampled_from(list(FILES)), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(folder, name, where, bit):
    content = bytearray(content_of(name, folder))
    content[int(where * len(content))] ^= 1 << bit
    refused(folder / "flipped", bytes(content))


@given(name=st.sampled_from(list(FILES)), where=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_noticed(folder, name, where):
    content = content_of(name, folder)
    refused(folder / "cut", content[: int(where * len(content))])


@given(name=st.sampled_from(list(FILES)), more=st.binary(min_size=1, max_size=20))
def test_anything_appended_is_noticed(folder, name, more):
    refused(folder / "longer", content_of(name, folder) + more)


@given(name=st.sampled_from(list(FILES)), junk=st.binary(min_size=1, max_size=6), where=st.floats(0, 1))
def test_overwritten_bytes_are_noticed_or_change_nothing(folder, name, junk, where):
    content = content_of(name, folder)
    at = int(where * (len(content) - len(junk)))
    damaged = content[:at] + junk + content[at + len(junk) :]
    if damaged != content:
        refused(folder / "overwritten", damaged)


@given(st.binary(max_size=64))
def test_foreign_bytes_are_refused(folder, content):
    refused(folder / "foreign", content)


def test_foreign_safetensors_are_refused(tmp_path):
    refused(tmp_path / "weights", save({"weight": torch.ones(2)}))
    refused(tmp_path / "named", save({"weight": torch.ones(2)}, metadata={"format": "pt"}))


def sealed(parts: dict, meta: dict) -> bytes:
    """A file with a right checksum whose content violates the invariants."""
    content = save(parts, metadata=meta | {"crc32": "00000000"})
    return content.replace(b'"crc32":"00000000"', f'"crc32":"{zlib.crc32(content):08x}"'.encode())


GOOD = {"row": torch.tensor([0, 1]), "index": torch.tensor([0, 1], dtype=torch.int32)}
META = {"format": "neurosparse-events", "version": "1", "layout": "csr", "shape": "[2, 1, 3]", "dtype": "float32"}
META |= {"axis": '"time"', "dt": "0.001", "t0": "0.0"}


def test_a_foreign_writer_is_understood(tmp_path):
    (tmp_path / "good").write_bytes(sealed(GOOD, META))
    assert ns.load_events(tmp_path / "good").aer().unit.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("parts", "meta"),
    [
        ({"row": torch.tensor([0, 2])}, {}),
        ({"row": torch.tensor([1, 0])}, {}),
        ({"row": torch.tensor([-1, 0])}, {}),
        ({"row": torch.tensor([0, 0]), "index": torch.tensor([1, 1], dtype=torch.int32)}, {}),
        ({"index": torch.tensor([0, 3], dtype=torch.int32)}, {}),
        ({"row": torch.tensor([0])}, {}),
        ({"value": torch.ones(3)}, {}),
        ({"value": torch.tensor([1.0, 0.0])}, {}),
        ({"value": torch.tensor([1.0, float("nan")])}, {}),
        ({"offset": torch.tensor([1])}, {}),
        ({"offset": torch.tensor([1, -1])}, {}),
        ({"lengths": torch.tensor([1])}, {}),
        ({"lengths": torch.tensor([3])}, {}),
        ({"lengths": torch.tensor([2.0])}, {}),
        ({}, {"shape": "[2, 1]"}),
        ({}, {"shape": "[2, 1, -3]"}),
        ({}, {"shape": '"x"'}),
        ({}, {"shape": "[2, 1, 3"}),
        ({}, {"shape": "[99999999999999, 99999999999999, 3]"}),
        ({}, {"dt": "-1"}),
        ({}, {"dt": "NaN"}),
        ({}, {"t0": "Infinity"}),
        ({}, {"t0": "null"}),
        ({}, {"axis": '"space"'}),
        ({}, {"dtype": "nn"}),
        ({}, {"dtype": "float99"}),
        ({}, {"layout": "bitmap"}),
        ({}, {"layout": "coo"}),
        ({}, {"version": "2"}),
    ],
)
def test_invariants_are_checked_even_under_a_good_seal(tmp_path, parts, meta):
    refused(tmp_path / "bad", sealed(GOOD | parts, META | meta))


def test_a_missing_file_is_its_own_error(tmp_path):
    with pytest.raises(ns.MissingFileError, match="nowhere"):
        ns.load_events(tmp_path / "nowhere")
    with pytest.raises(ns.MissingFileError, match="existing folder"):
        dense_spikes().save(tmp_path / "no" / "where")


def _fail(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["replace", "fsync", "fdopen", "chmod"])
def test_an_interrupted_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, where):
    path = tmp_path / "events.safetensors"
    dense_spikes().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, where, _fail)
    with pytest.raises(OSError, match="No space left"):
        sparse().save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_saving_detaches(tmp_path):
    spikes = ns.LIF(beta=0.9)(torch.rand(4, 2, 3, requires_grad=True) * 2)
    spikes.save(tmp_path / "spikes")
    assert not ns.load_events(tmp_path / "spikes").requires_grad and spikes.requires_grad


def test_other_readers_of_safetensors_see_the_tensors(tmp_path):
    sparse(n_units=30).save(tmp_path / "x")
    assert set(load((tmp_path / "x").read_bytes())) == {"row", "index"}
