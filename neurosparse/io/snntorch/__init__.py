"""snnTorch: its networks read and written with the same spikes in the same steps."""

from neurosparse.io.snntorch.read import read
from neurosparse.io.snntorch.steps import Stepped
from neurosparse.io.snntorch.write import recording, write

__all__ = ["Stepped", "read", "recording", "write"]
