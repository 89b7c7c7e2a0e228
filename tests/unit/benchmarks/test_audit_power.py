"""Worlds of which one check is measured anew: Holm over old and new p-values, and nothing joined that does not fit."""

from __future__ import annotations

import pytest

from benchmarks.audit_power import figures, reference
from benchmarks.audit_power.again import joined, same_but

WORLD = {
    "style": "as_it_is",
    "size": "160 synthetic, 70 + 70 patients",
    "failed": ["local_copies"],
    "p": {"near_copies": 1.0, "local_copies": 0.001, "neighbour_permutation": 0.3, "vulnerability": 0.02},
    "unable": [],
    "seconds": 9.0,
}


def test_a_world_is_judged_by_what_one_check_says_now_and_the_others_said():
    acquitted = joined(WORLD, "local_copies", 0.4, able=True)
    assert acquitted["failed"] == []
    assert acquitted["p"] == WORLD["p"] | {"local_copies": 0.4}
    assert acquitted["anew"] == "local_copies"
    again = joined(WORLD, "local_copies", 0.001, able=True)
    assert again["failed"] == ["local_copies"]
    assert again["unable"] == []


def test_a_check_that_can_say_nothing_leaves_the_family_and_lightens_the_correction():
    world = WORLD | {"p": WORLD["p"] | {"vulnerability": 0.015}, "failed": []}
    assert joined(world, "local_copies", 1.0, able=True)["failed"] == []
    silent = joined(world, "local_copies", None, able=False)
    assert silent["failed"] == ["vulnerability"]
    assert silent["unable"] == ["local_copies"]
    assert "local_copies" not in silent["p"]


def test_runs_are_joined_only_where_all_other_checks_said_the_same():
    before = {"alarm/phantom/0": WORLD, "alarm/phantom/1": WORLD, "recall/phantom/0": {}}
    now = {"alarm/phantom/0": WORLD | {"p": WORLD["p"] | {"local_copies": 0.7}, "failed": []}}
    assert same_but("local_copies", before, now) == 1
    with pytest.raises(ValueError, match="other checks"):
        same_but("near_copies", before, now)
    with pytest.raises(ValueError, match="no world"):
        same_but("local_copies", before, {"alarm/phantom/1": joined(WORLD, "local_copies", 0.5, able=True)})


def test_the_page_tells_which_worlds_were_not_judged_in_full():
    results = {"alarm/phantom/0": WORLD, "alarm/phantom/1": joined(WORLD, "local_copies", 0.5, able=True)}
    found = figures.figures(results)
    assert found["by_source"]["phantom"]["false_alarms"]["judged_in_full"] == 1
    (line,) = reference.again_lines(found)
    assert line.startswith(
        "Of the 2 phantom worlds 1 were judged in full. Of the other 1 only local_copies was measured"
    )
    assert not reference.again_lines(figures.figures({"alarm/phantom/0": WORLD}))
