"""The picture of contents and styles: what it shows, who can have one, and that it comes from the checkpoint alone."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthrelease.cli.group import run as command_line
from synthrelease.workflow.style_grid import tiled

POLICY = """\
schema: 1
purpose: test styles
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort:
  name: styles
  source: SOURCE
  reader: table
  classes: [normal, sick]
  resolution: 16
privacy: {mode: none}
generator: {name: drai, width: 8, style: 4, content: 4, steps: 3, batch: 8, styles_per_finding: 3}
archive: {images: 150}
"""


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one whose generator parts style from content."""
    folder = tmp_path_factory.mktemp("house")
    source = folder / "private"
    source.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,patient_id,label"]
    for patient in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(source / f"p{patient}.png")
        lines.append(f"p{patient}.png,P{patient},{('normal', 'sick')[patient % 2]}")
    (source / "labels.csv").write_text("\n".join(lines))
    (folder / "policy.yaml").write_text(POLICY.replace("SOURCE", str(source)))
    home = folder / "runs"
    assert command_line(["train", "--policy", str(folder / "policy.yaml"), "--out", str(home), "--quiet"]) == 0
    return home


def run_folder(home: Path) -> Path:
    return next(home.glob("*/policy.resolved.json")).parent


def test_small_pictures_are_enlarged_and_parted_by_gaps() -> None:
    images = np.stack([np.full((3, 16, 16), level) for level in (-1.0, 1.0)])
    picture = tiled(images)
    assert picture.shape == (2 * 64 + 2, 3 * 64 + 2 * 2)
    assert (picture[:64, :64] == 0).all()
    assert (picture[64:66] == 255).all()
    assert (picture[:64, 64:66] == 255).all()


def test_the_grid_is_painted_alone_and_again_the_same(styled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sample", "--out", str(styled), "--style-grid", "5", "--json"]
    path = run_folder(styled) / "style-grid.png"
    assert command_line([*words, "--dry-run"]) == 0
    assert not path.exists()
    capsys.readouterr()
    assert command_line(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == ["normal", "normal", "sick", "sick"]
    assert answer["styles"] == 5
    assert not (run_folder(styled) / "archive").exists()
    with Image.open(path) as picture:
        assert picture.size == (5 * 64 + 4 * 2, 4 * 64 + 3 * 2)
    first = path.read_bytes()
    assert command_line(words) == 0
    assert path.read_bytes() == first


def test_an_archive_draws_every_class_in_each_style_alike_and_comes_with_their_picture(styled: Path) -> None:
    assert command_line(["sample", "--out", str(styled), "--quiet"]) == 0
    folder = run_folder(styled)
    with (folder / "archive" / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for label in ("normal", "sick"):
        # More images than are drawn at a time: styles go on where they were.
        assert Counter(row["style"] for row in rows if row["label"] == label) == dict.fromkeys("012", 25)
    with Image.open(folder / "style-grid.png") as picture:
        assert picture.size[0] == 3 * 64 + 2 * 2


def test_a_generator_without_styles_is_told_what_to_do(sampled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["sample", "--out", str(sampled), "--style-grid", "4"]) == 2
    said = capsys.readouterr().err
    assert "generator 'moments' draws no style apart from the content" in said
    assert "name: drai" in said
    assert command_line(["sample", "--out", str(sampled), "--style-grid", "0"]) == 2
