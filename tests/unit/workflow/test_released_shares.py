"""Class shares from the noisy counts that a private run has paid for: from those alone, and told in the record."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from synthrelease.cohort.store import CohortStore
from synthrelease.errors import IntegrityError, UsageError
from synthrelease.privacy.noise import FloatArray, OsNoise
from synthrelease.records.files import atomic_write_json, read_json
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run
from synthrelease.release.extracts import require_public_archive
from synthrelease.training import train as training
from synthrelease.training.checkpoint import Checkpoint
from synthrelease.training.moments import COUNTS
from synthrelease.workflow import Desk, begin, sample_run, train_run
from synthrelease.workflow.auditing import matter_of_run
from synthrelease.workflow.sampling import class_shares, policy_of

POLICY = """\
schema: 1
purpose: See that released counts become shares.
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort: {name: shares, source: SOURCE, reader: table, classes: [common, rare, rarest], resolution: 16}
privacy: {mode: private, epsilon: 8, delta: 1e-3, expected_patients: 40}
generator: {name: moments, image_frequencies: 4}
archive: {images: 40, class_shares: released}
"""
CLASSES = ("common", "rare", "rarest")
NOISE = (-1000.0, 1000.0, 3000.0)
"""Of the three counts, in standard deviations: what is released puts the classes in the reverse of their true order."""


class Loud(OsNoise):
    """Noise that leaves nothing of three counts; of all else the usual one."""

    def normal(self, size: int) -> FloatArray:
        """Standard normals, but for the counts."""
        return np.array(NOISE) if size == len(NOISE) else super().normal(size)


def written(folder: Path) -> Path:
    """A cohort of 28 common, 8 rare and 4 rarest patients."""
    source = folder / "private"
    source.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,patient_id,label"]
    for patient in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(source / f"{patient}.png")
        lines.append(f"{patient}.png,P{patient},{CLASSES[(patient % 10 > 6) + (patient % 10 > 8)]}")
    (source / "labels.csv").write_text("\n".join(lines))
    return source


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with one private run, whose private store and folder are gone."""
    home = tmp_path_factory.mktemp("shares")
    threads, source = torch.get_num_threads(), written(home)
    (home / "policy.yaml").write_text(POLICY.replace("SOURCE", str(source)))
    desk = Desk(home / "runs", home / "ledgers", Silent(), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "OsNoise", Loud)
        run = begin(desk, str(home / "policy.yaml"), None, resume=False)
        train_run(desk, run, resume=False)
    shutil.rmtree(source)
    shutil.rmtree(run.cohort)
    yield home
    torch.set_num_threads(threads)


@pytest.fixture
def house(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, Run]:
    """A copy of it, in which nothing may look for the private store."""

    def gone(*arguments: Any) -> None:
        raise AssertionError("the private store was opened")

    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.setattr(CohortStore, "open", gone)
    home = tmp_path / "copy" / "runs"
    return Desk(home, tmp_path / "copy" / "ledgers", Silent(), 1), Run(next(home.glob("*/policy.resolved.json")).parent)


def released(run: Run, sums: dict[str, FloatArray]) -> None:
    """Put other sums into a run, as if its training had released them."""
    checkpoint = Checkpoint(run.checkpoint)
    checkpoint.keep_sums(sums)
    record = read_json(run.training)
    atomic_write_json(run.training, {**record, "digests": {**record["digests"], "sums": checkpoint.sums_digest()}})


def test_shares_follow_the_noisy_counts_and_not_the_true_ones(house: tuple[Desk, Run]) -> None:
    desk, run = house
    record = sample_run(desk, run)
    assert record["class_counts"] == {"common": 0, "rare": 10, "rarest": 30}
    labels = [line.split(",")[3] for line in (run.archive / "labels.csv").read_text().splitlines()[1:]]
    assert {name: labels.count(name) for name in record["class_counts"]} == record["class_counts"]


def test_a_class_whose_noisy_count_is_negative_gets_none(house: tuple[Desk, Run]) -> None:
    _, run = house
    assert Checkpoint(run.checkpoint).sums()[COUNTS][0] < 0
    shares = class_shares(policy_of(run), run)
    assert shares is not None
    assert shares["common"] == 0.0
    assert sum(shares.values()) == pytest.approx(1.0)


def test_the_record_tells_what_was_asked_for_and_where_it_came_from(house: tuple[Desk, Run]) -> None:
    desk, run = house
    sample_run(desk, run)
    told = read_json(run.archive_record)["class_shares"]
    noisy = np.maximum(Checkpoint(run.checkpoint).sums()[COUNTS], 0.0)
    shares = dict(zip(CLASSES, (noisy / noisy.sum()).round(6).tolist(), strict=True))
    assert told == {"asked": "released", "from": "class_counts", "shares": shares}
    assert "class_counts" in [m["name"] for m in read_json(run.training)["privacy"]["mechanisms"]]


def test_counts_that_tell_nothing_give_equal_shares_and_the_record_says_so(house: tuple[Desk, Run]) -> None:
    desk, run = house
    released(run, {**Checkpoint(run.checkpoint).sums(), COUNTS: np.array([-1.0, 0.0, -3.0])})
    record = sample_run(desk, run)
    assert sorted(record["class_counts"].values()) == [13, 13, 14]
    assert record["class_shares"]["from"] == "equal shares, since no released count is above 0"
    assert record["class_shares"]["shares"] == dict.fromkeys(CLASSES, 0.333333)


@pytest.mark.parametrize("kept", [{}, {COUNTS: np.ones(2)}])
def test_without_the_counts_of_these_classes_nothing_is_drawn(
    house: tuple[Desk, Run], kept: dict[str, FloatArray]
) -> None:
    desk, run = house
    released(run, kept)
    with pytest.raises(IntegrityError, match="no released counts of these classes"):
        sample_run(desk, run)
    assert not run.archive.exists()


@pytest.mark.parametrize("left", ["other sums", "no sums"])
def test_sums_that_training_did_not_record_draw_nothing(house: tuple[Desk, Run], left: str) -> None:
    desk, run = house
    checkpoint = Checkpoint(run.checkpoint)
    if left == "other sums":
        checkpoint.keep_sums({**checkpoint.sums(), COUNTS: np.array([1.0, 1.0, 1.0])})
    else:
        (run.checkpoint / "moments.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"not those that training\.json names"):
        sample_run(desk, run)
    assert not run.archive.exists()


def test_the_audit_derives_the_same_labels_and_the_record_may_leave(house: tuple[Desk, Run]) -> None:
    desk, run = house
    record = sample_run(desk, run)
    require_public_archive(record)
    # Past its digests: what the archive must be was derived, and only then is the private store asked for.
    with pytest.raises((UsageError, AssertionError), match=r"cohort\.private|private store"):
        matter_of_run(desk, run)
    checkpoint = Checkpoint(run.checkpoint)
    checkpoint.keep_sums({**checkpoint.sums(), COUNTS: np.array([1.0, 1.0, 1.0])})
    with pytest.raises(IntegrityError, match=r"not those that training\.json names"):
        matter_of_run(desk, run)


def test_shares_that_stand_in_the_policy_are_not_told_again(sampled: Path) -> None:
    record = next(sampled.glob("*/archive.json"))
    assert "class_shares" not in read_json(record)
