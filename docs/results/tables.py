"""Writes committed numbers into the documents, between markers such as ``results:NAME``; the kinds are in `filled`.

python docs/results/tables.py
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from neurosparse import report
from neurosparse.atomic import write_atomically

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKED = re.compile(
    r"(<!-- (results|fields|bars|bench|checks|silicon|pruning|recall|nir|spikes|files):(\S+) -->).*?(<!-- /\2 -->)",
    re.DOTALL,
)


def results(name: str) -> str:
    """Verdict, table and origin of one task's results."""
    found = report.load(HERE / f"{name}.json")
    split = ", ".join(f"{size} {part}" for part, size in found.get("split", {}).items())
    budget = found.get("budget", {})
    origin = (
        f"`{found['command']}`: {split} samples, {budget.get('epochs')} epochs, {budget.get('trials')} tuning trials"
    )
    origin += f", seeds {', '.join(map(str, found['seeds']))}; mean ± standard deviation where there are several."
    return "\n\n".join([report.headline.answer(found), report.markdown(found), origin])


def fields(name: str) -> str:
    """What the learners of one task learned, and where the numbers come from."""
    found = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    budget, photographs = found["budget"], found["photographs"]
    origin = f"`{found['command']}`: {budget['atoms']} atoms from {budget['batches'] * budget['batch_size']} patches, "
    held_out = photographs["held_out"]
    named = ", ".join(held_out) if len(held_out) < 10 else f"{len(held_out)} of {len(held_out + photographs['train'])}"
    origin += f"seeds {', '.join(map(str, found['seeds']))}; held out: {named}."
    return f"{report.receptive_fields.markdown(found)}\n\n{origin}"


def recall(name: str) -> str:
    """What an associative memory recalled beside its theory, and where the numbers come from."""
    found = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    budget, seeds = found["budget"], ", ".join(map(str, found["seeds"]))
    origin = f"`{found['command']}`: {budget['units']} units, {budget['samples']} patterns recalled at each load, "
    return f"{report.associative_memory.markdown(found)}\n\n{origin}seeds {seeds}."


def bars(name: str) -> str:
    """How error units answered bars, and where the numbers come from."""
    found = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    budget, shown = found["budget"], {key: ", ".join(map(str, found["bars"][key])) for key in ("rows", "chosen_on")}
    origin = f"`{found['command']}`: {budget['batches'] * budget['batch_size']} patches, seeds "
    origin += (
        f"{', '.join(map(str, found['seeds']))}; measured with bars whose top row is {shown['rows']}, units chosen "
    )
    origin += f"with {shown['chosen_on']}."
    return f"{report.end_stopping.markdown(found)}\n\n{origin}"


