"""Moments are what they say, and one patient moves each sum by at most its clip norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from discs_archive import Archive, policy

from synthrelease.errors import UnsuitableData
from synthrelease.generators.moments.basis import Basis
from synthrelease.privacy.account import Account
from synthrelease.privacy.noise import OsNoise
from synthrelease.training.moments import COUNTS, SECOND, SUMS, class_means, fit_moments, queries, symmetric
from synthrelease.training.patients import TrainingPatients
from synthrelease.training.planning import plan_of, spec_of

Array = npt.NDArray[np.float64]
RULES = policy("moments", "private")
BASIS = Basis(spec_of(RULES), RULES.generator)


class NoNoise(OsNoise):
    """Shows the sums."""

    def normal(self, size: int) -> Array:
        """Zeros."""
        return np.zeros(size)


def patients(archive: Archive, only: list[int] | None = None) -> TrainingPatients:
    """All, or some, patients of an archive."""
    return TrainingPatients(archive, archive.patients if only is None else np.array(only), 1)


def sums(archive: Archive, folder: Path, only: list[int] | None = None) -> dict[str, Array]:
    """The three released sums without their noise."""
    plan = plan_of(RULES)
    assert plan is not None
    found: dict[str, Array] = {}
    folder.mkdir()
    account = Account(folder / "a.jsonl", plan, "r", resume=False)
    fit_moments(patients(archive, only), BASIS, 2, account=account, noise=NoNoise(), keep=found.__setitem__)
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
