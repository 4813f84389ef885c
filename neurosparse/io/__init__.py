"""Foreign formats, one small file each; the library a format belongs to is imported only when it is used."""

from neurosparse.io import aedat as aedat
from neurosparse.io import brian2 as brian2
from neurosparse.io import dat as dat
from neurosparse.io import download as download
from neurosparse.io import evt as evt
from neurosparse.io import files as files
from neurosparse.io import idx as idx
from neurosparse.io import manifest as manifest
from neurosparse.io import neo as neo
from neurosparse.io import nir as nir
from neurosparse.io import nmnist as nmnist
from neurosparse.io import norse as norse
from neurosparse.io import nwb as nwb
from neurosparse.io import photographs as photographs
from neurosparse.io import pynapple as pynapple
from neurosparse.io import shd as shd
from neurosparse.io import snntorch as snntorch
from neurosparse.io import spikingjelly as spikingjelly
from neurosparse.io import tonic as tonic
from neurosparse.io import wav as wav
