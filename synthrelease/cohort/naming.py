"""What a cell of a label table says: a class by its name, or the findings that make one.

Names are compared without case, spaces, underscores and hyphens: `Pleural_Thickening` and `pleural thickening` are the
policy's `pleural_thickening`, `No Finding` is its `no_finding`. Where the policy says what its classes ask of findings:

    a cell that is a class's name              that class (the archive's own label table reads back so)
    else its parts, by the separator           a set S of findings; the class with present <= S <= present + either
    a part that is the name of a class         nothing: `No Finding`; beside a finding it contradicts it
      whose `present` is empty
    a part that no class asks about            others: refuse  the image is left out
                                               others: ignore  overlooked, but it never makes an image one without
                                                               findings: a class that asks for none does not take it
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from synthrelease.policy.findings import finding_names
from synthrelease.policy.schema import ClassFindings, CohortSettings
from synthrelease.records.refusals import Reason

UNLABELLED = "unlabelled"
"""The only class of folders of which some have no labels: every image is of it, whatever a table says."""


def plain_name(name: str) -> str:
    """A column name or class without case and separators, so that SOPInstanceUID finds sop_instance_uid.

    >>> plain_name("SOP Instance_UID")
    'sopinstanceuid'
    """
    return re.sub(r"[\s_\-]", "", name).casefold()


def known_class(text: str, classes: Sequence[str]) -> str | Reason:
    """The class that a cell names, regardless of case and separators, or why there is none.

    >>> known_class("Normal ", ["normal", "lung_mass"])
    'normal'
    """
    if list(classes) == [UNLABELLED]:
        return UNLABELLED
    if not text.strip():
        return Reason.NO_LABEL
    plain = plain_name(text)
    return next((name for name in classes if plain_name(name) == plain), Reason.UNKNOWN_LABEL)


@dataclass(frozen=True)
class Naming:
    """How the cells of a cohort's labels are understood.

    Attributes:
        classes: The policy's classes.
        findings: What each asks of the findings; None where a class is one finding and a cell its name.
        named: Every finding that some class asks about.
        separator: What parts several findings in one cell; None: a cell is one.
        overlook: Whether a finding that no class asks about is overlooked, beside others that are asked about.
    """

    classes: Sequence[str]
    findings: Mapping[str, ClassFindings] | None = None
    named: Sequence[str] = ()
    separator: str | None = None
    overlook: bool = False

    @classmethod
    def of(cls, cohort: CohortSettings) -> Self:
        """That of a policy."""
        label = cohort.label
        named = finding_names(cohort) if cohort.findings is not None else ()
        return cls(cohort.classes, cohort.findings, named, label.separator, label.others == "ignore")

    def class_of(self, cell: str) -> str | Reason:
        """The class of an image with this cell, or why it has none."""
        by_name = known_class(cell, self.classes)
        if self.findings is None or by_name is not Reason.UNKNOWN_LABEL:
            return by_name
        parts = self._parts(cell)
        known = {self._by_plain[part] for part in parts if part in self._by_plain}
        nothing = parts & self._nothing
        others = parts - self._by_plain.keys() - nothing
        if nothing and (known or others):
            return Reason.CONTRADICTORY
        if others and not (known and self.overlook):
            return Reason.UNKNOWN_FINDING
        for name, asked in self.findings.items():
            least, most = set(asked.present), {*asked.present, *asked.either}
            # What was overlooked may be just what a class without findings excludes.
            if least <= known <= most and (least or not others):
                return name
        return Reason.NO_CLASS

    def meaning(self, cell: str) -> Hashable:
        """Equal for cells that say the same, in whatever order and spelling."""
        return self._parts(cell) if self.findings is not None else plain_name(cell)

    @cached_property
    def _by_plain(self) -> Mapping[str, str]:
        return {plain_name(finding): finding for finding in self.named}

    @cached_property
    def _nothing(self) -> frozenset[str]:
        """Names of classes that need no finding; they are what an image without findings is called."""
        asked = self.findings or {}
        empty = {plain_name(name) for name, findings in asked.items() if not findings.present}
        return frozenset(empty - self._by_plain.keys())

    def _parts(self, cell: str) -> frozenset[str]:
        parts = cell.split(self.separator) if self.separator is not None else [cell]
        return frozenset(plain for part in parts if (plain := plain_name(part)))
