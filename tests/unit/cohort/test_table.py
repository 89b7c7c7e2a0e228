"""Tables of pictures and folders of pictures: formats, masks, identity, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from synthrelease.cohort.pictures import read_mask, read_picture
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.types import SourceImage
from synthrelease.dicom.reading import pixel_digest
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

Make = Callable[..., CohortSettings]
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (16, 20)).astype(np.uint8)
WORDS = RNG.integers(0, 65536, (16, 20)).astype(np.uint16)


def read(settings: CohortSettings, source: Path, *, archive: bool = False) -> tuple[list[SourceImage], Counter[Reason]]:
    items = list(reader_for(settings, source, archive=archive).read())
    refused = Counter(item.reason for item in items if isinstance(item, Refusal))
    return [item for item in items if isinstance(item, SourceImage)], refused


def test_a_row_becomes_an_image_with_its_mask(pictures: Any, settings: Make) -> None:
    pixels = pictures.add("7", "sick", issuer="HOSP")
    (image,), refused = read(settings(), pictures.finish())
    assert (image.image_id, image.patient_id, image.label) == ("i0.png", "HOSP|7", "sick")
    np.testing.assert_allclose(image.pixels, pixels / 255 * 2 - 1, atol=1e-6)
    assert image.pixel_digest == pixel_digest(pixels)
    assert image.masks is not None
    np.testing.assert_array_equal(image.masks[0], np.asarray(Image.open(pictures.folder / "m0.png")) > 0)
    assert not refused


def test_a_folder_with_one_table_is_read_as_that_table(pictures: Any, settings: Make) -> None:
    pictures.add("7")
    pictures.finish("anything.csv")
    assert len(read(settings(), pictures.folder)[0]) == 1
    pictures.finish("second.csv")
    with pytest.raises(UsageError, match="several tables"):
        reader_for(settings(), pictures.folder)
    assert len(read(settings(label={"csv": "second.csv"}), pictures.folder)[0]) == 1
    pictures.finish("labels.csv")
    assert len(read(settings(), pictures.folder)[0]) == 1


def test_several_segments_have_a_column_each(pictures: Any, settings: Make) -> None:
    pictures.add("7", mask_lung="m0.png", mask_heart="m1.png")
    pictures.add("8", mask_lung="m0.png")
    images, refused = read(settings(segments=("heart", "lung")), pictures.finish())
    assert images[0].masks is not None
    assert images[0].masks.shape[0] == 2
    assert refused == {Reason.NO_MASK: 1}


def test_semicolons_and_other_spellings_of_columns_are_understood(pictures: Any, settings: Make) -> None:
    pictures.add("7")
    (pictures.folder / "t.csv").write_text(
        "\ufeffImage;Patient ID;LABEL;Mask\ni0.png; 7 ;Normal;m0.png\n\n", encoding="utf-8"
    )
    (image,), _ = read(settings(), pictures.folder / "t.csv")
    assert image.patient_id == "|7"


def test_one_picture_under_two_patients_is_refused_in_both_rows(pictures: Any, settings: Make) -> None:
    pictures.add("7")
    pictures.add("8", image="./i0.png")
    assert read(settings(), pictures.finish()) == ([], {Reason.TWO_PATIENTS: 2})


def test_one_picture_twice_is_taken_once_or_refused_when_the_rows_differ(pictures: Any, settings: Make) -> None:
    pictures.add("7")
    pictures.add("7", image="i0.png", mask="m0.png")
    pictures.add("9")
    pictures.add("9", "sick", image="i2.png", mask="m2.png")
    images, refused = read(settings(), pictures.finish())
    assert len(images) == 1
    assert refused == {Reason.COPY: 1, Reason.DUPLICATE: 2}


def test_rows_that_lack_something_are_refused_with_the_reason(pictures: Any, settings: Make) -> None:
    pictures.add("")
    pictures.add("1", "")
    pictures.add("2", "martian")
    pictures.add("3", image="none.png")
    pictures.add("4", mask="")
    pictures.add("5", mask="none.png")
    pictures.add("6", mask="odd.png")
    pictures.add("7", mask="broken.png")
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(pictures.folder / "odd.png")
    (pictures.folder / "broken.png").write_bytes((pictures.folder / "m0.png").read_bytes()[:60])
    expected = {
        Reason.NO_PATIENT: 1,
        Reason.NO_LABEL: 1,
        Reason.UNKNOWN_LABEL: 1,
        Reason.FILE_MISSING: 1,
        Reason.NO_MASK: 2,
        Reason.MASK_SIZE: 1,
        Reason.MASK_UNREADABLE: 1,
    }
    assert read(settings(), pictures.finish()) == ([], expected)
    assert len(read(settings(masks="optional"), pictures.finish())[0]) == 4


def test_a_study_can_stand_for_a_patient(pictures: Any, settings: Make) -> None:
    pictures.add("", study_id="S1")
    pictures.add("", study_id="")
    images, refused = read(settings(identity={"missing": "study"}), pictures.finish())
    assert [image.patient_id for image in images] == ["%study|S1"]
    assert refused == {Reason.NO_PATIENT: 1}


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_table_without_its_columns_is_a_usage_error(pictures: Any, settings: Make, column: str) -> None:
    pictures.add("7")
    del pictures.rows[0][column]
    with pytest.raises(UsageError, match=f"'{column}'"):
        reader_for(settings(), pictures.finish())


def test_a_private_folder_of_pictures_says_nothing_of_patients_and_is_refused(pictures: Any, settings: Make) -> None:
    Image.fromarray(BYTES).save(pictures.folder / "a.png")
    assert read(settings(segments=(), classes=("all",)), pictures.folder) == ([], {Reason.NO_PATIENT: 1})


def test_an_archive_of_pictures_needs_no_table(pictures: Any, settings: Make) -> None:
    for place in ("normal/a.png", "Sick/b.png", "other/c.png"):
        (pictures.folder / place).parent.mkdir()
        Image.fromarray(BYTES).save(pictures.folder / place)
    images, refused = read(settings(segments=()), pictures.folder, archive=True)
    assert [image.label for image in images] == ["sick", "normal"]
    assert len({image.patient_id for image in images}) == 2
    assert refused == {Reason.UNKNOWN_LABEL: 1}
    assert len(read(settings(segments=(), classes=("all",)), pictures.folder, archive=True)[0]) == 3


def test_a_folder_of_nothing_is_unsuitable(tmp_path: Path, settings: Make) -> None:
    (tmp_path / "readme").write_text("nothing here")
    with pytest.raises(UnsuitableData, match="neither DICOM"):
        reader_for(settings(), tmp_path)


def test_a_source_that_is_not_there_is_a_usage_error(tmp_path: Path, settings: Make) -> None:
    with pytest.raises(UsageError, match="not there") as caught:
        reader_for(settings(), tmp_path / "secret")
    assert "secret" not in str(caught.value)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(array, affine), path)


@pytest.mark.parametrize(
    ("name", "expected", "value_range"),
    [
        ("a.png", BYTES, (0, 255)),
        ("b.png", WORDS, (0, 65535)),
        ("c.tif", WORDS, (0, 65535)),
        ("d.bmp", BYTES, (0, 255)),
        ("e.npy", WORDS, (0, 65535)),
        ("f.npy", WORDS.astype(np.int32)[None], (-(2**31), 2**31 - 1)),
        ("g.npy", BYTES[..., None], (0, 255)),
        ("h.npy", BYTES > 100, (0, 1)),
    ],
)
def test_every_format_comes_back_exactly(
    tmp_path: Path, name: str, expected: np.ndarray, value_range: tuple[int, int]
) -> None:
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, expected)
    else:
        Image.fromarray(expected).save(path)
    picture = read_picture(path)
    assert not isinstance(picture, Reason)
    np.testing.assert_array_equal(picture.values, expected.squeeze())
    assert picture.value_range == value_range


def test_grey_that_is_stored_as_colour_counts_as_grey(tmp_path: Path) -> None:
    grey = Image.fromarray(BYTES)
    for mode in ("RGB", "RGBA", "P", "LA"):
        grey.convert(mode).save(tmp_path / "x.png")
        picture = read_picture(tmp_path / "x.png")
        assert not isinstance(picture, Reason), mode
        np.testing.assert_array_equal(picture.values, BYTES)
    grey.save(tmp_path / "x.jpg", quality=100)
    picture = read_picture(tmp_path / "x.jpg")
    assert not isinstance(picture, Reason)
    assert np.abs(picture.values - BYTES).max() < 5


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_is_turned_as_radiologists_look_at_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    # Columns to the left, rows to the back: both against the positive axes of NIfTI.
    write_nifti(path, BYTES.T[..., None], np.diag([-1.0, -1.0, 1.0, 1.0]))
    picture = read_picture(path)
    assert not isinstance(picture, Reason)
    np.testing.assert_array_equal(picture.values, BYTES)
    assert picture.value_range == (0, 255)
    write_nifti(path, BYTES.T[::-1, ::-1], np.eye(4))
    turned = read_picture(path)
    assert not isinstance(turned, Reason)
    np.testing.assert_array_equal(turned.values, BYTES)


def test_a_nifti_mask_of_a_png_is_not_turned(tmp_path: Path) -> None:
    mask = BYTES > 200
    write_nifti(tmp_path / "m.nii.gz", mask.T.astype(np.uint8), np.eye(4))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", oriented=False), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", oriented=True), mask[::-1, ::-1])


def test_floating_point_needs_a_fixed_window(pictures: Any, settings: Make) -> None:
    pictures.add("7", image="x.npy")
    np.save(pictures.folder / "x.npy", np.linspace(0, 1, 1024).reshape(32, 32))
    table = pictures.finish()
    assert read(settings(), table) == ([], {Reason.NO_WINDOW: 1})
    (image,), _ = read(settings(window={"mode": "fixed", "low": 0.0, "high": 1.0}), table)
    assert (image.pixels.min(), image.pixels.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npy", np.zeros((3, 16, 16)), Reason.MULTI_FRAME),
        ("b.npy", np.zeros((16, 16, 3)), Reason.COLOUR),
        ("c.npy", np.full((16, 16), np.nan), Reason.NON_FINITE),
        ("d.npy", np.ones((16, 16)), Reason.CONSTANT),
        ("e.npy", np.arange(16).reshape(4, 4), Reason.IMPLAUSIBLE_SIZE),
        ("f.npy", np.array([["a"]]), Reason.UNREADABLE_PIXELS),
        ("g.png", b"no picture", Reason.UNREADABLE_PIXELS),
        ("h.nii", b"no picture", Reason.UNREADABLE_PIXELS),
        ("i.xyz", b"no picture", Reason.UNREADABLE_PIXELS),
        ("j.png", RNG.integers(0, 255, (16, 16, 3)).astype(np.uint8), Reason.COLOUR),
    ],
)
def test_pictures_that_cannot_be_used_are_refused(tmp_path: Path, name: str, content: Any, reason: Reason) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif name.endswith(".npy"):
        np.save(path, content)
    else:
        Image.fromarray(content).save(path)
    assert read_picture(path) is reason


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert read_picture(tmp_path / "x.npy") is Reason.UNREADABLE_PIXELS


@pytest.mark.parametrize(
    ("values", "foreground"),
    [
        (np.array([[0, 127, 128, 255]], np.uint8), [0, 0, 1, 1]),
        (np.array([[0, 1, 1, 0]], np.uint8), [0, 1, 1, 0]),
        (np.array([[0, 1, 1, 0]], np.bool_), [0, 1, 1, 0]),
        (np.array([[0, 40000, 65535, 9]], np.uint16), [0, 1, 1, 0]),
        (np.array([[0.0, 0.4, 0.6, 1.0]]), [0, 0, 1, 1]),
        (np.zeros((1, 4), np.uint8), [0, 0, 0, 0]),
    ],
)
def test_foreground_lies_above_half_of_the_range(tmp_path: Path, values: np.ndarray, foreground: list[int]) -> None:
    np.save(tmp_path / "m.npy", values)
    mask = read_mask(tmp_path / "m.npy", oriented=False)
    assert not isinstance(mask, Reason)
    assert mask[0].tolist() == [bool(value) for value in foreground]


def test_a_map_of_several_labels_is_not_taken_for_one_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([[0, 1, 2]], np.uint8))
    assert read_mask(tmp_path / "m.npy", oriented=False) is Reason.MASK_UNREADABLE


def nifti_pair(pictures: Any, shift: float, *, code: int = 1) -> Path:
    """A NIfTI image with a mask whose affine is shifted."""
    pictures.add("7", image="i.nii", mask="m.nii")
    for name, array, offset in (("i.nii", WORDS, 0.0), ("m.nii", (BYTES > 99).astype(np.uint8), shift)):
        affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        affine[0, 3] = offset
        file = nib.Nifti1Image(array.T[..., None].astype(np.int32), affine)
        file.set_sform(affine, code)
        file.set_qform(None, 0)
        nib.save(file, pictures.folder / name)
    return pictures.finish()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("shift", "refused"), [(0.0, {}), (0.04, {}), (3.0, {Reason.MASK_PLACE: 1})])
def test_a_nifti_mask_lies_where_its_nifti_image_lies(
    pictures: Any, settings: Make, shift: float, refused: dict[Reason, int]
) -> None:
    assert read(settings(), nifti_pair(pictures, shift))[1] == refused


def test_a_nifti_mask_that_does_not_tell_where_it_lies_is_taken(pictures: Any, settings: Make) -> None:
    table = nifti_pair(pictures, 0.0)
    path = pictures.folder / "m.nii"
    file = nib.load(path)
    bare = nib.Nifti1Image(np.asarray(file.dataobj), None, file.header)  # type: ignore[attr-defined]
    bare.set_sform(None, 0)
    bare.set_qform(None, 0)
    nib.save(bare, path)
    images, refused = read(settings(), table)
    assert len(images) == 1, refused
