"""Known leaks must be found, and honest archives of every style must not be accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.audit.planted import replace_share
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.records.findings import Verdict

COPY_CHECKS = ("exact_copies", "near_copies")
STYLES = {
    "blurred": lambda x, rng: gaussian_filter(x, (0, 0, 1, 1)),
    "noisy": lambda x, rng: x + rng.normal(0, 0.1, x.shape),
    "washed_out": lambda x, rng: x.mean(axis=0) + 0.3 * (x - x.mean(axis=0)),
    "collapsed": lambda x, rng: x[rng.integers(0, 6, len(x))] + rng.normal(0, 0.02, x.shape),
    "grey_changed": lambda x, rng: 0.7 * x + 0.1,
}


def verdicts(case, only=COPY_CHECKS, seed=0, power=False):
    """What the checks say; without power a pass is impossible and a fail is what it always is."""
    case = replace(case, measures_power=power)
    record, annex = run_audit(case, load_profile("quick", check_ids()), seed, only=only)
    return {finding.id: finding for finding in record.findings}, annex


def leaking(transform, count):
    return lambda made, train, rng: replace_share(made, train, transform, count, rng)


def test_clean_independent_patients_are_not_accused(clean):
    found, _ = verdicts(clean, only=("exact_copies", "near_copies", "neighbour_permutation", "membership"))
    assert [f.id for f in found.values() if f.verdict is Verdict.FAIL] == []
    assert found["exact_copies"].verdict is Verdict.PASS


@pytest.mark.parametrize("style", STYLES)
def test_an_honest_archive_of_another_style_is_not_accused(make_world, style):
    case = make_world(1, style=STYLES[style])
    found, _ = verdicts(case, only=("exact_copies", "near_copies", "neighbour_permutation", "membership"))
    assert [f.id for f in found.values() if f.verdict is Verdict.FAIL] == []


def test_one_exact_copy_among_600_fails_both_copy_checks(make_world):
    case = make_world(2, synthetic=600, leak=leaking("exact", 1))
    found, annex = verdicts(case)
    assert found["exact_copies"].verdict is Verdict.FAIL
    assert found["exact_copies"].statistic.value == 1
    assert found["near_copies"].verdict is Verdict.FAIL
    assert [pair.copy for pair in annex.look_alikes].count(True) == 1


@pytest.mark.parametrize("transform", ["gain", "hflip", "shift_4", "noise_2_percent"])
def test_one_per_cent_of_changed_copies_fails(make_world, transform):
    found, _ = verdicts(make_world(3, synthetic=200, leak=leaking(transform, 2)))
    assert found["near_copies"].verdict is Verdict.FAIL


def test_mirrored_copy_is_exact_but_grey_changed_copy_is_only_near(make_world):
    mirrored, _ = verdicts(make_world(3, synthetic=200, leak=leaking("hflip", 2)), only=["exact_copies"])
    changed, _ = verdicts(make_world(3, synthetic=200, leak=leaking("gain", 2)), only=["exact_copies"])
    assert mirrored["exact_copies"].verdict is Verdict.FAIL
    assert changed["exact_copies"].verdict is Verdict.PASS


def test_copies_under_blur_are_found_although_everything_is_blurred(make_world):
    def blur_after(made, train, rng):
        leaked = leaking("exact", 4)(made, train, rng)
        return replace(leaked, images=gaussian_filter(leaked.images, (0, 0, 0.6, 0.6)).astype(np.float32))

    found, _ = verdicts(make_world(4, leak=blur_after))
    assert found["near_copies"].verdict is Verdict.FAIL


def test_annex_points_at_the_copied_patient(make_world):
    source = {}

    def plant(made, train, rng):
        source["row"] = 17
        leaked = made.images.copy()
        leaked[5] = np.rot90(train.images[17], axes=(1, 2))
        return replace(made, images=leaked)

    _, annex = verdicts(make_world(5, leak=plant))
    first = annex.look_alikes[0]
    assert (first.synthetic_row, first.train_row, first.copy) == (5, source["row"], True)
    assert first.train_similarity > 0.999 > first.holdout_similarity


def test_an_archive_that_is_the_training_set_fails_everything_that_looks_at_it(make_world):
    case = make_world(6, leak=lambda made, train, rng: replace(made, images=train.images.copy()), synthetic=140)
    found, _ = verdicts(case, only=("exact_copies", "near_copies", "neighbour_permutation", "membership"))
    failed = {f.id for f in found.values() if f.verdict is Verdict.FAIL}
    assert failed == {"exact_copies", "near_copies", "neighbour_permutation", "membership"}


def test_copies_of_holdout_patients_never_fail_and_void_the_copy_check(clean):
    case = replace(clean, synthetic=clean.holdout)
    found, _ = verdicts(case, only=("near_copies", "neighbour_permutation"))
    assert found["near_copies"].verdict is Verdict.INCONCLUSIVE
    assert "holdout" in found["near_copies"].reason
    assert found["neighbour_permutation"].p_value > 0.5


def test_stored_pixels_with_a_known_digest_are_exact_copies_whatever_the_resolution_shows(clean):
    train = replace(clean.train, digests=tuple(f"{i:064x}" for i in range(len(clean.train))))
    digests = [f"{i + 10**6:064x}" for i in range(len(clean.synthetic))]
    digests[3] = train.digests[9]
    case = replace(clean, train=train, synthetic=replace(clean.synthetic, digests=tuple(digests)))
    found, _ = verdicts(case, only=["exact_copies"])
    assert found["exact_copies"].verdict is Verdict.FAIL
    assert found["exact_copies"].details["equal_as_stored"] == 1
