"""One picture under two patients: found when it was exported again, and people are not merged for looking alike."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.split_sound import SplitSound
from synthrelease.audit.duplicates import duplicate_pairs, set_aside_duplicates
from synthrelease.audit.images import ImageSet

SIDE = 48


def radiographs(seed, count):
    """(N, 1, S, S): one body part, own anatomy, own fine texture."""
    rng = np.random.default_rng(seed)

    def field(n, width, of=rng):
        f = gaussian_filter(of.normal(size=(n, SIDE, SIDE)), (0, width, width))
        return f / f.std(axis=(1, 2), keepdims=True)

    common = field(1, 6.0, np.random.default_rng(99))
    pixels = 0.4 * common + 0.12 * field(count, 3.0) + 0.06 * field(count, 1.0)
    return np.clip(pixels, -1, 1)[:, None].astype(np.float32)


def image_set(pixels, patient):
    count = len(pixels)
    return ImageSet(pixels, np.zeros((count, 0, SIDE, SIDE), np.float32), np.arange(count) % 2, np.asarray(patient))


def moved(x):
    return np.pad(x, ((0, 0), (2, 0), (0, 2)), mode="edge")[:, :SIDE, 2:]


def recompressed(x):
    buffer = io.BytesIO()
    Image.fromarray(np.uint8((x[0] + 1) * 127.5)).save(buffer, "JPEG", quality=60)
    return (np.asarray(Image.open(buffer)) / 127.5 - 1)[None]


AGAIN = {
    "equal": lambda x: x,
    "regrey": lambda x: 0.8 * x - 0.1,
    "gamma": lambda x: ((x + 1) / 2) ** 1.3 * 2 - 1,
    "inverted": lambda x: -x,
    "mirrored": lambda x: x[:, :, ::-1],
    "turned": lambda x: np.rot90(x, axes=(1, 2)),
    "moved": moved,
    "recompressed": recompressed,
}


@pytest.fixture(scope="module")
def originals():
    return radiographs(0, 120)


@pytest.mark.parametrize("change", AGAIN)
def test_a_picture_exported_again_under_another_patient_is_found(originals, change):
    images = originals.copy()
    for row in (3, 40, 77):
        images[row + 1] = AGAIN[change](images[row])
    pairs, _ = duplicate_pairs(images, np.arange(len(images)))
    assert {tuple(p) for p in pairs.tolist()} == {(3, 4), (40, 41), (77, 78)}


def test_people_are_not_merged_for_looking_alike(originals):
    pairs, least = duplicate_pairs(originals, np.arange(len(originals)))
    assert len(pairs) == 0
    assert least >= 0.9


def test_blank_pictures_are_nobodys_and_a_patients_own_copies_are_their_own(originals):
    images = originals.copy()
    images[[5, 9]] = 0.0
    images[21] = images[20]
    patient = np.arange(len(images))
    patient[21] = 20
    assert len(duplicate_pairs(images, patient)[0]) == 0


def test_stored_digests_find_what_pixels_at_this_size_cannot_tell(originals):
    digests = tuple("same" if row in (2, 90) else str(row) for row in range(len(originals)))
    images = originals.copy()
    images[90] = images[2]
    assert duplicate_pairs(images, np.arange(len(images)), digests)[0].tolist() == [[2, 90]]


def split_case(originals, crossing):
    images = originals.copy()
    images[60 : 60 + crossing] = 0.9 * originals[:crossing] + 0.05
    return AuditCase(
        image_set(images[:60], np.arange(60)),
        image_set(images[60:], np.arange(60, 120)),
        image_set(radiographs(5, 30), np.arange(200, 230)),
        ("a", "b"),
        (),
    )


def test_a_stranger_whose_picture_was_trained_on_leaves_the_holdout(originals):
    case = set_aside_duplicates(split_case(originals, 2))
    assert case.holdout.patient_count == 58
    assert not set(case.holdout.patient) & {60, 61}
    assert (case.duplicates.pairs, case.duplicates.clusters, case.duplicates.set_aside) == (2, 2, 2)
    assert set_aside_duplicates(case) is case


def test_patients_of_one_side_who_share_a_picture_are_one(originals):
    images = originals.copy()
    images[11], images[12] = images[10], images[10][:, :, ::-1]
    case = split_case(images, 0)
    case = set_aside_duplicates(case)
    assert case.train.patient_count == 58
    assert set(case.train.patient[10:13]) == {10}
    assert case.duplicates.train_patients == 2
    assert len(case.train) == 60


def test_few_shared_pictures_are_told_and_many_void_the_split(originals):
    few = SplitSound().measure(_with_more_strangers(originals, 2), np.random.default_rng(0))
    assert not few.unable
    assert few.details["holdout_patients_set_aside"] == 2
    many = SplitSound().measure(_with_more_strangers(originals, 5), np.random.default_rng(0))
    assert "5 of 62 holdout patients are also training images; at most 5%" in many.unable


def _with_more_strangers(originals, crossing):
    case = split_case(originals, crossing)
    extra = image_set(radiographs(8, 2), [300, 301])
    both = np.concatenate([case.holdout.images, extra.images])
    return replace(case, holdout=image_set(both, np.concatenate([case.holdout.patient, extra.patient])))


def test_known_duplicates_of_the_paediatric_radiographs_are_found_and_nobody_else_is_merged():
    folder = Path(os.environ.get("SYNTHRELEASE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "cxr-pediatric"
    if not (folder / "labels.csv").exists():
        pytest.skip("the paediatric radiographs are not here")
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    known = [row for row in rows if row["exact_dup_group"]]
    others = [row for row in rows if not row["exact_dup_group"]]
    one_each = {row["patient_id"]: row for row in others}
    chosen = known + [one_each[p] for p in sorted(one_each)[:400] if p not in {k["patient_id"] for k in known}]
    with zipfile.ZipFile(folder / "images_128.zip") as archive:
        pixels = [np.asarray(Image.open(io.BytesIO(archive.read(row["image"])))) for row in chosen]
    images = np.stack(pixels).astype(np.float32).reshape(-1, 64, 2, 64, 2).mean(axis=(2, 4))[:, None] / 127.5 - 1
    group = np.array([row["exact_dup_group"] for row in chosen])
    # Each image as a patient of its own: the known groups must come back whole, and nothing else.
    pairs, _ = duplicate_pairs(images, np.arange(len(images)))
    truth = {(i, j) for i in range(len(known)) for j in range(i + 1, len(known)) if group[i] == group[j]}
    assert len(truth) == 34
    assert {tuple(p) for p in pairs.tolist()} == truth
