"""Modules that several tests of this folder import: networks, and the scripts of benchmarks/conformance."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "benchmarks" / "conformance")]
