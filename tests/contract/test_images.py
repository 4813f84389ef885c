"""Patches of images: their places and probabilities, streams, held-out images; files of photographs."""

import sys
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

import neurosparse as ns
from neurosparse.coding.images import hold_out, patches, stream
from neurosparse.errors import MissingFileError
from neurosparse.io.photographs import natural_images, read, read_folder


def _numbered(height: int, width: int, first: int = 0) -> torch.Tensor:
    """Every pixel says where it is."""
    return first + torch.arange(float(height * width)).view(height, width)


@pytest.mark.parametrize("border", [0, 2])
def test_a_patch_is_a_square_of_one_image(border):
    images = {"a": _numbered(12, 9), "b": _numbered(10, 15, first=1000)}
    for patch in patches(images, 4, 500, border=border).view(-1, 4, 4):
        image = images["b" if patch[0, 0] >= 1000 else "a"]
        row, column = (image == patch[0, 0]).nonzero()[0].tolist()
        assert row >= border and column >= border
        assert row + 4 <= image.shape[0] - border and column + 4 <= image.shape[1] - border
        assert torch.equal(patch, image[row : row + 4, column : column + 4])


def test_every_place_is_equally_likely():
    """12 places in one image and 15 in the other; 2700 draws, 100 of each, within five standard deviations."""
    images = [_numbered(6, 5), _numbered(7, 5, first=100)]
    drawn = patches(images, 3, 2700, 7)[:, 0]
    places, times = drawn.unique(return_counts=True)
    assert len(places) == 4 * 3 + 5 * 3
    assert (times - 100).abs().max() < 50


def test_a_stream_is_its_generator():
    image, seed = torch.rand(30, 30), torch.Generator().manual_seed(3)
    batches = list(islice(stream(image, 5, 20, 3), 3))
    for batch in batches:
        assert torch.equal(batch, patches(image, 5, 20, seed))
    assert not torch.equal(batches[0], batches[1])
    resumed = torch.Generator()
    seed = torch.Generator().manual_seed(3)
    patches(image, 5, 20, seed)
    resumed.set_state(seed.get_state())
    assert torch.equal(next(stream(image, 5, 20, resumed)), batches[1])


def test_patches_without_their_mean():
    image = torch.rand(30, 30, dtype=torch.float64)
    plain, centred = patches(image, 6, 50, 1), patches(image, 6, 50, 1, remove_mean=True)
    assert plain.dtype == centred.dtype == torch.float32
    torch.testing.assert_close(centred, plain - plain.mean(1, keepdim=True))


def test_images_are_held_out_whole():
    images = {name: torch.zeros(3, 3) for name in "abcdef"}
    train, held_out = hold_out(images, 2, 5)
    assert len(held_out) == 2 and set(train) | set(held_out) == set(images) and not set(train) & set(held_out)
    assert {tuple(hold_out(images, 2, seed)[1]) for seed in range(20)} > {tuple(held_out)}
    for n in (0, 6):
        with pytest.raises(ns.InputError, match="1 to 5"):
            hold_out(images, n)


@pytest.mark.parametrize(
    ("images", "options", "match"),
    [
        (torch.rand(7, 20), {"size": 8}, "image 0 of .7, 20. pixels; expected at least 8"),
        ({"sky": torch.rand(9, 9)}, {"size": 8, "border": 1}, "sky of .9, 9. pixels; expected at least 10"),
        ([torch.rand(9, 9, 3)], {"size": 4}, "expected numbers .height, width.. Take the mean over colours"),
        ([torch.rand(9, 9), torch.rand(9, 9).log().sqrt()], {"size": 4}, "NaN or infinity in image 1"),
        ({}, {"size": 4}, "0 images"),
        (torch.rand(9, 9), {"size": 0}, "size=0"),
    ],
)
def test_what_no_patch_can_come_from(images, options, match):
    with pytest.raises(ns.InputError, match=match):
        stream(images, batch=10, **options)


def test_photographs_that_packages_carry():
    images = natural_images()
    assert list(images) == ["china", "flower", "astronaut", "camera", "chelsea", "coffee", "rocket"]
    for image in images.values():
        assert image.dim() == 2 and image.dtype == torch.float32
        assert 0 <= image.min() < 0.1 and 0.6 < image.max() <= 1
    with pytest.raises(ns.InputError, match="got name='brick'; expected one of"):
        natural_images(["brick"])


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert list(natural_images(["china", "flower"])) == ["china", "flower"]
    with pytest.raises(ns.InputError, match=r"pip install .neurosparse\[images\]"):
        natural_images()


COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [51, 51, 51]]], np.uint8)
GREY = torch.tensor([[0.299, 0.587], [0.114, 0.2]])


def test_pictures_become_grey(tmp_path):
    rgb = Image.fromarray(COLOUR)
    rgb.save(tmp_path / "rgb.png")
    rgb.convert("RGBA").save(tmp_path / "rgba.png")
    rgb.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.tif")
    for name, picture in read_folder(tmp_path).items():
        torch.testing.assert_close(picture, GREY, msg=name)
    Image.fromarray((np.array([[0, 1, 65535]])).astype(np.uint16)).save(tmp_path / "deep.png")
    assert read(tmp_path / "deep.png").tolist() == [[0.0, pytest.approx(1 / 65535), 1.0]]
    Image.fromarray(np.array([[-1.5, 7.0]], np.float32)).save(tmp_path / "float.tif")
    assert read(tmp_path / "float.tif").tolist() == [[-1.5, 7.0]]


def test_pictures_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, a quarter turn to the right of how it was stored
    Image.fromarray(np.array([[0, 255], [0, 0], [0, 0]], np.uint8)).save(tmp_path / "turned.png", exif=exif)
    assert read(tmp_path / "turned.png").tolist() == [[0, 0, 0], [0, 0, 1]]


def test_what_is_no_picture(tmp_path):
    with pytest.raises(MissingFileError, match="no picture in"):
        read_folder(tmp_path)
    with pytest.raises(MissingFileError, match=r"absent\.png"):
        read(tmp_path / "absent.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(ns.InputError, match=r"broken\.png"):
        read(tmp_path / "broken.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "half.jpg")
    content = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(ns.InputError, match=r"half\.jpg"):
        read(tmp_path / "half.jpg")
    for ending in ("png", "tif"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / f"twice.{ending}")
    with pytest.raises(ns.InputError, match="two pictures of one name"):
        read_folder(tmp_path)
