"""NIfTI masks of a series, cut where the image lies; and whether two NIfTI files lie in the same place.

A NIfTI file counts columns, rows and slices in any order and direction, and its affine says where they run; DICOM
coordinates differ from NIfTI's by the sign of the first two. A slice is taken only when the image's grid is the
file's own: nothing is resampled.

Source: NIfTI-1.1 header, "Method 3"; PS3.3, section C.7.6.2.1.1.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthrelease.cohort.pictures import Affine, foreground, nifti_range
from synthrelease.cohort.types import BoolArray
from synthrelease.dicom.mask_reading import Target
from synthrelease.dicom.planes import OFF_GRID
from synthrelease.records.refusals import Reason

OFF_SLICE = 0.1
"""A slice is the image's own when it lies no further away than this share of the distance between slices."""

_TO_DICOM = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Volume:
    """A mask in three dimensions.

    Attributes:
        values: (X, Y, Z) bool.
        voxels: (4, 4), from the patient's coordinates as DICOM has them to indices.
    """

    values: BoolArray
    voxels: Affine


def open_volume(path: Path) -> Volume | Reason:
    """Read a NIfTI mask of three dimensions, or why there is none."""
    import nibabel as nib

    if not path.is_file():
        return Reason.FILE_MISSING
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file: Any = nib.load(path)
            array: npt.NDArray[Any] = np.asanyarray(file.dataobj)
            voxels = np.linalg.inv(_TO_DICOM @ file.affine)
    except Exception:  # nibabel raises almost anything on broken files.
        return Reason.MASK_UNREADABLE
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.size == 0 or array.dtype.kind not in "biuf":
        return Reason.MASK_UNREADABLE
    values = foreground(array, nifti_range(file))
    if values is None or not np.isfinite(voxels).all():
        return Reason.MASK_UNREADABLE
    return Volume(values, voxels)


def cut(volume: Volume, target: Target) -> BoolArray | Reason:
    """The mask of one image.

    Returns:
        (H, W) bool, or why there is none: the image does not tell where it lies, its grid is not the volume's
        (oblique to it, shifted, of another spacing or size), or it lies beyond its ends (`NO_MASK`).
    """
    if target.plane is None or target.shape is None:
        return Reason.MASK_PLACE
    corners = np.c_[target.plane.corners(target.shape), np.ones(3)] @ volume.voxels[:3].T
    first = corners[0]
    height, width = target.shape
    down, along = (corners[2] - first) / (height - 1), (corners[1] - first) / (width - 1)
    rows, columns = int(np.abs(down).argmax()), int(np.abs(along).argmax())
    down_step, along_step = np.rint(down), np.rint(along)
    ends = np.stack([first, first + down_step * (height - 1), first + along_step * (width - 1)])
    if rows == columns or np.abs(down_step).sum() != 1 or np.abs(along_step).sum() != 1:
        return Reason.MASK_PLACE
    across = 3 - rows - columns
    apart = np.abs(corners - ends[[0, 2, 1]])
    start = np.rint(first)
    apart_first = np.abs(first - start)
    if apart.max() > OFF_GRID or apart_first[[rows, columns]].max() > OFF_GRID or apart_first[across] > OFF_SLICE:
        return Reason.MASK_PLACE
    if (volume.values.shape[rows], volume.values.shape[columns]) != target.shape:
        return Reason.MASK_SIZE
    backwards = [bool(step[axis] < 0) for step, axis in ((down_step, rows), (along_step, columns))]
    wanted = [(height - 1 if backwards[0] else 0), (width - 1 if backwards[1] else 0)]
    if [int(start[rows]), int(start[columns])] != wanted:
        return Reason.MASK_PLACE
    index = int(start[across])
    if not 0 <= index < volume.values.shape[across]:
        return Reason.NO_MASK
    plane: BoolArray = np.take(volume.values, index, axis=across)
    plane = plane if rows < columns else plane.T
    return np.ascontiguousarray(plane[:: -1 if backwards[0] else 1, :: -1 if backwards[1] else 1])
