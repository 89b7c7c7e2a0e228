"""What the classes of a cohort ask of its findings, as a table."""

from __future__ import annotations

from synthrelease.policy.schema import CohortSettings

PRESENT, EITHER, ABSENT = 1.0, 0.5, 0.0


def finding_names(cohort: CohortSettings) -> tuple[str, ...]:
    """Every finding in the order in which the classes name them first; the classes themselves where none are declared."""
    if cohort.findings is None:
        return cohort.classes
    asked = [cohort.findings[name] for name in cohort.classes if name in cohort.findings]
    return tuple(dict.fromkeys(finding for each in asked for finding in (*each.present, *each.either)))


def target_table(cohort: CohortSettings) -> tuple[tuple[float, ...], ...]:
    """One row a class, one column a finding of :func:`finding_names`: 1 present, 0.5 either, 0 absent; empty when a class is
    a finding."""
    if cohort.findings is None:
        return ()

    names = finding_names(cohort)
    rows = (cohort.findings[name] for name in cohort.classes)
    return tuple(
        tuple(PRESENT if name in row.present else EITHER if name in row.either else ABSENT for name in names)
        for row in rows
    )
