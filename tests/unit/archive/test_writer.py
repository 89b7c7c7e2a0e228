"""An archive: whole or absent, the same bytes every time, and marked as synthetic throughout."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from synthrelease.archive.conformance import archive_problems, instance_problems
from synthrelease.archive.writer import ArchiveSettings, SampleBatch, write_archive
from synthrelease.errors import UnsuitableData, UsageError
from synthrelease.records.digests import manifest_of

SETTINGS = ArchiveSettings(
    release_name="unit test 1",
    segments=("right_lung", "nodule"),
    classes=("normal", "nodule", "effusion"),
    spacing_mm=(1.4, 1.4),
    software_version="0.1.0",
    study_date="20010203",
    study_time="040506",
)


def batch(n: int, seed: int = 0, segments: int = 2, side: int = 16) -> SampleBatch:
    rng = np.random.default_rng(seed)
    return SampleBatch(
        images=rng.uniform(-1, 1, (n, 1, side, side)).astype(np.float32),
        masks=rng.uniform(0, 1, (n, segments, side, side)).astype(np.float32),
        labels=rng.integers(0, 2, n),
    )


def test_files_hold_the_samples_and_validate(tmp_path: Path) -> None:
    samples = batch(3)
    record = write_archive(tmp_path / "archive", [samples], SETTINGS)
    folder = tmp_path / "archive"
    assert (record.patients, record.images, record.segmentations) == (3, 3, 3)
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["file", "sop_instance_uid", "patient_id", "label", "mask_file"]
    for number, row in enumerate(rows, 1):
        assert row["file"] == f"DICOM/P{number:06d}/S0000001/I0000001"
        image = pydicom.dcmread(folder / row["file"])
        masks = pydicom.dcmread(folder / row["mask_file"])
        assert image.SOPInstanceUID == row["sop_instance_uid"]
        assert image.PatientID == masks.PatientID == row["patient_id"] == f"SYN-{number:06d}"
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


def test_the_record_lists_every_file_with_its_digest(tmp_path: Path) -> None:
    record = write_archive(tmp_path / "archive", [batch(2)], SETTINGS)
    assert dict(record.files) == manifest_of(tmp_path / "archive")
    assert list(record.files) == sorted(record.files)
    assert record.size_bytes == sum(p.stat().st_size for p in (tmp_path / "archive").rglob("*") if p.is_file())
    assert sum(record.labels.values()) == 2
    assert list(record.labels) == ["normal", "nodule", "effusion"]
    assert record.labels["effusion"] == 0


def test_file_names_admit_a_dicomdir(tmp_path: Path) -> None:
    record = write_archive(tmp_path / "archive", [batch(2)], SETTINGS)
    dicom = [path for path in record.files if path.startswith("DICOM/")]
    assert len(dicom) == 4
    assert all(re.fullmatch(r"[A-Z0-9_]{1,8}", part) for path in dicom for part in path.split("/"))


def test_the_same_samples_give_the_same_bytes_however_they_arrive(tmp_path: Path) -> None:
    whole = batch(5)
    parts = [SampleBatch(whole.images[a:b], whole.masks[a:b], whole.labels[a:b]) for a, b in ((0, 1), (1, 1), (1, 5))]
    first = write_archive(tmp_path / "one", [whole], SETTINGS)
    second = write_archive(tmp_path / "two", iter(parts), SETTINGS, processes=2)
    assert first == second
    assert manifest_of(tmp_path / "one") == manifest_of(tmp_path / "two")


def test_no_value_of_the_clock_is_in_any_file(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", [batch(1)], SETTINGS)
    today = datetime.now(UTC)
    for path in (tmp_path / "archive").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert today.strftime("%Y%m%d").encode() not in content
            assert today.strftime("%Y-%m-%d").encode() not in content
    moments: dict[str, set[str]] = {"DA": set(), "TM": set(), "DT": set()}
    for name in ("I0000001", "M0000001"):
        for element in pydicom.dcmread(tmp_path / "archive/DICOM/P000001/S0000001" / name).iterall():
            if element.VR in moments and element.value:
                moments[element.VR].add(str(element.value))
    assert moments == {"DA": {"20010203"}, "TM": {"040506"}, "DT": {"20010203040506"}}


def test_another_release_or_edition_shares_no_uid(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    for number, settings in enumerate(
        (SETTINGS, replace(SETTINGS, release_name="unit test 2"), replace(SETTINGS, edition="b"))
    ):
        folder = tmp_path / str(number)
        write_archive(folder, [batch(1)], settings)
        files = [pydicom.dcmread(p) for p in sorted((folder / "DICOM").rglob("?0000001")) if p.is_file()]
        assert len(files) == 2
        seen.append({str(e.value) for f in files for e in f.iterall() if e.VR == "UI" and e.value.startswith("2.25.")})
    assert len(seen[0]) == 7
    assert not (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])


def test_an_archive_without_segments_has_no_mask_files(tmp_path: Path) -> None:
    record = write_archive(tmp_path / "archive", [batch(2, segments=0)], replace(SETTINGS, segments=()))
    assert record.segmentations == 0
    assert not any("/M" in path for path in record.files)
    assert (tmp_path / "archive/labels.csv").read_text().splitlines()[1].endswith(",")


def test_the_readme_tells_the_recipient_what_this_is(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", [batch(1)], SETTINGS)
    text = (tmp_path / "archive/README.md").read_text()
    for needed in ("synthetic", "(0008,001C)", "none is for clinical use", "right_lung", "normal ("):
        assert needed in text
    assert "{" not in text


def test_an_existing_archive_is_replaced_whole(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", [batch(3)], SETTINGS)
    record = write_archive(tmp_path / "archive", [batch(1, seed=9)], SETTINGS)
    assert manifest_of(tmp_path / "archive") == dict(record.files)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_generator_that_fails_leaves_the_old_archive(tmp_path: Path) -> None:
    def failing() -> Iterator[SampleBatch]:
        yield batch(1, seed=3)
        raise RuntimeError("out of memory")

    old = write_archive(tmp_path / "archive", [batch(1)], SETTINGS)
    with pytest.raises(RuntimeError, match="out of memory"):
        write_archive(tmp_path / "archive", failing(), SETTINGS)
    assert manifest_of(tmp_path / "archive") == dict(old.files)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from synthrelease.archive.writer import ArchiveSettings, SampleBatch, write_archive
settings = ArchiveSettings("r", ("lung",), ("a",), (1.0, 1.0), "0", "20010203")
one = SampleBatch(np.zeros((1, 1, 8, 8), "f4"), np.ones((1, 1, 8, 8), "f4"), np.zeros(1, "i8"))
def endless():
    while True:
        yield one
if __name__ == "__main__":
    write_archive(Path(sys.argv[1]), endless(), settings, processes=int(sys.argv[2]))
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="follows child processes by /proc")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_writer_leaves_no_archive_and_no_orphan(tmp_path: Path, processes: int) -> None:
    script, target = tmp_path / "endless.py", tmp_path / "out" / "archive"
    script.write_text(ENDLESS)
    writer = subprocess.Popen([sys.executable, str(script), str(target), str(processes)])
    try:
        deadline = time.monotonic() + 60
        while not list(target.parent.glob(".partial-archive-*/DICOM/P000002/S0000001/M0000001")):
            assert time.monotonic() < deadline, "the writer wrote nothing"
            assert writer.poll() is None, "the writer ended by itself"
            time.sleep(0.05)
        children = [int(p) for p in Path(f"/proc/{writer.pid}/task/{writer.pid}/children").read_text().split()]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert not target.exists()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline, "a writing process outlived its parent"
        time.sleep(0.05)
    bystander = target.parent / ".partial-archive-b-00000000"
    bystander.mkdir()
    record = write_archive(target, [batch(1)], SETTINGS)
    assert manifest_of(target) == dict(record.files)
    assert sorted(path.name for path in target.parent.iterdir()) == [bystander.name, "archive"]


def test_progress_counts_patients(tmp_path: Path) -> None:
    seen: list[int] = []
    write_archive(tmp_path / "archive", [batch(2), batch(1)], SETTINGS, progress=seen.append)
    assert seen == [2, 3]


GOOD = batch(2)


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        ([], UnsuitableData),
        ([replace(GOOD, images=GOOD.images[:, 0])], UnsuitableData),
        ([replace(GOOD, masks=GOOD.masks[:, :1])], UnsuitableData),
        ([replace(GOOD, masks=GOOD.masks * np.nan)], UnsuitableData),
        ([replace(GOOD, images=GOOD.images * np.nan)], UnsuitableData),
        ([replace(GOOD, labels=GOOD.labels[:1])], UnsuitableData),
        ([replace(GOOD, labels=GOOD.labels.astype(float))], UnsuitableData),
        ([replace(GOOD, labels=GOOD.labels + 2)], UsageError),
        ([replace(GOOD, labels=GOOD.labels - 2)], UsageError),
        ([GOOD, batch(1, side=8)], UnsuitableData),
    ],
)
def test_samples_that_do_not_fit_are_refused_and_nothing_is_left(
    tmp_path: Path, samples: list[SampleBatch], error: type[Exception]
) -> None:
    with pytest.raises(error):
        write_archive(tmp_path / "archive", samples, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_zero_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="processes is 0"):
        write_archive(tmp_path / "archive", [GOOD], SETTINGS, processes=0)
