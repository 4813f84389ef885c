"""Settings of all tests: the same examples on each run, one thread, seeded randomness, data that may be absent."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The default finds the same examples on each run; `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("same", deadline=None, max_examples=50, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("same")

collect_ignore = ["oracles/make"]  # run by `make oracles`, with libraries that are not installed here

torch.set_num_threads(1)
torch.set_warn_always(True)  # once per process would make the order of tests decide which of them fails
if not torch.cuda.is_available():  # read when Triton is imported first: its kernels run in Python
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Path of data that are not part of the project, by name; without them the test is skipped."""
    root = Path(os.environ.get("NEUROSPARSE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"needs {name} in {root}; set NEUROSPARSE_TEST_DATA")
        return root / name

    return find


@pytest.fixture
def full_disk():
    """A context in which no file of this process may have more than one byte."""
    resource = pytest.importorskip("resource")

    class Full:
        def __enter__(self):
            self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, self.before[1]))

        def __exit__(self, *_):
            resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    return Full()
