"""Verdicts by the bad end of the interval, Holm over the required family, and everything that makes them inconclusive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from scipy import stats

from synthrelease.audit.gate import judge, overall
from synthrelease.audit.measurement import Excess, Measurement, unable
from synthrelease.audit.profile import CheckSettings, Limit, Profile
from synthrelease.records.findings import Baseline, Criterion, Direction, Finding, Power, Statistic, Verdict

BECAUSE = "because the test says so"


@dataclass(frozen=True)
class Fake:
    id: str
    criterion: Criterion = Criterion.SINGLING_OUT
    needs_sound_split: bool = False
    question: str = "?"

    def measure(self, case, rng):
        raise AssertionError("the gate measures nothing")


SPLIT = Fake("split_sound", Criterion.MEMBERSHIP)


def profile(*checks, threshold=0.1, required=True, fallback=None):
    settings = CheckSettings(
        required=required,
        threshold=Limit(value=threshold, because=BECAUSE),
        fallback=Limit(value=fallback, because=BECAUSE) if fallback else None,
    )
    table = {check.id: settings for check in (*checks, SPLIT)}
    return Profile(
        schema=1,
        name="p",
        purpose="a profile of the tests",
        significance=Limit(value=0.05, because=BECAUSE),
        checks=table,
    )


def number(value, low, high, direction=Direction.LOWER, **more):
    return Measurement(Statistic("x", value, low, high, 0.95, direction), **more)


SOUND = number(0.0, 0.0, 0.0)
A, B = Fake("a"), Fake("b")


@pytest.mark.parametrize(
    ("low", "value", "high", "direction", "verdict"),
    [
        (0.0, 0.05, 0.1, Direction.LOWER, Verdict.PASS),
        (0.0, 0.05, 0.11, Direction.LOWER, Verdict.INCONCLUSIVE),
        (0.11, 0.2, 0.3, Direction.LOWER, Verdict.FAIL),
        (0.1, 0.2, 0.3, Direction.HIGHER, Verdict.PASS),
        (0.05, 0.2, 0.3, Direction.HIGHER, Verdict.INCONCLUSIVE),
        (0.0, 0.05, 0.09, Direction.HIGHER, Verdict.FAIL),
    ],
)
def test_the_bad_end_decides(low, value, high, direction, verdict):
    judged = judge({SPLIT: SOUND, A: number(value, low, high, direction)}, profile(A))
    assert judged["a"].verdict is verdict


def test_a_p_value_fails_only_after_holm_over_the_required_checks():
    one, two = number(0.0, 0.0, 0.01, p_value=0.03), number(0.0, 0.0, 0.01, p_value=0.8)
    assert judge({SPLIT: SOUND, A: one}, profile(A))["a"].verdict is Verdict.FAIL
    judged = judge({SPLIT: SOUND, A: one, B: two}, profile(A, B))
    assert (judged["a"].verdict, judged["a"].p_value, judged["a"].p_adjusted) == (Verdict.PASS, 0.03, 0.06)


def test_a_p_value_against_the_threshold_is_asked_for_at_the_threshold():
    measured = number(0.2, 0.15, 0.3, excess=Excess(40, 200))
    judged = judge({SPLIT: SOUND, A: measured}, profile(A))["a"]
    assert judged.verdict is Verdict.FAIL
    assert judged.p_value == pytest.approx(stats.binom.sf(39, 200, 0.1))
    assert Excess(40, 200, attacks=3).p(0.1) == pytest.approx(3 * judged.p_value)


def test_missed_plants_turn_a_pass_but_not_a_fail_into_inconclusive():
    quiet = number(0.0, 0.0, 0.0, controls_missed=("gain",))
    loud = number(1.0, 1.0, 1.0, controls_missed=("gain",))
    judged = judge({SPLIT: SOUND, A: quiet, B: loud}, profile(A, B))
    assert (judged["a"].verdict, judged["b"].verdict) == (Verdict.INCONCLUSIVE, Verdict.FAIL)
    assert "gain" in judged["a"].reason


def test_a_flag_that_nobody_has_looked_at_never_passes_and_never_hides_a_failure():
    quiet = number(0.0, 0.0, 0.0, doubt="1 of 1000 synthetic images are flagged")
    loud = number(1.0, 1.0, 1.0, doubt="1 decoy is flagged")
    judged = judge({SPLIT: SOUND, A: quiet, B: loud}, profile(A, B))
    assert (judged["a"].verdict, judged["b"].verdict) == (Verdict.INCONCLUSIVE, Verdict.FAIL)
    assert "1 of 1000" in judged["a"].reason


def test_an_unsound_split_voids_only_the_checks_that_stand_on_it():
    stands = Fake("a", needs_sound_split=True)
    split = unable("split", Direction.LOWER, "two patients on both sides")
    judged = judge({SPLIT: split, stands: number(1, 1, 1, p_value=0.0), B: number(1, 1, 1)}, profile(stands, B))
    assert (judged["a"].verdict, judged["b"].verdict) == (Verdict.INCONCLUSIVE, Verdict.FAIL)
    assert "two patients on both sides" in judged["a"].reason


def test_the_coarse_row_counts_only_where_the_profile_allows_it():
    coarse = number(0.12, 0.1, 0.15, fallback=True)
    assert judge({SPLIT: SOUND, A: coarse}, profile(A))["a"].verdict is Verdict.INCONCLUSIVE
    assert judge({SPLIT: SOUND, A: coarse}, profile(A, fallback=0.2))["a"].verdict is Verdict.PASS


def finding(check, verdict, required=True):
    statistic = Statistic("x", 0.0, 0.0, 0.0, 0.95, Direction.LOWER)
    return Finding(
        check.id, "?", check.criterion, verdict, required, statistic, Baseline(), None, Power(), {}, 0, 0.0, "because"
    )


def test_overall_verdict_is_the_worst_and_keeps_fidelity_apart():
    fidelity = Fake("f", Criterion.FIDELITY)
    known = (A, B, fidelity)
    p = profile(*known)
    passed = [finding(check, Verdict.PASS) for check in known]
    assert overall(passed, p, fidelity=False, known=known)[0] is Verdict.PASS
    ugly = [*passed[:2], finding(fidelity, Verdict.FAIL)]
    assert overall(ugly, p, fidelity=False, known=known)[0] is Verdict.PASS
    assert overall(ugly, p, fidelity=True, known=known)[0] is Verdict.FAIL
    open_ = [finding(A, Verdict.INCONCLUSIVE), finding(B, Verdict.FAIL)]
    assert overall(open_, p, fidelity=False, known=known) == (Verdict.FAIL, "failed: b")
    assert overall(open_[:1], p, fidelity=False, known=(A,))[0] is Verdict.INCONCLUSIVE


def test_a_required_check_that_was_not_run_is_inconclusive_and_no_check_at_all_too():
    verdict, reason = overall([finding(A, Verdict.PASS)], profile(A, B), fidelity=False, known=(A, B))
    assert (verdict, reason) == (Verdict.INCONCLUSIVE, "required checks were not run: b")
    inapplicable = replace(finding(A, Verdict.INCONCLUSIVE), required=False)
    assert overall([inapplicable], profile(A), fidelity=False, known=(A,))[0] is Verdict.INCONCLUSIVE
