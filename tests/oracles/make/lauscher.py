"""Spikes of the cochlea model lauscher for pure tones: tests/oracles/lauscher.json.

Run in an environment of its own: pip install lauscher soundfile
"""

import json
import sys
from pathlib import Path

import numpy as np
from lauscher.audiowaves import MonoAudioWave
from lauscher.transformations.wave2spike import Wave2Spike

RATE, CHANNELS, TONES = 16_000, 48, (250, 500, 1000, 2000, 4000)

np.random.seed(0)
counts = {}
for tone in TONES:
    wave = 0.5 * np.sin(2 * np.pi * tone * np.arange(int(0.2 * RATE)) / RATE)
    spikes = MonoAudioWave(wave.tolist(), RATE).transform(Wave2Spike(CHANNELS))
    counts[tone] = np.bincount(spikes.spike_labels.astype(int), minlength=CHANNELS).tolist()
out = {"version": "lauscher 1.0.1", "rate": RATE, "seconds": 0.2, "channels": CHANNELS, "counts": counts}
Path(sys.argv[1]).write_text(json.dumps(out) + "\n")
