"""Flags: when p-values of images count as copies, cast doubt, or void the test."""

from __future__ import annotations

import numpy as np

from synthrelease.audit.copies import Flags

CLEAN = np.linspace(0.002, 1.0, 500)


def with_smallest(*values: float) -> np.ndarray:
    p = CLEAN.copy()
    p[: len(values)] = values
    return p


def test_an_innocent_archive_has_no_flag_and_no_doubt() -> None:
    flags = Flags.of(CLEAN, CLEAN)
    assert (flags.copies, flags.decoys, flags.unable, flags.doubt) == (0, 0, "", "")
    assert flags.smallest == 1.0


def test_a_flag_casts_doubt_until_somebody_looks() -> None:
    flags = Flags.of(with_smallest(6e-5), CLEAN)
    assert (flags.copies, flags.unable) == (1, "")
    assert "1 of 500 synthetic images" in flags.doubt


def test_a_decoy_voids_the_test_but_not_a_copy_that_is_far_beyond_it() -> None:
    decoys = with_smallest(1e-6)
    assert "holdout" in Flags.of(CLEAN, decoys).unable
    assert "holdout" in Flags.of(with_smallest(1e-7), decoys).unable
    beyond = Flags.of(with_smallest(1e-12), decoys)
    assert (beyond.unable, beyond.copies) == ("", 1)
    assert "holdout" in beyond.doubt


def test_a_decoy_at_the_level_of_chance_holds_nobody_up() -> None:
    assert Flags.of(CLEAN, with_smallest(6e-5)).decoys == 0
