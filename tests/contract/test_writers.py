"""Every function that writes a file, and every target that cannot be written or must not be replaced."""

import ast
import hashlib
import os
import pickle
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse import io, report
from neurosparse.atomic import PREFIX
from neurosparse.errors import InputError, MissingFileError, UnwritableFileError
from neurosparse.experiments import save_weights
from neurosparse.experiments.classification.store import write_result
from neurosparse.io import download, files, manifest
from neurosparse.io.formats import FORMATS

PACKAGE = Path(ns.__file__).parent
TRAINS = ns.EventTensor.from_times([0.0021, 0.5], [1, 0], n_units=2, dt=1e-3, duration=2.0)
ONE = torch.tensor([0])
FOUR = ns.EventTensor.from_dense(torch.ones(5, 1, 4, dtype=torch.bool), dt=1e-3)
CAMERA = ns.EventTensor.from_aer(ONE + 3, ONE, ONE + 5, shape=(4, 1, 2, 34, 34), dt=1e-6)
NETWORK = nn.Sequential(nn.Linear(4, 3), ns.LIF(beta=0.9, dt=1e-3))
RELU = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
RESULTS = {"task": "digits", "models": [RELU]}
START = datetime(2020, 1, 1, tzinfo=UTC)


class Writer(NamedTuple):
    """A function that writes the file at a path; ``name`` is that of the file where the function chooses it."""

    write: Callable[[Path], object]
    suffix: str = ""
    name: str = ""
    makes_folder: bool = False


def _events_of(name: str) -> ns.EventTensor:
    return CAMERA if 3 in FORMATS[name].axes else TRAINS


def _nwb(path: Path) -> None:
    io.nwb.write(TRAINS, path, START)


def _fetch(path: Path) -> None:
    source = Path(__file__)
    content = source.read_bytes()
    file = manifest.DataFile(path.name, source.as_uri(), hashlib.sha256(content).hexdigest(), len(content))
    download._download(file, path)  # fetch() leaves a sound file as it is


def _simulated() -> ns.Network:
    net = ns.Network(dt=1e-3)
    net.population("cells", 2, ns.simulate.lif())
    return net


def _convert(path: Path) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder, "a.raw")
        io.evt.write(CAMERA, source)
        files.convert(source, path, to_format="evt3")


def _draw(ax) -> None:
    ax.plot([0, 1])


