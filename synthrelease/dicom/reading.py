"""One image out of one file of unknown origin, or the reason why not.

Order of steps, as the standard has it: stored values, modality LUT, VOI (window or table), presentation
(inversion of MONOCHROME1). This module does the first two and reads what the others need; `cohort.windows`
applies them, since which window counts is the policy's choice.

Source: PS3.3, sections C.7.6.3, C.11.1 and C.11.2; PS3.4, section N.2.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from synthrelease.dicom.mask_reading import SegmentMask, read_segmentation
from synthrelease.dicom.opening import is_image_class, is_uid, list_files, open_dataset, quiet
from synthrelease.dicom.voi import LinearWindow, ValueTable, voi_of
from synthrelease.records.refusals import Reason, Refusal

__all__ = ["ReadImage", "SegmentMask", "list_files", "pixel_digest", "read_image", "read_segmentation"]

SMALLEST_SIDE = 8

NOTE_RESCALE = "rescale slope or intercept unusable, read as 1 and 0"
NOTE_VOI = "no usable window among those declared"
NOTE_BURNED_IN = "burned-in annotation neither declared nor denied"


@dataclass(frozen=True)
class ReadImage:
    """An image as its file declares it. Every field but the last two is private.

    Attributes:
        sop_uid: SOP Instance UID.
        patient_id: Patient ID, trimmed; "" when missing.
        issuer: Issuer of Patient ID, trimmed; "" when missing.
        study_uid: Study Instance UID; "" when missing.
        modality: Modality.
        sop_class: SOP Class UID.
        pixels: (H, W) float32, after the modality LUT, not yet windowed or inverted.
        value_range: Lowest and highest value that the stored bits allow, after the modality LUT.
        window: The first usable VOI window or table, in the same values; None without one.
        inverted: Whether low values are shown bright (MONOCHROME1, or Presentation LUT Shape INVERSE).
        padding: (H, W) bool, where pixels only fill the frame; None when there is no such pixel.
        spacing_mm: Distance between pixel centres (between rows, between columns); None when missing or not positive.
        pixel_digest: SHA-256 of the decoded stored values.
        synthetic: Whether Synthetic Data (0008,001C) is YES.
        header: The data set without its pixels.
        notes: Public remarks on what was put right.
    """

    sop_uid: str
    patient_id: str
    issuer: str
    study_uid: str
    modality: str
    sop_class: str
    pixels: npt.NDArray[np.float32]
    value_range: tuple[float, float]
    window: LinearWindow | ValueTable | None
    inverted: bool
    padding: npt.NDArray[np.bool_] | None
    spacing_mm: tuple[float, float] | None
    pixel_digest: str
    synthetic: bool
    header: Dataset
    notes: tuple[str, ...]


def read_image(path: Path) -> ReadImage | Refusal:
    """Read a single-frame grey image.

    Never raises on the content of a file, and says nothing about it but the reason of a refusal.

    Args:
        path: Any file.

    Returns:
        The image, or why it is none.
    """
    with quiet():
        dataset = open_dataset(path)
        if isinstance(dataset, Refusal):
            return dataset
        try:
            refused = _judge_header(dataset)
        except Exception:  # Elements are parsed late: broken ones raise almost anything.
            return Refusal(path, Reason.HEADER_CUT, "an element cannot be parsed")
        if refused is not None:
            return Refusal(path, *refused)
        try:
            stored = _decode(dataset)
        except Exception:  # Decoders raise almost anything on broken pixel data.
            return Refusal(path, Reason.UNREADABLE_PIXELS, "the decoder refuses it")
        if stored is None:
            return Refusal(path, Reason.UNREADABLE_PIXELS, "pixel data of another size than rows and columns")
        if stored.min() == stored.max():
            return Refusal(path, Reason.CONSTANT)
        try:
            return _described(dataset, stored) or Refusal(path, Reason.NON_FINITE)
        except Exception:  # A broken look-up table, for one.
            return Refusal(path, Reason.HEADER_CUT, "an element cannot be parsed")


def pixel_digest(stored: npt.NDArray[Any]) -> str:
    """SHA-256 of the values and their shape, hex; equal for equal values, whatever type held them.

    >>> pixel_digest(np.zeros((2, 3), np.uint8)) == pixel_digest(np.zeros((2, 3), np.int16))
    True
    """
    kind = "<f4"
    if stored.dtype.kind in "biu":
        small = stored.size == 0 or (int(stored.min()) >= 0 and int(stored.max()) < 1 << 16)
        kind = "<u2" if small else "<i8"
    canonical = np.ascontiguousarray(stored, dtype=kind)
    return hashlib.sha256(f"{stored.shape}{kind}".encode() + canonical.tobytes()).hexdigest()


def _judge_header(dataset: Dataset) -> tuple[Reason, str] | None:
    is_image = is_image_class(str(dataset.SOPClassUID))
    if is_image is False:
        return Reason.NO_PIXELS, "not an image class"
    if "PixelData" not in dataset:
        if is_image is None:
            return Reason.NO_PIXELS, "no pixel data"
        return Reason.HEADER_CUT, "no pixel data"
    if not is_uid(str(dataset.get("SOPInstanceUID") or "")):
        dataset.SOPInstanceUID = dataset.file_meta.get("MediaStorageSOPInstanceUID", "")
    if not is_uid(str(dataset.SOPInstanceUID)):
        return Reason.HEADER_CUT, "no SOP instance UID"
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not rows or not columns:
        return Reason.HEADER_CUT, "no rows or columns"
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        return Reason.MULTI_FRAME, ""
    photometric = dataset.get("PhotometricInterpretation")
    if not photometric:
        return Reason.HEADER_CUT, "no photometric interpretation"
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return Reason.COLOUR, ""
    if min(int(rows), int(columns)) < SMALLEST_SIDE:
        return Reason.IMPLAUSIBLE_SIZE, ""
    if dataset.get("BurnedInAnnotation") == "YES":
        return Reason.BURNED_IN, ""
    return None


def _decode(dataset: Dataset) -> npt.NDArray[Any] | None:
    """Stored values (H, W); None when they do not fill the frame. Bits above Bits Stored are made to mean nothing."""
    plain = _plain(dataset)
    if plain is not None:
        return plain
    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        uncompressed = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = uncompressed if little is not False else ExplicitVRBigEndian
    if not dataset.get("NumberOfFrames"):
        dataset.NumberOfFrames = 1
    stored: npt.NDArray[Any] = dataset.pixel_array
    return stored if stored.shape == (dataset.Rows, dataset.Columns) else None


def _plain(dataset: Dataset) -> npt.NDArray[Any] | None:
    """Uncompressed, little-endian values of 8 or 16 bits, at a fifth of pydicom's price; None for anything else."""
    meta = getattr(dataset, "file_meta", None) or {}
    allocated, stored = dataset.get("BitsAllocated"), dataset.get("BitsStored")
    if (
        meta.get("TransferSyntaxUID") not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        or allocated not in (8, 16)
        or not isinstance(stored, int)
        or not 1 <= stored <= allocated
        or dataset.get("HighBit") != stored - 1
        or dataset.get("PixelRepresentation") not in (0, 1)
    ):
        return None
    shape = (int(dataset.Rows), int(dataset.Columns))
    content, size = dataset.PixelData, shape[0] * shape[1] * (allocated // 8)
    if not isinstance(content, bytes) or len(content) < size:
        return None
    kind = f"{'<i' if dataset.PixelRepresentation else '<u'}{allocated // 8}"
    values = np.frombuffer(content, kind, shape[0] * shape[1]).reshape(shape)
    # To the top and back: drops the bits above, and extends the sign where there is one.
    return (values << (allocated - stored)) >> (allocated - stored) if stored < allocated else values


def _described(dataset: Dataset, stored: npt.NDArray[Any]) -> ReadImage | None:
    notes = []
    low, high = _stored_range(dataset)
    padding = _padding(dataset, stored)
    if dataset.get("ModalityLUTSequence"):
        pixels = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
        low, high = 0.0, float(2 ** min(16, int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])) - 1)
    else:
        slope, intercept, sound = _rescale(dataset)
        if not sound:
            notes.append(NOTE_RESCALE)
        pixels = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    if not bool(np.isfinite(pixels).all()):
        return None
    window, sound = voi_of(dataset, signed=low < 0)
    if not sound:
        notes.append(NOTE_VOI)
    if not dataset.get("BurnedInAnnotation"):
        notes.append(NOTE_BURNED_IN)
    del dataset.PixelData
    return ReadImage(
        sop_uid=str(dataset.SOPInstanceUID),
        patient_id=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        modality=_text(dataset, "Modality"),
        sop_class=str(dataset.SOPClassUID),
        pixels=pixels,
        value_range=(low, high),
        window=window,
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE",
        padding=padding,
        spacing_mm=_spacing(dataset),
        pixel_digest=pixel_digest(stored),
        synthetic=dataset.get("SyntheticData") == "YES",
        header=dataset,
        notes=tuple(notes),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip("\0 \t\r\n")


def _stored_range(dataset: Dataset) -> tuple[float, float]:
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    if dataset.get("PixelRepresentation"):
        return float(-(2 ** (bits - 1))), float(2 ** (bits - 1) - 1)
    return 0.0, float(2**bits - 1)


def _rescale(dataset: Dataset) -> tuple[float, float, bool]:
    """Slope, intercept, and whether both were usable; a slope that is empty or 0 would erase the image."""
    sound = True
    values = []
    for keyword, neutral in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        value = neutral
        if keyword in dataset:
            try:
                value = float(dataset[keyword].value)
            except (TypeError, ValueError):
                value = math.nan
            if not math.isfinite(value) or (keyword == "RescaleSlope" and value == 0):
                value, sound = neutral, False
        values.append(value)
    return values[0], values[1], sound


def _padding(dataset: Dataset, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Where pixels lie outside the imaged field (PS3.3, section C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    padding: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding if bool(padding.any()) else None


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            row, column = (float(part) for part in dataset[keyword].value)
        except (KeyError, TypeError, ValueError):
            continue
        if 0 < row < math.inf and 0 < column < math.inf:
            return row, column
    return None
