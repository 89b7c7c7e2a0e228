"""Headers: nothing that identifies a real person or place may stand in an outgoing file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from synthrelease.audit.case import AuditCase
from synthrelease.audit.expectation import Expectation
from synthrelease.audit.headers import annex_e
from synthrelease.audit.headers.evidence import Value, values_of
from synthrelease.audit.headers.fingerprints import Fingerprints, Vocabulary
from synthrelease.audit.headers.material import Said, said, said_in, vocabulary
from synthrelease.audit.headers.plants import Outgoing, Samples, recall
from synthrelease.audit.headers.tokens import joined, tokens
from synthrelease.audit.measurement import Explanation, Measurement, unable
from synthrelease.audit.parallel import over_files
from synthrelease.dicom.opening import quiet
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.dicom.release.templates import release_templates
from synthrelease.dicom.segments import SEGMENTS
from synthrelease.records.findings import Baseline, Criterion, Direction, Power, Statistic

NAME = "outgoing files with a value of a real header"
ENOUGH = 10_000
"""Files from which on several processes are sooner done than one: a file takes less than a millisecond."""

BEYOND = (
    "Not looked for: text burnt into pictures, values in low bits of pixels, values encrypted or hashed with a secret"
)

REWORD = "the policy itself says what may be a value of a private header; reword the policy"


class HeaderLeak:
    """Keyed fingerprints of real header values against the raw bytes and parsed values of every outgoing file."""

    id = "header_leak"
    question = "Does an outgoing file carry a name, number, date or identifier of a real patient, person or site?"
    criterion = Criterion.SINGLING_OUT
    needs_sound_split = False
    explanation = Explanation(
        how="Every identifying value of the real headers is turned into a keyed fingerprint, and every outgoing file is "
        "searched for it: in each parsed element, in the raw bytes, and in texts beside the images. Dates and identifiers "
        "are looked for in every spelling that the real files use.",
        good="No outgoing file holds any such value. One is too many.",
        weakness="Values of fewer than a few characters and everyday words are passed over, since they occur by chance; text "
        "that was burnt into the pixels is not read here.",
        source="DICOM PS3.15 Annex E (Basic Application Confidentiality Profile); facts on header leaks in docs/audit.md.",
    )

    def measure(self, case: AuditCase, rng: np.random.Generator) -> Measurement:
        """Count outgoing files with a hit; plant real values in copies of an outgoing file to measure the scan."""
        if case.real_folder is None or case.synthetic_folder is None:
            return unable(NAME, Direction.LOWER, "the folders of the private and of the synthetic files were not given")
        with quiet():
            return self._scan(case, case.real_folder, case.synthetic_folder, rng)

    def _scan(self, case: AuditCase, real: Path, synthetic: Path, rng: np.random.Generator) -> Measurement:
        scan = Scan(case.expectation)
        sources = scan.learn(real)
        outgoing = files_below(synthetic)
        said_of_each = over_files(
            partial(said_in, folder=synthetic, expectation=case.expectation), outgoing, enough=ENOUGH
        )
        judged = scan.judge(outgoing, said_of_each)
        leaking, sample = judged.leaking, judged.clean
        n = {"real_files": sources, "outgoing_files": len(outgoing)}
        if not sources or not judged.dicom:
            side = "private" if not sources else "synthetic"
            reason = f"not applicable: the {side} folder holds no DICOM file, so there are no headers to compare"
            return unable(NAME, Direction.LOWER, reason, not_applicable=True, n=n)
        planted = scan.recall(sample, synthetic, rng) if sample is not None else {}
        missed = tuple(name for name, share in planted.items() if share < 1)
        # Which attributes coincide with the policy says something of the cohort; it stays in the details, at home.
        kept = {
            "also_said_by_the_template": sorted(scan.prints.shared),
            "also_said_by_the_policy": sorted(scan.said_by_policy),
        }
        if scan.said_by_policy and not leaking:
            return replace(unable(NAME, Direction.LOWER, REWORD, n=n), details=kept)
        count = float(leaking)
        return Measurement(
            Statistic(NAME, count, count, count, 1.0, Direction.LOWER),
            Baseline(holdout=0.0),
            Power(1.0, "outgoing files", planted),
            n,
            controls_missed=missed if planted else ("no real value could be planted",),
            note=f"{leaking} of {len(outgoing)} outgoing files carry a value of a real header{judged.told}. {BEYOND}",
            details={
                "files_by_attribute": dict(sorted(judged.origins.items())),
                "files_by_place": dict(sorted(judged.places.items())),
                "fingerprints": len(scan.prints),
                "annex_e": f"{len(annex_e.rows()) + 1} rows, edition {annex_e.EDITION}",
                "allowed": "the templates of the policy"
                if case.expectation
                else "words of the writer's usual templates",
                **kept,
            },
        )


@dataclass(frozen=True)
class Judged:
    """What a scan found in a folder.

    Attributes:
        leaking: Files with a value of a real header, or with something where the template has nothing.
        dicom: Files that are DICOM.
        origins: Files by attribute of the real header.
        places: Files by part that the template leaves empty.
        clean: A DICOM file without a hit, to plant in.
        told: What the note must add.
    """

    leaking: int
    dicom: int
    origins: Counter[str]
    places: Counter[str]
    clean: Path | None
    told: str = ""


class Scan:
    """Learns what real headers hold, and then finds it elsewhere.

    Args:
        expectation: What the archive must be; None: another tool made it, or nobody knows from which settings.
    """

    def __init__(self, expectation: Expectation | None) -> None:
        self.expectation = expectation
        known = usual_vocabulary() if expectation is None else vocabulary(expectation.release.templates())
        self.prints = Fingerprints(known, exact=expectation is not None)
        self.samples = Samples()
        self.said_by_policy: set[str] = set()
        """Attributes whose values the policy's own words repeat. Private."""
        self._policy = policy_words(expectation.release.settings) if expectation is not None else {}

    def learn(self, folder: Path, *, processes: int | None = None) -> int:
        """Remember the identifying values of a folder; the number of DICOM files in it."""
        sources = 0
        for values in over_files(values_of, files_below(folder), processes=processes):
            if values is not None:
                sources += 1
                for value in values:
                    if self.prints.add(value):
                        self._hold_against_policy(value)
                    self.samples.add(value)
        return sources

    def _hold_against_policy(self, value: Value) -> None:
        words = self._policy.get(value.kind)
        if words is not None and any(form.strong and words.says(form.token) for form in value.forms):
            self.said_by_policy.add(value.origin)

    def hits(self, found: Said) -> dict[str, str]:
        """Forms of real values that a file says, each with the attribute of the real header. Private."""
        return self.prints.hits(found.tokens, found.runs, found.shown)

    def judge(self, outgoing: Sequence[Path], said_of_each: Iterable[Said]) -> Judged:
        """Count the files of a folder that say something of a real header.

        With templates nothing is excused. Without them, a date that every DICOM file carries is the archive's own and
        is told in words. (The same may not be said of a word: the name of a hospital would be in all its files.)
        """
        hits: list[dict[str, str]] = []
        places: Counter[str] = Counter()
        odd: list[bool] = []
        common: set[str] | None = None
        dicom, clean = 0, None
        for path, found in zip(outgoing, said_of_each, strict=True):
            hits.append(self.hits(found))
            odd.append(bool(found.places))
            places.update(set(found.places))
            if found.is_dicom:
                dicom += 1
                dates = {token for token in hits[-1] if token.startswith("d:")}
                common = dates if common is None else common & dates
                if clean is None and not (hits[-1].keys() - dates) and not found.places:
                    clean = path
        excused = common if common and self.expectation is None and dicom > 1 else set()
        origins: Counter[str] = Counter()
        leaking = 0
        for met, is_odd in zip(hits, odd, strict=True):
            attributes = {origin for token, origin in met.items() if token not in excused}
            leaking += bool(attributes) or is_odd
            origins.update(attributes)
        told = "; one date that all carry is a real study's too and was not counted" if excused else ""
        return Judged(leaking, dicom, origins, places, clean, told)

    def recall(self, path: Path, folder: Path, rng: np.random.Generator) -> dict[str, float]:
        """Share of planted values found in copies of one clean file, by plant."""
        clean = Outgoing(path.read_bytes(), path.relative_to(folder).as_posix())
        before = self._hits_in(clean).keys()

        def admits(token: str, strong: bool) -> bool:
            return self.prints.admits(token, strong) and token not in before

        def found(file: Outgoing) -> bool:
            return bool(self._hits_in(file).keys() - before)

        return recall(clean, self.samples.drawn(rng), admits, found)

    def _hits_in(self, file: Outgoing) -> dict[str, str]:
        return self.hits(said(file.content, file.name, self.expectation))


def policy_words(settings: ArchiveSettings) -> dict[str, Vocabulary]:
    """What the operator wrote into the policy and every archive repeats, by the kind of value that it must not be.

    Names of classes and masks are held against persons' names alone: real headers state findings as well.
    """
    free = (settings.release_name, settings.license)
    forms = frozenset().union(*map(tokens, free))
    text = Vocabulary(forms, "\n".join(map(joined, free)))
    labels = frozenset().union(*map(tokens, settings.classes + settings.segments))
    return {"name": Vocabulary(forms | labels, text.run), "uid": text, "identifier": text}


def files_below(folder: Path) -> Sequence[Path]:
    """Every file of a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@cache
def usual_vocabulary() -> Vocabulary:
    """What our own files say whatever the policy: of an archive whose policy is not at hand, these words prove nothing."""
    settings = ArchiveSettings(
        release_name="synthetic release",
        segments=tuple(SEGMENTS),
        classes=("normal",),
        spacing_mm=(1.0, 1.0),
        software_version="0",
        study_date="19000101",
        rows=32,
        columns=32,
        reports=True,
    )
    return vocabulary(release_templates(settings).templates())
