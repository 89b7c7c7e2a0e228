"""Sex, age band and scanner: read from headers and tables, coarse, kept in the private store and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from synthrelease.audit.case import image_set
from synthrelease.cohort.attributes import age_band, attributes_of, scanner_of
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import IDS, MANIFEST, CohortStore
from synthrelease.policy.schema import CohortSettings

Make = Callable[..., CohortSettings]
DRAW = SplitDraw(0.3, "00112233")


def test_ages_are_decades_and_the_oldest_are_one_band() -> None:
    assert [age_band(a) for a in ("000Y", "011M", "089Y", "090Y", "101Y", " 47 ", "47.5", "", "4711Y")] == [
        *("0-9", "0-9", "80-89", "90+", "90+", "40-49", "40-49", "", ""),
    ]


def test_only_what_is_told_is_kept() -> None:
    assert attributes_of("?", "047Y", scanner_of("ACME", "")) == {"age": "40-49"}


def test_headers_give_attributes_to_the_store_and_the_manifest_does_not_tell(
    dicom: Any, settings: Make, tmp_path: Path
) -> None:
    for i in range(20):
        told = {"PatientSex": "FM"[i % 2], "PatientAge": f"{30 + i:03d}Y", "ManufacturerModelName": "Ray 9"}
        dicom.add(f"P{i}", label=("normal", "sick")[i % 2], **(told if i else {}))
    store = ingest(settings(), dicom.finish(), tmp_path / "store", split=DRAW)
    sex = dict(zip((store.patient_ids[p] for p in store.patient), store.attributes["sex"], strict=True))
    assert [sex[f"HOSP|P{i}"] for i in (1, 2, 3)] == ["M", "F", "M"]
    assert set(store.attributes["age"]) <= {"30-39", "40-49", ""}
    assert all("Ray 9" in scanner for scanner in store.attributes["scanner"][1:])
    rows = np.array([3, 1])
    assert image_set(store, rows).attributes["sex"].tolist() == store.attributes["sex"][rows].tolist()
    assert not any(word in (store.folder / MANIFEST).read_text() for word in ("Ray", "40-49"))


def test_a_tables_columns_give_attributes(pictures: Any, settings: Make, tmp_path: Path) -> None:
    for i in range(20):
        pictures.add(f"{i}", ("normal", "sick")[i % 2], Patient_Sex="male", age=str(10 * (i % 2) + 35))
    store = ingest(settings(), pictures.finish(), tmp_path / "store", split=DRAW)
    assert {name: sorted(set(values)) for name, values in store.attributes.items()} == {
        "sex": ["M"],
        "age": ["30-39", "40-49"],
    }


def test_a_store_from_before_attributes_opens_without_them(pictures: Any, settings: Make, tmp_path: Path) -> None:
    for i in range(20):
        pictures.add(f"{i}", ("normal", "sick")[i % 2], sex="M")
    folder = ingest(settings(), pictures.finish(), tmp_path / "store", split=DRAW).folder
    ids = json.loads((folder / IDS).read_text())
    del ids["attributes"]
    (folder / IDS).write_text(json.dumps(ids))
    assert CohortStore.open(folder).attributes == {}
