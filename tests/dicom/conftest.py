"""Headers that the writing tests share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synthrelease.dicom.image import ImageHeader
from tests.dicom.headers import PRIVATE, SYNTHETIC


@pytest.fixture(scope="session")
def synthetic_header() -> ImageHeader:
    """A synthetic image: uneven spacing, one fixed instant, short UIDs that are easy to look for."""
    return replace(SYNTHETIC, slice_thickness_mm=2.5)


@pytest.fixture(scope="session")
def private_header() -> ImageHeader:
    """What a hospital might have written; nothing in it is synthetic."""
    return replace(PRIVATE, slice_thickness_mm=2.5)
