"""Nothing real is read when an archive is drawn: the private data may be gone from the machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from synthrelease.records.files import read_json
from synthrelease.records.progress import Silent
from synthrelease.workflow import Desk, begin, sample_run, train_run

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
privacy: {mode: none}
generator: {name: pggan, width: 8, latent: 8, steps: 8, batch: 8, lco: {steps: 3, restarts: 1}}
archive: {images: 8}
audit: {profile: standard}
release: {name: small}
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_archive_is_the_same_when_the_private_data_is_gone(tmp_path: Path, one_thread: None) -> None:
    policy = tmp_path / "small.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    desk = Desk(tmp_path / "runs", tmp_path / "ledgers", Silent(), 1)
    run = begin(desk, str(policy), None, resume=False)
    train_run(desk, run, resume=False)
    sample_run(desk, run)
    first = read_json(run.archive_record)
    private = [run.cohort, run.checkpoint / "trainer.safetensors"]
    simulated = [path for path in desk.home.iterdir() if path != run.folder]
    assert simulated
    assert all(path.exists() for path in private)
    for path in [*private, *simulated, run.archive]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run.archive_record.unlink()
    sample_run(desk, run)
    assert read_json(run.archive_record) == first
