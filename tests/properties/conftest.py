"""Let the laws share one module of strategies."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
