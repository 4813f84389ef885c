"""Labels of points, placed with little overlap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["place_labels"]

RADII, DIRECTIONS = (9, 20, 32, 46, 62), 12  # distances from the mark in points (1/72 inch), directions on each
PAD = 2.0


def overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Area that ``box`` (left, bottom, right, top) shares with the others."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((width.clip(0) * height.clip(0)).sum())


def places(half: np.ndarray, pixel: float) -> list[tuple[float, np.ndarray]]:
    """Candidate places of a box of half size ``half`` around its point: (radius, centre), in pixels from the point."""
    found = []
    for radius in RADII:
        for turn in range(DIRECTIONS):
            angle = 2 * math.pi * turn / DIRECTIONS
            direction = np.array([math.cos(angle), math.sin(angle)])
            # The near side of the box touches the circle, whatever its width.
            found.append((radius * pixel, direction * (radius * pixel + half * [1, 0.5])))
    return found


def place_labels(
    ax: Axes, names: list[str], xy: np.ndarray, bold: set[str], avoid: np.ndarray, size: float = 7.5
) -> None:
    """Write each name beside its point with least overlap, bold ones first, with a thin line to distant ones.

    Greedy: each name in turn takes the place of least overlap among some dozens. Axes limits and scales must be final.

    Args:
        ax: axes that hold the points.
        names: one for each point.
        xy: ``(points, 2)`` in data coordinates.
        bold: names set in bold.
        avoid: ``(n, 2)`` further points to leave visible, in data coordinates.
        size: of the letters, in points.
    """
    pixel = ax.figure.dpi / 72
    points, others = ax.transData.transform(xy), ax.transData.transform(avoid)
    corners = ax.transAxes.transform([[0, 0], [1, 1]]).ravel()
    marks = [np.column_stack([at - r * pixel, at + r * pixel]) for at, r in ((points, 4), (others, 2))]
    taken = np.vstack(marks)

    def cost(radius: float, box: np.ndarray) -> float:
        outside = (corners[:2] - box[:2]).clip(0).sum() + (box[2:] - corners[2:]).clip(0).sum()
        return 5 * overlap(box, taken) + 40 * outside + radius**1.5

    for i in sorted(range(len(names)), key=lambda i: (names[i] not in bold, *xy[i])):
        weight = "bold" if names[i] in bold else "normal"
        text = ax.annotate(names[i], xy[i], xytext=(0, 0), textcoords="offset points", fontsize=size, weight=weight)
        extent = text.get_window_extent()
        half = np.array([extent.width, extent.height]) / 2 + PAD * pixel
        spots = [
            (r, centre, np.concatenate([points[i] + centre - half, points[i] + centre + half]))
            for r, centre in places(half, pixel)
        ]
        radius, centre, box = min(spots, key=lambda spot: cost(spot[0], spot[2]))
        taken = np.vstack([taken, box])
        # Anchored at its near side, so that a narrower font does not move it away from its point.
        side = 0 if abs(centre[0]) < 0.5 * half[0] else int(np.sign(centre[0]))
        text.set(ha={-1: "right", 0: "center", 1: "left"}[side], va="center")
        text.set_position(((centre[0] - side * (half[0] - PAD * pixel)) / pixel, centre[1] / pixel))
        if radius > RADII[0] * pixel:
            end = centre * (radius / np.hypot(*centre)) / pixel  # where the name begins
            line = {"arrowstyle": "-", "linewidth": 0.6, "color": "0.5", "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", xy[i], xytext=end, textcoords="offset points", arrowprops=line)
