"""Energy counters of machines: RAPL of processors (Linux powercap) and NVML of NVIDIA GPUs, in joules.

A counter has a ``name``, a ``resolution`` in joules, and ``read()``: the joules since it was made.
"""

from __future__ import annotations

import importlib
import platform
from pathlib import Path
from typing import Any

import torch

from neurosparse.checks import whole
from neurosparse.errors import InputError

__all__ = ["Nvml", "Rapl", "processor"]

POWERCAP = "/sys/class/powercap"
NO_RAPL = (
    "Run on Linux on an Intel or AMD processor (virtual machines and containers often hide it), or pass a counter."
)
NO_NVML = "Run on an NVIDIA GPU (Volta or later) with nvidia-ml-py installed, or pass another counter."


class Rapl:
    """Running average power limit (RAPL): energy of all processor packages and of their memory.

    ``joules = sum over domains of (energy_uj now - energy_uj before, modulo max_energy_range_uj) * 1e-6``. The domains
    are ``package-*`` and ``dram``. The subdomains ``core`` and ``uncore`` are parts of a package, and ``psys`` contains
    the packages: none of these is added again. A reading undoes one wraparound, so two readings must not be further
    apart than a domain needs for its range (65 kJ or more: minutes).

    Args:
        root: folder of the zones ``intel-rapl:*``, each with ``name, energy_uj, max_energy_range_uj``.

    Raises:
        InputError: no such zone, no permission to read one, a file that holds no number.

    Example:
        >>> Rapl("/no/such/folder")
        Traceback (most recent call last):
        neurosparse.errors.InputError: Rapl: got no zone intel-rapl:* in /no/such/folder; expected an energy counter ...

    Source:
        Linux kernel, Documentation/power/powercap/powercap.rst.
    """

    resolution = 1e-6
    """Of the file ``energy_uj``; the register behind it has steps of 15 or 61 microjoules on most processors."""

    def __init__(self, root: str | Path = POWERCAP):
        folder = Path(root)
        # The kernel lists subdomains twice: beside their package and inside it.
        paths = [*folder.glob("intel-rapl:*"), *folder.glob("intel-rapl:*/intel-rapl:*")]
        zones = {path.name: path for path in paths}
        if not zones:
            got, expected = f"no zone intel-rapl:* in {folder}", "an energy counter of the processor"
            raise InputError("Rapl", got=got, expected=expected, fix=NO_RAPL)
        named = {path: _text(path / "name") for _, path in sorted(zones.items())}
        self._domains = [path for path, name in named.items() if name.startswith("package") or name == "dram"]
        if not self._domains:
            got = f"the zones {', '.join(named.values())} in {folder}"
            raise InputError("Rapl", got=got, expected="one named package-* or dram", fix=NO_RAPL)
        self.name = f"RAPL ({', '.join(named[path] for path in self._domains)})"
        self._ranges = [_number(path / "max_energy_range_uj") for path in self._domains]
        self._last = [_number(path / "energy_uj") for path in self._domains]
        self._microjoules = 0

    def read(self) -> float:
        """Joules since the counter was made, over all domains."""
        now = [_number(path / "energy_uj") for path in self._domains]
        for before, after, span in zip(self._last, now, self._ranges, strict=True):
            self._microjoules += after - before + (span if after < before else 0)
        self._last = now
        return 1e-6 * self._microjoules


class Nvml:
    """NVIDIA Management Library (NVML): energy of one GPU and its memory, from ``nvidia-ml-py``.

    Args:
        index: of the GPU, as torch counts them where torch has CUDA, else as NVML does.

    Raises:
        InputError: no ``nvidia-ml-py``, no driver, no such GPU, a GPU without an energy counter (before Volta, or a
            part of a GPU).

    Example:
        >>> gpu = Nvml(0)  # doctest: +SKIP
        >>> gpu.read()  # doctest: +SKIP
        12.345

    Source:
        NVIDIA Management Library, nvmlDeviceGetTotalEnergyConsumption.
    """

    resolution = 1e-3
    """NVML counts millijoules; most GPUs renew the number every 20 to 100 ms."""

    def __init__(self, index: int = 0):
        index = whole("Nvml", "index", index, 0)
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as error:
            expected = "the library of the GPU's energy counter"
            raise InputError("Nvml", got="no module pynvml", expected=expected, fix=NO_NVML) from error
        self._begun = 0.0
        try:
            self._nvml.nvmlInit()
            if torch.cuda.is_available():
                uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
                self._gpu = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            else:
                self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(index)
            model = self._nvml.nvmlDeviceGetName(self._gpu)
        except self._nvml.NVMLError as error:
            raise _no_gpu(index, error) from error
        self._index = index
        self.name = f"NVML ({model.decode() if isinstance(model, bytes) else model})"
        self._begun = self.read()

    def read(self) -> float:
        """Joules since the counter was made."""
        try:
            return 1e-3 * self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu) - self._begun
        except self._nvml.NVMLError as error:
            raise _no_gpu(self._index, error) from error


def processor() -> str:
    """Name of the processor's model; Linux has it in /proc only.

    Example:
        >>> processor() != ""
        True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), "") or platform.processor() or platform.machine()


def _no_gpu(index: int, error: Exception) -> InputError:
    return InputError("Nvml", got=f"GPU {index}: {error}", expected="a GPU with an energy counter", fix=NO_NVML)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError as error:
        fix = f"Run as root, or once: sudo chmod -R a+r {path.parent}/"
        got, expected = f"no permission to read {path}", "a readable energy counter"
        raise InputError("Rapl", got=got, expected=expected, fix=fix) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        got, expected = f"{path}: {reason}", "a readable energy counter"
        raise InputError("Rapl", got=got, expected=expected, fix=NO_RAPL) from error


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise InputError("Rapl", got=f"{text!r} in {path}", expected="microjoules", fix=NO_RAPL)
    return int(text)