def bench(name: str) -> str:
    """Ratios of one benchmark: a row for each subject, a column for each case, `one thread / two threads`."""
    rows = json.loads((ROOT / "benchmarks" / "out" / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in sorted(rows, key=lambda row: row.get("threads", 0)):
        cells.setdefault((row["subject"], row["case"]), []).append(f"{row['ratio']:.2f}")
    subjects, cases = (list(dict.fromkeys(row[key] for row in rows)) for key in ("subject", "case"))
    body = [[subject, *(" / ".join(cells.get((subject, case), ["-"])) for case in cases)] for subject in subjects]
    return "\n".join(["| | " + " | ".join(cases) + " |", "|--" * (len(cases) + 1) + "|", *map(_line, body)])


def checks(name: str) -> str:
    """Exact checks: what theory wants, what was measured of it, what was reached, and the bound."""
    rows = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    body = [[row["check"], row["measure"], f"{row['reached']:.2g}", f"{row['bound']:g}"] for row in rows]
    return "\n".join(map(_line, [["check", "measure", "reached", "bound"], [":--", ":--", "--:", "--:"], *body]))


def silicon(name: str) -> str:
    """Measured energies beside what operations explain, in microjoules."""
    rows = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    head = ["experiment", "what might explain it", "measured", "explained", "residual"]
    body = []
    for row in rows:
        low, nominal, high = (f"{row['explained'][end]:.1f}" for end in ("low", "nominal", "high"))
        explained = nominal if low == high else f"{nominal} [{low}, {high}]"
        body.append(
            [row["experiment"], row["what"], f"{row['measured']:.1f}", explained, f"{row['residual']['nominal']:+.1f}"]
        )
    return "\n".join(map(_line, [head, ["---", "---", "--:", "--:", "--:"], *body]))


def pruning(name: str, at: float = 0.9) -> str:
    """Accuracies in per cent: a row for each method, the best at one sparsity first, a column for each sparsity."""
    rows = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["contestants"]
    seeds = {(_method(row), row["config"].get("pruned", 0.0)): row["accuracy"]["seeds"] for row in rows}
    (dense,) = [method for method, sparsity in seeds if not sparsity]
    sparsities = sorted({sparsity for _, sparsity in seeds})
    order = {method: -mean(seeds.get((method, at), [0.0])) for method, _ in seeds}
    head = ["method", *(f"{100 * sparsity:g} % pruned" if sparsity else "dense" for sparsity in sparsities)]
    body = []
    for method in [dense, *(method for method in sorted(order, key=order.__getitem__) if method != dense)]:
        cells = [_spread(seeds.get((method, sparsity), [])) for sparsity in sparsities]
        lost = [100 * (b - a) for a, b in zip(seeds[dense, 0.0], seeds.get((method, at), []), strict=False)]
        body.append([method, *cells, _spread(lost, 1.0, "+.2f")])
    head.append(f"points from dense at {100 * at:g} %")
    return "\n".join(map(_line, [head, [":--", *["--:"] * (len(head) - 1)], *body]))


def nir(part: str) -> str:
    """What became of networks on their way through NIR: by tool, or beside what the paper recorded."""
    rows = json.loads((HERE / "nir.json").read_text(encoding="utf-8"))[part.replace("-", " ")]
    if part == "round-trips":
        head = ["", "neurons", "reset", "entries that differ", "because"]
        body = [[f"{r['way']} {r['tool']}", _options(r), r["reset"], _share(r), r["difference"] or ""] for r in rows]
    elif part == "braille":
        head = [
            "graph",
            "tool",
            "its spikes",
            "entries that differ",
            "cosine of activity",
            "differ by its own law",
            "which",
        ]
        body = [[*(str(r[k]) for k in ("graph", "tool", "spikes", "mismatches")), f"{r['cosine']:.3f}"] for r in rows]
        body = [[*cells, str(r.get("by its law", "")), r.get("law", "")] for cells, r in zip(body, rows, strict=True)]
    else:
        head = ["tool", "spikes", "lag in steps", "largest difference of voltage", "by"]
        voltage = "largest voltage difference"
        nearest = {r["tool"]: r for r in sorted(rows, key=lambda r: -(r[voltage] or 0))}
        body = [
            [tool, str(r["spikes"]), str(r["largest lag in steps"]), _small(r[voltage]), f"{r['method']}, {r['reset']}"]
            for tool, r in sorted(nearest.items())
        ]
    return "\n".join(map(_line, [head, ["--"] * len(head), *body]))


def spikes(name: str) -> str:
    """Spikes of networks, and how many of them differ on each target of a simulator."""
    rows = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    networks, targets = (list(dict.fromkeys(row[key] for row in rows)) for key in ("network", "target"))
    found = {(row["network"], row["target"]): row for row in rows}
    body = []
    for network in networks:
        known = [found.get((network, target)) for target in targets]
        wrong = ["-" if row is None else str(row["mismatches"]) for row in known]
        apart = [row["membranes_apart"] for row in known if row and row["membranes_apart"] is not None]
        body.append([network, f"{found[network, targets[0]]['spikes']:,}", *wrong, _small(max(apart, default=None))])
    head = ["network", "spikes", *(f"differ on {target}" for target in targets), "readout membranes apart"]
    return "\n".join(map(_line, [head, [":--", *["--:"] * (len(head) - 1)], *body]))


def _options(row: dict[str, Any]) -> str:
    options = [f"{k}={row[k]}" for k in ("reset_delay", "decay_input") if k in row]
    return ", ".join([row["neurons"], *options, *["unit_r=True"] * row.get("unit_r", False)])


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _share(row: dict[str, Any]) -> str:
    return "refused" if row["mismatch"] is None else "0" if row["mismatch"] == 0 else f"{row['mismatch']:.1%}"


def files(name: str) -> str:
    """What survives file formats, what other tools read, what readers make of damage, how fast they are."""
    if name == "large":
        found = _json("large-file")
        gained = (found["peak_bytes"] - found["peak_bytes_before"]) / 1e6
        text = (
            f"`{found['command']}`: a recording of {found['bytes'] / 1e9:.1f} GB, {found['events'] / 1e6:.0f} million "
        )
        text += f"events, streamed in chunks of {found['chunk'] / 1e6:.0f} million: {found['seconds']:.1f} s, "
        return f"{text}{gained:.0f} MB more memory at its peak than before it began."
    if name == "speed":
        rows = json.loads((ROOT / "benchmarks" / "out" / "files.json").read_text(encoding="utf-8"))["rows"]
        cells = {(row["subject"], row["case"]): row for row in rows}
        subjects, cases = (list(dict.fromkeys(row[key] for row in rows)) for key in ("subject", "case"))
        subjects.sort(key=lambda subject: subject == "to an event tensor")
        body = [[subject, *(_speed(cells.get((subject, case))) for case in cases)] for subject in subjects]
        return "\n".join(map(_line, [["", *cases], [":--", *["--:"] * len(cases)], *body]))
    found = _json({"read-back": "round-trips"}.get(name, name))
    rows = found["read_back" if name == "read-back" else "rows"]
    sides = ["--:" if isinstance(value, int) else ":--" for value in rows[0].values()]
    return "\n".join(map(_line, [rows[0], sides, *(map(str, row.values()) for row in rows)]))


def _speed(row: dict[str, Any] | None) -> str:
    """Ratio and million events a second."""
    if row is None:
        return "-"
    differs = f", {row['differs']}" if row["differs"] else ""
    return f"{row['ratio']:.2f} ({row['million_events_a_second']:.0f} M/s{differs})"


def _json(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def _method(row: dict[str, Any]) -> str:
    return row["name"].removesuffix(f"-{row['config'].get('pruned')}")


def _spread(values: list[float], scale: float = 100.0, digits: str = ".2f") -> str:
    """Mean and standard deviation."""
    spread = f" ± {scale * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{scale * mean(values):{digits}}{spread}" if values else ""


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(cells)} |"


def filled(page: str) -> str:
    """The page with every table made anew; a marker without its JSON is an error."""
    make = {
        "results": results,
        "fields": fields,
        "bars": bars,
        "bench": bench,
        "checks": checks,
        "silicon": silicon,
        "pruning": pruning,
        "files": files,
        "recall": recall,
        "nir": nir,
        "spikes": spikes,
    }
    return MARKED.sub(lambda match: f"{match[1]}\n{make[match[2]](match[3])}\n{match[4]}", page)


if __name__ == "__main__":
    for path in PAGES:
        write_atomically(path, filled(path.read_text(encoding="utf-8")).encode())
