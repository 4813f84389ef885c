"""torch's own operator database under the meter: every entry is counted, free or named, and none fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "conformance" / "operator_database.py"
RESULT = Path(__file__).parents[2] / "docs" / "results" / "operator-database.json"


def survey(*options: str) -> dict:
    """In a process of its own, since the package of torch's tests changes settings of torch and of hypothesis."""
    run = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def check(facts: dict) -> None:
    numbers = facts["numbers"]
    assert facts["failing"] == {} and numbers["failing"] == 0
    assert numbers["counted"] + numbers["free"] + numbers["named"] + numbers["not on CPU"] == numbers["entries"]
    assert numbers["named"] <= 0.3 * numbers["entries"]
    assert all(name.startswith("jiterator") for name in facts["not on CPU"])


def test_each_eleventh_operator_ends_as_counted_free_or_named():
    facts = survey("--every", "11", "--samples", "3")
    assert facts["numbers"]["entries"] > 60
    check(facts)


@pytest.mark.slow
def test_each_operator_ends_as_counted_free_or_named():
    for offset in ("2", "3"):  # all but the entries that the committed result alone has
        check(survey("--every", offset, "--samples", "20"))


def test_the_committed_result_has_every_entry():
    facts = json.loads(RESULT.read_text())
    assert facts["numbers"]["entries"] > 600
    check(facts)
