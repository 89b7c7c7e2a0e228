"""The audit as rows: one question, its verdict in a word, the number behind it, and what it is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from synthrelease.records.findings import Criterion, Verdict
from synthrelease.report import charts
from synthrelease.report.figures import NONE, Figures
from synthrelease.report.inputs import Edition
from synthrelease.report.words import CRITERIA, NO_CHECK, NO_CONFORMANCE, NOT_ASSESSED, VERDICTS, Word


@dataclass(frozen=True)
class Row:
    """One finding, ready to print."""

    id: str
    question: str
    required: bool
    word: Word
    reason: str
    statistic: str
    value: str
    interval: str
    confidence: str
    direction: str
    threshold: str
    because: str
    baseline: str
    power: str
    planted: tuple[tuple[str, str], ...]
    counts: str
    p_value: str
    seed: str
    strip: Markup


@dataclass(frozen=True)
class Group:
    """One question of a privacy officer with the findings that answer it; none: not assessed."""

    title: str
    question: str
    word: Word
    rows: tuple[Row, ...]
    missing: str

    @property
    def required(self) -> tuple[Row, ...]:
        """The rows that the verdict stands on."""
        return tuple(entry for entry in self.rows if entry.required)

    @property
    def further(self) -> tuple[Row, ...]:
        """The rows that inform; shown folded."""
        return tuple(entry for entry in self.rows if not entry.required)

    @property
    def further_words(self) -> str:
        """How the rows that inform came out, in one line.

        >>> Group("", "", NOT_ASSESSED, (), "").further_words
        '0 further checks, not required'
        """
        kinds = Counter(entry.word.text.lower() for entry in self.further)
        count = len(self.further)
        told = ", ".join(f"{number} {word}" for word, number in sorted(kinds.items()))
        return f"{count} further check{'s' * (count != 1)}, not required" + (f": {told}" if told else "")


def privacy_groups(findings: Sequence[Mapping[str, Any]], figures: Figures) -> tuple[Group, ...]:
    """The four questions, each with its findings; a question without findings says so."""
    return tuple(
        _group(title, question, [f for f in findings if f["criterion"] == criterion], figures, NO_CHECK)
        for criterion, (title, question) in CRITERIA.items()
    )


def conformance_group(findings: Sequence[Mapping[str, Any]], figures: Figures) -> Group:
    """What was found of the DICOM objects."""
    chosen = [f for f in findings if f["criterion"] == Criterion.CONFORMANCE]
    question = "Are the objects valid, marked as synthetic, and free of leftovers?"
    return _group("DICOM conformance", question, chosen, figures, NO_CONFORMANCE)


def fidelity_group(findings: Sequence[Mapping[str, Any]], figures: Figures) -> Group:
    """How useful the archive is. Never part of the privacy verdict."""
    chosen = [f for f in findings if f["criterion"] == Criterion.FIDELITY]
    missing = "No check of this run measured how close the archive is to the cohort."
    return _group("Fidelity", "Is the archive good enough for its purpose?", chosen, figures, missing)


def row(finding: Mapping[str, Any], figures: Figures) -> Row:
    """One finding of audit.json as text for one edition."""
    statistic, baseline = finding["statistic"], finding.get("baseline") or {}
    threshold, power = finding.get("threshold"), finding.get("power") or {}
    value, low, high = statistic["value"], statistic["low"], statistic["high"]
    limit = threshold["value"] if threshold else None
    assessed = not (value is low is high is None) or finding["verdict"] != Verdict.INCONCLUSIVE
    shown = figures.number(value)
    smallest = power.get("smallest_detectable")
    return Row(
        id=str(finding["id"]),
        question=str(finding["question"]),
        required=bool(finding["required"]),
        word=VERDICTS[Verdict(finding["verdict"])] if assessed else NOT_ASSESSED,
        reason=str(finding["reason"]),
        statistic=str(statistic["name"]),
        value=shown,
        interval=figures.interval(low, high),
        confidence=figures.percent(statistic["confidence"]),
        direction=str(statistic["direction"]),
        threshold=figures.number(limit),
        because=str(threshold["because"]) if threshold else "",
        baseline=_baseline(baseline, figures),
        power=f"sees from {figures.number(smallest)} {power.get('unit', '')}".strip() if smallest is not None else NONE,
        planted=tuple(
            (str(name), figures.percent(recall)) for name, recall in sorted((power.get("planted") or {}).items())
        ),
        counts=", ".join(
            f"{name} {figures.count(count, real='synthetic' not in name)}"
            for name, count in sorted((finding.get("n") or {}).items())
            if figures.edition is Edition.INTERNAL or "synthetic" in name
        ),
        p_value=_p_value(finding, figures),
        seed=str(finding.get("seed", NONE)),
        strip=_strip(f"{statistic['name']}: {shown}", (low, value, high, limit, baseline.get("holdout")), figures),
    )


def _strip(title: str, values: Iterable[float | None], figures: Figures) -> Markup:
    """The chart of a row, from rounded numbers: it must not tell more digits than the text does."""
    digits = 3 if figures.edition is Edition.EXTERNAL else 4
    low, value, high, limit, baseline = (None if x is None else float(f"{x:.{digits}g}") for x in values)
    return charts.interval_strip(low, value, high, limit, baseline, title)


def _group(title: str, question: str, findings: Sequence[Mapping[str, Any]], figures: Figures, missing: str) -> Group:
    rows = tuple(row(finding, figures) for finding in findings)
    decisive = [entry for entry in rows if entry.required]
    return Group(title, question, _worst(decisive or rows), rows, "" if rows else missing)


def _worst(rows: Sequence[Row]) -> Word:
    words = [entry.word for entry in rows]
    order = (VERDICTS[Verdict.FAIL], VERDICTS[Verdict.INCONCLUSIVE], NOT_ASSESSED, VERDICTS[Verdict.PASS])
    return next((word for word in order if word in words), NOT_ASSESSED)


def _baseline(baseline: Mapping[str, Any], figures: Figures) -> str:
    named = (("holdout", "holdout"), ("random", "chance"))
    known = [f"{word} {figures.number(baseline[key])}" for key, word in named if baseline.get(key) is not None]
    return ", ".join(known) or NONE


def _p_value(finding: Mapping[str, Any], figures: Figures) -> str:
    if finding.get("p_value") is None:
        return NONE
    text = figures.number(finding["p_value"])
    adjusted = finding.get("p_adjusted")
    return text if adjusted is None else f"{text} (adjusted {figures.number(adjusted)})"
