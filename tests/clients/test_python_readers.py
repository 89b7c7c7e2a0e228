"""Images and masks of every form come back exactly through the readers that people use from Python."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import highdicom
import numpy as np
import pydicom
import pytest
from archive_forms import SEGMENTS, Archive, Entry, Form, only
from client_needs import importorskip

from synthrelease.dicom.mask_reading import SegmentMask, read_segmentation
from synthrelease.dicom.segments import segment


class Conversion(NamedTuple):
    """A mask file as dcmqi converted it: into which folder, with which exit status and words."""

    entry: Entry
    mask: Path
    folder: Path
    status: int
    said: str


def names_of(archive: Archive, path: Path) -> tuple[str, ...]:
    """The segments that a mask file describes."""
    for entry in archive.entries:
        if path in entry.masks and archive.form.one_file_per_segment:
            return (SEGMENTS[entry.masks.index(path)],)
    return SEGMENTS


def test_pydicom_reads_images_exactly_and_sees_that_they_are_synthetic(archive: Archive) -> None:
    for entry in archive.entries:
        image = pydicom.dcmread(entry.image)
        assert np.array_equal(image.pixel_array, entry.levels)
        assert image.BitsStored == archive.form.bits
        assert image.SOPInstanceUID == entry.sop_uid
        assert image.PatientID == entry.patient_id
    assert {pydicom.dcmread(path).SyntheticData for path in archive.files} == {"YES"}


def test_pydicom_shows_images_over_the_whole_range(archive: Archive) -> None:
    for entry in archive.entries:
        image = pydicom.dcmread(entry.image)
        values = pydicom.pixels.apply_modality_lut(image.pixel_array, image)
        shown = pydicom.pixels.apply_voi_lut(values, image).astype(float)
        low, high = shown.min(), shown.max()
        assert np.allclose((shown - low) / (high - low), entry.levels / archive.form.highest, atol=1e-3)


def test_highdicom_reads_masks_exactly(archive: Archive) -> None:
    for entry, path in archive.masks:
        read = highdicom.seg.segread(path)
        # (1, rows, columns, segments); a label map's background has no number to ask for.
        planes = read.get_pixels_by_source_instance([entry.sop_uid])[0]
        assert np.array_equal(np.moveaxis(planes, -1, 0), entry.planes_of(path))
        described = [item.SegmentLabel for item in read.SegmentSequence if item.SegmentNumber > 0]
        assert tuple(described) == names_of(archive, path)


def test_synthrelease_reads_masks_exactly(archive: Archive) -> None:
    for entry, path in archive.masks:
        masks = read_segmentation(path)
        assert isinstance(masks, list)
        shown = [mask for mask in masks if isinstance(mask, SegmentMask) and mask.name in SEGMENTS]
        assert tuple(mask.name for mask in shown) == names_of(archive, path)
        assert {mask.source_sop_uid for mask in shown} == {entry.sop_uid}
        assert np.array_equal([mask.mask for mask in shown], entry.planes_of(path))


@pytest.fixture(scope="module")
def converted(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> list[Conversion]:
    """Every mask file through dcmqi's segimage2itkimage, which 3D Slicer reads segmentations with."""
    return [convert(entry, path, tmp_path_factory.mktemp("converted")) for entry, path in archive.masks]


def convert(entry: Entry, path: Path, out: Path) -> Conversion:
    program = Path(str(importorskip("dcmqi").__file__)).parent / "bin" / "segimage2itkimage"
    done = subprocess.run(
        [program, "--inputDICOM", path, "--outputDirectory", out, "--outputType", "nrrd"],
        capture_output=True,
        text=True,
    )
    return Conversion(entry, path, out, done.returncode, done.stdout + done.stderr)


def jpeg(form: Form) -> bool:
    return form.compression in ("jpeg-ls", "jpeg-2000")


@only(lambda form: not jpeg(form))
def test_dcmqi_reads_masks_exactly_with_names_codes_colours_and_geometry(
    archive: Archive, converted: list[Conversion]
) -> None:
    itk = importorskip("SimpleITK")
    for one in converted:
        assert one.status == 0, one.said
        groups = json.loads((one.folder / "meta.json").read_text())["segmentAttributes"]
        told = [item for group in groups for item in group if item["labelID"] > 0]
        assert tuple(item["SegmentLabel"] for item in told) == names_of(archive, one.mask)
        for item, plane in zip(told, one.entry.planes_of(one.mask), strict=True):
            known = segment(item["SegmentLabel"])
            assert item["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == known.type.value
            assert np.allclose(item["recommendedDisplayRGBValue"], known.rgb, atol=1)
            # A label map stays one file with a number a pixel, 1.nrrd; a binary mask has its number inside.
            file = one.folder / f"{item['labelID'] if archive.form.mask_kind == 'binary' else 1}.nrrd"
            read = itk.ReadImage(str(file))
            assert np.array_equal(itk.GetArrayFromImage(read)[0] == item["labelID"], plane)
            assert np.allclose(read.GetSpacing()[:2], (0.7, 0.5))


@only(jpeg)
def test_dcmqi_refuses_jpeg_even_without_loss(converted: list[Conversion]) -> None:
    assert all(one.status != 0 and "not supported for Segmentation" in one.said for one in converted)


@only(lambda form: not jpeg(form))
def test_dcmqi_warns_of_nothing(converted: list[Conversion]) -> None:
    for one in converted:
        assert [line for line in one.said.splitlines() if line.startswith(("W:", "E:"))] == []


def test_simpleitk_reads_images_exactly_with_their_spacing(archive: Archive) -> None:
    itk = importorskip("SimpleITK")
    for entry in archive.entries:
        read = itk.ReadImage(str(entry.image))
        levels = itk.GetArrayFromImage(read)[0]
        image = pydicom.dcmread(entry.image)
        wanted = entry.levels * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
        assert np.allclose(levels, wanted, atol=0.51)
        assert np.allclose(read.GetSpacing()[:2], (0.7, 0.5))


@only(lambda form: form.one_file_per_segment)
def test_simpleitk_reads_masks_of_one_segment_a_file(archive: Archive) -> None:
    itk = importorskip("SimpleITK")
    for entry, path in archive.masks:
        read = itk.GetArrayFromImage(itk.ReadImage(str(path)))
        assert np.array_equal(read > 0, entry.planes_of(path))


@only(lambda form: not form.one_file_per_segment)
def test_simpleitk_reads_no_masks_of_several_segments(archive: Archive) -> None:
    """When this fails, docs/clients.md has good news to tell."""
    itk = importorskip("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    with pytest.raises(RuntimeError, match=r"spacing|ImageIO"):
        itk.ReadImage(str(archive.masks[0][1]))
