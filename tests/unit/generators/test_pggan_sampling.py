"""Nothing real is read when an archive is drawn: the private data may be gone. And what it tells of its images is so."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from synthrelease.archive.sampler import generated_samples
from synthrelease.cohort.store import CohortStore
from synthrelease.dicom.release.rules import LABEL_COLUMNS
from synthrelease.generators.pggan.model import guide_notes
from synthrelease.generators.registry import load_generator
from synthrelease.policy.findings import finding_names
from synthrelease.policy.generators import PgganGenerator
from synthrelease.records.files import read_json
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run
from synthrelease.workflow import Desk, begin, policy_of, sample_run, train_run
from synthrelease.workflow import training as workflow_training
from synthrelease.workflow.sampling import archive_labels, settings_of

POLICY = """
schema: 1
purpose: See that sampling needs the checkpoint alone.
sharing: {tier: internal}
roles: {operator: Olga Operator, custodian: Carl Custodian}
cohort:
  name: small
  source: phantom
  classes: [normal, nodule, effusion]
  segments: [right_lung, left_lung]
  resolution: 16
  phantom: {patients: 30, seed: 7}
privacy: {PRIVACY}
generator: {name: pggan, width: 8, latent: 8, steps: 8, batch: 8, GENERATOR}
archive: {images: 24, SHARES}
audit: {profile: standard}
release: {name: small}
"""
LCO = "lco: {steps: 3, restarts: 2, present_at: 0.45, absent_at: 0.55}"
PLAIN = {"PRIVACY": "mode: none", "GENERATOR": LCO, "SHARES": "bits: 12"}
PRIVATE = {
    "PRIVACY": "mode: private, epsilon: 8, delta: 1e-3, expected_patients: 20, steps: 2, sampling_probability: 0.5",
    "GENERATOR": f"warmup_steps: 8, minibatch_stddev: false, image_frequencies: 4, mask_frequencies: 3, {LCO}",
    "SHARES": "class_shares: released",
}


@pytest.fixture(scope="module", params=[PLAIN, PRIVATE], ids=["plain", "private"])
def sampled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Run]]:
    """A run that was trained and sampled."""
    home, text = tmp_path_factory.mktemp("home"), POLICY
    for word, value in request.param.items():
        text = text.replace(word, value)
    (home / "small.yaml").write_text(text, encoding="utf-8")
    threads, desk = torch.get_num_threads(), Desk(home / "runs", home / "ledgers", Silent(), 1)
    run = begin(desk, str(home / "small.yaml"), None, resume=False)
    train_run(desk, run, resume=False)
    sample_run(desk, run)
    yield desk, run
    torch.set_num_threads(threads)


def rows_of(run: Run) -> list[dict[str, str]]:
    """The archive's label table."""
    with (run.archive / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_label_table_tells_of_each_image_what_the_search_found(sampled: tuple[Desk, Run]) -> None:
    _, run = sampled
    policy = policy_of(run)
    assert isinstance(policy.generator, PgganGenerator)
    told = guide_notes(policy.generator, finding_names(policy.cohort))
    columns = [name for name, _ in told]
    assert columns == ["accepted", "restarts", "critic", "guide_normal", "guide_nodule", "guide_effusion"]
    rows = rows_of(run)
    assert list(rows[0]) == [name for name in LABEL_COLUMNS if name != "report_file"] + columns
    settings, labels = settings_of(run, policy), archive_labels(policy, run)
    again = generated_samples(
        load_generator(run.checkpoint), labels, 0, edition=settings.edition, notes=settings.notes
    ).draw(0)
    assert [tuple(row[name] for name in columns) for row in rows] == list(again.notes)
    assert [row["label"] for row in rows] == [policy.cohort.classes[label] for label in labels]


def test_what_is_accepted_is_what_the_guide_saw_and_restarts_are_what_the_policy_allows(
    sampled: tuple[Desk, Run],
) -> None:
    _, run = sampled
    rows = rows_of(run)
    if policy_of(run).privacy.mode == "none":  # noise of a claim may make a guide that sees all or nothing
        assert {row["accepted"] for row in rows} == {"0", "1"}
    for row in rows:
        right = [
            float(row[f"guide_{name}"]) >= 0.4495 if name == row["label"] else float(row[f"guide_{name}"]) <= 0.5505
            for name in ("normal", "nodule", "effusion")
        ]
        assert all(right) or row["accepted"] == "0"
        assert row["restarts"] == "2" or row["accepted"] == "1"
        assert 0 <= int(row["restarts"]) <= 2


def test_the_coverage_counts_the_rows_of_the_label_table(sampled: tuple[Desk, Run]) -> None:
    _, run = sampled
    rows = rows_of(run)
    coverage = read_json(run.archive_record)["coverage"]["classes"]
    for name, told in coverage.items():
        own = [row["accepted"] for row in rows if row["label"] == name]
        assert (told["asked"], told["accepted"]) == (len(own), own.count("1"))
    assert sum(told["asked"] for told in coverage.values()) == len(rows) == 24


def test_the_archive_is_the_same_when_the_private_data_is_gone(
    sampled: tuple[Desk, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, run = sampled
    first = read_json(run.archive_record)
    private = [run.cohort, run.checkpoint / "trainer.safetensors"]
    simulated = [path for path in desk.home.iterdir() if path != run.folder]
    assert simulated
    assert all(path.exists() for path in private)
    gone = [*private, *simulated]
    for path in [*gone, run.archive]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run.archive_record.unlink()

    def refused(*arguments: Any, **named: Any) -> None:
        raise AssertionError("sampling looked for the private archive")

    # A simulated cohort would be made again when it is missing, and be the same.
    monkeypatch.setattr(CohortStore, "open", refused)
    for name in ("open_cohort", "ingest", "write_phantom_cohort"):
        monkeypatch.setattr(workflow_training, name, refused)
    sample_run(desk, run)
    assert read_json(run.archive_record) == first
    assert not [path for path in gone if path.exists()]
