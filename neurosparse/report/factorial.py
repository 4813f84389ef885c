"""Factorial table: energy of spiking networks over that of their dense twins, by depth, steps, input, bits and pruning.

A pair is a spiking network and the dense network that differs from it in nothing else
(:func:`neurosparse.report.pairs.twins`). A hole is a cell of the design that was not run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, overload

from neurosparse.checks import one_of
from neurosparse.plot.units import MISSING
from neurosparse.report.columns import TextTable, as_markdown
from neurosparse.report.compared import PRIMARY, Compared, compare_pair, cost_models, points, tasks
from neurosparse.report.csv_files import as_csv
from neurosparse.report.pairs import depth_of, is_spiking, setting, twins
from neurosparse.report.table import ratio, words

__all__ = ["FACTORS", "Cell", "Factorial", "Row", "factorial"]

DESIGN = {"depth": (1, 3, 6), "steps": (1, 2, 4, 8), "bits": (32, 8, 4), "sparsity": (0.0, 0.9)}
INPUTS = {True: ("events",), False: ("current", "latency")}
FACTORS = {"depth": "depth", "steps": "T", "input": "input", "bits": "bits", "sparsity": "pruned"}
"""Factors of the design and their heads."""
KEYS = (
    "family", "depth", "layers", "hidden", "steps", "encoding", "bits", "sparsity", "collision", "pruning_method",
    "granularity", "distribution", "lasso", "loss", "quantization", "dropout", "epoch_factor", "distillation",
)  # fmt: skip
"""Keys of a spiking model that do not change its neurons, or that are a factor."""
SIGNS = {"yes": "", "undecided": "?", "no": "✗", "not judged": "!"}
MARKS = (
    "Ratios: energy of the spiking network over that of its dense twin; below 1 is less. Marks: ? the accuracy "
    "is undecided, ✗ inferior, ! not judged. Energies are estimates, not measurements."
)
NOTE = (
    "Accuracy difference: spiking network less twin, in points, with its one-sided 95 % lower bound in brackets. "
    f"Detectable: the smallest margin that these samples could show, in points. {MARKS}"
)


class Cell(NamedTuple):
    """A cell of the design: hidden layers, time steps, coding of the input, bits and sparsity of the weights."""

    depth: int | str
    steps: int
    input: str
    bits: int
    sparsity: float


@dataclass(frozen=True)
class Row:
    """A pair of twins in its cell.

    Args:
        number: of the row in the table.
        task: its name.
        cell: of the design.
        neurons: kind of the spiking neurons, in words.
        pair: accuracy difference and energy ratios.
    """

    number: int
    task: str
    cell: Cell
    neurons: str
    pair: Compared


@dataclass(frozen=True, repr=False)
class Factorial:
    """The factorial table over one or several tasks: ``print`` shows its grid, then its margins.

    Args:
        rows: pairs of twins, sorted by cell.
        holes: cells of each task that were not run.
    """

    rows: tuple[Row, ...]
    holes: Mapping[str, tuple[Cell, ...]]

    @cached_property
    def cost_models(self) -> list[str]:
        """Labels of the cost models; those of each network on its own hardware stand last."""
        return cost_models([row.pair for row in self.rows])

    @overload
    def table(self, format: None = None) -> TextTable: ...
    @overload
    def table(self, format: str) -> str: ...
    def table(self, format: str | None = None) -> TextTable | str:
        """All pairs, with accuracies and the ratios of every cost model.

        Args:
            format: None for a terminal, ``"markdown"``, or ``"csv"`` with a line for each pair and each hole.

        Raises:
            InputError: another format.
        """
        _check_format("table", format, ("markdown", "csv"))
        if format == "csv":
            return as_csv(self.records())
        head = ["networks", *FACTORS.values(), "accuracy difference", "detectable", "not inferior", *self.cost_models]
        if format == "markdown":
            return as_markdown([["task", *head], *([row.task, *self._cells(row)] for row in self.rows)])
        lines: list[tuple[str, ...]] = [tuple(head)]
        for task, holes in self.holes.items():
            found = [tuple(self._cells(row)) for row in self.rows if row.task == task]
            lines += [(f"{task}: {len(found)} pairs; {len(holes)} cells were not run",), *found]
        return TextTable(tuple(lines), "Spiking networks and their dense twins", NOTE)

    @overload
    def grid(self, format: None = None, cost_model: str = PRIMARY) -> TextTable: ...
    @overload
    def grid(self, format: str, cost_model: str = PRIMARY) -> str: ...
    def grid(self, format: str | None = None, cost_model: str = PRIMARY) -> TextTable | str:
        """Ratios in one cost model over the time steps, a line for each other cell; holes are ``not run``.

        Args:
            format: None for a terminal, or ``"markdown"``.
            cost_model: its label, one of `cost_models`.

        Raises:
            InputError: another format or cost model.
        """
        _check_format("grid", format)
        if self.rows:
            one_of("Factorial.grid", "cost_model", cost_model, self.cost_models)
        steps = sorted({*DESIGN["steps"], *(row.cell.steps for row in self.rows)})
        head = ["depth, input, weights", *(f"T = {each}" for each in steps)]
        blocks = {task: list(self._lines(task, steps, cost_model)) for task in self.holes}
        title = f"Energy of spiking networks over that of their dense twins, {cost_model}"
        if format == "markdown":
            lines = [[f"{task}: {line[0]}", *line[1:]] for task, found in blocks.items() for line in found]
            holes = [f"* {task}, not run: {text}" for task in blocks for text in self._empty(task)]
            return "\n".join([as_markdown([head, *lines]), "", *holes, *([""] if holes else []), MARKS])
        rows = [tuple(head)]
        for task, found in blocks.items():
            rows += [(task,), *map(tuple, found), *((f"  not run: {text}",) for text in self._empty(task))]
        return TextTable(tuple(rows), title, MARKS)

    @overload
    def margins(self, format: None = None) -> TextTable: ...
    @overload
    def margins(self, format: str) -> str: ...
    def margins(self, format: str | None = None) -> TextTable | str:
        """Summary for each level of each factor: pairs, holes, and the ratios of pairs that are not inferior.

        Args:
            format: None for a terminal, or ``"markdown"``.

        Returns:
            of each cost model the geometric mean and, in brackets, the range of the nominal ratios.

        Raises:
            InputError: another format.
        """
        _check_format("margins", format)
        head = ["level", "pairs", "not inferior", "undecided", "inferior", "not run", *self.cost_models]
        lines = [head]
        groups: dict[str, dict[str, tuple[list[Row], int]]] = {"task": {}}
        for task, holes in self.holes.items():
            groups["task"][task] = [row for row in self.rows if row.task == task], len(holes)
        empty = [cell for holes in self.holes.values() for cell in holes]
        for key, name in FACTORS.items():
            levels = dict.fromkeys(getattr(cell, key) for cell in [*(row.cell for row in self.rows), *empty])
            groups[name] = {
                shown(key, level): (
                    [row for row in self.rows if getattr(row.cell, key) == level],
                    sum(getattr(cell, key) == level for cell in empty),
                )
                for level in sorted(levels, key=lambda level: (isinstance(level, str), level))
            }
        for name, levels in groups.items():
            lines += [[f"{name} {level}", *self._margin(rows, holes)] for level, (rows, holes) in levels.items()]
        if format == "markdown":
            return as_markdown(lines)
        note = "Geometric mean and range of the ratios of pairs whose accuracy is not inferior."
        return TextTable(tuple(map(tuple, lines)), "By level of each factor", note)

    def __str__(self) -> str:
        return f"{self.grid()}\n\n{self.margins()}"

    __repr__ = __str__

    def _margin(self, rows: Sequence[Row], holes: int) -> Iterator[str]:
        outcomes = [row.pair.outcome for row in rows]
        yield from map(str, (len(rows), *(outcomes.count(key) for key in ("yes", "undecided", "no")), holes))
        for model in self.cost_models:
            found = [
                row.pair.ratios[model][1] for row in rows if row.pair.outcome == "yes" and model in row.pair.ratios
            ]
            if not found:
                yield MISSING
                continue
            mean = math.exp(sum(map(math.log, found)) / len(found))
            yield ratio(mean) + (f" [{ratio(min(found))}, {ratio(max(found))}]" if len(found) > 1 else "")

    def _cells(self, row: Row) -> list[str]:
        pair = row.pair
        names = f"{row.number} {pair.spiking} / {pair.dense}"
        levels = [shown(key, getattr(row.cell, key)) for key in FACTORS]
        ratios = [self._ratio(pair, model) for model in self.cost_models]
        return [names, *levels, points(pair.difference), detectable(pair), pair.outcome, *ratios]

    def _lines(self, task: str, steps: Sequence[int], cost_model: str) -> Iterator[list[str]]:
        """Lines of the grid that have a pair: the ratio of each number of steps."""
        found: dict[tuple[Cell, str], dict[int, str]] = {}
        for row in (row for row in self.rows if row.task == task):
            line = found.setdefault((row.cell._replace(steps=0), row.neurons), {})
            text = self._ratio(row.pair, cost_model)
            line[row.cell.steps] = f"{line[row.cell.steps]}, {text}" if row.cell.steps in line else text
        for (cell, neurons), line in found.items():
            weights = f"{cell.bits}-bit" + (f", {shown('sparsity', cell.sparsity)} pruned" if cell.sparsity else "")
            kind = "" if neurons == "LIF" else f", {neurons.removeprefix('LIF, ')}"
            yield [f"{cell.depth}, {cell.input}, {weights}{kind}", *(line.get(each, "not run") for each in steps)]

    def _empty(self, task: str) -> list[str]:
        """Lines of the design without any pair, in words."""
        run = {row.cell._replace(steps=0) for row in self.rows if row.task == task}
        lines = dict.fromkeys(cell._replace(steps=0) for cell in self.holes[task])
        return boxes([cell for cell in lines if cell not in run])

    def _ratio(self, pair: Compared, cost_model: str) -> str:
        bounds = pair.ratios.get(cost_model)
        return f"{ratio(bounds[1])}{SIGNS[pair.outcome]}" if bounds else "cannot run"

    def records(self) -> list[dict[str, Any]]:
        """Pairs and holes as plain mappings, a line of the CSV file each."""
        lines = []
        for row in self.rows:
            pair = row.pair
            found: dict[str, Any] = {"row": row.number, "task": row.task, "status": "run", **row.cell._asdict()}
            found |= {"spiking": pair.spiking, "dense": pair.dense, "neurons": row.neurons, "loss": pair.losses[0]}
            found |= dict(zip(("difference low", "difference", "difference high"), pair.difference or (), strict=False))
            found |= {"detectable": pair.detectable, "margin": pair.margin, "not inferior": pair.outcome}
            for model, bounds in pair.ratios.items():
                keys = (f"{model} low", f"{model} nominal", f"{model} high")
                found |= dict(zip(keys, bounds, strict=True))
            lines.append(found)
        for task, holes in self.holes.items():
            lines += [{"task": task, "status": "not run", **cell._asdict()} for cell in holes]
        return lines


def _check_format(name: str, format: str | None, known: tuple[str, ...] = ("markdown",)) -> None:
    if format is not None:
        one_of(f"Factorial.{name}", "format", format, known)


def factorial(*results: Mapping[str, Any]) -> Factorial:
    """The factorial table of one or several tasks.

    Args:
        results: as :func:`neurosparse.report.check` accepts them, one of each task.

    Returns:
        ``.table()``, ``.margins()``, ``.rows``, ``.holes``; ``.table("markdown")`` and ``.table("csv")`` for files.

    Raises:
        InputError: a malformed key, by name, or two results of one task.

    Example:
        >>> row = {"family": "", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> lif = row | {"name": "lif", "config": {"family": "lif", "steps": 4}}
        >>> relu = row | {"name": "relu", "config": {"family": "relu"}}
        >>> found = factorial({"task": "digits", "models": [lif, relu]})
        >>> found.rows[0].cell, len(found.holes["digits"])
        (Cell(depth=1, steps=4, input='current', bits=32, sparsity=0.0), 143)
    """
    rows, holes = [], {}
    for task, of in tasks(results).items():
        models = {model["name"]: model for model in of["models"]}
        pairs = [(cell_of(models[a]), _neurons(models[a]), compare_pair(of, a, b)) for a, b in twins(of["models"])]
        pairs.sort(key=lambda each: (_rank(each[0]), each[1] != "LIF", each[1]))
        rows += [(task, *pair) for pair in pairs]
        moving = any(cell_of(model).input == "events" for model in models.values() if is_spiking(model))
        done = {cell for cell, *_ in pairs}
        design = (Cell(*levels) for levels in product(*_levels(moving)))
        holes[task] = tuple(cell for cell in design if cell not in done)
    return Factorial(tuple(Row(number, *row) for number, row in enumerate(rows, 1)), holes)


def _levels(moving: bool) -> list[tuple]:
    return [DESIGN["depth"], DESIGN["steps"], INPUTS[moving], DESIGN["bits"], DESIGN["sparsity"]]


def cell_of(model: Mapping[str, Any]) -> Cell:
    """The cell of a spiking model; recordings whose steps are kept have the number of their own steps."""
    steps, coding = setting(model, "steps", 1), setting(model, "encoding", "current")
    if coding == "events" and steps == 1:
        steps = (model.get("latency") or {}).get("of") or (model.get("raster") or {}).get("shape", [1])[0]
    sparsity = round(float(setting(model, "sparsity", 0.0)), 6)
    return Cell(depth_of(model), steps, coding, setting(model, "bits", 32), sparsity)


def _neurons(model: Mapping[str, Any]) -> str:
    """Family of a spiking model and the keys of its file that change its neurons."""
    config = model["config"]
    family = "LIF" if config["family"] == "lif" else str(config["family"])
    return ", ".join([family, *(f"{words(key)} {value}" for key, value in config.items() if key not in KEYS)])


def _rank(cell: Cell) -> tuple:
    """Order of cells: lines of the grid, and along a line the number of steps."""
    return isinstance(cell.depth, str), cell.depth, cell.input, -cell.bits, cell.sparsity, cell.steps


def shown(key: str, level: Any) -> str:
    """A level of a factor in words."""
    return (f"{100 * level:g} %" if level else "no") if key == "sparsity" else str(level)


def detectable(pair: Compared) -> str:
    return MISSING if pair.detectable is None else f"{100 * pair.detectable:.1f}"


def boxes(cells: Sequence[Cell]) -> list[str]:
    """Cells in words, joined where they differ in one factor; the number of steps is left out where it is 0.

    Example:
        >>> boxes([Cell(1, 0, coding, bits, 0.9) for coding in ("current", "latency") for bits in (8, 4)])
        ['depth 1; input current, latency; bits 8, 4; pruned 90 %']
    """
    found: dict[tuple[tuple, ...], None] = {tuple((level,) for level in cell): None for cell in cells}
    for axis in reversed(range(len(Cell._fields))):
        joined: dict[tuple, list] = {}
        for box in found:
            joined.setdefault(box[:axis] + box[axis + 1 :], []).extend(box[axis])
        found = {(*rest[:axis], tuple(levels), *rest[axis:]): None for rest, levels in joined.items()}
    texts = []
    for box in found:
        parts = [(head, of) for head, of in zip(FACTORS.items(), box, strict=True) if (head[0], of) != ("steps", (0,))]
        texts.append("; ".join(f"{name} {', '.join(shown(key, level) for level in of)}" for (key, name), of in parts))
    return texts
