"""What the fidelity checks share: halves by patient, equal numbers, scores as others compute them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from sklearn.metrics import roc_auc_score

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.frechet import FrechetDistance
from synthrelease.audit.fidelity import Fidelity, Roles, drawn, require_stranger
from synthrelease.audit.images import ImageSet
from synthrelease.audit.scores import (
    agreement,
    class_weights,
    dice,
    least_areas,
    macro_auc,
    macro_auc_resampled,
    mean_dice,
    patient_weights,
)
from synthrelease.audit.utility import Utility
from synthrelease.errors import UsageError
from synthrelease.features.extractors import DEFAULT, ExtractorChoice
from synthrelease.features.uld.encoder import Encoder, Provenance
from synthrelease.features.uld.recipe import Recipe


def images(patients, side=16):
    rng = np.random.default_rng(len(patients))
    return ImageSet(
        rng.uniform(-1, 1, (len(patients), 1, side, side)).astype(np.float32),
        rng.random((len(patients), 1, side, side)).astype(np.float32),
        np.arange(len(patients)) % 2,
        np.asarray(patients, dtype=np.int64),
    )


def test_halves_never_share_a_patient_and_all_four_sets_are_of_one_size():
    patient = np.repeat(np.arange(40), 3)
    mine = patient[:, None].astype(float)
    roles = Roles(mine, np.full((500, 1), -1.0), np.full((45, 1), -2.0), patient)
    seen = set()
    for half in roles.halves(np.random.default_rng(0), 20):
        assert len({len(side) for side in (half.first, half.second, half.train, half.synthetic)}) == 1
        assert not set(half.first.ravel()) & set(half.second.ravel())
        seen |= set(half.first.ravel())
    assert len(seen) == 40


def test_many_images_are_thinned_by_whole_patients_and_always_alike():
    everybody = images(np.repeat(np.arange(50), 4))
    some = drawn(everybody, 101)
    assert len(some) == 100
    assert set(np.unique(some.patient, return_counts=True)[1]) == {4}
    np.testing.assert_array_equal(drawn(everybody, 101).patient, some.patient)
    assert drawn(everybody, 200) is everybody


def test_components_are_fitted_on_the_holdout_alone():
    train, holdout, made = (images(np.arange(first, first + 40)) for first in (0, 100, 200))
    one = Fidelity(train, holdout, made, DEFAULT)
    other = Fidelity(images(np.arange(300, 390)), holdout, made, DEFAULT)
    np.testing.assert_array_equal(one.reduced.synthetic, other.reduced.synthetic)
    assert one.name == other.name
    assert "fitted on holdout" in one.name


@pytest.fixture
def roles():
    """Train, holdout and synthetic images with digests."""
    return [
        replace(images(np.arange(first, first + 70)), digests=tuple(f"{n:064x}" for n in range(first, first + 70)))
        for first in (0, 100, 200)
    ]


def encoder_of(digests, path):
    Encoder("landmarks", Recipe(steps=0).build(), Provenance("private", "a cohort", tuple(digests))).save(path)
    return ExtractorChoice("uld", path)


@pytest.mark.parametrize("side", [0, 1])
def test_an_encoder_that_knows_either_side_of_the_audit_is_refused(roles, tmp_path, side):
    choice = encoder_of(roles[side].digests[5:7], tmp_path / "e.safetensors")
    with pytest.raises(UsageError, match="2 of the 2"):
        require_stranger(choice.open(), roles[0], roles[1])
    with pytest.raises(UsageError, match="this very cohort"):
        _ = Fidelity(*roles, choice).raw


def test_an_encoder_of_other_patients_serves_and_the_distance_has_its_name(roles, tmp_path):
    choice = encoder_of(["f" * 64], tmp_path / "e.safetensors")
    case = AuditCase(*roles, ("a", "b"), ("s",), extractor=choice)
    found = FrechetDistance().measure(case, np.random.default_rng(0))
    assert found.details["distance"] == "FD-uld"
    assert "fitted on private images" in found.details["extractor"]
    assert found.note.startswith("FD-uld")


def test_networks_see_large_images_at_their_own_size():
    large = images(np.arange(6), side=96)
    utility = Utility(large, large, large, 2)
    assert utility.holdout.images.shape == (6, 1, 64, 64)
    assert utility.masked_holdout.masks.shape == (6, 1, 64, 64)


def test_auroc_agrees_with_scikit_learn_also_under_weights():
    rng = np.random.default_rng(0)
    labels, patient = rng.integers(0, 3, 90), np.repeat(np.arange(30), 3)
    scores = rng.dirichlet((1, 1, 1), 90) + 0.3 * np.eye(3)[labels]
    theirs = [roc_auc_score(labels == c, scores[:, c]) for c in range(3)]
    assert macro_auc(scores, labels, (0, 1, 2)) == pytest.approx(np.mean(theirs), abs=1e-4)
    weights = patient_weights(patient, rng, 5)
    draws = macro_auc_resampled(scores, labels, (1,), weights)
    for weight, draw in zip(weights, draws, strict=True):
        assert draw == pytest.approx(roc_auc_score(labels == 1, scores[:, 1], sample_weight=weight), abs=1e-4)
    assert all(len(set(row)) == 1 for row in weights.reshape(5, 30, 3).reshape(-1, 3).tolist())


def test_dice_agrees_with_monai():
    rng = np.random.default_rng(0)
    score, truth = rng.random((2, 12, 2, 16, 16)).astype(np.float32)
    truth[3, 1] = 0.0
    theirs = DiceMetric(include_background=True, reduction="none", ignore_empty=True)(
        torch.from_numpy(score >= 0.5).float(), torch.from_numpy(truth >= 0.5).float()
    )
    ours = dice(score, truth)
    assert np.isnan(ours[3, 1])
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-4)
    assert mean_dice(ours, np.ones((1, 12)))[0] == pytest.approx(np.nanmean(ours, axis=0).mean())


def test_an_empty_mask_agrees_by_nothing_with_what_is_seen_and_specks_are_not_seen():
    seen, mask = np.zeros((2, 5, 1, 8, 8), dtype=np.float32)
    seen[[0, 1], :, :4, :4] = 1.0
    mask[[0, 2], :, :4, :4] = 1.0
    seen[3, :, 0, :3] = 1.0
    found = agreement(seen, mask, np.array([4.0]))[:, 0]
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(dice(seen, mask)[:, 0], [1.0, np.nan, 0.0, np.nan, np.nan])


def test_seeing_begins_at_half_of_what_nearly_all_masks_mark():
    masks = np.zeros((40, 3, 8, 8), dtype=np.float32)
    masks[1:, 0, :4, :5] = 1.0  # the one that marks nothing is no small mask
    masks[:, 1, 0, 0] = 1.0
    assert least_areas(masks).tolist() == [10.0, 1.0, 1.0]


def test_classes_weigh_as_much_as_in_the_other_set():
    labels, like = np.array([0, 0, 0, 2]), np.array([0, 2, 2, 1, 1])
    weights = class_weights(labels, like)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[3] / weights[:3].sum() == pytest.approx(2.0)
    np.testing.assert_array_equal(class_weights(labels, labels), np.ones(4))
