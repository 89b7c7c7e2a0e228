"""What images are looked at for: labels that too few tell make no task, and each is named with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthrelease.audit import task_cells
from synthrelease.audit.images import FloatArray, ImageSet
from synthrelease.audit.task_cells import Cells, cells_of


def people(count: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (count, 1, 16, 16)).astype(np.float32)
    return ImageSet(images, np.zeros((count, 0, 16, 16), np.float32), np.arange(count) % 2, np.arange(count))


def rows(images: FloatArray, /) -> np.ndarray:
    """Mean grey of each row: an extractor that costs nothing."""
    return images.mean(axis=(1, 3)).astype(np.float64)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """Held-out people: both classes often, one woman, nobody's scanner, both bands of age."""
    monkeypatch.setattr(task_cells, "NAMED", ())
    monkeypatch.setattr(task_cells, "STEPS", 1)
    held_out, number = people(90, 0), np.arange(90)
    sex, age = np.where(number < 1, "F", "M"), np.where(number % 3, "old", "young")
    return replace(held_out, attributes={"sex": sex, "scanner": np.full(90, ""), "age": age})


def cells(holdout: ImageSet) -> Cells:
    return cells_of(people(40, 1), holdout, people(40, 2), ("rows", rows))


def test_a_label_with_too_few_images_of_two_kinds_is_left_out_by_name(told: ImageSet) -> None:
    found = cells(told)
    assert found.tasks == ("rows", "trained on classes", "trained on age")
    assert set(found.left_out) == {"trained on sex", "trained on scanner"}
    assert all("no two kinds have 8 images" in reason for reason in found.left_out.values())


def test_where_too_few_people_would_teach_every_label_is_left_out_by_name(told: ImageSet) -> None:
    found = cells(told.take(np.arange(70)))
    assert found.tasks == ("rows",)
    assert set(found.left_out) == {f"trained on {name}" for name in ("classes", "sex", "scanner", "age")}
    assert all("fewer than 25 images" in reason for reason in found.left_out.values())
