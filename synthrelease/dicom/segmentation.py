"""Masks as an anchored Segmentation (PS3.3, section A.51) that the common viewers open, over any image class.

Anchored: the segmentation shares the image's frame of reference and says where its plane lies, which a radiograph
itself never does. highdicom builds it from a copy of the image's header with a plane added; what highdicom would
take from the clock, from chance or from the imaging device is then pinned or removed.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.color import CIELabColor
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from synthrelease.dicom.image import SyntheticMarking, file_meta
from synthrelease.dicom.image.slices import AXIAL, ORIGIN
from synthrelease.dicom.mask_forms import Compression, MaskKind, check_form, frames_of, label_map
from synthrelease.dicom.mask_packing import compress
from synthrelease.dicom.pinning import pin, pin_dimensions, pin_padding, standard_tables_remembered
from synthrelease.dicom.segments import segment
from synthrelease.errors import UnsuitableData, UsageError

__all__ = ["Compression", "MaskKind", "check_form", "label_map", "segmentation"]

_ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
_NO_THICKNESS_MM = 1.0  # a projection has none; readers demand one


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
    kind: MaskKind = MaskKind.BINARY,
    compression: Compression = Compression.NONE,
    series_number: int | None = None,
    instance_number: int = 1,
    series_description: str = "",
) -> Dataset:
    """A Segmentation of every named mask, empty ones included.

    BINARY has one frame per name, in every file, so an absent finding is an empty frame and not a missing one, and
    masks may overlap (a nodule lies inside a lung). LABELMAP has one frame, see `mask_forms.label_map`; every name is
    described in every file, whether a pixel has its number or not. One file a segment is this function called with
    one mask at a time.

    Args:
        image: The image that the masks belong to, as `grey_image` makes it. Its patient and study attributes are
            copied into the segmentation, so for a release it must be a synthetic one.
        masks: (K, H, W) bool, one plane per name, of the image's size; K at least 1.
        names: K segment names; see `segments.segment`.
        sop_uid: SOP Instance UID of the segmentation.
        series_uid: Its Series Instance UID, another than the image's.
        dimension_uid: Dimension Organization UID.
        created_date: YYYYMMDD; the clock is never read into the file.
        created_time: HHMMSS.
        marking: As given to the image; None for an ordinary segmentation, drawn by hand.
        kind: One plane a segment, or one number a pixel.
        compression: Lossless, see `mask_forms.check_form`.
        series_number: Of the segmentation; None for the image's plus 1.
        instance_number: Within the series, from 1.
        series_description: Series Description (VR LO); "" leaves the attribute out.

    Returns:
        A data set with file meta, ready for `save_as(path, enforce_file_format=True)`.

    Raises:
        UnsuitableData: Masks of another type, number or size than the names and the image.
        UsageError: Names given twice, a compression that the kind or the size does not allow, or a synthetic image
            with an unmarked segmentation (or the reverse).

    Source: PS3.3, sections A.51 and C.8.20; the layout is the one that highdicom, dcmqi and OHIF all read.
    """
    _check(image, masks, names, marking)
    check_form(kind, compression)
    source = _with_plane(image)
    frames = frames_of(masks, kind)
    with standard_tables_remembered():
        built = hd.seg.Segmentation(
            source_images=[source],
            pixel_array=frames if kind is MaskKind.LABELMAP else np.moveaxis(frames, 0, -1)[np.newaxis],
            segmentation_type=kind.value.upper(),
            segment_descriptions=[_description(number, name, marking) for number, name in enumerate(names, 1)],
            series_instance_uid=series_uid,
            series_number=int(image.SeriesNumber) + 1 if series_number is None else series_number,
            sop_instance_uid=sop_uid,
            instance_number=instance_number,
            # The Enhanced General Equipment module wants all four filled (PS3.3 C.7.5.2).
            manufacturer=marking.software if marking else (image.Manufacturer or "Unknown"),
            manufacturer_model_name=marking.software if marking else (image.ManufacturerModelName or "Unknown"),
            software_versions=marking.version if marking else (image.SoftwareVersions or "Unknown"),
            device_serial_number="0",
            content_label="SYNTHETIC_MASK" if marking else "MASK",
            content_description="Masks of a synthetic image" if marking else "Masks",
            pixel_measures=PixelMeasuresSequence(
                pixel_spacing=[float(distance) for distance in source.PixelSpacing],
                slice_thickness=float(source.SliceThickness),
            ),
            plane_orientation=PlaneOrientationSequence("PATIENT", [float(x) for x in source.ImageOrientationPatient]),
            plane_positions=[PlanePositionSequence("PATIENT", [float(x) for x in source.ImagePositionPatient])],
            omit_empty_frames=False,
            content_date=created_date,
            content_time=created_time,
            series_date=created_date,
            series_time=created_time,
        )
    built.ContentCreatorName = ""  # Type 2 in PS3.3, table 10-12: nobody, but said
    if series_description:
        built.SeriesDescription = series_description
    built.file_meta = file_meta(built.SOPClassUID, sop_uid)
    pin(built, created_date, created_time, marking)
    pin_dimensions(built, dimension_uid)
    pin_padding(built)
    if compression is not Compression.NONE:
        compress(built, frames, compression)
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


def _with_plane(image: Dataset) -> Dataset:
    """The image's header without its pixels, with a plane where it has none; the image itself stays as it is."""
    anchored = Dataset()
    for element in image:
        if element.keyword != "PixelData":
            anchored.add(element)
    anchored.file_meta = image.file_meta
    if "ImagePositionPatient" not in image:
        anchored.ImagePositionPatient = list(ORIGIN)
        anchored.ImageOrientationPatient = list(AXIAL)
        anchored.SliceThickness = _NO_THICKNESS_MM
    # One slice has no neighbour; highdicom claims one 1 mm away unless it is told of another.
    anchored.SpacingBetweenSlices = anchored.SliceThickness
    if "PixelSpacing" not in image:
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
