"""Rules of a cohort whose images carry several findings, each a named function with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from synthrelease.policy.findings import finding_names
from synthrelease.policy.schema import ClassFindings, Policy
from synthrelease.policy.strict_yaml import Path

Breach = tuple[Path, str]
Rule = Callable[[Policy], Iterator[Breach]]

PHANTOM_FINDINGS = ("nodule", "effusion")


def every_class_has_its_findings(policy: Policy) -> Iterator[Breach]:
    """A class that asks for nothing and one that was forgotten would look the same."""
    findings, classes = policy.cohort.findings, policy.cohort.classes
    if findings is None:
        return
    for name in findings:
        if name not in classes:
            yield ("cohort", "findings", name), f"not a class of this cohort ({', '.join(classes)})"
    for name in classes:
        if name not in findings:
            yield (
                ("cohort", "findings"),
                f"class '{name}' is not listed; write `{name}: {{}}` for images without any finding",
            )
    if not finding_names_of(policy):
        yield ("cohort", "findings"), "no class asks for a finding; leave the table out"


def a_finding_is_asked_for_once(policy: Policy) -> Iterator[Breach]:
    """Present and either contradict each other."""
    for name, asked in (policy.cohort.findings or {}).items():
        for finding, times in Counter((*asked.present, *asked.either)).items():
            if times > 1:
                both = finding in asked.present and finding in asked.either
                said = "both present and either" if both else "listed twice"
                yield ("cohort", "findings", name), f"'{finding}' is {said}"


def classes_are_disjoint(policy: Policy) -> Iterator[Breach]:
    """An image is of one class: no set of findings may belong to two."""
    for (one, a), (other, b) in combinations((policy.cohort.findings or {}).items(), 2):
        if set(a.present) <= _most(b) and set(b.present) <= _most(a):
            shown = ", ".join(dict.fromkeys((*a.present, *b.present))) or "no finding"
            yield ("cohort", "findings", other), f"an image with {shown} would be of '{other}' and of '{one}'"


def names_say_what_they_mean(policy: Policy) -> Iterator[Breach]:
    """A cell that names a class is of that class, so a class called like a finding must take an image with it alone."""
    names = finding_names_of(policy)
    for name, asked in (policy.cohort.findings or {}).items():
        called = next((finding for finding in names if _plain(finding) == _plain(name)), None)
        if called is not None and not set(asked.present) <= {called} <= _most(asked):
            yield ("cohort", "findings", name), f"an image with {called} alone is not of the class of that name"
    for one, other in combinations(names, 2):
        if _plain(one) == _plain(other):
            yield ("cohort", "findings"), f"'{one}' and '{other}' are one name: underscores are not told apart"


def cells_are_parted_only_for_findings(policy: Policy) -> Iterator[Breach]:
    """Without findings a cell is a class; and a part must not be cut where names have a letter, a space or a hyphen."""
    label = policy.cohort.label
    if label.separator is not None and policy.cohort.findings is None:
        yield ("cohort", "label", "separator"), "belongs to cohort.findings; without it a cell is one class"
    elif label.separator is not None and any(sign.isalnum() or sign in " _-" for sign in label.separator):
        yield ("cohort", "label", "separator"), f"{label.separator!r} would cut names; use a sign such as |"
    if label.others != "refuse" and policy.cohort.findings is None:
        yield ("cohort", "label", "others"), "belongs to cohort.findings"


def phantom_findings_exist(policy: Policy) -> Iterator[Breach]:
    """The simulator draws two findings."""
    if policy.cohort.source == "phantom":
        for name in finding_names_of(policy):
            if name not in PHANTOM_FINDINGS:
                yield (
                    ("cohort", "findings"),
                    f"the phantom has no '{name}'; it knows {', '.join(PHANTOM_FINDINGS)}",
                )


RULES: tuple[Rule, ...] = (
    every_class_has_its_findings,
    a_finding_is_asked_for_once,
    classes_are_disjoint,
    names_say_what_they_mean,
    cells_are_parted_only_for_findings,
    phantom_findings_exist,
)


def finding_names_of(policy: Policy) -> tuple[str, ...]:
    """The findings that classes ask about; none where a class is a finding."""
    return finding_names(policy.cohort) if policy.cohort.findings is not None else ()


def _most(asked: ClassFindings) -> set[str]:
    return {*asked.present, *asked.either}


def _plain(word: str) -> str:
    """As label tables are read, see :mod:`synthrelease.cohort.naming`."""
    return word.replace("_", "")
