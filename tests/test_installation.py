"""The wheel and the editable install: what becomes importable, and from which folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

import neurosparse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neurosparse"


def test_models_and_datasets_are_no_packages():
    assert not [*ROOT.glob("models/**/__init__.py"), *ROOT.glob("datasets/**/__init__.py")]
    script = (
        "from importlib import import_module, util\n"
        "for name in ('models', 'datasets', 'tests', 'neurosparse'):\n"
        "    found = util.find_spec(name) and import_module(name)\n"
        "    print(name, *getattr(found, '__path__', []))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", check=True).stdout
    assert [line.split()[0] for line in found.splitlines() if str(ROOT) in line] == ["neurosparse"]


def _checkout(path: Path) -> Path:
    left_out = (".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "notebooks")
    copytree(ROOT, path, ignore=ignore_patterns(*left_out))
    return path


@pytest.mark.slow
def test_the_folder_above_a_checkout_does_not_hide_the_editable_install(tmp_path):
    checkout, site = _checkout(tmp_path / "neurosparse"), tmp_path / "site"
    script = "import sys; sys.path.insert(0, 'install'); import editable; editable.build_editable(sys.argv[1])"
    options: dict[str, Any] = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=checkout, **options)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    script = "import neurosparse, neurosparse.events as events\n"
    script += "print(neurosparse.__file__, events.__file__, neurosparse.EventTensor is events.EventTensor)"
    environment = os.environ | {"PYTHONPATH": str(site)}
    for folder in (tmp_path, checkout, Path("/")):
        found = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, **options).stdout.split()
        inside = [str(checkout / "neurosparse" / part) for part in ("__init__.py", "events/__init__.py")]
        assert found == [*inside, "True"], folder


@pytest.mark.slow
def test_the_wheel_holds_neurosparse_alone(tmp_path):
    copy = _checkout(tmp_path / "copy")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"neurosparse", f"neurosparse-{neurosparse.__version__}.dist-info"}
    shipped = {
        file.relative_to(ROOT).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert shipped <= set(names), "a file of the package is missing from the wheel"
