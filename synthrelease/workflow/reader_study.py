"""A reader study out of a run, and its score.

It holds real images, so it is a thing of the house: folder 0700, files 0600, and never inside an archive or a release.
Real images come from patients that the generator never saw, unless training patients are asked for.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from synthrelease.archive.columns import LABELS_FILE
from synthrelease.cohort.labels import read_table
from synthrelease.cohort.store import CohortStore, Split
from synthrelease.dicom.image import ImageClass, highest_level
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_folder, read_json
from synthrelease.records.manifest import MANIFEST, lines_of
from synthrelease.records.private_files import write_private
from synthrelease.records.runs import Run
from synthrelease.report.reader_study.drawing import Pool, Shown, draw_series
from synthrelease.report.reader_study.equivalence import ALPHA, MARGIN, answers_needed, power_of
from synthrelease.report.reader_study.grey import COARSEST, coarseness, study_levels
from synthrelease.report.reader_study.key import INTERNAL, Key, KeyCase, key_digest, read_key
from synthrelease.report.reader_study.scoring import score
from synthrelease.report.reader_study.series import StudyHeader, case_file, case_name
from synthrelease.report.reader_study.sheet import Sheet, read_answers, sheet_csv, sheet_html
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk
from synthrelease.workflow.sampling import settings_of

SCHEMA = "synthrelease.reader-study/1"
STUDY, IMAGES, TABLE, PAGE = "study.json", "images", "answers.csv", "answers.html"
_MARKS = ("release.json", "bagit.txt", MANIFEST)


@dataclass(frozen=True)
class StudyWish:
    """What a study shall be.

    Attributes:
        folder: Of the study; must not exist.
        key: File of the key; must not exist, nor lie in the folder.
        images: Different images, half of each kind; None: as many as the margin needs.
        repeats: Images shown twice.
        margin: Of equivalence around 0.5.
        real_from: Patients of the real images.
        seed: 64 hex digits; None: from the operating system, as it should be outside of tests.
    """

    folder: Path
    key: Path
    images: int | None = None
    repeats: int = 0
    margin: float = MARGIN
    real_from: Split = Split.HOLDOUT
    seed: str | None = None


def export_study(desk: Desk, run: Run, wish: StudyWish) -> dict[str, Any]:
    """Write a blinded series, its sheets and its key.

    Returns:
        What study.json holds, and `key`, `power` and `warnings`.

    Raises:
        UsageError: A place that exists or that things leave the house from; numbers that do not go together.
        UnsuitableData: Too few images.
        IntegrityError: The archive is not the one that was sampled.
    """
    require_house(wish)
    policy = policy_of(run)
    record = run.read(run.archive_record, "sample")
    store = CohortStore.open(run.require(run.cohort, "train"))
    archive = _Archive.of(run, policy, record)
    rows = store.rows(wish.real_from)
    images = answers_needed(wish.margin) if wish.images is None else wish.images
    power = power_of(images, wish.margin)  # refuses a margin that is none
    seed = wish.seed or secrets.token_hex(32)
    rng = np.random.default_rng(int(seed, 16))
    real = Pool(store.labels[rows], store.patient[rows])
    series = draw_series(real, archive.pool(store.manifest.classes), images, wish.repeats, rng)
    study = f"{rng.integers(16**12):012x}"
    header = _header(policy, study)
    desk.progress.stage("writing the series", len(series))
    cases: list[KeyCase] = []
    coarse: dict[bool, list[float]] = {True: [], False: []}
    with atomic_folder(wish.folder) as partial:
        partial.chmod(0o700)
        (partial / IMAGES).mkdir(mode=0o700)
        for number, shown in enumerate(series, 1):
            pixels = archive.image(shown.index) if shown.synthetic else store.images(rows[[shown.index]])[0, 0]
            coarse[shown.synthetic].append(coarseness(pixels))
            # The grain of a case has a stream of its own: an image shown twice is no copy of itself.
            levels = study_levels(pixels, np.random.default_rng([int(seed, 16), number]))
            _write(partial / IMAGES / case_name(number), case_file(levels, number, header))
            cases.append(_key_case(number, shown, archive, store, int(rows[shown.index]) if not shown.synthetic else 0))
            desk.progress.step(number)
        sources = {"archive": record["archive_digest"], "cohort": store.manifest.digest, "run": run.name}
        key = Key(study, seed, wish.margin, ALPHA, tuple(cases), sources).content()
        sheet = Sheet(study, key_digest(key), len(cases))
        told = _told(sheet, policy, wish.margin)
        _write(partial / TABLE, sheet_csv(sheet).encode())
        _write(partial / PAGE, sheet_html(sheet).encode())
        write_private(partial / STUDY, _json(told))
        # The key first: a series without one could never be scored.
        write_private(wish.key, key)
    return {**told, "key": str(wish.key), "power": power, "warnings": list(_warnings(coarse, images, wish))}


def score_study(folder: Path, key_file: Path, answers: Sequence[Path]) -> dict[str, Any]:
    """The answers of some readers against the key of their study.

    Raises:
        UsageError: A file is not there, or answers that cannot be read.
        IntegrityError: The key is not the one that was sealed when the series was written.
    """
    if not key_file.is_file():
        raise UsageError("the key is not there", fix="Name it with --key; whoever exported the study has it.")
    if not (folder / STUDY).is_file():
        raise UsageError(f"{folder.name} is no reader study", fix="Name the folder that export wrote.")
    told = read_json(folder / STUDY)
    content = key_file.read_bytes()
    key = read_key(content)
    if told.get("schema") != SCHEMA or (told["study"], told["key_sha256"]) != (key.study, key_digest(content)):
        raise IntegrityError(
            "the key is not the one that was sealed with this study",
            fix="Name its own key, unchanged; answers to a changed key tell nothing.",
        )
    sheet = Sheet(key.study, key_digest(content), len(key.cases))
    return score(key, [read_answers(path, sheet) for path in answers])


def require_house(wish: StudyWish) -> None:
    """Study and key are new, lie apart, and where nothing leaves the house from.

    Raises:
        UsageError: They do not.
    """
    for place, option in ((wish.folder, "--to"), (wish.key, "--key")):
        if os.path.lexists(place):
            raise UsageError(
                f"{place.name} exists already; a study is never overwritten", fix=f"Name another {option}."
            )
        for folder in (place.resolve(), *place.resolve().parents):
            archive = folder.name == "archive" and (folder.parent / "policy.resolved.json").is_file()
            sealed = folder.name == "releases" or any((folder / name).is_file() for name in _MARKS)
            if archive or sealed:
                raise UsageError(
                    f"{option} lies in {'a release' if sealed and not archive else 'an archive'}, and a study with images "
                    "of real patients never leaves with one",
                    fix="Name a place in the house.",
                )
    if wish.key.resolve().is_relative_to(wish.folder.resolve()):
        raise UsageError("the key lies in the study's folder, where readers would find it", fix="Name another --key.")


class _Archive:
    """The synthetic images of a run, one read at a time, each compared with the manifest."""

    def __init__(self, run: Run, rows: Sequence[tuple[str, str]], digests: dict[str, str], bits: int) -> None:
        self._folder, self._rows, self._digests, self._bits = run.archive, rows, digests, bits

    @classmethod
    def of(cls, run: Run, policy: Policy, record: dict[str, Any]) -> _Archive:
        manifest = run.require(run.archive, "sample") / MANIFEST
        if not manifest.is_file() or digest_of_file(manifest) != record["archive_digest"]:
            raise _changed()
        digests = dict(lines_of(manifest))
        if digest_of_file(run.archive / LABELS_FILE) != digests.get(LABELS_FILE):
            raise _changed()
        table = read_table(run.archive / LABELS_FILE)
        files, labels = table.column("file") or [], table.column("label") or []
        settings = settings_of(run, policy)
        return cls(run, list(zip(files, labels, strict=True)), digests, settings.bits)

    def pool(self, classes: Sequence[str]) -> Pool:
        labels = np.array([classes.index(label) for _, label in self._rows], dtype=np.int64)
        return Pool(labels, np.arange(len(labels)))

    def file(self, index: int) -> str:
        return self._rows[index][0]

    def label(self, index: int) -> str:
        return self._rows[index][1]

    def image(self, index: int) -> npt.NDArray[np.float32]:
        path = self._folder / self.file(index)
        if digest_of_file(path) != self._digests.get(self.file(index)):
            raise _changed()
        levels = pydicom.dcmread(path).pixel_array.astype(np.float32)
        unit: npt.NDArray[np.float32] = levels * np.float32(2 / highest_level(self._bits)) - np.float32(1)
        return unit


def _changed() -> IntegrityError:
    return IntegrityError("the archive is not the one that was sampled", fix="Sample it again: `synthrelease sample`.")


def _header(policy: Policy, study: str) -> StudyHeader:
    cohort = policy.cohort
    radiograph = cohort.modality in ("DX", "CR")
    return StudyHeader(
        study,
        cohort.field_of_view_mm / cohort.resolution,
        policy.archive.release_date,
        cohort.body_part,
        ImageClass.DX if radiograph else ImageClass.SC,
        "" if radiograph else cohort.modality,
    )


def _key_case(number: int, shown: Shown, archive: _Archive, store: CohortStore, row: int) -> KeyCase:
    again = None if shown.repeat_of is None else shown.repeat_of + 1
    if shown.synthetic:
        return KeyCase(number, True, archive.label(shown.index), archive.file(shown.index), again)
    return KeyCase(number, False, store.manifest.classes[int(store.labels[row])], store.image_ids[row], again)


def _told(sheet: Sheet, policy: Policy, margin: float) -> dict[str, Any]:
    """study.json: what a reader may know."""
    return {
        "schema": SCHEMA,
        "notice": INTERNAL,
        "study": sheet.study,
        "cases": sheet.cases,
        "resolution": policy.cohort.resolution,
        "margin": margin,
        "alpha": ALPHA,
        "answers_needed": answers_needed(margin),
        "key_sha256": sheet.key_digest,
    }


def _warnings(coarse: dict[bool, list[float]], images: int, wish: StudyWish) -> Iterator[str]:
    needed = answers_needed(wish.margin)
    if images < needed:
        yield (
            f"{images} images are too few to show equivalence within {wish.margin:g} of 0.5 with a power of 0.8: {needed} are "
            f"needed, and a reader who guesses shows it here with a chance of {power_of(images, wish.margin):.2f}"
        )
    for synthetic, name in ((False, "real"), (True, "synthetic")):
        if np.median(coarse[synthetic]) > COARSEST:
            yield (
                f"the {name} images have steps of {np.median(coarse[synthetic]):.0f} of 256 grey values: a program could tell "
                "them by their histogram, though not by eye"
            )


def _write(path: Path, content: bytes) -> None:
    """A file for its owner alone, with one time for all: what was written when tells nothing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    os.utime(path, (0, 0))


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
