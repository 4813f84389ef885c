"""Errors of bad input: where, what was passed, what is expected, what to do."""

__all__ = ["InputError", "MissingFileError", "UnwritableFileError"]

LONGEST = 500  # characters of what was passed


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
        # An array or a table prints several lines, a list or a number of many digits very long ones.
        shown = " ".join(line.strip() for line in str(got).splitlines())
        shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
        super().__init__(where if expected is None else f"{where}: got {shown}; expected {expected}. {fix}".rstrip())


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
