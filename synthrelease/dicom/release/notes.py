"""Numbers that a generator tells of each image it made: further columns of an archive's label table.

A cell has one form, so that what could be hidden in it is bounded: `accepted` is 0 or 1, `restarts` and `style` are whole
numbers, `guide_*` are probabilities of three decimals, and any other number has three decimals too.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import NamedTuple

from synthrelease.errors import UnsuitableData

ACCEPTED, RESTARTS, STYLE, GUIDE = "accepted", "restarts", "style", "guide_"
_FLAG, _COUNT, _SHARE = "[01]", "0|[1-9][0-9]{0,5}", r"0\.[0-9]{3}|1\.000"
_NUMBER = r"(?!-0\.000)-?(0|[1-9][0-9]{0,5})\.[0-9]{3}"


class Note(NamedTuple):
    """A number told of each image.

    Attributes:
        name: Of its column: letters, digits and underscores.
        description: What it means, one sentence without a full stop.
    """

    name: str
    description: str

    @property
    def whole(self) -> bool:
        """Whether it is an integer."""
        return self.name in (ACCEPTED, RESTARTS, STYLE)

    def cell(self, value: float) -> str:
        """The number as its cell of the table.

        Raises:
            UnsuitableData: The number is not finite, or none that the column can hold.

        >>> Note("guide_nodule", "").cell(0.98765), Note("accepted", "").cell(1.0), Note("critic", "").cell(-1e-9)
        ('0.988', '1', '0.000')
        """
        text = (f"{value:.0f}" if self.whole else f"{value:.3f}") if isfinite(value) else ""
        # A rounded-away minus is no number of its own.
        text = "0.000" if text == "-0.000" else "0" if text == "-0" else text
        if not self.fits(text):
            raise UnsuitableData(
                f"the generator tells of an image that '{self.name}' is {value:g}, which the label table cannot hold",
                fix="The generator diverged; train it again.",
            )
        return text

    def fits(self, cell: str) -> bool:
        """Whether a cell has the form of its column.

        >>> Note("restarts", "").fits("3"), Note("restarts", "").fits("03"), Note("guide_nodule", "").fits("1.001")
        (True, False, False)
        """
        return re.fullmatch(self._form, cell) is not None

    @property
    def _form(self) -> str:
        if self.name == ACCEPTED:
            return _FLAG
        if self.name in (RESTARTS, STYLE):
            return _COUNT
        return _SHARE if self.name.startswith(GUIDE) else _NUMBER
