"""Table of the comparison: one quantity in one unit a column, models by family, the cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from neurosparse.checks import one_of
from neurosparse.plot.units import MISSING, decimals, digits, plain, prefixed, thousands
from neurosparse.report.columns import TextTable, as_markdown
from neurosparse.report.headline import answer
from neurosparse.report.results import check, reference, scenarios

__all__ = [
    "Column", "Value", "are_grouped", "columns", "families", "main_scenarios", "markdown", "percent", "ratio",
    "scenario_words", "table", "words",
]  # fmt: skip

SPARSITIES = ("weight", "activation", "temporal", "operation")
CHEAPEST, COMPUTE = "cheapest dataflow per layer", "compute_only"
NOT_MEASURED = "All numbers are per sample. Energies are estimates, not measurements."


class Value(NamedTuple):
    """A quantity of one model: mean, standard deviation over runs, bounds; ``whole`` is what it is a part of."""

    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    whole: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Column:
    """One quantity of every model, in one unit.

    Args:
        key: its name in ``columns=``.
        head: in words, without the unit.
        values: one for each model, in the base unit.
        unit: with its prefix, such as ``nJ``; empty for a plain number.
        scale: of the unit; values are divided by it.
        text: how a value in the unit is written.
        scenario: whose energies these are.
    """

    key: str
    head: str
    values: tuple[Value, ...]
    unit: str = ""
    scale: float = 1.0
    text: Callable[[float], str] = plain
    scenario: str = ""

    @property
    def title(self) -> str:
        """The head with its unit."""
        return f"{self.head} ({self.unit})" if self.unit else self.head

    @property
    def is_measured(self) -> bool:
        """Accuracies and times, which are never shown without their spread."""
        return self.key in ("accuracy", "time", "latency")

    def shown(self, value: Value) -> str:
        """The number alone, in the unit of the column."""
        if value.mean is None:
            return "cannot run" if value.why else MISSING
        return self.number(value.mean)

    def number(self, value: float) -> str:
        return self.text(value / self.scale)

    def spread(self, value: Value) -> str:
        """The standard deviation with the decimals of the number, or one digit if it is smaller than these show."""
        if value.mean is None or not value.sd:
            return ""
        mean, sd = value.mean / self.scale, value.sd / self.scale
        if not 1e-6 <= mean < 1e9:
            return digits(sd)
        text = f"{sd:,.{decimals(mean)}f}"
        return text if float(text.replace(",", "")) else f"{float(f'{sd:.1g}'):,.15g}"

    def bounds(self, value: Value) -> str:
        """``[low, high]`` with the decimals of the number, where these show a difference."""
        if value.mean is None or value.low is None or value.high is None:
            return ""
        shown = self.number(value.mean)
        places = len(shown.partition(".")[2])
        low, high = (
            self.number(bound) if "e" in shown else self._rounded(bound, places) for bound in (value.low, value.high)
        )
        return f"[{low}, {high}]" if low != high else ""

    def _rounded(self, value: float, places: int) -> str:
        text = f"{value / self.scale:,.{places}f}"
        return self.number(value) if self.key == "ratio" and float(text.replace(",", "")) == 1 else text

    def dense(self, value: Value) -> str:
        """The number of which the value is a part, where it is less."""
        return self.number(value.whole) if value.whole and value.whole != value.mean else ""

    def beside(self, value: Value) -> str:
        """What stands in small letters beside the number: its spread, its bounds, what it is a part of."""
        spread, dense = self.spread(value), self.dense(value)
        parts = [f"± {spread}" if spread else "", f"of {dense}" if dense else "", self.bounds(value)]
        return " ".join(part for part in parts if part)

    @property
    def tail(self) -> int:
        """Characters of the longest text beside a number."""
        return max(len(self.beside(value)) for value in self.values)

    def cell(self, value: Value, spread: bool = True) -> str:
        """The number, with its standard deviation or with what it is a part of."""
        text = self.shown(value)
        text += f" ± {self.spread(value)}" if spread and self.spread(value) else ""
        return text + (f" of {self.dense(value)}" if self.dense(value) else "")


def percent(stat: Any, digits: int = 1) -> str:
    """Mean and standard deviation of a fraction in percent; a dash where it is unknown.

    Example:
        >>> percent({"mean": 0.9712, "sd": 0.003}), percent({"mean": 0.9}), percent(None)
        ('97.1 ± 0.3', '90.0', '–')
    """
    if not stat or stat.get("mean") is None:
        return MISSING
    mean, sd = 100 * stat["mean"], stat.get("sd")
    return f"{mean:.{digits}f}" + (f" ± {100 * sd:.{digits}f}" if sd is not None else "")


def ratio(value: float | None) -> str:
    """A ratio in two decimals, or more where these show less than two digits or would be 1.

    Example:
        >>> [ratio(value) for value in (0.00766, 0.684, 0.9996, 1.0, 1.004, 1.38, 21.4, 1234.0, None)]
        ['0.0077', '0.68', '0.9996', '1', '1.004', '1.38', '21.4', '1,234', '–']
    """
    if value is None:
        return MISSING
    if value == 1:
        return "1"
    if value >= 10 or value < 1e-6:
        return digits(value)
    least = max(2, decimals(value, 2))
    return next((text for places in range(least, least + 14) if float(text := f"{value:.{places}f}") != 1), "1")


def words(name: str) -> str:
    return name.replace("_", " ")


def scenario_words(name: str, names: Sequence[str]) -> str:
    """A scenario in words; with its hardware where there are several.

    Example:
        >>> scenario_words("cmos/no_reuse", ["cmos/no_reuse"]), scenario_words("a/b_c", ["a/b_c", "z/b_c"])
        ('no reuse', 'b c, a')
    """
    hardware, _, dataflow = name.rpartition("/")
    several = len({other.rpartition("/")[0] for other in names}) > 1
    return words(dataflow) + (f", {hardware}" if several and hardware else "")


def main_scenarios(results: Mapping[str, Any]) -> list[str]:
    """The two scenarios of a small table: memory traffic under the cheapest dataflow, and arithmetic alone.

    Of other names, the first ones. The models are sorted by the first of the two.
    """
    names = scenarios(dict(results))
    ends = {name.rpartition("/")[2]: name for name in reversed(names)}
    memory = [name for name in names if not name.endswith(COMPUTE)]
    first = [ends[CHEAPEST]] if CHEAPEST in ends else memory[:1] or names[:1]
    second = [ends[COMPUTE]] if COMPUTE in ends else names
    return list(dict.fromkeys([*first, *second]))[:2]


def families(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Models by family, the family with the cheapest model first, and in a family the cheapest model first."""
    main = main_scenarios(results)[:1]

    def joules(model: Mapping[str, Any]) -> float:
        found = [model["energy"].get(name, {}).get("nominal") for name in main]
        return min((value for value in found if value is not None), default=float("inf"))

    found: dict[str, list[dict[str, Any]]] = {}
    for model in sorted(results["models"], key=joules):
        found.setdefault(model["family"], []).append(model)
    return found


