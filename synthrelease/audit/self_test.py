"""What would this audit have seen? Known leaks are planted in a copy of the archive and the copy checks judge it blind.

    for every transform, for 1 image, 0.1 %, 1 %, 10 % of the archive:
        put that many changed training images in place of synthetic ones
        measure the copy checks and judge them, as in any audit
    for every style of an innocent archive:
        change the synthetic images, measure, judge: nothing may fail

Nothing is searched twice: a planted archive differs from the judged one in a few rows, so what the leaks saw, searched
once for each transform, stands in for those rows (:mod:`.rerun`). The checks cannot tell; they are told only not to
measure their own power again.

A check that misses a leak that its bound speaks for is not to be believed when it finds nothing: the self-test is then
inconclusive, and so is that check.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.gate import SPLIT, judge
from synthrelease.audit.images import IntArray
from synthrelease.audit.measurement import MINIMUM_HOLDOUT, Check, Measurement, broken, holdout_missing, stream
from synthrelease.audit.planted import NEGATIVES, PLANTS, TRANSFORMS, planted
from synthrelease.audit.profile import Profile
from synthrelease.audit.rerun import Part, Rerun, part_of, part_searched, patched, with_leaks
from synthrelease.audit.search import Matches
from synthrelease.records.findings import Criterion, Direction, Statistic, Verdict
from synthrelease.records.progress import Progress, Silent

COPY_GATE = (
    "exact_copies",
    "near_copies",
    "local_copies",
    "mask_copies",
    "label_copies",
    "neighbour_permutation",
)
"""Checks that look for copies; those that there are take part."""

ROW_BY_ROW = ("exact_copies",)
"""Checks that look at one synthetic image at a time and have no null: the planted rows alone tell all that changes."""

LOOKS_AT = {"mask_copies": Part.MASK, "label_copies": Part.ROW}
"""What of a synthetic image a check looks at; the others look at the picture."""

AMOUNTS: Mapping[str, float] = {"1 image": 0.0, "0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1}

DECISIVE = "1 %"
"""The amount at which a check must see what it covers."""

INNOCENT = 200
"""Synthetic images of an innocent style that are searched anew; an alarm needs no more."""


@dataclass(frozen=True)
class Row:
    """One planted archive and what became of it.

    Attributes:
        transform: The leak, or the innocent style.
        control: The archive is innocent and must not fail.
        planted: Leaked images. share: The amounts they stand for, as text.
        caught: Whether the copy checks together failed the archive; None where the question does not arise.
        verdict: Of the copy checks together.
        by: Checks that failed.
        covered: Checks whose bound speaks for this transform.
        seconds: What it took.
    """

    transform: str
    control: bool
    planted: int
    share: str
    caught: bool | None
    verdict: Verdict
    by: tuple[str, ...]
    covered: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def decisive(self) -> bool:
        """Whether a check must see this if it covers it."""
        return DECISIVE in self.share.split(", ")


@dataclass(frozen=True)
class SelfTest:
    """The table, and whether the audit was what it should be.

    Attributes:
        verdict: PASS, or INCONCLUSIVE where a covered leak was missed, an innocent archive failed, or nothing could be
            planted.
        reason: One sentence.
        rows: The table. missed: "check: transform" for covered leaks that a check did not see at 1 %.
        alarms: Innocent styles that failed.
        checks: Verdicts of the copy checks on the archive itself, controls included.
        profile, seed, counts: As in an audit's record.
        nothing_to_plant: Leaks that were not planted, because these archives have no masks or no attributes.
    """

    verdict: Verdict
    reason: str
    rows: tuple[Row, ...]
    missed: tuple[str, ...]
    alarms: tuple[str, ...]
    checks: Mapping[str, Verdict]
    profile: str
    seed: int
    counts: Mapping[str, int] = field(default_factory=dict)
    nothing_to_plant: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def self_test(case: AuditCase, profile: Profile, seed: int, *, progress: Progress | None = None) -> SelfTest:
    """Plant every known leak in a copy of the archive, judge each copy, and judge innocent archives too.

    Args:
        case: What is audited. profile: Thresholds. seed: Of the places of the plants and of the checks.
        progress: Told of each transform.

    Returns:
        The table. Figures about planted leaks only; no value of a patient.
    """
    progress = progress or Silent()
    missing = holdout_missing(case)
    if missing:
        reason = f"nothing can be planted: {missing}"
        return SelfTest(Verdict.INCONCLUSIVE, reason, (), (), (), {}, profile.name, seed, case.counts)
    checks = tuple(check for check in CHECKS if check.id in COPY_GATE)
    progress.stage("self-test", len(TRANSFORMS) + len(NEGATIVES) + 3)
    progress.step(0, "the archive itself")
    panel = Panel(checks, profile, seed)
    own = panel.measured(case, panel.split(case))
    judged = judge(own, profile)
    verdicts = {check.id: judged[check.id].verdict for check in checks}
    covers = {check.id: tuple(own[check].details.get("bound_covers", ())) for check in checks}
    rows: list[Row] = []
    plantable = [transform for transform in TRANSFORMS if _present(case, part_of(transform))]
    for transform in plantable:
        covered = tuple(name for name in verdicts if transform in covers[name])
        rows += _planted_rows(case, panel, own, transform, covered, seed)
        progress.step(len({row.transform for row in rows}), transform)
    for name, innocent in _innocents(case, seed):
        # Styles share the patients, and so the split; strangers have one of their own.
        split = {c: m for c, m in own.items() if c.id == SPLIT}
        rows.append(
            _innocent_row(name, innocent, panel, split if isinstance(innocent, Rerun) else panel.split(innocent))
        )
        progress.step(len({row.transform for row in rows}), name)
    return replace(
        _concluded(rows, verdicts, own, profile, seed, case),
        nothing_to_plant=tuple(transform for transform in TRANSFORMS if transform not in plantable),
    )


def _present(case: AuditCase, part: Part) -> bool:
    """Whether training and synthetic images both have what a leak would carry over."""
    sides = (case.train, case.synthetic)
    if part is Part.MASK:
        return all(bool(side.has_mask.any()) for side in sides)
    # A label alone is many people's.
    return part is Part.IMAGE or all(bool(side.attributes) for side in sides)


def _concluded(
    rows: Sequence[Row],
    verdicts: Mapping[str, Verdict],
    own: Mapping[Check, Measurement],
    profile: Profile,
    seed: int,
    case: AuditCase,
) -> SelfTest:
    already = tuple(name for name, verdict in verdicts.items() if verdict is Verdict.FAIL)
    missed = tuple(
        f"{name}: {row.transform}"
        for row in rows
        if row.decisive
        for name in row.covered
        if name not in row.by and name not in already
    )
    alarms = tuple(row.transform for row in rows if row.control and row.verdict is Verdict.FAIL)
    unable_ones = [check.id for check, m in own.items() if m.unable and not m.not_applicable]
    reasons = [
        f"the archive itself fails ({', '.join(already)}), so that its controls show nothing" if already else "",
        f"could not run: {', '.join(unable_ones)}" if unable_ones else "",
        f"covered leaks missed at {DECISIVE}: {', '.join(missed)}" if missed else "",
        f"innocent archives accused: {', '.join(alarms)}" if alarms else "",
    ]
    said = "; ".join(reason for reason in reasons if reason)
    decisive = [row for row in rows if row.decisive]
    caught = sum(bool(row.caught) for row in decisive)
    told = f"{caught} of {len(decisive)} kinds of leak were caught at {DECISIVE}; no innocent archive was accused"
    return SelfTest(
        Verdict.INCONCLUSIVE if said else Verdict.PASS,
        said or told,
        tuple(rows),
        missed,
        alarms,
        dict(verdicts),
        profile.name,
        seed,
        case.counts,
    )


def amounts(synthetic: int) -> dict[int, str]:
    """Planted images by what they stand for; amounts that come to the same number share a row.

    >>> amounts(1000)
    {1: '1 image, 0.1 %', 10: '1 %', 100: '10 %'}
    """
    table: dict[int, str] = {}
    for name, share in AMOUNTS.items():
        count = max(1, round(share * synthetic))
        table[count] = f"{table[count]}, {name}" if count in table else name
    return table


def _planted_rows(
    case: AuditCase,
    panel: Panel,
    own: Mapping[Check, Measurement],
    transform: str,
    covered: tuple[str, ...],
    seed: int,
) -> Iterator[Row]:
    rng = np.random.default_rng([seed, zlib.crc32(transform.encode())])
    leaks, part = planted(transform, case.train, case.synthetic, PLANTS), part_of(transform)
    # A check that looks at what the leak leaves as it was says what it says of the archive itself.
    known = {c: m for c, m in own.items() if c.id == SPLIT or LOOKS_AT.get(c.id, Part.IMAGE) is not part}
    for count, share in amounts(len(case.synthetic)).items():
        began = time.monotonic()
        places = rng.permutation(len(case.synthetic))[:count]
        # More places than leaks: a patient's image is leaked more than once, as by a generator that repeats itself.
        which = np.resize(rng.permutation(len(leaks)), len(places))

        def seen(kind: str, places: IntArray = places, which: IntArray = which) -> Mapping[str, Matches]:
            own = case.search(kind).synthetic
            return patched(own, case.planted(kind, transform), places, which) if part_searched(kind) is part else own

        rerun = Rerun.of(case, with_leaks(case.synthetic, places, leaks.take(which), part), seen)
        verdict, by = panel.judged(rerun, known, places)
        yield Row(
            transform,
            False,
            count,
            share,
            verdict is Verdict.FAIL,
            verdict,
            by,
            covered,
            time.monotonic() - began,
        )


def _innocent_row(name: str, case: AuditCase, panel: Panel, split: Mapping[Check, Measurement]) -> Row:
    began = time.monotonic()
    verdict, by = panel.judged(case, split)
    return Row(name, True, 0, "all images", None, verdict, by, (), time.monotonic() - began)


def _innocents(case: AuditCase, seed: int) -> Iterator[tuple[str, AuditCase]]:
    """Archives in which nothing was copied: other styles, very few images, and real people nobody trained on."""
    rng = np.random.default_rng([seed, 1])
    some = case.synthetic.take(np.sort(rng.permutation(len(case.synthetic))[:INNOCENT]))
    for name, change in NEGATIVES.items():
        styled = np.clip(change(some.images, rng), -1.0, 1.0).astype(np.float32)
        yield name, Rerun.of(case, replace(some, images=styled, digests=()))
    yield "few_images", Rerun.of(case, some.take(np.arange(min(10, len(some)))))
    assert case.holdout is not None
    patients = rng.permutation(np.unique(case.holdout.patient))
    if len(patients) >= 2 * MINIMUM_HOLDOUT:
        apart = np.isin(case.holdout.patient, patients[: len(patients) // 2])
        strangers = replace(case.holdout.take(apart), digests=())
        made = {f.name: getattr(case, f.name) for f in fields(AuditCase) if f.init}
        yield "strangers", AuditCase(**made | {"holdout": case.holdout.take(~apart), "synthetic": strangers})


class Panel:
    """The checks that judge, each with its own stream of randomness, the same in every archive."""

    def __init__(self, checks: Sequence[Check], profile: Profile, seed: int) -> None:
        self._checks, self._profile, self._seed = checks, profile, seed
        silent = Measurement(
            Statistic("not measured here", 0.0, 0.0, 0.0, 0.95, Direction.LOWER), p_value=1.0, note="not measured here"
        )
        # The other tested checks stay in Holm's family: in an audit, too, they are corrected for.
        self._silent = {
            check: silent
            for check in CHECKS
            if check.needs_sound_split
            and check not in checks
            and check.criterion is not Criterion.FIDELITY
            and profile.checks[check.id].required
        }

    def split(self, case: AuditCase) -> dict[Check, Measurement]:
        """What the check of the split says; without a sound one the holdout is no control."""
        return {check: self._measure(check, case) for check in CHECKS if check.id == SPLIT}

    def measured(self, case: AuditCase, split: Mapping[Check, Measurement]) -> dict[Check, Measurement]:
        """All checks on one archive."""
        return {**split, **{check: self._measure(check, case) for check in self._checks}}

    def judged(
        self, case: AuditCase, known: Mapping[Check, Measurement], rows: IntArray | None = None
    ) -> tuple[Verdict, tuple[str, ...]]:
        """The verdict of the checks together, and which failed.

        Args:
            case: An archive. known: Measurements that need no repeating, the split's among them.
            rows: What differs from the judged archive.
        """
        measured = dict(known)
        for check in self._checks:
            if check in known:
                continue
            alone = rows is not None and check.id in ROW_BY_ROW
            looked_at = Rerun.of(case, case.synthetic.take(rows)) if alone and rows is not None else case
            measured[check] = self._measure(check, looked_at)
        judged = judge({**measured, **self._silent}, self._profile)
        said = {check.id: judged[check.id] for check in self._checks}
        by = tuple(name for name, each in said.items() if each.verdict is Verdict.FAIL)
        counted = [each.verdict for each in said.values() if each.required]
        if any(said[name].required for name in by):
            return Verdict.FAIL, by
        return (Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in counted else Verdict.PASS), by

    def _measure(self, check: Check, case: AuditCase) -> Measurement:
        try:
            return check.measure(case, stream(check, self._seed))
        except Exception as error:
            return broken(check, case, error)
