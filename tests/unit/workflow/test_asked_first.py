"""What a run takes from elsewhere is looked for before the cohort is read, which may take an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthrelease.cli.group import run as command_line

POLICY = """\
schema: 1
purpose: test what is asked first
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort:
  name: nobody
  source: phantom
  classes: [normal, nodule, effusion]
  resolution: 16
  phantom: {patients: 60, seed: 1}
privacy: {mode: none}
generator: GENERATOR
archive: {images: 10}
"""


@pytest.mark.parametrize(
    ("generator", "named"),
    [
        (
            "{name: um, guidance: public, public_images: nowhere.npy, superpixels: 32}",
            "generator.public_images: nowhere.npy",
        ),
        ("{name: pggan, guide: runs/nobody}", "generator.guide: runs/nobody"),
    ],
)
def test_a_missing_gift_is_told_before_patients_are_simulated(generator, named, tmp_path: Path, capsys):
    (tmp_path / "policy.yaml").write_text(POLICY.replace("GENERATOR", generator))
    home = tmp_path / "runs"
    assert command_line(["train", "--policy", str(tmp_path / "policy.yaml"), "--out", str(home), "--quiet"]) == 2
    assert named in capsys.readouterr().err
    assert not (home / "phantoms").exists()
    assert not any(home.glob("policy-*"))
