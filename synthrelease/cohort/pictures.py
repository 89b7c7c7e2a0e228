"""Images that are no DICOM: PNG, JPEG, TIFF, BMP, NPY and NIfTI, with the range that their type allows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.types import BoolArray, FloatArray
from synthrelease.dicom.planes import OFF_GRID
from synthrelease.dicom.reading import SMALLEST_SIDE, pixel_digest
from synthrelease.dicom.voi import LinearWindow
from synthrelease.records.refusals import Reason

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]

_PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")
SUFFIXES = (*_PILLOW, ".npy", *_NIFTI)
"""File names that are taken for pictures."""


@dataclass(frozen=True)
class Picture:
    """A picture's values as stored.

    Attributes:
        values: (H, W) float32.
        value_range: What the file's type allows; None for floating point.
        own: The window that a NIfTI header declares.
        digest: SHA-256 of the values.
        place: (4, 4), from indices to the patient's coordinates, of a NIfTI file that tells where it lies.
    """

    values: FloatArray
    value_range: tuple[float, float] | None
    own: LinearWindow | None
    digest: str
    place: Affine | None = None


@dataclass(frozen=True)
class _Stored:
    array: Array
    value_range: tuple[float, float] | None
    own: LinearWindow | None = None
    place: Affine | None = None


def is_picture(path: Path) -> bool:
    """Whether the file's name is that of a picture."""
    return path.name.lower().endswith(SUFFIXES)


def is_nifti(path: Path) -> bool:
    """Whether the file's name is that of a NIfTI file."""
    return path.name.lower().endswith(_NIFTI)


def read_picture(path: Path) -> Picture | Reason:
    """Read a grey picture.

    Returns:
        The picture, or why it is none. A colour file whose channels are equal counts as grey.
    """
    stored = _read(path, oriented=True)
    if isinstance(stored, Reason):
        return stored
    if min(stored.array.shape) < SMALLEST_SIDE:
        return Reason.IMPLAUSIBLE_SIZE
    values = stored.array.astype(np.float32)
    if not bool(np.isfinite(values).all()):
        return Reason.NON_FINITE
    if values.min() == values.max():
        return Reason.CONSTANT
    return Picture(values, stored.value_range, stored.own, pixel_digest(stored.array), stored.place)


def read_mask(path: Path, *, oriented: bool, place: Affine | None = None) -> BoolArray | Reason:
    """Read a mask: foreground lies above half of the type's range, or above 0 where the file holds 0 and 1 only.

    So 255 is foreground and 127 ("ignore") is not, in a file of 8 bits.

    Args:
        path: The mask file.
        oriented: Whether a NIfTI mask is turned as its header says; only where its image is NIfTI too, since a PNG
            has no orientation to agree with.
        place: Where the image lies, if it tells; a mask that tells too must lie there.

    Returns:
        (H, W) bool, or why there is no mask. A map of several labels is refused: one mask, one segment.
    """
    stored = _read(path, oriented=oriented)
    if isinstance(stored, Reason):
        return stored if stored is Reason.FILE_MISSING else Reason.MASK_UNREADABLE
    if place is not None and stored.place is not None and not _same_place(place, stored.place, stored.array.shape):
        return Reason.MASK_PLACE
    values = foreground(stored.array, stored.value_range)
    return Reason.MASK_UNREADABLE if values is None else values


def foreground(array: Array, value_range: tuple[float, float] | None) -> BoolArray | None:
    """The mask that an array of numbers holds, see `read_mask`; None for anything but one mask."""
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        return None
    highest = float(array.max())
    if highest <= 1:
        return np.asarray(array > (0.5 if array.dtype.kind == "f" else 0))
    if highest < 16 or value_range is None:
        return None
    return np.asarray(array > value_range[1] / 2)


def _same_place(one: Affine, other: Affine, shape: tuple[int, ...]) -> bool:
    """Whether the corners of two grids lie within a twentieth of a voxel of each other."""
    ends = np.array([[0, 0, 0, 1], [shape[1] - 1, 0, 0, 1], [0, shape[0] - 1, 0, 1]], dtype=np.float64)
    apart = np.linalg.norm((ends @ (one - other).T)[:, :3], axis=1)
    voxel = np.linalg.norm(one[:3, :3], axis=0)
    return bool(apart.max() <= OFF_GRID * voxel[voxel > 0].min(initial=np.inf))


