"""Pixels and outlines as they appear on the page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from synthrelease.report import ContactSheet
from synthrelease.report.pictures import difference, grey, outline, picture, stamped


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def test_the_range_maps_to_black_and_white_and_nothing_wraps() -> None:
    assert grey(np.array([[-5.0, -1.0, 0.0, 1.0, 5.0, np.nan]])).tolist() == [[0, 0, 128, 255, 255, 0]]


def test_a_picture_keeps_its_pixels() -> None:
    pixels = np.linspace(-1, 1, 48).reshape(6, 8)
    assert np.array_equal(decoded(picture(pixels)), grey(pixels))


def test_a_stamp_is_burnt_into_the_pixels_and_leaves_the_upper_part() -> None:
    pixels = np.zeros((32, 32))
    shown = decoded(stamped(pixels))
    assert shown.shape == (192, 192, 3)
    assert np.all(shown[:150] == 128)
    assert len(np.unique(shown[150:].reshape(-1, 3), axis=0)) > 2


def test_equal_images_differ_nowhere_and_opposite_ones_everywhere() -> None:
    ones = np.ones((8, 8))
    assert np.all(decoded(difference(ones, ones))[:150] == 255)
    assert np.all(decoded(difference(ones, -ones))[:150] == [70, 10, 0])


def test_an_outline_follows_the_edges_of_a_mask() -> None:
    mask = np.zeros((5, 5))
    mask[1:3, 1:4] = 1
    path = outline(mask)
    assert sorted(re.findall(r"M\d+ \d+[hv]\d+", path)) == ["M1 1h3", "M1 1v2", "M1 3h3", "M4 1v2"]
    assert outline(np.zeros((4, 4))) == ""


def test_an_outline_at_the_border_is_closed() -> None:
    lengths = [int(run) for run in re.findall(r"[hv](\d+)", outline(np.ones((3, 4))))]
    assert sorted(lengths) == [3, 3, 4, 4]


def test_a_sheet_of_mismatched_arrays_is_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        ContactSheet(np.zeros((3, 8, 8)), ["a"])
    with pytest.raises(ValueError, match="segments"):
        ContactSheet(np.zeros((1, 8, 8)), ["a"], np.zeros((1, 2, 8, 8)), ["lung"])