def are_grouped(found: Mapping[str, Sequence[Any]]) -> bool:
    """Whether families head their models: several families, and several models of one of them."""
    return len(found) > 1 and any(len(models) > 1 for models in found.values())


def weights(model: Mapping[str, Any]) -> Value:
    """Weights that are not zero, and all of them; a storage that several layers share counts once."""
    rows = [row for row in model.get("layers") or () if row.get("weights") and row.get("kind") != "matmul"]
    rows = [row for row in rows if row.get("phase") in (None, "forward")]
    if not rows:
        return Value()
    kept, every = (
        sum(row.get(name, row["weights"]) - (row.get(f"shared_{name}") or 0) for row in rows)
        for name in ("nonzero_weights", "weights")
    )
    return Value(float(kept), whole=float(every))


def stat(found: Any) -> Value:
    """A mean and its standard deviation."""
    return Value((found or {}).get("mean"), (found or {}).get("sd"))


def total(model: Mapping[str, Any], *names: str) -> Value:
    """Sum of kinds of operations; the standard deviation is known for one kind that is not zero."""
    found = [value for name in names if (value := stat((model.get("operations") or {}).get(name))).mean is not None]
    if not found:
        return Value()
    varied = [value.sd for value in found if value.sd]
    sd = varied[0] if len(varied) == 1 else None if varied else found[0].sd
    return Value(sum(value.mean or 0.0 for value in found), sd)


