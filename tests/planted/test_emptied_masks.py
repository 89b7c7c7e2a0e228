"""Masks that lost what their images show, as pseudo-masks do that were made of an argmax of an argmax: they fit nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks import CHECKS
from synthrelease.audit.gate import judge
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.journal import measurement_of, plain
from synthrelease.audit.measurement import Measurement
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.records.findings import Direction, Statistic, Verdict

BY_ID = {check.id: check for check in CHECKS}


@pytest.fixture(scope="module", autouse=True)
def short_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.utility.MASK_STEPS", 120)
        yield


def measured(case: AuditCase) -> Measurement:
    return BY_ID["mask_consistency"].measure(case, np.random.default_rng(0))


def verdict(measurement: Measurement) -> Verdict:
    sound = Measurement(Statistic("split", 0.0, 0.0, 0.0, 0.95, Direction.LOWER))
    checks = {BY_ID["split_sound"]: sound, BY_ID["mask_consistency"]: measurement}
    return judge(checks, load_profile("standard", check_ids()))["mask_consistency"].verdict


def emptied(case: AuditCase, share: float) -> AuditCase:
    """The archive with the masks of so many of its images emptied; whoever drew masks before draws the same."""
    made = case.synthetic
    masks = made.masks.copy()
    masks[np.random.default_rng(1).permutation(len(made))[: round(share * len(made))]] = 0.0
    changed = replace(case, synthetic=replace(made, masks=masks))
    changed.utility.__dict__["_real_masks"] = case.utility._real_masks
    return changed


def plain_to_see(images: ImageSet) -> ImageSet:
    """The same people with findings that nobody overlooks."""
    return replace(images, images=np.clip(images.images + 0.8 * images.masks, -1, 1))


def seldom(images: ImageSet, share: float) -> ImageSet:
    """All without the finding, and a share of those with it."""
    kept = np.random.default_rng(2).random(len(images)) < share
    return images.take((images.labels == 0) | kept)


@pytest.fixture(scope="module")
def half(make_world: Callable[..., AuditCase]) -> AuditCase:
    """Other patients, half of whom have the finding."""
    case = make_world(71, train=200, holdout=300, synthetic=330)
    assert case.holdout is not None
    return replace(case, **{role: plain_to_see(getattr(case, role)) for role in ("train", "holdout", "synthetic")})


@pytest.fixture(scope="module")
def rare(make_world: Callable[..., AuditCase]) -> AuditCase:
    """Other patients, of whom about one in nine has the finding: most masks are rightly empty."""
    case = make_world(72, train=500, holdout=700, synthetic=900)
    assert case.holdout is not None
    return replace(
        case, **{role: seldom(plain_to_see(getattr(case, role)), 0.13) for role in ("train", "holdout", "synthetic")}
    )


def test_masks_of_other_patients_fit(half: AuditCase) -> None:
    found = measured(half)
    assert verdict(found) is Verdict.PASS
    assert "lack" not in found.note


@pytest.mark.parametrize("share", [0.3, 0.99, 1.0])
def test_emptied_masks_fit_nothing(half: AuditCase, share: float) -> None:
    found = measured(emptied(half, share))
    assert verdict(found) is Verdict.FAIL
    assert found.statistic.low > 0.05
    assert "of the masks lack what it sees" in found.note


def test_masks_that_are_rightly_empty_in_most_images_fit(rare: AuditCase) -> None:
    assert rare.synthetic.masks.any(axis=(1, 2, 3)).mean() < 0.15
    assert verdict(measured(rare)) is Verdict.PASS


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_emptied_masks_are_found_among_those_that_are_rightly_empty(rare: AuditCase, share: float) -> None:
    assert verdict(measured(emptied(rare, share))) is Verdict.FAIL


def drawn_badly(truth: FloatArray, false_alarms: float) -> FloatArray:
    """A segmenter's masks: findings a pixel aside, and a blot in so many of ten images without one."""
    there = truth.any(axis=(1, 2, 3))
    drawn = np.roll(truth, 1, axis=3)
    healthy = np.flatnonzero(~there)
    drawn[healthy[np.arange(len(healthy)) % 10 < round(10 * false_alarms)], :, 1:6, 1:6] = 1.0
    return drawn


def suspected(count: int, cohort: float, archive: float, false_alarms: float) -> AuditCase:
    """People of whom a share has the finding, in cohort and archive, and a segmenter that sees it in others too."""

    def people(share: float) -> ImageSet:
        labels = (np.arange(count) < share * count).astype(np.int64)
        masks = np.zeros((count, 1, 16, 16), dtype=np.float32)
        masks[labels == 1, :, 6:12, 6:12] = 1.0
        return ImageSet(np.zeros_like(masks), masks, labels, np.arange(count))

    real, made = people(cohort), people(archive)
    case = AuditCase(real, real, made, ("normal", "effusion"), ("effusion",))
    drawn = tuple(drawn_badly(images.masks, false_alarms) for images in (real, made))
    case.utility.__dict__["_real_masks"] = drawn
    return case


@pytest.mark.parametrize(("cohort", "archive"), [(0.2, 0.2), (0.5, 0.1), (0.1, 0.5), (0.9, 0.1)])
@pytest.mark.parametrize("false_alarms", [0.1, 0.4])
def test_false_alarms_accuse_nobody_whatever_shares_the_classes_have(
    cohort: float, archive: float, false_alarms: float
) -> None:
    case = suspected(1000, cohort, archive, false_alarms)
    found = measured(case)
    assert found.details["share_lacking_what_is_seen"]["synthetic"] > 0.05
    assert abs(found.statistic.value) < 0.01
    assert found.details["share_of_poor_fits"] == pytest.approx(0.05, abs=0.01)
    assert verdict(found) is not Verdict.FAIL
    lost = measured(emptied(case, 0.99))
    assert verdict(lost) is Verdict.FAIL
    assert lost.details["share_of_poor_fits"] > 0.2


@pytest.mark.parametrize("false_alarms", [0.1, 0.4])
def test_with_enough_patients_masks_fit_in_spite_of_false_alarms(false_alarms: float) -> None:
    assert verdict(measured(suspected(8000, 0.2, 0.5, false_alarms))) is Verdict.PASS


def test_an_archive_of_the_healthy_alone_clears_nothing() -> None:
    found = measured(suspected(400, 0.5, 0.0, 0.4))
    assert verdict(found) is Verdict.INCONCLUSIVE
    assert "no segment" in found.unable


@pytest.mark.parametrize("name", ["mask_consistency", "tstr_masks"])
def test_draws_without_any_of_the_few_who_have_the_finding_do_not_break_the_interval(name: str) -> None:
    case = suspected(100, 0.02, 0.02, 0.0)
    case.utility.__dict__["synthetic_masks_on_holdout"] = case.utility.real_masks_on_holdout
    found = BY_ID[name].measure(case, np.random.default_rng(0))
    assert found.statistic.low == found.statistic.value == found.statistic.high == 0.0
    assert measurement_of(plain(found)) == found
