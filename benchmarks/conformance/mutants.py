"""Mutation testing: small changes of the code, drawn at random over all subpackages, and whether a test fails.

make mutants                            # sixty mutants in at most an hour on two cores: runs/mutants.json
make mutants ARGS="--count 3 --seed 1"

A mutant is one change of one expression or statement. It is made in a copy of the tree, never in the tree itself. One
traced run of the tests records which test calls which function. A mutant runs the tests that call its function, as far
as the time allows: those that name its module first, one case of every test before the others, short ones first. A
mutant that survives is a missing test, or a change without an effect.
"""

import argparse
import ast
import concurrent.futures
import functools
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE, TRACES = "neurosparse", "NEUROSPARSE_TRACES"
PER_MUTANT, LIMIT = 60.0, 180.0  # seconds of tests that are selected, by their traced time; of a process at most
PROCESSES = 2

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Mutant(NamedTuple):
    """``text`` instead of the characters ``start`` to ``end`` of a file, in the function whose first line is given."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    text: str
    function: int


class Traces(NamedTuple):
    """Seconds of each test that passes, and the tests that call each function, by ``path:first line``."""

    seconds: dict[str, float]
    callers: dict[str, list[str]]


# Mutants of a file


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    name = path.relative_to(ROOT).as_posix()
    for node, parent, function in walk(tree):
        for kind, text in changes(node, parent):
            assert isinstance(node, ast.expr | ast.stmt) and node.end_lineno and node.end_col_offset is not None
            start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            mutant = Mutant(name, node.lineno, kind, start, end, text, function)
            if compiles(mutated(source, mutant)):
                yield mutant


def walk(node: ast.AST, parent: ast.AST | None = None, function: int = 0) -> Iterator[tuple[ast.AST, ast.AST, int]]:
    """Nodes with their parents and the first line of their function; without annotations, decorators and messages."""
    if isinstance(node, ast.FunctionDef):
        if node.name in ("__repr__", "extra_repr"):
            return
        function = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    if parent is not None:
        yield node, parent, function
    skipped = {"annotation", "returns", "decorator_list", "bases", "type_params"}
    message = isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"))
    for field, value in ast.iter_fields(node):
        if field in skipped or message or isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from walk(child, node, function)


def changes(node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, str]]:
    """The kinds of change of one node, and its new text."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            changed = ast.Compare(node.left, [COMPARISONS[type(op)](), *node.ops[1:]], node.comparators)
            yield "comparison", f"({ast.unparse(changed)})"
        case ast.Constant(value=bool() as value) if not (isinstance(parent, ast.keyword) and parent.arg == "strict"):
            yield "boolean", str(not value)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield "constant", f"({value + 1})"
        case ast.Constant(value=float() as value):
            yield "constant", repr(2 * value if value else 1.0)
        case ast.BinOp(op=op) if type(op) in OPERATORS and not any(is_text(part) for part in (node.left, node.right)):
            yield "operator", f"({ast.unparse(ast.BinOp(node.left, OPERATORS[type(op)](), node.right))})"
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and, or", f"({ast.unparse(ast.BoolOp(other, values))})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "dropped not or minus", f"({ast.unparse(operand)})"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "swapped branches", f"({ast.unparse(ast.IfExp(test, orelse, body))})"
        case ast.Call(args=[first, second, *rest]) if not any(isinstance(a, ast.Starred) for a in (first, second)):
            if ast.dump(first) != ast.dump(second):
                yield "swapped arguments", ast.unparse(ast.Call(node.func, [second, first, *rest], node.keywords))
        case ast.Return() if isinstance(parent, ast.If | ast.For | ast.While | ast.With):
            yield "dropped return", "pass"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Continue() | ast.Break():
            yield "removed statement", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield "removed statement", "pass"


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def mutated(source: str, mutant: Mutant) -> str:
    raw = source.encode()
    return (raw[: mutant.start] + mutant.text.encode() + raw[mutant.end :]).decode()


def compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def draw(count: int, seed: int, only: str | None = None) -> list[Mutant]:
    """Mutants of all subpackages in turn; in each the file and the kind of change are drawn before the place."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        folder = path.relative_to(ROOT / PACKAGE).parts[0]
        if only in (None, folder):
            files[folder if (ROOT / PACKAGE / folder).is_dir() else ""].append(path)
    generator, found = random.Random(seed), {}
    all_mutants = functools.cache(lambda path: list(mutants_of(path)))
    while len(found) < count:
        for paths in generator.sample(list(files.values()), len(files)):
            if mutants := all_mutants(generator.choice(paths)):
                kind = generator.choice(sorted({mutant.kind for mutant in mutants}))
                found[generator.choice([mutant for mutant in mutants if mutant.kind == kind])] = None
    return list(found)[:count]


# Traces: as a plugin of pytest (-p mutants) this module records the functions that each test calls


def pytest_runtest_setup(item: Any) -> None:
    if TRACES in os.environ:
        called: set[tuple[str, int]] = set()

        def trace(frame: Any, event: str, argument: Any) -> None:
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

        item.traced = called, time.perf_counter()
        sys.settrace(trace)


def pytest_runtest_makereport(item: Any, call: Any) -> None:
    """After the test itself: a line of JSON if it has passed."""
    if hasattr(item, "traced") and call.when == "call":
        sys.settrace(None)
        called, started = item.traced
        own = [(name, line) for name, line in called if name.startswith(str(Path.cwd() / PACKAGE))]
        row = {
            "test": item.nodeid,
            "seconds": time.perf_counter() - started,
            "functions": sorted(f"{Path(name).relative_to(Path.cwd()).as_posix()}:{line}" for name, line in own),
        }
        if call.excinfo is None:
            with (Path(os.environ[TRACES]) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(row)}\n")


def record(copy: Path, work: Path, paths: Sequence[str]) -> Traces:
    """The fast tests once, traced; kept in the working folder, so that another draw from the same tree needs no run."""
    folder = work / "traces"
    folder.mkdir(exist_ok=True)
    done = folder / "complete"
    if not done.exists():
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            str(PROCESSES),
            "-p",
            "mutants",
            "-m",
            "not slow",
            *paths,
        ]
        code = run(command, copy, {TRACES: str(folder)}, limit=None)
        if code not in (0, 1):
            raise SystemExit(f"the traced run of the tests ended with {code}")
        done.touch()
    seconds, callers = {}, defaultdict(list)
    for file in sorted(folder.glob("*.jsonl")):
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            seconds[row["test"]] = row["seconds"]
            for name in row["functions"]:
                callers[name].append(row["test"])
    return Traces(seconds, dict(callers))


# Runs of the mutants


def run(command: Sequence[str], copy: Path, more: dict[str, str], limit: float | None) -> int | None:
    """The exit code of a command in a copy of the tree; None where the time has run out."""
    paths = os.pathsep.join([str(copy), str(copy / "benchmarks" / "conformance")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}
    environment["NUMBA_CACHE_DIR"] = str(copy.parent / "numba")
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tests_of(mutant: Mutant, traces: Traces, copy: Path) -> tuple[list[str], int]:
    """Tests that call the function of a mutant, as many as the time allows, and how many there are."""
    called = traces.callers.get(f"{mutant.path}:{mutant.function}", [])
    if not called:  # no function, or one that is compiled: the tests of all functions of the file
        called = [
            test for name, tests in traces.callers.items() if name.startswith(f"{mutant.path}:") for test in tests
        ]
    related, module = sorted(set(called)), mutant.path.removesuffix(".py").replace("/", ".")
    near = {name for name in {t.split("::")[0] for t in related} if module in (copy / name).read_text(encoding="utf-8")}
    variants, order = defaultdict(int), []
    for test in sorted(related, key=traces.seconds.__getitem__):
        function = test.split("[")[0]
        order.append((test.split("::")[0] not in near, variants[function], traces.seconds[test], test))
        variants[function] += 1
    chosen, total = [], 0.0
    for *_, test in sorted(order):
        total += traces.seconds[test]
        if chosen and total > PER_MUTANT:
            break
        chosen.append(test)
    return chosen, len(related)


def try_mutant(mutant: Mutant, copy: Path, traces: Traces) -> dict[str, Any]:
    """Change the copy, run the tests, restore the copy."""
    file, started = copy / mutant.path, time.monotonic()
    source = file.read_text(encoding="utf-8")
    tests, related = tests_of(mutant, traces, copy)
    status = "survived"
    try:
        changed = mutated(source, mutant)
        file.write_text(changed, encoding="utf-8")
        if tests:
            names = copy.parent / f"{copy.name}.tests"
            names.write_text("\n".join(tests), encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"@{names}"]
            code = run(command, copy, {}, LIMIT)
            status = "out of time" if code is None else "survived" if code == 0 else "caught"
    finally:
        file.write_text(source, encoding="utf-8")
    before, after = (text.encode()[: mutant.start].decode().count("\n") for text in (source, changed))
    line, count = mutant.line - 1, source.encode()[mutant.start : mutant.end].decode().count("\n") + 1
    assert before == after == line
    old, new = source.splitlines(), changed.splitlines()
    return {
        "status": status,
        "place": f"{mutant.path}:{mutant.line}",
        "kind": mutant.kind,
        "diff": [*(f"-{text}" for text in old[line : line + count]), f"+{new[line]}"],
        "tests run": len(tests),
        "tests related": related,
        "seconds": round(time.monotonic() - started, 1),
    }


def copy_tree(target: Path) -> Path:
    """The files of the tree that git does not ignore."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="after these no further mutant is started")
    parser.add_argument("--only", help="a subpackage of neurosparse, or a file of it; all if left out")
    parser.add_argument("--tests", nargs="*", default=[], help="files of tests; all if left out")
    parser.add_argument("--work", type=Path, help="a folder for copies and traces, used again if it exists")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutants.json")
    options = parser.parse_args()
    started, mutants = time.monotonic(), draw(options.count, options.seed, options.only)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        copies: queue.Queue[Path] = queue.Queue()
        for k in range(PROCESSES):
            copies.put(copy_tree(work / f"tree-{k}"))
        traces = record(work / "tree-0", work, options.tests)
        rows: list[dict[str, Any]] = []

        def one(mutant: Mutant) -> None:
            if time.monotonic() - started < 60 * options.minutes:
                copy = copies.get()
                rows.append(row := try_mutant(mutant, copy, traces))
                copies.put(copy)
                print(f"{row['status']:<12} {row['place']} {row['kind']}: {row['diff'][-1].strip()}", flush=True)

        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(one, mutants))
    counts = {status: sum(row["status"] == status for row in rows) for status in ("caught", "survived", "out of time")}
    facts = {"seed": options.seed, "drawn": len(mutants), **counts, "mutants": sorted(rows, key=lambda r: r["status"])}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(f"{json.dumps(facts, indent=1)}\n", encoding="utf-8")
    print(", ".join(f"{count} {status}" for status, count in counts.items()), f"of {len(mutants)}: {options.out}")


if __name__ == "__main__":
    main()
