"""A run ends with the epsilon that it promised, killed or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from discs_archive import Archive, policy

from synthrelease.errors import BudgetExceeded, IntegrityError, Interrupted, UsageError
from synthrelease.generators.registry import load_generator
from synthrelease.policy.schema import Policy
from synthrelease.privacy.accounting import Mechanism, composed_epsilon, epsilon_of
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Event, Ledger
from synthrelease.records.progress import Silent
from synthrelease.training.train import train_with

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train on the discs."""

    def run(
        rules: Policy,
        *,
        name: str = "run",
        archive: Archive | None = None,
        digest: str = "cohort",
        resume: bool = False,
        stop_after: int | None = None,
        progress: Any = None,
        noise: Any = None,
    ) -> dict[str, Any]:
        archive = archive or Archive()
        return train_with(
            rules,
            archive,
            archive.patients,
            digest,
            tmp_path / name,
            ledger=Ledger(tmp_path / "discs.jsonl"),
            resume=resume,
            progress=progress or Silent(),
            stop_after=stop_after,
            noise=noise or OsNoise(),
        )

    return run


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The ledger of the discs."""
    return Ledger(tmp_path / "discs.jsonl")


def mechanisms(record: dict[str, Any]) -> list[Mechanism]:
    """As anybody reads them from training.json."""
    return [Mechanism.from_json(m) for m in record["privacy"]["mechanisms"]]


@pytest.mark.parametrize("generator", ["moments", "diffusion"])
def test_a_private_run_states_an_epsilon_that_can_be_recomputed(generator: str, train: Train, tmp_path: Path) -> None:
    record = train(policy(generator, "private"))
    privacy = record["privacy"]
    assert privacy["unit"] == "patient"
    assert 0.99 <= privacy["epsilon"] <= 1.0
    assert epsilon_of(mechanisms(record), privacy["delta"]) == privacy["epsilon"]
    assert privacy["prv_cross_check"]["agrees"]
    assert 0 < privacy["risk"]["membership_advantage"] < 1
    assert record == json.loads((tmp_path / "run" / "training.json").read_text())
    names = [m.name for m in mechanisms(record)]
    assert names == [
        "class_counts",
        "class_sums",
        "second_moments",
        *(["gradient_steps"] if generator == "diffusion" else []),
    ]
    batch = load_generator(tmp_path / "run" / "checkpoint").sample(
        torch.tensor([0, 1]), torch.Generator().manual_seed(0)
    )
    assert batch.images.shape == (2, 1, 16, 16)
    assert torch.isfinite(batch.images).all()


@pytest.mark.parametrize("generator", ["moments", "diffusion"])
def test_a_run_without_privacy_claims_nothing_and_marks_the_ledger(
    generator: str, train: Train, ledger: Ledger
) -> None:
    record = train(policy(generator, "none"))
    assert record["privacy"]["epsilon"] is None
    assert record["privacy"]["mechanisms"] == []
    assert ledger.charges()[0].unbounded


def test_exact_moments_tell_the_classes_apart(train: Train, tmp_path: Path) -> None:
    train(policy("moments", "none"))
    generator = load_generator(tmp_path / "run" / "checkpoint")
    batch = generator.sample(torch.arange(2).repeat(50), torch.Generator().manual_seed(0))
    areas = batch.masks.mean(dim=(1, 2, 3))
    assert areas[1::2].mean() > 1.5 * areas[::2].mean()


def test_the_ledger_holds_reservation_then_spending(train: Train, ledger: Ledger) -> None:
    record = train(policy("diffusion", "private"))
    assert [entry.event for entry in ledger.entries()] == [Event.COHORT_REGISTERED, Event.RESERVED, Event.SPENT]
    assert composed_epsilon(ledger, 1e-3) == pytest.approx(record["privacy"]["epsilon"])
    assert set(record["digests"]) == {"policy", "generator", "sums"}  # nothing of the cohort, nothing of the ledger


def test_stopping_anywhere_and_resuming_gives_the_same_epsilon_and_one_charge(train: Train, ledger: Ledger) -> None:
    rules = policy("diffusion", "private")
    straight = train(rules, name="straight")
    with pytest.raises(Interrupted) as stopped:
        train(rules, name="cut", stop_after=2)
    assert stopped.value.exit_code == 130
    with pytest.raises(Interrupted):
        train(rules, name="cut", resume=True, stop_after=3)
    with pytest.raises(Interrupted):
        train(rules, name="cut", resume=True, stop_after=3)
    cut = train(rules, name="cut", resume=True)
    assert cut["privacy"]["epsilon"] == straight["privacy"]["epsilon"]
    assert cut["privacy"]["mechanisms"] == straight["privacy"]["mechanisms"]
    assert cut["steps"]["lost_to_interruptions"] == 0
    assert len(ledger.charges()) == 2
    assert train(rules, name="cut", resume=True) == cut


def test_a_plain_run_that_was_stopped_ends_bit_equal(train: Train, tmp_path: Path) -> None:
    rules = policy("diffusion", "none")
    train(rules, name="straight")
    with pytest.raises(Interrupted):
        train(rules, name="cut", stop_after=3)
    train(rules, name="cut", resume=True)
    one, two = (load_generator(tmp_path / n / "checkpoint").state() for n in ("straight", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from discs_archive import Archive, policy
from synthrelease.privacy.noise import OsNoise
from synthrelease.records.ledger import Ledger
from synthrelease.training import run
from synthrelease.records.progress import Silent
from synthrelease.training.train import train_with

class Deadly(OsNoise):
    calls = 0
    def normal(self, size):
        Deadly.calls += 1
        if Deadly.calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().normal(size)

folder, archive = Path(sys.argv[1]), Archive()
train_with(policy("diffusion", "private"), archive, archive.patients, "cohort", folder / "run",
           ledger=Ledger(folder / "discs.jsonl"), resume=False, progress=Silent(), stop_after=None, noise=Deadly())
"""


