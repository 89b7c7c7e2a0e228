"""Images of the cohort are not public, whatever file they come in: they are refused before anything is charged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import Archive, policy
from torch.nn import functional

from synthrelease.cohort.phantom.patients import simulate_patient
from synthrelease.errors import Interrupted, UnsuitableData
from synthrelease.policy.schema import ArchiveSettings, Policy
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.train import train_with

SETTINGS = {"width": 8, "latent": 4, "superpixels": 36, "batch": 4, "warmup_steps": 1, "guidance": "public"}
TRAINING = slice(0, 18)
Bytes = npt.NDArray[np.uint8]


def pictures(seed: int, side: int) -> npt.NDArray[np.float32]:
    """(48, 1, side, side) in [-1, 1], two images of each of 24 simulated patients."""
    seen = [simulate_patient(seed, patient, 32).images[0].pixels for patient in range(48)]
    return functional.interpolate(
        torch.from_numpy(np.stack(seen))[:, None] * 2 - 1, size=(side, side), mode="area"
    ).numpy()


class Chests(Archive):
    """The discs' patients with chests for images; those after the training patients are held out."""

    def __init__(self) -> None:
        super().__init__()
        self._images = pictures(1, 16)


@pytest.fixture(scope="module")
def cohort() -> Chests:
    return Chests()


def saved(images: npt.NDArray[np.float32], brighter: int = 0) -> Bytes:
    """In 8 bits."""
    return np.clip((images[:, 0] + 1) * 127.5 + brighter, 0, 255).round().astype(np.uint8)


def rules(tmp_path: Path, mode: str, public: Bytes) -> Policy:
    """A policy that takes these for public; of the strangers' images there are as many as it needs."""
    np.save(tmp_path / "atlas.npy", public)
    steps = {"steps": 1} if mode == "private" else {}
    given = {**SETTINGS, "steps": 3, "public_images": str(tmp_path / "atlas.npy")}
    return policy("um", mode, given, **steps).model_copy(update={"archive": ArchiveSettings(images=2)})


def train(
    tmp_path: Path, given: Policy, cohort: Archive, *, resume: bool = False, stop_after: int | None = None
) -> dict[str, Any]:
    return train_with(
        given,
        cohort,
        cohort.patients[TRAINING],
        "cohort",
        tmp_path / "run",
        ledger=Ledger(tmp_path / "ledger.jsonl"),
        resume=resume,
        progress=Silent(),
        stop_after=stop_after,
        noise=OsNoise(),
    )


def with_one(strangers: Bytes, own: Bytes) -> Bytes:
    """Strangers with one image more, in the middle."""
    return np.concatenate([strangers[:20], own, strangers[20:]])


@pytest.fixture(scope="module")
def strangers() -> Bytes:
    return saved(pictures(2, 16))


@pytest.mark.parametrize("mode", ["private", "none"])
@pytest.mark.parametrize("case", ["all of it", "one training image", "one held out", "brightened", "darkened"])
def test_images_of_the_cohort_are_refused_before_the_run_is_charged(
    case: str, mode: str, tmp_path: Path, cohort: Chests, strangers: Bytes
) -> None:
    rows = {"all of it": slice(0, 48), "one held out": slice(47, 48)}.get(case, slice(9, 10))
    own = saved(cohort._images[rows], {"brightened": 20, "darkened": -10}.get(case, 0))
    public = own if case == "all of it" else with_one(strangers, own)
    with pytest.raises(UnsuitableData, match=r"generator\.public_images holds an image of this cohort") as raised:
        train(tmp_path, rules(tmp_path, mode, public), cohort)
    assert not (tmp_path / "ledger.jsonl").exists()
    assert not (tmp_path / "run" / "checkpoint" / "run.json").exists()
    assert not (tmp_path / "run" / "events.jsonl").exists()
    assert not re.search(r"\d", str(raised.value))  # neither how many nor whose


@pytest.mark.parametrize("mode", ["private", "none"])
def test_strangers_images_are_taken(mode: str, tmp_path: Path, cohort: Chests, strangers: Bytes) -> None:
    record = train(tmp_path, rules(tmp_path, mode, strangers), cohort)
    assert record["guidance"]["public_images"]["number"] == 48


def test_images_of_another_size_are_compared_at_the_cohorts(tmp_path: Path, cohort: Chests, strangers: Bytes) -> None:
    large = saved(pictures(1, 32))[5:6]
    with pytest.raises(UnsuitableData, match="holds an image of this cohort"):
        train(tmp_path, rules(tmp_path, "none", large.repeat(2, axis=0)), cohort)


def test_a_blank_image_that_the_cohort_has_too_is_no_patients(tmp_path: Path, strangers: Bytes) -> None:
    own = Chests()
    own._images[11] = -1.0
    train(tmp_path, rules(tmp_path, "none", with_one(strangers, np.zeros((1, 16, 16), np.uint8))), own)


def test_a_file_that_was_swapped_while_the_run_was_interrupted_is_refused(
    tmp_path: Path, cohort: Chests, strangers: Bytes
) -> None:
    given = rules(tmp_path, "none", strangers)
    with pytest.raises(Interrupted):
        train(tmp_path, given, cohort, stop_after=1)
    np.save(tmp_path / "atlas.npy", with_one(strangers, saved(cohort._images[:1])))
    with pytest.raises(UnsuitableData, match="holds an image of this cohort"):
        train(tmp_path, given, cohort, resume=True)
    assert not (tmp_path / "run" / "training.json").exists()
