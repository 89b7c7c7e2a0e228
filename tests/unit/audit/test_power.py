"""What an audit of a given size could have shown: exact binomial figures, and what to add."""

from __future__ import annotations

import pytest
from scipy import stats

from synthrelease.audit.power import (
    images_needed,
    largest_epsilon,
    membership_row,
    patients_to_refute,
    power_block,
)
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids
from synthrelease.records.findings import (
    Baseline,
    Criterion,
    Direction,
    Finding,
    Power,
    Statistic,
    Threshold,
    Verdict,
)


def counts(train, holdout, synthetic):
    return {"train_patients": train, "holdout_patients": holdout, "synthetic_images": synthetic}


def copies(detectable, threshold):
    return Finding(
        "near_copies",
        "?",
        Criterion.SINGLING_OUT,
        Verdict.PASS,
        True,
        Statistic("share of synthetic images that are copies, at most", 0.0, 0.0, detectable, 0.95, Direction.LOWER),
        Baseline(),
        Threshold(threshold, "because the test says so"),
        Power(detectable, "share of synthetic images"),
        {},
        0,
        0.0,
        "",
    )


@pytest.mark.parametrize(("rate", "needed"), [(0.1, 29), (0.01, 299), (0.001, 2995)])
def test_rows_are_resolvable_from_the_number_of_strangers_that_proves_the_rate(rate, needed):
    assert membership_row(500, needed, rate, 0.05, 0.05)["resolvable"]
    below = membership_row(500, needed - 1, rate, 0.05, 0.05)
    assert (below["resolvable"], below["detectable"], below["others_needed"]) == (False, None, needed)


def test_the_detectable_hit_rate_is_found_four_times_in_five_and_a_smaller_one_less_often():
    found = membership_row(300, 300, 0.01, 0.05, 0.05)["detectable"]
    hits = next(k for k in range(301) if stats.binom.sf(k - 1, 300, 0.05) <= 0.05)
    assert stats.binom.sf(hits - 1, 300, found) == pytest.approx(0.8, abs=1e-6)
    assert 0.05 < found < 0.12


def test_a_small_audit_says_what_to_add():
    profile = load_profile("standard", check_ids())
    block = power_block(counts(300, 70, 100), [copies(0.03, 0.005)], profile, 8.0)
    told = " | ".join(block["add"])
    assert "229 more held-out patients: membership at 1 % false positives" in told
    assert f"{images_needed(0.005) - 100} more synthetic images" in told
    assert "refute the claimed epsilon of 8" in told
    assert block["largest_epsilon"]["can_refute_claim"] is False
    assert block["copy_rate"][0]["detectable"] == 0.03


def test_a_large_audit_without_a_claim_lacks_nothing():
    profile = load_profile("standard", check_ids())
    block = power_block(counts(4000, 4000, 5000), [copies(0.001, 0.005)], profile, None)
    assert block["add"] == []
    assert all(row["resolvable"] for row in block["membership"])


def test_without_a_holdout_nothing_is_compared():
    block = power_block(counts(300, 0, 100), [], load_profile("standard", check_ids()), 1.0)
    assert block["add"][0].startswith("60 more held-out patients")
    assert block["largest_epsilon"]["provable"] == 0.0


def test_a_claim_is_refutable_from_the_number_told_and_not_before():
    needed = patients_to_refute(3.0)
    assert needed is not None
    assert largest_epsilon(needed) > 3.0 >= largest_epsilon(needed - 1)
