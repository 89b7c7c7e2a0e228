"""A small run that was trained and sampled, shared by what comes after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthrelease.cli.group import run as command_line

POLICY = """\
schema: 1
purpose: test a reader study
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort:
  name: readers
  source: SOURCE
  reader: table
  classes: [normal, sick]
  resolution: 16
  holdout_fraction: 0.5
privacy: {mode: none}
generator: {name: moments, image_frequencies: 8}
archive: {images: 80}
"""


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one that was trained on pictures of 8 bits, two of each patient, and sampled."""
    folder = tmp_path_factory.mktemp("house")
    source = folder / "private"
    source.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]  # type: ignore[misc]
    lines = ["image,patient_id,label"]
    for patient in range(80):
        for visit in range(2):
            picture = np.cos(x * rng.uniform(1, 3) + visit) * np.cos(y * rng.uniform(1, 3)) * 100 + 128
            name = f"p{patient}_{visit}.png"
            Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(source / name)
            lines.append(f"{name},P{patient},{('normal', 'sick')[patient % 2]}")
    (source / "labels.csv").write_text("\n".join(lines))
    (folder / "policy.yaml").write_text(POLICY.replace("SOURCE", str(source)))
    home = ["--out", str(folder / "runs"), "--quiet", "--threads", "1"]
    assert command_line(["train", "--policy", str(folder / "policy.yaml"), *home]) == 0
    assert command_line(["sample", *home]) == 0
    return folder / "runs"
