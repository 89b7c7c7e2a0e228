"""A real patient's mask on a fresh image must be found; masks that strangers share must accuse nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.mask_copies import MaskCopies
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import replace_share
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit

SIDE = 32


def outlines(rng, count, radius=8.0):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = gaussian_filter(rng.normal(size=(count, 256)), (0, 7), mode="wrap") * 3.0
    centre = rng.integers(13, SIDE - 13, (count, 2))
    y, x = rows[None] - centre[:, :1, None], columns[None] - centre[:, 1:, None]
    angle = ((np.arctan2(y, x) / (2 * np.pi)) % 1.0 * 256).astype(int) % 256
    wave = np.take_along_axis(waves, angle.reshape(count, -1), axis=1).reshape(angle.shape)
    return (np.hypot(y, x) < radius * (1.0 + 0.3 * wave))[:, None].astype(np.float32)


def people(rng, count, first, radius=8.0):
    images = gaussian_filter(rng.normal(size=(count, 1, SIDE, SIDE)), (0, 0, 2, 2)).astype(np.float32)
    return ImageSet(images, outlines(rng, count, radius), np.zeros(count, int), np.arange(first, first + count))


def world(seed, *, radius=8.0, synthetic=200, leak=None, count=0):
    rng = np.random.default_rng(seed)
    train, holdout = people(rng, 90, 0, radius), people(rng, 80, 1000, radius)
    made = people(rng, synthetic, 5000, radius)
    if leak:
        made = replace_share(made, train, leak, count, rng)
    return AuditCase(train, holdout, made, ("any",), ("lesion",))


def measured(case):
    return MaskCopies().measure(case, np.random.default_rng(0))


@pytest.mark.parametrize("leak", ["mask_exact", "mask_flip", "mask_dilated"])
def test_one_per_cent_of_copied_masks_fails(leak):
    found = measured(world(1, leak=leak, count=2))
    profile = load_profile("quick", check_ids())
    # The smallest level that Holm's correction may ask for.
    assert found.p_value <= profile.significance.value / sum(c.required for c in profile.checks.values())
    assert found.details["copies_flagged"] >= 1
    assert found.details["decoys_flagged"] == 0


def test_moved_masks_are_found():
    found = measured(world(2, leak="mask_shift", count=6))
    assert found.p_value < 0.01
    assert found.details["copies_flagged"] >= 3


def test_independent_masks_accuse_nobody_and_the_controls_are_found():
    found = measured(world(3))
    assert found.details["copies_flagged"] == found.details["decoys_flagged"] == 0
    assert found.p_value > 0.01
    assert found.controls_missed == ()
    assert min(found.power.planted.values()) > 0.8
    assert found.statistic.high < 0.03


def test_masks_of_holdout_patients_void_the_check():
    case = world(4)
    made = replace_share(case.synthetic, case.holdout, "mask_exact", 5, np.random.default_rng(0))
    found = measured(replace(case, synthetic=made))
    assert "holdout" in found.unable
    assert found.details["copies_flagged"] == 0


def test_masks_so_small_that_strangers_share_them_are_not_assessed_and_said_so():
    found = measured(world(5, radius=1.6, leak="mask_exact", count=50))
    assert found.unable
    assert found.p_value is None
    assert found.n["masks_too_small"] > 150


def test_without_masks_the_question_does_not_arise():
    case = world(6, synthetic=40)
    bare = [replace(role, masks=role.masks[:, :0], has_mask=np.zeros(len(role), bool)) for role in
            (case.train, case.holdout, case.synthetic)]  # fmt: skip
    assert measured(AuditCase(*bare, ("any",), ())).not_applicable


def test_an_archive_of_empty_masks_is_not_evidence_of_anything():
    case = world(7, synthetic=60)
    empty = replace(case.synthetic, masks=np.zeros_like(case.synthetic.masks))
    found = measured(replace(case, synthetic=empty))
    assert found.not_applicable
    assert found.n["masks_drawn"] == 0


def test_a_sighting_names_the_copied_patient():
    case = world(8, synthetic=60)
    masks = case.synthetic.masks.copy()
    masks[5] = case.train.masks[17, :, :, ::-1]
    case = replace(case, synthetic=replace(case.synthetic, masks=masks))
    search = case.search("masks")
    assert search.synthetic["segment_1"].who[5, 0] == 17
    seen = search.comparison.sighting(case.synthetic, 5, 17)
    assert seen.image == 17
    assert seen.similarity > 0.999
    assert seen.how.startswith("mask")


def test_a_flagged_mask_is_shown_to_the_house_beside_its_patient():
    case = world(3, leak="mask_exact", count=1)
    _, annex = run_audit(case, load_profile("quick", check_ids()), 0, only=["mask_copies"])
    (pair,) = [pair for pair in annex.look_alikes if pair.seen_by == "masks"]
    assert pair.copy
    assert np.array_equal(case.synthetic.masks[pair.synthetic_row], case.train.masks[pair.train_row])
