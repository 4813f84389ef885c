"""Error messages in the words of a shell: arguments of functions become options of the command that was typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Option", "in_shell"]


class Option(NamedTuple):
    """An option of a command: what a user types, and what stands for its value (empty: it takes none)."""

    flag: str
    value: str = ""


# Arguments that a command offers under another name.
SAME = {"format": "from_format", "n_units": "size", "sensor_size": "size"}
LISTS = {"seeds": "seed"}  # a list is typed one by one
VALUE = r"\([^()]*\)|\[[^\[\]]*\]|'[^']*'|\"[^\"]*\"|[-+]?[\w+:]+(?:\.\w+)?(?:[-:+]\w+)*"
ARGUMENT = re.compile(rf"(?<![\w.'\"-])(?P<name>[a-z]\w*)=(?P<value>{VALUE})?")
# Functions that do what an option does.
CALLS = (
    (r"io\.\w+\.salvage reads them", "{convert}--partial reads them"),
    (r"(?<![\w.])n_units=(\d+)", r"size=(1, \1)"),
    (r", or io\.files\.rebase\(events\)", ""),
    (r", or \.bin\(k, on_collision='any'\)", ""),
    (r"(?:events)?\.bin\(\w+, (on_collision='\w+')\)", r"dt=SECONDS and \1"),
    (r"(?:events)?\.samples\(\w+\)", "sample="),
    (r"(?<![\w.])(?:events)?\.steps\(([^()]*)\)", r"events.steps(\1) in Python"),
)
# An option that a message names twice, as an argument and as typed.
TWICE = re.compile(r"(?P<flag>--[\w-]+)(?P<value> [^\s,.;]+)?,? or (?P=flag)(?:(?P=value))?(?=[,.;]|$)")


def in_shell(message: str, options: Mapping[str, Option], command: str = "") -> str:
    """A message about arguments as a message about options.

    Args:
        message: of an error, such as ``"Pass size=(height, width)."``.
        options: of the command, by the name of the argument.
        command: its name.

    Example:
        >>> options = {"size": Option("--size", "HEIGHTxWIDTH"), "drop": Option("--drop", "TEXT")}
        >>> in_shell("Pass size=(height, width), or drop=['ids', 'labels'].", options)
        'Pass --size HEIGHTxWIDTH, or --drop ids --drop labels.'
    """
    known = dict(options)
    known |= {name: options[other] for name, other in SAME.items() if other in options and name not in options}
    for pattern, words in CALLS:
        words = words.replace("{convert}", "" if command == "convert" else "convert ")
        message = re.sub(pattern, words, message)
    message = re.sub(r"^io\.[\w.]+: ", f"neurosparse {command}: ", message) if command else message
    message = ARGUMENT.sub(lambda found: _typed(found["name"], found["value"], known) or found[0], message)
    return TWICE.sub(lambda found: found["flag"] + (found["value"] or ""), message)


def _typed(name: str, value: str | None, options: Mapping[str, Option]) -> str | None:
    """An argument as it is typed; None for one that is no option of the command."""
    if value is not None and value.startswith("["):
        name = LISTS.get(name, name)
    if name not in options:
        return None
    flag, placeholder = options[name]
    if value == "None":
        return f"no {flag}"
    if value is None or not placeholder:
        return f"{flag} {placeholder}".rstrip()
    if value.startswith("("):
        return f"{flag} {'x'.join(part.strip().upper() for part in value[1:-1].split(',') if part.strip())}"
    if value.startswith("["):
        parts = [part.strip().strip("'\"") for part in value[1:-1].split(",")]
        return " ".join(f"{flag} {part}" for part in parts)
    plain = value.strip("'\"")
    return f"{flag} {plain}"
