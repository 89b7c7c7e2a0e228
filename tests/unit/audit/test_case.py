"""A case from stores on disk, and what a case refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.case import AuditCase, case_from_stores
from synthrelease.audit.checks.exact_copies import ExactCopies
from synthrelease.audit.checks.header_leak import HeaderLeak
from synthrelease.audit.images import ImageSet
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.phantom.writer import write_phantom_cohort
from synthrelease.cohort.split import SplitDraw
from synthrelease.errors import UnsuitableData
from synthrelease.policy.schema import CohortSettings

SETTINGS = CohortSettings(
    name="phantom", classes=("normal", "nodule", "effusion"), segments=("right_lung", "heart"), resolution=16
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    home = tmp_path_factory.mktemp("stores")
    for name, seed in (("real", 1), ("other", 2)):
        (home / name).mkdir()
        write_phantom_cohort(home / name, patients=20, seed=seed, size=32)
    cohort = ingest(SETTINGS, home / "real", home / "real.store", split=SplitDraw(0.4, "0a"))
    return home, cohort, ingest(SETTINGS, home / "other", home / "other.store", split=None)


def test_roles_come_from_the_recorded_split_and_share_no_patient(stores):
    _, cohort, synthetic = stores
    case = case_from_stores(cohort, synthetic)
    assert case.counts["train_patients"] + case.counts["holdout_patients"] == 20
    assert not set(case.train.patient) & set(case.holdout.patient)
    assert case.train.images.shape[1:] == (1, 16, 16)
    assert case.train.masks.shape[1:] == (2, 16, 16)
    np.testing.assert_array_equal(case.train.images, cohort.images(case.train.rows))
    assert case.train.digests[0] == cohort.pixel_digests[int(case.train.rows[0])]


def test_an_archive_that_is_the_cohort_is_all_exact_copies_and_leaks_every_header(stores):
    home, cohort, _ = stores
    case = case_from_stores(cohort, cohort, real_folder=home / "real", synthetic_folder=home / "real")
    rng = np.random.default_rng(0)
    copies = ExactCopies().measure(case, rng)
    assert copies.statistic.value == len(case.train)
    assert copies.details["equal_as_stored"] == len(case.train)
    headers = HeaderLeak().measure(case, rng)
    assert headers.statistic.value >= headers.n["real_files"]


def test_stores_read_with_other_segments_do_not_make_a_case(stores):
    home, cohort, _ = stores
    other = SETTINGS.model_copy(update={"segments": ("heart", "right_lung")})
    with pytest.raises(UnsuitableData, match="segments"):
        case_from_stores(cohort, ingest(other, home / "other", home / "swapped.store", split=None))


def images(count, side=16):
    return ImageSet(
        np.zeros((count, 1, side, side), np.float32),
        np.zeros((count, 0, side, side), np.float32),
        np.zeros(count, np.int64),
        np.arange(count),
    )


def test_lengths_must_agree_and_roles_must_not_be_empty_or_of_other_sizes():
    with pytest.raises(ValueError, match="one length"):
        replace(images(3), labels=np.zeros(2, np.int64))
    with pytest.raises(UnsuitableData, match="needs training images"):
        AuditCase(images(3), None, images(0), ("a",), ())
    with pytest.raises(UnsuitableData, match="differ in size"):
        AuditCase(images(3), None, images(3, side=32), ("a",), ())
    assert AuditCase(images(3), images(0), images(3), ("a",), ()).holdout is None


def test_taking_images_keeps_their_rows_and_masks():
    part = images(5).take(np.array([3, 1]))
    assert list(part.rows) == [3, 1]
    assert list(part.has_mask) == [False, False]
