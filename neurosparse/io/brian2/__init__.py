"""Brian 2: its spike trains as events, events as its input, and trained networks as Brian 2 scripts."""

from neurosparse.io.brian2.script import write
from neurosparse.io.brian2.spikes import generator, read, respond

__all__ = ["generator", "read", "respond", "write"]
