r"""The comparison as a LaTeX table with caption, label and ``\cite`` keys, for one or both columns of a page."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neurosparse.report.citations import keys_of
from neurosparse.report.headline import answer
from neurosparse.report.results import check, reference, scenarios
from neurosparse.report.sources import of_results
from neurosparse.report.table import Column, are_grouped, columns, families, main_scenarios, scenario_words

__all__ = ["cite", "escape", "latex"]

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "<": r"$<$", ">": r"$>$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "°": r"$^\circ$", "²": "$^2$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "→": r"$\rightarrow$", "∞": r"$\infty$",
    "–": "--", "—": "---", "−": "$-$", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~",
    "µ": r"$\mu$", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."}
ACCENTS |= {"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c", "\u0328": "k"}
# Capitals of Greek that LaTeX has no command for look like these letters.
LATIN = dict(ALPHA="A", BETA="B", EPSILON="E", ZETA="Z", ETA="H", IOTA="I", KAPPA="K", MU="M", NU="N")
LATIN |= dict(OMICRON="O", RHO="P", TAU="T", CHI="X")
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)$")
# Points: width of a line (of the two-column class "article"), and of a digit in each size of letters.
COLUMN, PAGE = 226.0, 466.0
SIZES = {"footnotesize": 4.25, "scriptsize": 3.99, "tiny": 3.41}
GAP, LEAST = 6.0, 62.0  # between columns; of a column of names
HEAD, LONG = 12, 20  # characters: of a line of the head, of a word that may break in the caption


def escape(text: str) -> str:
    r"""Text as LaTeX prints it, in ASCII; a character without a command is named by its number.

    Example:
        >>> print(escape("lif_50% & 3 µJ, β = é 中"))
        lif\_50\% \& 3 $\mu$J, $\beta$ = \'{e} [U+4E2D]
    """
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter.isascii():
        return letter if letter.isprintable() else " "
    greek = GREEK.match(unicodedata.name(letter, ""))
    if greek:
        name = {"LAMDA": "LAMBDA", "FINAL": "VARSIGMA"}.get(greek[2], greek[2])
        if greek[1] == "CAPITAL":
            return LATIN.get(name, rf"$\{name.capitalize()}$")
        return "o" if name == "OMICRON" else rf"$\{name.lower()}$"
    base, *marks = unicodedata.normalize("NFKD", letter)
    if base.isascii() and len(marks) == 1 and marks[0] in ACCENTS:
        return rf"\{ACCENTS[marks[0]]}{{{base}}}"
    return "".join(map(_letter, (base, *marks))) if (base + "".join(marks)).isascii() else f"[U+{ord(letter):04X}]"


def breakable(name: str) -> str:
    """A name that may break after each of its signs, and inside a long word."""
    words = re.findall(r"[^\W_]{1,10}|[\W_]", name)
    return "".join(escape(word) + (r"\allowbreak{}" if word != " " else "") for word in words).removesuffix(
        r"\allowbreak{}"
    )


def cite(keys: Sequence[str]) -> str:
    r"""``\cite`` of references; `neurosparse.citations` has their BibTeX."""
    return rf"\cite{{{','.join(keys)}}}" if keys else ""


def latex(results: dict[str, Any], keys: Sequence[str] | None = None, wide: bool = False) -> str:
    r"""The comparison as a LaTeX table that fits a column of a two-column paper (240 pt), or the whole page.

    Args:
        results: as :func:`neurosparse.report.check` accepts them.
        keys: of the columns, see `columns`; None: accuracy, energy and its ratio to the reference, and more in a wide
            table.
        wide: ``table*`` over both columns of the page.

    Returns:
        ``table`` with caption, label and the rules of booktabs; ASCII.

    Raises:
        InputError: a malformed key, by name, or an unknown column.

    Example:
        >>> relu = {"name": "relu", "family": "ReLU", "accuracy": {"mean": 0.9, "sd": 0.01}, "energy": {}}
        >>> print(latex({"task": "digits", "models": [relu]}).splitlines()[-4])
        relu & 90.0 $\pm$ 1.0 \\
    """
    check(results)
    main = main_scenarios(results)
    if keys is None and not wide:
        keys = ["accuracy", *(["energy"] if main else []), *(["ratio"] if main and len(results["models"]) > 1 else [])]
    shown, budget = columns(results, keys), PAGE if wide else COLUMN
    heads = _heads(results, shown)
    size, name = _layout(results, shown, heads, budget)
    kind = "table*" if wide else "table"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{{kind}}}",
            rf"\centering\{size}",
            rf"\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}",
            rf"\caption{{{_caption(results, shown)}}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', results['task']).strip('-').lower() or 'comparison'}}}",
            rf"\begin{{tabular}}{{@{{}}{f'p{{{name:.0f}pt}}' if name else 'l'}{'r' * len(shown)}@{{}}}}",
            r"\toprule",
            *(" & ".join(map(escape, row)) + r" \\" for row in heads),
            r"\midrule",
            *_body(results, shown, bool(name)),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{kind}}}",
        ]
    )


def _heads(results: Mapping[str, Any], shown: Sequence[Column]) -> list[list[str]]:
    """Lines of the head: words, and the unit below them. A single energy and the ratio are named in the caption."""
    energies = [one for one in shown if one.scenario and one.key != "ratio"]
    words = []
    for one in shown:
        head = "ratio" if one.key == "ratio" else "energy" if energies == [one] else one.head
        words.append(textwrap.wrap(head, HEAD, break_long_words=False) + ([f"({one.unit})"] if one.unit else []))
    height = max(map(len, words))
    padded = [["model"] + [""] * (height - 1), *([*word, *[""] * (height - len(word))] for word in words)]
    return [list(line) for line in zip(*padded, strict=True)]


def _layout(
    results: Mapping[str, Any], shown: Sequence[Column], heads: Sequence[Sequence[str]], budget: float
) -> tuple[str, float]:
    """Size of the letters and width of the column of names in points; 0 where names need no break."""
    cells = [[one.cell(value) for value in one.values] + [head[i] for head in heads] for i, one in enumerate(shown, 1)]
    digits = sum(max(map(printed, column)) for column in cells)
    longest = max(printed(model["name"]) for model in results["models"])
    rooms = {size: budget - digits * digit - GAP * len(shown) for size, digit in SIZES.items()}
    wanted = {size: longest * digit for size, digit in SIZES.items()}
    size = next((size for size in SIZES if rooms[size] >= min(wanted[size], LEAST)), "tiny")
    return size, 0 if wanted[size] <= rooms[size] else max(rooms[size] - 1, LEAST / 2)


def printed(text: str) -> float:
    """Width of a text in digits of its size, from above: capitals and broad letters are wider."""
    letters = "".join(f"[U+{ord(letter):04X}]" if "[U+" in _letter(letter) else letter for letter in text)
    return sum(2 if letter in "mwMW@%∞→" or letter.isupper() else 1.15 for letter in letters if letter not in " .,")


def _body(results: Mapping[str, Any], shown: Sequence[Column], broken: bool) -> Iterator[str]:
    """Rows by family."""
    grouped, i = families(results), 0
    heads = are_grouped(grouped)
    for number, (family, models) in enumerate(grouped.items()):
        if heads:
            yield from [r"\midrule"] if number else []
            yield rf"\multicolumn{{{len(shown) + 1}}}{{@{{}}l@{{}}}}{{\emph{{{escape(family)}}}}} \\"
        for model in models:
            cells = [escape(one.cell(one.values[i])) for one in shown]
            name = rf"\raggedright {breakable(model['name'])}" if broken else escape(model["name"])
            yield " & ".join([name, *cells]) + r" \\"
            i += 1


def _caption(results: Mapping[str, Any], shown: Sequence[Column]) -> str:
    """The answer, what the columns are, and what they rest on."""
    seeds, names = results.get("seeds") or [], scenarios(dict(results))
    energies = {one.scenario: scenario_words(one.scenario, names) for one in shown if one.scenario}
    parts = [f"{results.get('title') or results['task']}. {answer(dict(results))}"]
    if energies:
        parts.append(f"Energies are estimates per sample ({'; '.join(energies.values())}), not measurements.")
    if any(one.key == "ratio" for one in shown):
        parts.append(f"Ratio: energy over that of {reference(dict(results))['name']}.")
    parts += [f"Mean ± standard deviation over {len(seeds)} seeds."] if len(seeds) > 1 else []
    words = (escape(word) if len(word) < LONG else breakable(word) for word in " ".join(parts).split())
    return " ".join([*words, cite(keys_of(of_results(results)))]).strip()
