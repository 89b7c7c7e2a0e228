"""Fidelity on known answers: other patients are the ceiling, noise and means are bad, no single number is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit.checks import CHECKS
from synthrelease.audit.gate import judge
from synthrelease.audit.measurement import Measurement
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.audit.utility import Utility
from synthrelease.records.findings import Direction, Statistic, Verdict

BY_ID = {check.id: check for check in CHECKS}
STYLES = {
    "noise": lambda x, rng: rng.normal(0.0, 0.5, x.shape).clip(-1, 1),
    "mean": lambda x, rng: np.broadcast_to(x.mean(axis=0, keepdims=True), x.shape).copy(),
}
UTILITY = ("tstr_labels", "trts_labels", "tstr_masks", "mask_consistency", "subgroups")


@pytest.fixture(scope="module", autouse=True)
def short_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("synthrelease.audit.utility.LABEL_STEPS", 60)
        patch.setattr("synthrelease.audit.utility.SEEDS", (0, 1))
        patch.setattr("synthrelease.audit.utility.MASK_STEPS", 60)
        patch.setattr("synthrelease.audit.checks.novelty.PERMUTATIONS", 199)
        patch.setattr("synthrelease.audit.checks.frechet_infinity.TIMES", 8)
        patch.setattr("synthrelease.audit.checks.radiomic_frechet.TIMES", 8)
        yield


@pytest.fixture(scope="module")
def described(make_world):
    """A world of other patients whose sex, age and scanner are known."""
    case = make_world(5, train=160, holdout=120, synthetic=160)
    people = case.holdout.patient
    told = {
        "sex": np.where(people % 2, "F", "M"),
        "age": np.where(people % 10 < 8, "40-49", "90+"),
        "scanner": np.where(people % 3 == 0, "SECRET WARD 7", "ACME Ray"),
    }
    return replace(case, holdout=replace(case.holdout, attributes=told))


def measured(case, name, seed=0):
    return BY_ID[name].measure(case, np.random.default_rng(seed))


def verdict(measurement, name):
    sound = Measurement(Statistic("split", 0.0, 0.0, 0.0, 0.95, Direction.LOWER))
    checks = {BY_ID["split_sound"]: sound, BY_ID[name]: measurement}
    return judge(checks, load_profile("standard", check_ids()))[name].verdict


@pytest.mark.parametrize("seed", [11, 12])
def test_other_patients_are_as_good_as_the_ceiling(make_world, seed):
    case = make_world(seed)
    for name in ("frechet", "frechet_infinity", "radiomic_frechet", "kernel_distance", "prdc", "vendi", "ms_ssim"):
        m = measured(case, name)
        slack = 0.15 * abs(m.baseline.holdout) + 0.1
        assert m.statistic.low - slack <= m.baseline.holdout <= m.statistic.high + slack, name
        assert verdict(m, name) is not Verdict.FAIL, name


@pytest.mark.parametrize(("style", "seed"), [("noise", 21), ("mean", 22)])
def test_noise_and_copies_of_the_mean_are_bad(make_world, style, seed):
    case = make_world(seed, style=STYLES[style])
    failed = {
        name
        for name in ("frechet", "frechet_infinity", "radiomic_frechet", "kernel_distance", "prdc", "vendi", "ms_ssim")
        if verdict(measured(case, name), name) is Verdict.FAIL
    }
    # Noise makes every pair unlike: MS-SSIM alone would call it diverse.
    assert failed >= {"frechet", "frechet_infinity", "radiomic_frechet", "kernel_distance", "prdc", "vendi"}
    assert ("ms_ssim" in failed) == (style == "mean")


def test_every_number_names_its_extractor_and_the_networks_serve_all_checks(described):
    for name in ("frechet", "frechet_infinity", "kernel_distance", "prdc", "vendi", "novelty"):
        details = measured(described, name).details
        assert "fitted on" in details["extractor"], name
    assert "train and holdout alike" in measured(described, "novelty").details["extractor"]
    assert isinstance(described.utility, Utility)
    assert described.utility.real_on_holdout is described.utility.real_on_holdout


def test_lucky_noise_does_not_pass_tstr(make_world):
    case = make_world(31, style=STYLES["noise"])
    # As if a classifier trained on noise had, by luck, the very scores of the one trained on real images.
    case.utility.__dict__["synthetic_on_holdout"] = case.utility.real_on_holdout
    lucky = measured(case, "tstr_labels")
    assert lucky.statistic.value == 0.0
    assert not lucky.details["labels_can_be_read_by_a_real_trained_classifier"]
    assert lucky.statistic.high > 0.2
    assert verdict(lucky, "tstr_labels") is Verdict.INCONCLUSIVE
    assert verdict(measured(case, "trts_labels"), "trts_labels") is Verdict.FAIL


def test_the_same_luck_with_readable_labels_passes(described):
    case = replace(described)
    case.utility.__dict__["synthetic_on_holdout"] = case.utility.real_on_holdout
    found = measured(case, "tstr_labels")
    assert found.details["labels_can_be_read_by_a_real_trained_classifier"]
    assert verdict(found, "tstr_labels") is Verdict.PASS


def test_masks_of_other_images_fit_nothing(described):
    fitting = measured(described, "mask_consistency")
    made = described.synthetic
    moved = replace(described, synthetic=replace(made, masks=np.roll(made.masks, 12, axis=(2, 3))))
    moved.utility.__dict__["_real_masks"] = described.utility._real_masks
    misplaced = measured(moved, "mask_consistency")
    assert misplaced.statistic.low > 0.2 > fitting.statistic.value
    assert misplaced.details["share_of_poor_fits"] > 0.5
    assert verdict(misplaced, "mask_consistency") is Verdict.FAIL


def test_a_group_that_the_archive_forgets_is_found_and_named(described):
    case = replace(described)
    scores = case.utility.real_on_holdout.copy()
    women = case.holdout.attributes["sex"] == "F"
    scores[women] = np.random.default_rng(0).dirichlet((1, 1), int(women.sum()))
    case.utility.__dict__.update(_real_labels=described.utility._real_labels, synthetic_on_holdout=scores)
    found = measured(case, "subgroups")
    assert "sex F" in found.note
    assert found.statistic.low > 0.05
    same = replace(described)
    same.utility.__dict__.update(
        _real_labels=described.utility._real_labels, synthetic_on_holdout=described.utility.real_on_holdout
    )
    even = measured(same, "subgroups")
    assert even.statistic.value == 0.0


def test_small_cells_and_texts_of_scanners_are_not_told(described):
    told = json.dumps(measured(described, "subgroups").details)
    assert "age 40-49" in told
    assert "scanner 1" in told
    assert not any(word in told for word in ("90+", "SECRET", "ACME"))
    assert measured(described, "subgroups").details["cells_not_assessed"] == 1
    assert set(measured(described, "subgroups").details["patients"].values()) <= set(range(0, 1000, 10))


def test_learning_a_set_by_heart_shows_as_a_novelty_gap(make_world):
    case = make_world(41)
    by_heart = replace(case, synthetic=case.train)
    found = measured(by_heart, "novelty")
    assert found.p_value <= 0.01
    assert found.statistic.low > 0
    assert verdict(found, "novelty") is Verdict.FAIL


def test_the_novelty_gap_does_not_cry_wolf(make_world):
    p = [measured(make_world(seed, train=70, holdout=70, synthetic=80), "novelty").p_value for seed in range(50, 58)]
    assert sum(value <= 0.05 for value in p) <= 2
    assert max(p) > 0.3


@pytest.mark.parametrize("name", [*UTILITY, "frechet_infinity", "radiomic_frechet", "vendi", "ms_ssim", "novelty"])
def test_without_enough_patients_nothing_is_claimed(make_world, name):
    found = measured(make_world(61, holdout=40), name)
    assert "60" in found.unable
    assert found.statistic.value is None


@pytest.mark.parametrize("name", ["tstr_labels", "trts_labels", "subgroups"])
def test_one_class_makes_no_task(described, name):
    holdout = replace(described.holdout, labels=np.zeros_like(described.holdout.labels))
    assert measured(replace(described, holdout=holdout), name).not_applicable
