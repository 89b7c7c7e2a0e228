"""kill -9 at any moment of training and sampling: what was promised holds, and nothing half-written is left."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from synthrelease.records.digests import manifest_of
from synthrelease.records.ledger import Event, Ledger
from tests.properties.replay_cohort import write_register
from tests.stories.killed_runs import Ended, Killer

POLICY = """\
schema: 1
purpose: rehearse crashes
sharing: {{tier: internal}}
roles: {{operator: Olga Operator, custodian: Carl Custodian}}
cohort:
  name: killed
  classes: [normal, sick, rare]
  segments: [nodule]
  resolution: 16
  holdout_fraction: 0.5
  window: {{mode: fixed, low: 0, high: 4095}}
privacy:
  {{mode: private, epsilon: 4, delta: 1e-3, expected_patients: 24, sampling_probability: 0.5, steps: {steps},
    images_per_visit: 2, noise_draws: 2}}
generator: {generator}
archive: {{images: 24}}
release: {{name: killed}}
"""


MOMENTS = "{name: moments, image_frequencies: 4, mask_frequencies: 3}"
DIFFUSION = MOMENTS.replace("moments", "diffusion")[:-1] + ", width: 8, warmup_steps: 3, batch: 4, sampler_steps: 2}"
CHARGED = {Event.COHORT_REGISTERED: 1, Event.RESERVED: 1}
SPENT = {**CHARGED, Event.SPENT: 1}


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """A process that runs the command line and kills it."""
    process = Killer()
    yield process
    process.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private archive."""
    return write_register(tmp_path_factory.mktemp("private") / "archive").table


