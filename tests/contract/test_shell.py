"""Error messages at the command line speak of options, whatever function raised them."""

import pytest

from neurosparse.shell import Option, in_shell

OPTIONS = {
    "size": Option("--size", "HEIGHTxWIDTH"),
    "dt": Option("--dt", "SECONDS"),
    "from_format": Option("--from", "FORMAT"),
    "to_format": Option("--to", "FORMAT"),
    "drop": Option("--drop", "ids|labels"),
    "partial": Option("--partial"),
    "rebase": Option("--rebase"),
    "sample": Option("--sample", "NUMBER"),
    "on_collision": Option("--on-collision", "sum|any"),
    "seed": Option("--seed", "INTEGER"),
}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Pass size=(height, width).", "Pass --size HEIGHTxWIDTH."),
        ("Check size=, or omit it.", "Check --size HEIGHTxWIDTH, or omit it."),
        ("got size=(10, 10); expected size=(5, 6)", "got --size 10x10; expected --size 5x6"),
        ("size=(1, units)", "--size 1xUNITS"),
        ("Pass n_units=.", "Pass --size HEIGHTxWIDTH."),
        ("got n_units=7 for a.h5", "got --size 1x7 for a.h5"),
        ("for example dt=1e-3.", "for example --dt 1e-3."),
        ("got dt=nan; expected 1e-09 <= dt", "got --dt nan; expected 1e-09 <= dt"),
        ("Give them up: drop=['ids'], or --drop ids.", "Give them up: --drop ids."),
        ("drop=['ids', 'labels']", "--drop ids --drop labels"),
        ("Name its format: format=, or --from.", "Name its format: --from FORMAT."),
        ("got seeds=[1, 1]", "got --seed 1 --seed 1"),
        ("rebase=True, or io.files.rebase(events).", "--rebase."),
        ("3 events precede it: io.aedat.salvage reads them.", "3 events precede it: convert --partial reads them."),
        ("Take one sample, events.samples(i), and spikes.", "Take one sample, --sample NUMBER, and spikes."),
        (
            "dt=1e-6 and on_collision='any', or .bin(k, on_collision='any').",
            "--dt 1e-6 and --on-collision any.",
        ),
        ("got dt=None", "got no --dt"),
        ("a file with height=9;width=9", "a file with height=9;width=9"),
        ("version='2.0'", "version='2.0'"),
    ],
)
def test_arguments_become_options(message, shown):
    assert in_shell(message, OPTIONS) == shown


def test_functions_become_the_command():
    assert in_shell("io.files.convert: got x", OPTIONS, "convert") == "neurosparse convert: got x"
    message = "io.evt.read: got x. 1 events precede it: io.evt.salvage reads them."
    assert (
        in_shell(message, OPTIONS, "convert")
        == "neurosparse convert: got x. 1 events precede it: --partial reads them."
    )
