"""The phantom cohort on disk: real DICOM that anyone can read back, whoever wrote it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from synthrelease.cohort.phantom import SEGMENTS, simulate_patient, write_phantom_cohort
from synthrelease.errors import UsageError

PATIENTS, SEED, SIZE = 6, 5, 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("phantom") / "cohort"
    write_phantom_cohort(target, patients=PATIENTS, seed=SEED, size=SIZE)
    return target


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pixels_survive_the_round_trip_to_12_bits(folder: Path) -> None:
    for index in range(PATIENTS):
        patient = simulate_patient(SEED, index, SIZE)
        files = sorted((folder / patient.patient_id).glob("IMG*.dcm"))
        assert len(files) == len(patient.images)
        for path, image in zip(files, patient.images, strict=True):
            read = pydicom.dcmread(path)
            assert (read.Modality, read.PatientID) == ("DX", patient.patient_id)
            assert np.abs(read.pixel_array / 4095 - image.pixels).max() <= 0.5 / 4095 + 1e-6


def test_masks_survive_the_round_trip_and_point_to_their_image(folder: Path) -> None:
    for index in range(PATIENTS):
        patient = simulate_patient(SEED, index, SIZE)
        home = folder / patient.patient_id
        for number, image in enumerate(patient.images, start=1):
            source = pydicom.dcmread(home / f"IMG{number:02d}.dcm", stop_before_pixels=True)
            read = pydicom.dcmread(home / f"SEG{number:02d}.dcm")
            assert read.Modality == "SEG"
            assert [item.SegmentLabel for item in read.SegmentSequence] == list(SEGMENTS)
            frames = {
                frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber: plane
                for frame, plane in zip(read.PerFrameFunctionalGroupsSequence, read.pixel_array, strict=True)
            }
            for segment, name in enumerate(SEGMENTS, start=1):
                assert np.array_equal(frames[segment] > 0, image.masks[name])
            named = read.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
            assert named == source.SOPInstanceUID
            assert read.PatientID == source.PatientID


def test_tables_name_every_image_once_with_its_label_and_landmarks(folder: Path) -> None:
    labels = _rows(folder / "labels.csv")
    images = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path.parent.name
        for path in folder.rglob("IMG*.dcm")
    }
    assert {row["SOPInstanceUID"]: row["PatientID"] for row in labels} == images
    assert len(labels) == len(images)
    expected = {f"PAT{index:05d}": simulate_patient(SEED, index, SIZE) for index in range(PATIENTS)}
    assert all(row["label"] == expected[row["PatientID"]].finding for row in labels)
    landmarks = _rows(folder / "landmarks.csv")
    counts = Counter(row["SOPInstanceUID"] for row in landmarks)
    assert set(counts) == set(images)
    first = labels[0]
    truth = expected[first["PatientID"]].images[0].landmarks
    written = {
        row["landmark"]: (float(row["row"]), float(row["column"]))
        for row in landmarks
        if row["SOPInstanceUID"] == first["SOPInstanceUID"]
    }
    assert set(written) == set(truth)
    assert all(written[name] == pytest.approx(point, abs=1e-3) for name, point in truth.items())


def test_headers_hold_values_that_a_leak_scan_can_find(folder: Path) -> None:
    people = set()
    for path in folder.rglob("IMG*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("PatientName", "PatientBirthDate", "AccessionNumber", "InstitutionName", "OperatorsName"):
            assert str(header[keyword].value)
        assert "SyntheticData" not in header
        assert header.PatientBirthDate < header.StudyDate
        people.add((header.PatientID, str(header.PatientName), header.PatientBirthDate))
    assert len(people) == PATIENTS


def test_uids_are_under_2_25_and_never_repeat(folder: Path) -> None:
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in folder.rglob("*.dcm")]
    assert len(set(uids)) == len(uids)
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_bytes_do_not_depend_on_the_number_of_processes(folder: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    write_phantom_cohort(
        tmp_path / "cohort",
        patients=PATIENTS,
        seed=SEED,
        size=SIZE,
        processes=2,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert _bytes(tmp_path / "cohort") == _bytes(folder)
    assert heard == [(done, PATIENTS) for done in range(1, PATIENTS + 1)]


def test_an_interrupted_cohort_leaves_nothing_under_its_name(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom_cohort(tmp_path / "cohort", patients=2, seed=0, size=32, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"processes": 0}, {"seed": -1}, {"size": 16}, {"size": 600}])
def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        write_phantom_cohort(tmp_path / "cohort", **{"patients": 1, "seed": 0, **wrong})
    assert list(tmp_path.iterdir()) == []
