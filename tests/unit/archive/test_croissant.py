"""croissant.json: valid for mlcroissant without a network, and its records are the rows of labels.csv."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthrelease.archive.columns import columns
from synthrelease.archive.croissant import croissant_json
from synthrelease.archive.texts import labels_csv
from synthrelease.dicom.findings import finding_code
from synthrelease.dicom.release.layout import FileKind, parts_of, path_of, place_of
from synthrelease.dicom.release.settings import ArchiveSettings

mlcroissant = pytest.importorskip("mlcroissant")

SETTINGS = ArchiveSettings(
    release_name="unit test 1",
    segments=("right_lung", "nodule"),
    classes=("normal", "nodule", "smudge"),
    spacing_mm=(1.4, 1.4),
    software_version="0.1.0",
    study_date="20010203",
    study_time="040506",
    edition="0123456789abcdef",
    images=500,
)
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "reports": {"reports": True, "images_per_patient": 3},
    "own files": {"one_file_per_segment": True},
    "no masks": {"segments": ()},
    "odd words": {"license": 'https://example.org/a "b"', "classes": ("größe", "b, c", 'd "e"'), "edition": "a b"},
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("croissant.json must be valid without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows_and_document(settings: ArchiveSettings) -> tuple[bytes, bytes]:
    """labels.csv and croissant.json; class k is given to every k-th image in turn, the last class to none."""
    labels = [number % (len(settings.classes) - 1) for number in range(settings.images)]
    table = b"".join(labels_csv(labels, settings))
    counts = {name: labels.count(index) for index, name in enumerate(settings.classes)}
    return table, croissant_json(settings, counts, {"labels.csv": hashlib.sha256(table).hexdigest()})


def load(folder: Path, table: bytes, document: bytes) -> Any:
    (folder / "labels.csv").write_bytes(table)
    (folder / "croissant.json").write_bytes(document)
    return mlcroissant.Dataset(str(folder / "croissant.json"))


def texts(records: Iterator[dict[str, Any]]) -> list[dict[str, str]]:
    """Records with plain names and texts; mlcroissant gives texts of a table as bytes and an empty cell as None."""
    return [
        {
            key.partition("/")[2]: value.decode() if isinstance(value, bytes) else value or ""
            for key, value in row.items()
        }
        for row in records
    ]


@pytest.mark.parametrize("form", FORMS)
def test_it_validates_and_its_records_are_the_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str) -> None:
    settings = replace(SETTINGS, **FORMS[form])
    table, document = rows_and_document(settings)
    with caplog.at_level(logging.WARNING):
        dataset = load(tmp_path, table, document)
        records = texts(dataset.records("labels"))
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    assert [record.getMessage() for record in caplog.records] == []
    assert dataset.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.0"
    assert records == list(csv.DictReader(io.StringIO(table.decode())))


def test_the_classes_are_an_enumeration_with_codes(tmp_path: Path) -> None:
    dataset = load(tmp_path, *rows_and_document(SETTINGS))
    records = [{key.partition("/")[2]: value for key, value in record.items()} for record in dataset.records("classes")]
    assert [(record["name"], record["images"]) for record in records] == [
        ("normal", 250),
        ("nodule", 250),
        ("smudge", 0),
    ]
    nodule = finding_code("nodule")
    assert nodule is not None
    assert (records[1]["code"], records[1]["scheme"], records[1]["meaning"]) == tuple(nodule[:3])
    assert records[2]["code"] == records[2]["scheme"] == records[2]["meaning"] == ""


@pytest.mark.parametrize("form", FORMS)
def test_the_patterns_find_every_dicom_file_once(tmp_path: Path, form: str) -> None:
    settings = replace(SETTINGS, images=7, **FORMS[form])
    expected: dict[str, set[str]] = {}
    for kind, name in ((FileKind.IMAGE, "images"), (FileKind.MASK, "masks"), (FileKind.REPORT, "reports")):
        for part in range(parts_of(kind, settings)):
            paths = {path_of(place_of(number, settings, kind, part), settings) for number in range(1, 8)}
            expected[name] = expected.get(name, set()) | paths
    for path in set().union(*expected.values()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    document = json.loads(rows_and_document(settings)[1])
    found = {
        entry["@id"]: {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob(entry["includes"])}
        for entry in document["distribution"]
        if entry["@type"] == "cr:FileSet"
    }
    assert found == expected


def test_every_column_is_described_and_the_table_is_named_by_its_digest() -> None:
    table, document = rows_and_document(replace(SETTINGS, reports=True))
    parsed = json.loads(document)
    (labels,) = (entry for entry in parsed["recordSet"] if entry["@id"] == "labels")
    header = table.decode().splitlines()[0].split(",")
    assert [field["name"] for field in labels["field"]] == header
    assert [field["description"] for field in labels["field"]] == [
        column.description for column in columns(replace(SETTINGS, reports=True))
    ]
    (file,) = (entry for entry in parsed["distribution"] if entry["@type"] == "cr:FileObject")
    assert (file["contentUrl"], file["sha256"]) == ("labels.csv", hashlib.sha256(table).hexdigest())


def test_it_says_synthetic_and_dates_itself_by_the_release() -> None:
    parsed = json.loads(rows_and_document(SETTINGS)[1])
    assert parsed["rai:dataCollectionType"] == "Synthetic"
    assert parsed["datePublished"] == "2001-02-03"
    assert parsed["version"] == "1.0.0+0123456789ab"
    assert parsed["license"] == SETTINGS.license
    assert "year = {2001}" in parsed["citeAs"]


def test_the_same_archive_gives_the_same_bytes() -> None:
    assert rows_and_document(SETTINGS) == rows_and_document(replace(SETTINGS))
