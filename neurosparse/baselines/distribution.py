"""Layer-wise densities: the share of the weights that each layer keeps, set before weights are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping

from neurosparse.checks import number

__all__ = ["DISTRIBUTIONS", "erk", "uniform"]

Shapes = Mapping[str, tuple[int, ...]]


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """Every layer keeps the same share: ``density_l = density``.

    Args:
        shapes: of the weights, by name.
        density: share of all weights that is kept.

    Returns:
        the density of each layer.

    Example:
        >>> uniform({"a": (3, 2), "b": (5, 3)}, 0.5)
        {'a': 0.5, 'b': 0.5}
    """
    return dict.fromkeys(shapes, density)


def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Erdős-Rényi kernel: ``density_l = e (n_out + n_in + k_h + k_w) / (n_out n_in k_h k_w)``, at most 1.

    Large layers become sparser than small ones. The scale e makes the total exact; a layer of density above
    1 is dense, and e is computed anew for the others.

    Args:
        shapes: of the weights, by name.
        density: share of all weights that is kept, 0 < density <= 1.

    Returns:
        the density of each layer.

    Raises:
        InputError: a density out of range.

    Example:
        >>> found = erk({"1": (300, 784), "2": (100, 300), "3": (10, 100)}, 0.1)
        >>> [round(density, 4) for density in found.values()]
        [0.0796, 0.2302, 1.0]

    Source: Evci et al. (2020), "Rigging the lottery"; Mocanu et al. (2018) for linear layers.
    """
    density = number("erk", "density", density, high=1, above=0, fix="Pass 0.1 for 90 % pruned.")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    kept, dense = density * sum(sizes.values()), set()
    while len(dense) < len(sizes):
        rest = [name for name in sizes if name not in dense]
        scale = (kept - sum(sizes[name] for name in dense)) / sum(sum(shapes[name]) for name in rest)
        found = {name: scale * sum(shapes[name]) / sizes[name] for name in rest}
        if all(value <= 1 for value in found.values()):
            return {name: found.get(name, 1.0) for name in sizes}
        dense |= {name for name, value in found.items() if value > 1}
    return dict.fromkeys(sizes, 1.0)


DISTRIBUTIONS = {"global": None, "uniform": uniform, "erk": erk}
"""How layers share the weights that are kept, by name; "global" ranks all layers together instead."""
