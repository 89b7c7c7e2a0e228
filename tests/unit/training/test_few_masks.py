"""Few masks: whose are used, and what a run with them records and pays for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import Archive, Rows, policy

from synthrelease.errors import Interrupted, UnsuitableData, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.generators.um.model import UmGenerator
from synthrelease.policy.schema import ArchiveSettings, Policy
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.patients import FewMasks, TrainingPatients
from synthrelease.training.planning import few_masks_of
from synthrelease.training.train import train_with

FEW = {"width": 8, "latent": 4, "superpixels": 36, "batch": 4, "warmup_steps": 1, "steps": 3, "labelled_share": 0.5}


def patients(archive: Archive, share: float = 0.5, only: slice = slice(None)) -> TrainingPatients:
    return TrainingPatients(archive, archive.patients[only], 1, few_masks=FewMasks(share, seed=3))


def used(given: TrainingPatients, archive: Archive) -> dict[int, bool]:
    """Whether each patient's masks are used, by number in the archive."""
    batch = given.batch(given.all_rows)
    assert batch.labelled is not None
    return {int(archive.owner[row]): bool(flag) for row, flag in zip(given.all_rows, batch.labelled, strict=True)}


def test_whose_masks_are_used_does_not_depend_on_who_else_is_there() -> None:
    """As privacy asks: one patient more may not change what another gives."""
    archive = Archive(patients=24)
    everybody = used(patients(archive), archive)
    some = used(patients(archive, only=slice(5, None, 2)), archive)
    assert some == {patient: everybody[patient] for patient in some}
    assert 4 <= sum(everybody.values()) <= 20


def test_the_draw_is_of_the_seed_and_about_the_share() -> None:
    archive = Archive(patients=400, images_each=1)
    shares = [np.mean(list(used(patients(archive, share), archive).values())) for share in (0.1, 0.5, 1.0)]
    np.testing.assert_allclose(shares, [0.1, 0.5, 1.0], atol=0.08)
    other = TrainingPatients(archive, archive.patients, 1, few_masks=FewMasks(0.5, seed=4))
    assert used(other, archive) != used(patients(archive), archive)


def test_masks_that_are_not_used_are_blank_and_all_of_a_patients_are_treated_alike() -> None:
    archive = Archive()
    batch = patients(archive).batch(np.arange(48))
    assert batch.labelled is not None
    assert not batch.masks[~batch.labelled].any()
    assert batch.masks[batch.labelled].flatten(1).any(dim=1).all()
    assert torch.equal(batch.labelled[::2], batch.labelled[1::2])


def test_images_without_masks_are_kept_and_count_as_unlabelled() -> None:
    archive = Archive(masks_missing=10)
    kept = patients(archive, share=1.0)
    assert len(kept) == 24
    batch = kept.batch(kept.all_rows)
    assert batch.labelled is not None
    assert batch.labelled.tolist() == archive.has_mask.tolist()
    assert len(kept.labelled_rows()) == 38
    assert len(TrainingPatients(archive, archive.patients, 1)) == 19


def test_patients_of_whom_no_mask_is_used_are_refused() -> None:
    archive = Archive(patients=3)
    with pytest.raises(UnsuitableData, match="no training patient has masks that are used"):
        patients(archive, share=1e-9)


def run(
    tmp_path: Path, mode: str, *, archive: Archive | None = None, stop_after: int | None = None, **changes: Any
) -> dict[str, Any]:
    archive = archive or Archive(masks_missing=6)
    rules = policy("um", mode, {**FEW, **changes}, **({"steps": 2} if mode == "private" else {}))
    # Each map paints one image: of the two donors both have small discs, in two images each.
    few = ArchiveSettings(images=4, class_shares={"small": 1.0})
    return train_with(
        rules.model_copy(update={"archive": few}),
        archive,
        archive.patients,
        "cohort",
        tmp_path / "run",
        ledger=Ledger(tmp_path / "discs.jsonl"),
        resume=False,
        progress=Silent(),
        stop_after=stop_after,
        noise=OsNoise(),
    )


@pytest.mark.parametrize("guidance", ["generated", "procedural"])
def test_a_private_run_pays_for_critics_and_painter_and_for_no_maps(guidance: str, tmp_path: Path) -> None:
    record = run(tmp_path, "private", guidance=guidance)
    privacy = record["privacy"]
    assert privacy["epsilon"] <= 1.0
    assert privacy["step_groups"] == {"gradient_steps": ["critics", "painter"]}
    assert record["guidance"] == {"maps": guidance, "masks_used": {"share_of_patients": 0.5, "seed": 0}}
    generator = load_generator(tmp_path / "run" / "checkpoint")
    assert isinstance(generator, UmGenerator)
    assert len(generator.maps) == 0
    batch = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert batch.images.shape == batch.masks.shape == (2, 1, 16, 16)


