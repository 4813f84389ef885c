"""Reading event files."""

from __future__ import annotations

from os import PathLike

from neurosparse.events.storage import read
from neurosparse.events.tensor import EventTensor

__all__ = ["load_events"]


def load_events(path: str | PathLike[str]) -> EventTensor:
    """Read events written by :meth:`EventTensor.save`; size, timing, lengths and offsets survive exactly.

    Args:
        path: a safetensors file (``docs/format.md``).

    Raises:
        MissingFileError: no such file.
        InputError: a damaged, truncated or foreign file.

    Example:
        >>> import tempfile, torch
        >>> path = tempfile.mkdtemp() + "/spikes.safetensors"
        >>> EventTensor.from_dense(torch.eye(3)[:, None], dt=1e-3).save(path)
        >>> load_events(path).aer().unit.tolist()
        [0, 1, 2]
    """
    return EventTensor._of(read(path))
