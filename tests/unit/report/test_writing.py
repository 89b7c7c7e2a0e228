"""Both reports of a run, written from its records and a case."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.audit.annex import InternalAnnex, LookAlike
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.records.files import atomic_write_json
from synthrelease.records.runs import Run
from synthrelease.report.writing import contact_sheet, controls_of, pairs_of, write_reports


def image_set(rng: np.random.Generator, count: int, first_row: int, name: str) -> ImageSet:
    smooth = rng.normal(0, 0.5, (count, 1, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
    images = np.clip(smooth, -1, 1).astype(np.float32)
    return ImageSet(
        images,
        np.zeros((count, 1, 32, 32), np.float32),
        np.arange(count) % 2,
        np.arange(count),
        ids=tuple(f"{name}-image-{index:04d}" for index in range(count)),
        rows=np.arange(count) + first_row,
    )


@pytest.fixture(scope="module")
def case() -> AuditCase:
    rng = np.random.default_rng(1)
    parts = [image_set(rng, 40, 0, "ward-seven"), image_set(rng, 30, 40, "ward-eight"), image_set(rng, 40, 0, "made")]
    return AuditCase(
        parts[0], parts[1], parts[2], ("normal", "nodule"), ("lung",), real_folder=Path("/data/wards/ward-seven")
    )


ANNEX = InternalAnnex((LookAlike(3, 5, 44, 0.7, 0.6, 0.01, True),))


def written(tmp_path: Path, case: AuditCase, audit: dict[str, Any]) -> Run:
    run = Run(tmp_path / "run")
    atomic_write_json(run.audit, audit)
    write_reports(run, case, ANNEX)
    return run


def test_both_editions_are_written_and_only_one_shows_pairs(tmp_path: Path, case: AuditCase, inputs: Any) -> None:
    run = written(tmp_path, case, inputs.external.audit)
    external = run.report("external").read_text(encoding="utf-8")
    internal = run.report("internal").read_text(encoding="utf-8")
    assert "synthetic image 3, flagged as a copy" in internal
    assert len(re.findall("<article", internal)) == 1 + len(controls_of(case))
    assert "<article" not in external
    assert "ward-" not in external


def test_pairs_take_their_pixels_by_row_of_the_stores(case: AuditCase) -> None:
    (pair,) = pairs_of(case, ANNEX)
    assert case.holdout is not None
    assert np.array_equal(pair.synthetic, case.synthetic.images[3, 0])
    assert np.array_equal(pair.nearest_train, case.train.images[5, 0])
    assert np.array_equal(pair.nearest_holdout, case.holdout.images[4, 0])


def test_a_flagged_piece_is_framed_and_told(case: AuditCase) -> None:
    seen = LookAlike(2, 1, 41, 0.9, 0.5, 1e-9, True, "parts", "a piece, 4 px down", (0.25, 0.5, 0.5, 0.75))
    (pair,) = pairs_of(case, InternalAnnex((seen,)))
    assert pair.name == "a piece of synthetic image 2, flagged as a copy: a piece, 4 px down"
    height, width = case.synthetic.images.shape[-2:]
    assert pair.patch == (height // 4, width // 2, height // 4, width // 4)


def test_a_flagged_mask_is_shown_as_a_mask(case: AuditCase) -> None:
    masks = np.zeros_like(case.synthetic.masks)
    masks[:, :, 4:9, 4:9] = 1.0
    roles = [replace(part, masks=masks[: len(part)]) for part in (case.train, case.synthetic)]
    worn = replace(case, train=roles[0], synthetic=roles[1])
    (pair,) = pairs_of(worn, InternalAnnex((LookAlike(2, 1, 41, 0.9, 0.5, 1e-9, True, "masks", "mask segment 1"),)))
    assert np.array_equal(pair.nearest_train > 0, masks[1, 0] > 0)
    assert (pair.nearest_holdout == -1).all()
    assert pair.patch is None


def test_controls_are_two_different_people(case: AuditCase) -> None:
    controls = controls_of(case)
    assert controls
    for control in controls:
        assert control.control
        assert not np.array_equal(control.synthetic, control.nearest_holdout)


def test_the_sheet_holds_synthetic_images_ordered_by_class(case: AuditCase) -> None:
    sheet = contact_sheet(case, 6)
    assert list(sheet.labels) == sorted(sheet.labels, key=case.classes.index)
    assert all(any(np.array_equal(shown, made[0]) for made in case.synthetic.images) for shown in sheet.images)
