"""Folders named for an audit: the same one twice, a copy, one inside the other, swapped, or changed meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.progress import Silent
from synthrelease.workflow.given import (
    contents_of,
    refuse_same_contents,
    refuse_same_place,
    refuse_swapped,
    require_unchanged,
)


def folder(path: Path, *contents: str) -> Path:
    path.mkdir(parents=True)
    for number, content in enumerate(contents):
        (path / f"{path.name}{number}.png").write_text(content)
    return path


def dicom(path: Path, synthetic: str | None) -> None:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = generate_uid()
    if synthetic is not None:
        dataset.SyntheticData = synthetic
    dataset.PatientID = "X"
    dataset.save_as(path, enforce_file_format=True)


def held(**folders: Path):
    return {role: contents_of(role, path, Silent(), 2) for role, path in folders.items()}


def test_one_folder_cannot_be_two_sides(tmp_path):
    real = folder(tmp_path / "real", "a")
    inside = folder(real / "synthetic", "b")
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(UsageError, match="same folder"):
        refuse_same_place({"real": real, "synthetic": tmp_path / "link"})
    with pytest.raises(UsageError, match="same folder"):
        refuse_same_place({"real": real, "holdout": real / ".." / "real"})
    with pytest.raises(UsageError, match="the synthetic folder lies in the real folder"):
        refuse_same_place({"real": real, "synthetic": inside})
    with pytest.raises(UsageError, match="the real folder lies in the synthetic folder"):
        refuse_same_place({"real": inside, "synthetic": real})
    refuse_same_place({"real": real, "synthetic": folder(tmp_path / "real2", "b")})


def test_a_copy_of_a_folder_is_no_other_side_whatever_its_files_are_called(tmp_path):
    real, other = folder(tmp_path / "real", "a", "b"), folder(tmp_path / "other", "b", "a")
    with pytest.raises(UsageError, match="hold the same files"):
        refuse_same_contents(held(real=real, synthetic=other))
    (other / "other0.png").write_text("c")
    refuse_same_contents(held(real=real, synthetic=other))


@pytest.mark.parametrize("change", ["content", "name", "more", "less", "none"])
def test_a_folder_that_changes_meanwhile_voids_the_findings(tmp_path, change):
    real = folder(tmp_path / "real", "a", "b")
    before = held(real=real)
    match change:
        case "content":
            (real / "real0.png").write_text("x")
        case "name":
            (real / "real0.png").rename(real / "z.png")
        case "more":
            (real / "c.png").write_text("c")
        case "less":
            (real / "real0.png").unlink()
    if change == "none":
        require_unchanged({"real": real}, before, Silent(), 1)
    else:
        with pytest.raises(IntegrityError, match="changed while it was audited"):
            require_unchanged({"real": real}, before, Silent(), 1)


def test_pictures_that_a_table_names_elsewhere_are_part_of_the_source(tmp_path):
    folder(tmp_path / "pixels", "a", "b")
    table = tmp_path / "list" / "labels.csv"
    table.parent.mkdir()
    table.write_text("image,patient_id,label,mask_lung\n../pixels/pixels0.png,1,normal,../pixels/pixels1.png\n")
    for source in (table, table.parent):
        before = held(real=source)
        assert before["real"].files == 3
        (tmp_path / "pixels" / "pixels1.png").write_text("changed")
        with pytest.raises(IntegrityError):
            require_unchanged({"real": source}, before, Silent(), 1)
        (tmp_path / "pixels" / "pixels1.png").write_text("b")


def test_a_real_side_that_calls_itself_synthetic_is_swapped(tmp_path):
    sides = {}
    for role, marks in (("real", [None, "NO", None]), ("synthetic", ["YES", "YES"])):
        (tmp_path / role).mkdir()
        for number, mark in enumerate(marks):
            dicom(tmp_path / role / f"{number}.dcm", mark)
        sides[role] = tmp_path / role
    refuse_swapped(sides)
    with pytest.raises(UsageError, match="swapped"):
        refuse_swapped({"real": sides["synthetic"], "synthetic": sides["real"]})
    with pytest.raises(UsageError, match="is it a synthetic archive"):
        refuse_swapped({"real": sides["real"], "holdout": sides["synthetic"]})
    shutil.copy(sides["synthetic"] / "0.dcm", sides["real"] / "9.dcm")
    refuse_swapped(sides)  # one stray file among many is found by the checks, and is no swap
