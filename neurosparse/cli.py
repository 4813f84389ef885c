"""The command line: bad input ends in one sentence on stderr and exit code 2."""

import errno
import inspect
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from neurosparse import experiments
from neurosparse import report as reports
from neurosparse.errors import InputError, MissingFileError
from neurosparse.io import files
from neurosparse.io.download import fetch as fetch_files
from neurosparse.io.download import is_sound
from neurosparse.io.formats import FORMATS
from neurosparse.io.manifest import Manifest, locate, read_manifest
from neurosparse.shell import Option, in_shell
from neurosparse.terminal import busy, progress, show, training, wide_console

__all__ = ["app", "main"]

app = typer.Typer(
    help="Spiking networks, sparse coding and artificial neural networks in one event format, under one meter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
TaskFolder = Annotated[str, typer.Argument(help="A folder of models/, for example models/digits.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Number of seeds 0, 1, 2 ...; default: the task's own, or 3.")]
Seed = Annotated[list[int] | None, typer.Option(min=0, help="A seed, instead of --seeds; may be repeated.")]
Out = Annotated[Path | None, typer.Option(help="Where results go; default runs/TASK.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="Where to train: cpu or cuda.")]
From = Annotated[str | None, typer.Option("--from", help=f"Format of the file: {', '.join(FORMATS)}.")]
Size = Annotated[
    str | None, typer.Option(metavar="HEIGHTxWIDTH", help="Of the sensor, where the file does not state it.")
]
Camera = Annotated[int | None, typer.Option(metavar="STREAM", help="Of AEDAT4 files with several cameras.")]
OnError = Annotated[str, typer.Option(metavar="raise|drop|sort", help="Events off the sensor or out of order.")]
T0 = Annotated[float | None, typer.Option(metavar="SECONDS", help="Start, where the file does not state it.")]
Duration = Annotated[float | None, typer.Option(metavar="SECONDS", help="Length, where the file does not state it.")]
TimeUnit = Annotated[str | None, typer.Option(metavar="s|ms|us|ns", help="Of SHD files with integer times.")]
Table = Annotated[str | None, typer.Option(metavar="PATH", help="Of the table of units in an NWB file.")]
IMAGE_TASK = "models/olshausen-field-1996"
ZONED = ["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, by default with the arguments of the process; ends by ``SystemExit``."""
    shown, warnings.formatwarning = (
        warnings.formatwarning,
        lambda text, *_: f"Warning: {_translated(text, arguments)}\n",
    )
    try:
        try:
            app(args=arguments, prog_name="neurosparse")
        finally:
            warnings.formatwarning = shown
            sys.stdout.flush()  # what is left in its buffer may find a full disk
    except InputError as error:
        print(_translated(error, arguments), file=sys.stderr)
    except OSError as error:
        _leave_standard_output(error)
        reason = error.strerror or error
        got = reason if error.filename is None else f"{error.filename}: {reason}"
        print(f"neurosparse: got {got}; expected files and folders that can be used.", file=sys.stderr)
    raise SystemExit(2) from None


def _leave_standard_output(error: OSError) -> None:
    """Keep the interpreter from writing again, at its end, what standard output did not take."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # of `| head`
            raise SystemExit(1) from None


def _translated(message: object, arguments: list[str] | None) -> str:
    """A message about arguments of functions as one about options of the command."""
    typed = sys.argv[1:] if arguments is None else arguments
    commands = {command.callback.__name__: command.callback for command in app.registered_commands if command.callback}
    name = next((word for word in typed if word in commands), "")
    options = {}
    for parameter in inspect.signature(commands[name]).parameters.values() if name else ():
        kind, *about = get_args(parameter.annotation)
        for option in about:
            if isinstance(option, OptionInfo):
                flag = (option.param_decls or (f"--{parameter.name.replace('_', '-')}",))[0]
                options[parameter.name] = Option(flag, "" if kind is bool else option.metavar or parameter.name.upper())
    return in_shell(str(message), options, name)


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
    show(facts | {name: str(path) for name, path in paths.items()}, as_json)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="A recording in any format that convert reads.")],
    dt: Annotated[float | None, typer.Option(metavar="SECONDS", help="Per step, where the file has none.")] = None,
    size: Size = None,
    from_format: From = None,
    camera: Camera = None,
    on_error: OnError = "raise",
    t0: T0 = None,
    duration: Duration = None,
    time_unit: TimeUnit = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Print what a file of events holds: shape, steps, number of events, first and last time, rates, size on disk."""
    options: dict[str, Any] = {"dt": dt, "size": _axes("size", size, 2), "format": from_format, "camera": camera}
    options |= {"on_error": on_error, "t0": t0, "duration": duration, "time_unit": time_unit, "table": table}
    with busy(f"reading {file.name}"):
        facts = files.info(file, **options)
    show(facts, as_json)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A recording; its format is read from its content or its suffix.")],
    target: Annotated[Path, typer.Argument(help="Where to; the suffix is the format.")],
    from_format: From = None,
    to_format: Annotated[str | None, typer.Option("--to", help=f"Format of the target: {', '.join(FORMATS)}.")] = None,
    dt: Annotated[float | None, typer.Option(metavar="SECONDS", help="Per step; times between steps are kept.")] = None,
    on_collision: Annotated[
        str | None, typer.Option(metavar="sum|any|error", help="Drop times between steps; several spikes in one step.")
    ] = None,
    size: Size = None,
    units: Annotated[
        str | None, typer.Option(metavar="AXES", help="Of the units of the target, such as 2312 or 2x34x34.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Which one, for formats that hold one recording.")
    ] = None,
    start: Annotated[datetime | None, typer.Option(help="When the session began, for NWB.", formats=ZONED)] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="ids|labels|silence", help="May be lost (silence: at the end); may be repeated."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take what precedes a damage.")] = False,
    rebase: Annotated[bool, typer.Option("--rebase", help="Let times count from the start of the recording.")] = False,
    camera: Camera = None,
    on_error: OnError = "raise",
    t0: T0 = None,
    duration: Duration = None,
    time_unit: TimeUnit = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Write a recording in another format; what the target does not hold is refused, or named after Lost."""
    options: dict[str, Any] = {"dt": dt, "on_collision": on_collision, "sample": sample, "start": start}
    options |= {"size": _axes("size", size, 2), "units": _axes("units", units), "drop": drop or (), "partial": partial}
    options |= {"rebase": rebase, "camera": camera, "on_error": on_error, "t0": t0, "duration": duration}
    options |= {"time_unit": time_unit, "table": table}
    with busy(f"converting {source.name}"):
        facts = files.convert(source, target, from_format=from_format, to_format=to_format, **options)
    if facts["lost"]:
        print(f"Lost: {facts['lost']}", file=sys.stderr)
    show(facts, as_json)


@app.command(epilog="Example: neurosparse run models/sparse-memory --seeds 3")
def run(
    task: TaskFolder,
    only: Annotated[list[str] | None, typer.Option(help="One part of the task, by name; may be repeated.")] = None,
    seeds: Seeds = None,
    seed: Seed = None,
    device: Annotated[str | None, typer.Option(help="Where to train: cpu or cuda, for tasks that have it.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run the experiment of a task folder of any kind; print its table, and write numbers, pictures and page."""
    found = experiments.load_task(task)
    options = {"only": tuple(only or ()), "device": device}
    _run(found, _seeds(found, seed, seeds), out, as_json, {name: value for name, value in options.items() if value})


@app.command(epilog="Example: neurosparse compare models/digits --seeds 5 --only relu --only lif")
def compare(
    task: TaskFolder,
    only: Annotated[list[str] | None, typer.Option(help="A model of that folder; may be repeated.")] = None,
    seeds: Seeds = None,
    seed: Seed = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of each search, instead of the task's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Begin no training after so many; run again to go on.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Trainings side by side; default: all cores.")] = None,
    device: Device = "cpu",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Search, train and test every model of a task under one protocol; print and write the comparison."""
    found = experiments.load_task(task, experiments.Task)
    options = {"trials": trials, "minutes": minutes, "processes": processes}
    given = {name: value for name, value in options.items() if value is not None}
    _run(found, _seeds(found, seed, seeds), out, as_json, given | {"only": tuple(only or ()), "device": device})


@app.command(epilog="Example: neurosparse atoms models/olshausen-field-1996 --only online --seeds 1")
def atoms(
    task: Annotated[
        str | None, typer.Argument(help=f"A folder of models/; with --images by default {IMAGE_TASK}.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of your own pictures, at least two, in place of those of the task.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="A learner of that folder; may be repeated.")] = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Learn dictionaries from images; draw and describe their receptive fields. Mosaics appear during learning."""
    if task is None and images is None:
        raise InputError("atoms", got="no task", expected="a folder of models/", fix="Or pass --images FOLDER.")
    found = experiments.load_task(_image_task() if task is None else task, experiments.FieldTask)
    if images is not None:
        title = f"{found.size} x {found.size} patches of the pictures of {images.absolute().name}"
        found = replace(found, name=f"{found.name}-{images.absolute().name}", title=title, pictures=images)
    _run(found, _seeds(found, seed, seeds), out, as_json, {"only": tuple(only or ())})


def _seeds(task: experiments.AnyTask, seed: list[int] | None, seeds: int | None) -> Sequence[int]:
    """The seeds that are named, or as many as are asked for; by default as many as the task says."""
    return seed or range(getattr(task, "seeds", 3) if seeds is None else seeds)


def _image_task() -> Path:
    """The task of photographs in ./models, or in the models/ beside an editable install."""
    beside = Path(__file__).parents[1] / IMAGE_TASK
    return beside if beside.is_dir() and not Path(IMAGE_TASK).is_dir() else Path(IMAGE_TASK)


def _run(
    task: experiments.AnyTask, seeds: Sequence[int], out: Path | None, as_json: bool, options: dict[str, Any]
) -> None:
    """Run a task with those options that it has, save its results, and print table or JSON."""
    known = inspect.signature(task.run).parameters
    for name in options:
        if name not in known:
            raise InputError(f"--{name}", got=f"task {task.name!r}", expected="a task with this option", fix="Omit it.")
    folder = _writable(out or Path("runs") / task.name)
    kinds = ("checkpoints/*.safetensors", "checkpoints/*.unfinished", "trainings/*/*.json")
    if kept := sum(len(list(folder.glob(kind))) for kind in kinds):
        which = f"{kept} results of trainings in {folder} are used again where model, budget and data are the same"
        print(f"{which}; delete it to train anew.", file=sys.stderr)
    with progress() as update:
        results = task.run(seeds, update, folder=folder, **options)
    main = task.save(results, folder)
    if as_json:
        print(json.dumps(results))
        return
    console = wide_console()
    console.print(task.table(results))
    kind = "Report" if main.suffix == ".html" else "Picture"
    console.print(f"{kind}: {main}\nNumbers: {folder / 'results.json'}", soft_wrap=True)


@app.command(epilog="Example: neurosparse report docs/results/digits.json docs/results/nmnist.json --out runs/overview")
def report(
    results: Annotated[list[Path], typer.Argument(help="Results of tasks, as compare writes them.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the page, overview.html; default: no page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare spiking with dense networks over several tasks: the factorial table, its margins, and the sentence."""
    loaded = [reports.load(path) for path in results]
    found, sentence = reports.factorial(*loaded), reports.sentence(*loaded)
    page = None if out is None else reports.save_overview(loaded, _writable(out))
    if as_json:
        print(json.dumps({"sentence": sentence, "forest": reports.forest_rows(*loaded), "rows": found.records()}))
        return
    console = wide_console()
    for part in (found.grid(), found.margins(), sentence):
        console.print(part, "")
    if page is not None:
        console.print(f"Page: {page}", soft_wrap=True)


@app.command(epilog="Example: neurosparse train models/digits lif-4")
def train(
    task: TaskFolder,
    model: Annotated[str, typer.Argument(help="A model of that folder: a file without its suffix.")],
    seed: Annotated[int, typer.Option(min=0, help="Draws weights and batches.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Where checkpoints go; default runs/TASK.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train one model once and print its accuracy on validation data."""
    found = experiments.load_task(task, experiments.Task)
    folder = _writable(out or Path("runs") / found.name)
    with training(as_json) as callback:
        result = found.train(model, seed, folder=folder, resume=resume, device=device, callback=callback)
    result["losses"] = [round(loss, 4) for loss in result["losses"]]
    show(result, as_json)


def _axes(name: str, text: str | None, count: int | None = None) -> tuple[int, ...] | None:
    """Sizes such as 480x640."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(parts) != (count or len(parts)):
        expected = "HEIGHTxWIDTH, such as 480x640" if count else "sizes, such as 2312 or 2x34x34"
        raise InputError(f"--{name}", got=text, expected=expected)
    return tuple(map(int, parts))


def _writable(folder: Path) -> Path:
    """The folder, if it can be made and written into; nothing is left there."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        got, fix = f"{folder}: {error.strerror}", "Pass another --out."
        raise InputError("--out", got=got, expected="a folder that can be written", fix=fix) from None
    return folder


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
