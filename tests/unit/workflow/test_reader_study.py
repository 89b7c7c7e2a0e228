"""A reader study out of a run: blinded on disk, sealed, drawn from the holdout, and a thing of the house."""

from __future__ import annotations

import csv
import json
import shutil
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from synthrelease.cli.group import run as command_line
from synthrelease.cohort.store import CohortStore, Split
from synthrelease.errors import IntegrityError, UnsuitableData, UsageError
from synthrelease.records.manifest import problems
from synthrelease.records.progress import Silent
from synthrelease.records.runs import Run
from synthrelease.report.reader_study.key import Key, key_digest, read_key
from synthrelease.workflow.desk import Desk
from synthrelease.workflow.reader_study import StudyWish, export_study, score_study

IMAGES, REPEATS = 40, 8


def run_of(home: Path) -> Run:
    return Run(next(home.glob("*/policy.resolved.json")).parent)


def wish(folder: Path, **given: Any) -> StudyWish:
    values = {"images": IMAGES, "repeats": REPEATS, "margin": 0.25, "seed": "5" * 64}
    return StudyWish(folder / "study", folder / "key.private.json", **{**values, **given})


def export(home: Path, wanted: StudyWish) -> dict[str, Any]:
    return export_study(Desk(home, home / "ledgers", Silent()), run_of(home), wanted)


