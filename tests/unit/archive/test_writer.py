"""An archive: whole or absent, the same bytes every time, and marked as synthetic throughout."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.archive.samples import shard_size
from synthrelease.archive.texts import expected_texts
from synthrelease.archive.writer import (
    ArchiveRecord,
    ArchiveSettings,
    SampleBatch,
    Samples,
    held_samples,
    write_archive,
)
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.templates import release_templates
from synthrelease.dicom.release.values import patient_id
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.records.digests import digest_of_file, manifest_of
from synthrelease.records.manifest import MANIFEST, folder_manifest, lines_of, problems
from tests.unit.archive.conftest import FORMS, random_samples, small_settings

SETTINGS = small_settings(3)


def write(folder: Path, settings: ArchiveSettings = SETTINGS, seed: int = 0, **given: Any) -> ArchiveRecord:
    return write_archive(folder, held_samples(random_samples(settings, seed), settings), settings, **given)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def content_of(folder: Path) -> dict[str, str]:
    return manifest_of(folder)


class Notes:
    """What a progress was told."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.notes: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        raise AssertionError("the caller names the stage")

    def step(self, done: int, facts: str = "") -> None:
        self.steps.append(done)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_files_hold_the_samples_and_validate(tmp_path: Path) -> None:
    samples = random_samples(SETTINGS)
    folder = tmp_path / "archive"
    record = write(folder)
    assert (record.patients, record.images, record.segmentations, record.reports) == (3, 3, 3, 0)
    rows = rows_of(folder)
    assert list(rows[0]) == ["file", "sop_instance_uid", "patient_id", "label", "mask_file"]
    for number, row in enumerate(rows, 1):
        assert row["file"] == f"DICOM/P{number:06d}/S0000001/I0000001"
        image = pydicom.dcmread(folder / row["file"])
        masks = pydicom.dcmread(folder / row["mask_file"])
        assert image.SOPInstanceUID == row["sop_instance_uid"]
        assert image.PatientID == masks.PatientID == row["patient_id"] == patient_id(number, SETTINGS)
        assert image.IssuerOfPatientID == "SYNTHRELEASE unit test 1"
        assert image.SyntheticData == masks.SyntheticData == "YES"
        assert image.StudyInstanceUID == masks.StudyInstanceUID
        assert row["label"] == SETTINGS.classes[samples.labels[number - 1]]
        expected = (samples.images[number - 1, 0] + 1) / 2 * 4095
        assert np.abs(image.pixel_array - expected).max() <= 0.501
        assert np.array_equal(masks.pixel_array, samples.masks[number - 1] >= 0.5)
        assert instance_problems(folder / row["file"]) == []
        assert instance_problems(folder / row["mask_file"]) == []
    files = [folder / row[key] for row in rows for key in ("file", "mask_file")]
    assert archive_problems(files) == []


@pytest.mark.parametrize("image_class", ImageClass)
def test_several_images_a_patient_validate_in_every_class(tmp_path: Path, image_class: ImageClass) -> None:
    settings = small_settings(
        5, image_class=image_class, images_per_patient=2, reports=True, one_file_per_segment=True, bits=16
    )
    write(tmp_path / "archive", settings)
    files = [tmp_path / "archive" / path for path in release_templates(settings).paths()]
    assert len(files) == 5 * 4
    assert [problem for path in files for problem in instance_problems(path)] == []
    assert archive_problems(files) == []
    rows = rows_of(tmp_path / "archive")
    assert [row["patient_id"] for row in rows] == [patient_id(number, settings) for number in (1, 1, 2, 2, 3)]
    assert all(len(row["mask_file"].split()) == 2 for row in rows)
    assert rows[1]["mask_file"].split()[0] == "DICOM/P000001/S0000001/M0100002"
    assert pydicom.dcmread(tmp_path / "archive" / rows[1]["report_file"]).PatientID == rows[1]["patient_id"]
    for row in rows:
        for path in row["mask_file"].split():
            masks = highdicom.seg.segread(tmp_path / "archive" / path)
            assert masks.get_pixels_by_source_instance([row["sop_instance_uid"]]).shape == (1, 16, 16, 1)


