"""Numbers as text: three digits and an SI prefix."""

import math

__all__ = ["bounded", "decimals", "digits", "plain", "prefixed", "si", "thousands"]

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
MISSING = "–"


def thousands(value: float) -> int:
    """Power of ten of the SI prefix, after rounding to the three digits that are shown: 999.9 becomes 1 k."""
    if value == 0 or not math.isfinite(value):
        return 0
    power = math.floor(math.log10(float(f"{abs(value):.2e}")))
    return min(max(3 * (power // 3), min(PREFIXES)), max(PREFIXES))


def si(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with an SI prefix and its unit; None and NaN are a dash.

    Args:
        value: in the unit itself, for example joules.
        unit: its symbol; empty for a count.
        digits: significant digits.

    Example:
        >>> si(1.234e-9, "J").replace("\\u00a0", " "), si(15_300), si(0), si(None)
        ('1.23 nJ', '15.3k', '0', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    power = thousands(value)
    text, tail = f"{value / 10**power:.{digits}g}", PREFIXES[power] + unit
    return f"{text}\u00a0{tail}" if unit else text + tail  # the space must not break a table cell


def plain(value: float) -> str:
    """A number without prefix and exponent: three significant digits, groups of thousands; whole numbers stay whole.

    Example:
        >>> plain(0.4631), plain(11_812.0), plain(20.0), plain(97.26)
        ('0.463', '11,812', '20', '97.3')
    """
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return digits(value)


def digits(value: float) -> str:
    """A number in three significant digits, without prefix; with an exponent only below 1e-6 and from 1e9 on.

    Example:
        >>> digits(20.0), digits(0.4631), digits(11_812.0), digits(0.0), digits(3e-20)
        ('20.0', '0.463', '11,812', '0', '3.00e-20')
    """
    return f"{value:,.{decimals(value)}f}" if 1e-6 <= abs(value) < 1e9 or value == 0 else f"{value:.2e}"


def decimals(value: float, significant: int = 3) -> int:
    """Decimals that show a number with so many significant digits, after rounding to them."""
    if value == 0:
        return 0
    return max(0, significant - 1 - math.floor(math.log10(abs(float(f"{value:.{significant - 1}e}")))))


def prefixed(scale: int, unit: str = "") -> str:
    """A unit with the prefix of a power of ten.

    Example:
        >>> prefixed(-9, "J"), prefixed(3)
        ('nJ', 'k')
    """
    return PREFIXES[scale] + unit


def bounded(low: float | None, nominal: float, high: float | None, unit: str = "") -> str:
    """A number and its bounds, all in one unit; without bounds where they are equal or unknown.

    Example:
        >>> bounded(5.52e-7, 5.8e-7, 1.07e-6, "J").replace("\u00a0", " ")
        '0.58 [0.552, 1.07] µJ'
        >>> bounded(3.0, 3.0, 3.0), bounded(None, 4e-9, None, "J").replace("\u00a0", " ")
        ('3', '4 nJ')
    """
    if low is None or high is None or low == high:
        return si(nominal, unit)
    power = thousands(nominal if abs(high) < 1000 * 10 ** thousands(nominal) else high)
    each = [f"{float(f'{value / 10**power:.3g}'):,.15g}" for value in (low, nominal, high)]
    return f"{each[1]} [{each[0]}, {each[2]}]\u00a0{prefixed(power, unit)}".rstrip("\u00a0")
