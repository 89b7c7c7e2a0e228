"""A folder of DICOM files: matching, identity, labels, and what is left out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.cohort.dicom_folder import NOTE_ORPHAN, NOTE_TEXT
from synthrelease.cohort.dicom_work import NOTE_STUDY
from synthrelease.cohort.masking import NOTE_ABSENT
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.types import SourceImage
from synthrelease.dicom.image import SyntheticMarking
from synthrelease.errors import PolicyError, UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

Make = Callable[..., CohortSettings]


def read(
    settings: CohortSettings, folder: Path, **options: Any
) -> tuple[list[SourceImage], Counter[Reason], Counter[str]]:
    reader = reader_for(settings, folder, **options)
    items = list(reader.read())
    refused = Counter(item.reason for item in items if isinstance(item, Refusal))
    return [item for item in items if isinstance(item, SourceImage)], refused, reader.notes


def test_images_come_with_their_masks_wherever_those_lie(dicom: Any, settings: Make) -> None:
    uid, levels, masks = dicom.add("A", name="deep/below")
    (dicom.folder / "elsewhere").mkdir()
    shutil.move(dicom.folder / "deep/below/mask.dcm", dicom.folder / "elsewhere/any.name")
    (image,), refused, _ = read(settings(), dicom.finish())
    assert (image.image_id, image.patient_id, image.label) == (uid, "HOSP|A", "normal")
    np.testing.assert_allclose(image.pixels, levels / 4095 * 2 - 1, atol=1e-6)
    assert image.masks is not None
    np.testing.assert_array_equal(image.masks, masks)
    assert not refused


def test_segments_are_put_into_the_policys_order_by_name_or_code(dicom: Any, settings: Make) -> None:
    _, _, masks = dicom.add("A", names=("nodule", "heart", "right_lung"))
    (image,), _, _ = read(settings(segments=("right_lung", "heart")), dicom.finish())
    assert image.masks is not None
    np.testing.assert_array_equal(image.masks, masks[[2, 1]])


def test_a_finding_that_is_not_described_is_absent_and_counted(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=("lung",))
    (image,), _, notes = read(settings(segments=("lung", "nodule")), dicom.finish())
    assert image.masks is not None
    assert not image.masks[1].any()
    assert notes[NOTE_ABSENT] == 1


def test_an_organ_that_is_not_described_is_a_missing_mask(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=("nodule",))
    assert read(settings(segments=("lung", "nodule")), dicom.finish())[1] == {Reason.NO_MASK: 1}


def test_without_a_mask_an_image_is_refused_or_kept_as_the_policy_says(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=())
    folder = dicom.finish()
    assert read(settings(), folder)[1] == {Reason.NO_MASK: 1}
    (image,), refused, notes = read(settings(masks="optional"), folder)
    assert image.masks is None
    assert not refused
    assert sum(count for note, count in notes.items() if note.startswith(Reason.NO_MASK)) == 1


def test_a_mask_of_another_size_is_refused(dicom: Any, settings: Make) -> None:
    dicom.add("A", Rows=16, Columns=64)
    assert read(settings(), dicom.finish())[1] == {Reason.MASK_SIZE: 1}


def test_a_broken_segmentation_is_refused_with_its_image(dicom: Any, settings: Make) -> None:
    dicom.add("A", name="a")
    mask = dicom.folder / "a/mask.dcm"
    mask.write_bytes(mask.read_bytes()[:-60])
    assert read(settings(), dicom.finish())[1] == {Reason.MASK_UNREADABLE: 1}


def test_a_segmentation_of_no_image_is_counted(dicom: Any, settings: Make) -> None:
    dicom.add("A", name="a")
    (dicom.folder / "a/image.dcm").unlink()
    assert read(settings(), dicom.finish())[2] == {NOTE_ORPHAN: 1}


def test_a_segmentation_that_names_another_patient_refuses_its_image(dicom: Any, settings: Make) -> None:
    dicom.add("A", PatientID="B")
    assert read(settings(), dicom.finish())[1] == {Reason.TWO_PATIENTS: 1}


def test_one_id_of_two_issuers_is_two_patients(dicom: Any, settings: Make) -> None:
    dicom.add("A", issuer="ONE")
    dicom.add("A", issuer="TWO")
    images, _, _ = read(settings(), dicom.finish())
    assert {image.patient_id for image in images} == {"ONE|A", "TWO|A"}


def test_ids_are_trimmed(dicom: Any, settings: Make) -> None:
    dicom.add("A")
    dicom.add("A", PatientID=" A ")
    images, _, _ = read(settings(), dicom.finish())
    assert [image.patient_id for image in images] == ["HOSP|A", "HOSP|A"]


@pytest.mark.parametrize("value", ["", "  "])
def test_without_patient_id_the_policy_decides(dicom: Any, settings: Make, value: str) -> None:
    dicom.add("A", PatientID=value)
    folder = dicom.finish()
    assert read(settings(), folder)[1] == {Reason.NO_PATIENT: 1}
    (image,), _, notes = read(settings(identity={"missing": "study"}), folder)
    assert image.patient_id.startswith("%study|")
    assert notes[NOTE_STUDY] == 1


def test_one_instance_under_two_patients_is_refused_in_both(dicom: Any, settings: Make) -> None:
    uid, _, _ = dicom.add("A")
    dicom.add("B", SOPInstanceUID=uid)
    assert read(settings(), dicom.finish())[:2] == ([], {Reason.TWO_PATIENTS: 2})


def test_one_instance_with_two_contents_is_refused_in_both(dicom: Any, settings: Make) -> None:
    uid, _, _ = dicom.add("A")
    dicom.add("A", SOPInstanceUID=uid)
    assert read(settings(), dicom.finish())[:2] == ([], {Reason.DUPLICATE: 2})


def test_of_byte_equal_copies_one_is_kept(dicom: Any, settings: Make) -> None:
    dicom.add("A", name="a")
    shutil.copytree(dicom.folder / "a", dicom.folder / "b")
    images, refused, _ = read(settings(), dicom.finish())
    assert len(images) == 1
    assert refused == {Reason.COPY: 1}


def test_labels_by_patient(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None)
    dicom.labels.append(("A", "Sick "))
    (image,), _, _ = read(settings(label={"key": "PatientID"}), dicom.finish(("PatientID", "label")))
    assert image.label == "sick"


def test_labels_by_attribute(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None, BodyPartExamined="SICK")
    dicom.add("B", label=None, BodyPartExamined="KNEE")
    images, refused, _ = read(settings(label={"attribute": "BodyPartExamined"}), dicom.folder)
    assert [image.label for image in images] == ["sick"]
    assert refused == {Reason.UNKNOWN_LABEL: 1}


def test_an_attribute_that_dicom_does_not_have_is_a_policy_error(dicom: Any, settings: Make) -> None:
    dicom.add("A")
    with pytest.raises(PolicyError, match="NoSuchThing"):
        reader_for(settings(label={"attribute": "NoSuchThing"}), dicom.folder)


def test_missing_unknown_and_disputed_labels_are_refused(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None)
    dicom.add("B", label="martian")
    uid, _, _ = dicom.add("C", label="normal")
    dicom.labels.append((uid, "sick"))
    dicom.add("D", label="")
    assert read(settings(), dicom.finish())[:2] == ([], {Reason.NO_LABEL: 3, Reason.UNKNOWN_LABEL: 1})


def test_a_single_class_needs_no_label(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None)
    assert len(read(settings(classes=("normal",)), dicom.folder)[0]) == 1


def test_a_named_label_table_must_be_there(dicom: Any, settings: Make) -> None:
    dicom.add("A")
    with pytest.raises(UsageError, match="label table"):
        reader_for(settings(label={"csv": "other.csv"}), dicom.finish())


def test_a_label_table_without_its_column_is_a_usage_error(dicom: Any, settings: Make) -> None:
    dicom.add("A")
    with pytest.raises(UsageError, match="'diagnosis'"):
        reader_for(settings(label={"column": "diagnosis"}), dicom.finish())


def test_the_labels_of_a_synthetic_archive_are_found_whatever_the_cohort_uses(dicom: Any, settings: Make) -> None:
    marking = SyntheticMarking("release", "synthrelease", "1")
    dicom.add("SYN-1", label="sick", marking=marking)
    folder = dicom.finish(("sop_instance_uid", "label"))
    private = settings(
        label={"csv": "secret.csv", "key": "PatientID"}, window={"mode": "fixed", "low": -5.0, "high": 5.0}
    )
    (image,), _, _ = read(private, folder, archive=True)
    assert image.label == "sick"
    assert abs(float(image.pixels.mean())) < 0.2  # its own window, not the private archive's values


def test_other_files_are_counted_and_never_stop_the_reading(dicom: Any, settings: Make) -> None:
    dicom.add("A")
    (dicom.folder / "notes.txt").write_text("patient list")
    (dicom.folder / "junk.bin").write_bytes(bytes(500))
    images, refused, notes = read(settings(), dicom.finish())
    assert len(images) == 1
    assert refused == {Reason.NOT_DICOM: 1}
    assert notes == {NOTE_TEXT: 1}


def test_pixels_that_are_not_square_are_stretched_with_their_masks(dicom: Any, settings: Make) -> None:
    dicom.add("A", ImagerPixelSpacing=[2, 1])
    (image,), _, _ = read(settings(), dicom.finish())
    assert image.masks is not None
    assert image.pixels.shape == image.masks.shape[1:] == (64, 32)
    assert image.pixels[0, 0] == image.pixels[1, 0]
    np.testing.assert_array_equal(image.masks[:, ::2], image.masks[:, 1::2])


def test_the_order_is_the_order_of_the_paths(dicom: Any, settings: Make) -> None:
    for name in ("c", "a", "b"):
        dicom.add(name.upper(), name=name)
    assert [image.patient_id for image in read(settings(), dicom.finish())[0]] == ["HOSP|A", "HOSP|B", "HOSP|C"]


def test_labels_by_patient_tell_issuers_apart(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None, issuer="ONE")
    dicom.add("A", label=None, issuer="TWO")
    (dicom.folder / "labels.csv").write_text("PatientID,IssuerOfPatientID,label\nA,ONE,sick\nA,TWO,normal\n")
    images, refused, _ = read(settings(label={"key": "PatientID"}), dicom.folder)
    assert {image.patient_id: image.label for image in images} == {"ONE|A": "sick", "TWO|A": "normal"}
    assert not refused


def test_labels_by_patient_that_do_not_tell_two_issuers_apart_are_refused_as_a_whole(
    dicom: Any, settings: Make
) -> None:
    for issuer in ("ONE", "TWO"):
        dicom.add("A", label=None, issuer=issuer)
    (dicom.folder / "labels.csv").write_text("PatientID,label\nA,sick\n")
    with pytest.raises(UsageError, match="two issuers"):
        read(settings(label={"key": "PatientID"}), dicom.folder)


def test_a_patient_with_two_classes_is_left_out_where_nobody_tells_issuers(dicom: Any, settings: Make) -> None:
    dicom.add("A", label=None, issuer="")
    dicom.add("B", label=None, issuer="")
    (dicom.folder / "labels.csv").write_text("PatientID,label\nA,sick\nA,normal\nB,normal\n")
    images, refused, _ = read(settings(label={"key": "PatientID"}), dicom.folder)
    assert [image.patient_id for image in images] == ["|B"]
    assert refused == {Reason.NO_LABEL: 1}


def test_a_row_without_a_patient_is_no_class_for_images_without_one(dicom: Any, settings: Make) -> None:
    dicom.add("A", PatientID="", label=None)
    (dicom.folder / "labels.csv").write_text("PatientID,label\nB,normal\n,sick\n")
    wanted = settings(label={"key": "PatientID"}, identity={"missing": "study"})
    assert read(wanted, dicom.folder)[1] == {Reason.NO_LABEL: 1}


def test_ids_beyond_ascii_are_read_by_their_character_set(dicom: Any, settings: Make) -> None:
    dicom.add("MÜLLER", name="a", names=(), SpecificCharacterSet="ISO_IR 100")
    dicom.add("MÜLLER", name="b", names=(), SpecificCharacterSet="ISO_IR 192")
    images, refused, _ = read(settings(segments=()), dicom.finish())
    assert [image.patient_id for image in images] == ["HOSP|MÜLLER"] * 2
    assert not refused
