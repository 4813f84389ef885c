"""Conformance of `ns.DictionaryLearning`: scikit-learn's own tests of its two learners, with ours in their place.

make sklearn-dictionary

``DictionaryLearning`` and ``MiniBatchDictionaryLearning`` of scikit-learn are replaced before the tests are imported.
"""

import sys
from importlib.util import find_spec

import pytest
import result
import sklearn
import sklearn.decomposition

import neurosparse as ns

REPLACED = ("DictionaryLearning", "MiniBatchDictionaryLearning")
TESTS = "sklearn.decomposition.tests.test_dict_learning"


class Tally:
    """Outcome of every test, and the last line of its error."""

    def __init__(self) -> None:
        self.passed, self.failed = 0, {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed += 1
        elif report.failed:
            lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
            self.failed[report.nodeid.split("::")[-1]] = lines[0][1:].strip() if lines else report.longreprtext[-200:]


def main() -> int:
    for name in REPLACED:
        setattr(sklearn.decomposition, name, ns.DictionaryLearning)
    spec, tally = find_spec(TESTS), Tally()
    assert spec is not None and spec.origin is not None
    options = ["-q", "--no-header", "-c", "/dev/null", "--rootdir", "/", "-p", "no:cacheprovider", "--tb=short"]
    pytest.main([spec.origin, *options, *sys.argv[1:]], plugins=[tally])
    print(f"{tally.passed} of {tally.passed + len(tally.failed)} passed")
    rows = [{"test": test, "reason": reason} for test, reason in tally.failed.items()]
    found = {"passed": tally.passed, "failed": len(tally.failed), "scikit-learn": sklearn.__version__, "rows": rows}
    result.keep("sklearn-dictionary", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
