"""The cache of compiled kernels: edits are seen, and no state of the disk decides whether there is a result."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from neurosparse.kernels import cache, dispatch
from neurosparse.kernels.dispatch import kernel

PACKAGE = Path(cache.__file__).parents[1]


@kernel
def shifted(x):
    for k in range(x.shape[0]):
        x[k] += 3
    return x.sum()


def total() -> float:
    """A sum of 15, by a kernel that no memory of this process holds."""
    return kernel(shifted.function)(np.zeros(5))


class Unkept:
    """numba's cache of a function without a folder: it has no ``_load_overload``."""

    def load_overload(self, signature, target):
        return None

    def flush(self):
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty cache, used by kernels that are declared from here on."""
    monkeypatch.setattr(dispatch, "_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_said", set())
    monkeypatch.setattr(cache, "PATIENCE", 1e6)
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def outer(tmp_path):
    """A function of the body of a called kernel: the output of a process of its own, with kernels in two files."""
    kernels = tmp_path / "neurosparse" / "kernels"
    kernels.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "kernels/__init__.py", "kernels/dispatch.py", "kernels/cache.py"):
        shutil.copy(PACKAGE / name, tmp_path / "neurosparse" / name)
    head = "from neurosparse.kernels.dispatch import kernel\n"
    (kernels / "outer.py").write_text(
        f"{head}from neurosparse.kernels.inner import inner\n@kernel\ndef outer(x):\n    return 10 * inner(x[0])\n"
    )
    script = (
        "import sys; import numpy as np; from neurosparse.kernels.outer import outer; print(outer(np.ones(1)), "
        "*{'numba.np.arrayobj', 'scipy.linalg', 'torch._dynamo'} & set(sys.modules))"
    )

    def run(inner: str) -> list[str]:
        (kernels / "inner.py").write_text(f"{head}@kernel\ndef inner(c):\n    return {inner}\n")
        env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=tmp_path, env=env | {"PYTHONPATH": str(tmp_path)}, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().split()

    return run


def test_an_edit_of_a_called_kernel_is_seen(outer, tmp_path):
    assert outer("c")[0] == "10.0"
    compiled = files(tmp_path / "neurosparse" / "kernels" / "__pycache__")
    assert any(file.suffix == ".nbc" and "outer" in file.name for file in compiled), "nothing was kept"
    assert outer("2 * c")[0] == "20.0"


def test_a_kept_kernel_runs_without_the_compiler(outer, tmp_path):
    assert "numba.np.arrayobj" in outer("c")
    assert outer("c") == ["10.0"]
    kept = files(tmp_path / "neurosparse" / "kernels" / "__pycache__")
    assert not any("inner" in file.name for file in kept), "a kernel that is compiled into another one needs no file"


def test_the_hash_is_of_all_sources_and_of_python(tmp_path, monkeypatch):
    def hash_of(**sources: str) -> str:
        shutil.rmtree(tmp_path)
        for name, text in sources.items():
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "a.py").write_text(text)
        return cache.source_hash(tmp_path)

    states = [{"x": "1"}, {"x": "2"}, {"y": "1"}, {"x": "1", "y": ""}, {"x": "", "y": "1"}]
    assert len({hash_of(**state) for state in states}) == len(states)
    before = hash_of(x="1")
    assert hash_of(x="1") == before
    monkeypatch.setattr(sys, "version", "another Python")
    assert hash_of(x="1") != before


def test_compiled_kernels_are_kept_and_found(folder):
    assert total() == 15
    kept = {file: file.stat().st_mtime_ns for file in files(folder)}
    assert {file.suffix for file in kept} == {".nbi", ".nbc"}
    again = kernel(shifted.function)
    assert again(np.zeros(5)) == 15
    assert sum(again.compiled(False).stats.cache_hits.values()) == 1
    assert kept == {file: file.stat().st_mtime_ns for file in files(folder)}


@pytest.mark.parametrize("keep", [0, 10, -1])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_truncated_file_is_compiled_and_written_anew(folder, suffix, keep):
    total()
    sound = {file: file.stat().st_size for file in files(folder)}
    for file in sound:
        if file.suffix == suffix:
            file.write_bytes(file.read_bytes()[:keep])
    assert total() == 15
    assert {file: file.stat().st_size for file in files(folder)} == sound
    again = kernel(shifted.function)
    again(np.zeros(5))
    assert sum(again.compiled(False).stats.cache_hits.values()) == 1


def test_a_full_disk_costs_one_line(folder, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._open_for_write", full)
    assert total() == total() == 15
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "No space left on device" in err and "NUMBA_CACHE_DIR" in err
    assert not files(folder)


def test_a_cache_in_memory_is_read_without_an_error(monkeypatch):
    flushed = []
    monkeypatch.setattr(Unkept, "flush", lambda _: flushed.append(True))
    made = cache.KernelCache(Unkept(), "name", lambda: None)
    assert made.load_overload(None, None) is None
    made._line.cancel()
    assert not flushed


def test_without_a_folder_kernels_stay_in_memory(folder, monkeypatch, capsys):
    (folder / "file").write_text("")
    places = [folder / "file", folder / "file" / "below"]
    monkeypatch.setattr(dispatch, "_cache_folder", lambda: cache.cache_folder("key", places))
    assert total() == total() == 15
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "NUMBA_CACHE_DIR" in err and str(places[1]) in err


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / "file").write_text("")
    found = cache.cache_folder("key", [tmp_path / "file", tmp_path / "second"])
    assert found == tmp_path / "second" / "kernels-key" and found.is_dir()


def test_folders_of_old_sources_go(tmp_path):
    for age in range(9):
        old = tmp_path / f"kernels-{age}"
        old.mkdir()
        os.utime(old, (1e9 - age, 1e9 - age))
    (tmp_path / "other").mkdir()
    cache.cache_folder("new", [tmp_path])
    kept = {folder.name for folder in tmp_path.iterdir()}
    assert kept == {"other", "kernels-new", *(f"kernels-{age}" for age in range(cache.KEPT - 1))}
    cache.cache_folder("new", [tmp_path])
    assert kept == {folder.name for folder in tmp_path.iterdir()}


def test_the_user_chooses_the_place(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert cache.cache_places() == [Path("/somewhere/neurosparse")]
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.cache_places() == [PACKAGE / "kernels" / "__pycache__", Path("/elsewhere/neurosparse")]


def test_a_long_compilation_is_said_once_and_not_on_stdout(folder, monkeypatch, capsys):
    monkeypatch.setattr(cache, "PATIENCE", 0)
    total()
    assert kernel(shifted.function)(np.zeros(5, np.float32)) == 15
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("neurosparse: compiling kernels (once): ") and err.count("\n") == 1
    monkeypatch.setattr(cache, "PATIENCE", 1e6)
    monkeypatch.setattr(cache, "_said", set())
    assert kernel(shifted.function)(np.zeros(5, np.int64)) == 15
    assert capsys.readouterr().err == ""


class _Layer(NamedTuple):
    membrane: np.ndarray
    currents: np.ndarray


@kernel
def _add(target, source):
    for k in range(target.shape[0]):
        target[k] += source[k]


def _add_all(layers):
    for layer in layers:
        for r in range(layer.currents.shape[0]):
            _add(layer.membrane, layer.currents[r])


def test_a_kernel_that_creates_no_array_counts_no_references(monkeypatch):
    monkeypatch.setattr(dispatch, "_cache_folder", lambda: None)  # numba shows no code that it read from a file
    counted = {}
    for made in (kernel(_add_all), kernel.allocating(_add_all)):
        layer = _Layer(np.zeros(4), np.ones((3, 4)))
        made((layer, layer))
        assert np.array_equal(layer.membrane, np.full(4, 6.0))
        code = made.compiled(False).inspect_llvm().values()
        counted[made.allocate] = sum(text.count("NRT_incref") for text in code)
    assert counted[False] == 0
    assert counted[True] > 0


def test_a_kernel_that_creates_an_array_is_refused_unless_it_is_declared():
    def sum_of(x):
        twice = np.empty(x.shape[0])
        for k in range(x.shape[0]):
            twice[k] = 2 * x[k]
        return twice.sum()

    with pytest.raises(Exception, match=r"NRT|nopython"):
        kernel(sum_of)(np.ones(3))
    assert kernel.allocating(sum_of)(np.ones(3)) == 6
