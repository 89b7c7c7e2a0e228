"""A cell of a label table as a class, where images carry several findings at once."""

from __future__ import annotations

import csv
import io
import os
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthrelease.cohort.dicom_work import DicomWork
from synthrelease.cohort.labels import labels_from
from synthrelease.cohort.naming import Naming, known_class
from synthrelease.cohort.readers import reader_for
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal
from tests.unit.cohort.conftest import DicomCohort

Make = Callable[..., CohortSettings]
FINDINGS: dict[str, Any] = {
    "no_finding": {},
    "effusion": {"present": ["effusion"]},
    "infiltration": {"present": ["infiltration"], "either": ["pleural_thickening"]},
    "effusion_and_infiltration": {"present": ["effusion", "infiltration"]},
}
SEVERAL: dict[str, Any] = {
    "classes": list(FINDINGS),
    "findings": FINDINGS,
    "label": {"column": "finding_labels", "separator": "|"},
    "segments": [],
}


def cohort(**changes: Any) -> CohortSettings:
    values = {"name": "test", "source": "x", "resolution": 64, **SEVERAL, **changes}
    return CohortSettings.model_validate(values, strict=False)


def naming(**label: Any) -> Naming:
    return Naming.of(cohort(label={**SEVERAL["label"], **label}))


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("No Finding", "no_finding"),
        ("Effusion", "effusion"),
        ("Effusion|Infiltration", "effusion_and_infiltration"),
        ("infiltration | EFFUSION", "effusion_and_infiltration"),
        ("Infiltration|Pleural_Thickening", "infiltration"),
        ("Infiltration|pleural thickening", "infiltration"),
        ("Effusion|Effusion", "effusion"),
        ("Effusion|", "effusion"),
        ("effusion_and_infiltration", "effusion_and_infiltration"),  # the archive's own word
        ("Effusion|Pleural_Thickening", Reason.NO_CLASS),
        ("Pleural_Thickening", Reason.NO_CLASS),
        ("Hernia", Reason.UNKNOWN_FINDING),
        ("Effusion|Hernia", Reason.UNKNOWN_FINDING),
        ("No Finding|Effusion", Reason.CONTRADICTORY),
        ("No Finding|Hernia", Reason.CONTRADICTORY),
        ("", Reason.NO_LABEL),
        ("  ", Reason.NO_LABEL),
    ],
)
def test_a_cell_is_the_class_that_takes_just_its_findings(cell: str, found: str | Reason) -> None:
    assert naming().class_of(cell) == found


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("Effusion|Hernia", "effusion"),
        ("Effusion|Infiltration|Hernia", "effusion_and_infiltration"),
        ("Hernia", Reason.UNKNOWN_FINDING),
        ("Hernia|Mass", Reason.UNKNOWN_FINDING),
        ("No Finding|Hernia", Reason.CONTRADICTORY),
    ],
)
def test_an_overlooked_finding_never_makes_an_image_one_without_findings(cell: str, found: str | Reason) -> None:
    assert naming(others="ignore").class_of(cell) == found


def test_nor_does_it_beside_one_that_may_be_there_or_not() -> None:
    table = {"clear": {"either": ["scar"]}, "mass": {"present": ["mass"]}}
    asked = cohort(classes=list(table), findings=table, label={"separator": "|", "others": "ignore"})
    assert Naming.of(asked).class_of("scar") == "clear"
    assert Naming.of(asked).class_of("scar|hernia") is Reason.NO_CLASS
    assert Naming.of(asked).class_of("mass|hernia") == "mass"


WORDS = ["effusion", "infiltration", "pleural_thickening", "hernia", "no_finding"]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_spelling_of_the_parts_do_not_matter(parts: list[str], random: Any) -> None:
    shuffled = [part.replace("_", random.choice(" _-")).title() for part in parts]
    random.shuffle(shuffled)
    one, other = "|".join(parts), "|".join(shuffled)
    assert naming().class_of(one) == naming().class_of(other)
    assert naming().meaning(one) == naming().meaning(other)


def test_without_a_separator_a_cell_is_one_finding() -> None:
    assert naming(separator=None).class_of("Effusion") == "effusion"
    assert naming(separator=None).class_of("Effusion|Infiltration") is Reason.UNKNOWN_FINDING


