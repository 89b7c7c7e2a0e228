"""The archive's README: its code runs, its paths exist, and it holds public values only."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.archive.recipients import recipients_readme
from synthrelease.archive.texts import labels_csv
from synthrelease.dicom.image import ImageClass
from synthrelease.dicom.mask_forms import Compression, MaskKind
from synthrelease.dicom.release.instances import file_bytes, image_of, masks_of, report_of
from synthrelease.dicom.release.layout import FileKind, path_of, place_of
from synthrelease.dicom.release.settings import ArchiveSettings

SETTINGS = ArchiveSettings(
    release_name="unit test 1",
    segments=("right_lung", "nodule"),
    classes=("normal", "smudge"),
    spacing_mm=(1.4, 1.3),
    software_version="0.1.0",
    study_date="20010203",
    study_time="040506",
    edition="abc",
    images=4,
    rows=33,
    columns=35,
)
LABELS = {"normal": 1, "smudge": 3}
BINARY = {
    "plain": {},
    "no masks": {"segments": ()},
    "own files": {"one_file_per_segment": True},
    "jpeg 2000": {"mask_compression": Compression.JPEG_2000},
    "reports": {"reports": True, "images_per_patient": 3},
}
LABELMAPS = {
    name: {"mask_kind": MaskKind.LABELMAP, "mask_compression": compression}
    for name, compression in {"label map": Compression.NONE, "rle": Compression.RLE, "jls": Compression.JPEG_LS}.items()
}
CLASSES: dict[str, dict[str, Any]] = {
    "CT": {"image_class": ImageClass.CT, "bits": 16, "value_range": (-1000.0, 400.0)},
    "MR": {"image_class": ImageClass.MR},
    "MG": {"image_class": ImageClass.MG, "body_part": "BREAST"},
    "SC": {"image_class": ImageClass.SC, "modality": "US", "reports": True},
}
FORMS: dict[str, dict[str, Any]] = BINARY | LABELMAPS | CLASSES


def first_image(folder: Path, settings: ArchiveSettings) -> np.ndarray:
    """Write image 1 with everything that belongs to it; the masks are returned, (K, rows, columns)."""
    size = (settings.rows, settings.columns)
    masks = np.zeros((len(settings.segments), *size), bool)
    masks[:, 3:9, 4:11] = True
    masks[1:, 9, 4] = True
    image = image_of(np.full(size, 7, np.uint16), 1, settings)
    files = {FileKind.IMAGE: [image]}
    files[FileKind.MASK] = [masks_of(image, masks, 1, settings, part) for part in range(settings.mask_files)]
    files[FileKind.REPORT] = [report_of(image, "smudge", 1, settings)] if settings.reports else []
    for kind, instances in files.items():
        for part, instance in enumerate(instances):
            path = folder / path_of(place_of(1, settings, kind, part), settings)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file_bytes(instance))
    (folder / "labels.csv").write_bytes(b"".join(labels_csv([1, 0, 1, 1], settings)))
    return masks


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("form", FORMS)
def test_its_code_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    settings = replace(SETTINGS, **FORMS[form])
    masks = first_image(tmp_path, settings)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(recipients_readme(settings, LABELS), "python"):
        exec(block, names)
    assert (names["pixels"] == 7).all()
    assert names["row"]["label"] == "smudge"
    if settings.segments:
        planes = names["planes"]
        if settings.one_file_per_segment:
            planes = np.concatenate(planes, axis=-1)
        expected = masks.copy()
        if settings.mask_kind is MaskKind.LABELMAP:
            expected[0] &= ~expected[1]  # the segment named later is kept
        assert np.array_equal(planes[0].transpose(2, 0, 1), expected)
    if settings.reports:
        assert (names["word"], names["code"]) == ("smudge", None)


@pytest.mark.parametrize("form", FORMS)
def test_every_file_it_names_is_one_of_the_archive(tmp_path: Path, form: str) -> None:
    settings = replace(SETTINGS, **FORMS[form])
    first_image(tmp_path, settings)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    text = recipients_readme(settings, LABELS)
    named = set(re.findall(r"`(DICOM/[^`]+)`", text))
    second = path_of(place_of(2, settings), settings) if settings.images_per_patient > 1 else None
    assert named - {second} == {path for path in written if path.startswith("DICOM/")}
    assert ("R0000001" in text) == settings.reports


def test_its_check_finds_a_changed_file(tmp_path: Path) -> None:
    (command,) = blocks(recipients_readme(SETTINGS, LABELS), "sh")
    (tmp_path / "labels.csv").write_bytes(b"a\n")
    line = f"{hashlib.sha256(b'a' + bytes([10])).hexdigest()}  labels.csv\n"
    (tmp_path / "manifest-sha256.txt").write_text(line)
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "labels.csv").write_bytes(b"b\n")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "labels.csv" in done.stdout


def test_it_tells_the_form_and_its_limits() -> None:
    plain = recipients_readme(SETTINGS, LABELS)
    assert "BINARY" in plain
    assert "do not read a file in which several segments share one plane" in plain
    assert "storescu -R" in plain
    assert "no multiple of 8" in plain  # 33 x 35
    assert "no multiple of 8" not in recipients_readme(replace(SETTINGS, rows=32), LABELS)
    assert "share a class" not in plain
    maps = recipients_readme(replace(SETTINGS, **FORMS["label map"]), LABELS)
    assert "names and colours\n  shifted by one" in maps
    assert "Segments do not overlap" in maps
    own = recipients_readme(replace(SETTINGS, **FORMS["own files"]), LABELS)
    assert "SimpleITK and GDCM read too" in own
    bare = recipients_readme(replace(SETTINGS, segments=()), LABELS)
    assert "| masks | none |" in bare
    assert "storescu" not in bare
    units = recipients_readme(replace(SETTINGS, **FORMS["CT"]), LABELS)
    assert "Hounsfield units from -1000 to 400" in units
    assert "0 to 65535" in units


def test_it_is_the_same_every_time_and_a_licence_cannot_break_its_table() -> None:
    odd = replace(SETTINGS, license="CC0 | or\nbetter")
    assert recipients_readme(odd, LABELS) == recipients_readme(odd, LABELS)
    assert "| licence | CC0 \\| or better |" in recipients_readme(odd, LABELS)
    assert "| `normal` | 1 | 17621005 (SCT, Normal) |" in recipients_readme(odd, LABELS)
    assert "| `smudge` | 3 | none |" in recipients_readme(odd, LABELS)