def energy(model: Mapping[str, Any], scenario: str) -> Value:
    report = model["energy"].get(scenario, {})
    return Value(*(report.get(key) for key in ("nominal", "sd", "low", "high")), why=report.get("unsupported") or "")


def to_reference(results: Mapping[str, Any], model: Mapping[str, Any], scenario: str) -> Value:
    """Energy of a model over that of the reference, with the bounds of their verdict."""
    base = reference(dict(results))
    own, other = energy(model, scenario).mean, energy(base, scenario).mean
    if own is None or not other:
        return Value(why=energy(model, scenario).why)
    for verdict in results.get("verdicts") or ():
        if verdict["scenario"] == scenario and verdict.get("ratio") and base["name"] != model["name"]:
            if (verdict["a"], verdict["b"]) == (model["name"], base["name"]):
                return Value(own / other, None, verdict["ratio"][0], verdict["ratio"][2])
            if (verdict["b"], verdict["a"]) == (model["name"], base["name"]):
                return Value(own / other, None, 1 / verdict["ratio"][2], 1 / verdict["ratio"][0])
    return Value(own / other)


def latency(model: Mapping[str, Any]) -> Value:
    found = model.get("latency") or {}
    seconds = stat(found.get("seconds"))
    return seconds if seconds.mean is not None else Value()


def _scaled(key: str, head: str, values: Sequence[Value], unit: str = "", scenario: str = "") -> Column:
    """A column whose prefix fits its median."""
    sizes = [value.mean for value in values if value.mean]
    power = thousands(median(sizes)) if sizes else 0
    text = plain if power == 0 and not unit else digits  # whole numbers stay whole only without a prefix
    return Column(key, head, tuple(values), prefixed(power, unit), 10.0**power, text, scenario)


def _percent(key: str, head: str, values: Sequence[Value]) -> Column:
    return Column(key, head, tuple(values), "%", 0.01, lambda value: f"{value:.1f}")


