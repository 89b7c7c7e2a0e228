"""Pixel mapping and the rules of the archive settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synthrelease.archive.patient import ArchiveSettings, levels_of
from synthrelease.errors import UnsuitableData, UsageError

GOOD: dict[str, Any] = {
    "release_name": "r1",
    "segments": ("lung", "nodule"),
    "classes": ("normal", "nodule"),
    "spacing_mm": (0.5, 0.5),
    "software_version": "0.1.0",
    "study_date": "20200101",
}


def test_pixels_map_ends_and_middle_onto_twelve_bits() -> None:
    levels = levels_of(np.array([-1.0, 0.0, 1.0, -7.0, 7.0], np.float32))
    assert levels.dtype == np.uint16
    assert levels.tolist() == [0, 2048, 4095, 0, 4095]


def test_every_level_survives_the_round_trip_through_float32() -> None:
    levels = np.arange(4096, dtype=np.uint16)
    assert np.array_equal(levels_of((levels / 2047.5 - 1).astype(np.float32)), levels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(UnsuitableData, match="not finite"):
        levels_of(np.array([0.0, value], np.float32))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("release_name", ""),
        ("release_name", "a\\b"),
        ("release_name", "x" * 51),
        ("release_name", "ends "),
        ("segments", ("lung", "lung")),
        ("segments", ("a\\b",)),
        ("segments", ("x" * 65,)),
        ("classes", ()),
        ("classes", ("a", "a")),
        ("spacing_mm", (0.0, 1.0)),
        ("spacing_mm", (float("nan"), 1.0)),
        ("study_date", "2020-01-01"),
        ("study_date", "20201301"),
        ("study_time", "250000"),
        ("body_part", "chest"),
        ("software", ""),
        ("software_version", "1\\2"),
    ],
)
def test_settings_that_cannot_be_written_are_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError):
        ArchiveSettings(**(GOOD | {key: value}))


def test_all_broken_settings_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"release_name.*no class.*study_time"):
        ArchiveSettings(**(GOOD | {"release_name": "", "classes": (), "study_time": "x"}))
