"""Members who leak, by few and by many: found by the checks of membership; those who leak nothing are left in peace."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.checks.empirical_epsilon import EmpiricalEpsilon
from synthrelease.audit.checks.membership import Membership
from synthrelease.audit.checks.membership_model import MembershipModel
from synthrelease.audit.checks.small_classes import SmallClasses
from synthrelease.audit.checks.split_sound import SplitSound
from synthrelease.audit.checks.vulnerability import Vulnerability
from synthrelease.audit.exchangeability import split_p
from synthrelease.audit.gate import judge
from synthrelease.audit.planted import replace_share
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.records.findings import Verdict


def verdict(check, case, profile="quick"):
    rng = np.random.default_rng(0)
    split = SplitSound()
    measured = {split: split.measure(case, rng), check: check.measure(case, rng)}
    return judge(measured, load_profile(profile, check_ids()))[check.id], measured[check]


@pytest.fixture(scope="module")
def noisy(clean):
    """An archive made of training images with noise: a generator that knows nothing else."""
    rng = np.random.default_rng(0)
    rows = np.arange(len(clean.synthetic)) % len(clean.train)
    images = clean.train.images[rows] + rng.normal(0, 0.1, clean.synthetic.images.shape)
    made = replace(clean.synthetic, images=np.clip(images, -1, 1).astype(np.float32))
    return replace(clean, synthetic=made)


def test_an_archive_of_noisy_training_images_tells_every_member(noisy):
    judged, found = verdict(Membership(), noisy)
    assert judged.verdict is Verdict.FAIL
    assert found.statistic.low > 0.5
    for name, attack in found.details["attacks"].items():
        assert attack["auc_95"][0] > 0.5, name


def test_strangers_alone_pass_or_stay_open_but_never_fail(clean):
    for check in (Membership(), Vulnerability()):
        assert verdict(check, clean)[0].verdict is not Verdict.FAIL, check.id
    found = verdict(Vulnerability(), clean)[1]
    assert found.statistic.value == 0
    for check in (Membership(), Vulnerability()):
        found = verdict(check, clean)[1]
        assert found.power.planted == {"exact": 1.0, "gain": 1.0}, check.id
        assert found.controls_missed == (), check.id


def test_attacks_that_miss_replayed_members_clear_nobody(clean, monkeypatch):
    rng = np.random.default_rng(0)
    nothing = {"distance": (rng.normal(size=60), rng.normal(size=70))}
    monkeypatch.setattr("synthrelease.audit.checks.membership.replayed_scores", lambda case, transform: nothing)
    judged, found = verdict(Membership(), clean)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "planted leaks were not found well enough (exact, gain)" in judged.reason
    assert found.p_value is None


def test_one_copied_patient_is_singled_out_while_the_average_sees_nothing(clean):
    case = replace(clean, synthetic=replace_share(clean.synthetic, clean.train, "exact", 1, np.random.default_rng(5)))
    judged, found = verdict(Vulnerability(), case)
    assert judged.verdict is Verdict.FAIL
    assert found.statistic.value == 1
    assert verdict(Membership(), case)[0].verdict is not Verdict.FAIL
    assert len(found.private["patients"]) == 1
    assert "train_row" not in json.dumps(found.details)


def test_members_by_halves_void_the_attack_that_follows_their_place(noisy, monkeypatch):
    scores = (np.arange(140.0), np.arange(70.0))
    monkeypatch.setattr("synthrelease.audit.checks.membership.attack_scores", lambda case: {"distance": scores})
    monkeypatch.setattr("synthrelease.audit.membership_rows.control_between_members", lambda members, rng: (0.9, 1e-9))
    judged, _ = verdict(Membership(), noisy)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "halves of the members" in judged.reason


def test_without_a_model_or_a_claim_there_is_nothing_to_ask(clean):
    for check in (MembershipModel(), EmpiricalEpsilon()):
        judged, found = verdict(check, clean)
        assert found.not_applicable
        assert not judged.required


def knows(case, strength):
    """A model that knows its training images: their scores are higher by ``strength`` deviations."""
    members = {image.tobytes() for image in case.train.images}

    def scorer(images):
        rng = np.random.default_rng(len(images))
        known = np.array([image.tobytes() in members for image in images.images])
        return {"loss": rng.normal(size=len(images)) + strength * known}

    return scorer


def test_a_model_that_knows_its_members_is_found_and_contradicts_a_small_epsilon(clean):
    case = replace(clean, scorer=knows(clean, 8.0), claimed_epsilon=0.5, claimed_delta=1e-5)
    assert verdict(MembershipModel(), case)[0].verdict is Verdict.FAIL
    judged, found = verdict(EmpiricalEpsilon(), case)
    assert judged.verdict is Verdict.FAIL
    assert found.statistic.value > 1
    assert "proves no guarantee" in found.note


def test_a_model_that_knows_nobody_is_not_accused(clean):
    case = replace(clean, scorer=knows(clean, 0.0), claimed_epsilon=8.0, claimed_delta=1e-5)
    assert verdict(MembershipModel(), case)[0].verdict is not Verdict.FAIL
    judged, found = verdict(EmpiricalEpsilon(), case)
    assert judged.verdict is Verdict.PASS
    assert "no attack could contradict the claim" in found.note


def test_a_class_of_three_patients_is_told_in_bands_only(clean):
    labels = np.zeros_like(clean.train.labels)
    labels[:3] = 1
    sexes = np.where(np.arange(len(labels)) < 4, "F", "M").astype(np.str_)
    case = replace(clean, train=replace(clean.train, labels=labels, attributes={"sex": sexes}))
    judged, found = verdict(SmallClasses(), case)
    assert judged.verdict is Verdict.FAIL
    assert not judged.required
    assert found.details["small_cells_with"] == {"sex": "fewer than 10"}
    assert found.details["single_patient_classes"] == "none"
    assert verdict(SmallClasses(), clean)[0].verdict is Verdict.PASS


def test_class_shares_carried_over_from_training_are_told_and_others_are_not():
    from synthrelease.audit.checks.small_classes import repeats_shares

    train = np.repeat(np.arange(5), [317, 204, 171, 99, 59])
    assert repeats_shares(train, np.repeat(train, 3), 5)
    rng = np.random.default_rng(0)
    drawn = [repeats_shares(train, rng.choice(train, 2000), 5) for _ in range(300)]
    assert sum(drawn) == 0
    assert not repeats_shares(train, np.repeat(np.arange(5), 200), 5)


def test_exchangeable_people_pass_and_another_scanner_does_not(clean):
    rng = np.random.default_rng(0)
    everybody = replace(
        clean.train,
        images=np.concatenate([clean.train.images, clean.holdout.images]),
        masks=np.concatenate([clean.train.masks, clean.holdout.masks]),
        labels=np.concatenate([clean.train.labels, clean.holdout.labels]),
        patient=np.arange(210),
        has_mask=np.ones(210, np.bool_),
        rows=np.arange(210),
    )
    p = []
    for _ in range(60):
        order = rng.permutation(210)
        p.append(split_p(everybody.take(order[:140]), everybody.take(order[140:]), 2, 99, rng))
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert 0.35 < np.mean(p) < 0.65
    brighter = replace(clean.holdout, images=np.clip(clean.holdout.images + 0.1, -1, 1))
    assert split_p(clean.train, brighter, 2, 199, rng) < 0.01
