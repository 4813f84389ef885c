"""From photographs to what sparse coders learn from: whitened images, split by image, and random patches of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from neurosparse.errors import InputError

__all__ = ["hold_out", "patches", "stream", "whiten"]

Images = TypeVar("Images", Tensor, dict[str, Tensor])


def whiten(images: Images, cutoff: float = 0.4, order: float = 4.0, variance: float | None = None) -> Images:
    """Flatten the spectrum of natural images, up to a cutoff: ``R(f) = f exp(-(f / cutoff)^order)``.

    Amplitudes of natural images fall as ``1 / f``, so a ramp makes them level; beyond the cutoff there is more noise
    than image. ``f`` is in cycles a pixel, so that images of any size and shape pass the same filter; of N x N pixels,
    0.4 is ``0.4 N`` cycles a picture. The image is continued periodically: leave out a ``border`` when drawing patches.

    Args:
        images: pixels of one image (height, width), or images by name. As recorded: not their logarithm.
        cutoff: cycles a pixel, above 0.
        order: how steeply it cuts.
        variance: scale all images by one factor, to this mean variance (0.1 in 1996); None: leave the filter's scale.

    Returns:
        The same, filtered, floating point; the mean of each image is 0.

    Raises:
        InputError: not (height, width), not finite, or all flat where a variance is wanted.

    Example:
        >>> image = whiten(torch.rand(64, 48, generator=torch.Generator().manual_seed(0)), variance=0.1)
        >>> print(f"mean {image.mean().abs():.3f}, variance {image.var(correction=0):.3f}")
        mean 0.000, variance 0.100

    Source: Olshausen & Field (1997), "Sparse coding with an overcomplete basis set", section 4.1.
    """
    if not (cutoff > 0 and order > 0 and (variance is None or variance > 0)):
        got = f"cutoff={cutoff}, order={order}, variance={variance}"
        raise InputError("images.whiten", got=got, expected="numbers above 0")
    if isinstance(images, Tensor):
        return _whitened("images.whiten", {"image": images}, cutoff, order, variance)["image"]
    return _whitened("images.whiten", images, cutoff, order, variance)


def _whitened(
    where: str, images: Mapping[str, Tensor], cutoff: float, order: float, variance: float | None
) -> dict[str, Tensor]:
    flat = {}
    for name, image in images.items():
        _check(where, name, image)
        f = torch.hypot(
            torch.fft.fftfreq(image.shape[0], dtype=torch.float64)[:, None],
            torch.fft.rfftfreq(image.shape[1], dtype=torch.float64),
        ).to(image.device)
        spectrum = torch.fft.rfft2(image.double()) * f * torch.exp(-((f / cutoff) ** order))
        flat[name] = torch.fft.irfft2(spectrum, s=image.shape)
    scale = 1.0
    if variance is not None:
        mean = sum(float(image.square().mean()) for image in flat.values()) / max(len(flat), 1)
        if not mean > 0:
            raise InputError(where, got="images without contrast", expected="a variance to scale", fix="Leave it out.")
        scale = (variance / mean) ** 0.5
    dtypes = {name: image.dtype if image.is_floating_point() else torch.float32 for name, image in images.items()}
    return {name: (scale * image).to(dtypes[name]) for name, image in flat.items()}


def hold_out(
    images: Mapping[str, Tensor], n: int, generator: torch.Generator | int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split images, not patches, in two: patches of one image overlap, so they may not stand on both sides.

    Args:
        images: by name.
        n: how many to hold out, at least one on each side.
        generator: draws them; an int is a seed.

    Returns:
        Images to learn from, and images held out.

    Raises:
        InputError: n out of range.

    Example:
        >>> train, held_out = hold_out({"a": torch.zeros(8, 8), "b": torch.ones(8, 8), "c": torch.ones(8, 8)}, 1)
        >>> len(train), len(held_out), sorted(train | held_out)
        (2, 1, ['a', 'b', 'c'])
    """
    if not 1 <= n < len(images):
        expected = f"1 to {len(images) - 1} of {len(images)} images"
        raise InputError("images.hold_out", got=f"n={n}", expected=expected)
    names = list(images)
    drawn = {names[i] for i in torch.randperm(len(names), generator=_generator(generator))[:n].tolist()}
    train = {name: image for name, image in images.items() if name not in drawn}
    return train, {name: image for name, image in images.items() if name in drawn}