def _made(results: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> dict[str, Callable[[], Column]]:
    """Every column that a table may have, by its key."""
    names, main = scenarios(dict(results)), main_scenarios(results)

    def joules(scenario: str) -> Callable[[], Column]:
        head = f"energy, {scenario_words(scenario, names)}"
        return lambda: _scaled(scenario, head, [energy(model, scenario) for model in models], "J", scenario)

    def ratios() -> Column:
        found = [to_reference(results, model, main[0]) for model in models]
        return Column(
            "ratio", f"ratio to {reference(dict(results))['name']}", tuple(found), text=ratio, scenario=main[0]
        )

    def operations(head: str, *kinds: str) -> Callable[[], Column]:
        return lambda: _scaled(head, head, [total(model, *kinds) for model in models])

    made: dict[str, Callable[[], Column]] = {
        "accuracy": lambda: _percent("accuracy", "accuracy", [stat(model["accuracy"]) for model in models]),
        "weights": lambda: _scaled("weights", "weights", [weights(model) for model in models]),
        "operations": operations("operations", "effective_macs", "effective_acs"),
        "MACs": operations("MACs", "effective_macs"),
        "ACs": operations("ACs", "effective_acs"),
        "updates": operations("updates", "state_updates"),
    }
    for name in SPARSITIES:
        made[f"{name} sparsity"] = lambda name=name: _percent(
            f"{name} sparsity", f"{name} sparsity", [stat((model.get("sparsity") or {}).get(name)) for model in models]
        )
    made |= {"energy": joules(main[0]), "ratio": ratios} if main else {}
    made |= {name: joules(name) for name in names}
    made["time"] = lambda: _scaled("time", "time", [stat(model.get("seconds_per_sample")) for model in models], "s")
    made["latency"] = lambda: _scaled("latency", "latency", [latency(model) for model in models], "s")
    return made


def columns(results: Mapping[str, Any], keys: Sequence[str] | None = None) -> list[Column]:
    """Columns of the table beside the name of the model; models are those of `families`, in that order.

    Args:
        results: checked.
        keys: of the columns; None: accuracy, energy in the main scenario and its ratio to the reference, energy in the
            second scenario, weights, operations and measured time, as far as any model has them.

    Raises:
        InputError: an unknown key.
    """
    models = [model for some in families(results).values() for model in some]
    made = _made(results, models)
    if keys is not None:
        return [made[one_of("table", "columns", key, made)]() for key in keys]
    main = main_scenarios(results)
    energies = [*main[:1], *(["ratio"] if main and len(models) > 1 else []), *main[1:]]
    usual = ["accuracy", *energies, "weights", "operations", "time"]
    usual += ["latency"] if any(model.get("latency") for model in models) else []
    found = [made[key]() for key in usual]
    return [
        one
        for one in found
        if one.key == "accuracy" or any(value.mean is not None or value.why for value in one.values)
    ]


IMPORTANCE = ("accuracy", "energy", "ratio", "weights", "operations", "time", "latency")


def _grid(results: Mapping[str, Any], shown: Sequence[Column], spread: bool, heads: bool) -> Iterator[list[str]]:
    """Rows of text, the head first; ``heads``: families head their models."""
    yield ["model", *(column.title for column in shown)]
    i, grouped = 0, families(results)
    heads = heads and are_grouped(grouped)
    for family, models in grouped.items():
        if heads:
            yield [" ".join(family.split())]
        for model in models:
            name = ("  " if heads else "") + " ".join(model["name"].split())  # no line breaks inside a row
            yield [name, *(column.cell(column.values[i], spread or column.is_measured) for column in shown)]
            i += 1


def table(results: dict[str, Any], keys: Sequence[str] | None = None) -> TextTable:
    """The comparison for a terminal: the answer, then as many columns as its width takes.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.
        keys: of the columns, all of which are shown; None: those of `columns`.

    Raises:
        InputError: a malformed key of the results, by name, or an unknown column.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> print(table({"task": "digits", "models": [relu]}).at(80).splitlines()[0])
        digits. Undecided: no pair of models was compared.
    """
    check(results)
    shown = columns(results, keys)
    rows = tuple(tuple(row) for row in _grid(results, shown, spread=True, heads=True))
    main = main_scenarios(results)
    rank = {
        one.key: IMPORTANCE.index("energy" if one.key in main[:1] else one.key)
        if one.key in {*IMPORTANCE, *main[:1]}
        else len(IMPORTANCE)
        for one in shown
    }
    order = tuple(1 + i for i in sorted(range(len(shown)), key=lambda i: rank[shown[i].key]))
    title = f"{results.get('title') or results['task']}. {answer(results)}"
    return TextTable(rows, title, NOT_MEASURED if main else "", order if keys is None else None)


def markdown(results: dict[str, Any], keys: Sequence[str] | None = None, spread: bool = False) -> str:
    """The comparison as a Markdown table.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.
        keys: of the columns; None: those of `columns`.
        spread: counts and energies with their standard deviations over seeds, too; accuracies and times always have
            theirs.

    Raises:
        InputError: a malformed key of the results, by name, or an unknown column.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> print(markdown({"task": "digits", "models": [relu]}))
        | model | accuracy (%) |
        | :-- | --: |
        | relu | 90.0 |
    """
    shown = columns(check(results), keys)
    return as_markdown(list(_grid(results, shown, spread, heads=False)))
