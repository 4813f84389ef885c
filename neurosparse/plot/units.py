"""Numbers as text: three digits and an SI prefix."""

import math

__all__ = ["interval", "si"]

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


def interval(low: float, high: float, nominal: float) -> str:
    """Bounds with the prefix of the nominal value; empty if they are equal.

    Example:
        >>> interval(1e-9, 2.5e-9, 1.2e-9), interval(3.0, 3.0, 3.0)
        ('[1, 2.5]', '')
    """
    if low == high:
        return ""
    scale = 10 ** thousands(nominal)
    return f"[{low / scale:.3g}, {high / scale:.3g}]"