def patches(
    images: Tensor | Iterable[Tensor] | Mapping[str, Tensor],
    size: int,
    n: int,
    generator: torch.Generator | int = 0,
    *,
    border: int = 0,
    remove_mean: bool = False,
) -> Tensor:
    """Random square patches, every place in every image as likely as any other.

    Args:
        images: one (height, width), several, or several by name.
        size: pixels of a side.
        n: how many patches.
        generator: draws the places; an int is a seed.
        border: pixels at every edge that no patch may touch (4 in 1996): whitening wraps around.
        remove_mean: subtract each patch's own mean.

    Returns:
        (n, size * size), float32.

    Raises:
        InputError: an image smaller than a patch and its borders, in colour, or not finite.

    Example:
        >>> rows = torch.arange(100.0).view(10, 10)
        >>> patches(rows, size=2, n=3).diff(dim=1)
        tensor([[1., 9., 1.],
                [1., 9., 1.],
                [1., 9., 1.]])
    """
    return next(stream(images, size, n, generator, border=border, remove_mean=remove_mean))


def stream(
    images: Tensor | Iterable[Tensor] | Mapping[str, Tensor],
    size: int,
    batch: int,
    generator: torch.Generator | int = 0,
    *,
    border: int = 0,
    remove_mean: bool = False,
) -> Iterator[Tensor]:
    """Batches of `patches` without end.

    Args:
        images, size, generator, border, remove_mean: as in `patches`.
        batch: patches of a batch.

    Returns:
        An iterator of (batch, size * size), float32. All it remembers is ``generator``.

    Raises:
        InputError: as `patches`, at once.

    Example:
        >>> batches = stream({"noise": torch.rand(32, 32)}, size=8, batch=100, remove_mean=True)
        >>> next(batches).shape, bool(next(batches).mean(1).abs().max() < 1e-6)
        (torch.Size([100, 64]), True)
    """
    where = "images.patches"
    named = _by_name(images)
    if not named or not (size >= 1 and batch >= 0 and border >= 0):
        got = f"{len(named)} images, size={size}, patches={batch}, border={border}"
        raise InputError(where, got=got, expected="at least one image and size, none below 0")
    for name, image in named.items():
        _check(where, name, image)
        if min(image.shape) < size + 2 * border:
            got, expected = f"{name} of {tuple(image.shape)} pixels", f"at least {size + 2 * border} on a side"
            raise InputError(where, got=got, expected=expected, fix="Leave it out, or draw smaller patches.")
    return _draws(_places(list(named.values()), size, border), size, batch, _generator(generator), remove_mean)


class _Places(NamedTuple):
    """All images in one row of pixels; of each: number and pixel of its first place, width, places a row."""

    pixels: Tensor
    total: int
    number: Tensor
    pixel: Tensor
    width: Tensor
    columns: Tensor


def _places(images: list[Tensor], size: int, border: int) -> _Places:
    height, width = (torch.tensor([image.shape[axis] for image in images]) for axis in (0, 1))
    rows, columns = (side - size - 2 * border + 1 for side in (height, width))
    number, pixel = ((area.cumsum(0) - area) for area in (rows * columns, height * width))
    pixels = torch.cat([image.detach().float().cpu().flatten() for image in images])
    return _Places(pixels, int((rows * columns).sum()), number, pixel + border * width + border, width, columns)


def _draws(places: _Places, size: int, batch: int, generator: torch.Generator, remove_mean: bool) -> Iterator[Tensor]:
    runs = places.pixels.unfold(0, size, 1)  # a view: what a patch's row that begins at each pixel holds
    down = torch.arange(size)
    while True:
        place = torch.randint(places.total, (batch,), generator=generator)
        image = torch.searchsorted(places.number, place, right=True) - 1
        width, columns, place = places.width[image], places.columns[image], place - places.number[image]
        first = places.pixel[image] + place // columns * width + place % columns
        drawn = runs[first[:, None] + down * width[:, None]].flatten(1)
        yield drawn - drawn.mean(1, keepdim=True) if remove_mean else drawn


def _by_name(images: Tensor | Iterable[Tensor] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(images, Mapping):
        return {str(name): image for name, image in images.items()}
    several = [images] if isinstance(images, Tensor) and images.dim() != 3 else list(images)
    return {f"image {i}": image for i, image in enumerate(several)}


def _check(where: str, name: str, image: Tensor) -> None:
    if not (isinstance(image, Tensor) and image.dim() == 2 and image.numel()):
        got = f"{name} of shape {tuple(getattr(image, 'shape', ()))}"
        fix = "Take the mean over colours."
        raise InputError(where, got=got, expected="grey pixels (height, width)", fix=fix)
    if not bool(image.isfinite().all()):
        raise InputError(where, got=f"NaN or infinity in {name}", expected="finite pixels", fix="Mask or fill them.")


def _generator(seed: torch.Generator | int) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
