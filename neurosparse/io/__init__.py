"""Files and libraries of others, one module per format; a library is imported only when its format is used.

Recordings of event cameras: ``aedat``, ``dat``, ``evt``, ``nmnist``. Spike trains: ``brian2``, ``neo``, ``nwb``,
``pynapple``, ``shd``, ``tonic``. Networks: ``brian2``, ``nir``, ``norse``, ``snntorch``, ``spikingjelly``. Images and
sound: ``idx``, ``photographs``, ``wav``.

Four modules are no formats: ``files`` reads, writes and converts recordings of every format, and ``formats`` is its
table; ``manifest`` finds the files of a data set on this machine, and ``download`` fetches them.
"""

from typing import Any

from neurosparse.errors import no_attribute
from neurosparse.io import (
    aedat,
    brian2,
    dat,
    download,
    evt,
    files,
    formats,
    idx,
    manifest,
    neo,
    nir,
    nmnist,
    norse,
    nwb,
    photographs,
    pynapple,
    shd,
    snntorch,
    spikingjelly,
    tonic,
    wav,
)

__all__ = [
    "aedat",
    "brian2",
    "dat",
    "download",
    "evt",
    "files",
    "formats",
    "idx",
    "manifest",
    "neo",
    "nir",
    "nmnist",
    "norse",
    "nwb",
    "photographs",
    "pynapple",
    "shd",
    "snntorch",
    "spikingjelly",
    "tonic",
    "wav",
]


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)


def __dir__() -> list[str]:
    return __all__
