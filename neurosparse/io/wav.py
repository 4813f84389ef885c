"""wav: uncompressed sound files as waveforms."""

from __future__ import annotations

import wave
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurosparse.errors import InputError, MissingFileError

__all__ = ["Sound", "read", "read_folder"]

WIDTHS = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}


class Sound(NamedTuple):
    """A waveform ``(samples)``, -1 to 1, and its rate in hertz."""

    waveform: Tensor
    rate: int


def read(path: str | PathLike[str]) -> Sound:
    """Read a wav file; the channels are averaged.

    Args:
        path: a file with samples of 8, 16 or 32 bits.

    Returns:
        A :class:`Sound`.

    Raises:
        MissingFileError: no such file.
        InputError: not a wav file, or a compressed one.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with wave.open(f"{folder}/a.wav", "wb") as file:
        ...         file.setparams((1, 2, 8000, 2, "NONE", ""))
        ...         file.writeframes(np.array([0, 16384], "<i2").tobytes())
        ...     read(f"{folder}/a.wav")
        Sound(waveform=tensor([0.0000, 0.5000]), rate=8000)
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError("io.wav.read", got=str(path), expected="a wav file", fix="Check the path.")
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.getnframes()
            data = file.readframes(frames)
    except (wave.Error, EOFError) as error:
        raise InputError("io.wav.read", got=f"{path.name}: {error}", expected="an uncompressed wav file") from error
    if width not in WIDTHS or len(data) % (width * channels):
        got = f"{path.name} with samples of {8 * width} bits and {len(data)} bytes"
        raise InputError("io.wav.read", got=got, expected="whole samples of 8, 16 or 32 bits")
    if len(data) != frames * width * channels:
        got, fix = f"{path.name} with {len(data) // (width * channels)} of {frames} samples", "The file is cut off."
        raise InputError("io.wav.read", got=got, expected="as many samples as its header states", fix=fix)
    samples = np.frombuffer(data, WIDTHS[width]).astype(np.float64)
    samples = (samples - 128) / 128 if width == 1 else samples / 2.0 ** (8 * width - 1)
    return Sound(torch.from_numpy(samples.reshape(-1, channels).mean(1)).float(), rate)


def read_folder(folder: str | PathLike[str]) -> dict[str, Sound]:
    """All wav files of a folder, by name without ``.wav``, in the order of names.

    Args:
        folder: of the files.

    Raises:
        MissingFileError: a folder without wav files.
        InputError: as :func:`read`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with wave.open(f"{folder}/seven.wav", "wb") as file:
        ...         file.setparams((1, 2, 8000, 1, "NONE", ""))
        ...         file.writeframes(np.array([16384], "<i2").tobytes())
        ...     read_folder(folder)
        {'seven': Sound(waveform=tensor([0.5000]), rate=8000)}
    """
    paths = sorted(Path(folder).expanduser().glob("*.wav"))
    if not paths:
        raise MissingFileError(
            "io.wav.read_folder", got=f"no wav file in {folder}", expected="wav files", fix="Check the path."
        )
    return {path.stem: read(path) for path in paths}
