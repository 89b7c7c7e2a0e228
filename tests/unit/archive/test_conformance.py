"""The validators' words reach the caller: a broken file is not silently fine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthrelease.archive import conformance
from synthrelease.dicom.release.instances import image_of
from synthrelease.dicom.release.settings import ArchiveSettings
from synthrelease.errors import UnsuitableData

SETTINGS = ArchiveSettings("r1", (), ("normal",), (0.5, 0.5), "0.1.0", "20200101")


def test_a_missing_attribute_is_reported(tmp_path: Path) -> None:
    image = image_of(np.zeros((8, 8), np.uint16), 1, SETTINGS)
    del image.BurnedInAnnotation
    image.save_as(tmp_path / "I", enforce_file_format=True)
    assert any("BurnedInAnnotation" in problem for problem in conformance.instance_problems(tmp_path / "I"))


def test_a_file_that_is_not_dicom_is_reported(tmp_path: Path) -> None:
    (tmp_path / "I").write_bytes(b"not DICOM at all")
    assert conformance.instance_problems(tmp_path / "I")


def test_a_uid_used_twice_is_reported(tmp_path: Path) -> None:
    for number, name in ((1, "A"), (2, "B")):
        image = image_of(np.zeros((8, 8), np.uint16), number, SETTINGS)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
        image.save_as(tmp_path / name, enforce_file_format=True)
    assert conformance.archive_problems([tmp_path / "A", tmp_path / "B"])


def test_without_the_validator_the_reader_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsuitableData, match=r"synthrelease\[dev\]"):
        conformance.program("dciodvfy")
