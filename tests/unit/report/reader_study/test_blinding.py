"""No file of a series tells what it shows: not its header, its size, its numbers, nor the grain of its pixels."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.audit.intervals import auc
from synthrelease.dicom.image import ImageClass
from synthrelease.report.reader_study.grey import COARSEST, coarseness, study_levels
from synthrelease.report.reader_study.key import INTERNAL, Key, KeyCase, key_digest, read_key
from synthrelease.report.reader_study.series import StudyHeader, case_file, study_uid

RNG = np.random.default_rng
OWN = {"SOPInstanceUID", "InstanceNumber", "PixelData"}


def header(image_class: ImageClass = ImageClass.DX, modality: str = "") -> StudyHeader:
    return StudyHeader("0123456789ab", 4.5, "20260101", "CHEST", image_class, modality)


def scene(seed: int, side: int = 64) -> np.ndarray:
    """A smooth picture in [-1, 1] with black edges."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]  # type: ignore[misc]
    a, b, c = RNG(seed).uniform(0.5, 2, 3)
    picture = np.cos(a * x) * np.cos(b * y) * c - 0.4 + 0.05 * RNG(seed + 1).standard_normal((side, side))
    return np.clip(np.where(np.abs(x) > 0.9, -1, picture), -1, 1).astype(np.float32)


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.mark.parametrize(
    ("image_class", "modality"), [(ImageClass.DX, ""), (ImageClass.SC, "CT"), (ImageClass.SC, "MR")]
)
def test_all_headers_are_one_but_for_number_and_uid(image_class: ImageClass, modality: str) -> None:
    made = [
        case_file(study_levels(scene(number), RNG(number)), number, header(image_class, modality))
        for number in (1, 9, 10, 99, 100, 248)
    ]
    assert len({len(content) for content in made}) == 1
    heads, numbers = set(), []
    for content in made:
        image = read(content)
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        del image.file_meta.MediaStorageSOPInstanceUID
        numbers.append(int(image.InstanceNumber))
        assert "".join(image.ImageComments) == INTERNAL
        assert "SyntheticData" not in image
        for name in OWN:
            delattr(image, name)
        heads.add(str(image.file_meta) + image.to_json())
    assert len(heads) == 1
    assert numbers == [1001, 1009, 1010, 1099, 1100, 1248]


def test_the_files_are_valid_one_by_one_and_together(tmp_path: pytest.TempPathFactory) -> None:
    paths = []
    for image_class, modality in ((ImageClass.DX, ""), (ImageClass.SC, "CT")):
        for number in (1, 2):
            path = tmp_path / f"{image_class}{number}.dcm"  # type: ignore[operator]
            path.write_bytes(case_file(study_levels(scene(number), RNG(0)), number, header(image_class, modality)))
            assert instance_problems(path) == []
            paths.append(path)
        assert archive_problems(paths[-2:]) == []


def test_a_uid_says_which_case_and_nothing_else() -> None:
    uids = [study_uid("0123456789ab", f"case {number}") for number in range(1, 300)]
    assert len(set(uids)) == 299
    assert {len(uid) for uid in uids} == {43}
    assert all(int(uid.removeprefix("2.25.")) < 2**128 for uid in uids)


def of_eight_bits(picture: np.ndarray, step: int = 1) -> np.ndarray:
    """As a radiograph that was stored with 8 bits, or with fewer."""
    levels = np.rint((picture + 1) * (255 / 2 / step)) * step
    return (levels * (2 / 255) - 1).astype(np.float32)


def grain(levels: np.ndarray) -> dict[str, float]:
    """What a program could ask the values of a file."""
    values = levels.astype(np.int64)
    grey = np.rint(values * 255 / 4095).astype(np.int64)
    counts = np.bincount(grey.ravel(), minlength=256)
    inner = counts[np.flatnonzero(counts)[0] : np.flatnonzero(counts)[-1] + 1]
    return {
        "distinct stored values": len(np.unique(values)),
        "empty grey values": float((inner == 0).mean()),
        "odd grey values": float((grey % 2).mean()),
        "multiples of three": float((grey % 3 == 0).mean()),
        "smallest": float(values.min()),
        "largest": float(values.max()),
        "exact black": float((values == 0).mean()),
        "last bits": float((values & 15).mean()),
    }


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_values_do_not_tell_eight_bits_from_twelve(step: int) -> None:
    """The same scenes once as a generator makes them and once as an image of 8 bits (or of every second or third value)."""
    made = [grain(study_levels(scene(seed), RNG([1, seed]))) for seed in range(60)]
    real = [grain(study_levels(of_eight_bits(scene(seed), step), RNG([2, seed]))) for seed in range(60)]
    for name in made[0]:
        area = auc(np.array([each[name] for each in made]), np.array([each[name] for each in real]))
        assert 0.3 < area < 0.7, (name, area)


def test_without_the_grain_they_would_be_told() -> None:
    """The control: rounding alone leaves the comb in."""

    def rounded(picture: np.ndarray) -> float:
        return grain(np.rint(np.rint((picture + 1) * 127.5) * (4095 / 255)))["empty grey values"]

    plain = [rounded(of_eight_bits(scene(seed), 2)) for seed in range(20)]
    smooth = [rounded(scene(seed)) for seed in range(20)]
    assert auc(np.array(plain), np.array(smooth)) > 0.9


def test_the_grain_cannot_be_seen() -> None:
    picture = scene(3)
    levels = study_levels(picture, RNG(0)).astype(float) * 255 / 4095
    inside = np.abs(picture) < 0.9
    difference = (levels - (picture + 1) * 127.5)[inside]
    assert np.abs(difference).max() < 8
    assert difference.std() == pytest.approx(1.53, abs=0.1)
    assert abs(difference.mean()) < 0.1


def test_images_too_coarse_for_the_grain_are_noticed() -> None:
    assert coarseness(scene(0)) == coarseness(of_eight_bits(scene(0))) == 1
    assert coarseness(of_eight_bits(scene(0), 3)) <= COARSEST < coarseness(of_eight_bits(scene(0), 8))
    assert coarseness(np.zeros((4, 4), np.float32)) > COARSEST


def test_a_key_comes_back_as_it_was_and_a_changed_one_has_another_digest() -> None:
    cases = (KeyCase(1, True, "nodule", "DICOM/x"), KeyCase(2, False, "normal", "1.2.3"), KeyCase(3, True, "n", "x", 1))
    key = Key("0123456789ab", "f" * 64, 0.1, 0.05, cases, {"archive": "a"})
    assert read_key(key.content()) == key
    assert [case.number for case in key.first_cases()] == [1, 2]
    assert key_digest(key.content()) != key_digest(key.content().replace(b"true", b"false", 1))
