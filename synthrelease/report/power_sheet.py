"""What an audit of this size could have seen, and how many audits went before, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthrelease.report.figures import NONE, Figures


@dataclass(frozen=True)
class PowerRow:
    """One kind of leak: the smallest that would be seen, and a remark."""

    leak: str
    smallest: str
    remark: str


@dataclass(frozen=True)
class PowerSheet:
    """The power of an audit, and what to add, a sentence each."""

    rows: tuple[PowerRow, ...]
    add: tuple[str, ...]


def power_sheet(power: Mapping[str, Any] | None, figures: Figures) -> PowerSheet | None:
    """The record's power block as rows; None where the record has none."""
    if not power:
        return None
    rows = [_copies(row, figures) for row in power.get("copy_rate") or ()]
    rows += [_membership(row, figures, float(power["power"])) for row in power.get("membership") or ()]
    if "largest_epsilon" in power:
        rows.append(_epsilon(power["largest_epsilon"], figures))
    return PowerSheet(tuple(rows), tuple(str(line) for line in power.get("add") or ()))


def _copies(row: Mapping[str, Any], figures: Figures) -> PowerRow:
    detectable = row.get("detectable")
    smallest = "none: nothing was measured" if detectable is None else figures.percent(detectable)
    wanted = row.get("images_needed")
    remark = f"threshold {figures.percent(row['threshold'])}"
    if wanted:
        remark += f"; needs {figures.count(wanted, real=False)} synthetic images with no flag among them"
    return PowerRow(f"Copies among synthetic images ({row['check']})", smallest, remark)


def _membership(row: Mapping[str, Any], figures: Figures, power: float) -> PowerRow:
    rate = figures.percent(row["false_positive_rate"])
    leak = f"Members named at {rate} false positives"
    needed = figures.count(row["others_needed"], real=False)
    if not row["resolvable"]:
        return PowerRow(leak, "not resolvable", f"needs {needed} held-out patients")
    detectable = row.get("detectable")
    smallest = NONE if detectable is None else figures.percent(detectable)
    return PowerRow(
        leak, smallest, f"against {figures.percent(row['against'])}, found {figures.percent(power)} of times"
    )


def _epsilon(row: Mapping[str, Any], figures: Figures) -> PowerRow:
    claimed = row.get("claimed")
    if claimed is None:
        remark = "no claim to refute"
    elif row.get("can_refute_claim"):
        remark = f"could refute the claim of {figures.number(claimed)}"
    else:
        remark = f"cannot refute the claim of {figures.number(claimed)}, whatever the attack finds"
    return PowerRow("Largest epsilon that a perfect attack could prove", figures.number(row.get("provable")), remark)


def history_words(audit: Mapping[str, Any]) -> str:
    """How many audits went before this one; empty where nobody counted."""
    prior = audit.get("prior_audits") or {}
    if not prior:
        return ""
    count, same, repeats = (int(prior.get(name, 0)) for name in ("count", "same_archive", "same_question"))
    if not count:
        return "No earlier audit of these patients is recorded here."
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in (prior.get("verdicts") or {}).items())
    told = f"{count} earlier audit{'s' * (count != 1)} of these patients recorded here ({verdicts}); {same} of this archive"
    if repeats:
        told += f", {repeats} of them with the same seed and thresholds"
    return f"{told}. An audit that is repeated until it passes is no evidence."
