"""Masks of a DICOM folder: united from several files, matched by place, drawn as contours, pictures and volumes.

And never from one patient's files to another patient's image.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from synthrelease.cohort.dicom_folder import NOTE_DIRECTORY, NOTE_ORPHAN, NOTE_TEXT
from synthrelease.cohort.mask_table import NOTE_UNUSED_ROW
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.types import SourceImage
from synthrelease.errors import UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal
from tests.dicom.multi_frame import enhanced, item, levels
from tests.dicom.test_reading_structures import circle, contour, disc, plane, structures

Make = Callable[..., CohortSettings]
SIDE = 32
PLANE = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}


def read(settings: CohortSettings, folder: Path) -> tuple[list[SourceImage], Counter[Reason], Counter[str]]:
    reader = reader_for(settings, folder)
    items = list(reader.read())
    refused = Counter(item.reason for item in items if isinstance(item, Refusal))
    return [item for item in items if isinstance(item, SourceImage)], refused, reader.notes


def masks_of(image: SourceImage) -> np.ndarray:
    assert image.masks is not None
    return image.masks


def write(folder: Path, dataset: Dataset, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def rewrite(path: Path, change: Callable[[Dataset], object]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def without_references(dataset: Dataset) -> None:
    """A segmentation that tells places only."""
    del dataset.ReferencedSeriesSequence
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence


def placed(dicom: Any, patient: str, name: str, **changes: Any) -> tuple[str, np.ndarray]:
    """An image whose segmentation lies in its place and does not name it."""
    uid, _, masks = dicom.add(patient, name=name, **PLANE, **changes)
    image = pydicom.dcmread(dicom.folder / name / "image.dcm")

    def change(seg: Dataset) -> None:
        without_references(seg)
        seg.FrameOfReferenceUID = image.FrameOfReferenceUID
        for frame in seg.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence = [item(ImagePositionPatient=[0, 0, 0])]
        seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence = [
            item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
        ]
        seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [item(PixelSpacing=[1, 1], SliceThickness=1)]

    rewrite(dicom.folder / name / "mask.dcm", change)
    return uid, masks


def test_one_file_a_segment_is_united(dicom: Any, settings: Make) -> None:
    uid, _, lung = dicom.add("A", names=("lung",), name="a")
    other = dicom.add("A", names=("heart",), name="b", SOPInstanceUID=uid, seed=0)[2]
    (dicom.folder / "b/image.dcm").unlink()
    (image,), refused, _ = read(settings(segments=("heart", "lung")), dicom.finish())
    np.testing.assert_array_equal(masks_of(image), [other[0], lung[0]])
    assert not refused


def test_two_files_of_one_segment_are_united(dicom: Any, settings: Make) -> None:
    uid, _, one = dicom.add("A", name="a")
    two = dicom.add("A", name="b", SOPInstanceUID=uid, seed=9)[2]
    (dicom.folder / "b/image.dcm").unlink()
    (image,), _, _ = read(settings(), dicom.finish())
    np.testing.assert_array_equal(masks_of(image), one | two)


def test_a_segmentation_without_references_is_matched_by_its_place(dicom: Any, settings: Make) -> None:
    _, masks = placed(dicom, "A", "a")
    (image,), refused, notes = read(settings(), dicom.finish())
    np.testing.assert_array_equal(masks_of(image), masks)
    assert not refused
    assert notes[NOTE_ORPHAN] == 0


def test_a_place_in_another_slice_is_no_match(dicom: Any, settings: Make) -> None:
    placed(dicom, "A", "a")
    rewrite(dicom.folder / "a/image.dcm", lambda image: setattr(image, "ImagePositionPatient", [0, 0, 3]))
    assert read(settings(), dicom.finish())[1] == {Reason.NO_MASK: 1}


@pytest.mark.parametrize("who", [{"PatientID": "B"}, {"PatientID": ""}, {"IssuerOfPatientID": "OTHER"}])
def test_a_mask_that_only_tells_its_place_is_never_tried_on_another_patient(
    who: dict[str, str], dicom: Any, settings: Make
) -> None:
    placed(dicom, "A", "a")

    def change(seg: Dataset) -> None:
        for keyword, value in who.items():
            setattr(seg, keyword, value)

    rewrite(dicom.folder / "a/mask.dcm", change)
    _, refused, notes = read(settings(), dicom.finish())
    assert refused == {Reason.NO_MASK: 1}
    assert notes[NOTE_ORPHAN] == 1


def test_a_mask_that_names_a_series_is_not_tried_on_another(dicom: Any, settings: Make) -> None:
    placed(dicom, "A", "a")
    series = item(SeriesInstanceUID="1.2.3", ReferencedInstanceSequence=[])
    rewrite(dicom.folder / "a/mask.dcm", lambda seg: setattr(seg, "ReferencedSeriesSequence", [series]))
    assert read(settings(), dicom.finish())[1] == {Reason.NO_MASK: 1}


def test_a_segmentation_of_another_issuers_patient_takes_the_image_out(dicom: Any, settings: Make) -> None:
    dicom.add("A", name="a")
    rewrite(dicom.folder / "a/mask.dcm", lambda seg: setattr(seg, "IssuerOfPatientID", "OTHER"))
    assert read(settings(), dicom.finish())[1] == {Reason.TWO_PATIENTS: 1}


def with_contours(dicom: Any, **changes: Any) -> tuple[str, np.ndarray]:
    """An image of 60 x 70 pixels and a structure set of it."""
    of = plane()
    places = {
        "ImagePositionPatient": list(of.position),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": list(of.spacing),
    }
    uid, _, _ = dicom.add("A", name="a", names=(), shape=(60, 70), **places)
    made = structures(("LUNG", [contour(circle((30.2, 30.3), 9.1), of, uid)]), ("Other", []), listed=(uid,))
    made.PatientID, made.IssuerOfPatientID = "A", "HOSP"
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    write(dicom.folder, made, "a/rt.dcm")
    return uid, disc((30.2, 30.3), 9.1)


def test_contours_become_masks(dicom: Any, settings: Make) -> None:
    _, expected = with_contours(dicom)
    (image,), refused, _ = read(settings(), dicom.finish())
    assert not refused
    # Pixels of 0.9 x 0.7 mm are squared: what is left of the mask is its share of the image.
    assert masks_of(image).mean() == pytest.approx(expected.mean(), rel=0.05)


def test_contours_of_another_patient_take_the_image_out(dicom: Any, settings: Make) -> None:
    with_contours(dicom, PatientID="B")
    assert read(settings(), dicom.finish())[1] == {Reason.TWO_PATIENTS: 1}


def test_frames_are_images_of_their_patient_with_the_masks_of_their_frame(dicom: Any, settings: Make) -> None:
    pixels = levels(3, 32, 32)
    image = enhanced(pixels, PatientID="A", IssuerOfPatientID="HOSP")
    write(dicom.folder, image, "e/image.dcm")
    _, _, masks = dicom.add("A", SOPInstanceUID=str(image.SOPInstanceUID), name="m")
    (dicom.folder / "m/image.dcm").unlink()

    def of_second(seg: Dataset) -> None:
        source = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedFrameNumber = 2

    rewrite(dicom.folder / "m/mask.dcm", of_second)
    images, refused, _ = read(settings(), dicom.finish())
    assert not refused
    assert [one.image_id for one in images] == [f"{image.SOPInstanceUID}#{number}" for number in (1, 2, 3)]
    assert {(one.patient_id, one.label) for one in images} == {("HOSP|A", "normal")}
    np.testing.assert_array_equal(masks_of(images[1]), masks)
    assert [masks_of(images[index]).any() for index in (0, 2)] == [False, False]
    np.testing.assert_allclose(images[2].pixels, pixels[2] / 4095 * 2 - 1, atol=1e-6)


def test_a_file_of_many_frames_is_refused_once_when_it_is_broken(dicom: Any, settings: Make) -> None:
    path = write(dicom.folder, enhanced(levels(40, 16, 16)), "e/image.dcm")
    path.write_bytes(path.read_bytes()[:-200])
    _, refused, _ = read(settings(segments=(), classes=("normal",)), dicom.folder)
    assert sum(refused.values()) <= 1 + 40
    whole = enhanced(levels(40, 16, 16), BurnedInAnnotation="YES")
    write(dicom.folder, whole, "e/image.dcm")
    assert read(settings(segments=(), classes=("normal",)), dicom.folder)[1] == {Reason.BURNED_IN: 1}


def test_a_dicomdir_is_passed_over_and_its_files_are_read(settings: Make, tmp_path: Path) -> None:
    disc_of_pydicom = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests"
    shutil.copytree(disc_of_pydicom, tmp_path / "disc", ignore=shutil.ignore_patterns("TINY_ALPHA", "README*", "D*-*"))
    assert (tmp_path / "disc/DICOMDIR").is_file()
    images, refused, notes = read(settings(segments=(), classes=("normal",)), tmp_path / "disc")
    assert len(images) == 29
    assert {image.patient_id for image in images} == {"|77654033", "|98890234"}
    assert refused == {Reason.CONSTANT: 2}
    assert notes[NOTE_DIRECTORY] == 1


def table(folder: Path, *rows: dict[str, str]) -> None:
    """Write masks.csv."""
    with (folder / "masks.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def test_a_table_names_pictures_as_masks_of_instances(dicom: Any, settings: Make) -> None:
    uid, _, _ = dicom.add("A", names=())
    mask = np.random.default_rng(3).random((SIDE, SIDE)) > 0.5
    Image.fromarray(mask.astype(np.uint8) * 255).save(dicom.folder / "m.png")
    table(dicom.folder, {"PatientID": "A", "SOPInstanceUID": uid, "mask": "m.png"})
    (image,), refused, notes = read(settings(), dicom.finish())
    np.testing.assert_array_equal(masks_of(image)[0], mask)
    assert not refused
    assert notes[NOTE_UNUSED_ROW] == notes[NOTE_TEXT] == 0


def series_of(dicom: Any, slices: int) -> tuple[str, list[str]]:
    """A series of one patient, slices 2 mm apart."""
    series = "1.2.826.77"
    uids = [
        dicom.add("A", names=(), **{**PLANE, "ImagePositionPatient": [4, -6, 2 * index]}, SeriesInstanceUID=series)[0]
        for index in range(slices)
    ]
    return series, uids


def test_a_table_names_a_volume_as_the_mask_of_a_series(dicom: Any, settings: Make) -> None:
    series, uids = series_of(dicom, 4)
    volume = np.random.default_rng(3).random((4, SIDE, SIDE)) > 0.5
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    affine[:3, 3] = [-4, 6, 0]
    nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0).astype(np.uint8), affine), dicom.folder / "lung.nii.gz")
    table(dicom.folder, {"PatientID": "A", "SeriesInstanceUID": series, "mask_lung": "lung.nii.gz"})
    images, refused, _ = read(settings(), dicom.finish())
    assert not refused
    found = {image.image_id: masks_of(image)[0] for image in images}
    np.testing.assert_array_equal([found[uid] for uid in uids], volume)


def test_a_volume_that_lies_elsewhere_is_refused(dicom: Any, settings: Make) -> None:
    series, _ = series_of(dicom, 2)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    nib.save(nib.Nifti1Image(np.ones((SIDE, SIDE, 2), np.uint8), affine), dicom.folder / "lung.nii.gz")
    table(dicom.folder, {"PatientID": "A", "SeriesInstanceUID": series, "mask": "lung.nii.gz"})
    assert read(settings(), dicom.finish())[1] == {Reason.MASK_PLACE: 2}


def test_a_row_holds_for_the_patient_that_it_names_and_for_nobody_else(dicom: Any, settings: Make) -> None:
    uid, _, _ = dicom.add("A", names=())
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(dicom.folder / "m.png")
    table(dicom.folder, {"PatientID": "B", "SOPInstanceUID": uid, "mask": "m.png"})
    _, refused, notes = read(settings(), dicom.finish())
    assert refused == {Reason.NO_MASK: 1}
    assert notes[NOTE_UNUSED_ROW] == 1


def test_rows_tell_issuers_when_two_patients_share_an_id(dicom: Any, settings: Make) -> None:
    one, _, _ = dicom.add("A", names=(), issuer="ONE")
    dicom.add("A", names=(), issuer="TWO")
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(dicom.folder / "m.png")
    row = {"PatientID": "A", "SOPInstanceUID": one, "mask": "m.png"}
    table(dicom.folder, row)
    with pytest.raises(UsageError, match="two issuers"):
        read(settings(), dicom.finish())
    table(dicom.folder, {**row, "IssuerOfPatientID": "ONE"})
    images, refused, _ = read(settings(), dicom.folder)
    assert [image.patient_id for image in images] == ["ONE|A"]
    assert refused == {Reason.NO_MASK: 1}


def test_a_table_that_lacks_a_column_is_a_usage_error(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=())
    table(dicom.folder, {"SOPInstanceUID": "1.2", "mask": "m.png"})
    with pytest.raises(UsageError, match="lacks a column"):
        reader_for(settings(), dicom.finish())


def test_mask_files_are_no_refused_images_where_no_masks_are_wanted(dicom: Any, settings: Make) -> None:
    dicom.add("A", names=())
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(dicom.folder / "m.png")
    table(dicom.folder, {"PatientID": "A", "SOPInstanceUID": "1.2", "mask": "m.png"})
    images, refused, _ = read(settings(segments=()), dicom.finish())
    assert len(images) == 1
    assert not refused