@pytest.mark.parametrize(("kind", "compression"), FORMS)
def test_masks_read_back_exactly_in_every_form(tmp_path: Path, kind: MaskKind, compression: Compression) -> None:
    settings = small_settings(2, mask_kind=kind, mask_compression=compression, rows=40, columns=32)
    samples = random_samples(settings)
    samples.masks[:, 1] *= samples.masks[:, 0] < 0.5  # apart, since a label map holds one name a pixel
    folder = tmp_path / "archive"
    write_archive(folder, held_samples(samples, settings), settings)
    for index, row in enumerate(rows_of(folder)):
        masks = highdicom.seg.segread(folder / row["mask_file"])
        planes = masks.get_pixels_by_source_instance(
            [row["sop_instance_uid"]], segment_numbers=[1, 2], assert_missing_frames_are_empty=True
        )
        assert np.array_equal(planes[0].transpose(2, 0, 1), samples.masks[index] >= 0.5)
        assert instance_problems(folder / row["mask_file"]) == []


def test_the_manifest_names_every_other_file_with_its_digest(tmp_path: Path) -> None:
    settings = small_settings(70, images_per_patient=3, reports=True)
    record = write(tmp_path / "archive", settings)
    folder = tmp_path / "archive"
    listed = list(lines_of(folder / MANIFEST))
    assert listed == list(folder_manifest(folder, leave_out=frozenset({MANIFEST})))
    assert record.manifest == digest_of_file(folder / MANIFEST)
    assert record.files == len(listed) == 70 * 3 + 3
    assert record.size_bytes == sum((folder / path).stat().st_size for path, _ in listed)
    assert list(problems(folder)) == []
    assert sum(record.labels.values()) == 70
    assert list(record.labels) == ["normal", "nodule", "effusion"]
    assert record.labels["effusion"] == 0


def test_the_manifest_is_read_by_sha256sum(tmp_path: Path) -> None:
    import subprocess

    write(tmp_path / "archive")
    done = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", MANIFEST], cwd=tmp_path / "archive", check=False)
    assert done.returncode == 0


def test_file_names_admit_a_dicomdir(tmp_path: Path) -> None:
    write(tmp_path / "archive", small_settings(2, one_file_per_segment=True, reports=True))
    dicom = [path for path, _ in lines_of(tmp_path / "archive" / MANIFEST) if path.startswith("DICOM/")]
    assert len(dicom) == 8
    assert all(re.fullmatch(r"[A-Z0-9_]{1,8}", part) for path in dicom for part in path.split("/"))


def test_the_same_plan_gives_the_same_bytes_by_any_number_of_processes(tmp_path: Path) -> None:
    settings = small_settings(2 * shard_size(1) + 5)
    first = write(tmp_path / "one", settings)
    second = write(tmp_path / "two", settings, processes=2)
    assert first == second
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_the_text_files_are_what_settings_and_labels_say(tmp_path: Path) -> None:
    settings = small_settings(70, reports=True, images_per_patient=2)
    write(tmp_path / "archive", settings)
    expected = expected_texts(settings, random_samples(settings).labels.tolist())
    assert set(expected) == {"labels.csv", "README.md", "croissant.json"}
    for path, digest in expected.items():
        assert hashlib.sha256((tmp_path / "archive" / path).read_bytes()).hexdigest() == digest


def test_no_value_of_the_clock_is_in_any_file(tmp_path: Path) -> None:
    write(tmp_path / "archive", small_settings(1, reports=True))
    today = datetime.now(UTC)
    for path in (tmp_path / "archive").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert today.strftime("%Y%m%d").encode() not in content
            assert today.strftime("%Y-%m-%d").encode() not in content
    moments: dict[str, set[str]] = {"DA": set(), "TM": set(), "DT": set()}
    for name in ("I0000001", "M0000001", "R0000001"):
        for element in pydicom.dcmread(tmp_path / "archive/DICOM/P000001/S0000001" / name).iterall():
            if element.VR in moments and element.value:
                moments[element.VR].add(str(element.value))
    assert moments == {"DA": {"20010203"}, "TM": {"040506"}, "DT": {"20010203040506"}}


def test_patient_ids_tell_the_release_and_the_edition() -> None:
    """Orthanc and OHIF know a patient by Patient ID alone, whoever issued it."""
    assert patient_id(1, SETTINGS) == "SYN-DA3F-000001"
    others = [replace(SETTINGS, release_name="unit test 2"), replace(SETTINGS, edition="b"), SETTINGS]
    assert len({patient_id(1, each) for each in others}) == 3
    assert all(re.fullmatch(r"SYN-[0-9A-F]{4}-000012", patient_id(12, each)) for each in others)


