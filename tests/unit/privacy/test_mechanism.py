"""Noise and its count come together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from synthrelease.errors import BudgetExceeded, IntegrityError, UnsuitableData
from synthrelease.privacy.account import Account
from synthrelease.privacy.high_water import mark_of
from synthrelease.privacy.mechanism import ClippedSum, clip_rows, gaussian_sum, noisy_sum
from synthrelease.privacy.names import GRADIENT_STEPS
from synthrelease.privacy.noise import SLACK, OsNoise
from synthrelease.privacy.plan import PrivacyPlan


class NoNoise(OsNoise):
    """Adds nothing, to see the sum."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        """Zeros."""
        return np.zeros(size)


def test_every_row_is_clipped_to_the_norm_and_small_ones_are_left_alone() -> None:
    total = clip_rows(np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0)
    assert total.total == pytest.approx([0.6 + 0.3, 0.8 + 0.4])
    assert (total.patients, total.clipped, total.refused) == (3, 1, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_row_that_is_not_finite_counts_as_zero(bad: float) -> None:
    total = clip_rows(np.array([[bad, 1.0], [0.5, 0.0]]), 1.0)
    assert np.array_equal(total.total, [0.5, 0.0])
    assert total.refused == 1


def test_using_the_mechanism_counts_it_before_the_noise_is_drawn(account: Account) -> None:
    seen: list[int] = []

    class Watching(NoNoise):
        def normal(self, size: int) -> npt.NDArray[np.float64]:
            seen.append(account.used("class_sums"))
            return np.zeros(size)

    gaussian_sum([np.ones((2, 3))], 3, name="class_sums", account=account, noise=Watching())
    assert seen == [1]
    assert [m.name for m in account.mechanisms()] == ["class_sums"]


def test_noise_multiplier_and_clip_norm_come_from_the_plan(account: Account) -> None:
    class One(OsNoise):
        def normal(self, size: int) -> npt.NDArray[np.float64]:
            return np.ones(size)

    value = gaussian_sum([], 2, name="class_sums", account=account, noise=One())
    assert value == pytest.approx([20.0 * 3.0 * SLACK] * 2, abs=1e-8)


def test_blocks_are_summed_as_one(account: Account) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4))

    def blocks() -> Iterator[npt.NDArray[np.float64]]:
        yield rows[:7]
        yield rows[7:]

    value = gaussian_sum(blocks(), 4, name="class_sums", account=account, noise=NoNoise())
    assert value == pytest.approx(clip_rows(rows, 3.0).total, abs=1e-8)


def test_a_release_beyond_the_plan_is_refused_and_not_drawn(account: Account) -> None:
    gaussian_sum([], 2, name="class_sums", account=account, noise=OsNoise())

    class Forbidden(OsNoise):
        def normal(self, size: int) -> npt.NDArray[np.float64]:
            raise AssertionError("noise was drawn without a count")

    with pytest.raises(BudgetExceeded, match="class_sums"):
        gaussian_sum([], 2, name="class_sums", account=account, noise=Forbidden())


def test_a_release_that_is_not_planned_cannot_be_made(account: Account) -> None:
    with pytest.raises(KeyError, match="mean_image"):
        gaussian_sum([], 2, name="mean_image", account=account, noise=OsNoise())


def test_a_sum_clipped_to_another_norm_than_accounted_is_refused(account: Account) -> None:
    with pytest.raises(ValueError, match="accounted for"):
        noisy_sum(ClippedSum(np.zeros(2), 1.5), name=GRADIENT_STEPS, account=account, noise=OsNoise())
    assert account.used(GRADIENT_STEPS) == 0


def test_an_empty_draw_is_noised_and_counted(account: Account) -> None:
    value = noisy_sum(ClippedSum(np.zeros(50), 1.0), name=GRADIENT_STEPS, account=account, noise=OsNoise())
    assert value.std() > 0.5
    assert account.used(GRADIENT_STEPS) == 1


def test_an_account_goes_on_where_it_stood(account: Account, plan: PrivacyPlan, tmp_path: Path) -> None:
    for _ in range(3):
        account.charge(GRADIENT_STEPS)
    again = Account(tmp_path / "account.jsonl", plan, "r" * 64, resume=True)
    assert again.mechanisms() == account.mechanisms()
    again.charge(GRADIENT_STEPS)
    again.charge(GRADIENT_STEPS)
    with pytest.raises(BudgetExceeded):
        again.charge(GRADIENT_STEPS)


def test_a_torn_last_line_was_not_charged(account: Account, plan: PrivacyPlan, tmp_path: Path) -> None:
    account.charge(GRADIENT_STEPS)
    path = tmp_path / "account.jsonl"
    path.write_bytes(path.read_bytes() + b'{"count":2,"mech')
    again = Account(path, plan, "r" * 64, resume=True)
    assert again.used(GRADIENT_STEPS) == 1
    again.charge(GRADIENT_STEPS)
    assert Account(path, plan, "r" * 64, resume=True).used(GRADIENT_STEPS) == 2


@pytest.mark.parametrize("edit", ["drop a line", "other plan", "other reservation", "garbage", "unknown mechanism"])
def test_an_account_that_was_changed_is_refused(account: Account, plan: PrivacyPlan, tmp_path: Path, edit: str) -> None:
    path = tmp_path / "account.jsonl"
    for _ in range(3):
        account.charge(GRADIENT_STEPS)
    lines = path.read_bytes().splitlines(keepends=True)
    reservation = "r" * 64
    if edit == "drop a line":
        del lines[2]
    elif edit == "other plan":
        lines[0] = lines[0].replace(plan.digest.encode(), b"0" * 64)
    elif edit == "other reservation":
        reservation = "s" * 64
    elif edit == "garbage":
        lines[1] = b"\xff\xfe\n"
    else:
        lines[1] = lines[1].replace(GRADIENT_STEPS.encode(), b"steps")
    path.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError):
        Account(path, plan, reservation, resume=True)


def test_an_account_is_not_started_twice_nor_resumed_from_nothing(
    account: Account, plan: PrivacyPlan, tmp_path: Path
) -> None:
    del account
    with pytest.raises(IntegrityError, match="started before"):
        Account(tmp_path / "account.jsonl", plan, "r" * 64, resume=False)
    with pytest.raises(IntegrityError):
        Account(tmp_path / "other.jsonl", plan, "r" * 64, resume=True)


def test_a_count_that_cannot_be_written_releases_nothing(account: Account, tmp_path: Path) -> None:
    (tmp_path / "account.jsonl").unlink()
    with pytest.raises(UnsuitableData, match="account"):
        account.charge(GRADIENT_STEPS)
    assert account.used(GRADIENT_STEPS) == 0


def marked(folder: Path, plan: PrivacyPlan, *, resume: bool) -> Account:
    """The account of a run whose uses are noted beside the ledger as well."""
    mark = mark_of(folder / "ledgers" / "chest.jsonl", "r" * 64)
    return Account(folder / "account.jsonl", plan, "r" * 64, mark=mark, resume=resume)


def test_an_account_restored_from_an_older_copy_is_refused(plan: PrivacyPlan, tmp_path: Path) -> None:
    account = marked(tmp_path, plan, resume=False)
    account.charge(GRADIENT_STEPS)
    copy = (tmp_path / "account.jsonl").read_bytes()
    account.charge(GRADIENT_STEPS)
    assert marked(tmp_path, plan, resume=True).used(GRADIENT_STEPS) == 2
    (tmp_path / "account.jsonl").write_bytes(copy)
    with pytest.raises(IntegrityError, match="restored from a copy"):
        marked(tmp_path, plan, resume=True)


def test_an_account_ahead_of_its_mark_goes_on(plan: PrivacyPlan, tmp_path: Path) -> None:
    """A process killed between the two writes, or a power cut: what was counted is the larger."""
    account = marked(tmp_path, plan, resume=False)
    account.charge(GRADIENT_STEPS)
    account.charge(GRADIENT_STEPS)
    mark = tmp_path / "ledgers" / "chest.uses" / ("r" * 64)
    mark.write_bytes(mark.read_bytes()[:1])
    assert marked(tmp_path, plan, resume=True).used(GRADIENT_STEPS) == 2


def test_without_its_mark_nothing_goes_on(plan: PrivacyPlan, tmp_path: Path) -> None:
    account = marked(tmp_path, plan, resume=False)
    account.charge(GRADIENT_STEPS)
    (tmp_path / "ledgers" / "chest.uses" / ("r" * 64)).unlink()
    with pytest.raises(UnsuitableData, match="mark"):
        account.charge(GRADIENT_STEPS)
    with pytest.raises(IntegrityError, match="missing"):
        marked(tmp_path, plan, resume=True)
