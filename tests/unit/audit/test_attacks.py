"""Membership attacks: thresholds at the ends of what an attacker can do, symmetry, and known traps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.attacks import ATTACKS, attack_scores, principal_axes, ranged, replayed_scores, threshold_at
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.membership_rows import (
    by_patient,
    control_between_members,
    hits_at,
    measurable_p,
    membership_measurement,
)
from synthrelease.audit.planted import planted


def pictures(rng, count, first=0, side=16):
    return ImageSet(
        rng.uniform(-1, 1, (count, 1, side, side)).astype(np.float32),
        np.zeros((count, 0, side, side), np.float32),
        np.zeros(count, np.int64),
        np.arange(first, first + count),
    )


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    return AuditCase(pictures(rng, 60), pictures(rng, 60, 60), pictures(rng, 80, 120), ("a",), ())


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_no_more_non_members_than_allowed_lie_above_the_threshold(rate):
    scores = np.random.default_rng(0).normal(size=300)
    assert np.sum(scores > threshold_at(scores, rate)) <= rate * 301


def test_a_rate_that_cannot_be_resolved_accuses_nobody():
    assert threshold_at(np.arange(50.0), 0.01) == np.inf


def test_perfect_and_hopeless_attacks():
    low, high = np.arange(300.0), np.arange(300.0) + 1000
    assert hits_at(high, low, 0.01) == 300
    assert hits_at(low, high, 0.01) == 0


def test_false_positive_rate_holds_on_average_for_people_of_one_population():
    rng = np.random.default_rng(0)
    rates = [hits_at(rng.normal(size=300), rng.normal(size=300), 0.01) / 300 for _ in range(300)]
    assert np.mean(rates) <= 0.0115


def test_ties_with_the_threshold_are_not_hits():
    assert hits_at(np.zeros(100), np.zeros(300), 0.1) == 0


def test_every_attack_scores_every_patient_with_a_finite_number(case):
    scores = attack_scores(case)
    assert tuple(scores) == ATTACKS
    for members, others in scores.values():
        assert np.isfinite(members).all()
        assert np.isfinite(others).all()
        assert (len(members), len(others)) == (60, 60)


def test_swapping_the_sides_swaps_the_pixel_scores(case):
    # Nothing is fitted on one side: only who is spared in the reference follows the numbering.
    swapped = AuditCase(case.holdout, case.train, case.synthetic, case.classes, case.segments)
    first, second = attack_scores(case)["distance"], attack_scores(swapped)["distance"]
    np.testing.assert_array_equal(first[0], second[1])
    np.testing.assert_array_equal(first[1], second[0])


def test_axes_are_those_of_the_synthetic_images_alone(case):
    centre, axes = principal_axes(case.synthetic.small)
    np.testing.assert_allclose(axes.T @ axes, np.eye(32), atol=1e-4)
    np.testing.assert_allclose(centre, case.synthetic.small.reshape(80, -1).mean(axis=0), atol=1e-6)
    other = replace(case, train=replace(case.train, images=case.train.images * 0.5))
    np.testing.assert_array_equal(attack_scores(case)["density_ratio"][1], attack_scores(other)["density_ratio"][1])


def test_large_images_do_not_underflow_to_ties():
    """GAN-Leaks scores exp(-d^2), which is zero from d^2 = 746 on: every patient then ties, and the AUC is one half."""
    rng = np.random.default_rng(3)
    train, held = pictures(rng, 60, side=32), pictures(rng, 60, 60, side=32)
    noisy = np.clip(train.images + rng.normal(0, 0.1, train.images.shape), -1, 1).astype(np.float32)
    case = AuditCase(train, held, replace(train, images=noisy), ("a",), ())
    d2 = attack_scores(case)["distance"][1] ** 2 * 4  # pixels of 8 bits would be far beyond even this
    assert np.exp(-d2).max() < 1e-300
    for name, (members, others) in attack_scores(case).items():
        assert len(np.unique(others)) > 50, name
        if "distance" in name:
            assert members.min() > others.max(), name


def test_a_mirrored_or_moved_leak_is_in_the_range_that_is_asked_for(case):
    image = case.train.small[:1]
    versions = ranged(image)
    assert any(np.array_equal(v, image[:, :, ::-1]) for v in versions)
    assert any(np.array_equal(v[:, :-1], image[:, 1:]) for v in versions)
    mirrored = replace(
        case.synthetic, images=np.concatenate([case.train.images[:5, :, :, ::-1], case.synthetic.images[5:]])
    )
    calibrated = attack_scores(replace(case, synthetic=mirrored))["calibrated_distance"][0]
    assert set(np.argsort(-calibrated)[:5]) == set(range(5))


def test_replayed_members_score_as_if_their_images_stood_in_the_archive(case):
    leaks = planted("gain", case.train, case.synthetic, 60)
    images = np.concatenate([case.synthetic.images, leaks.images])
    archive = ImageSet(images, np.zeros((140, 0, 16, 16), np.float32), np.zeros(140, np.int64), np.arange(140))
    expected = attack_scores(replace(case, synthetic=archive))
    for name, sides in replayed_scores(case, "gain").items():
        for side, same in zip(sides, expected[name], strict=True):
            np.testing.assert_allclose(side, same, rtol=1e-5, atol=1e-5, err_msg=name)


def test_only_some_of_many_members_are_replayed_and_all_their_images_count():
    rng = np.random.default_rng(0)
    train = replace(pictures(rng, 150), patient=np.repeat(np.arange(75), 2))
    case = AuditCase(train, pictures(rng, 60, 200), pictures(rng, 80, 300), ("a",), ())
    before, after = attack_scores(case)["distance"], replayed_scores(case, "exact")["distance"]
    assert (len(before[0]), len(after[0])) == (75, 60)
    assert after[0].min() > before[0].max()
    np.testing.assert_array_equal(after[1] >= before[1], True)


def test_members_against_members_is_a_control_that_sound_attacks_pass():
    rng = np.random.default_rng(0)
    scores = {"sound": (rng.normal(size=300), rng.normal(size=300))}
    found = membership_measurement(scores, {}, np.random.default_rng(1))
    assert not found.unable
    assert found.details["control_auc_between_members"]["sound"] == pytest.approx(0.5, abs=0.12)


def test_control_rejects_sound_attacks_hardly_ever():
    rng = np.random.default_rng(0)
    members = rng.normal(size=120)
    assert np.mean([control_between_members(members, rng)[1] < 0.05 for _ in range(100)]) < 0.12


def test_a_small_excess_is_called_measurable_and_does_not_fail():
    rng = np.random.default_rng(0)
    members = rng.normal(size=800)
    members[:24] += 6.0
    found = membership_measurement({"a": (members, rng.normal(size=800))}, {}, rng)
    assert "measurable" in found.note
    assert found.excess.p(0.05) > 0.05
    assert found.statistic.low < 0.05


def test_measurable_p_is_not_small_more_often_than_it_says():
    rng = np.random.default_rng(1)
    p = [measurable_p(rng.normal(size=300), rng.normal(size=300), 0.1) for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_a_patient_is_their_most_exposed_image_and_no_number_is_no_member():
    rng = np.random.default_rng(0)
    images = replace(pictures(rng, 4), patient=np.array([7, 7, 9, 11]))
    np.testing.assert_array_equal(by_patient(np.array([1.0, 3.0, np.nan, 2.0]), images), [3.0, 2.0, 2.0])
