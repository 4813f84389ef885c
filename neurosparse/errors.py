"""Errors of bad input: where, what was passed, what is expected, what to do."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "MissingFileError", "UnwritableFileError", "no_attribute"]

LONGEST, WHOLE = 300, 2000  # characters of what was passed, and of any other part


def _one_line(text: object, longest: int) -> str:
    """Text of one line without control characters: arrays and tables print several lines, files hold any bytes."""
    line = " ".join(part.strip() for part in str(text).splitlines())
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    return line if len(line) <= longest else f"{line[:longest]}..."


class InputError(ValueError):
    """Bad input, in one sentence: got / expected / do this.

    Args:
        where: the public name that raises it, for example ``"EventTensor.rates"``.
        got: what was passed.
        expected: what is valid.
        fix: what the caller can do.

    Example:
        >>> str(InputError("LIF", got="beta=1.5", expected="0 <= beta <= 1", fix="Pass beta=0.9."))
        'LIF: got beta=1.5; expected 0 <= beta <= 1. Pass beta=0.9.'
    """

    def __init__(self, where: str, *, got: object = None, expected: object = None, fix: str = ""):
        # Unpickling (worker processes) calls with the finished sentence alone.
        if expected is None:
            super().__init__(_one_line(where, 4 * WHOLE))
            return
        shown, valid, advice = _one_line(got, LONGEST), _one_line(expected, WHOLE), _one_line(fix, WHOLE)
        super().__init__(f"{_one_line(where, WHOLE)}: got {shown}; expected {valid}. {advice}".rstrip())


class MissingFileError(InputError, FileNotFoundError):
    """A file or data set that does not exist at its path.

    Example:
        >>> issubclass(MissingFileError, FileNotFoundError)
        True
    """

    __str__ = ValueError.__str__  # FileNotFoundError would print its own errno form


class UnwritableFileError(InputError, OSError):
    """A file or folder that cannot be written: no permission, a full disk, a name that is too long.

    Example:
        >>> issubclass(UnwritableFileError, OSError)
        True
    """

    __str__ = ValueError.__str__


def no_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error of a module that lacks a name, with the nearest name that it has.

    Example:
        >>> str(no_attribute("neurosparse.plot", "rastr", ["atoms", "raster"]))
        "module 'neurosparse.plot' has no attribute 'rastr'. Did you mean 'raster'?"
    """
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lower, 1)
    return AttributeError(
        f"module {module!r} has no attribute {name!r}" + "".join(f". Did you mean {lower[each]!r}?" for each in near)
    )
