"""Measured energy: RAPL on a made tree of sysfs, NVML as a made module, and a contract over all counters."""

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurosparse as ns
from neurosparse.energy.counters import Nvml, Rapl
from neurosparse.energy.estimate import EnergyReport, ratio
from neurosparse.energy.measured import measured
from neurosparse.energy.verdict import verdict
from neurosparse.errors import InputError

RANGE = 262_143_328_850
WATTS = 40.0
SERVER = {  # two packages with parts of theirs, memory beside them, and the platform, which contains the packages
    "intel-rapl:0": ("package-0", 100),
    "intel-rapl:0:0": ("core", 10),
    "intel-rapl:0:1": ("uncore", 20),
    "intel-rapl:0:2": ("dram", 1_000),
    "intel-rapl:1": ("package-1", 10_000),
    "intel-rapl:1:0": ("dram", 100_000),
    "intel-rapl:2": ("psys", 1_000_000),
}
COUNTED = ("intel-rapl:0", "intel-rapl:0:2", "intel-rapl:1", "intel-rapl:1:0")


def tree(root: Path, zones: dict[str, tuple[str, int]], span: int = RANGE, nested: bool = False) -> Path:
    """Zones side by side as in /sys/class/powercap, or each inside its package as in /sys/devices."""
    for zone, (name, microjoules) in zones.items():
        part = zone.count(":") == 2 and nested
        folder = root / zone.rpartition(":")[0] / zone if part else root / zone
        folder.mkdir(parents=True)
        for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", span)):
            (folder / file).write_text(f"{value}\n")
    return root


def write(root: Path, zone: str, microjoules: int) -> None:
    (root / zone / "energy_uj").write_text(f"{microjoules}\n")


class Steady:
    """Rises by the clock alone; ``extra`` are joules of calls."""

    name, resolution, extra = "steady", 1e-9, 0.0

    def read(self) -> float:
        return WATTS * time.perf_counter() + self.extra


class SteadyRapl(Rapl):
    """RAPL over a tree whose only package rises by the clock."""

    def read(self) -> float:
        write(self._domains[0].parent, "intel-rapl:0", int(1e6 * WATTS * time.perf_counter()) % self._ranges[0])
        return super().read()


def nvml(monkeypatch: pytest.MonkeyPatch, **functions) -> Any:
    made: Any = ModuleType("pynvml")
    made.NVMLError = type("NVMLError", (Exception,), {})
    made.nvmlInit = lambda: None
    made.nvmlDeviceGetHandleByIndex = lambda index: ("gpu", index)
    made.nvmlDeviceGetHandleByUUID = lambda uuid: ("gpu", uuid)
    made.nvmlDeviceGetName = lambda gpu: b"Example 100"
    made.nvmlDeviceGetTotalEnergyConsumption = lambda gpu: int(1e3 * WATTS * time.perf_counter())
    for name, function in functions.items():
        setattr(made, name, function)
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


# ---- RAPL


@pytest.mark.parametrize("nested", [False, True])
def test_packages_and_memory_are_added_and_their_parts_are_not(tmp_path, nested):
    root = tree(tmp_path, SERVER, nested=nested)
    counter = Rapl(root)
    assert counter.name == "RAPL (package-0, dram, package-1, dram)"
    assert counter.read() == 0
    for zone, (name, before) in SERVER.items():
        folder = next(path for path in (root / zone, root / zone.rpartition(":")[0] / zone) if path.exists())
        (folder / "energy_uj").write_text(f"{before + int(name[0] == 'p' or name == 'dram') * 7 * before}\n")
    assert counter.read() == pytest.approx(7e-6 * sum(SERVER[zone][1] for zone in COUNTED), rel=1e-12)


def test_zones_listed_twice_as_by_the_kernel_count_once(tmp_path):
    devices = tree(tmp_path / "devices", SERVER, nested=True)
    root = tmp_path / "powercap"
    root.mkdir()
    for zone in SERVER:
        inside = devices / zone.rpartition(":")[0] / zone if zone.count(":") == 2 else devices / zone
        (root / zone).symlink_to(inside)
    assert Rapl(root).name == "RAPL (package-0, dram, package-1, dram)"


def test_other_control_types_are_left_out(tmp_path):
    tree(tmp_path, {"intel-rapl:0": ("package-0", 5), "intel-rapl-mmio:0": ("package-0", 5)})
    assert Rapl(tmp_path).name == "RAPL (package-0)"


