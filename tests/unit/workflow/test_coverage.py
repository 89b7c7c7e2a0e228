"""What a generator tells of its images goes from the sampler into the archive, its record and the answer."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from synthrelease.archive.notes import noted_in
from synthrelease.cli.group import run as command_line
from synthrelease.errors import IntegrityError
from synthrelease.generators.protocol import Batch
from synthrelease.generators.registry import load_generator
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run
from synthrelease.workflow import sampling
from synthrelease.workflow.auditing import matter_of_run
from synthrelease.workflow.beginning import policy_of
from synthrelease.workflow.desk import Desk

NOTES = (("accepted", "whether the guide saw the class"), ("guide_sick", "its probability of sick"))


class Guided:
    """A generator whose guide sees every normal image and every third sick one."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.spec = inner, inner.spec

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> Batch:
        made = self.inner.sample(labels, rng)
        drawn = torch.rand(len(labels), generator=rng, dtype=torch.float64)
        told: Mapping[str, torch.Tensor] = {
            "guide_sick": drawn,
            "accepted": torch.where(labels == 1, drawn > 2 / 3, True).double(),
        }
        return Batch(made.images, made.masks, made.labels, told)


@pytest.fixture
def guided(sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sampling, "notes_of", lambda policy: NOTES)
    monkeypatch.setattr(sampling, "load_generator", lambda folder: Guided(load_generator(folder)))
    shutil.copytree(sampled, tmp_path / "runs")
    return tmp_path / "runs"


def sample(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command_line(["sample", "--out", str(home), "--quiet", "--threads", "1", *words]) == 0
    return capsys.readouterr().out


def run_of(home: Path) -> Run:
    return Run(next(home.glob("*/policy.resolved.json")).parent)


def test_the_record_and_the_answer_tell_the_coverage(guided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = sample(guided, capsys)
    run = run_of(guided)
    with (run.archive / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    accepted = sum(row["accepted"] == "1" for row in rows if row["label"] == "sick")
    told = json.loads(run.archive_record.read_text())["coverage"]["classes"]
    assert told["normal"]["accepted"] == told["normal"]["asked"] == 40
    assert (told["sick"]["asked"], told["sick"]["accepted"]) == (40, accepted)
    assert "warning: the guide did not see 'sick'" in shown
    assert json.loads(sample(guided, capsys, "--json"))["coverage"]["classes"] == told


def test_the_audit_knows_such_an_archive_and_not_one_whose_counts_were_changed(
    guided: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample(guided, capsys)
    run = run_of(guided)
    desk = Desk(guided, guided / "ledgers", Silent(), 1)
    expectation = matter_of_run(desk, run).case.expectation
    assert expectation is not None
    assert len(list(noted_in(run.archive, sampling.settings_of(run, policy_of(run))))) == 80
    record = json.loads(run.archive_record.read_text())
    record["coverage"]["classes"]["sick"]["accepted"] += 1
    run.archive_record.write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match=r"archive\.json or the archive was changed"):
        matter_of_run(desk, run)


def test_without_notes_the_record_has_no_coverage(sampled: Path) -> None:
    assert "coverage" not in json.loads(run_of(sampled).archive_record.read_text())
