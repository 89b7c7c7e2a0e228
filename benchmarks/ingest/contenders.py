"""The plain loop that anybody writes first, and ours; both give an image and its masks at the training resolution."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from benchmarks.ingest.cohorts import SEGMENTS, Cohort
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore
from synthrelease.policy.schema import CohortSettings

Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]


def plain(folder: Path, cohort: Cohort) -> dict[str, Pair]:
    """Image in [-1, 1] and masks in [0, 1] by instance: pydicom and Pillow.

    It trusts every file: no refusals, no patients, no digests, no copies found, nothing written.
    """
    with (folder / "labels.csv").open(newline="") as stream:
        labels = {row["SOPInstanceUID"]: row["label"] for row in csv.DictReader(stream)}
    images: dict[str, npt.NDArray[np.float32]] = {}
    masks: dict[str, npt.NDArray[np.float32]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        if dataset.Modality == "SEG":
            names = {int(item.SegmentNumber): item.SegmentLabel for item in dataset.SegmentSequence}
            found = {}
            for plane, frame in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
                number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
                found[names[number]] = _resized(plane.astype(np.float32), cohort.resolution)
            source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            masks[source] = np.stack([found[name] for name in SEGMENTS])
        elif dataset.SOPInstanceUID in labels:
            values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
            shown = values.astype(np.float32) / np.float32(2047.5) - np.float32(1)
            images[dataset.SOPInstanceUID] = _resized(shown, cohort.resolution)
    return {uid: (image, masks.get(uid)) for uid, image in images.items()}


def _resized(plane: npt.NDArray[np.float32], resolution: int) -> npt.NDArray[np.float32]:
    if plane.shape == (resolution, resolution):
        return plane
    return np.asarray(Image.fromarray(plane).resize((resolution, resolution), Image.Resampling.BOX))


def ours(folder: Path, cohort: Cohort, target: Path, *, processes: int) -> CohortStore:
    """The store, as training reads it."""
    settings = CohortSettings.model_validate(
        {
            "name": "timed",
            "source": "x",
            "classes": ("normal", "sick"),
            "segments": SEGMENTS if cohort.masked else (),
            "resolution": cohort.resolution,
        }
    )
    return ingest(settings, folder, target, split=SplitDraw(0.3, "00"), processes=processes)


def apart(store: CohortStore, pairs: dict[str, Pair]) -> float:
    """The largest difference between the two, in images and masks, over all pixels."""
    most = 0.0
    for row, uid in enumerate(store.image_ids):
        rows = np.array([row])
        image, masks = pairs[uid]
        most = max(most, float(np.abs(store.images(rows)[0, 0] - image).max()))
        if masks is not None:
            most = max(most, float(np.abs(store.masks(rows)[0] - masks).max()))
    return most