def _read(path: Path, *, oriented: bool) -> _Stored | Reason:
    if not path.is_file():
        return Reason.FILE_MISSING
    name = path.name.lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name.endswith(_PILLOW):
                stored = _pillow(path)
            elif name.endswith(".npy"):
                stored = _of_type(np.load(path, allow_pickle=False))
            elif name.endswith(_NIFTI):
                stored = _nifti(path, oriented)
            else:
                return Reason.UNREADABLE_PIXELS
    except Exception:  # Decoders raise almost anything on broken files.
        return Reason.UNREADABLE_PIXELS
    if isinstance(stored, Reason):
        return stored
    return _flat(stored)


def _flat(stored: _Stored) -> _Stored | Reason:
    """Drop axes of length 1; more than two that remain are colour (3 or 4 at the end) or frames."""
    array = stored.array
    if array.size == 0 or array.dtype.kind not in "biuf":
        return Reason.UNREADABLE_PIXELS
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim != 2:
        return Reason.COLOUR if array.ndim == 3 and array.shape[2] in (3, 4) else Reason.MULTI_FRAME
    return _Stored(array, stored.value_range, stored.own, stored.place)


def _of_type(array: Array) -> _Stored:
    if array.dtype.kind == "b":
        return _Stored(array, (0.0, 1.0))
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        return _Stored(array, (float(limits.min), float(limits.max)))
    return _Stored(array, None)


def _pillow(path: Path) -> _Stored | Reason:
    from PIL import Image

    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            return Reason.MULTI_FRAME
        if image.mode == "1":
            return _Stored(np.asarray(image), (0.0, 1.0))
        if image.mode == "L":
            return _Stored(np.asarray(image), (0.0, 255.0))
        if image.mode.startswith("I") and image.format == "PNG":
            return _Stored(np.asarray(image).astype(np.uint16), (0.0, 65535.0))
        if image.mode.startswith("I;16"):
            return _Stored(np.asarray(image), (0.0, 65535.0))
        if image.mode in ("I", "F"):
            return _of_type(np.asarray(image))
        if image.mode not in ("P", "PA", "LA", "RGB", "RGBA"):
            return Reason.COLOUR
        channels = np.asarray(image.convert("RGBA"))
    grey = bool((channels[..., :3] == channels[..., :1]).all() and (channels[..., 3] == 255).all())
    return _Stored(channels[..., 0], (0.0, 255.0)) if grey else Reason.COLOUR


def _nifti(path: Path, oriented: bool) -> _Stored:
    import nibabel as nib

    file: Any = nib.load(path)
    array = np.asanyarray(file.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    place = None
    if oriented and array.ndim in (2, 3):
        # Columns run to the patient's left and rows to the back or down, as radiologists look at images.
        solid = array if array.ndim == 3 else array[..., None]
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(file.affine), nib.orientations.axcodes2ornt(("L", "P", "I"))
        )
        array = nib.apply_orientation(solid, turn)
        if _tells_its_place(file):
            turned = file.affine @ nib.orientations.inv_ornt_aff(turn, solid.shape)
            # Axes of length 1 go, as they do in the array below.
            axes = [axis for axis in range(3) if array.shape[axis] > 1] or [0, 1, 2]
            place = turned[:, [*axes, *(axis for axis in range(3) if axis not in axes), 3]]
        if 1 in array.shape:
            array = array.squeeze(array.shape.index(1))
    stored = np.ascontiguousarray(array.T)  # NIfTI counts columns first
    low, high = float(file.header["cal_min"]), float(file.header["cal_max"])
    own = LinearWindow((low + high) / 2, high - low, "LINEAR_EXACT") if high > low else None
    return _Stored(stored, nifti_range(file), own, place)


def nifti_range(file: Any) -> tuple[float, float] | None:
    """What the type of a NIfTI file allows, scaled as its header says; None for floating point."""
    kind = file.get_data_dtype()
    if kind.kind not in "iu":
        return None
    slope, intercept = file.header.get_slope_inter()
    limits = np.iinfo(kind)
    scale, shift = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    low, high = sorted((limits.min * scale + shift, limits.max * scale + shift))
    return float(low), float(high)


def _tells_its_place(file: Any) -> bool:
    """Whether a NIfTI header has an affine of its own; without a code nibabel makes one up."""
    return any(int(file.header[code]) > 0 for code in ("qform_code", "sform_code"))
