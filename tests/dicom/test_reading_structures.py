"""Structure sets: contours filled exactly, on the image they were drawn on or the one in their place, or refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from synthrelease.dicom.contours import filled
from synthrelease.dicom.mask_reading import Target, open_segmentation
from synthrelease.dicom.opening import STRUCTURE_SET, list_files
from synthrelease.dicom.planes import Plane, plane_from
from synthrelease.dicom.reading import ReadImage, read_image
from synthrelease.dicom.scanning import Kind, scan
from synthrelease.dicom.structure_reading import Structures
from synthrelease.records.refusals import Reason, Refusal
from tests.dicom.multi_frame import item

SHAPE = (60, 70)
REFERENCE, SERIES = "1.2.826.1", "1.2.826.2"
UIDS = [f"1.2.826.3.{index}" for index in range(3)]
ORIGINALS = (
    Path(os.environ.get("SYNTHRELEASE_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
    / "dicom-originals"
)
TILTED = [0.8, 0.6, 0, -0.36, 0.48, 0.8]
"""Row and column directions of an oblique slice."""


def circle(centre: tuple[float, float], radius: float, points: int = 400) -> np.ndarray:
    """(N, 2) row and column."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


def disc(centre: tuple[float, float], radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """(H, W): pixels whose centre lies inside."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) < radius


def plane(z: float = 0.0, orientation: Sequence[float] = (1, 0, 0, 0, 1, 0)) -> Plane:
    found = plane_from([-30, 12, z], orientation, [0.9, 0.7])
    assert found is not None
    return found


def in_patient(points: np.ndarray, of: Plane, *, off: float = 0.0) -> list[float]:
    """Contour Data of row and column coordinates."""
    placed = (
        np.array(of.position)
        + points[:, :1] * of.spacing[0] * np.array(of.along_column)
        + points[:, 1:] * of.spacing[1] * np.array(of.along_row)
        + off * of.normal
    )
    return [float(f"{value:.4f}") for value in placed.ravel()]


def contour(points: np.ndarray, of: Plane, image: str | None, kind: str = "CLOSED_PLANAR", **options: Any) -> Dataset:
    made = item(ContourGeometricType=kind, ContourData=in_patient(points, of, **options))
    made.NumberOfContourPoints = len(points)
    if image is not None:
        made.ContourImageSequence = [
            item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=image)
        ]
    return made


def structures(*regions: tuple[str, list[Dataset]], listed: Sequence[str] = UIDS) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID, made.PatientID = STRUCTURE_SET, generate_uid(), "PID-7"
    images = [item(ReferencedSOPInstanceUID=uid) for uid in listed]
    made.ReferencedFrameOfReferenceSequence = [
        item(
            FrameOfReferenceUID=REFERENCE,
            RTReferencedStudySequence=[
                item(
                    RTReferencedSeriesSequence=[item(SeriesInstanceUID=SERIES, ContourImageSequence=images)],
                )
            ],
        )
    ]
    made.StructureSetROISequence = [
        item(ROINumber=number, ROIName=name) for number, (name, _) in enumerate(regions, start=1)
    ]
    made.ROIContourSequence = [
        item(ReferencedROINumber=number, ContourSequence=contours)
        for number, (_, contours) in enumerate(regions, start=1)
    ]
    made.RTROIObservationsSequence = [
        item(ReferencedROINumber=1, RTROIIdentificationCodeSequence=[item(CodeValue="39607008")])
    ]
    return made


def save(folder: Path, dataset: Dataset) -> Path:
    dataset.save_as(folder / "rt.dcm", enforce_file_format=True)
    return folder / "rt.dcm"


def masks(folder: Path, dataset: Dataset, target: Target) -> dict[str, np.ndarray]:
    opened = open_segmentation(save(folder, dataset))
    assert isinstance(opened, Structures), opened
    return {mask.name: mask.mask for mask in opened.masks(target)}


def target(index: int = 0, of: Plane | None = None, **changes: Any) -> Target:
    values = {"shape": SHAPE, "plane": of or plane(), "frame_of_reference": REFERENCE, **changes}
    return Target(UIDS[index], **values)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), tuple(TILTED)])
def test_a_circle_becomes_the_disc_of_the_pixels_whose_centre_it_holds(
    orientation: Sequence[float], tmp_path: Path
) -> None:
    of = plane(5.0, orientation)
    found = masks(tmp_path, structures(("Lung", [contour(circle((31.3, 28.6), 17.2), of, UIDS[0])])), target(of=of))
    np.testing.assert_array_equal(found["Lung"], disc((31.3, 28.6), 17.2))
    assert abs(found["Lung"].sum() - np.pi * 17.2**2) < 12


def test_a_contour_inside_another_one_is_a_hole_and_those_apart_are_united(tmp_path: Path) -> None:
    rings = [
        contour(circle((25.2, 25.3), 18.1), plane(), UIDS[0], "CLOSEDPLANAR_XOR"),
        contour(circle((25.2, 25.3), 7.1)[::-1], plane(), UIDS[0], "CLOSEDPLANAR_XOR"),
        contour(circle((50.2, 55.3), 6.1), plane(), UIDS[0]),
    ]
    found = masks(tmp_path, structures(("ring", rings)), target())
    expected = disc((25.2, 25.3), 18.1) & ~disc((25.2, 25.3), 7.1) | disc((50.2, 55.3), 6.1)
    np.testing.assert_array_equal(found["ring"], expected)


def test_a_keyhole_is_a_hole_too(tmp_path: Path) -> None:
    outer, inner = circle((30.2, 30.3), 20.1), circle((30.2, 30.3), 8.1)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, inner[-1:], outer[:1]])
    found = masks(tmp_path, structures(("ring", [contour(keyhole, plane(), UIDS[0])])), target())
    np.testing.assert_array_equal(found["ring"], disc((30.2, 30.3), 20.1) & ~disc((30.2, 30.3), 8.1))


def test_contours_that_leave_the_image_are_cut_at_its_edge(tmp_path: Path) -> None:
    found = masks(tmp_path, structures(("big", [contour(circle((0.2, 69.3), 25.1), plane(), UIDS[0])])), target())
    np.testing.assert_array_equal(found["big"], disc((0.2, 69.3), 25.1))


def test_each_slice_has_its_own_contours_and_a_region_without_one_is_empty(tmp_path: Path) -> None:
    made = structures(
        (
            "a",
            [
                contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0]),
                contour(circle((40.2, 40.3), 9.1), plane(2.5), UIDS[1]),
            ],
        ),
        ("b", [contour(circle((30.2, 30.3), 5.1), plane(2.5), UIDS[1])]),
    )
    first, second, third = (masks(tmp_path, made, target(index, plane(2.5 * index))) for index in range(3))
    np.testing.assert_array_equal(first["a"], disc((20.2, 20.3), 9.1))
    np.testing.assert_array_equal(second["a"], disc((40.2, 40.3), 9.1))
    assert [first["b"].any(), second["b"].any(), third["a"].any(), third["b"].any()] == [False, True, False, False]


def test_contours_that_name_no_image_belong_to_the_one_they_lie_in(tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(2.5), None)]), listed=())
    np.testing.assert_array_equal(masks(tmp_path, made, target(1, plane(2.5)))["a"], disc((20.2, 20.3), 9.1))
    assert masks(tmp_path, made, target(0)) == {}
    assert masks(tmp_path, made, target(1, plane(2.5), frame_of_reference="1.2.3")) == {}


def test_points_and_open_lines_outline_nothing(tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0], "OPEN_PLANAR")]))
    assert not masks(tmp_path, made, target())["a"].any()


def test_a_contour_that_lies_off_the_image_it_names_is_an_error(tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0], off=1.5)]))
    with pytest.raises(ValueError, match="outside"):
        masks(tmp_path, made, target())


def test_an_image_that_does_not_tell_where_it_lies_cannot_have_contours(tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0])]))
    with pytest.raises(ValueError, match="where it lies"):
        masks(tmp_path, made, Target(UIDS[0], None, SHAPE))


@pytest.mark.parametrize("data", [[], [1.0, 2.0], [1.0] * 6, [1.0] * 10])
def test_broken_contours_are_an_error(data: list[float], tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0])]))
    made.ROIContourSequence[0].ContourSequence[0].ContourData = data
    with pytest.raises(ValueError, match="broken"):
        masks(tmp_path, made, target())


def test_frames_of_a_multi_frame_image_have_their_own_contours(tmp_path: Path) -> None:
    first, second = (
        contour(circle((20.2, 20.3), 9.1), plane(), UIDS[0]),
        contour(circle((40.2, 40.3), 9.1), plane(2), UIDS[0]),
    )
    second.ContourImageSequence[0].ReferencedFrameNumber = 2
    first.ContourImageSequence[0].ReferencedFrameNumber = 1
    made = structures(("a", [first, second]))
    np.testing.assert_array_equal(masks(tmp_path, made, target(0, frame=1))["a"], disc((20.2, 20.3), 9.1))
    np.testing.assert_array_equal(masks(tmp_path, made, target(0, plane(2), frame=2))["a"], disc((40.2, 40.3), 9.1))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_first_look_finds_images_series_and_coordinates(syntax: str, tmp_path: Path) -> None:
    made = structures(("a", [contour(circle((20.2, 20.3), 9.1), plane(), "1.2.9")]))
    made.file_meta.TransferSyntaxUID = syntax
    found = scan(save(tmp_path, made))
    assert not isinstance(found, Refusal)
    assert (found.kind, found.references) == (Kind.MASK, (*UIDS, "1.2.9"))
    assert (found.series_uid, found.frame_of_reference, found.patient) == (SERIES, REFERENCE, "PID-7")


def test_codes_and_names_are_told(tmp_path: Path) -> None:
    opened = open_segmentation(save(tmp_path, structures(("Lung", []), ("b", []))))
    assert not isinstance(opened, Refusal)
    assert opened.names == ["Lung", "b"]
    assert [mask.code for mask in opened.masks(target())] == ["39607008", ""]


def test_a_structure_set_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, structures(("a", [contour(circle((20.2, 20.3), 9.1, 12), plane(), UIDS[0])])))
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 97):
        path.write_bytes(content[:length])
        result = open_segmentation(path)
        assert isinstance(result, Refusal), length
        assert result.reason is Reason.MASK_UNREADABLE
        scan(path)


def test_filling_agrees_with_a_ray_from_every_pixel() -> None:
    """Random polygons, crossing themselves, against the plain rule point by point."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(-3, 18, (rng.integers(3, 12), 2))
        found = filled([points], (14, 16))
        for row in range(14):
            for column in range(16):
                inside = False
                for (r, c), (s, d) in zip(points, np.roll(points, -1, axis=0), strict=True):
                    if (r <= row) != (s <= row) and c + (row - r) / (s - r) * (d - c) <= column:
                        inside = not inside
                assert found[row, column] == inside


@pytest.mark.real
@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the unmodified DICOM files of SYNTHRELEASE_DATA are not here")
def test_a_structure_set_of_a_public_collection_is_read_on_its_images() -> None:
    folder = ORIGINALS / "qurit+rt-utils"
    images = [image for path in list_files(folder) if isinstance(image := read_image(path), ReadImage)]
    found = 0
    for path in list_files(folder):
        opened = open_segmentation(path)
        for image in images if isinstance(opened, Structures) else ():
            height, width = image.pixels.shape
            of = Target(image.sop_uid, None, (height, width), image.plane, image.frame_of_reference)
            found += sum(bool(mask.mask.any()) for mask in opened.masks(of))
    assert found >= 10
