"""Which attributes the standard wants out of a header before it leaves the house.

The table is a file: one attribute a row, with its action under the Basic Profile (X remove, Z empty, D dummy, U new
UID), edition 2024b; ``x`` stands for any hexadecimal digit of a repeating group. Private attributes, row 621 of the
standard's table, are recognised by their odd group.

Source: DICOM PS3.15, Annex E, Table E.1-1.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

EDITION = "2024b"
_FILE = Path(__file__).with_name("annex_e.csv")


@cache
def rows() -> Mapping[str, str]:
    """Action by tag: eight hexadecimal digits, or ``X`` for a digit that does not matter."""
    with _FILE.open(encoding="ascii", newline="") as stream:
        return {row["tag"]: row["action"] for row in csv.DictReader(stream)}


@cache
def action(tag: int) -> str | None:
    """What the Basic Profile does with an attribute; None: it stays.

    >>> action(0x00100020), action(0x00280010), action(0x00091001), action(0x60023000)
    ('Z', None, 'X', 'X')
    """
    if (tag >> 16) & 1:
        return "X"
    name = f"{tag:08X}"
    return rows().get(name) or rows().get(f"{name[:2]}XX{name[4:]}") or rows().get(f"{name[:2]}XXXXXX")
