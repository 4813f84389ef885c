"""Every float32 operator of torch's own test database under the meter: docs/results/operator-database.json.

make operators

The database (``torch.testing``) holds the operators of torch with sample inputs, and with inputs that torch refuses.
Each call runs plainly and while it is recorded. Results must be equal, and refusals must have the same message. Results
are equal to rounding only where torch itself computes in another way under any dispatch mode (``svdvals``). An entry is
``named`` if ``uncounted`` lists an operator of any of its samples, ``counted`` if operations were counted and nothing
is listed, and ``free`` if there was nothing to count.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import result
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import neurosparse as ns

#: Operators whose results are memory that nothing was written into.
UNWRITTEN = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_")
UNWRITTEN += ("resize_as_",)
ROUNDING = "rounding"
DEVICES = ("cpu", "cuda")


class Entry(NamedTuple):
    """What the meter made of one entry of the database."""

    verdict: str  # counted, free, named, failing or needs CUDA
    calls: int
    why: tuple[str, ...] = ()  # operators that are named, or the failure
    rounded: bool = False  # whether some result is equal to rounding only


def database() -> list[Any]:
    """Entries of torch's operator database. Its package of tests needs a class of ``expecttest``, which is not used."""
    if "expecttest" not in sys.modules:
        stub: Any = types.ModuleType("expecttest")
        stub.TestCase = unittest.TestCase
        sys.modules["expecttest"] = stub
    from torch.testing._internal.common_methods_invocations import op_db

    return [entry for entry in op_db if any(torch.float32 in entry.supported_dtypes(device) for device in DEVICES)]


def name_of(entry: Any) -> str:
    return entry.name + (f".{entry.variant_test_name}" if entry.variant_test_name else "")


def outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    torch.manual_seed(0)
    try:
        return call(), None
    except Exception as error:
        return None, error


def as_doubles(x: Tensor) -> Tensor:
    x = x.detach().resolve_conj().resolve_neg()
    x = x if x.layout == torch.strided else x.to_dense()
    return x.to(torch.cdouble if x.is_complex() else torch.float64 if x.is_floating_point() else x.dtype)


def difference(a: Any, b: Any, unwritten: bool) -> str | None:
    """How two results differ: in their structure or values, or by rounding only."""
    left, right = tree_leaves(a), tree_leaves(b)
    if [type(x) for x in left] != [type(x) for x in right]:
        return "another type"
    found = None
    for x, y in zip(left, right, strict=True):
        if not isinstance(x, Tensor):
            found = found if x == y or x != x else "another number"
        elif (x.shape, x.dtype, x.layout, x.requires_grad) != (y.shape, y.dtype, y.layout, y.requires_grad):
            return "another shape, dtype or layout"
        elif not unwritten:
            u, v = as_doubles(x), as_doubles(y)
            if not torch.allclose(u, v, rtol=1e-4, atol=1e-5, equal_nan=True):
                return "other values"
            found = found if torch.allclose(u, v, rtol=0, atol=0, equal_nan=True) else ROUNDING
    return found


def samples_of(entry: Any, most: int, refused: bool) -> Iterator[tuple[Any, Any]]:
    """Pairs of equal sample inputs, since an operator may write into its input."""
    pairs = []
    for _ in range(2):
        torch.manual_seed(0)
        if refused:
            found = entry.error_inputs("cpu") if entry.error_inputs_func else ()
            pairs.append([error.sample_input for error in islice(found, most)])
        else:
            pairs.append(list(islice(entry.sample_inputs("cpu", torch.float32), most)))
    return zip(*pairs, strict=True)


def try_sample(entry: Any, first: Any, second: Any) -> tuple[ns.meter.Tape, str | None, bool]:
    """Tape of a recorded call, how it differs from the plain one, and whether torch refuses the plain one."""
    expected, refusal = outcome(lambda: entry(first.input, *first.args, **first.kwargs))
    model = ns.meter.as_module(entry)
    with ns.record(model) as tape:
        found, error = outcome(lambda: model(second.input, *second.args, **second.kwargs))
    if (type(refusal), str(refusal)) != (type(error), str(error)):
        return tape, f"{refusal!r} became {error!r}", refusal is not None
    return tape, None if error else difference(expected, found, entry.name in UNWRITTEN), refusal is not None


def operations_on(tape: ns.meter.Tape) -> int:
    rows = ns.count(tape).rows if tape.rows or tape.uncounted else ()
    return sum(row[column] for row in rows for column in ("dense_ops", "elementwise", "comparisons", "bias_adds"))


def try_entry(entry: Any, most: int) -> Entry:
    """Run an entry's samples, and the inputs that it refuses."""
    uncounted, operations, refusals, rounded, calls = set[str](), 0, 0, False, 0
    if torch.float32 not in entry.supported_dtypes("cpu"):
        return Entry("needs CUDA", calls)
    for refused in (False, True):
        for first, second in samples_of(entry, most, refused):
            try:
                tape, failure, refusal = try_sample(entry, first, second)
                operations += 0 if refused else operations_on(tape)
            except Exception as error:
                return Entry("failing", calls, (f"{type(error).__name__}: {error}",))
            if failure not in (None, ROUNDING):
                return Entry("failing", calls, (failure,))
            rounded |= failure == ROUNDING
            calls += 1
            if not refused:
                refusals += refusal
                uncounted |= {function for _, function in tape.uncounted}
    if refusals and not operations and not uncounted:
        return Entry("needs CUDA", calls)
    return Entry(
        "named" if uncounted else "counted" if operations else "free", calls, tuple(sorted(uncounted)), rounded
    )


def survey(entries: list[Any], most: int) -> dict[str, Entry]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name_of(entry): try_entry(entry, most) for entry in entries}


def facts_of(found: dict[str, Entry]) -> dict[str, Any]:
    """Numbers of entries, and the names of those that are not simply counted."""
    verdicts = [entry.verdict for entry in found.values()]
    numbers = {name: verdicts.count(name) for name in ("counted", "free", "named", "failing", "needs CUDA")}
    lists: dict[str, Any] = {
        verdict: {name: list(entry.why) for name, entry in found.items() if entry.verdict == verdict}
        for verdict in ("named", "failing")
    }
    lists |= {
        verdict: [name for name, entry in found.items() if entry.verdict == verdict]
        for verdict in ("free", "needs CUDA")
    }
    lists["equal to rounding"] = [name for name, entry in found.items() if entry.rounded]
    calls = sum(entry.calls for entry in found.values())
    numbers = {"entries": len(found), "calls": calls, **numbers}
    return {"torch": torch.__version__, "numbers": numbers, **lists}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="most samples of each entry")
    parser.add_argument("--every", type=int, default=1, help="run each n-th entry only")
    parser.add_argument("--print", action="store_true", help="print the result as JSON and do not keep it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = facts_of(survey(database()[:: options.every], options.samples))
    if options.print:
        print(json.dumps(facts))
        return
    result.keep("operator-database", facts, "make operators")
    for name, number in facts["numbers"].items():
        print(f"{name:<12} {number:6}")
    for name, why in {**facts["failing"], **facts["named"]}.items():
        print(f"  {name}: {'; '.join(why)}")


if __name__ == "__main__":
    main()
