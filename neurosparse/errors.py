"""Errors of bad input: where, what was passed, what is expected, what to do."""

__all__ = ["InputError", "MissingFileError", "UnwritableFileError"]

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
