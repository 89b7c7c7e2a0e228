"""An image with one mask and not another: the same rule whether its masks are segmentations or cells of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.masking import NOTE_ABSENT, NOTE_UNMARKED
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.types import SourceImage
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

Make = Callable[..., CohortSettings]
Cohort = Callable[[Mapping[str, tuple[str, ...]]], Path]
"""Writes an image a patient, with masks of these segments, and gives the place."""

SEGMENTS = ("lesion", "lung", "cyst")


@pytest.fixture(params=["dicom", "masks.csv", "table"])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    """The same patients as segmentations, as pictures beside DICOM, and as a table of pictures."""
    if request.param == "dicom":
        dicom = request.getfixturevalue("dicom")

        def segmented(patients: Mapping[str, tuple[str, ...]]) -> Path:
            for patient, names in patients.items():
                dicom.add(patient, issuer="", names=names)
            return dicom.finish()  # type: ignore[no-any-return]

        return segmented
    pictures = request.getfixturevalue("pictures")

    def cells(index: int, names: tuple[str, ...]) -> dict[str, str]:
        return {f"mask_{name}": f"m{index}.png" if name in names else "" for name in SEGMENTS}

    def tabled(patients: Mapping[str, tuple[str, ...]]) -> Path:
        for index, (patient, names) in enumerate(patients.items()):
            pictures.add(patient, **cells(index, names))
        return pictures.finish()  # type: ignore[no-any-return]

    def beside(patients: Mapping[str, tuple[str, ...]]) -> Path:
        dicom = request.getfixturevalue("dicom")
        lines = [",".join(["PatientID", "SOPInstanceUID", *cells(0, ())])]
        for index, (patient, names) in enumerate(patients.items()):
            uid, _, _ = dicom.add(patient, issuer="", names=())
            pictures.add(patient)
            if names:
                (pictures.folder / f"m{index}.png").rename(dicom.folder / f"m{index}.png")
            lines.append(",".join([patient, uid, *cells(index, names).values()]))
        (dicom.folder / "masks.csv").write_text("\n".join(lines))
        return dicom.finish()  # type: ignore[no-any-return]

    return tabled if request.param == "table" else beside


def read(
    settings: CohortSettings, source: Path, **options: Any
) -> tuple[dict[str, list[bool] | None], Counter[Reason], Counter[str]]:
    """By patient which segments have marked pixels (None: masks unknown), what was refused, and the remarks."""
    reader = reader_for(settings, source, **options)
    items = list(reader.read())
    refused = Counter(item.reason for item in items if isinstance(item, Refusal))
    images = [item for item in items if isinstance(item, SourceImage)]
    marked = {
        image.patient_id: None if image.masks is None else [bool(plane.any()) for plane in image.masks]
        for image in images
    }
    return marked, refused, reader.notes


@pytest.mark.parametrize("masks", ["required", "optional"])
def test_an_image_without_a_lesion_keeps_the_mask_of_its_organ(masks: str, cohort: Cohort, settings: Make) -> None:
    source = cohort({"SICK": ("lung", "lesion"), "HEALTHY": ("lung",)})
    images, refused, notes = read(settings(segments=("lung", "lesion"), masks=masks), source)
    assert images == {"|SICK": [True, True], "|HEALTHY": [True, False]}
    assert not refused
    assert notes == {NOTE_ABSENT: 1}


def test_every_absent_finding_is_counted(cohort: Cohort, settings: Make) -> None:
    images, _, notes = read(settings(segments=SEGMENTS), cohort({"A": ("lung",), "B": ("lung", "cyst"), "C": SEGMENTS}))
    assert images == {"|A": [False, True, False], "|B": [False, True, True], "|C": [True, True, True]}
    assert notes == {NOTE_ABSENT: 3}


def test_one_finding_beside_another_needs_no_organ(cohort: Cohort, settings: Make) -> None:
    images, _, notes = read(settings(segments=("lesion", "cyst")), cohort({"A": ("lesion",)}))
    assert images == {"|A": [True, False]}
    assert notes == {NOTE_ABSENT: 1}


def test_an_organ_is_never_absent(cohort: Cohort, settings: Make) -> None:
    source = cohort({"A": ("cyst",), "B": ("lesion", "cyst")})
    assert read(settings(segments=SEGMENTS), source)[:2] == ({}, {Reason.NO_MASK: 2})
    images, _, notes = read(settings(segments=SEGMENTS, masks="optional"), source)
    assert images == {"|A": None, "|B": None}
    assert NOTE_ABSENT not in notes


def test_an_image_without_any_mask_has_none(cohort: Cohort, settings: Make) -> None:
    source = cohort({"A": (), "B": ("lesion", "cyst")})
    assert read(settings(segments=("lesion", "cyst")), source)[1] == {Reason.NO_MASK: 1}
    images, _, notes = read(settings(segments=("lesion", "cyst"), masks="optional"), source)
    assert images == {"|A": None, "|B": [True, True]}
    assert NOTE_ABSENT not in notes


def test_of_an_unmarked_class_the_two_ways_to_be_empty_are_told_apart(cohort: Cohort, settings: Make) -> None:
    asked = settings(segments=("lesion", "cyst"), unmarked_classes=("normal",))
    images, _, notes = read(asked, cohort({"A": (), "B": ("lesion",), "C": ("lesion", "cyst")}))
    assert images == {"|A": [False, False], "|B": [True, False], "|C": [True, True]}
    assert notes == {NOTE_UNMARKED: 1, NOTE_ABSENT: 1}


def test_an_archive_is_read_by_the_same_rule(cohort: Cohort, settings: Make) -> None:
    images, _, _ = read(settings(segments=("lung", "lesion")), cohort({"A": ("lung",)}), archive=True)
    assert images == {"|A": [True, False]}


def test_a_table_that_lacks_the_column_says_nothing_of_the_finding(pictures: Any, settings: Make) -> None:
    pictures.add("A", mask_lung="m0.png")
    assert read(settings(segments=("lung", "lesion")), pictures.finish())[1] == {Reason.NO_MASK: 1}


def test_a_mask_that_is_named_and_not_there_is_not_absent(pictures: Any, settings: Make) -> None:
    pictures.add("A", mask_lung="m0.png", mask_lesion="lost.png")
    assert read(settings(segments=("lung", "lesion")), pictures.finish())[1] == {Reason.NO_MASK: 1}


def test_the_store_keeps_the_healthy_and_counts_them(cohort: Cohort, settings: Make, tmp_path: Path) -> None:
    patients = {f"P{index:02d}": ("lung", "lesion") if index % 4 == 0 else ("lung",) for index in range(24)}
    store = ingest(
        settings(segments=("lung", "lesion"), classes=("normal",)),
        cohort(patients),
        tmp_path / "store",
        split=SplitDraw(0.3, "00"),
    )
    marked = store.masks(np.arange(24)).any(axis=(2, 3))
    assert store.has_mask.all()
    assert marked.sum(axis=0).tolist() == [24, 6]
    assert store.manifest.notes == {NOTE_ABSENT: 18}