def test_drawn_increments_add_up_through_wraparounds(tmp_path):
    random = np.random.default_rng(0)
    for case in range(40):
        span, n = int(random.integers(10, 10**12)), int(random.integers(1, 4))
        values = random.integers(0, span, n)
        zones = {f"intel-rapl:{i}": (f"package-{i}", int(value)) for i, value in enumerate(values)}
        root = tree(tmp_path / str(case), zones, span)
        counter, total = Rapl(root), 0
        for _ in range(6):
            for i in range(n):
                step = int(random.integers(0, span))
                total += step
                values[i] = (values[i] + step) % span
                write(root, f"intel-rapl:{i}", int(values[i]))
            assert counter.read() == pytest.approx(1e-6 * total, rel=1e-12)


def test_no_counter_is_said_in_one_sentence(tmp_path):
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"Rapl: got no zone intel-rapl:\* in .*; expected .* Run on Linux"):
            Rapl(root)
    tree(tmp_path, {"intel-rapl:0": ("psys", 1)})
    with pytest.raises(InputError, match="got the zones psys"):
        Rapl(tmp_path)


def test_a_counter_without_permission_is_said_with_what_to_do(tmp_path, monkeypatch):
    root = tree(tmp_path, SERVER)
    read_text = Path.read_text

    def refuse(path: Path, *args, **options) -> str:
        if path == root / "intel-rapl:1:0" / "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match=r"no permission to read .*intel-rapl:1:0/energy_uj; expected .* sudo chmod"):
        Rapl(root)


@pytest.mark.parametrize("zone", ["intel-rapl:0", "intel-rapl:1:0"])
@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj"])
def test_a_domain_that_cannot_be_read_is_refused_at_the_start_and_later(tmp_path, zone, file):
    path = tree(tmp_path, SERVER) / zone / file
    counter = Rapl(tmp_path)
    path.write_text("-7 or so\n")
    with pytest.raises(InputError, match="got '-7 or so' in .*; expected microjoules"):
        Rapl(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=f"{file}: No such file"):
        Rapl(tmp_path)
    path.mkdir()
    with pytest.raises(InputError, match=f"{file}: Is a directory"):
        Rapl(tmp_path)
    if file == "energy_uj":
        with pytest.raises(InputError, match="Is a directory"):
            counter.read()


def test_parts_of_a_package_need_not_be_readable(tmp_path):
    tree(tmp_path, SERVER)
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("?")
    assert Rapl(tmp_path).read() == 0


# ---- NVML


def test_nvml_counts_millijoules_from_its_start(monkeypatch):
    values = iter([5_000_000, 5_000_250, 5_001_500])
    nvml(monkeypatch, nvmlDeviceGetTotalEnergyConsumption=lambda gpu: next(values))
    counter = Nvml(3)
    assert counter.name == "NVML (Example 100)" and counter.resolution == 1e-3
    assert [counter.read(), counter.read()] == pytest.approx([0.25, 1.5])


def test_no_library_no_driver_and_no_energy_counter_are_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(InputError, match="got no module pynvml; expected .* nvidia-ml-py"):
        Nvml()

    def refuse(*_):
        raise sys.modules["pynvml"].NVMLError("Not Supported")

    for name in ("nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetTotalEnergyConsumption"):
        nvml(monkeypatch, **{name: refuse})
        with pytest.raises(InputError, match="got GPU 0: Not Supported; expected a GPU with an energy counter"):
            Nvml()


# ---- the contract of a counter


COUNTERS = {
    "rapl": lambda folder, patch: SteadyRapl(tree(folder, {"intel-rapl:0": ("package-0", 0)}, span=40_000_000)),
    "nvml": lambda folder, patch: nvml(patch) and Nvml(),
    "any object": lambda folder, patch: Steady(),
}


@pytest.mark.parametrize("kind", COUNTERS)
def test_a_steady_power_is_the_joules_over_the_seconds(kind, tmp_path, monkeypatch):
    counter = COUNTERS[kind](tmp_path, monkeypatch)
    assert counter.name and 0 < counter.resolution < 0.01
    readings = [counter.read() for _ in range(100)]
    assert readings == sorted(readings)

    net = nn.Linear(50, 50)
    found = measured(net, torch.zeros(10, 50), seconds=0.02, repeats=3, counter=counter)
    assert found.counter == counter.name and found.resolution == counter.resolution and found.device
    assert len(found.joules.runs) == len(found.seconds.runs) == 3 and found.calls > 1
    assert found.joules.mean == pytest.approx(np.mean(found.joules.runs))
    assert found.joules.sd == pytest.approx(np.std(found.joules.runs, ddof=1))
    watts = np.divide(found.joules.runs, found.seconds.runs)
    assert np.median(watts) == pytest.approx(WATTS, rel=0.1)
    assert min(found.idle_watts) == pytest.approx(WATTS, rel=0.1)
    for text in (repr(found), found._repr_html_()):
        assert counter.name in text and "J per call" in text and "W before" in text