def kill_at(noise_call: int, folder: Path) -> None:
    """Run in another process that dies, without any cleaning up, while drawing noise for the n-th time."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parent), str(noise_call)], check=False
    )
    assert done.returncode == -signal.SIGKILL


def test_a_killed_run_resumes_to_the_planned_epsilon_and_never_runs_a_counted_step_again(
    train: Train, ledger: Ledger, tmp_path: Path
) -> None:
    kill_at(3 + 4, tmp_path)  # three moments, then the noise of the fourth step
    rules = policy("diffusion", "private")
    drawn: list[int] = []

    class Counting(OsNoise):
        def normal(self, size: int) -> npt.NDArray[np.float64]:
            drawn.append(size)
            return super().normal(size)

    record = train(rules, resume=True, noise=Counting())
    planned = ledger.entries()[1].body
    assert record["privacy"]["epsilon"] == planned["epsilon"]
    assert mechanisms(record)[-1].steps == 6
    assert len(drawn) == 2  # steps five and six: the fourth was counted, its noise may have been used
    assert record["steps"]["lost_to_interruptions"] >= 1
    assert len(ledger.charges()) == 1


def test_a_sum_that_was_counted_and_lost_is_not_drawn_again(train: Train, ledger: Ledger, tmp_path: Path) -> None:
    kill_at(2, tmp_path)
    with pytest.raises(BudgetExceeded, match="class_sums"):
        train(policy("diffusion", "private"), resume=True)
    assert composed_epsilon(ledger, 1e-3) == pytest.approx(ledger.entries()[1].body["epsilon"])


def test_control_c_keeps_the_step_in_flight(train: Train, tmp_path: Path) -> None:
    class Pressing(Silent):
        stage_now = ""

        def stage(self, name: str, total: int | None = None) -> None:
            self.stage_now = name

        def step(self, done: int, facts: str = "") -> None:
            if self.stage_now == "training: steps" and done == 3:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    rules = policy("diffusion", "private")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"steps [34] of 6"):
        train(rules, progress=Pressing())
    assert signal.getsignal(signal.SIGINT) is before
    record = train(rules, resume=True)
    assert record["steps"]["lost_to_interruptions"] == 0


def test_progress_shows_epsilon_rising_to_the_target_and_no_loss(train: Train) -> None:
    class Seen(Silent):
        values: list[float]

        def __init__(self) -> None:
            self.values = []

        def step(self, done: int, facts: str = "") -> None:
            if facts:
                self.values.append(float(facts.removeprefix("epsilon so far ")))

    seen = Seen()
    record = train(policy("diffusion", "private"), progress=seen)
    assert seen.values == sorted(seen.values)
    assert len(seen.values) == 6
    assert seen.values[-1] == pytest.approx(record["privacy"]["epsilon"], abs=0.01)


@pytest.mark.parametrize("change", ["policy", "cohort"])
def test_a_run_is_not_resumed_under_another_policy_or_cohort(change: str, train: Train) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=2)
    with pytest.raises(IntegrityError, match=f"another {change} digest"):
        train(
            policy("diffusion", "private", clip_norm=0.5) if change == "policy" else rules,
            digest="other" if change == "cohort" else "cohort",
            resume=True,
        )


def test_a_run_is_not_begun_twice_nor_resumed_from_nothing(train: Train, ledger: Ledger) -> None:
    train(policy("moments", "private"))
    with pytest.raises(IntegrityError, match="begun already"):
        train(policy("moments", "private"))
    assert len(ledger.charges()) == 1
    with pytest.raises(UsageError, match="no run to resume"):
        train(policy("moments", "private"), name="other", resume=True)


@pytest.mark.parametrize("file", ["account.jsonl", "trainer.safetensors", "run.json"])
def test_a_damaged_checkpoint_is_refused(file: str, train: Train, tmp_path: Path) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=5)
    path = tmp_path / "run" / "checkpoint" / file
    path.write_bytes(path.read_bytes()[:20] + b"\n")
    with pytest.raises(IntegrityError):
        train(rules, resume=True)


def test_an_account_that_was_turned_back_is_refused(train: Train, tmp_path: Path) -> None:
    rules = policy("diffusion", "private")
    with pytest.raises(Interrupted):
        train(rules, stop_after=4 + 2)
    with pytest.raises(Interrupted):
        train(rules, resume=True, stop_after=2)
    path = tmp_path / "run" / "checkpoint" / "account.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(IntegrityError, match="restored from a copy"):
        train(rules, resume=True)
    (mark,) = tmp_path.glob("**/*.uses/*")
    mark.write_bytes(mark.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="less than when the weights were kept"):
        train(rules, resume=True)


def test_what_may_be_released_tells_no_count_and_no_loss(train: Train, tmp_path: Path) -> None:
    small, large = Archive(patients=23), Archive(patients=24)
    one = train(policy("moments", "private"), name="one", archive=small)
    two = train(policy("moments", "private"), name="two", archive=large)
    for record in (one, two):
        record["digests"] = record["run"] = None
    assert one == two


def test_every_internal_event_is_marked_internal(train: Train, tmp_path: Path) -> None:
    train(policy("diffusion", "private"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert len(lines) == 3 + 4 + 6
    assert {line["visibility"] for line in lines} == {"internal"}


def test_a_patient_with_broken_pixels_breaks_nothing(train: Train) -> None:
    archive = Archive()
    archive.spoil(4, float("nan"))
    archive.spoil(9, float("inf"))
    assert train(policy("diffusion", "private"), archive=archive)["privacy"]["epsilon"] <= 1.0
    assert train(policy("moments", "private"), name="two", archive=archive)["privacy"]["epsilon"] <= 1.0


def test_a_cap_of_a_simulated_cohort_is_said_and_not_enforced(train: Train) -> None:
    class Noticing(Silent):
        text = ""

        def note(self, text: str) -> None:
            self.text = text

    noticing = Noticing()
    rules = policy("moments", "private", lifetime_epsilon=1.2)
    train(rules)
    train(rules, name="two", progress=noticing)
    assert "lifetime cap" in noticing.text