@dataclass(frozen=True)
class Place:
    """A folder of runs with its policy."""

    killer: Killer
    table: Path
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "runs"

    @property
    def run(self) -> Path:
        return next(self.home.glob("*/plan.json")).parent

    @property
    def begun(self) -> bool:
        return any(self.home.glob("*/plan.json"))

    def train(self, **how: Any) -> Ended:
        """`synthrelease train`, going on with what is there."""
        words = ["train", "--policy", self.folder / "policy.yaml", "--cohort", self.table, "--out", self.home]
        return self.killer.run(*words, "--threads", 1, "--quiet", *(["--resume"] if self.begun else []), **how)

    def sample(self, **how: Any) -> Ended:
        """`synthrelease sample`."""
        return self.killer.run("sample", "--out", self.home, "--threads", 1, "--quiet", **how)

    def record(self, name: str) -> dict[str, Any]:
        """A record of the run."""
        return dict(json.loads((self.run / name).read_text()))

    def events(self) -> Counter[Event]:
        """What the ledger holds, by kind."""
        return Counter(entry.event for entry in Ledger(self.home / "ledgers" / "killed.jsonl").entries())

    def used(self) -> dict[str, int]:
        """Uses of mechanisms as counted on disk; each must count on from the one before."""
        path = self.run / "checkpoint" / "account.jsonl"
        uses: dict[str, int] = {}
        for line in path.read_bytes().split(b"\n")[1:-1] if path.exists() else []:
            use = json.loads(line)
            assert use["count"] == uses.get(use["mechanism"], 0) + 1
            uses[use["mechanism"]] = use["count"]
        return uses

    def overspent(self) -> list[str]:
        """Mechanisms that were used more often than the reservation has it."""
        ledger = Ledger(self.home / "ledgers" / "killed.jsonl")
        (charge,) = (entry.body for entry in ledger.entries() if entry.event is Event.RESERVED)
        uses, planned = self.used(), {m["name"]: m["steps"] for m in charge["mechanisms"]}
        return [name for name in uses if uses[name] > planned[name]]

    def leftovers(self) -> list[str]:
        """Files that a killed writer left half-written."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob(".partial-*")]


@pytest.fixture
def place(killer: Killer, table: Path, tmp_path: Path) -> Callable[..., Place]:
    """Makes folders of runs."""

    def make(name: str, generator: str = MOMENTS, steps: int = 1) -> Place:
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(POLICY.format(steps=steps, generator=generator))
        return Place(killer, table, tmp_path / name)

    return make


def test_a_run_killed_at_random_moments_ends_with_the_epsilon_of_one_that_was_not(place: Callable[..., Place]) -> None:
    steps = 12
    straight, killed = place("straight", DIFFUSION, steps), place("killed", DIFFUSION, steps)
    assert straight.train().code == 0
    expected = straight.record("training.json")["privacy"]
    before: dict[str, int] = {}
    account, deaths = killed.home / "*" / "checkpoint" / "account.jsonl", 0
    for after in (0.0, random.uniform(0.0, 0.15)):
        ended = killed.train(seen=account, text='"gradient_steps"', after=after)
        assert ended.killed or ended.code == 0, (after, ended)
        deaths += ended.killed
        used = killed.used()
        assert all(used[name] >= before.get(name, 0) for name in used | before), after
        assert killed.overspent() == [], after
        before = used
        assert killed.events() in (CHARGED, SPENT)
    assert deaths
    assert killed.train().code == 0
    found = killed.record("training.json")
    assert found["privacy"]["epsilon"] == expected["epsilon"]
    assert found["privacy"]["mechanisms"] == expected["mechanisms"]
    assert found["steps"]["finished"] == steps
    assert killed.used() == {m["name"]: m["steps"] for m in expected["mechanisms"]}
    assert killed.events() == SPENT
    assert killed.leftovers() == []


def test_a_run_killed_before_any_write_is_resumed_to_its_epsilon_or_stays_charged(place: Callable[..., Place]) -> None:
    """Whichever write it is: what a run can lose is a sum that was drawn and not kept, and then it is never drawn again."""
    straight = place("straight")
    writes = straight.train().writes
    expected = straight.record("training.json")["privacy"]
    for write in sorted(random.sample(range(1, writes + 1), 4)):
        killed = place(f"killed before write {write}")
        assert killed.train(before_write=write).killed, write
        ended = killed.train()
        assert killed.overspent() == [], write
        if ended.code == 0:
            assert killed.record("training.json")["privacy"] == expected, write
            assert killed.events() == SPENT, write
        else:
            assert (ended.code, "planned uses are spent" in ended.said) == (5, True), (write, ended)
            assert killed.events() == CHARGED, write


def test_a_sum_that_was_drawn_and_not_kept_is_not_drawn_again_and_stays_charged(place: Callable[..., Place]) -> None:
    killed = place("killed")
    assert killed.train(before_naming="moments.safetensors").killed
    for _ in range(2):
        ended = killed.train()
        assert (ended.code, "planned uses are spent" in ended.said) == (5, True)
    assert killed.used() == {"class_counts": 1}
    assert killed.events() == CHARGED


@pytest.mark.parametrize("name", ["claim.json", "account.jsonl", "run.json", "policy-*/training.json"])
def test_a_resumed_run_sweeps_away_what_a_killed_one_left_half_written(name: str, place: Callable[..., Place]) -> None:
    killed = place("killed")
    assert killed.train(before_naming=name).killed
    assert len(killed.leftovers()) == 1
    assert killed.train().code == 0
    assert killed.leftovers() == []


@pytest.fixture(scope="module")
def trained(killer: Killer, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A trained run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "policy.yaml").write_text(POLICY.format(steps=1, generator=MOMENTS))
    found = Place(killer, table, folder)
    assert found.train().code == 0
    return found


def test_sampling_that_was_killed_leaves_no_half_archive_and_gives_the_same_when_run_again(
    trained: Place, tmp_path: Path
) -> None:
    shutil.copytree(trained.folder, tmp_path / "straight")
    straight = Place(trained.killer, trained.table, tmp_path / "straight")
    writes = straight.sample().writes
    expected = manifest_of(straight.run / "archive")

    shutil.copytree(trained.folder, tmp_path / "killed")
    killed = Place(trained.killer, trained.table, tmp_path / "killed")
    partial = killed.home / "*" / ".partial-archive-*" / "content" / "DICOM" / "*"
    ways: list[dict[str, Any]] = [{"seen": partial, "text": "", "after": random.uniform(0.0, 0.1)} for _ in range(2)]
    ways += [{"before_write": write} for write in range(1, writes + 1)]
    for way in ways:
        ended = killed.sample(**way)
        assert ended.killed or ended.code == 0, way
        archive = killed.run / "archive"
        assert not archive.exists() or manifest_of(archive) == expected, way
        if (killed.run / "archive.json").exists():
            assert killed.record("archive.json") == straight.record("archive.json"), way
    assert killed.sample().code == 0
    assert killed.record("archive.json") == straight.record("archive.json")
    assert manifest_of(killed.run / "archive") == expected
    assert killed.events() == SPENT
    assert [path for path in killed.leftovers() if "archive-" in path] == []
