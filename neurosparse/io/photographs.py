"""Photographs as grey pixels: files, folders, and the pictures in scikit-learn and scikit-image."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosparse.checks import one_of, whole
from neurosparse.errors import InputError, MissingFileError

__all__ = ["natural_images", "read", "read_folder"]

SKLEARN = ("china", "flower")
SKIMAGE = ("astronaut", "camera", "chelsea", "coffee", "rocket")
ENDINGS = (".jpeg", ".jpg", ".png", ".tif", ".tiff")
LUMINANCE = (0.299, 0.587, 0.114)  # weights of red, green and blue, ITU-R BT.601
FULL = {"u1": 255.0, "u2": 65535.0}


def natural_images(names: Sequence[str] = (*SKLEARN, *SKIMAGE)) -> dict[str, Tensor]:
    """Photographs that are installed with packages; nothing is downloaded.

    Args:
        names: ``"china"`` and ``"flower"`` are part of scikit-learn; ``"astronaut"``, ``"camera"``, ``"chelsea"``,
            ``"coffee"`` and ``"rocket"`` of scikit-image, whose textures (brick, grass, gravel) are left out.

    Returns:
        Grey pixels (height, width), 0 to 1, by name.

    Raises:
        InputError: an unknown name; scikit-image is needed and not installed.

    Example:
        >>> {name: tuple(image.shape) for name, image in natural_images(["china", "flower"]).items()}
        {'china': (427, 640), 'flower': (427, 640)}
    """
    where, known = "io.photographs.natural_images", (*SKLEARN, *SKIMAGE)
    found = {}
    for name in [one_of(where, "name", name, known) for name in names]:
        if name in SKLEARN:
            from sklearn.datasets import load_sample_image

            found[name] = _grey(load_sample_image(f"{name}.jpg"))
            continue
        try:
            from skimage import data
        except ImportError as error:
            fix = 'pip install "neurosparse[images]", or pass names=["china", "flower"].'
            raise InputError(
                where, got=f"{name} without scikit-image", expected="scikit-image to be installed", fix=fix
            ) from error
        found[name] = _grey(getattr(data, name)())
    return found


def read(path: str | PathLike[str]) -> Tensor:
    """Read one picture, in colour or grey, rotated upright by its EXIF data.

    Args:
        path: a PNG, JPEG or TIFF file of 8 or 16 bits, or of floats.

    Returns:
        Grey pixels (height, width): integers scaled to 0..1, floats unchanged. Transparency is ignored.

    Raises:
        MissingFileError: no such file.
        InputError: not a picture, or a damaged one.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 51, 255]], "u1")).save(f"{folder}/a.png")
        ...     read(f"{folder}/a.png")
        tensor([[0.0000, 0.2000, 1.0000]])
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise MissingFileError("io.photographs.read", got=str(path), expected="a picture", fix="Check the path.")
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode not in ("L", "F", "I", "I;16", "I;16B", "I;16L"):
                upright = upright.convert("RGB")
            return _grey(np.asarray(upright))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError("io.photographs.read", got=f"{path.name}: {error}", expected="a picture") from error


def read_folder(folder: str | PathLike[str], largest: int | None = None) -> dict[str, Tensor]:
    """All pictures of a folder, by name without suffix, in the order of names.

    Args:
        folder: of PNG, JPEG or TIFF files.
        largest: pixels of a side; larger pictures are reduced by a whole factor, each pixel the mean of a square.

    Returns:
        As :func:`read`, by name.

    Raises:
        MissingFileError: a folder without pictures.
        InputError: as :func:`read`; two pictures with the same name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.fromarray(np.zeros((4, 6), "u1")).save(f"{folder}/night.png")
        ...     {name: tuple(image.shape) for name, image in read_folder(folder).items()}
        {'night': (4, 6)}
    """
    where = "io.photographs.read_folder"
    largest = None if largest is None else whole(where, "largest", largest)
    paths = sorted(path for path in Path(folder).expanduser().glob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        expected = f"files ending in {', '.join(ENDINGS)}"
        raise MissingFileError(where, got=f"no picture in {folder}", expected=expected, fix="Check the path.")
    if len({path.stem for path in paths}) < len(paths):
        raise InputError(where, got=f"two pictures of one name in {folder}", expected="different names")
    return {path.stem: _reduced(read(path), largest) for path in paths}


def _reduced(image: Tensor, largest: int | None) -> Tensor:
    factor = 1 if largest is None else -(-max(image.shape) // largest)
    return F.avg_pool2d(image[None], factor)[0] if factor > 1 else image


def _grey(pixels: np.ndarray) -> Tensor:
    full = FULL.get(pixels.dtype.str[1:], 1.0)
    values = pixels.astype(np.float64) / full
    return torch.from_numpy(values @ LUMINANCE if values.ndim == 3 else values).float()
