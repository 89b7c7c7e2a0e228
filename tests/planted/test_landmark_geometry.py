"""Landmark geometry on known answers: other patients are the ceiling, bent bodies are far, other pictures claim nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.landmark_geometry import PLACED, LandmarkGeometry
from synthrelease.audit.gate import judge
from synthrelease.audit.images import ImageSet
from synthrelease.audit.measurement import Measurement
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.uld.finder import LANDMARKS, displaced, public_finder
from synthrelease.records.findings import Direction, Statistic, Verdict

SIDE = 64


def chests(seed, count):
    """Simulated patients, one image each."""
    pixels = [simulate_patient(seed, index, SIDE).images[0].pixels for index in range(count)]
    images = np.stack(pixels)[:, None] * np.float32(2) - np.float32(1)
    return ImageSet(images, np.zeros((count, 0, SIDE, SIDE), np.float32), np.zeros(count, np.int64), np.arange(count))


@pytest.fixture(scope="module")
def case():
    train, holdout, synthetic = (chests(seed, count) for seed, count in ((901, 64), (902, 64), (903, 70)))
    return AuditCase(train, replace(holdout, patient=holdout.patient + 1000), synthetic, ("chest",), ())


@pytest.fixture(scope="module", autouse=True)
def remembering():
    """Images that were looked at before are not looked at again."""
    finder, known = public_finder(), {}

    def find(images):
        if id(images) not in known:
            known[id(images)] = (images, finder(images))
        return known[id(images)][1]

    find.name = finder.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.checks.landmark_geometry.public_finder", lambda: find)
        yield


def measured(case):
    return LandmarkGeometry().measure(case, np.random.default_rng(0))


def bent(images):
    """The right half of the body stretched to the bottom: grey values stay, anatomy does not."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    share = np.clip((columns - 24) / 16, 0, 1)
    rows = rows * (1 - 0.45 * share)
    return np.stack([map_coordinates(image[0], [rows, columns], order=1, mode="nearest")[None] for image in images])


def test_landmarks_of_simulated_chests_are_found_and_make_a_body():
    patients = [simulate_patient(904, index, SIDE).images[0] for index in range(30)]
    images = np.stack([p.pixels for p in patients])[:, None] * np.float32(2) - np.float32(1)
    truth = np.array([[p.landmarks[name] for name in LANDMARKS] for p in patients])
    found = public_finder()(images)
    error = np.linalg.norm(found.points * SIDE - 0.5 - truth, axis=2)
    assert np.median(error) < 3.0
    assert (found.misplaced <= PLACED).mean() > 0.9
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape).astype(np.float32)
    assert (public_finder()(noise).misplaced <= PLACED).mean() < 0.5
    lying = public_finder()(np.rot90(images, 1, (2, 3)).copy())
    assert (lying.misplaced <= PLACED).mean() < 0.5


def test_a_point_in_a_wrong_place_is_told_from_the_others_and_fallen_points_make_no_body():
    body = np.random.default_rng(0).uniform(0, 1, (9, 2))
    turned = 0.8 * body[:, ::-1] * [1.0, -1.0] + 0.3
    turned[4] += 0.5
    apart = np.linalg.norm(displaced(turned[None], body)[0], axis=1)
    assert apart[4] > 0.4
    assert np.delete(apart, 4).max() < 0.05
    assert np.median(np.linalg.norm(displaced(np.full((1, 9, 2), 0.4), body), axis=2)) > 0.2


def test_other_patients_are_as_good_as_the_ceiling(case):
    found = measured(case)
    assert not found.unable
    assert found.statistic.low <= found.baseline.holdout <= found.statistic.high
    assert found.statistic.high < 3
    assert len(found.details["landmarks"]) >= 5
    assert found.details["share_of_odd_geometry"]["synthetic"] < 0.25


def test_bodies_whose_parts_lie_elsewhere_are_far_though_every_grey_value_is_real(case):
    crooked = replace(case, synthetic=replace(case.synthetic, images=bent(case.synthetic.images).astype(np.float32)))
    found = measured(crooked)
    assert found.statistic.low > 3
    assert found.details["share_of_odd_geometry"]["synthetic"] > 0.5
    sound = Measurement(Statistic("split", 0.0, 0.0, 0.0, 0.95, Direction.LOWER))
    from synthrelease.audit.checks import CHECKS

    by_id = {check.id: check for check in CHECKS}
    judged = judge(
        {by_id["split_sound"]: sound, by_id["landmark_geometry"]: found}, load_profile("standard", check_ids())
    )
    assert judged["landmark_geometry"].verdict is Verdict.FAIL
    assert not judged["landmark_geometry"].required


def test_a_mirrored_archive_is_far(case):
    mirrored = replace(case, synthetic=replace(case.synthetic, images=case.synthetic.images[..., ::-1].copy()))
    assert measured(mirrored).statistic.low > 2


def test_pictures_of_something_else_claim_nothing(make_world):
    found = measured(make_world(71, train=64, holdout=64, synthetic=64))
    assert "found consistently in the held-out images" in found.unable
    assert found.statistic.value is None


def test_images_that_are_too_small_or_patients_too_few_claim_nothing(case, make_world):
    tiny = make_world(72)
    roles = (tiny.train, tiny.holdout, tiny.synthetic)
    small = [replace(s, images=s.images[..., ::2, ::2], masks=s.masks[..., ::2, ::2]) for s in roles]
    assert "fewer than 32 pixels" in measured(AuditCase(*small, tiny.classes, tiny.segments)).unable
    few = replace(case, holdout=case.holdout.take(np.arange(40)))
    assert "60" in measured(few).unable
