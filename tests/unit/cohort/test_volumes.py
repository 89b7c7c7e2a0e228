"""NIfTI volumes cut where an image lies, in whatever order and direction they count; anything oblique is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synthrelease.cohort.volumes import Volume, cut, open_volume
from synthrelease.dicom.mask_reading import Target
from synthrelease.dicom.planes import plane_from
from synthrelease.records.refusals import Reason

SLICES, ROWS, COLUMNS = 3, 10, 12
POSITION, SPACING, GAP = np.array([4.0, -6.0, 20.0]), (0.8, 0.5), 2.5
TILTED = [0.8, 0.6, 0, -0.36, 0.48, 0.8]


def values() -> np.ndarray:
    """(S, H, W)."""
    return np.random.default_rng(0).random((SLICES, ROWS, COLUMNS)) > 0.5


def targets(orientation: list[float]) -> list[Target]:
    """The slices of a series, along its normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [
        Target(
            f"1.2.{index}",
            None,
            (ROWS, COLUMNS),
            plane_from(list(POSITION + GAP * index * normal), orientation, SPACING),
            "1.2",
        )
        for index in range(SLICES)
    ]


def nifti(folder: Path, orientation: list[float], *, name: str = "m.nii.gz", kind: type = np.uint8) -> nib.Nifti1Image:
    """The volume as NIfTI counts it: columns, rows, slices, right and anterior positive."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * SPACING[1], column * SPACING[0]
    affine[:3, 2], affine[:3, 3] = np.cross(row, column) * GAP, POSITION
    image = nib.Nifti1Image(values().transpose(2, 1, 0).astype(kind), np.diag([-1, -1, 1, 1]) @ affine)
    nib.save(image, folder / name)
    return image


def volume(path: Path) -> Volume:
    found = open_volume(path)
    assert isinstance(found, Volume), found
    return found


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1], TILTED])
def test_slices_of_every_orientation_are_cut_exactly(orientation: list[float], tmp_path: Path) -> None:
    nifti(tmp_path, orientation)
    found = volume(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal([cut(found, target) for target in targets(orientation)], values())


def test_however_the_file_counts_its_axes_the_slices_are_the_same(tmp_path: Path) -> None:
    """All 48 orders and directions."""
    image = nifti(tmp_path, TILTED)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = image.as_reoriented(np.stack([axes, flips], axis=1))
            nib.save(turned, tmp_path / "turned.nii")
            found = volume(tmp_path / "turned.nii")
            np.testing.assert_array_equal([cut(found, target) for target in targets(TILTED)], values())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"orientation": TILTED}, Reason.MASK_PLACE),
        ({"shift": [0.3, 0, 0]}, Reason.MASK_PLACE),
        ({"shift": [0, 0, 1.25]}, Reason.MASK_PLACE),
        ({"shift": [0.5, 0, 0]}, Reason.MASK_PLACE),
        ({"shift": [0, 0, -2.5]}, Reason.NO_MASK),
        ({"shift": [0, 0, 3 * 2.5]}, Reason.NO_MASK),
        ({"spacing": (0.81, 0.5)}, Reason.MASK_PLACE),
        ({"shape": (8, COLUMNS)}, Reason.MASK_SIZE),
    ],
)
def test_an_image_on_another_grid_is_refused(changes: dict[str, object], reason: Reason, tmp_path: Path) -> None:
    straight = [1.0, 0, 0, 0, 1, 0]
    nifti(tmp_path, straight)
    position = POSITION + np.array(changes.get("shift", [0, 0, 0]))
    plane = plane_from(list(position), changes.get("orientation", straight), changes.get("spacing", SPACING))  # type: ignore[arg-type]
    shape = changes.get("shape", (ROWS, COLUMNS))
    assert cut(volume(tmp_path / "m.nii.gz"), Target("1.2", None, shape, plane, "1.2")) is reason  # type: ignore[arg-type]


def test_an_image_that_does_not_tell_where_it_lies_is_refused(tmp_path: Path) -> None:
    nifti(tmp_path, TILTED)
    assert cut(volume(tmp_path / "m.nii.gz"), Target("1.2", None, (ROWS, COLUMNS))) is Reason.MASK_PLACE


def test_floating_point_masks_are_cut_at_one_half(tmp_path: Path) -> None:
    nifti(tmp_path, [1, 0, 0, 0, 1, 0], kind=np.float32)
    np.testing.assert_array_equal(cut(volume(tmp_path / "m.nii.gz"), targets([1, 0, 0, 0, 1, 0])[1]), values()[1])


def test_broken_files_maps_of_labels_and_other_shapes_are_refused(tmp_path: Path) -> None:
    assert open_volume(tmp_path / "none.nii") is Reason.FILE_MISSING
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b broken")
    assert open_volume(tmp_path / "cut.nii.gz") is Reason.MASK_UNREADABLE
    for name, array in {"labels": np.full((4, 4, 4), 3, np.uint8), "flat": np.ones((4, 4), np.uint8)}.items():
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii")
        assert open_volume(tmp_path / f"{name}.nii") is Reason.MASK_UNREADABLE
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    image.header["srow_x"] = image.header["srow_y"] = 0
    nib.save(image, tmp_path / "zero.nii")
    content = bytearray((tmp_path / "zero.nii").read_bytes())
    content[280:328] = bytes(48)  # the affine's three rows
    (tmp_path / "zero.nii").write_bytes(content)
    assert open_volume(tmp_path / "zero.nii") is Reason.MASK_UNREADABLE
