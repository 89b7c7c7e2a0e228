"""The coverage of an archive for people: how many images of each class the guide accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LOW_ACCEPTANCE = 0.8
"""Below this share of a class its label is, for too many of its images, only a wish."""


def coverage_text(coverage: Mapping[str, Any]) -> str:
    """A table of classes with what was asked for and accepted.

    >>> one = {"asked": 40, "accepted": 39, "low": 0.8714, "high": 0.9956}
    >>> print(coverage_text({"confidence": 0.95, "classes": {"nodule": one}}))
      class   asked  accepted  share  95 % interval
      nodule     40        39  0.975  0.871 to 0.996
    """
    classes: Mapping[str, Mapping[str, Any]] = coverage["classes"]
    width = max(5, *map(len, classes))
    lines = [f"  {'class':<{width}}  asked  accepted  share  {coverage['confidence']:.0%} interval".replace("%", " %")]
    for name, row in classes.items():
        share = f"{row['accepted'] / row['asked']:.3f}" if row["asked"] else "-"
        ends = f"{row['low']:.3f} to {row['high']:.3f}" if row["asked"] else "-"
        lines.append(f"  {name:<{width}}  {row['asked']:5d}  {row['accepted']:8d}  {share:>5}  {ends}")
    return "\n".join(lines)


def coverage_warnings(coverage: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each class of which the guide accepted few images."""
    for name, row in coverage["classes"].items():
        if row["asked"] and row["accepted"] < LOW_ACCEPTANCE * row["asked"]:
            yield (
                f"the guide did not see '{name}' in {row['asked'] - row['accepted']} of the {row['asked']} images asked to "
                "show it: leave out rows with accepted = 0, allow more steps or restarts, or train longer"
            )
