"""Contestants and tasks: their formats, their networks, one training loop and one evaluation for all of them."""

from neurosparse.contest.augment import mirror_and_shift as mirror_and_shift
from neurosparse.contest.augment import vary_voice as vary_voice
from neurosparse.contest.contestant import Contestant as Contestant
from neurosparse.contest.contestant import read_contestant as read_contestant
from neurosparse.contest.evaluate import evaluate as evaluate
from neurosparse.contest.field_task import FieldTask as FieldTask
from neurosparse.contest.field_task import find_pupils as find_pupils
from neurosparse.contest.field_task import load_field_task as load_field_task
from neurosparse.contest.fields import Look as Look
from neurosparse.contest.fields import learn_fields as learn_fields
from neurosparse.contest.progress import Seen as Seen
from neurosparse.contest.progress import Watch as Watch
from neurosparse.contest.run import run as run
from neurosparse.contest.run import train_one as train_one
from neurosparse.contest.task import Split as Split
from neurosparse.contest.task import Task as Task
from neurosparse.contest.task import find_contestants as find_contestants
from neurosparse.contest.task import load_task as load_task
