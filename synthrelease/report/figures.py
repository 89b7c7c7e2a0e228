"""Numbers as a reader sees them: the internal edition to four digits, the external to three, real counts to two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from synthrelease.records.coarse import coarse_count
from synthrelease.report.inputs import Edition

_MINUS = "\u2212"
_THIN = "\u202f"
NONE = "\u2013"


@dataclass(frozen=True)
class Figures:
    """Formats numbers for one edition."""

    edition: Edition

    def number(self, value: Any) -> str:
        """A measured value; an en dash for none.

        >>> Figures(Edition.EXTERNAL).number(0.0123456), Figures(Edition.EXTERNAL).number(1234567.0)
        ('0.0123', '1\\u202f230\\u202f000')
        """
        return plain(value, 3 if self.edition is Edition.EXTERNAL else 4)

    def count(self, value: Any, *, real: bool = True) -> str:
        """A count; outside of the house a count of real patients is rounded to two digits, or told as few.

        >>> Figures(Edition.EXTERNAL).count(1234), Figures(Edition.INTERNAL).count(1234)
        ('about 1\\u202f200', '1\\u202f234')
        >>> Figures(Edition.EXTERNAL).count(70)
        'fewer than 100'
        """
        if isinstance(value, str):
            return value  # coarse already
        if not isinstance(value, int) or isinstance(value, bool):
            return NONE
        if real and self.edition is Edition.EXTERNAL:
            coarse = coarse_count(value)
            return coarse if isinstance(coarse, str) else f"about {plain(coarse, 2)}" if coarse else "0"
        return f"{value:,}".replace(",", _THIN)

    def percent(self, value: Any) -> str:
        """A share of one as per cent.

        >>> Figures(Edition.EXTERNAL).percent(0.6649)
        '66.5\\u202f%'
        """
        if not isinstance(value, int | float) or not math.isfinite(value):
            return NONE
        text = plain(100 * value, 3)
        return f"{text}{_THIN}%"

    def interval(self, low: Any, high: Any) -> str:
        """Both ends of an interval, or an en dash when neither is known."""
        if low is None and high is None:
            return NONE
        return f"{self.number(low)} to {self.number(high)}"


def plain(value: Any, digits: int) -> str:
    """A number to so many significant digits, without an exponent where it stays short.

    >>> plain(-0.00001, 3), plain(250, 2), plain(8.0, 3), plain(None, 3)
    ('\\u22121e-5', '250', '8', '\\u2013')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    if not math.isfinite(value):
        return "not finite"
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    size = abs(rounded)
    if size >= 1e7 or size < 1e-4:
        text = f"{rounded:g}".replace("e-0", "e-").replace("e+0", "e")
    elif size >= 1000:
        text = f"{rounded:,.0f}".replace(",", _THIN)
    else:
        text = f"{rounded:.{digits}g}"
        text = f"{float(text):.10g}"
    return text.replace("-", _MINUS, 1) if text.startswith("-") else text