def test_a_counter_that_wraps_around_often_is_read_during_a_run(tmp_path, monkeypatch):
    span = int(1e6 * WATTS * 0.1)  # in a tenth of a second; a run lasts half a second
    monkeypatch.setattr(sys.modules[measured.__module__], "WRAPS", 0.01)
    counter = SteadyRapl(tree(tmp_path, {"intel-rapl:0": ("package-0", 0)}, span))
    found = measured(time.sleep, 1e-3, seconds=0.5, repeats=3, counter=counter)
    assert np.median(np.divide(found.joules.runs, found.seconds.runs)) == pytest.approx(WATTS, rel=0.1)
    assert max(found.idle_watts) == pytest.approx(WATTS, rel=0.1)


def test_idle_power_stands_beside_and_is_subtracted_on_demand_only():
    counter = Steady()

    def work() -> None:
        time.sleep(1e-3)
        counter.extra += 2.0

    found = measured(work, seconds=0.05, repeats=3, counter=counter)
    assert found.joules.mean > 2.0
    assert found.above_idle.mean == pytest.approx(2.0, rel=0.05)
    assert len(found.above_idle.runs) == 3


def test_a_run_lasts_many_updates_of_a_slow_counter():
    class Slow(Steady):
        def read(self) -> float:
            return WATTS * (time.perf_counter() // 2e-3) * 2e-3

    found = measured(torch.exp, torch.zeros(10), seconds=1e-6, repeats=2, counter=Slow())
    assert found.period >= 1e-3
    assert min(found.seconds.runs) * found.calls > 10 * found.period


def test_a_counter_that_stands_still_or_falls_is_refused(tmp_path):
    still = Rapl(tree(tmp_path, {"intel-rapl:0": ("package-0", 5)}))
    with pytest.raises(InputError, match=r"measured: got RAPL \(package-0\) without an update"):
        measured(torch.exp, torch.zeros(3), counter=still)

    class Falling(Steady):
        def read(self) -> float:
            return -super().read()

    with pytest.raises(InputError, match="expected an energy counter that rises. Let read"):
        measured(torch.exp, torch.zeros(3), seconds=0.01, counter=Falling())


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (3, {}, "expected a model or a function"),
        (torch.exp, {"seconds": 0}, "expected seconds > 0"),
        (torch.exp, {"seconds": True}, "seconds"),
        (torch.exp, {"repeats": 1}, "at least 2"),
        (torch.exp, {"counter": "joulemeter"}, "expected one of 'rapl', 'nvml'"),
        (torch.exp, {"counter": 3}, r"name, resolution and read\(\)"),
    ],
    ids=["function", "no seconds", "boolean", "one run", "name", "number"],
)
def test_other_arguments_are_refused(function, options, message):
    with pytest.raises(InputError, match=message):
        measured(function, torch.zeros(3), **{"counter": Steady(), **options})


def test_this_machine_measures_or_says_why_not():
    try:
        found = measured(torch.exp, torch.zeros(1000), seconds=0.05, repeats=2)
    except InputError as error:
        assert str(error).count("; expected ") == 1
    else:
        assert found.joules.mean > 0


# ---- never mixed with estimates


def test_measured_and_estimated_energy_are_never_mixed():
    found: Any = measured(torch.exp, torch.zeros(1000), seconds=0.01, repeats=2, counter=Steady())
    report = EnergyReport(1.0, 1.0, 1.0, (), "cmos-45nm", "no_reuse", corners=(1.0, 1.0))
    pairs: list[Any] = [(found, report), (report, found), (found, found)]
    for one, other in pairs:
        with pytest.raises(InputError, match="MeasuredEnergy; expected an energy report"):
            ratio(one, other)
        with pytest.raises(InputError, match="MeasuredEnergy; expected an energy report"):
            verdict(np.ones(100), np.ones(100), one, other)
        with pytest.raises(TypeError):
            _ = one + other
        with pytest.raises(TypeError):
            _ = one / other
    with pytest.raises(InputError, match="MeasuredEnergy; expected operation counts"):
        ns.estimate(found)