def test_a_run_with_public_maps_tells_which(tmp_path: Path) -> None:
    np.save(tmp_path / "atlas.npy", np.random.default_rng(0).integers(0, 255, (5, 32, 32), dtype=np.uint8))
    record = run(tmp_path, "none", guidance="public", public_images=str(tmp_path / "atlas.npy"))
    assert record["guidance"]["public_images"]["number"] == 5
    assert len(record["guidance"]["public_images"]["sha256"]) == 64
    generator = load_generator(tmp_path / "run" / "checkpoint")
    assert isinstance(generator, UmGenerator)
    assert len(generator.maps) == 5


def test_images_that_are_not_there_or_none_are_refused_before_anything_is_charged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        run(tmp_path, "none", guidance="public", public_images=str(tmp_path / "none.npy"))
    for name, values in (
        ("flat", np.zeros((4, 4), np.uint8)),
        ("empty", np.zeros((0, 4, 4), np.uint8)),
        ("f", np.zeros((1, 4, 4))),
    ):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(UnsuitableData, match="public_images"):
            run(tmp_path, "none", guidance="public", public_images=str(tmp_path / f"{name}.npy"))
    assert not (tmp_path / "discs.jsonl").exists()


class Watched(Archive):
    """An archive that notes which rows were read, one reading after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Rows] = []

    def images(self, rows: Rows) -> npt.NDArray[np.float32]:
        self.read.append(rows)
        return super().images(rows)


def test_real_maps_are_warned_about_and_are_of_patients_no_network_saw(tmp_path: Path) -> None:
    archive = Watched()
    record = run(tmp_path, "none", archive=archive, guidance="real", steps=8)
    assert "each leads back to its patient" in record["guidance"]["warning"]
    assert json.loads((tmp_path / "run" / "training.json").read_text())["guidance"] == record["guidance"]
    generator = load_generator(tmp_path / "run" / "checkpoint")
    assert isinstance(generator, UmGenerator)
    # Whose masks are used is drawn from each patient's pixels first; donors are read last, in one batch.
    *lessons, donors = archive.read[len(archive.patients) :]
    assert torch.equal(generator.maps, generator.guidance.of(torch.from_numpy(archive.images(donors))))
    given, taught = set(archive.owner[donors]), set(archive.owner[np.concatenate(lessons)])
    assert len(given) == 2
    assert len(taught) > 15
    assert not given & taught


def test_only_who_learns_masks_meets_patients_with_masks_more_often_than_others(tmp_path: Path) -> None:
    """Critics would know a few patients by heart, and the mapper, which learns of them alone, would make maps like theirs."""
    archive = Watched()
    run(tmp_path, "none", archive=archive, labelled_share=0.25, steps=60, batch=8)
    readings = archive.read[len(archive.patients) :]
    whole = TrainingPatients(Archive(), archive.patients, 1, few_masks=FewMasks(0.25, seed=0))
    labelled = whole.batch(np.arange(len(archive.labels))).labelled
    assert labelled is not None
    masks = labelled.numpy()
    critics, painter, mapper = (np.mean([masks[rows].mean() for rows in readings[of::3]]) for of in range(3))
    assert 0.1 < masks.mean() < 0.35
    assert critics == pytest.approx(masks.mean(), abs=0.07)
    assert mapper == pytest.approx(masks.mean(), abs=0.07)
    assert painter == pytest.approx(0.5 + 0.5 * masks.mean(), abs=0.07)
    assert all(masks[rows[:4]].all() for rows in readings[1::3])


def test_donors_who_alone_have_masks_that_are_used_are_refused_before_any_step(tmp_path: Path) -> None:
    whole = Archive()
    _, donors = TrainingPatients(whole, whole.patients, 1).parted(0.1, seed=0)
    whole.has_mask[~np.isin(np.arange(len(whole.labels)), donors.all_rows)] = False
    with pytest.raises(UnsuitableData, match="none is left to learn from") as raised:
        run(tmp_path, "none", archive=whole, guidance="real", labelled_share=1.0)
    assert "generator.labelled_share" in str(raised.value.fix)
    events = tmp_path / "run" / "events.jsonl"
    assert not events.exists() or '"step"' not in events.read_text()


def test_an_interrupted_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    archive, rules = Archive(), policy("um", "none", FEW)

    def go(name: str, *, resume: bool = False, stop_after: int | None = None) -> dict[str, Any]:
        return train_with(
            rules,
            archive,
            archive.patients,
            "cohort",
            tmp_path / name,
            ledger=Ledger(tmp_path / f"{name}.jsonl"),
            resume=resume,
            progress=Silent(),
            stop_after=stop_after,
            noise=OsNoise(),
        )

    whole = go("whole")
    with pytest.raises(Interrupted):
        go("parts", stop_after=2)
    assert go("parts", resume=True)["digests"]["generator"] == whole["digests"]["generator"]


def test_a_policy_of_another_generator_needs_every_mask() -> None:
    given: Policy = policy("diffusion", "none")
    assert few_masks_of(given) is None
    assert few_masks_of(policy("um", "none", FEW)) == FewMasks(0.5, 0)
