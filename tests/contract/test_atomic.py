"""The atomic writer: modes, links, pipes, devices, long names, full disks, killed writers."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from neurosparse.atomic import PREFIX, make_folder, write_atomically, write_together, writing
from neurosparse.errors import InputError, MissingFileError, UnwritableFileError

OLD, NEW = b"old content", b"new content"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """Set the umask; the umask before is restored."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask, mask, expected):
    umask(mask)
    write_atomically(tmp_path / "a", NEW)
    assert mode(tmp_path / "a") == expected


@pytest.mark.parametrize("before", [0o640, 0o600, 0o664, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path, umask, before):
    umask(0o022)
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(before)
    write_atomically(path, NEW)
    assert (path.read_bytes(), mode(path)) == (NEW, before)


def test_a_temporary_file_is_never_more_readable_than_the_file_that_it_replaces(tmp_path, umask):
    umask(0o022)
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(0o600)
    with writing(path) as file:
        file.write(NEW)
        (temporary,) = tmp_path.glob(f"{PREFIX}*")
        assert mode(temporary) == 0o600


@pytest.mark.parametrize("exists", [True, False], ids=["link", "dangling link"])
def test_symbolic_links_are_followed(tmp_path, exists):
    (tmp_path / "there").mkdir()
    target, link, second = tmp_path / "there" / "a", tmp_path / "link", tmp_path / "second"
    if exists:
        target.write_bytes(OLD)
    link.symlink_to("there/a")
    second.symlink_to(link)
    write_atomically(second, NEW)
    assert link.is_symlink() and second.is_symlink() and target.read_bytes() == NEW
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "link", "second", "there"]


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UnwritableFileError, match="symbolic links"):
        write_atomically(tmp_path / "a", NEW)


@pytest.mark.parametrize("length", [200, 254, 255])
def test_names_as_long_as_the_file_system_takes(tmp_path, length):
    path = tmp_path / ("é" * (length // 2) + "x" * (length % 2))  # two bytes each
    write_atomically(path, OLD)
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(UnwritableFileError, match="got a folder"):
        write_atomically(tmp_path / "folder", NEW)
    with pytest.raises(UnwritableFileError, match="name too long"):
        write_atomically(tmp_path / ("x" * 256), NEW)
    with pytest.raises(UnwritableFileError, match="Not a directory"):
        write_atomically(tmp_path / "file" / "a", NEW)
    with pytest.raises(MissingFileError, match="existing folder"):
        write_atomically(tmp_path / "missing" / "a", NEW)
    with pytest.raises(UnwritableFileError, match="Not a directory"):
        make_folder(tmp_path / "file" / "a")
    for path in ("", "a\0b", None, 3):
        with pytest.raises(InputError, match="expected (the path of a file|a file that can be written)"):
            write_atomically(path, NEW)  # pyright: ignore[reportArgumentType]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_pipe_is_written_through_or_refused(tmp_path, monkeypatch):
    os.mkfifo(pipe := tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, NEW * 10_000)  # more than a pipe holds
    reader.join()
    assert got == [NEW * 10_000]
    monkeypatch.setattr("neurosparse.atomic.PATIENCE", 0.05)
    with pytest.raises(UnwritableFileError, match="no process reads"):
        write_atomically(pipe, NEW)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_devices_are_written_through():
    write_atomically("/dev/null", NEW)
    with pytest.raises(UnwritableFileError, match="No space left on device"):
        write_atomically("/dev/full", NEW)
    assert all(stat.S_ISCHR(os.stat(path).st_mode) for path in ("/dev/null", "/dev/full"))


def test_standard_output_that_is_a_pipe():
    script = "from neurosparse.atomic import write_atomically; write_atomically('/dev/stdout', b'content')"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"content"


LIMITED = """
import resource, sys
from pathlib import Path
from neurosparse.atomic import {names}
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    {call}
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("exists", [True, False], ids=["over a file", "new"])
@pytest.mark.parametrize(
    "call",
    ["write_atomically('a', bytes(2000))", "write_together({'b': b'short', 'a': bytes(2000)})"],
    ids=["one", "two"],
)
def test_a_full_disk_leaves_what_was_there(tmp_path, call, exists):
    if exists:
        for name in "ab":
            (tmp_path / name).write_bytes(OLD)
    script = LIMITED.format(call=call, names=call.split("(")[0])
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("save: got File too large for a; expected a file that can be written.")
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({"a": OLD, "b": OLD} if exists else {})


def test_an_error_of_the_block_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    for error in (KeyboardInterrupt, FileNotFoundError):
        with pytest.raises(error), writing(tmp_path / "a") as file:
            file.write(NEW)
            raise error
    assert (tmp_path / "a").read_bytes() == OLD and len(list(tmp_path.iterdir())) == 1


KILLED = """
import sys, time
from neurosparse.atomic import writing
with writing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def _half_written(path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == b"written\n"
    return process


def test_the_next_write_removes_what_killed_writers_left_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    running, *killed = [_half_written(tmp_path / "a") for _ in range(3)]
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "a").read_bytes() == OLD and len(list(tmp_path.iterdir())) == 4
    write_atomically(tmp_path / "b", NEW)
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1  # of the process that still runs
    running.kill()
    running.wait()
    write_atomically(tmp_path / "b", NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_many_threads_write_one_file(tmp_path):
    contents = [bytes([k]) * 5000 for k in range(8)]
    stop = time.monotonic() + 0.3

    def write(content: bytes) -> None:
        while time.monotonic() < stop:
            write_atomically(tmp_path / "a", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in contents and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a read-only folder for every user, on Linux")
def test_a_read_only_folder_is_refused():
    with pytest.raises(UnwritableFileError, match="denied|not permitted|Read-only"):
        write_atomically("/sys/kernel/neurosparse", NEW)


def test_files_that_belong_together(tmp_path):
    write_together({tmp_path / "a": OLD, tmp_path / "b": NEW})
    assert (tmp_path / "a").read_bytes() == OLD and (tmp_path / "b").read_bytes() == NEW
    with pytest.raises(UnwritableFileError):
        write_together({tmp_path / "a": NEW, tmp_path: NEW})
    assert (tmp_path / "a").read_bytes() == OLD and len(list(tmp_path.iterdir())) == 2
