"""The command line. Bad input ends in one sentence on stderr and exit code 2."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from neurosparse import experiments, report
from neurosparse.errors import InputError, MissingFileError
from neurosparse.io import files
from neurosparse.io.download import fetch as fetch_files
from neurosparse.io.download import is_sound
from neurosparse.io.formats import FORMATS
from neurosparse.io.manifest import Manifest, locate, read_manifest

__all__ = ["app", "main"]

app = typer.Typer(
    help="Spiking networks, sparse codes and their ANN rivals in one event format, under one meter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="Where to train: cpu or cuda.")]
From = Annotated[str | None, typer.Option("--from", help=f"Format of the file: {', '.join(FORMATS)}.")]
Size = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of the sensor, where the file does not say.")]
ZONED = ["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, by default with the arguments of the process; ends by ``SystemExit``."""
    try:
        app(args=arguments, prog_name="neurosparse")
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


@app.command()
def fetch(
    dataset: Annotated[str, typer.Argument(help="A folder of datasets/, or the path of a manifest.")],
    to: Annotated[Path | None, typer.Option(help="Download into this folder, whatever lies elsewhere.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find a data set on this machine, or download it and verify its checksums."""
    manifest = read_manifest(_manifest_path(dataset))
    paths = None if to else _sound_copy(manifest)
    if paths is None:
        paths = fetch_files(manifest, to)
    facts: dict[str, Any] = {"name": manifest.name, "title": manifest.title, "licence": manifest.licence}
    facts |= {"source": manifest.source} if manifest.source else {}
    _show(facts | {name: str(path) for name, path in paths.items()}, as_json)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A recording in any format that convert knows.")],
    dt: Annotated[float | None, typer.Option(help="Seconds per step, where the file has none (0.001).")] = None,
    size: Size = None,
    from_format: From = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file of events holds: shape, axis, dt, number of events, duration, rates, density, size on disk."""
    options: dict[str, Any] = {"dt": dt, "size": _axes("size", size, 2), "format": from_format}
    with _busy(f"reading {file.name}"):
        facts = files.info(file, **options)
    _show(facts, as_json)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A recording, told by its content or its suffix.")],
    target: Annotated[Path, typer.Argument(help="Where to; the suffix tells the format.")],
    from_format: From = None,
    to_format: Annotated[str | None, typer.Option("--to", help=f"Format of the target: {', '.join(FORMATS)}.")] = None,
    dt: Annotated[float | None, typer.Option(help="Seconds per step; times between steps are kept.")] = None,
    on_collision: Annotated[
        str | None, typer.Option(help="Drop times between steps; spikes of one step: sum, any or error.")
    ] = None,
    size: Size = None,
    units: Annotated[str | None, typer.Option(help="Axes of the units of the target, such as 2312 or 2x34x34.")] = None,
    sample: Annotated[int | None, typer.Option(help="Which one, for formats that hold one recording.")] = None,
    start: Annotated[datetime | None, typer.Option(help="When the session began, for NWB.", formats=ZONED)] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="May be lost: ids, labels or silence (at the end); may be repeated.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take what precedes a damage.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a recording in another format: lossless, or what is lost is asked for by name."""
    options: dict[str, Any] = {"dt": dt, "on_collision": on_collision, "sample": sample, "start": start}
    options |= {"size": _axes("size", size, 2), "units": _axes("units", units), "drop": drop or (), "partial": partial}
    with _busy(f"converting {source.name}"):
        facts = files.convert(source, target, from_format=from_format, to_format=to_format, **options)
    if facts["lost"]:
        print(f"Lost: {facts['lost']}", file=sys.stderr)
    _show(facts, as_json)


@app.command()
def compare(
    task: Annotated[str, typer.Argument(help="A folder of models/, for example models/digits.")],
    only: Annotated[list[str] | None, typer.Option(help="A contestant of that folder; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each contestant.")] = 3,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Where report and JSON go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train every contestant of a task under one budget, test each once, and write the comparison."""
    folder = out or Path("runs") / experiments.load_task(task, experiments.Task).name
    checkpoints = folder / "checkpoints"
    if kept := sum(len(list(checkpoints.glob(f"*.{kind}"))) for kind in ("safetensors", "unfinished")):
        print(f"{kept} trainings in {checkpoints} are used again; delete it to train anew.", file=sys.stderr)
    with _progress() as show:
        options = {"checkpoints": checkpoints, "device": device, "progress": show}
        results = experiments.run(task, only=tuple(only or ()), seeds=range(seeds), **options)
    page = report.save(results, folder)
    if as_json:
        print(json.dumps(results))
        return
    console = _wide_console()
    console.print(report.table(results))
    console.print(f"Report: {page}\nNumbers: {page.with_name('results.json')}", soft_wrap=True)


@app.command()
def atoms(
    task: Annotated[str, typer.Argument(help="A folder of models/, for example models/olshausen-field-1996.")],
    only: Annotated[list[str] | None, typer.Option(help="A learner of that folder; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each learner.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where mosaics, report and JSON go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn dictionaries from photographs; draw and measure their receptive fields. Mosaics appear while they learn."""
    folder = out or Path("runs") / experiments.load_field_task(task).name
    found: dict[str, Tensor] = {}
    with _progress() as show:

        def watch(look: experiments.Look) -> None:
            report.receptive_fields.draw(look, folder)
            if look.seed == 0:
                found[look.pupil] = look.stage.atoms
            if look.final or sys.stderr.isatty():
                show(f"{look.pupil}, seed {look.seed}", look.batch, look.batches)

        results = experiments.learn_fields(task, only=tuple(only or ()), seeds=range(seeds), watch=watch)
    page = report.receptive_fields.save(results, found, folder)
    if as_json:
        print(json.dumps(results))
        return
    _wide_console().print(report.receptive_fields.table(results))
    print(f"Report: {page}\nMosaics: {folder}/*.png, *.pdf")


@app.command()
def bars(
    task: Annotated[str, typer.Argument(help="A folder of models/, for example models/rao-ballard-1999.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings with each prior.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where picture and JSON go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let predictive hierarchies learn from photographs, and measure whether long bars quieten their error units."""
    folder = out or Path("runs") / experiments.load_bar_task(task).name
    with _progress() as show:

        def progress(message: str, done: int, total: int) -> None:
            if done == total or sys.stderr.isatty():
                show(message, done, total)

        options = {"checkpoints": folder / "checkpoints", "progress": progress}
        results, networks = experiments.show_bars(task, seeds=range(seeds), **options)
    picture = report.end_stopping.save(results, networks, folder)
    if as_json:
        print(json.dumps(results))
        return
    _wide_console().print(report.end_stopping.table(results))
    print(f"Picture: {picture}\nNumbers: {picture.with_suffix('.json')}")


@app.command()
def recall(
    task: Annotated[str, typer.Argument(help="A folder of models/, for example models/sparse-memory.")],
    seeds: Annotated[int, typer.Option(min=1, help="Networks at each load.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where picture and JSON go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store sparse patterns in associative memories, and measure what is recalled beside mean-field theory."""
    folder = out or Path("runs") / experiments.load_memory_task(task).name
    with _progress() as show:
        results = experiments.show_recall(task, seeds=range(seeds), progress=show)
    picture = report.associative_memory.save(results, folder)
    if as_json:
        print(json.dumps(results))
        return
    _wide_console().print(report.associative_memory.table(results))
    print(f"Picture: {picture}\nNumbers: {picture.with_suffix('.json')}")


@app.command()
def train(
    task: Annotated[str, typer.Argument(help="A folder of models/, for example models/digits.")],
    contestant: Annotated[str, typer.Argument(help="A TOML file of that folder, without .toml.")],
    seed: Annotated[int, typer.Option(help="Draws weights and batches.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Where checkpoints go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train one contestant once and say how it does on validation data."""
    folder = (out or Path("runs") / experiments.load_task(task, experiments.Task).name) / "checkpoints"
    with _training(as_json) as watch:
        options = {"checkpoints": folder, "resume": resume, "device": device, "watch": watch}
        result = experiments.train_one(task, contestant, seed, **options)
    result["losses"] = [round(loss, 4) for loss in result["losses"]]
    _show(result, as_json)


def _axes(name: str, text: str | None, count: int | None = None) -> tuple[int, ...] | None:
    """Sizes such as 480x640."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) != (count or len(parts)):
        expected = "HEIGHTxWIDTH, such as 480x640" if count else "sizes, such as 2312 or 2x34x34"
        raise InputError(f"--{name}", got=text, expected=expected)
    return tuple(map(int, parts))


def _busy(message: str) -> AbstractContextManager[Any]:
    """That something is under way, in a terminal."""
    console = Console(stderr=True)
    return console.status(message) if console.is_terminal else nullcontext()


def _wide_console() -> Console:
    """Where tables go; a file has no width of its own, so it gets what they need."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, so that --json stays clean; a line for each step where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda message, done, total: print(f"{done}/{total} {message}", file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("reading the task", total=None)

        def show(message: str, done: int, total: int) -> None:
            bar.update(row, description=message, completed=done, total=total)

        yield show


@contextmanager
def _training(as_json: bool) -> Iterator[experiments.Watch | None]:
    """Steps, epoch, loss, accuracy and density of one training in a terminal; nothing anywhere else."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield None
        return
    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("reading the task", total=None)

        def watch(seen: experiments.Seen) -> None:
            shares = {"accuracy": seen.accuracy, "density": seen.density}
            parts = [f"epoch {seen.epoch}", f"loss {seen.loss:.4g}"]
            parts += [f"{name} {100 * share:.1f} %" for name, share in shares.items() if share is not None]
            bar.update(row, description=", ".join(parts), completed=seen.step, total=seen.steps)

        yield watch


def _sound_copy(manifest: Manifest) -> dict[str, Path] | None:
    try:
        paths = locate(manifest)
    except MissingFileError:
        return None
    return paths if all(is_sound(paths[file.name], file) for file in manifest.files) else None


def _manifest_path(dataset: str) -> Path:
    """A manifest by its own path, by name in ./datasets, or by name in the datasets/ beside an editable install."""
    shelves = (Path("datasets"), Path(__file__).parents[1] / "datasets")
    candidates = [Path(dataset), *(shelf / dataset / "manifest.toml" for shelf in shelves)]
    for path in candidates:
        if path.is_file():
            return path
    known = sorted({path.parent.name for shelf in shelves for path in shelf.glob("*/manifest.toml")})
    expected = f"one of {', '.join(known)}" if known else "a data set of ./datasets"
    raise MissingFileError("fetch", got=repr(dataset), expected=expected, fix="Or pass the path of a manifest.")


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value:.6g}" if isinstance(value, float) else f"{name:<{width}}  {value}")
