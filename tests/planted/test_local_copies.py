"""A piece of a training image must be found, whatever the rest shows, and honest archives must not be accused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.local_copies import LocalCopies, image_p
from synthrelease.audit.copies import FusedCopyTest
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import NEGATIVES, planted, replace_share
from synthrelease.audit.search import CopySearch

SIDE = 64
TRAIN, HOLDOUT, MADE = 70, 60, 120


def people(seed: int, count: int, first: int, side: int = SIDE) -> ImageSet:
    """One image a patient: a shared shading, an own one, own fine texture."""
    rng = np.random.default_rng(seed)

    def field(width: float, r: np.random.Generator, n: int):
        values = gaussian_filter(r.normal(size=(n, side, side)), (0, width, width), mode="nearest")
        return values / values.std(axis=(1, 2), keepdims=True)

    shared = field(10.0, np.random.default_rng(0), 1) + 0.5 * field(2.0, np.random.default_rng(1), 1)
    pixels = 0.25 * shared + 0.2 * field(5.0, rng, count) + 0.12 * field(1.3, rng, count)
    return ImageSet(
        np.clip(pixels, -1, 1)[:, None].astype(np.float32),
        np.zeros((count, 0, side, side), np.float32),
        np.zeros(count, np.int64),
        np.arange(first, first + count),
    )


def world(seed: int, **roles: ImageSet) -> AuditCase:
    made = {
        "train": people(3 * seed, TRAIN, 0),
        "holdout": people(3 * seed + 1, HOLDOUT, TRAIN),
        "synthetic": people(3 * seed + 2, MADE, 0),
    } | roles
    return AuditCase(**made, classes=("any",), segments=(), measures_power=False)


def judging(case: AuditCase, synthetic: ImageSet) -> AuditCase:
    """The same real patients, whose search is borrowed, and another archive."""
    lent = case.search("parts")
    search = CopySearch(lent.comparison, case.patients, synthetic)
    search.__dict__["holdout"] = lent.holdout  # a cached property
    other = replace(case, synthetic=synthetic, measures_power=False)
    other._searches["parts"] = search
    return other


def measured(case: AuditCase):
    return LocalCopies().measure(case, np.random.default_rng(0))


@pytest.fixture(scope="module")
def clean() -> AuditCase:
    return replace(world(0), measures_power=True)


def test_a_clean_archive_is_cleared_and_the_planted_pieces_are_found(clean):
    found = measured(clean)
    assert found.unable == ""
    assert found.p_value > 0.05
    assert found.details["copies_flagged"] == 0
    assert found.controls_missed == ()
    assert set(found.power.planted) == {
        "half_image",
        "patch_in_place",
        "patch_moved",
        "patch_mirrored",
        "patch_gain",
    }
    assert min(found.power.planted.values()) >= 0.9
    # Three in 120 could hide from chance alone; no missed plant makes the bound much looser.
    assert 3 / MADE * 0.9 < found.statistic.high < 4 / MADE
    json.dumps(found.details, allow_nan=False)


@pytest.mark.parametrize("transform", ["half_image", "patch_moved", "patch_mirrored"])
def test_one_piece_in_the_archive_fails_it(clean, transform):
    rng = np.random.default_rng(5)
    found = measured(judging(clean, replace_share(clean.synthetic, clean.train, transform, 1, rng)))
    assert found.p_value < 0.01
    assert found.details["copies_flagged"] == 1
    assert found.details["decoys_flagged"] == 0


def test_pieces_of_the_holdout_are_no_evidence_of_training(clean):
    found = measured(
        judging(clean, replace_share(clean.synthetic, clean.holdout, "patch_moved", 3, np.random.default_rng(1)))
    )
    assert found.p_value > 0.05
    assert "holdout" in found.unable


@pytest.mark.parametrize("style", ["blurred", "noisy", "grey_changed", "collapsed", "washed_out"])
def test_an_honest_archive_of_another_style_is_not_accused(clean, style):
    images = NEGATIVES[style](clean.synthetic.images, np.random.default_rng(2)).astype(np.float32)
    found = measured(judging(clean, replace(clean.synthetic, images=images)))
    assert found.p_value > 0.05
    assert found.details["copies_flagged"] == found.details["decoys_flagged"] == 0


def test_without_measured_power_nothing_can_pass(clean):
    found = measured(judging(clean, clean.synthetic.take(np.arange(40))))
    assert found.controls_missed == ("half_image", "patch_in_place")
    assert found.statistic.high == 1.0


def test_a_sighting_tells_where_the_piece_came_from_and_lies(clean):
    images = clean.synthetic.images.copy()
    images[4, :, 30:50, 8:28] = clean.train.images[11, :, 28:48, 20:40]
    probes = replace(clean.synthetic, images=images)
    seen = clean.search("parts").comparison.sighting(probes, 4, int(clean.patients.column[11]))
    assert seen.image == 11
    assert seen.similarity > 0.999
    assert "2 px down" in seen.how
    assert "12 px to the left" in seen.how
    assert seen.how.endswith("correlate to 1.00")
    top, left, bottom, right = (SIDE * share for share in seen.box)
    # A window at the rim may reach over it by a few pixels and still agree.
    assert 26 <= top < bottom <= 54
    assert 4 <= left < right <= 32


def test_a_mirrored_piece_is_laid_over_its_source_and_strangers_correlate_less(clean):
    images = clean.synthetic.images.copy()
    images[4, :, 30:50, 8:28] = clean.train.images[11, :, 28:48, 20:40][..., ::-1]
    comparison, column = clean.search("parts").comparison, clean.patients.column
    probes = replace(clean.synthetic, images=images)
    seen = comparison.sighting(probes, 4, int(column[11]))
    assert "mirrored" in seen.how
    assert float(seen.how.rsplit(" ", 1)[1]) > 0.9
    held = [comparison.sighting(probes, 4, int(column[TRAIN + i])).how for i in range(8)]
    assert max(float(how.rsplit(" ", 1)[1]) for how in held if "correlate" in how) < 0.9


def test_a_blurred_and_noisy_piece_is_found_by_what_agrees_through_the_encoder(clean):
    rng = np.random.default_rng(0)
    images = clean.synthetic.images.copy()
    for row in range(20):
        piece = gaussian_filter(clean.train.images[row, 0, 16:48, 16:48], 0.8)
        images[row, 0, 16:48, 16:48] = piece + rng.normal(0, 0.04, piece.shape)
    probes = replace(clean.synthetic, images=images.astype(np.float32)).take(np.arange(20))
    search = clean.search("parts")
    test = FusedCopyTest.towards_train(search.synthetic, search.holdout)
    by_name = {name: (p * MADE <= 0.05).sum() for name, p in test.each(search.probe(probes)).items()}
    assert by_name["learned_patches"] > by_name["best_patches"]
    innocent = test.each(search.synthetic)["learned_patches"]
    assert (innocent * MADE <= 0.05).sum() == 0


def test_p_of_any_probes_is_fused_over_all_comparisons(clean):
    probes = planted("half_image", clean.train, clean.synthetic, 5)
    seen = clean.search("parts").probe(probes)
    assert set(seen) == {"best_patch", "best_patches", "learned_patches"}
    assert image_p(clean, seen).max() < 1e-3
    assert image_p(clean).shape == (MADE,)


def test_a_patient_is_as_like_as_the_likest_of_all_images_whatever_their_order():
    case = world(2)
    twice = np.concatenate([np.arange(TRAIN), np.arange(TRAIN)[::-1]])
    doubled = replace(case, train=case.train.take(twice))
    probes = planted("patch_moved", case.train, case.synthetic, 6)
    (_, one), *_ = case.search("parts").comparison.similarity(probes)
    (_, two), *_ = doubled.search("parts").comparison.similarity(probes)
    assert one.shape == two.shape == (3, 6, TRAIN + HOLDOUT)
    # Whitening sees other images, so values move a little; the order of patients must not.
    assert (one[1].argmax(axis=1) == two[1].argmax(axis=1)).all()
    np.testing.assert_allclose(one[1].max(axis=1), two[1].max(axis=1), atol=0.05)


def test_images_of_32_px_are_tested_for_halves_only_and_tiny_ones_not_at_all():
    small = world(
        3, train=people(1, TRAIN, 0, 32), holdout=people(2, HOLDOUT, TRAIN, 32), synthetic=people(3, 40, 0, 32)
    )
    found = measured(small)
    assert found.unable == ""
    assert found.details["bound_covers"] == ["half_image"]
    assert "41% cannot be seen" in found.note
    tiny = world(
        3, train=people(1, TRAIN, 0, 20), holdout=people(2, HOLDOUT, TRAIN, 20), synthetic=people(3, 40, 0, 20)
    )
    assert "cannot hold" in measured(tiny).unable


def test_a_square_of_16_px_in_images_of_128_px_fails_the_archive():
    large = world(
        4,
        train=people(12, TRAIN, 0, 128),
        holdout=people(13, HOLDOUT, TRAIN, 128),
        synthetic=people(14, 60, 0, 128),
    )
    images = large.synthetic.images.copy()
    images[3, :, 50:66, 40:56] = large.train.images[11, :, 53:69, 47:63]
    leaky = replace(large, synthetic=replace(large.synthetic, images=images))
    found = measured(leaky)
    assert found.p_value < 0.01
    assert (found.details["copies_flagged"], found.details["decoys_flagged"]) == (1, 0)
    # Odd displacements are lost when two pixels are averaged to one.
    comparison = leaky.search("parts").comparison
    assert comparison.names == ("best_patch", "best_patches", "fine_patch", "fine_patches", "learned_patches")
    seen = comparison.sighting(leaky.synthetic, 3, int(leaky.patients.column[11]))
    assert seen.image == 11
    assert seen.how.startswith("a piece, 3 px up, 7 px to the left (of 128 px)")
    assert float(seen.how.rsplit(" ", 1)[1]) > 0.99


def test_too_small_a_holdout_decides_nothing(clean):
    assert "holdout" in measured(replace(clean, holdout=None)).unable
    assert "60" in measured(replace(clean, holdout=clean.holdout.take(np.arange(59)))).unable
