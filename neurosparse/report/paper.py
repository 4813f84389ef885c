"""The comparison for a paper: a LaTeX table, and CSV for further computation."""

from __future__ import annotations

import csv as tables
import io
from typing import Any

from neurosparse.report.results import check, scenarios
from neurosparse.report.table import cells

__all__ = ["csv", "escape", "latex"]

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "±": r"$\pm$", "µ": r"$\mu$", "–": "--", "\u00a0": "~", "<": r"$<$", ">": r"$>$",
}  # fmt: skip
COUNTED = ("dense_ops", "effective_macs", "effective_acs", "state_updates", "comparisons", "elementwise", "spikes_out")


def escape(text: str) -> str:
    """Text as LaTeX prints it.

    Example:
        >>> escape("lif_50% & 3 µJ")
        'lif\\\\_50\\\\% \\\\& 3 $\\\\mu$J'
    """
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def latex(results: dict[str, Any]) -> str:
    r"""The comparison as a LaTeX table, ``tabular`` with the rules of booktabs; mean and standard deviation over seeds.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9, "sd": 0.01}, "energy": {}}
        >>> print(latex({"task": "digits", "models": [relu]}).splitlines()[-3])
        relu & 90.0 $\pm$ 1.0 & -- & -- & -- \\
    """
    heads, *rows = cells(check(results), spread=True)
    lines = [" & ".join(map(escape, row)) + r" \\" for row in rows]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}; energies are estimates per sample, not measurements",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(map(escape, heads)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def csv(results: dict[str, Any]) -> str:
    """The comparison as CSV: plain numbers in SI units, a column for each mean, standard deviation and bound.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.

    Returns:
        one line for each model; what is unknown is empty. Accuracies are fractions, counts per sample, energies
        estimated joules per sample.

    Raises:
        InputError: a malformed key, by name.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9}, "energy": {}}
        >>> print(csv({"task": "digits", "models": [relu]}).splitlines()[1][:20])
        relu,ReLU,0.9,,,,,,,
    """
    names, rows = scenarios(check(results)), []
    for model in results["models"]:
        row: dict[str, Any] = {"model": model["name"], "family": model["family"]}
        statistics = {"accuracy": model["accuracy"]}
        statistics |= {name: (model.get("operations") or {}).get(name) for name in COUNTED}
        statistics |= {"operation_sparsity": (model.get("sparsity") or {}).get("operation")}
        for name, stat in statistics.items():
            row |= {f"{name} {key}": (stat or {}).get(key) for key in ("mean", "sd")}
        for name in names:
            report = model["energy"].get(name, {})
            row |= {f"{name} {key} (J)": report.get(key) for key in ("low", "nominal", "high", "sd")}
        rows.append(row)
    text = io.StringIO()
    writer = tables.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
