"""Rows, secrets and links: leaks show against the holdout, what everybody shares does not, extremes do not crash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.attribute_inference import AttributeInference
from synthrelease.audit.checks.label_copies import LabelCopies
from synthrelease.audit.checks.linkability import Linkability
from synthrelease.audit.excess_risk import AttackResult, measured
from synthrelease.audit.images import ImageSet
from synthrelease.audit.planted import replace_share

CHECKS = (LabelCopies(), AttributeInference(), Linkability())


def people(rng, count, first, attributes=True):
    images = gaussian_filter(rng.normal(size=(count, 1, 16, 16)), (0, 0, 2, 2)).astype(np.float32)
    told = {
        "sex": rng.choice(["F", "M"], count),
        "age": rng.integers(20, 90, count).astype(str),
        "scanner": rng.integers(0, 12, count).astype(str),
    }
    return ImageSet(
        np.clip(images * 4, -1, 1),
        np.zeros((count, 0, 16, 16), np.float32),
        rng.integers(0, 2, count),
        np.arange(first, first + count),
        attributes=told if attributes else {},
    )


def world(seed, attributes=True):
    rng = np.random.default_rng(seed)
    sizes = ((150, 0), (140, 1000), (300, 5000))
    return AuditCase(*(people(rng, count, first, attributes) for count, first in sizes), ("a", "b"), ())


def measure(check, case):
    return check.measure(case, np.random.default_rng(0))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.id)
def test_independent_people_are_no_leak_and_the_control_is_seen(check):
    found = measure(check, world(1))
    assert not found.unable
    assert found.p_value > 0.05
    assert found.controls_missed == ()
    assert found.statistic.low <= found.statistic.value <= found.statistic.high


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.id)
def test_an_archive_that_is_the_training_set_leaks(check):
    case = world(2)
    assert measure(check, replace(case, synthetic=case.train)).p_value < 1e-6


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.id)
def test_an_archive_that_is_the_holdout_leaks_nothing_of_training_patients(check):
    case = world(3)
    assert measure(check, replace(case, synthetic=case.holdout)).p_value > 0.9


def test_copied_rows_are_met_and_a_class_label_alone_is_not_asked():
    case = world(4)
    leaked = replace_share(case.synthetic, case.train, "label_row", 40, np.random.default_rng(0))
    found = measure(LabelCopies(), replace(case, synthetic=leaked))
    assert found.p_value < 0.01
    assert found.details["columns"] == ["label", "age", "scanner", "sex"]
    assert measure(LabelCopies(), world(4, attributes=False)).not_applicable


def test_false_alarms_of_the_three_checks_stay_at_their_level():
    p = {check.id: [measure(check, world(seed)).p_value for seed in range(10, 16)] for check in CHECKS}
    assert all(np.mean(np.array(values) <= 0.05) < 0.3 for values in p.values())


def test_a_secret_unknown_to_the_archive_is_no_guess():
    case = world(5)
    hidden = replace(
        case.synthetic,
        attributes={n: np.full(300, "") if n == "sex" else v for n, v in case.synthetic.attributes.items()},
    )
    found = measure(AttributeInference(), replace(case, synthetic=hidden))
    assert not any(name.startswith("sex") for name in found.details)


def test_guesses_are_counted_over_attacks_that_made_one():
    made = np.array([True, True, False, True, False])
    hit = np.array([True, False, True, True, True])
    result = AttackResult.of("x", hit, made, members=3)
    assert (result.hits, result.guesses, result.control_hits, result.control_guesses) == (1, 2, 1, 1)


@pytest.mark.parametrize(("hits", "control"), [(100, 100), (0, 0), (100, 0), (0, 100)])
def test_perfect_and_hopeless_attacks_have_an_interval(hits, control):
    result = AttackResult("x", hits, 100, control, 100)
    low, high = result.interval()
    assert -1.0 <= low <= result.excess <= high <= 1.0
    assert (result.p() < 1e-6) == (hits > control)
    assert measured("n", [result], {}).p_value == pytest.approx(result.p())


def test_the_p_value_is_where_the_interval_ends():
    result = AttackResult("x", 70, 100, 50, 100)
    p = result.p(0.05)
    assert result.interval(1 - 2 * p).low == pytest.approx(0.05, abs=1e-3)
    assert AttackResult("x", 50, 100, 50, 100).p() == 1.0


def test_too_few_guesses_decide_nothing():
    assert "fewer than" in measured("n", [AttackResult("x", 5, 10, 5, 200)], {}).unable


def test_without_a_holdout_nothing_is_decided():
    case = replace(world(6), holdout=None)
    assert all(measure(check, case).unable for check in CHECKS)
