"""An encoder of the house: an audit of the images that it was fitted to refuses it, no release takes it, kill -9 costs nothing."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthrelease.cohort.phantom import simulate_patient
from tests.stories.conftest import House, Said, say
from tests.stories.killed_runs import Ended, Killer

PATIENTS = 24
FITTED = ("--side", 32, "--steps", 2, "--threads", 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tables of pictures of different people: a generator's patients, held out ones, synthetic ones, and strangers."""
    home = tmp_path_factory.mktemp("wards")
    made = {}
    for number, role in enumerate(("train", "holdout", "synthetic", "strangers")):
        made[role] = home / role
        made[role].mkdir()
        with (made[role] / "table.csv").open("w", newline="", encoding="utf-8") as stream:
            rows = csv.writer(stream)
            rows.writerow(["image", "patient_id", "label"])
            for index in range(PATIENTS):
                pixels = simulate_patient(31 + number, index, 32).images[0].pixels
                Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(made[role] / f"{index}.png")
                rows.writerow([f"{index}.png", f"{role}-{index}", "normal"])
    return made


@pytest.fixture(scope="module")
def encoders(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The encoder that was fitted to a role's patients, by name of the role."""
    home = tmp_path_factory.mktemp("encoders")

    def of(role: str) -> Path:
        file = home / f"{role}.safetensors"
        if not file.exists():
            assert say("features", "fit", "--cohort", folders[role], "--out", file, *FITTED).code == 0
        return file

    return of


@pytest.fixture
def audit(folders: dict[str, Path], tmp_path: Path) -> Callable[[Path], Said]:
    """Audits the folders by a profile that names an encoder."""

    def by(encoder: Path) -> Said:
        quick = (Path(__file__).parents[2] / "audits" / "quick.yaml").read_text(encoding="utf-8")
        named = f"extractor: {{name: uld, file: {encoder}, because: our own kind of image}}\n"
        profile = tmp_path / "profile.yaml"
        profile.write_text(named + quick, encoding="utf-8")
        words = ("--real", folders["train"], "--holdout", folders["holdout"], "--synthetic", folders["synthetic"])
        return say("audit", *words, "--profile", profile, "--out", tmp_path / "runs", "--threads", 1)

    return by


@pytest.mark.parametrize("side", ["train", "holdout"])
def test_an_audit_refuses_an_encoder_that_was_fitted_to_either_side_of_it(
    encoders: Callable[[str], Path], audit: Callable[[Path], Said], tmp_path: Path, side: str
) -> None:
    told = audit(encoders(side))
    assert told.code == 2, told.err
    assert "this very cohort" in told.err
    assert list(tmp_path.rglob("audit.json")) == []


def test_a_private_encoder_enters_no_archive_and_no_release(
    encoders: Callable[[str], Path], folders: dict[str, Path], house: House, tmp_path: Path
) -> None:
    inside = house.run / "archive" / "encoder.safetensors"
    assert say("features", "fit", "--cohort", folders["strangers"], "--out", inside, *FITTED).code == 2
    assert not inside.exists()
    for name in ("Ann Approver", "Bob Approver"):
        assert house.say("approve", "--by", name, "--statement", "I read the internal report.").code == 0
    for name in ("encoder.safetensors", "labels.csv"):
        kept = (house.run / "archive" / name).read_bytes() if name == "labels.csv" else None
        shutil.copyfile(encoders("strangers"), house.run / "archive" / name)
        assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 6
        assert not (tmp_path / "pack").exists()
        if kept is None:
            (house.run / "archive" / name).unlink()
        else:
            (house.run / "archive" / name).write_bytes(kept)
    assert house.say("release", "--unsigned", "--to", tmp_path / "pack").code == 0, "nothing else was in the way"


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """A process that runs the command line and kills it."""
    process = Killer()
    yield process
    process.close()


def test_a_fit_that_is_killed_before_a_write_goes_on_to_the_same_bytes(
    killer: Killer, folders: dict[str, Path], tmp_path: Path
) -> None:
    def fit(out: Path, *words: str, **how: int) -> Ended:
        return killer.run("features", "fit", "--cohort", folders["strangers"], "--out", out, *FITTED, *words, **how)

    straight = tmp_path / "straight.safetensors"
    whole = fit(straight)
    assert whole.code == 0, whole.said
    for number in (2, whole.writes // 2, whole.writes):
        out = tmp_path / f"killed-{number}.safetensors"
        folder = out.with_name(f"{out.name}.fit.private")
        assert fit(out, before_write=number).killed
        assert out.exists() is (number == whole.writes), "the last write makes the encoder's name last"
        begun = (folder / "request.private.json").is_file()
        assert begun is (number > 2)
        resumed = fit(out, *["--resume"] * begun)
        assert resumed.code == 0, (number, resumed.said)
        assert out.read_bytes() == straight.read_bytes()
        assert not folder.exists()
