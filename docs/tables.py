"""Tables of the documents: committed results, written between markers such as ``<!-- results:digits -->``.

python docs/tables.py

A marker holds the kind of its table (a key of `KINDS`) and the name of its numbers. Below the table stand the note of
the result and, where later changes of the code have made it stale, which change did.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import timings

from neurosparse import experiments, report
from neurosparse.atomic import write_atomically
from neurosparse.experiments.classification.space import LogUniform
from neurosparse.report.headline import answer, answers_by_class
from neurosparse.report.pairs import is_dense, is_spiking

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def path(kind: str, name: str) -> Path:
    """The file with the numbers of a marker."""
    if kind in ("bench", "speed"):
        return timings.OUT / f"{name}.json"
    return RESULTS / f"{kind if kind in ('nir', 'energy-tools') else name}.json"  # these have several tables


def read(kind: str, name: str) -> Any:
    return json.loads(path(kind, name).read_text(encoding="utf-8"))


def task(name: str) -> Any:
    """The task of a folder of models/ that writes its own results as Markdown."""
    return experiments.load_task(ROOT / "models" / name)


def seeds(found: dict[str, Any]) -> str:
    return f"seeds {', '.join(map(str, found['seeds']))}"


def results(name: str) -> str:
    """A comparison: its verdict, where it has energies, its table and its origin."""
    return models(report.load(path("results", name)))


def models(found: dict[str, Any]) -> str:
    """All models of a comparison, with its verdict and its origin."""
    budget, sizes = found.get("budget", {}), found.get("split", {})
    split = ", ".join(f"{size} {part}" for part, size in sizes.items()) + " samples"
    split += f" in each of {found['folds']} folds" if found.get("folds") else ""
    origin = f"`{found['command']}`: {split}, {budget.get('epochs')} epochs, {budget.get('trials')} tuning trials, "
    origin += f"{seeds(found)}; mean ± standard deviation where there are several."
    answers = [answer(found)] if found.get("verdicts") else []
    alike = [f"* {name} weights: {text}" for name, text in answers_by_class(found).items()]
    answers += ["Like for like:\n\n" + "\n".join(alike)] if alike else []
    missing = [f"Not run: {', '.join(found['missing'])}."] if found.get("missing") else []
    return "\n\n".join([*answers, report.markdown(found), *missing, origin])


def protocol(names: str) -> list[dict[str, Any]]:
    """Results of the tasks of a marker, ``digits+nmnist``, whose searches had all the trials of the protocol."""
    known = [report.load(path("results", name)) for name in names.split("+") if path("results", name).is_file()]
    return [found for found in known if found["budget"].get("trials") == task(found["task"]).trials]


def of_protocol(show: Callable[..., str]) -> Callable[[str], str]:
    """What shows the results of several tasks, and the marks of their age; no result yet says so."""

    def shown(names: str) -> str:
        results = protocol(names)
        stale = [f"**Stale** ({found['task']}): {found['stale']}" for found in results if found.get("stale")]
        return "\n\n".join([show(*results), *stale]) if results else "*The trainings of the protocol have not run yet.*"

    return shown


def headline(*results: dict[str, Any]) -> str:
    """A row for each task: the dense and the spiking network of least energy that are not inferior to the reference."""
    cheapest = "cmos-45nm/cheapest dataflow per layer"
    head = ["task", "reference", "dense, least energy", "spiking, least energy", "energies, spiking / dense"]
    body = []
    for found in results:
        base, models = found["reference"], {model["name"]: model for model in found["models"]}
        field = {base} | {row["a"] for row in found["verdicts"] if row["b"] == base and row["noninferior_a"]}
        field |= {row["b"] for row in found["verdicts"] if row["a"] == base and row["noninferior_b"]}
        joules = {name: models[name]["energy"][cheapest]["nominal"] for name in field}
        kinds = [list(filter(lambda name: is_kind(models[name]), field)) for is_kind in (is_dense, is_spiking)]
        best = [min(names, key=joules.__getitem__) if names else None for names in kinds]
        shown = [
            f"`{name}` {100 * models[name]['accuracy']['mean']:.1f} %" if name else "none" for name in (base, *best)
        ]
        energy = [f", {joules[name] / joules[base]:.3g} of the reference" if name else "" for name in best]
        dense, spiking = best
        ratio = f"{joules[spiking] / joules[dense]:.2g}" if dense and spiking else "–"
        body.append(
            [re.split(r" \(|, ", found["title"])[0], shown[0], shown[1] + energy[0], shown[2] + energy[1], ratio]
        )
    return "\n".join(map(_line, [head, [":--", ":--", ":--", ":--", "--:"], *body]))


def factorial(*results: dict[str, Any]) -> str:
    """Pairs like for like: the grid at the cheapest dataflow, and the mean ratio of each level in every cost model."""
    found = report.factorial(*results)
    return f"{found.grid('markdown')}\n\n{found.margins('markdown')}"


def pairs(*results: dict[str, Any]) -> str:
    """Every pair of a spiking network and its dense twin, in every cost model."""
    return report.factorial(*results).table("markdown")


def space(name: str) -> str:
    """The parameters that searches draw, their values, and the families that have them."""

    def shown(values: Any) -> str:
        if isinstance(values, LogUniform):
            return f"log-uniform from {values.low:g} to {values.high:g}"
        words = (("no", "yes")[each] if isinstance(each, bool) else f"{each}" for each in values)
        return ", ".join(words).replace("0.0,", "0,")

    rows: dict[tuple[str, str], list[str]] = {}
    for family, config in experiments.FAMILIES.items():
        for parameter, values in config.space.items():
            rows.setdefault((parameter, shown(values)), []).append(family)
    body = [[f"`{parameter}`", values, ", ".join(of)] for (parameter, values), of in rows.items()]
    return "\n".join(map(_line, [["parameter", "values", "families"], [":--"] * 3, *body]))


def fields(name: str) -> str:
    """Learned dictionaries: their receptive fields and their origin."""
    found = read("fields", name)
    budget, photographs = found["budget"], found["photographs"]
    held_out = photographs["held_out"]
    named = ", ".join(held_out) if len(held_out) < 10 else f"{len(held_out)} of {len(held_out + photographs['train'])}"
    origin = f"`{found['command']}`: {budget['atoms']} atoms from {budget['batches'] * budget['batch_size']} patches, "
    origin += f"{seeds(found)}; held out: {named}."
    return f"{report.receptive_fields.markdown(found)}\n\n{origin}"


def recall(name: str) -> str:
    """Recall of associative memories beside theory, and the origin of the numbers."""
    found = read("recall", name)
    budget = found["budget"]
    origin = f"`{found['command']}`: {budget['units']} units, {budget['samples']} patterns recalled at each load, "
    return f"{task('sparse-memory').markdown(found)}\n\n{origin}{seeds(found)}."


def end_stopping(name: str) -> str:
    """Responses of error units to bars, and the origin of the numbers."""
    found = read("end-stopping", name)
    budget, shown = found["budget"], {key: ", ".join(map(str, found["bars"][key])) for key in ("rows", "chosen_on")}
    origin = (
        f"`{found['command']}`: {budget['batches'] * budget['batch_size']} patches, {seeds(found)}; evaluated with "
    )
    origin += f"bars whose top row is {shown['rows']}, units chosen with {shown['chosen_on']}."
    return f"{task('rao-ballard-1999').markdown(found)}\n\n{origin}"


def checks(name: str) -> str:
    """Exact checks: the theorem, what was measured, the residual reached and its bound."""
    rows = read("checks", name)["rows"]
    body = [[row["check"], row["measure"], f"{row['reached']:.2g}", f"{row['bound']:g}"] for row in rows]
    return "\n".join(map(_line, [["check", "measure", "reached", "bound"], [":--", ":--", "--:", "--:"], *body]))


def hardware(name: str) -> str:
    """Measured energies beside what operations explain, in microjoules."""
    head = ["experiment", "what might explain it", "measured", "explained", "residual"]
    body = []
    for row in read("hardware", name)["rows"]:
        low, nominal, high = (f"{row['explained'][end]:.1f}" for end in ("low", "nominal", "high"))
        explained = nominal if low == high else f"{nominal} [{low}, {high}]"
        body.append(
            [row["experiment"], row["what"], f"{row['measured']:.1f}", explained, f"{row['residual']['nominal']:+.1f}"]
        )
    return "\n".join(map(_line, [head, ["---", "---", "--:", "--:", "--:"], *body]))


def pruning(name: str, at: float = 0.9) -> str:
    """Accuracies in per cent: a row for each method, the best at one sparsity first, a column for each sparsity."""
    rows = read("pruning", name)["models"]
    found = {(_method(row), row["config"].get("sparsity", 0.0)): row["accuracy"]["seeds"] for row in rows}
    (dense,) = [method for method, sparsity in found if not sparsity]
    sparsities = sorted({sparsity for _, sparsity in found})
    order = {method: -mean(found.get((method, at), [0.0])) for method, _ in found}
    head = ["method", *(f"{100 * sparsity:g} % pruned" if sparsity else "dense" for sparsity in sparsities)]
    body = []
    for method in [dense, *(method for method in sorted(order, key=order.__getitem__) if method != dense)]:
        cells = [_spread(found.get((method, sparsity), [])) for sparsity in sparsities]
        lost = [100 * (b - a) for a, b in zip(found[dense, 0.0], found.get((method, at), []), strict=False)]
        body.append([method, *cells, _spread(lost, 1.0, "+.2f")])
    head.append(f"points from dense at {100 * at:g} %")
    return "\n".join(map(_line, [head, [":--", *["--:"] * (len(head) - 1)], *body]))


def nir(part: str) -> str:
    """Networks after a conversion by NIR: by tool, or beside the recordings of the paper."""
    rows = read("nir", part)[part.replace("-", " ")]
    if part == "round-trips":
        head = ["", "neurons", "reset", "entries that differ", "because"]
        body = [[f"{r['way']} {r['tool']}", _options(r), r["reset"], _share(r), r["difference"] or ""] for r in rows]
    elif part == "braille":
        head = ["graph", "tool", "its spikes", "entries that differ", "cosine of activity"]
        head += ["differ by its own equations", "which"]
        body = [[*(str(r[k]) for k in ("graph", "tool", "spikes", "mismatches")), f"{r['cosine']:.3f}"] for r in rows]
        body = [
            [*cells, str(r.get("by its equations", "")), r.get("equations", "")]
            for cells, r in zip(body, rows, strict=True)
        ]
    else:
        head = ["tool", "spikes", "lag in steps", "largest difference of voltage", "by"]
        voltage = "largest voltage difference"
        nearest = {r["tool"]: r for r in sorted(rows, key=lambda r: -(r[voltage] or 0))}
        body = [
            [tool, str(r["spikes"]), str(r["largest lag in steps"]), _small(r[voltage]), f"{r['method']}, {r['reset']}"]
            for tool, r in sorted(nearest.items())
        ]
    return "\n".join(map(_line, [head, ["--"] * len(head), *body]))


def energy_tools(part: str) -> str:
    """One network by three tools: its counts, its energies, or published energies."""

    def cell(value: Any) -> str:
        if isinstance(value, list):
            return " to ".join(f"{each:.2g}" for each in value)
        number = isinstance(value, int | float)
        return "-" if value is None else f"{value:,.{0 if value >= 100 else 2}f}" if number else str(value)

    rows = read("energy-tools", part)[part]
    sides = [":--" if isinstance(value, str) else "--:" for value in rows[0].values()]
    return "\n".join(map(_line, [rows[0], sides, *(map(cell, row.values()) for row in rows)]))


def spikes(name: str) -> str:
    """Spikes of networks, and how many of them differ on each target of a simulator."""
    rows = read("spikes", name)["rows"]
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


def files(name: str, rows: str = "rows") -> str:
    """One row for each file format: what survives it, or what readers return for damaged files."""
    found = read("files", name)[rows]
    sides = ["--:" if isinstance(value, int) else ":--" for value in found[0].values()]
    return "\n".join(map(_line, [found[0], sides, *(map(str, row.values()) for row in found)]))


def read_back(name: str) -> str:
    """Files written here and read by other tools."""
    return files(name, "read_back")


def streaming(name: str) -> str:
    """Seconds and memory of a large recording, read in chunks."""
    found = read("streaming", name)
    gained = (found["peak_bytes"] - found["peak_bytes_before"]) / 1e6
    text = f"`{found['command']}`: a recording of {found['bytes'] / 1e9:.1f} GB, {found['events'] / 1e6:.0f} million "
    text += f"events, streamed in chunks of {found['chunk'] / 1e6:.0f} million: {found['seconds']:.1f} s, "
    return f"{text}{gained:.0f} MB more memory at its peak than before it began."


def _options(row: dict[str, Any]) -> str:
    options = [f"{k}={row[k]}" for k in ("reset_delay", "decay_input") if k in row]
    return ", ".join([row["neurons"], *options, *["unit_r=True"] * row.get("unit_r", False)])


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _share(row: dict[str, Any]) -> str:
    return "refused" if row["mismatch"] is None else "0" if row["mismatch"] == 0 else f"{row['mismatch']:.1%}"


def _method(row: dict[str, Any]) -> str:
    return row["name"].removesuffix(f"-{row['config'].get('sparsity')}")


def _spread(values: list[float], scale: float = 100.0, digits: str = ".2f") -> str:
    """Mean and standard deviation."""
    spread = f" ± {scale * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{scale * mean(values):{digits}}{spread}" if values else ""


def _line(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(cells)} |"


KINDS: dict[str, Callable[[str], str]] = {
    "results": results,
    "models": of_protocol(models),
    "headline": of_protocol(headline),
    "sentence": of_protocol(report.sentence),
    "factorial": of_protocol(factorial),
    "pairs": of_protocol(pairs),
    "fields": fields,
    "space": space,
    "recall": recall,
    "end-stopping": end_stopping,
    "bench": timings.bench,
    "performance": timings.performance,
    "checks": checks,
    "hardware": hardware,
    "pruning": pruning,
    "nir": nir,
    "energy-tools": energy_tools,
    "spikes": spikes,
    "files": files,
    "read-back": read_back,
    "streaming": streaming,
    "speed": timings.speed,
}
SEVERAL = ("performance", "space", "models", "headline", "sentence", "factorial", "pairs")
"""Kinds that stand in the code, or read the results of several tasks."""
MARKED = re.compile(rf"(<!-- ({'|'.join(KINDS)}):(\S+) -->).*?(<!-- /\2 -->)", re.DOTALL)


def table(kind: str, name: str) -> str:
    """The table, then the note and the mark of age of its numbers."""
    about = {} if kind in SEVERAL else read(kind, name)
    remarks = [about["note"]] if about.get("note") else []
    remarks += [f"**Stale:** {about['stale']}"] if about.get("stale") else []
    return "\n\n".join([KINDS[kind](name), *remarks])


def filled(page: str) -> str:
    """The page with every table made again from its JSON; a marker without a JSON is an error."""
    return MARKED.sub(lambda match: f"{match[1]}\n{table(match[2], match[3])}\n{match[4]}", page)


if __name__ == "__main__":
    for page in PAGES:
        write_atomically(page, filled(page.read_text(encoding="utf-8")).encode())