@pytest.fixture(scope="module")
def study(sampled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    folder = tmp_path_factory.mktemp("study")
    export(sampled, wish(folder))
    return folder, read_key((folder / "key.private.json").read_bytes())


def test_the_study_is_for_its_owner_alone_and_says_that_it_is_internal(study: tuple[Path, Key]) -> None:
    folder, _ = study
    assert stat.S_IMODE((folder / "study").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "study" / "images").stat().st_mode) == 0o700
    files = [path for path in (folder / "study").rglob("*") if path.is_file()] + [folder / "key.private.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert all(b"INTERNAL" in path.read_bytes() for path in files)


def test_files_have_one_size_one_time_and_one_header(study: tuple[Path, Key]) -> None:
    files = sorted((study[0] / "study" / "images").iterdir())
    assert [path.name for path in files] == [f"CASE{n:04d}.dcm" for n in range(1, IMAGES + REPEATS + 1)]
    assert len({path.stat().st_size for path in files}) == 1
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    heads = set()
    for number, path in enumerate(files, 1):
        image = pydicom.dcmread(path)
        assert image.InstanceNumber == 1000 + number
        assert (image.Rows, image.Columns, image.BitsStored) == (16, 16, 12)
        for name in ("SOPInstanceUID", "InstanceNumber", "PixelData"):
            delattr(image, name)
        heads.add(image.to_json())
    assert len(heads) == 1


def test_the_key_lies_apart_and_the_sheet_names_its_digest(study: tuple[Path, Key]) -> None:
    folder, key = study
    digest = key_digest((folder / "key.private.json").read_bytes())
    told = json.loads((folder / "study" / "study.json").read_text())
    assert told["key_sha256"] == digest
    for name in ("answers.csv", "answers.html"):
        assert digest in (folder / "study" / name).read_text()
    secrets = [key.seed, *(case.origin for case in key.cases), *key.sources.values()]
    for path in (folder / "study").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path.name


def test_real_images_are_of_holdout_patients_one_of_each(sampled: Path, study: tuple[Path, Key]) -> None:
    store = CohortStore.open(run_of(sampled).cohort)
    row_of = {image: row for row, image in enumerate(store.image_ids)}
    real = [row_of[case.origin] for case in study[1].first_cases() if not case.synthetic]
    held_out = set(store.patients(Split.HOLDOUT).tolist())
    patients = store.patient[real].tolist()
    assert set(patients) <= held_out
    assert len(set(patients)) == len(patients) == IMAGES // 2
    made = [case for case in study[1].first_cases() if case.synthetic]
    assert Counter(case.label for case in made) == {"normal": IMAGES // 4, "sick": IMAGES // 4}
    assert len({case.origin for case in made}) == len(made)


def test_training_patients_are_shown_only_when_they_are_asked_for(sampled: Path, tmp_path: Path) -> None:
    export(sampled, wish(tmp_path, real_from=Split.TRAIN))
    key = read_key((tmp_path / "key.private.json").read_bytes())
    store = CohortStore.open(run_of(sampled).cohort)
    row_of = {image: row for row, image in enumerate(store.image_ids)}
    train = set(store.patients(Split.TRAIN).tolist())
    assert {int(store.patient[row_of[case.origin]]) for case in key.cases if not case.synthetic} <= train


def test_each_case_shows_what_the_key_says_and_a_repeat_is_no_copy(sampled: Path, study: tuple[Path, Key]) -> None:
    folder, key = study
    run = run_of(sampled)
    store = CohortStore.open(run.cohort)
    row_of = {image: row for row, image in enumerate(store.image_ids)}
    shown = {}
    for case in key.cases:
        levels = pydicom.dcmread(folder / "study" / "images" / f"CASE{case.number:04d}.dcm").pixel_array
        shown[case.number] = levels
        if case.synthetic:
            expected = pydicom.dcmread(run.archive / case.origin).pixel_array.astype(float)
        else:
            expected = (store.images(np.array([row_of[case.origin]]))[0, 0] + 1) * (4095 / 2)
        assert np.abs(levels - expected).mean() < 30  # of 4095; the grain is 24
        if case.repeat_of is not None:
            assert not np.array_equal(levels, shown[case.repeat_of])


def test_stored_values_are_of_one_scale(study: tuple[Path, Key]) -> None:
    folder, key = study
    values: dict[bool, set[int]] = {True: set(), False: set()}
    for case in key.cases:
        image = pydicom.dcmread(folder / "study" / "images" / f"CASE{case.number:04d}.dcm")
        values[case.synthetic] |= set(np.unique(image.pixel_array).tolist())
    allowed = {round(grey * 4095 / 255) for grey in range(256)}
    assert values[True] <= allowed
    assert values[False] <= allowed


def test_the_seed_decides_and_is_drawn_anew_each_time(sampled: Path, study: tuple[Path, Key], tmp_path: Path) -> None:
    for name, seed in (("same", "5" * 64), ("one", None), ("other", None)):
        (tmp_path / name).mkdir()
        export(sampled, wish(tmp_path / name, seed=seed))
    keys = {name: read_key((tmp_path / name / "key.private.json").read_bytes()) for name in ("same", "one", "other")}
    assert keys["same"] == study[1]
    assert len({keys[name].seed for name in keys}) == 3
    assert keys["one"].cases != keys["other"].cases
    assert keys["one"].study != keys["other"].study


def test_a_study_too_small_for_its_margin_says_so(sampled: Path, tmp_path: Path) -> None:
    told = export(sampled, wish(tmp_path, margin=0.1))
    assert any("228 are needed" in warning for warning in told["warnings"])
    assert told["power"] < 0.5


def test_more_images_than_there_are_patients_are_refused(sampled: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsuitableData, match="114 images of each kind"):
        export(sampled, wish(tmp_path, images=None, margin=0.1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["folder", "key"])
@pytest.mark.parametrize("place", ["archive", "archive/DICOM/deep", "pack", "releases/x", "bag"])
def test_no_part_of_a_study_lies_where_things_leave_the_house_from(
    sampled: Path, tmp_path: Path, place: str, option: str
) -> None:
    run = run_of(sampled)
    inside = (
        run.archive / place.removeprefix("archive").lstrip("/") if place.startswith("archive") else tmp_path / place
    )
    if place in ("pack", "bag"):
        inside.mkdir()
        (inside / {"pack": "release.json", "bag": "bagit.txt"}[place]).write_text("{}")
    wanted = wish(tmp_path)
    places = {"folder": wanted.folder, "key": wanted.key, option: inside / "new"}
    with pytest.raises(UsageError, match=f"--{'to' if option == 'folder' else 'key'} lies in"):
        export(sampled, wish(tmp_path).__class__(**{**wanted.__dict__, **places}))
    assert not (inside / "new").exists()
    assert list(problems(run.archive)) == []


def test_a_study_that_is_there_is_not_overwritten_and_the_key_not_put_into_it(sampled: Path, tmp_path: Path) -> None:
    wanted = wish(tmp_path)
    with pytest.raises(UsageError, match="where readers would find it"):
        export(sampled, StudyWish(wanted.folder, wanted.folder / "key.json", IMAGES))
    export(sampled, wanted)
    with pytest.raises(UsageError, match="exists already"):
        export(sampled, wanted)
    with pytest.raises(UsageError, match="exists already"):
        export(sampled, StudyWish(tmp_path / "other", wanted.key, IMAGES))


@pytest.mark.parametrize("changed", ["labels.csv", "manifest-sha256.txt", "images"])
def test_an_archive_that_was_changed_gives_no_study(sampled: Path, tmp_path: Path, changed: str) -> None:
    home = tmp_path / "runs"
    shutil.copytree(sampled, home)
    archive = run_of(home).archive
    for path in archive.rglob("I*") if changed == "images" else [archive / changed]:
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="not the one that was sampled"):
        export(home, wish(tmp_path))
    assert not (tmp_path / "study").exists()
    assert not (tmp_path / "key.private.json").exists()


# --- answers -------------------------------------------------------------------------------------------------------


def answered(folder: Path, key: Key, name: str, right: float, seed: int = 0) -> Path:
    """The study's sheet as a reader fills it in who is right with that chance."""
    rng = np.random.default_rng(seed)
    rows = list(csv.reader((folder / "study" / "answers.csv").read_text().splitlines()))
    rows[2][1] = name
    truth = {case.number: case.synthetic for case in key.cases}
    for row in rows[4:]:
        row[1] = "synthetic" if truth[int(row[0])] == bool(rng.random() < right) else "real"
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_a_reader_who_guesses_is_equivalent_and_one_who_sees_is_told(
    study: tuple[Path, Key], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = study
    blind, seeing = answered(folder, key, "Ann", 0.5, 1), answered(folder, key, "Bob", 0.95)
    told = score_study(folder / "study", folder / "key.private.json", [blind, seeing])
    assert [row["verdict"] for row in told["readers"]] == ["equivalent", "told apart"]
    assert told["verdict"] == "told apart"
    words = ["reader-study", "score", str(folder / "study"), "--key", str(folder / "key.private.json")]
    assert command_line([*words, "--answers", str(blind)]) == 0
    shown = capsys.readouterr().out
    assert "verdict  equivalent" in shown
    assert not any(case.origin in shown for case in key.cases)


def test_a_key_that_was_changed_after_the_answers_is_refused(study: tuple[Path, Key], tmp_path: Path) -> None:
    folder, key = study
    path = answered(folder, key, "Cas", 0.5)
    changed = tmp_path / "key.json"
    content = (folder / "key.private.json").read_bytes()
    changed.write_bytes(content.replace(b'"synthetic": true', b'"synthetic": false', 1))
    with pytest.raises(IntegrityError, match="not the one that was sealed"):
        score_study(folder / "study", changed, [path])
    changed.write_text("{}")
    with pytest.raises(IntegrityError, match="not that of a reader study"):
        score_study(folder / "study", changed, [path])


def test_what_is_not_there_is_named(study: tuple[Path, Key], tmp_path: Path) -> None:
    folder, _ = study
    with pytest.raises(UsageError, match="the key is not there"):
        score_study(folder / "study", tmp_path / "key", [])
    with pytest.raises(UsageError, match="no reader study"):
        score_study(tmp_path, folder / "key.private.json", [])
    with pytest.raises(UsageError, match="cannot be read"):
        score_study(folder / "study", folder / "key.private.json", [tmp_path / "none.csv"])
