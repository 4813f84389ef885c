"""Preprocessing of photographs for sparse coding: whitening, held-out images, and random patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from neurosparse.checks import generator as random_generator
from neurosparse.checks import positive, tensor, whole
from neurosparse.errors import InputError

__all__ = ["hold_out", "patches", "stream", "whiten"]

COLOURS = (3, 4)  # with transparency
Images = TypeVar("Images", Tensor, dict[str, Tensor])


def whiten(images: Images, cutoff: float = 0.4, order: float = 4.0, variance: float | None = None) -> Images:
    """Whiten natural images up to a cutoff: ``R(f) = f exp(-(f / cutoff)^order)``.

    Amplitudes of natural images fall as ``1 / f``, so a ramp makes their spectrum flat; above the cutoff there is more
    noise than image. ``f`` is in cycles per pixel, so that images of any size pass the same filter; for N x N pixels,
    0.4 is ``0.4 N`` cycles per picture. Images are continued periodically: leave out a ``border`` when drawing patches.

    Args:
        images: pixels of one image (height, width), tensor or array, or images by name. Linear, not their logarithm.
        cutoff: cycles per pixel, above 0.
        order: steepness of the cutoff.
        variance: scale all images by one factor, to this mean variance (0.1 in 1996); None: the scale of the filter.

    Returns:
        The same, filtered, as floating-point tensors; the mean of each image is 0.

    Raises:
        InputError: not (height, width), not finite, or all constant and a variance given.

    Example:
        >>> image = whiten(torch.rand(64, 48, generator=torch.Generator().manual_seed(0)), variance=0.1)
        >>> print(f"mean {image.mean().abs():.3f}, variance {image.var(correction=0):.3f}")
        mean 0.000, variance 0.100

    Source: Olshausen & Field (1997), "Sparse coding with an overcomplete basis set", section 4.1.
    """
    where = "images.whiten"
    cutoff, order = positive(where, "cutoff", cutoff), positive(where, "order", order)
    variance = None if variance is None else positive(where, "variance", variance)
    named = images if isinstance(images, Mapping) else {"image": images}
    named = {name: _grey(where, str(name), image) for name, image in named.items()}
    result = _whitened(where, named, cutoff, order, variance)
    return result if isinstance(images, Mapping) else result["image"]  # type: ignore[return-value]


def _whitened(
    where: str, images: Mapping[str, Tensor], cutoff: float, order: float, variance: float | None
) -> dict[str, Tensor]:
    flat = {}
    for name, image in images.items():
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
    return {name: (scale * image).to(images[name].dtype) for name, image in flat.items()}


def hold_out(
    images: Mapping[str, Tensor], n: int, generator: torch.Generator | int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split images into two sets; images and not patches, because patches of one image overlap.

    Args:
        images: by name.
        n: number of images to hold out; at least one is left.
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
    if not isinstance(images, Mapping) or len(images) < 2:
        got = f"{len(images)} images" if isinstance(images, Mapping) else f"images of type {type(images).__name__}"
        raise InputError("images.hold_out", got=got, expected="at least two images by name")
    n = whole("images.hold_out", "n", n, 1, len(images) - 1)
    names = list(images)
    drawn = {
        names[i]
        for i in torch.randperm(len(names), generator=random_generator("images.hold_out", generator))[:n].tolist()
    }
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
        images: one (height, width), several, or several by name; tensors or arrays. An array of three axes is a stack
            of grey images; with 3 or 4 in its first or last axis it is in colour, which is refused: pass a list.
        size: pixels of a side.
        n: number of patches.
        generator: draws the places; an int is a seed.
        border: pixels at every edge that are left out (4 in 1996), because whitening is periodic.
        remove_mean: subtract each patch's own mean.

    Returns:
        (n, size * size), float32.

    Raises:
        InputError: an image smaller than a patch and its borders, in colour, or not finite; another size than a number.

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
    """An endless iterator over batches of `patches`.

    Args:
        images, size, generator, border, remove_mean: as in `patches`.
        batch: patches of a batch.

    Returns:
        An iterator of (batch, size * size), float32. Its only state is ``generator``.

    Raises:
        InputError: as `patches`, at once.

    Example:
        >>> batches = stream({"noise": torch.rand(32, 32)}, size=8, batch=100, remove_mean=True)
        >>> next(batches).shape, bool(next(batches).mean(1).abs().max() < 1e-6)
        (torch.Size([100, 64]), True)
    """
    where = "images.patches"
    fix = "Patches are square: pass the pixels of a side."
    size, batch = whole(where, "size", size, fix=fix), whole(where, "number of patches", batch, 0)
    border = whole(where, "border", border, 0)
    named = {name: _grey(where, name, image) for name, image in _by_name(images).items()}
    if not named:
        raise InputError(where, got="0 images", expected="at least one image")
    for name, image in named.items():
        if min(image.shape) < size + 2 * border:
            got, expected = f"{name} of {tuple(image.shape)} pixels", f"at least {size + 2 * border} on a side"
            raise InputError(where, got=got, expected=expected, fix="Leave it out, or draw smaller patches.")
    return _draws(
        _places(list(named.values()), size, border), size, batch, random_generator(where, generator), remove_mean
    )


class _Places(NamedTuple):
    """All images as one row of pixels; of each: number and pixel of its first place, width, places per row."""

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
    runs = places.pixels.unfold(0, size, 1)  # a view: the row of a patch that begins at each pixel
    down = torch.arange(size)
    while True:
        place = torch.randint(places.total, (batch,), generator=generator)
        image = torch.searchsorted(places.number, place, right=True) - 1
        width, columns, place = places.width[image], places.columns[image], place - places.number[image]
        first = places.pixel[image] + place // columns * width + place % columns
        drawn = runs[first[:, None] + down * width[:, None]].flatten(1)
        yield drawn - drawn.mean(1, keepdim=True) if remove_mean else drawn


def _by_name(images: Any) -> dict[str, Any]:
    if isinstance(images, Mapping):
        return {str(name): image for name, image in images.items()}
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) == 3 and (shape[0] in COLOURS or shape[2] in COLOURS):
        got, fix = f"an array of shape {shape}", "Take the mean over colours; pass several grey images as a list."
        raise InputError(
            "images.patches", got=got, expected="(height, width), or grey images (n, height, width)", fix=fix
        )
    if getattr(images, "ndim", 3) != 3 or not isinstance(images, Iterable) or isinstance(images, str | bytes):
        images = [images]
    return {f"image {i}": image for i, image in enumerate(images)}


def _grey(where: str, name: str, image: Any) -> Tensor:
    """The pixels (height, width) as a floating-point tensor."""
    pixels = tensor(where, name, image, "height, width", "Take the mean over colours.")
    if not pixels.numel():
        raise InputError(where, got=f"{name} {tuple(pixels.shape)}", expected="at least one pixel")
    return pixels
