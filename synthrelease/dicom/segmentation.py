"""Masks as an anchored BINARY Segmentation (PS3.3, section A.51) that the common viewers open.

Anchored: the segmentation shares the image's frame of reference and says where its plane lies, which a DX image
itself never does. highdicom builds it from a copy of the image's header with a plane added; what highdicom would
take from the clock, from chance or from the imaging device is then pinned or removed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from synthrelease.dicom.image import SyntheticMarking, file_meta, mark_instance, synthesizer
from synthrelease.dicom.segments import segment
from synthrelease.errors import UnsuitableData, UsageError

_ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
_PROCESSING_EQUIPMENT = "109102"
_PLANE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_ORIGIN = (0.0, 0.0, 0.0)
_SCAN = "is_attribute_in_iod"
_SLICE_THICKNESS_MM = 1.0  # a projection has none; readers demand one


def segmentation(
    image: Dataset,
    masks: npt.NDArray[np.bool_],
    names: Sequence[str],
    *,
    sop_uid: str,
    series_uid: str,
    dimension_uid: str,
    created_date: str,
    created_time: str,
    marking: SyntheticMarking | None,
) -> Dataset:
    """A Segmentation with one frame per named mask, empty masks included.

    Every file of an archive has the same number of frames, so an absent finding is an empty frame and not a
    missing one, and masks may overlap (a nodule lies inside a lung).

    Args:
        image: The image that the masks belong to, as `dx_image` makes it. Its patient and study attributes are
            copied into the segmentation, so for a release it must be a synthetic one.
        masks: (K, H, W) bool, one plane per name, of the image's size; K at least 1.
        names: K segment names; see `segments.segment`.
        sop_uid: SOP Instance UID of the segmentation.
        series_uid: Its Series Instance UID, another than the image's.
        dimension_uid: Dimension Organization UID.
        created_date: YYYYMMDD; the clock is never read into the file.
        created_time: HHMMSS.
        marking: As given to the image; None for an ordinary segmentation, drawn by hand.

    Returns:
        A data set with file meta, ready for `save_as(path, enforce_file_format=True)`.

    Raises:
        UnsuitableData: Masks of another type, number or size than the names and the image.
        UsageError: Names given twice, or a synthetic image with an unmarked segmentation (or the reverse).

    Source: PS3.3, sections A.51 and C.8.20; the layout is the one that highdicom, dcmqi and OHIF all read.
    """
    _check(image, masks, names, marking)
    with _standard_tables_remembered():
        built = _build(image, masks, names, sop_uid, series_uid, created_date, created_time, marking)
    built.file_meta = file_meta(SegmentationStorage, sop_uid)
    _pin(built, dimension_uid, created_date, created_time)
    if marking is not None:
        mark_instance(built, marking)
        built.ContributingEquipmentSequence.insert(0, synthesizer(marking, created_date + created_time))
    return built


def _check(
    image: Dataset, masks: npt.NDArray[np.bool_], names: Sequence[str], marking: SyntheticMarking | None
) -> None:
    expected = (len(names), int(image.Rows), int(image.Columns))
    if masks.dtype != np.bool_ or masks.shape != expected or not names:
        raise UnsuitableData(
            f"masks of shape {masks.shape} and type {masks.dtype} do not fit an image that asks for {expected} bool",
            fix="Give one boolean plane per segment name, of the image's size.",
        )
    if len(set(names)) != len(names):
        raise UsageError("a segment name is given twice", fix="Give every segment its own name.")
    if (image.get("SyntheticData") == "YES") != (marking is not None):
        raise UsageError(
            "an image and its segmentation disagree on being synthetic", fix="Give both the same marking, or none."
        )


def _build(
    image: Dataset,
    masks: npt.NDArray[np.bool_],
    names: Sequence[str],
    sop_uid: str,
    series_uid: str,
    date: str,
    time: str,
    marking: SyntheticMarking | None,
) -> Dataset:
    return hd.seg.Segmentation(
        source_images=[_with_plane(image)],
        pixel_array=np.ascontiguousarray(masks.transpose(1, 2, 0))[np.newaxis].view(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(number, name, marking) for number, name in enumerate(names, 1)],
        series_instance_uid=series_uid,
        series_number=int(image.SeriesNumber) + 1,
        sop_instance_uid=sop_uid,
        instance_number=1,
        # The Enhanced General Equipment module wants all four filled (PS3.3 C.7.5.2).
        manufacturer=marking.software if marking else (image.Manufacturer or "Unknown"),
        manufacturer_model_name=marking.software if marking else (image.ManufacturerModelName or "Unknown"),
        software_versions=marking.version if marking else (image.SoftwareVersions or "Unknown"),
        device_serial_number="0",
        content_label="SYNTHETIC_MASK" if marking else "MASK",
        content_description="Masks of a synthetic image" if marking else "Masks",
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=[float(distance) for distance in image.ImagerPixelSpacing],
            slice_thickness=_SLICE_THICKNESS_MM,
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", _PLANE),
        plane_positions=[PlanePositionSequence("PATIENT", _ORIGIN)],
        omit_empty_frames=False,
        content_date=date,
        content_time=time,
        series_date=date,
        series_time=time,
    )


@contextmanager
def _standard_tables_remembered() -> Iterator[None]:
    """Answer highdicom's repeated question, whether an attribute is in an IOD, from memory.

    highdicom 0.28 scans its copy of the standard's tables from the start nine times a file, a quarter of all the
    time. The tables never change, so the answers can be kept. A highdicom without that function is left as it is.
    """
    loaded = [sys.modules.get(name) for name in ("highdicom._standard_utils", "highdicom.base")]
    users = [module for module in loaded if hasattr(module, _SCAN)]
    original = getattr(users[0], _SCAN) if users else None
    for module in users:
        setattr(module, _SCAN, _remembered(original))
    try:
        yield
    finally:
        for module in users:
            setattr(module, _SCAN, original)


@functools.cache
def _remembered(scan: Callable[..., bool]) -> Callable[..., bool]:
    kept = functools.cache(scan)

    def answer(attribute: str, sop_class_uid: str, exclude_path_elements: Any = None) -> bool:
        excluded = None if exclude_path_elements is None else tuple(exclude_path_elements)
        return kept(attribute, sop_class_uid, excluded)

    return answer


def _with_plane(image: Dataset) -> Dataset:
    """The image's header without its pixels, with the plane that highdicom asks for; the image stays as it is."""
    anchored = Dataset()
    for element in image:
        if element.keyword != "PixelData":
            anchored.add(element)
    anchored.file_meta = image.file_meta
    anchored.ImagePositionPatient = list(_ORIGIN)
    anchored.ImageOrientationPatient = list(_PLANE)
    anchored.SliceThickness = _SLICE_THICKNESS_MM
    anchored.PixelSpacing = image.ImagerPixelSpacing
    return anchored


def _description(number: int, name: str, marking: SyntheticMarking | None) -> hd.seg.SegmentDescription:
    known = segment(name)
    algorithm = None
    if marking is not None:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=marking.software, family=_ARTIFICIAL_INTELLIGENCE, version=marking.version
        )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=known.name,
        segmented_property_category=known.category,
        segmented_property_type=known.type,
        algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
        algorithm_identification=algorithm,
        display_color=CIELabColor.from_rgb(*known.rgb),
    )


def _pin(built: Dataset, dimension_uid: str, date: str, time: str) -> None:
    """Replace what came from the clock or from chance, and drop the claim that a device acquired the data."""
    built.InstanceCreationDate, built.InstanceCreationTime = date, time
    built.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimension_uid
    for dimension in built.DimensionIndexSequence:
        dimension.DimensionOrganizationUID = dimension_uid
    kept = [
        item
        for item in built.ContributingEquipmentSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == _PROCESSING_EQUIPMENT
    ]
    for item in kept:
        item.ContributionDateTime = date + time
    built.ContributingEquipmentSequence = kept
