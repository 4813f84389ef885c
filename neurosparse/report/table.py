"""Tables of the comparison for a terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurosparse.plot.units import MISSING, si, thousands
from neurosparse.report.headline import answer
from neurosparse.report.results import check, scenarios

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["cells", "markdown", "percent", "table"]

SPARSITIES = ("weight", "activation", "temporal", "operation")


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


def mean(stats: Any, name: str) -> float | None:
    """The mean of a named statistic, None where it is unknown."""
    return ((stats or {}).get(name) or {}).get("mean")


def whole(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{100 * fraction:.0f}"


def joules(model: dict[str, Any], scenario: str) -> str:
    return si(model["energy"].get(scenario, {}).get("nominal"), "J")


def format_latency(latency: dict[str, Any] | None) -> str:
    """Latency until the accuracy is that of the final step: in seconds, or in steps without a duration.

    Example:
        >>> format_latency({"steps": {"mean": 3.5}, "of": 8}), format_latency(None)
        ('3.5 of 8', '–')
    """
    if not latency:
        return MISSING
    seconds = mean(latency, "seconds")
    return f"{mean(latency, 'steps'):.3g} of {latency['of']}" if seconds is None else si(seconds, "s")


def table(results: dict[str, Any]) -> Table:
    """The comparison for a terminal of 120 columns: accuracy and work of each model, then estimated energy.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> type(table({"task": "digits", "models": [relu]})).__name__
        'Table'
    """
    from rich.markup import escape
    from rich.table import Table

    check(results)
    work = Table(
        title=f"{escape(results['task'])}: accuracy and work per sample",
        title_justify="left",
        padding=(0, 1, 0, 0),
        box=None,
    )
    cost = Table(
        title="\nestimated energy per sample (not measured)", title_justify="left", padding=(0, 1, 0, 0), box=None
    )
    for one in (work, cost):
        one.add_column("model", no_wrap=True, style="bold")
    for heading in ("accuracy %", *(f"{name}\nsparsity %" for name in SPARSITIES), "MACs", "ACs", "bytes"):
        work.add_column(heading, justify="right", no_wrap=heading == "accuracy %")
    timed = any(c.get("latency") for c in results["models"])
    if timed:
        work.add_column("latency", justify="right", no_wrap=True)
    for scenario in scenarios(results):
        hardware, _, dataflow = scenario.partition("/")
        cost.add_column(f"{escape(dataflow.replace('_', ' '))}\n{escape(hardware)}", justify="right")
    for c in results["models"]:
        kinds = (mean(c.get("operations"), name) for name in ("effective_macs", "effective_acs"))
        moved = sum((c.get("bytes") or {}).get(name) or 0 for name in ("read", "written")) if c.get("bytes") else None
        sparse = (whole(mean(c.get("sparsity"), name)) for name in SPARSITIES)
        late = [format_latency(c.get("latency"))] if timed else []
        work.add_row(escape(c["name"]), percent(c["accuracy"]), *sparse, *map(si, kinds), si(moved, "B"), *late)
        cost.add_row(escape(c["name"]), *(joules(c, scenario) for scenario in scenarios(results)))
    page = Table.grid()
    for part in (escape(answer(results)), "", work, cost):
        page.add_row(part)
    return page


def spread_of(stat: Any, unit: str = "") -> str:
    """A mean with its standard deviation in the same prefix, where both are known.

    Example:
        >>> spread_of({"mean": 2.1e4, "sd": 350.0}), spread_of({"mean": 3e-9, "sd": None}, "J").replace("\\u00a0", " ")
        ('21 ± 0.35k', '3 nJ')
    """
    center, sd = (stat or {}).get("mean"), (stat or {}).get("sd")
    if center is None or not sd:
        return si(center, unit)
    scale = 10 ** thousands(center)
    prefix = si(center, unit).lstrip("0123456789.-+e")
    return f"{center / scale:.3g} ± {sd / scale:.2g}{prefix}"


def cells(results: dict[str, Any], spread: bool = False) -> list[list[str]]:
    """The comparison as a grid of text, headings first.

    Args:
        results: checked.
        spread: counts and energies with their standard deviations, too.
    """
    names = scenarios(results)
    heads = ["model", "accuracy %", "effective MACs", "effective ACs", "operation sparsity %"]
    rows = [heads + [name.replace("_", " ").replace("/", ", ") for name in names]]
    for c in results["models"]:
        work, energy = c.get("operations") or {}, c["energy"]
        stats = [(work.get(name), "") for name in ("effective_macs", "effective_acs")]
        found = [energy.get(name, {}) for name in names]
        joules = [({"mean": report.get("nominal"), "sd": report.get("sd")}, "J") for report in found]
        texts = [
            spread_of(stat if spread or not stat else {"mean": stat.get("mean")}, unit) for stat, unit in stats + joules
        ]
        sparse = whole(mean(c.get("sparsity"), "operation"))
        name = " ".join(c["name"].split())  # no line breaks inside a row
        rows.append([name, percent(c["accuracy"]), *texts[:2], sparse, *texts[2:]])
    return rows


def markdown(results: dict[str, Any], spread: bool = False) -> str:
    """The comparison as a Markdown table.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.
        spread: counts and energies with their standard deviations over seeds, too; accuracies always have theirs.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> print(markdown({"task": "digits", "models": [relu]}))
        | model | accuracy % | effective MACs | effective ACs | operation sparsity % |
        | :-- | --: | --: | --: | --: |
        | relu | 90.0 | – | – | – |
    """
    heads, *rows = cells(check(results), spread)
    lines = [heads, [":--"] + ["--:"] * (len(heads) - 1), *rows]
    bare = [[cell.replace("|", "\\|").replace("\u00a0", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in bare)
