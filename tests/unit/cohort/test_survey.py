"""Folders of unknown origin tell their classes and masks, so that they can be audited without a policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthrelease.cohort.naming import UNLABELLED, known_class
from synthrelease.cohort.phantom import write_phantom_cohort
from synthrelease.cohort.survey import settings_for
from synthrelease.cohort.table import rows_of_table
from synthrelease.errors import UnsuitableData


def pictures(folder: Path, header: str, *rows: str) -> Path:
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(folder / "a.png")
    (folder / "table.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_masks_are_those_that_every_folder_has_and_classes_those_that_any_has(tmp_path: Path) -> None:
    one = pictures(
        tmp_path / "one", "image,label,mask_lung,mask_heart", "a.png,Pleural Effusion,a.png,a.png", "a.png,normal,,"
    )
    two = pictures(tmp_path / "two", "image,label,mask_lung", "a.png,pleural_effusion,a.png")
    settings = settings_for([one, two], 32)
    assert (settings.classes, settings.segments, settings.resolution) == (("normal", "pleural_effusion"), ("lung",), 32)


def test_where_a_folder_has_no_labels_every_image_of_all_is_read_as_one_class(tmp_path: Path) -> None:
    labelled = pictures(tmp_path / "labelled", "image,patient_id,label", "a.png,1,normal")
    (tmp_path / "bare").mkdir()
    settings = settings_for([labelled, tmp_path / "bare"], 32)
    assert settings.classes == (UNLABELLED,)
    assert [row.label for row in rows_of_table(labelled / "table.csv", settings)] == ["normal"]
    assert known_class("normal", settings.classes) == known_class("", settings.classes) == UNLABELLED


def test_without_tables_all_images_are_one_class(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    settings = settings_for([tmp_path / "plain"], 64)
    assert (settings.classes, settings.segments) == ((UNLABELLED,), ())


def test_a_dicom_folder_tells_its_segments(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "phantom", patients=20, seed=0, size=32)
    settings = settings_for([tmp_path / "phantom"], 32)
    assert settings.classes == ("effusion", "nodule", "normal")
    assert {"right_lung", "left_lung", "heart"} <= set(settings.segments)


def test_a_column_that_is_no_class_is_refused(tmp_path: Path) -> None:
    many = pictures(tmp_path / "many", "image,label", *(f"a.png,value {index}" for index in range(70)))
    with pytest.raises(UnsuitableData, match="70 classes"):
        settings_for([many], 32)
