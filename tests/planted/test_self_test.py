"""The audit of the audit: leaks planted from outside are found, innocent archives are not accused, and the relations
that must hold between audits of related archives hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from synthrelease.audit import planted, self_test
from synthrelease.audit.case import AuditCase
from synthrelease.audit.checks.near_copies import NearCopies
from synthrelease.audit.permutation import permutation_p
from synthrelease.audit.planted import NEGATIVES, TRANSFORMS, replace_share
from synthrelease.audit.profile import load_profile
from synthrelease.audit.rerun import Part, Rerun, patched, with_leaks
from synthrelease.audit.runner import check_ids
from synthrelease.records.findings import Verdict
from synthrelease.report.self_test_table import self_test_text

LEAKS = ("exact", "gain", "hflip", "half_image", "mask_exact", "label_row")
STYLES = ("blurred", "collapsed")
COVERED = ("exact", "gain", "hflip")
AUDIT = "synthrelease.audit"


@pytest.fixture(scope="module", autouse=True)
def few_plants():
    """A tenth of the plants that an audit makes, so that the whole table is cheap."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("case", "self_test", "checks.mask_copies"):
            patch.setattr(f"{AUDIT}.{module}.PLANTS", 8)
        patch.setattr(f"{AUDIT}.self_test.INNOCENT", 40)
        patch.setattr(f"{AUDIT}.checks.near_copies.CORE", COVERED)
        patch.setattr(f"{AUDIT}.checks.near_copies.FINE", ())
        patch.setattr(f"{AUDIT}.checks.near_copies.BEYOND", ())
        patch.setattr(f"{AUDIT}.checks.neighbour_permutation.PLANTED", COVERED)
        patch.setattr(f"{AUDIT}.checks.neighbour_permutation.REPETITIONS", 2)
        yield


def run_self_test(case, monkeypatch, leaks=LEAKS, styles=STYLES, changed=None, seed=5):
    """A self-test over a few leaks and styles; ``changed`` are put in place of the leaks or styles of that name."""
    changed = changed or {}
    table = {name: changed.get(name, TRANSFORMS[name]) for name in leaks}
    monkeypatch.setattr(self_test, "TRANSFORMS", table)
    monkeypatch.setattr(planted, "TRANSFORMS", dict(TRANSFORMS) | table)
    monkeypatch.setattr(self_test, "NEGATIVES", {name: changed.get(name, NEGATIVES[name]) for name in styles})
    return self_test.self_test(case, load_profile("quick", check_ids()), seed)


@pytest.fixture(scope="module")
def small(make_world):
    """An innocent world of 110 images."""
    return make_world(10, train=70, holdout=70, synthetic=110)


@pytest.fixture(scope="module")
def tested(small):
    with pytest.MonkeyPatch.context() as patch:
        yield run_self_test(small, patch)


@pytest.fixture(scope="module")
def leaky(make_world):
    """Ten exact copies among 110, as many patients on both sides."""
    return make_world(
        11,
        train=70,
        holdout=70,
        synthetic=110,
        leak=lambda made, train, rng: replace_share(made, train, "exact", 10, rng),
    )


def caught(result, transform):
    return {row.planted: set(row.by) for row in result.rows if row.transform == transform}


@pytest.mark.parametrize("transform", ["exact", "hflip"])
def test_a_single_planted_copy_is_caught_by_both_copy_checks(tested, transform):
    found = caught(tested, transform)
    assert set(found) == {1, 11}
    assert all({"exact_copies", "near_copies"} <= by for by in found.values())


def test_changed_copies_are_caught_although_none_is_exact(tested):
    found = caught(tested, "gain")
    assert "near_copies" in found[1] & found[11]
    assert not any("exact_copies" in by for by in found.values())


def test_what_only_one_check_can_see_is_credited_to_that_check_alone(tested):
    assert not any(by & {"exact_copies", "near_copies"} for by in caught(tested, "mask_exact").values())
    assert not any(by - {"label_copies"} for by in caught(tested, "label_row").values())


def test_innocent_archives_are_not_accused(tested):
    controls = {row.transform: row for row in tested.rows if row.control}
    assert set(controls) >= {*STYLES, "few_images"}
    assert tested.alarms == ()
    assert all(row.caught is None and not row.by for row in controls.values())


def test_every_covered_leak_is_found_at_one_per_cent(tested):
    assert {row.transform for row in tested.rows if row.covered} >= {"exact", "gain", "hflip"}
    assert tested.missed == ()


def test_the_record_is_plain_json_and_names_no_row(tested):
    text = json.dumps(tested.to_json(), allow_nan=False)
    assert '"transform": "exact"' in text
    assert "patient_id" not in text


def test_the_same_seed_gives_the_same_table(small, tested, monkeypatch):
    again = run_self_test(small, monkeypatch, leaks=("gain",), styles=("blurred",))
    rows = {(row.transform, row.planted): replace(row, seconds=0.0) for row in tested.rows}
    assert {(row.transform, row.planted) for row in again.rows} < set(rows)
    assert all(replace(row, seconds=0.0) == rows[row.transform, row.planted] for row in again.rows)


