"""What would fail a run of generator um in the end is refused in the beginning: uncharged, and before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.archive.sampler import generated_samples, label_draw
from synthrelease.errors import UnsuitableData
from synthrelease.generators.registry import load_generator
from synthrelease.policy.schema import ArchiveSettings, Policy
from synthrelease.policy.shares import images_by_class
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.train import train_with

SETTINGS = {"width": 8, "latent": 4, "superpixels": 36, "batch": 4, "warmup_steps": 1, "steps": 2}
CLASSES = ("small", "large")


def rules(mode: str, archive: dict[str, Any] | None = None, **generator: Any) -> Policy:
    steps = {"steps": 1} if mode == "private" else {}
    given = policy("um", mode, {**SETTINGS, **generator}, **steps)
    return given.model_copy(update={"archive": ArchiveSettings.model_validate(archive or {"images": 2})})


def train(tmp_path: Path, given: Policy, archive: Archive) -> dict[str, Any]:
    return train_with(
        given,
        archive,
        archive.patients,
        "cohort",
        tmp_path / "run",
        ledger=Ledger(tmp_path / "ledger.jsonl"),
        resume=False,
        progress=Silent(),
        stop_after=None,
        noise=OsNoise(),
    )


def untouched(tmp_path: Path) -> bool:
    """Whether no charge and no step of a run were written."""
    return not (tmp_path / "ledger.jsonl").exists() and not (tmp_path / "run" / "events.jsonl").exists()


def atlas(tmp_path: Path, images: int, repeated: int = 0) -> dict[str, Any]:
    values = np.random.default_rng(0).integers(0, 255, (images, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "atlas.npy", np.concatenate([values, values[:repeated]]))
    return {"guidance": "public", "public_images": str(tmp_path / "atlas.npy")}


@pytest.mark.parametrize("mode", ["private", "none"])
def test_a_cohort_without_masks_that_are_used_is_refused_before_it_is_charged(mode: str, tmp_path: Path) -> None:
    archive = Archive(masks_missing=48)
    with pytest.raises(UnsuitableData, match="no training patient has masks that are used"):
        train(tmp_path, rules(mode), archive)
    assert untouched(tmp_path)


def test_a_cohort_without_usable_images_is_refused_before_it_is_charged_whatever_the_generator(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableData, match="no training patient has a usable image"):
        train(tmp_path, policy("moments", "private"), Archive(masks_missing=48))
    assert untouched(tmp_path)


def test_a_class_without_a_donor_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    """Of 24 patients two are set apart, both with small discs."""
    with pytest.raises(UnsuitableData, match="no map was given for class large"):
        train(tmp_path, rules("none", guidance="real"), Archive())
    assert untouched(tmp_path)


def test_a_class_that_nobody_asks_for_needs_no_donor(tmp_path: Path) -> None:
    small = {"images": 4, "class_shares": {"small": 1.0}}
    train(tmp_path, rules("none", small, guidance="real"), Archive())
    generator = load_generator(tmp_path / "run" / "checkpoint")
    images = generator.sample(torch.zeros(4, dtype=torch.int64), torch.Generator().manual_seed(0)).images
    assert len(torch.unique(images, dim=0)) == 4


def test_fewer_donors_of_a_class_than_images_are_refused_and_not_told_by_number(tmp_path: Path) -> None:
    small = {"images": 5, "class_shares": {"small": 1.0}}
    with pytest.raises(UnsuitableData, match="5 images of class small are wanted, and fewer maps fit it") as raised:
        train(tmp_path, rules("none", small, guidance="real"), Archive())
    assert "4" not in f"{raised.value} {raised.value.fix}"
    assert untouched(tmp_path)


def test_fewer_public_images_than_a_class_has_images_are_refused_before_the_run_is_charged(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableData, match="6 images of class small are wanted"):
        train(tmp_path, rules("private", {"images": 12}, **atlas(tmp_path, 5)), Archive())
    assert untouched(tmp_path)


def test_a_public_image_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableData, match="6 images of class small are wanted"):
        train(tmp_path, rules("private", {"images": 12}, **atlas(tmp_path, 5, repeated=4)), Archive())
    record = train(tmp_path, rules("none", {"images": 10}, **atlas(tmp_path, 5, repeated=4)), Archive())
    assert record["guidance"]["public_images"]["number"] == 5


def test_shares_that_are_still_to_be_released_are_asked_about_when_they_are_known(tmp_path: Path) -> None:
    given = rules("private", {"images": 12, "class_shares": "released"}, **atlas(tmp_path, 5))
    assert images_by_class(given) is None
    train(tmp_path, given, Archive())
    generator = load_generator(tmp_path / "run" / "checkpoint")
    labels = label_draw(CLASSES, {"small": 0.9, "large": 0.1}, 12, seed=0)
    with pytest.raises(UnsuitableData, match="11 images of class 0 are wanted"):
        generated_samples(generator, labels, 0, edition="e")


@pytest.mark.parametrize("each", [1, 3])
def test_as_many_images_are_expected_as_are_drawn(each: int) -> None:
    for images in (7, 24, 100):
        shares = {"small": 0.3, "large": 0.7}
        given = rules("none", {"images": images, "images_per_patient": each, "class_shares": shares})
        drawn = np.bincount(label_draw(CLASSES, shares, images, 0, each), minlength=2)
        expected = images_by_class(given)
        assert expected is not None
        assert all(0 <= most - own < each for most, own in zip(expected, drawn, strict=True))