@given(st.text(max_size=12))
def test_where_a_class_is_a_finding_a_cell_is_its_name(cell: str) -> None:
    plain = cohort(findings=None, label={})
    assert Naming.of(plain).class_of(cell) == known_class(cell, plain.classes)


def test_two_rows_of_a_patient_may_name_the_findings_in_any_order(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("PatientID,f\nA,Effusion|Infiltration\nA,Infiltration|Effusion\nB,Effusion\nB,No Finding\n")
    labels = labels_from(table, naming(), "PatientID", "f")
    assert labels.of("A") == "effusion_and_infiltration"
    assert labels.of("B") is Reason.NO_LABEL
    assert labels.disputed == {"B"}


def pictures(folder: Path, cells: list[str]) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image,patient_id,finding_labels"]
    for index, cell in enumerate(cells):
        Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(folder / f"{index}.png")
        lines.append(f"{index}.png,P{index},{cell}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def read(settings: CohortSettings, source: Path) -> tuple[list[str], Counter[Reason]]:
    found = list(reader_for(settings, source).read())
    refused = Counter(each.reason for each in found if isinstance(each, Refusal))
    return [each.label for each in found if not isinstance(each, Refusal)], refused


def test_a_table_of_pictures_is_read_and_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    cells = ["No Finding", "Effusion", "Infiltration|Effusion", "Mass", "Effusion|Mass", "Pleural_Thickening"]
    found, refused = read(cohort(reader="table"), pictures(tmp_path, cells))
    assert found == ["no_finding", "effusion", "effusion_and_infiltration"]
    assert refused == {Reason.UNKNOWN_FINDING: 2, Reason.NO_CLASS: 1}
    assert not any("P3" in reason for reason in refused)


def test_a_dicom_folder_is_read_by_its_table(dicom: DicomCohort) -> None:
    for index, cell in enumerate(["No Finding", "Effusion|Infiltration", "Hernia"]):
        dicom.add(f"P{index}", label=cell, names=())
    found, refused = read(cohort(label={"separator": "|"}), dicom.finish())
    assert sorted(found) == ["effusion_and_infiltration", "no_finding"]
    assert refused == {Reason.UNKNOWN_FINDING: 1}


def test_several_values_of_an_attribute_are_parted_as_in_the_file(dicom: DicomCohort) -> None:
    for index, values in enumerate([["EFFUSION", "INFILTRATION"], "EFFUSION", "NO FINDING"]):
        dicom.add(f"P{index}", label=None, names=(), ImageType=values)
    found, _ = read(cohort(label={"attribute": "ImageType", "separator": "\\"}), dicom.folder)
    assert sorted(found) == ["effusion", "effusion_and_infiltration", "no_finding"]


def test_work_travels_to_other_processes_although_its_settings_hold_a_table() -> None:
    work = pickle.loads(pickle.dumps(DicomWork(cohort())))
    assert work._naming.class_of("Effusion|Infiltration") == "effusion_and_infiltration"


# --- the radiographs of many findings, where they are at hand --------------------------------------------------------


@pytest.mark.real
def test_radiographs_of_fourteen_findings_are_read_as_four_classes(tmp_path: Path) -> None:
    home = os.environ.get("SYNTHRELEASE_DATA")
    source = Path(home or "/nowhere") / "cxr-nih1000-64"
    if not source.is_dir():
        pytest.skip("SYNTHRELEASE_DATA does not name the images")
    with zipfile.ZipFile(source / "images_64.zip") as packed:
        packed.extractall(tmp_path)
    (tmp_path / "labels.csv").write_bytes((source / "labels.csv").read_bytes())
    where = {path.name: path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    with (source / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({**row, "image": where[row["image"]]} for row in rows)
    (tmp_path / "labels.csv").write_text(text.getvalue())
    found, refused = read(cohort(reader="table"), tmp_path)
    cells = Counter(frozenset(row["finding_labels"].split("|")) for row in rows)
    told = Counter(found)
    assert told["no_finding"] == cells[frozenset({"No Finding"})] > 100
    assert told["effusion"] == cells[frozenset({"Effusion"})]
    assert told["effusion_and_infiltration"] == cells[frozenset({"Effusion", "Infiltration"})] > 0
    thick = cells[frozenset({"Infiltration", "Pleural_Thickening"})]
    assert told["infiltration"] == cells[frozenset({"Infiltration"})] + thick
    assert sum(told.values()) + sum(refused.values()) == len(rows)
