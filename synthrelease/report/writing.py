"""A run's two reports, from its records and the case that was judged."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthrelease.records.digests import digest_of_file
from synthrelease.records.files import atomic_write_text, read_json
from synthrelease.records.runs import Run
from synthrelease.report.html import render
from synthrelease.report.inputs import ContactSheet, Edition, LookAlike, ReportInputs

if TYPE_CHECKING:
    from synthrelease.audit import annex as audit
    from synthrelease.audit.annex import InternalAnnex
    from synthrelease.audit.case import AuditCase
    from synthrelease.audit.images import FloatArray, ImageSet

SHEET = 24
CONTROLS = 3
APPROVALS = "approvals.jsonl"


def write_reports(run: Run, case: AuditCase, annex: InternalAnnex, *, ledger: Mapping[str, Any] | None = None) -> None:
    """Write ``report-internal.html`` and ``report-external.html`` into the run folder.

    Args:
        run: Where the records lie; audit.json must have been written.
        case: What was judged; the internal edition shows images of it.
        annex: Which synthetic images look most like a training patient.
        ledger: See :class:`~synthrelease.report.inputs.ReportInputs`.
    """
    records = {"audit": run.audit, "archive": run.archive_record, "training": run.training, "policy": run.policy}
    found = {name: read_json(path) for name, path in records.items() if path.is_file()}
    audit = found["audit"]
    external = ReportInputs(
        audit=audit,
        training=found.get("training", {}),
        archive=found.get("archive", {}),
        policy=found.get("policy", {}),
        digests={name: digest_of_file(path) for name, path in records.items() if path.is_file()},
        approvals=_approvals(run),
        sheet=contact_sheet(case),
        ledger=ledger,
        date=datetime.fromtimestamp(run.audit.stat().st_mtime, UTC).date().isoformat(),
        private=_private(run, case),
    )
    internal = replace(
        external,
        pairs=[*pairs_of(case, annex), *controls_of(case)],
        # Drawn for the picture, so that no check has seen it.
        styles=run.style_grid.read_bytes() if run.style_grid.is_file() else None,
    )
    atomic_write_text(run.report(Edition.EXTERNAL.value), render(Edition.EXTERNAL, external))
    atomic_write_text(run.report(Edition.INTERNAL.value), render(Edition.INTERNAL, internal))


def contact_sheet(case: AuditCase, count: int = SHEET) -> ContactSheet:
    """``count`` synthetic images spread evenly over the archive, ordered by class."""
    chosen = np.unique(np.linspace(0, len(case.synthetic) - 1, num=min(count, len(case.synthetic))).astype(np.int64))
    chosen = chosen[np.argsort(case.synthetic.labels[chosen], kind="stable")]
    masks = case.synthetic.masks[chosen] if case.segments else None
    labels = [case.classes[int(label)] for label in case.synthetic.labels[chosen]]
    return ContactSheet(case.synthetic.images[chosen, 0], labels, masks, case.segments)


def pairs_of(case: AuditCase, annex: InternalAnnex) -> list[LookAlike]:
    """The annex's look-alikes with their pixels."""
    if case.holdout is None:
        return []
    synthetic, train, holdout = (_positions(part.rows) for part in (case.synthetic, case.train, case.holdout))
    return [
        LookAlike(
            synthetic=_picture(case.synthetic, synthetic[pair.synthetic_row], pair.seen_by),
            nearest_train=_picture(case.train, train[pair.train_row], pair.seen_by),
            nearest_holdout=_picture(case.holdout, holdout[pair.holdout_row], pair.seen_by),
            similarity_train=pair.train_similarity,
            similarity_holdout=pair.holdout_similarity,
            name=_words(pair),
            patch=_patch(pair.box, case.synthetic.images.shape[-2:]),
        )
        for pair in annex.look_alikes
    ]


def _picture(images: ImageSet, index: int, seen_by: str) -> FloatArray:
    """(H, W) in [-1, 1]: the image, or its masks where those were compared, each in a grey of its own."""
    if seen_by != "masks":
        return np.asarray(images.images[index, 0])
    masks = images.masks[index]
    greys = np.linspace(1.0, 0.4, num=len(masks), dtype=np.float32)[:, None, None]
    return np.asarray(2.0 * (masks * greys).max(axis=0) - 1.0, dtype=np.float32)


def _words(pair: audit.LookAlike) -> str:
    """Which synthetic image, what of it, and how it was seen."""
    what = {"whole": "", "parts": "a piece of ", "masks": "the mask of "}[pair.seen_by]
    flagged = ", flagged as a copy" if pair.copy else ""
    return f"{what}synthetic image {pair.synthetic_row}{flagged}{': ' + pair.how if pair.how else ''}"


def _patch(box: tuple[float, float, float, float] | None, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Row, column, height and width in pixels of (H, W) ``shape``, from shares of the side."""
    if box is None:
        return None
    top, left, bottom, right = (round(share * side) for share, side in zip(box, (*shape, *shape), strict=True))
    return top, left, max(1, bottom - top), max(1, right - left)


def controls_of(case: AuditCase, count: int = CONTROLS) -> list[LookAlike]:
    """Held-out images beside the strangers most like them, found and measured as the look-alikes are."""
    if case.holdout is None or len(case.holdout) < 2 or len(case.synthetic) < 30:
        return []
    search, patients = case.search("whole"), case.patients
    controls = []
    for index in np.linspace(0, len(case.holdout) - 1, num=count).astype(np.int64):
        columns = [int(column) for column in search.holdout["whole"].who[index]]
        trained = [column for column in columns if column < patients.train_count]
        held = [column for column in columns if column >= patients.train_count]
        if not trained or not held:
            continue
        near, far = (search.comparison.sighting(case.holdout, int(index), side[0]) for side in (trained, held))
        controls.append(
            LookAlike(
                synthetic=case.holdout.images[index, 0],
                nearest_train=case.train.images[near.image, 0],
                nearest_holdout=case.holdout.images[far.image - len(case.train), 0],
                similarity_train=near.similarity,
                similarity_holdout=far.similarity,
                control=True,
            )
        )
    return controls


def _positions(rows: np.ndarray[Any, Any]) -> dict[int, int]:
    return {int(row): position for position, row in enumerate(rows)}


def _approvals(run: Run) -> list[dict[str, Any]]:
    path = run.folder / APPROVALS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line] if path.is_file() else []


def _private(run: Run, case: AuditCase) -> list[str]:
    """Texts that the external edition must not show: folders, the host, and names of the cohort's images."""
    folders = [str(run.folder.resolve()), *(str(path) for path in (case.real_folder,) if path is not None)]
    host = socket.gethostname()
    long_names = [
        name for part in (case.train, case.holdout) if part is not None for name in part.ids if len(name) >= 12
    ]
    return [text for text in [*folders, host if len(host) >= 6 else "", *long_names] if text and text != str(Path("/"))]