def test_another_release_or_edition_shares_no_uid(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    one = small_settings(1)
    for number, settings in enumerate((one, replace(one, release_name="unit test 2"), replace(one, edition="b"))):
        folder = tmp_path / str(number)
        write(folder, settings)
        files = [pydicom.dcmread(p) for p in sorted((folder / "DICOM").rglob("?0000001")) if p.is_file()]
        assert len(files) == 2
        seen.append({str(e.value) for f in files for e in f.iterall() if e.VR == "UI" and e.value.startswith("2.25.")})
    assert len(seen[0]) == 7
    assert not (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])


def test_an_archive_without_segments_has_no_mask_files(tmp_path: Path) -> None:
    record = write(tmp_path / "archive", small_settings(2, segments=()))
    assert record.segmentations == 0
    assert not any("/M" in path for path, _ in lines_of(tmp_path / "archive" / MANIFEST))
    assert (tmp_path / "archive/labels.csv").read_text().splitlines()[1].endswith(",")


def test_the_readme_tells_the_recipient_what_this_is(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    text = (tmp_path / "archive/README.md").read_text()
    for needed in ("synthetic", "(0008,001C)", "right_lung"):
        assert needed in text


def test_an_existing_archive_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    record = write(tmp_path / "archive", small_settings(1), seed=9)
    assert digest_of_file(tmp_path / "archive" / MANIFEST) == record.manifest
    assert list(problems(tmp_path / "archive")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_progress_counts_images(tmp_path: Path) -> None:
    told = Notes()
    write(tmp_path / "archive", small_settings(shard_size(1) + 2), progress=told)
    assert told.steps == [64, 66]
    assert told.notes == []


# --- what goes wrong ----------------------------------------------------------------------------------------------


def failing(settings: ArchiveSettings, error: Exception, shard: int = 1) -> Samples:
    held = held_samples(random_samples(settings), settings)

    def draw(number: int) -> SampleBatch:
        if number == shard:
            raise error
        return held.draw(number)

    return Samples(held.digest, draw)


MANY = small_settings(2 * shard_size(1))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_generator_that_fails_leaves_the_old_archive_and_what_was_drawn(tmp_path: Path, processes: int) -> None:
    old = write(tmp_path / "archive")
    with pytest.raises(RuntimeError, match="out of memory"):
        write_archive(tmp_path / "archive", failing(MANY, RuntimeError("out of memory")), MANY, processes=processes)
    assert digest_of_file(tmp_path / "archive" / MANIFEST) == old.manifest
    assert sorted(path.name.startswith(".partial-archive-") for path in tmp_path.iterdir()) == [False, True]
    told = Notes()
    record = write(tmp_path / "archive", MANY, progress=told)
    assert record.taken_over == shard_size(1)
    assert told.notes == ["going on with an interrupted archive: 64 of 128 images are written"]
    assert told.steps == [128]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_full_disk_leaves_what_was_written_for_the_next_try(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableData, match="No space"):
        write_archive(tmp_path / "archive", failing(MANY, OSError(28, "No space left on device")), MANY)
    assert not (tmp_path / "archive").exists()
    assert write(tmp_path / "archive", MANY).taken_over == shard_size(1)


def test_samples_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    batch = random_samples(SETTINGS)
    for broken in (replace(batch, images=batch.images * np.nan), replace(batch, labels=batch.labels + 7)):
        with pytest.raises((UnsuitableData, UsageError)):
            write_archive(tmp_path / "archive", held_samples(broken, SETTINGS), SETTINGS)
        assert list(tmp_path.iterdir()) == []


def test_zero_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="processes is 0"):
        write(tmp_path / "archive", processes=0)


def test_memory_does_not_hold_what_was_written(tmp_path: Path) -> None:
    """Shards are asked for as they are needed: a writer never runs ahead of its files."""
    settings = small_settings(12 * shard_size(1))
    held = held_samples(random_samples(settings), settings)
    ahead: list[int] = []

    def draws() -> Iterator[int]:
        for shard in range(12):
            written = len(list(tmp_path.glob(".partial-archive-*/journal/*")))
            ahead.append(shard - written)
            yield shard

    numbers = draws()
    write_archive(tmp_path / "archive", Samples(held.digest, lambda _: held.draw(next(numbers))), settings, processes=2)
    assert max(ahead) <= 2 * 2 + 1
