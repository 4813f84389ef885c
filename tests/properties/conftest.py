"""Properties share modules: strategies of event tensors, arguments of every kind."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