WRITERS: dict[str, Writer] = {
    **{
        f"io.files.write, {name}": Writer(
            partial(lambda name, path: files.write(_events_of(name), path, name), name), FORMATS[name].suffixes[0]
        )
        for name in FORMATS
        if name != "nwb"
    },
    "io.files.convert": Writer(_convert, ".raw"),
    "EventTensor.save": Writer(TRAINS.save),
    "io.nwb.write": Writer(_nwb, ".nwb"),
    "io.nir.write": Writer(lambda path: io.nir.write(NETWORK, path), ".nir"),
    "io.nir.data.write": Writer(lambda path: io.nir.data.write(TRAINS, path), ".nir"),
    "report.write_figure": Writer(
        lambda path: report.write_figure(_draw, path, (1.0, 1.0), dpi=20), ".png", makes_folder=True
    ),
    "report.write_results": Writer(
        lambda path: report.write_results(RESULTS, path.parent), name="results.json", makes_folder=True
    ),
    "report.save": Writer(lambda path: report.save(RESULTS, path.parent), name="report.html", makes_folder=True),
    "report.save_overview": Writer(
        lambda path: report.save_overview([RESULTS], path.parent), name="overview.html", makes_folder=True
    ),
    "Comparison.save": Writer(ns.Comparison(RESULTS).save, ".html"),
    "experiments.save_weights": Writer(lambda path: save_weights(path, NETWORK, {}), makes_folder=True),
    "results of trainings": Writer(lambda path: write_result(path, "key", {"seed": 0}), ".json", makes_folder=True),
    "fetch": Writer(_fetch, makes_folder=True),
    "State.save": Writer(_simulated().advance(0.0)[1].save),
    "simulate.to_pynn": Writer(lambda path: ns.simulate.to_pynn(_simulated(), path, 0.1), name="a.py"),
    "io.brian2.write": Writer(lambda path: io.brian2.write(NETWORK, path, FOUR), name="a.py"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder in which no temporary file stays; the umask is restored."""
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)
    assert not list(tmp_path.rglob(f"{PREFIX}*"))


each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


def path_in(folder: Path, writer: Writer) -> Path:
    return folder / (writer.name or f"a{writer.suffix}")


def refused(writer: Writer, path: Path) -> str:
    """The sentence with which a target is refused."""
    with pytest.raises(InputError) as error:
        writer.write(path)
    text = str(error.value)
    assert "\n" not in text and "got" in text and "expected" in text
    assert str(pickle.loads(pickle.dumps(error.value))) == text  # worker processes send it
    return text


@each_writer
def test_the_mode_is_that_of_the_umask_or_of_the_file_before(folder, writer):
    path = path_in(folder, writer)
    for mask, mode in ((0o077, 0o600), (0o022, 0o644)):
        os.umask(mask)
        writer.write(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.chmod(0o640)
        writer.write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.unlink()


@each_writer
def test_links_are_followed_and_long_names_are_written(folder, writer):
    there, path = folder / "there", path_in(folder, writer)
    path.symlink_to(there)  # which does not exist yet
    for _ in range(2):
        writer.write(path)
        assert path.is_symlink() and there.is_file() and not there.is_symlink()
    if not writer.name:
        long = folder / ("x" * (255 - len(writer.suffix)) + writer.suffix)
        writer.write(long)
        assert long.stat().st_size > 0
        assert "name too long" in refused(writer, long.with_name(f"x{long.name}"))


@each_writer
def test_pipes_and_devices_are_written_through(folder, writer, monkeypatch):
    path = path_in(folder, writer)
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    writer.write(path)
    reader.join()
    assert got[0]
    monkeypatch.setattr("neurosparse.atomic.PATIENCE", 0)
    assert "a pipe that no process reads" in refused(writer, path)
    assert stat.S_ISFIFO(path.lstat().st_mode)
    path.unlink()
    path.symlink_to("/dev/null")
    writer.write(path)
    path.unlink()
    path.symlink_to("/dev/full")
    assert "No space left on device" in refused(writer, path)
    assert stat.S_ISCHR(path.stat().st_mode) and path.is_symlink()


@each_writer
def test_what_cannot_be_written_stays_as_it_was(folder, writer, full_disk):
    path = path_in(folder, writer)
    with full_disk:
        assert "File too large" in refused(writer, path)
    assert not path.exists()
    path.write_bytes(b"old")
    with full_disk:
        assert "File too large" in refused(writer, path)
    assert path.read_bytes() == b"old"
    assert "Not a directory" in refused(writer, path / path.name) or writer.makes_folder
    path.unlink()
    path.mkdir()
    assert "a folder" in refused(writer, path)
    assert "denied" in refused(writer, path_in(Path("/sys/kernel"), writer))  # for every user
    missing = path_in(folder / "missing", writer)
    if writer.makes_folder:
        writer.write(missing)
        assert missing.is_file()
    else:
        with pytest.raises(MissingFileError, match="existing folder"):
            writer.write(missing)
        assert not missing.parent.exists()


def test_the_error_is_one_of_the_operating_system_and_of_input():
    assert issubclass(UnwritableFileError, InputError) and issubclass(UnwritableFileError, OSError)


# ---- nothing writes past the atomic writer

WRITES = (
    "write_text",
    "write_bytes",
    "touch",
    "savefig",
    "save_file",
    "savez",
    "savez_compressed",
    "savetxt",
    "tofile",
)
MOVES = ("replace", "rename", "renames", "copy", "copy2", "copyfile", "move", "mkstemp", "NamedTemporaryFile")
TABLE = {  # the modules of the writers above: a new one is tested there, too
    "events/spool.py", "events/storage.py", "experiments/checkpoint.py", "experiments/classification/store.py",
    "io/_conversion.py", "io/aedat.py",
    "io/dat.py", "io/download.py", "io/evt.py", "io/formats.py",
    "io/nir/data.py", "io/nir/networks.py", "io/nmnist.py", "io/nwb.py", "io/pynapple.py", "io/shd.py",
    "plot/files.py", "report/comparison.py", "report/overview.py", "report/page.py", "report/receptive_fields.py",
    "report/results.py",
    "io/brian2/script.py", "simulate/pynn.py", "simulate/state.py",
}  # fmt: skip
OWN = {"atomic.py"}


def _direct_writes(source: str) -> list[str]:
    """Calls that write a file by themselves; those into a buffer in memory are none."""
    tree = ast.parse(source)
    buffers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target, value in _pairs(node)
        if isinstance(target, ast.Name) and ("BytesIO(" in ast.unparse(value) or "StringIO(" in ast.unparse(value))
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and not (node.args and isinstance(node.args[0], ast.Name) and node.args[0].id in buffers)
        and _writes(node)
    ]


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    owner = name.rpartition(".")[0]
    if last in WRITES or (owner in ("os", "shutil", "tempfile") and last in MOVES):
        return True
    if owner in ("np", "numpy", "torch") and last == "save":
        return True
    if last in ("open", "File", "fdopen", "ZipFile", "TarFile"):
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        modes = [part.value for part in given if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        return any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)
    return False


def test_files_are_written_by_the_atomic_writer_alone():
    places = [*PACKAGE.rglob("*.py"), *PACKAGE.with_name("models").rglob("*.py")]
    sources = {str(path.relative_to(PACKAGE.parent)): path.read_text("utf-8") for path in places}
    direct = {name: found for name, source in sources.items() if (found := _direct_writes(source))}
    assert {name: found for name, found in direct.items() if name.partition("/")[2] not in OWN} == {}
    users = {name.partition("/")[2] for name, source in sources.items() if "neurosparse.atomic import" in source}
    assert users - OWN == TABLE
    assert len(_direct_writes("np.save(path, x); open(path, 'wb'); path.write_text('a'); h5py.File(path, 'w')")) == 4
