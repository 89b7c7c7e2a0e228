"""Moments are what they say, and one patient moves each sum by at most its clip norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.errors import UnsuitableData
from synthrelease.generators.moments.basis import Basis
from synthrelease.privacy.account import Account
from synthrelease.privacy.noise import OsNoise
from synthrelease.training.moments import COUNTS, MASKED, SECOND, SUMS, class_means, fit_moments, queries, symmetric
from synthrelease.training.patients import FewMasks, TrainingPatients
from synthrelease.training.planning import plan_of, spec_of

Array = npt.NDArray[np.float64]
RULES = policy("moments", "private")
BASIS = Basis(spec_of(RULES), RULES.generator)
SOME = policy("um", "private", {"warmup_steps": 1, "labelled_share": 0.5})


class NoNoise(OsNoise):
    """Shows the sums."""

    def normal(self, size: int) -> Array:
        """Zeros."""
        return np.zeros(size)


def patients(archive: Archive, only: list[int] | None = None, few: FewMasks | None = None) -> TrainingPatients:
    """All, or some, patients of an archive."""
    return TrainingPatients(archive, archive.patients if only is None else np.array(only), 1, few_masks=few)


def sums(
    archive: Archive, folder: Path, only: list[int] | None = None, few: FewMasks | None = None
) -> dict[str, Array]:
    """The released sums without their noise; ``few``: of the policy that uses the masks of some."""
    plan = plan_of(RULES if few is None else SOME)
    assert plan is not None
    found: dict[str, Array] = {}
    folder.mkdir()
    account = Account(folder / "a.jsonl", plan, "r", resume=False)
    fit_moments(patients(archive, only, few), BASIS, 2, account=account, noise=NoNoise(), keep=found.__setitem__)
    return found


def test_exact_moments_equal_the_formulas() -> None:
    archive = Archive(patients=6)
    found = fit_moments(patients(archive), BASIS, 2, account=None, noise=NoNoise())
    features = BASIS.features(archive._images, archive._masks)
    for c in range(2):
        assert found.means[c] == pytest.approx(features[archive.labels == c].mean(axis=0))
    residual = features - found.means[archive.labels]
    assert found.covariance == pytest.approx(residual.T @ residual / len(residual))
    assert found.counts.tolist() == [3, 3]
    assert found.covariance_noise == 0


def test_each_patient_has_weight_one_however_many_images(tmp_path: Path) -> None:
    many = Archive(patients=4, images_each=30)
    found = fit_moments(patients(many), BASIS, 2, account=None, noise=NoNoise())
    assert found.counts.sum() == pytest.approx(4)


def test_where_masks_of_some_are_used_everybody_teaches_the_image_and_those_the_masks() -> None:
    archive = Archive(patients=8, masks_missing=6)
    found = fit_moments(patients(archive, few=FewMasks(1.0, 0)), BASIS, 2, account=None, noise=NoNoise())
    features, n, known = BASIS.features(archive._images, archive._masks), BASIS.image_dimensions, archive.has_mask
    assert found.of_masks is not None
    assert (found.counts.tolist(), found.of_masks.counts.tolist()) == ([4, 4], [2, 3])
    for c in range(2):
        own = archive.labels == c
        assert found.means[c, :n] == pytest.approx(features[own, :n].mean(axis=0))
        assert found.means[c, n:] == pytest.approx(features[own & known, n:].mean(axis=0))
    residual = features - found.means[archive.labels]
    assert found.covariance[:n, :n] == pytest.approx(residual[:, :n].T @ residual[:, :n] / 16)
    assert found.covariance[:, n:] == pytest.approx(residual[known].T @ residual[known, n:] / 10)
    all_known = fit_moments(patients(Archive(8), few=FewMasks(1.0, 0)), BASIS, 2, account=None, noise=NoNoise())
    plain = fit_moments(patients(Archive(8)), BASIS, 2, account=None, noise=NoNoise())
    assert np.array_equal(all_known.means, plain.means)
    assert np.array_equal(all_known.covariance, plain.covariance)


def test_a_class_without_any_mask_looks_as_its_images_do() -> None:
    archive = Archive(patients=40)
    archive.has_mask[archive.labels == 1] = False
    found = fit_moments(patients(archive, few=FewMasks(1.0, 0)), BASIS, 2, account=None, noise=NoNoise())
    generator = found.generator(spec_of(SOME), SOME.generator)  # type: ignore[arg-type]
    drawn = generator.sample(torch.tensor([0, 1]).repeat(200), torch.Generator().manual_seed(0))
    made, real = (BASIS.features(*each) for each in ((drawn.images, drawn.masks), (archive._images, archive._masks)))
    n = BASIS.image_dimensions
    true = [real[archive.labels == c, :n].mean(axis=0) for c in range(2)]
    for c in range(2):
        mean = made[c::2, :n].mean(axis=0)
        assert np.linalg.norm(mean - true[c]) < 0.2 * np.linalg.norm(mean - true[1 - c])


def test_noise_in_what_is_of_masks_is_told_by_how_many_have_them(tmp_path: Path) -> None:
    plan = plan_of(SOME)
    assert plan is not None
    account = Account(tmp_path / "a.jsonl", plan, "r", resume=False)
    some = patients(Archive(200), few=FewMasks(0.5, 0))
    found = fit_moments(some, BASIS, 2, account=account, noise=NoNoise())
    assert found.of_masks is not None
    share = found.of_masks.counts.sum() / found.counts.sum()
    assert 0.35 < share < 0.65
    assert found.of_masks.mean_noise == pytest.approx(found.mean_noise * found.counts / found.of_masks.counts)
    assert found.of_masks.covariance_noise == pytest.approx(found.covariance_noise / share)
    assert found.covariance_noise > 0
    assert [account.used(name) for name in (COUNTS, MASKED, SUMS, SECOND)] == [1, 1, 1, 1]


@pytest.mark.parametrize("spoil", [None, float("nan"), float("inf"), 1e20])
def test_removing_any_one_patient_moves_no_sum_by_more_than_its_clip_norm(spoil: float | None, tmp_path: Path) -> None:
    archive = Archive(patients=6, images_each=3)
    if spoil is not None:
        archive.spoil(1, spoil)
    limits = {name: query.clip_norm for name, query in queries(BASIS).items()}
    whole = sums(archive, tmp_path / "whole")
    for p in (0, 3):
        part = sums(archive, tmp_path / f"without{p}", [i for i in range(6) if i != p])
        for name in (COUNTS, SUMS):
            assert np.linalg.norm(whole[name] - part[name]) <= limits[name] * (1 + 1e-5)


@pytest.mark.parametrize("spoil", [None, float("nan"), 1e20])
def test_removing_a_patient_with_or_without_masks_moves_no_sum_by_more_than_its_clip_norm(
    spoil: float | None, tmp_path: Path
) -> None:
    archive = Archive(patients=6, images_each=3, masks_missing=4)  # the second patient has masks of two images
    if spoil is not None:
        archive.spoil(4, spoil)
    limits = {name: query.clip_norm for name, query in queries(BASIS, some_masks=True).items()}
    whole = sums(archive, tmp_path / "whole", few=FewMasks(1.0, 0))
    for p in range(3):
        part = sums(archive, tmp_path / f"without{p}", [i for i in range(6) if i != p], FewMasks(1.0, 0))
        moved = {name: np.linalg.norm(whole[name] - part[name]) for name in (COUNTS, MASKED, SUMS)}
        assert all(moved[name] <= limits[name] * (1 + 1e-5) for name in moved)
        if spoil is None:
            assert moved[COUNTS] == pytest.approx(1)
            assert moved[MASKED] == pytest.approx((0, 2 / 3, 1)[p])


def test_second_moments_about_released_means_have_the_declared_sensitivity(tmp_path: Path) -> None:
    archive, plan = Archive(patients=6, images_each=3), plan_of(RULES)
    assert plan is not None
    archive.spoil(0, 1e4)
    given = sums(archive, tmp_path / "means")
    known = {COUNTS: given[COUNTS], SUMS: given[SUMS]}
    limit = queries(BASIS)[SECOND].clip_norm

    def second(only: list[int], name: str) -> Array:
        kept: dict[str, Array] = {}
        account = Account(tmp_path / name, plan, "r", resume=False)
        for released in known:
            account.charge(released)
        fit_moments(
            patients(archive, only), BASIS, 2, account=account, noise=NoNoise(), known=known, keep=kept.__setitem__
        )
        return kept[SECOND]

    whole = second(list(range(6)), "whole.jsonl")
    moved = [np.linalg.norm(whole - second([i for i in range(6) if i != p], f"{p}.jsonl")) for p in range(6)]
    assert max(moved) <= limit * (1 + 1e-5)
    assert max(moved) > 0.9 * limit  # the extreme patient is clipped, not ignored


def test_sums_released_before_are_not_released_again(tmp_path: Path) -> None:
    plan = plan_of(RULES)
    assert plan is not None
    account = Account(tmp_path / "a.jsonl", plan, "r", resume=False)
    kept: dict[str, Array] = {}
    first = fit_moments(patients(Archive()), BASIS, 2, account=account, noise=OsNoise(), keep=kept.__setitem__)
    again = fit_moments(patients(Archive()), BASIS, 2, account=account, noise=OsNoise(), known=kept)
    assert np.array_equal(first.covariance, again.covariance)
    assert [account.used(name) for name in (COUNTS, SUMS, SECOND)] == [1, 1, 1]


def test_packing_of_a_symmetric_matrix_keeps_its_norm() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4))
    a = a + a.T
    upper = np.triu_indices(4)
    packed = a[upper] * np.where(upper[0] == upper[1], 1.0, np.sqrt(2))
    assert np.linalg.norm(packed) == pytest.approx(np.linalg.norm(a))
    assert symmetric(packed, 4) == pytest.approx(a)


def test_a_class_of_nobody_gets_the_pooled_mean() -> None:
    means = class_means(np.array([4.0, -3.0]), np.array([[4.0, 8.0], [0.0, 0.0]]), 1.0)
    assert means[0].tolist() == [1.0, 2.0]
    assert means[1].tolist() == [4.0, 8.0]


def test_images_without_masks_are_left_out_where_masks_are_made() -> None:
    archive = Archive(patients=3, images_each=2, masks_missing=3)
    kept = patients(archive)
    assert len(kept) == 2
    assert kept.all_rows.tolist() == [3, 4, 5]
    assert len(TrainingPatients(archive, archive.patients, 0)) == 3
    archive.has_mask[:] = False
    with pytest.raises(UnsuitableData, match="usable image"):
        patients(archive)
