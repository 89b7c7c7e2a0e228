"""Reading a cohort or an archive into a store, one image at a time: memory does not grow with the pixels."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from synthrelease.cohort.attributes import ATTRIBUTES
from synthrelease.cohort.growing import GrowingArray
from synthrelease.cohort.processes import Workers
from synthrelease.cohort.readers import reader_for
from synthrelease.cohort.shrinking import Shrunk, TakenIn
from synthrelease.cohort.split import SplitDraw, draw_split, set_aside
from synthrelease.cohort.store import (
    ARRAYS,
    IDS,
    IMAGES,
    MANIFEST,
    MASKS,
    REFUSALS,
    CohortManifest,
    CohortStore,
)
from synthrelease.cohort.types import CohortReader
from synthrelease.errors import UnsuitableData
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.files import PARTIAL, atomic_folder, atomic_write_json
from synthrelease.records.refusals import Refusal

MINIMUM_PATIENTS = 20
"""Below this, neither a split nor any statement about a group of people makes sense."""


def ingest(
    settings: CohortSettings,
    source: Path,
    target: Path,
    *,
    split: SplitDraw | None,
    progress: Callable[[int], None] | None = None,
    minimum_patients: int = MINIMUM_PATIENTS,
    reader: CohortReader | None = None,
    processes: int | None = None,
) -> CohortStore:
    """Read a source into a store.

    Args:
        settings: How the cohort is read.
        source: See `reader_for`.
        target: Folder of the store; appears when it is complete, replacing an older one. Mode 0700.
        split: How the holdout is drawn; None for a synthetic archive, which has no holdout, may lack a class and may
            be small, and is read by `reader_for(..., archive=True)`.
        progress: Called with the number of files and rows seen so far.
        minimum_patients: Fewer are refused; only with `split`.
        reader: Read from this instead of what `reader_for` finds.
        processes: That read, when there are many files; None: one a processor. The store does not depend on it.

    Returns:
        The opened store.

    Raises:
        UnsuitableData: No usable image, a class without a patient, too few patients, or a reading process that was
            ended from outside. The message
            counts the refusals by reason and names nobody.
        UsageError: The source is not there, or its table cannot be used.
    """
    reader = reader or reader_for(settings, source, archive=split is None)
    taken_in = TakenIn(settings, reader)
    for leftover in target.parent.glob(f"{PARTIAL}{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # private pixels that a killed run left behind
    with atomic_folder(target) as folder:
        folder.chmod(0o700)
        with (
            Workers(processes) as workers,
            _Taking(settings, folder) as taking,
            (folder / REFUSALS).open("w", encoding="utf-8") as refusals,
        ):
            for seen, item in enumerate(taken_in.items(workers), start=1):
                if isinstance(item, Refusal):
                    taking.refused[item.reason.value] += 1
                    line = {
                        "path": os.path.relpath(item.path, source if source.is_dir() else source.parent),
                        "reason": item.reason.value,
                        "detail": item.detail,
                    }
                    refusals.write(json.dumps(line, sort_keys=True) + "\n")
                else:
                    taking.take(item)
                if progress is not None:
                    progress(seen)
            taking.judge(minimum_patients if split is not None else 1, every_class=split is not None)
        taking.finish(split, taken_in.notes)
    return CohortStore.open(target)


class _Taking:
    """A store that is being written."""

    def __init__(self, settings: CohortSettings, folder: Path) -> None:
        side = (settings.resolution, settings.resolution)
        self._settings = settings
        self._folder = folder
        self._images = GrowingArray(folder / IMAGES, side, np.dtype("<u2"))
        self._masks = GrowingArray(folder / MASKS, (len(settings.segments), *side), np.dtype("u1"))
        self._index = {name: position for position, name in enumerate(settings.classes)}
        self._patients: dict[str, int] = {}
        self._ids: list[str] = []
        self._digests: list[str] = []
        self._labels: list[int] = []
        self._patient: list[int] = []
        self._has_mask: list[bool] = []
        self._attributes: dict[str, list[str]] = {name: [] for name in ATTRIBUTES}
        self.refused: Counter[str] = Counter()

    def __enter__(self) -> _Taking:
        return self

    def __exit__(self, *_: object) -> None:
        self._images.close()
        self._masks.close()

    def take(self, image: Shrunk) -> None:
        """Write one image."""
        self._images.append(image.levels)
        self._masks.append(np.zeros(self._masks.row_shape) if image.coverage is None else image.coverage)
        self._labels.append(self._index[image.label])
        self._patient.append(self._patients.setdefault(image.patient_id, len(self._patients)))
        self._has_mask.append(image.coverage is not None)
        self._ids.append(image.image_id)
        self._digests.append(image.pixel_digest)
        for name, values in self._attributes.items():
            values.append(image.attributes.get(name, ""))

    def judge(self, minimum_patients: int, *, every_class: bool) -> None:
        """Refuse a cohort that cannot serve.

        Raises:
            UnsuitableData: With the refusals counted by reason.
        """
        if not self._ids:
            raise UnsuitableData(
                f"the source holds no usable image; {self._counts()}",
                fix="Look at the reasons; cohort.reader, cohort.label, cohort.masks and cohort.identity decide most.",
            )
        present = set(self._labels)
        empty = [name for name, position in self._index.items() if position not in present]
        if every_class and empty:
            raise UnsuitableData(
                f"no patient has the class {', '.join(empty)}; {self._counts()}",
                fix="Take the class out of cohort.classes, or correct the labels.",
            )
        if len(self._patients) < minimum_patients:
            raise UnsuitableData(
                f"fewer than {minimum_patients} patients can be used; {self._counts()}",
                fix="Give more patients; check that Patient ID tells them apart.",
            )

    def finish(self, split: SplitDraw | None, notes: Counter[str]) -> None:
        """Draw the split and write the index and the manifest; the pixels are written."""
        shared, ties = self._shared()
        holdout = np.zeros(len(self._patients), dtype=np.bool_)
        if split is not None:
            holdout = draw_split(list(self._patients), split.fraction, split.seed)
        aside = set_aside(holdout, ties)
        np.savez(
            self._folder / ARRAYS,
            labels=np.asarray(self._labels, dtype=np.int64),
            patient=np.asarray(self._patient, dtype=np.int64),
            holdout=holdout,
            aside=aside,
            has_mask=np.asarray(self._has_mask, dtype=np.bool_),
        )
        told = {name: values for name, values in self._attributes.items() if any(values)}
        ids = {
            "images": self._ids,
            "patients": list(self._patients),
            "pixel_digests": self._digests,
            "attributes": told,
        }
        # ASCII: a file name need not be valid Unicode, and such an id must come back as it was.
        (self._folder / IDS).write_text(json.dumps(ids), encoding="ascii")
        manifest = CohortManifest(
            classes=self._settings.classes,
            segments=self._settings.segments,
            resolution=self._settings.resolution,
            patients=len(self._patients),
            images=len(self._ids),
            refused=dict(sorted(self.refused.items())),
            notes=dict(sorted(notes.items())),
            train_patients=int((~holdout).sum()),
            holdout_patients=int((holdout & ~aside).sum()),
            aside_patients=int(aside.sum()),
            holdout_fraction=split.fraction if split is not None else None,
            split_seed=split.seed if split is not None else None,
            duplicates_across_patients=shared,
        )
        manifest = replace(manifest, digest=manifest.digest_with(self._folder))
        atomic_write_json(self._folder / MANIFEST, manifest.to_json())

    def _shared(self) -> tuple[int, list[list[int]]]:
        """How many images have pixels that another patient has too, and the patients of each such image."""
        owners: dict[str, set[int]] = {}
        for digest, patient in zip(self._digests, self._patient, strict=True):
            owners.setdefault(digest, set()).add(patient)
        ties = [sorted(patients) for patients in owners.values() if len(patients) > 1]
        return sum(len(owners[digest]) > 1 for digest in self._digests), ties

    def _counts(self) -> str:
        if not self.refused:
            return "nothing was refused"
        return "refused: " + ", ".join(f"{count} x {reason}" for reason, count in self.refused.most_common())
