"""Classes that show none of the segments: without a mask file their masks are known, and empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.masking import NOTE_ABSENT, NOTE_UNMARKED
from synthrelease.cohort.phantom import write_phantom_cohort
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.types import SourceImage
from synthrelease.errors import PolicyError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

Make = Callable[..., CohortSettings]
UNMARKED: dict[str, Any] = {"segments": ("lesion",), "unmarked_classes": ("normal",)}


def read(
    settings: CohortSettings, source: Path, **options: Any
) -> tuple[list[SourceImage], Counter[Reason], Counter[str]]:
    reader = reader_for(settings, source, **options)
    items = list(reader.read())
    refused = Counter(item.reason for item in items if isinstance(item, Refusal))
    return [item for item in items if isinstance(item, SourceImage)], refused, reader.notes


def area(image: SourceImage) -> int | None:
    """Marked pixels; None where masks are unknown."""
    return None if image.masks is None else int(image.masks.sum())


def lesions_only(dicom: Any, patients: int = 1) -> Path:
    """A folder in which only sick images have segmentations."""
    for index in range(patients):
        dicom.add(f"HEALTHY{index}", label="normal", names=())
        dicom.add(f"SICK{index}", label="sick", names=("lesion",))
    folder: Path = dicom.finish()
    return folder


@pytest.mark.parametrize("masks", ["required", "optional"])
def test_in_dicom_an_unmarked_class_needs_no_segmentation(masks: str, dicom: Any, settings: Make) -> None:
    folder = lesions_only(dicom)
    images, refused, notes = read(settings(masks=masks, **UNMARKED), folder)
    healthy, sick = sorted(images, key=lambda image: image.label)
    assert healthy.masks is not None
    assert healthy.masks.shape == (1, *healthy.pixels.shape)
    assert area(healthy) == 0
    assert area(sick)
    assert not refused
    assert notes == {NOTE_UNMARKED: 1}


def test_without_the_word_of_the_policy_masks_stay_unknown(dicom: Any, settings: Make) -> None:
    folder = lesions_only(dicom)
    assert read(settings(segments=("lesion",)), folder)[1] == {Reason.NO_MASK: 1}
    images, _, notes = read(settings(segments=("lesion",), masks="optional"), folder)
    assert sorted(area(image) is None for image in images) == [False, True]
    assert notes[NOTE_UNMARKED] == 0


def test_other_classes_still_need_their_masks(dicom: Any, settings: Make) -> None:
    dicom.add("A", label="sick", names=())
    assert read(settings(**UNMARKED), dicom.finish())[1] == {Reason.NO_MASK: 1}


def test_an_image_of_the_class_that_has_a_segmentation_is_read_like_any_other(dicom: Any, settings: Make) -> None:
    marked = dicom.add("A", names=("lesion",), name="a")[2]
    dicom.add("B", names=("heart",), name="b")
    dicom.add("C", names=("lesion",), name="c")
    broken = dicom.folder / "c/mask.dcm"
    broken.write_bytes(broken.read_bytes()[:-60])
    (image,), refused, notes = read(settings(**UNMARKED), dicom.finish())
    np.testing.assert_array_equal(image.masks, marked)
    assert refused == {Reason.NO_MASK: 1, Reason.MASK_UNREADABLE: 1}
    assert notes[NOTE_UNMARKED] == 0


def test_masks_that_a_table_names_beside_dicom_count_as_files(dicom: Any, settings: Make) -> None:
    there, absent, none = (dicom.add(patient, names=())[0] for patient in "ABC")
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(dicom.folder / "there.png")
    rows = [f"A,{there},there.png", f"B,{absent},absent.png", f"C,{none},"]
    (dicom.folder / "masks.csv").write_text("\n".join(["PatientID,SOPInstanceUID,mask", *rows]))
    images, refused, notes = read(settings(**UNMARKED), dicom.finish())
    assert {image.image_id: area(image) for image in images} == {there: 32 * 32, none: 0}
    assert refused == {Reason.NO_MASK: 1}
    assert notes[NOTE_UNMARKED] == 1


def test_the_class_may_be_told_by_an_attribute(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=(), StudyDescription="normal")
    dicom.add("B", names=(), StudyDescription="sick")
    (image,), refused, _ = read(settings(label={"attribute": "StudyDescription"}, **UNMARKED), dicom.finish())
    assert area(image) == 0
    assert refused == {Reason.NO_MASK: 1}


def test_empty_masks_are_made_square_with_their_image(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=(), ImagerPixelSpacing=[2.0, 1.0])
    (image,), _, _ = read(settings(**UNMARKED), dicom.finish())
    assert image.pixels.shape == (64, 32)
    assert image.masks is not None
    assert image.masks.shape == (1, 64, 32)


@pytest.mark.parametrize("masks", ["required", "optional"])
def test_in_a_table_an_empty_cell_of_an_unmarked_class_is_an_empty_mask(
    masks: str, pictures: Any, settings: Make
) -> None:
    pictures.add("1", mask="")
    pictures.add("2")
    pictures.add("3", mask="absent.png")
    pictures.add("4", "sick", mask="")
    images, refused, notes = read(settings(masks=masks, **UNMARKED), pictures.finish())
    areas = {image.patient_id: area(image) for image in images}
    assert areas.pop("|1") == 0
    assert areas.pop("|2")
    assert areas == ({} if masks == "required" else {"|3": None, "|4": None})
    assert refused == ({Reason.NO_MASK: 2} if masks == "required" else {})
    assert notes[NOTE_UNMARKED] == 1


def test_a_row_with_some_of_its_masks_is_not_without_masks(pictures: Any, settings: Make) -> None:
    pictures.add("1", mask="", mask_lesion="m0.png", mask_cyst="")
    pictures.add("2", mask="", mask_lesion="", mask_cyst="")
    two = settings(segments=("lesion", "cyst"), unmarked_classes=("normal",))
    images, refused, notes = read(two, pictures.finish())
    assert [(image.patient_id, bool(area(image))) for image in images] == [("|1", True), ("|2", False)]
    assert not refused
    assert notes == {NOTE_ABSENT: 1, NOTE_UNMARKED: 1}


def test_a_table_without_a_mask_column_has_no_masks_at_all(pictures: Any, settings: Make) -> None:
    pictures.add("1")
    del pictures.rows[0]["mask"]
    (image,), _, _ = read(settings(**UNMARKED), pictures.finish())
    assert area(image) == 0


def test_simulated_patients_have_mask_files_and_nothing_is_taken_for_granted(tmp_path: Path, settings: Make) -> None:
    write_phantom_cohort(tmp_path / "cohort", patients=6, seed=5, size=32)
    asked = {"classes": ("normal", "nodule", "effusion"), "segments": ("nodule",)}
    with_word = read(settings(**asked, unmarked_classes=("normal",)), tmp_path / "cohort")
    without = read(settings(**asked), tmp_path / "cohort")
    assert [area(image) for image in with_word[0]] == [area(image) for image in without[0]]
    assert with_word[2] == without[2]


def test_an_archives_own_empty_masks_are_masks(tmp_path: Path, settings: Make) -> None:
    write_phantom_cohort(tmp_path / "cohort", patients=6, seed=5, size=32)
    asked = {"classes": ("normal", "nodule", "effusion"), "segments": ("nodule",), "unmarked_classes": ("normal",)}
    images, refused, notes = read(settings(**asked), tmp_path / "cohort", archive=True)
    assert {area(image) for image in images if image.label == "normal"} == {0}
    assert not refused
    assert notes[NOTE_UNMARKED] == 0


def test_an_image_that_is_refused_after_all_is_not_counted(pictures: Any, dicom: Any, settings: Make) -> None:
    pictures.add("1", mask="")
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(pictures.folder / "i0.png")
    dicom.add("A", names=(), WindowCenter=60000, WindowWidth=2)
    for source in (pictures.finish(), dicom.finish()):
        _, refused, notes = read(settings(**UNMARKED), source)
        assert refused == {Reason.CONSTANT: 1}
        assert notes[NOTE_UNMARKED] == 0


def test_an_archive_must_bring_its_own_masks(dicom: Any, pictures: Any, settings: Make) -> None:
    pictures.add("1", mask="")
    for source in (lesions_only(dicom), pictures.finish()):
        images, _, notes = read(settings(**UNMARKED), source, archive=True)
        assert {area(image) for image in images if image.label == "normal"} == {None}
        assert notes[NOTE_UNMARKED] == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_the_store_knows_the_masks_and_counts_them_and_reads_the_same_again(
    processes: int, dicom: Any, settings: Make, tmp_path: Path
) -> None:
    folder = lesions_only(dicom, 12)
    first, again = (
        ingest(settings(**UNMARKED), folder, tmp_path / name, split=SplitDraw(0.3, "00"), processes=processes)
        for name in ("first", "again")
    )
    assert first.has_mask.all()
    healthy = np.flatnonzero(first.labels == 0)
    assert len(healthy) == 12
    assert not first.masks(healthy).any()
    assert first.masks(np.flatnonzero(first.labels == 1)).any(axis=(1, 2, 3)).all()
    assert first.manifest.notes == {NOTE_UNMARKED: 12}
    assert again.manifest == first.manifest


def test_an_organ_is_never_taken_to_be_absent(dicom: Any, pictures: Any, settings: Make) -> None:
    dicom.add("A", names=())
    pictures.add("1", mask="")
    wrong = settings(segments=("lesion", "lung"), unmarked_classes=("normal",))
    for source in (dicom.finish(), pictures.finish()):
        with pytest.raises(PolicyError, match="cannot be taken to lack 'lung'") as raised:
            reader_for(wrong, source)
        assert "masks of their images" in raised.value.fix
        assert reader_for(wrong, source, archive=True)
