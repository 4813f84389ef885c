"""torch's own operator database under the meter: every entry is counted, free or named, and none fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "conformance" / "operator_database.py"
RESULT = Path(__file__).parents[2] / "docs" / "results" / "operator-database.json"
#: Kernels that torch compiles at run time (jiterator), and two that exist on a GPU only.
NEED_CUDA = {
    "jiterator_unary",
    "jiterator_binary",
    "jiterator_4inputs_with_extra_args",
    "jiterator_binary_return_by_ref",
    "jiterator_2inputs_2outputs",
    "torch.ops.aten._efficient_attention_forward",
    "nn.functional.batch_norm.without_cudnn",
}


def survey(*options: str) -> dict:
    """In a process of its own, since the package of torch's tests changes settings of torch and of hypothesis."""
    run = subprocess.run([sys.executable, str(SCRIPT), "--print", *options], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def check(facts: dict) -> None:
    numbers = facts["numbers"]
    assert facts["failing"] == {} and numbers["failing"] == 0
    assert numbers["counted"] + numbers["free"] + numbers["named"] + numbers["needs CUDA"] == numbers["entries"]
    assert numbers["named"] <= 0.3 * numbers["entries"]
    assert set(facts["needs CUDA"]) <= NEED_CUDA


def test_each_eleventh_operator_ends_as_counted_free_or_named():
    facts = survey("--every", "11", "--samples", "3")
    assert facts["numbers"]["entries"] > 60
    check(facts)


@pytest.mark.slow
def test_each_operator_ends_as_counted_free_or_named():
    check(survey("--samples", "20"))


def test_the_committed_result_has_every_entry():
    facts = json.loads(RESULT.read_text())
    assert facts["numbers"]["entries"] > 600
    check(facts)