def test_a_covered_leak_that_nobody_sees_makes_the_self_test_inconclusive(small, monkeypatch):
    fresh = replace(small)  # the plants of the session's case are kept in it
    result = run_self_test(fresh, monkeypatch, ("gain",), (), {"gain": lambda source, host, rng: host})
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "near_copies: gain" in result.missed
    assert result.checks["near_copies"] is Verdict.INCONCLUSIVE


def test_an_accused_innocent_archive_makes_the_self_test_inconclusive(small, monkeypatch):
    def stolen(images, rng):
        return small.train.images[rng.permutation(len(small.train))[: len(images)]]

    result = run_self_test(small, monkeypatch, ("exact",), ("blurred",), {"blurred": stolen})
    assert result.alarms == ("blurred",)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_masks_and_rows_that_nobody_has_are_not_counted_as_missed(small, monkeypatch):
    sides = {}
    for name in ("train", "holdout", "synthetic"):
        side = getattr(small, name)
        sides[name] = replace(side, masks=side.masks[:, :0], has_mask=np.zeros(len(side), dtype=bool), attributes={})
    bare = AuditCase(*sides.values(), small.classes, ())
    result = run_self_test(bare, monkeypatch, leaks=("gain", "mask_exact", "label_row"), styles=())
    assert result.nothing_to_plant == ("mask_exact", "label_row")
    assert {row.transform for row in result.rows if not row.control} == {"gain"}
    assert "Not planted" in self_test_text(result.to_json())
    assert "mask_exact, label_row" in self_test_text(result.to_json())


def test_without_a_holdout_nothing_is_planted(make_world):
    result = self_test.self_test(make_world(8, holdout=0), load_profile("quick", check_ids()), 0)
    assert (result.verdict, result.rows) == (Verdict.INCONCLUSIVE, ())
    assert "holdout" in result.reason


def test_a_rerun_sees_what_a_whole_new_search_would_see(small):
    rng = np.random.default_rng(3)
    leaks = planted.planted("gain", small.train, small.synthetic, planted.PLANTS)
    places, which = np.array([4, 90, 17]), np.array([2, 0, 5])
    synthetic = with_leaks(small.synthetic, places, leaks.take(which), Part.IMAGE)
    rerun = Rerun.of(
        small,
        synthetic,
        lambda kind: patched(small.search(kind).synthetic, small.planted(kind, "gain"), places, which),
    )
    whole = AuditCase(small.train, small.holdout, synthetic, small.classes, small.segments)
    for name, new in whole.search("whole").synthetic.items():
        old = rerun.search("whole").synthetic[name]
        np.testing.assert_allclose(old.near, new.near, atol=1e-5)
        np.testing.assert_allclose(old.blocks, new.blocks, atol=1e-5)
        np.testing.assert_allclose(old.decoy, new.decoy, atol=1e-5)
        assert np.mean(old.best_probe >= new.best_probe - 1e-5) == 1.0
    assert NearCopies().measure(rerun, rng).p_value == pytest.approx(NearCopies().measure(whole, rng).p_value, rel=1e-3)


def test_exchanging_train_and_holdout_turns_the_population_test_round(leaky):
    turned = AuditCase(leaky.holdout, leaky.train, leaky.synthetic, leaky.classes, leaky.segments)
    p = [
        permutation_p(case.search("whole").synthetic, case.patients.is_train, 199, np.random.default_rng(0))
        for case in (leaky, turned)
    ]
    assert p[0] <= 0.01
    assert p[1] >= 0.9


def test_the_population_test_is_uniform_over_random_labels(leaky):
    """Even in an archive full of copies: who was trained on is drawn anew, so that nothing is left to be found."""
    matches, labels = leaky.search("whole").synthetic, leaky.patients.is_train
    rng = np.random.default_rng(6)
    p = [permutation_p(matches, rng.permutation(labels), 99, rng) for _ in range(80)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_an_archive_shipped_twice_is_judged_alike(leaky):
    twice = np.concatenate([np.arange(len(leaky.synthetic))] * 2)
    doubled = replace(leaky, synthetic=leaky.synthetic.take(twice), measures_power=False)
    once = NearCopies().measure(replace(leaky, measures_power=False), np.random.default_rng(0))
    again = NearCopies().measure(doubled, np.random.default_rng(0))
    assert once.details["copies_flagged"] == 10
    assert again.details["copies_flagged"] == 20


def test_neither_the_order_of_the_archive_nor_the_seed_changes_what_is_flagged(leaky):
    order = np.random.default_rng(1).permutation(len(leaky.synthetic))
    shuffled = replace(leaky, synthetic=leaky.synthetic.take(order), measures_power=False)
    found = [
        NearCopies().measure(case, np.random.default_rng(seed)).details["copies_flagged"]
        for case, seed in ((leaky, 0), (shuffled, 1))
    ]
    assert found == [10, 10]
