"""Images out of one file of unknown origin, frame by frame, or the reason why not.

Order of steps, as the standard has it: stored values, modality LUT, VOI (window or table), presentation
(inversion of MONOCHROME1). This module does the first two and reads what the others need; `cohort.windows`
applies them, since which window counts is the policy's choice.

A file is walked as bytes; where the walk gives up, or what it finds would be refused, pydicom has the last word.

Source: PS3.3, sections C.7.6.3, C.7.6.16, C.11.1 and C.11.2; PS3.4, section N.2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.dicom.decoding import Undecodable
from synthrelease.dicom.describing import described_values, padding_of
from synthrelease.dicom.frames import Frames, frame_count
from synthrelease.dicom.header import Header, opened, walked
from synthrelease.dicom.judging import SMALLEST_SIDE, judged
from synthrelease.dicom.mask_reading import SegmentMask, read_segmentation
from synthrelease.dicom.opening import is_uid, list_files, quiet
from synthrelease.dicom.planes import Plane
from synthrelease.dicom.stored import OpenedFrames, StoredFrames, WalkedFrames, form_of
from synthrelease.dicom.voi import LinearWindow, ValueTable, voi_of
from synthrelease.records.refusals import Reason, Refusal

__all__ = [
    "SMALLEST_SIDE",
    "ImageFile",
    "ReadImage",
    "SegmentMask",
    "list_files",
    "open_image",
    "pixel_digest",
    "read_image",
    "read_segmentation",
]

NOTE_RESCALE = "rescale slope or intercept unusable, read as 1 and 0"
NOTE_VOI = "no usable window among those declared"
NOTE_BURNED_IN = "burned-in annotation neither declared nor denied"


@dataclass(frozen=True)
class ReadImage:
    """A frame as its file declares it. Every field but `synthetic` and `notes` is private.

    Attributes:
        sop_uid: SOP Instance UID.
        frame: Number of the frame, from 1; None in a file of a single one.
        patient_id: Patient ID, trimmed; "" when missing.
        issuer: Issuer of Patient ID, trimmed; "" when missing.
        study_uid: Study Instance UID; "" when missing.
        series_uid: Series Instance UID; "" when missing.
        modality: Modality.
        sop_class: SOP Class UID.
        pixels: (H, W) float32, after the modality LUT, not yet windowed or inverted.
        value_range: Lowest and highest value that the stored bits allow, after the modality LUT.
        window: The first usable VOI window or table, in the same values; None without one.
        inverted: Whether low values are shown bright (MONOCHROME1, or Presentation LUT Shape INVERSE).
        padding: (H, W) bool, where pixels only fill the frame; None when there is no such pixel.
        spacing_mm: Distance between pixel centres (between rows, between columns); None when missing or not positive.
        plane: Where the frame lies in the patient; None when that is not told.
        frame_of_reference: UID of the coordinates of `plane`; "" when missing.
        pixel_digest: SHA-256 of the decoded stored values.
        synthetic: Whether Synthetic Data (0008,001C) is YES.
        notes: Public remarks on what was put right.
        sex: Patient's Sex; "" when missing, as are those that follow. Private.
        age: Patient's Age. Private.
        manufacturer: Manufacturer. Private.
        model: Manufacturer's Model Name. Private.
    """

    sop_uid: str
    frame: int | None
    patient_id: str
    issuer: str
    study_uid: str
    series_uid: str
    modality: str
    sop_class: str
    pixels: npt.NDArray[np.float32]
    value_range: tuple[float, float]
    window: LinearWindow | ValueTable | None
    inverted: bool
    padding: npt.NDArray[np.bool_] | None
    spacing_mm: tuple[float, float] | None
    plane: Plane | None
    frame_of_reference: str
    pixel_digest: str
    synthetic: bool
    notes: tuple[str, ...]
    sex: str = ""
    age: str = ""
    manufacturer: str = ""
    model: str = ""


class ImageFile:
    """A file of grey frames whose header was judged.

    Args:
        path: Private.
        header: Of the file.
        stored: Its frames.
        frames: How many there are.

    Attributes:
        path: Private.
        frames: How many frames there are.
    """

    def __init__(self, path: Path, header: Header, stored: StoredFrames, frames: int) -> None:
        self.path, self.frames = path, frames
        self._header, self._stored = header, stored
        self._groups = Frames(header)
        self._sop_uid, self._sop_class = header.text(0x00080018), header.text(0x00080016)

    def frame(self, index: int) -> ReadImage | Refusal:
        """Read a frame, from 0.

        Never raises on the content of a file, and says nothing about it but the reason of a refusal.
        """
        with quiet():
            try:
                stored = self._stored.frame(index)
            except Undecodable as error:
                return Refusal(self.path, Reason.UNREADABLE_PIXELS, str(error))
            except Exception:  # Decoders raise almost anything on broken pixel data.
                return Refusal(self.path, Reason.UNREADABLE_PIXELS, "the decoder refuses it")
            if stored.min() == stored.max():
                return Refusal(self.path, Reason.CONSTANT)
            try:
                return self._described(index, stored) or Refusal(self.path, Reason.NON_FINITE)
            except Exception:  # A broken look-up table, for one.
                return Refusal(self.path, Reason.HEADER_CUT, "an element cannot be parsed")

    def _described(self, index: int, stored: npt.NDArray[Any]) -> ReadImage | None:
        header, frame = self._header, self._groups[index]
        values = described_values(frame, stored)
        if values is None:
            return None
        low = values.value_range[0]
        window, usable = voi_of(frame, signed=low < 0)
        notes = (
            *(() if values.sound else (NOTE_RESCALE,)),
            *(() if usable else (NOTE_VOI,)),
            *(() if header.text(0x00280301) else (NOTE_BURNED_IN,)),
        )
        return ReadImage(
            sop_uid=self._sop_uid,
            frame=index + 1 if self.frames > 1 else None,
            patient_id=header.name(0x00100020),
            issuer=header.name(0x00100021),
            study_uid=header.text(0x0020000D),
            series_uid=header.text(0x0020000E),
            modality=header.text(0x00080060),
            sop_class=self._sop_class,
            pixels=values.pixels,
            value_range=values.value_range,
            window=window,
            inverted=header.text(0x00280004) == "MONOCHROME1" or header.text(0x20500020) == "INVERSE",
            padding=padding_of(header, stored),
            spacing_mm=frame.spacing(),
            plane=frame.plane(),
            frame_of_reference=header.text(0x00200052),
            pixel_digest=pixel_digest(stored),
            synthetic=header.text(0x0008001C) == "YES",
            notes=notes,
            sex=header.text(0x00100040),
            age=header.text(0x00101010),
            manufacturer=header.name(0x00080070),
            model=header.name(0x00081090),
        )


def open_image(path: Path) -> ImageFile | Refusal:
    """Open a file of one or several grey frames.

    Never raises on the content of a file, and says nothing about it but the reason of a refusal.

    Args:
        path: Any file.

    Returns:
        The file, its frames not yet decoded, or why it is no image.
    """
    try:
        header, syntax = walked(path)
        frames = frame_count(header)
        if judged(header, syntax, frames) is None:
            return ImageFile(path, header, WalkedFrames(path, header, syntax, form_of(header), frames), frames)
    except (ValueError, OSError, RecursionError):
        pass
    with quiet():
        return _by_pydicom(path)


def read_image(path: Path) -> ReadImage | Refusal:
    """Read a file that holds a single grey frame; one of several frames is refused. See `open_image`."""
    file = open_image(path)
    if isinstance(file, Refusal):
        return file
    return file.frame(0) if file.frames == 1 else Refusal(path, Reason.MULTI_FRAME)


def _by_pydicom(path: Path) -> ImageFile | Refusal:
    found = opened(path)
    if isinstance(found, Refusal):
        return found
    header, syntax = found
    dataset = header.dataset
    try:
        if not is_uid(str(dataset.get("SOPInstanceUID") or "")):
            dataset.SOPInstanceUID = dataset.file_meta.get("MediaStorageSOPInstanceUID", "")
        frames = frame_count(header)
        refused = judged(header, syntax, frames, pixels=0x7FE00010 in header)
        if refused is not None:
            return Refusal(path, *refused)
        return ImageFile(path, header, OpenedFrames(dataset, syntax, form_of(header), frames), frames)
    except Exception:  # Elements are parsed late: broken ones raise almost anything.
        return Refusal(path, Reason.HEADER_CUT, "an element cannot be parsed")


def pixel_digest(stored: npt.NDArray[Any]) -> str:
    """SHA-256 of the values and their shape, hex; equal for equal values, whatever type held them.

    >>> pixel_digest(np.zeros((2, 3), np.uint8)) == pixel_digest(np.zeros((2, 3), np.int16))
    True
    """
    kind = "<f4"
    if stored.dtype.kind in "biu":
        small = stored.dtype.kind in "bu" and stored.itemsize <= 2
        small = small or stored.size == 0 or (int(stored.min()) >= 0 and int(stored.max()) < 1 << 16)
        kind = "<u2" if small else "<i8"
    digest = hashlib.sha256(f"{stored.shape}{kind}".encode())
    digest.update(np.ascontiguousarray(stored, dtype=kind).data)
    return digest.hexdigest()
