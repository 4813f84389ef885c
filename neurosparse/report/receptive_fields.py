"""Report of receptive fields: mosaics, an HTML page, a terminal table, a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurosparse import plot
from neurosparse.analysis.gabor import fit_gabor
from neurosparse.analysis.modulation import modulations
from neurosparse.analysis.receptive_fields import DESCRIBED
from neurosparse.atomic import write_atomically
from neurosparse.plot.files import write
from neurosparse.plot.svg import svg
from neurosparse.plot.units import si
from neurosparse.report.columns import TextTable, as_markdown, as_table, mean_sd
from neurosparse.report.results import write_results
from neurosparse.report.table import percent

if TYPE_CHECKING:
    from jinja2 import Template

MOSAIC = (5.0, 5.2)  # inches

__all__ = ["columns", "draw", "markdown", "save", "table"]


def draw(atoms: Tensor, path: Path) -> None:
    """Write the mosaic of a dictionary during learning."""
    write(partial(plot.atoms, atoms), path, MOSAIC)


def columns(results: Mapping[str, Any]) -> list[list[str]]:
    """The table as text: a head, then a row for each learner."""
    noisy, sound = bool(results["budget"].get("noise")), results["budget"].get("sound")
    shapes = {} if noisy or sound else {"localised": "localised", "oriented": "oriented", "band-pass": "band_pass"}
    shares = {"active": "active_fraction", **shapes}
    head = ["learner", "SNR dB", *(f"{name} %" for name in shares)]
    head += DENOISING if noisy else list(SOUND) if sound else ["distance to macaque"]
    rows = [[*head, "dead atoms", "seconds"]]
    for one in results["learners"]:
        row = [one["name"], mean_sd(one["snr"], 1), *(percent(one[key]) for key in shares.values())]
        if noisy:
            row += [mean_sd(one["psnr"], 2), *(si(one["operations"][key]["mean"]) for key in MACS)]
            row += [si(one["energy"]["cmos-45nm/event_driven"]["mean"], "J")]
        elif sound:
            row += [mean_sd(one[key], digits) for key, digits in SOUND.values()]
        else:
            row.append(mean_sd(one["macaque_distance"], 2))
        rows.append([*row, mean_sd(one["dead"], 0), mean_sd(one["seconds"], 0)])
    return rows


DENOISING = ["PSNR dB", "effective MACs", "effective ACs", "energy, event driven"]
MACS = ("effective_macs", "effective_acs")
SOUND = {
    "best rate Hz": ("rate", 1),
    "best scale": ("scale", 2),
    "separability": ("separability", 2),
    "direction": ("directional", 2),
}


def markdown(results: Mapping[str, Any]) -> str:
    """The table for a document."""
    return as_markdown(columns(results))


def table(results: Mapping[str, Any]) -> TextTable:
    """The table for a terminal."""
    return as_table(results["title"], columns(results))


@lru_cache(maxsize=1)
def template() -> Template:
    """The page."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("neurosparse.report", ".")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("fields.html")


def save(results: Mapping[str, Any], atoms: Mapping[str, Tensor], folder: Path) -> Path:
    """Write ``results.json``, ``fields.html`` and mosaics into a folder, each whole or not at all.

    Args:
        results: of a `neurosparse.experiments.FieldTask`.
        atoms: the dictionary of each learner's first seed, where it is known.
        folder: made if it does not exist.

    Returns:
        The path of the page.
    """
    budget = results["budget"]
    pictures = {
        name: _sounds(i, name, found, budget, folder) if budget.get("sound") else _pictures(i, name, found, folder)
        for i, (name, found) in enumerate(atoms.items())
    }
    curves = {}
    for one in results["learners"]:
        points = [point for point in one["curve"] if point["snr"] is not None]
        curves[one["name"]] = [point["patches"] for point in points], [point["snr"] for point in points]
    progress = partial(plot.learning, curves, "patches seen", "signal-to-noise ratio, dB")
    learning = svg(progress, "learning", "Signal-to-noise ratio over patches seen", (6.5, 3.2), (0.65, 0.5, 0.15, 0.1))
    page = template().render(r=results, table=columns(results), pictures=pictures, learning=learning)
    write_results(results, folder)
    write_atomically(folder / "fields.html", page.encode(), "report.save")
    return folder / "fields.html"


def _sounds(number: int, name: str, atoms: Tensor, budget: Mapping[str, Any], folder: Path) -> list[str]:
    """Spectro-temporal fields by rising rate, as files and for the page; beside them their modulations."""
    shape, (band, dt) = (budget["size"], budget["size"]), budget["sound"]
    found = modulations(atoms, shape, band, dt)
    by_rate = atoms[torch.from_numpy(np.lexsort((found.scale, found.rate)))]
    mosaic, tuning = partial(plot.spectro_temporal, by_rate, shape, dt), partial(plot.modulations, found)
    for ending in ("png", "pdf"):
        write([mosaic, tuning], folder / f"{name}.{ending}", (12.0, 4.2), columns=2)
    pictures = [svg(mosaic, f"atoms{number}", f"Spectro-temporal fields of {name}", (6.0, 3.4), (0.4, 0.4, 0.1, 0.1))]
    label = f"Best rate and scale of the fields of {name}"
    return [*pictures, svg(tuning, f"shapes{number}", label, (4.6, 3.4), (0.7, 0.5, 0.1, 0.1))]


def _pictures(number: int, name: str, atoms: Tensor, folder: Path) -> list[str]:
    """The mosaic, ordered by Gabor fits, as files and for the page; beside it the shapes, where a fit describes any."""
    fit = fit_gabor(atoms)
    mosaic = partial(plot.atoms, atoms, order=fit)
    for ending in ("png", "pdf"):
        write(mosaic, folder / f"{name}.{ending}", MOSAIC)
    pictures = [svg(mosaic, f"atoms{number}", f"Atoms of {name}", (4.0, 4.2), (0.05, 0.05, 0.05, 0.3))]
    if (fit.residual <= DESCRIBED).any():
        shapes = partial(plot.gabor_scatter, fit)
        label = f"Width and length of the fields of {name}, over macaque simple cells"
        pictures.append(svg(shapes, f"shapes{number}", label, (4.0, 4.2), (0.6, 0.5, 0.15, 0.3)))
    return pictures
