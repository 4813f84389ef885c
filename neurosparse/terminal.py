"""Progress bars, spinners and facts of the command line in a terminal."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from neurosparse import experiments

__all__ = ["busy", "progress", "show", "training", "wide_console"]

EXACT = ("t0", "first", "last")  # seconds since 1970 have many digits


def busy(message: str) -> AbstractContextManager[Any]:
    """A spinner with a message, in a terminal."""
    console = Console(stderr=True)
    return console.status(message) if console.is_terminal else nullcontext()


def wide_console() -> Console:
    """A console for tables; a file has no width of its own, so it is 120 columns."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    return console


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, so that --json stays clean; lines at new messages where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = ""

        def line(message: str, done: int, total: int) -> None:
            nonlocal last
            if message != last or done == total:
                print(f"{done}/{total} {message}", file=sys.stderr, flush=True)
            last = message

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("reading the task", total=None)

        def update(message: str, done: int, total: int) -> None:
            bar.update(row, description=message, completed=done, total=total)

        yield update


@contextmanager
def training(as_json: bool) -> Iterator[experiments.StepCallback | None]:
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

        def callback(metrics: experiments.StepMetrics) -> None:
            shares = {"accuracy": metrics.accuracy, "density": metrics.density}
            parts = [f"epoch {metrics.epoch}", f"loss {metrics.loss:.4g}"]
            parts += [f"{name} {100 * share:.1f} %" for name, share in shares.items() if share is not None]
            bar.update(row, description=", ".join(parts), completed=metrics.step, total=metrics.steps)

        yield callback


def show(facts: dict[str, Any], as_json: bool) -> None:
    """Facts as lines of name and value, or as JSON."""
    if as_json:
        print(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        rounded = isinstance(value, float) and name not in EXACT
        print(f"{name:<{width}}  {value:.6g}" if rounded else f"{name:<{width}}  {value}")
