"""Manifests: those of ``datasets`` are well formed; malformed ones are refused in one sentence."""

from pathlib import Path

import pytest

from neurosparse.errors import InputError, MissingFileError
from neurosparse.io.download import is_sound
from neurosparse.io.manifest import DataFile, Manifest, locate, read_manifest

MANIFESTS = sorted((Path(__file__).parents[2] / "datasets").glob("*/manifest.toml"))
DATASET = '[dataset]\nname = "toy"\ntitle = "Toy"\nlicence = "CC0"\ncitation = "none"\n'
FILE = f'[[file]]\nname = "x.gz"\nurl = "http://localhost/x.gz"\nsha256 = "{"0" * 64}"\nbytes = 3\n'


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_manifests_of_the_project_are_well_formed(path):
    manifest = read_manifest(path)
    assert manifest.name == path.parent.name
    assert manifest.citation.strip().startswith("@")
    assert (path.parent / "README.md").is_file()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[dataset", "TOML"),
        ("[dataset]\nname = 'toy'\nsource = 'sklearn:load_digits'", "no title, no licence, no citation"),
        (DATASET, "either a source or files"),
        (DATASET + "source = 'sklearn:load_digits'\n" + FILE, "either a source or files"),
        (DATASET + "colour = 'red'\n" + FILE, "got colour"),
        (DATASET + FILE.replace("x.gz", "../x.gz", 1), "got name"),
        (DATASET + FILE.replace("bytes = 3", "bytes = -3"), "got bytes"),
        (DATASET + FILE.replace("http:", "file:"), "got url"),
        (DATASET + FILE + "[extra]\n", "other tables"),
        ("file = 3\n" + DATASET, "other tables"),
    ],
)
def test_malformed_manifests_are_refused(tmp_path, text, complaint):
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_manifest(path)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no file at"):
        read_manifest(tmp_path / "manifest.toml")


def _toy(*folders: Path) -> Manifest:
    files = (DataFile("a", "http://localhost/a", "", 0), DataFile("b", "http://localhost/b", "", 0))
    return Manifest("toy", "Toy", "CC0", "none", folders=tuple(map(str, folders)), files=files, package="Debian's toy")


def _fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_the_first_complete_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NEUROSPARSE_DATA", str(tmp_path / "data"))
    system = _fill(tmp_path / "system", "a", "b")
    assert locate(_toy(system))["a"].parent == system
    half = _fill(tmp_path / "data" / "toy", "a")
    assert locate(_toy(system))["a"].parent == system, "files of two folders are not mixed"
    (half / "b").touch()
    assert locate(_toy(system))["b"].parent == half


def test_the_error_of_a_missing_data_set_names_both_ways_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NEUROSPARSE_DATA", raising=False)
    with pytest.raises(MissingFileError, match=r"neurosparse fetch toy`, or install Debian's toy"):
        locate(_toy())
    with pytest.raises(MissingFileError, match="elsewhere"):
        locate(_toy(_fill(tmp_path / "system", "a", "b")), root=tmp_path / "elsewhere")


def test_fashion_mnist_of_debian_has_the_published_checksums():
    manifest = read_manifest(next(path for path in MANIFESTS if path.parent.name == "fashion-mnist"))
    try:
        paths = locate(manifest)
    except MissingFileError as error:
        pytest.skip(str(error))
    assert all(is_sound(paths[file.name], file) for file in manifest.files)
