"""`synthrelease features`: what is fitted, to whom, where it may lie, and that an interruption changes nothing."""

from __future__ import annotations

import csv
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synthrelease.cohort.phantom import simulate_patient
from synthrelease.features.uld import fitting
from synthrelease.features.uld.encoder import Encoder, Provenance
from synthrelease.features.uld.fitting import Recipe

PATIENTS = 22


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A private table of pictures with telling names."""
    folder = tmp_path_factory.mktemp("ward-seven")
    with (folder / "table.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "patient_id", "label"])
        for index in range(PATIENTS):
            pixels = simulate_patient(1, index, 32).images[0].pixels
            Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / f"KOWALSKI-{index}.png")
            rows.writerow([f"KOWALSKI-{index}.png", f"ZX-{index}", "normal"])
    return folder


@pytest.fixture
def fit(say, cohort, tmp_path):
    """Fits an encoder with few steps to the cohort; more words follow."""

    def said(*words, out=tmp_path / "a.safetensors", side=32, steps=4):
        fixed = ("--side", side, "--steps", steps, "--threads", 1)
        return say("features", "fit", "--cohort", cohort, "--out", out, *fixed, *words)

    return said


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_encoder_says_in_itself_that_it_is_private_and_names_nobody(fit, say, cohort, tmp_path):
    told = fit()
    assert told.code == 0, told.err
    file = tmp_path / "a.safetensors"
    assert left(tmp_path) == [file.name], "pixels and state are gone"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "private: it stays in the house" in told.out
    encoder = Encoder.load(file)
    assert (encoder.role, encoder.provenance.kind) == ("landmarks", "private")
    assert encoder.provenance.source == "private images: all patients of the folder that was given"
    assert len(encoder.provenance.cohort_digests) == PATIENTS
    assert encoder.provenance.recipe["side"] == 32
    content = file.read_bytes()
    for secret in ("KOWALSKI", "ZX-", str(cohort), cohort.name):
        assert secret.encode() not in content
        assert secret not in told.out + told.err
    shown = say("features", "show", file, "--json").json
    assert shown["digest"] == encoder.digest
    assert (shown["kind"], shown["known_images"]) == ("private", PATIENTS)


def test_progress_tells_stages_and_json_the_figures(fit):
    told = fit("--json")
    assert "patch discrimination (4)" in told.err
    assert f"{PATIENTS} images of {PATIENTS} patients, all of them together" in told.err
    assert told.json["seen"] == {"images": PATIENTS, "patients": PATIENTS}
    assert fit("--quiet", out=Path(told.json["file"]).with_name("b.safetensors")).err == ""


@pytest.mark.parametrize(("role", "side"), [("landmarks", 32), ("copies", 64)])
def test_a_fit_that_was_interrupted_goes_on_to_the_same_bytes(fit, tmp_path, monkeypatch, role, side):
    straight, broken = tmp_path / "straight.safetensors", tmp_path / "broken.safetensors"
    asked = {"side": side, "steps": 6}
    assert fit("--role", role, out=straight, **asked).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(f"synthrelease.features.uld.{'fitting' if role == 'landmarks' else 'local'}.KEEP_EVERY_S", 0.0)

        def interrupt(self, done, facts=""):
            if self._name != "reading the private archive" and done == 3:
                raise KeyboardInterrupt

        patch.setattr("synthrelease.cli.console.Console.step", interrupt)
        told = fit("--role", role, out=broken, **asked)
    assert told.code == 130
    assert "--resume" in told.err
    folder = tmp_path / "broken.safetensors.fit.private"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "state.safetensors").is_file()
    assert not broken.exists()
    assert fit("--role", role, out=broken, **asked).code == 2, "not begun anew by accident"
    for other in ({"side": 128, "steps": 6}, {"side": side, "steps": 7}):
        assert fit("--role", role, "--resume", out=broken, **other).code == 2
    assert fit("--role", role, "--resume", out=broken, **asked).code == 0
    assert broken.read_bytes() == straight.read_bytes()
    assert left(tmp_path) == ["broken.safetensors", "straight.safetensors"]


@pytest.mark.parametrize(
    ("make", "out"),
    [
        (lambda folder: (folder / "pack").mkdir() or (folder / "pack" / "bagit.txt").touch(), "pack/data/a.safetensors"),
        (lambda folder: (folder / "x").mkdir() or (folder / "x" / "manifest-sha256.txt").touch(), "x/a.safetensors"),
        (lambda folder: (folder / "run").mkdir() or (folder / "run" / "policy.resolved.json").touch(), "run/archive/a.safetensors"),
        (lambda folder: None, "releases/a.safetensors"),
        (lambda folder: (folder / "a.safetensors").touch(), "a.safetensors"),
        (lambda folder: None, "a.pt"),
    ],
)  # fmt: skip
def test_no_encoder_is_written_where_things_leave_the_house_or_over_another(fit, tmp_path, make, out):
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told = fit(out=tmp_path / out)
    assert told.code == 2, told.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("given", [".", "table.csv"])
@pytest.mark.parametrize("out", ["a.safetensors", "deeper/a.safetensors"])
def test_no_encoder_is_written_into_the_cohort(say, cohort, given, out):
    before = left(cohort)
    told = say("features", "fit", "--cohort", cohort / given, "--out", cohort / out, "--side", 32, "--steps", 1)
    assert told.code == 2, told.err
    assert "of the cohort" in told.err
    assert left(cohort) == before


@pytest.mark.parametrize("given", [".", "table.csv"])
def test_no_encoder_is_written_beside_pictures_that_a_table_names_elsewhere(say, tmp_path, given):
    lists, pictures = tmp_path / "lists", tmp_path / "pictures"
    lists.mkdir()
    pictures.mkdir()
    rows = [
        "image,patient_id,label",
        "\0/KOWALSKI.png,ZX-0,normal",
        ",ZX-1,normal",
        "../pictures/KOWALSKI.png,ZX-2,normal",
    ]
    (lists / "table.csv").write_text("\n".join(rows) + "\n")
    told = say("features", "fit", "--cohort", lists / given, "--out", pictures / "a.safetensors")
    assert told.code == 2, told.err
    assert "of its pictures" in told.err
    assert "KOWALSKI" not in told.err
    assert left(pictures) == []
    told = say("features", "fit", "--cohort", lists / given, "--out", tmp_path / "a.safetensors")
    assert "of its pictures" not in told.err, "an empty cell names no folder"


def test_what_a_fit_leaves_when_it_is_killed_is_its_owners_alone(fit, tmp_path, monkeypatch):
    modes = {}
    replace = os.replace

    def looking(source, target):
        place = Path(target)
        modes[place.name] = (stat.S_IMODE(place.parent.stat().st_mode), stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", looking)
    before = os.umask(0)
    try:
        assert fit().code == 0
    finally:
        os.umask(before)
    assert modes["request.private.json"][0] == 0o700, "the folder, before the first file in it has its name"
    assert modes["a.safetensors"][1] == 0o600


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--phantoms", "--cohort", "x"),
        ("--phantoms", "--steps", 3),
        ("--phantoms", "--mode", "paper"),
        ("--cohort", "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(say, tmp_path, words):
    told = say("features", "fit", *words, "--out", tmp_path / "a.safetensors")
    assert told.code == 2, told.err
    assert left(tmp_path) == []


@pytest.mark.parametrize("words", [("--role", "copies"), ("--role", "copies", "--mode", "paper")])
def test_settings_that_no_recipe_has_are_refused(fit, tmp_path, words):
    assert fit(*words).code == 2
    assert left(tmp_path) == []


def test_nothing_to_go_on_with_is_told(fit, tmp_path):
    told = fit("--resume")
    assert told.code == 2
    assert "without --resume" in told.err
    assert left(tmp_path) == []


def test_too_few_patients_and_folders_without_images_are_unsuitable_and_leave_nothing(say, cohort, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    lines = (cohort / "table.csv").read_text().splitlines()[:6]
    for line in lines[1:]:
        name = line.split(",")[0]
        (few / name).write_bytes((cohort / name).read_bytes())
    (few / "table.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out" / "a.safetensors"
    told = say("features", "fit", "--cohort", few, "--side", 32, "--out", out)
    assert told.code == 8, told.err
    assert "fewer than 20 patients" in told.err
    assert "ZX-" not in told.err
    (tmp_path / "empty").mkdir()
    assert say("features", "fit", "--cohort", tmp_path / "empty", "--out", out).code == 8
    assert left(tmp_path / "out") == []


def test_phantoms_make_a_public_encoder_by_the_fixed_recipe(say, tmp_path, monkeypatch):
    asked = SimpleNamespace()

    def make(role, progress, state):
        asked.role, asked.state = role, state
        return Encoder(role, Recipe(steps=0).build(), Provenance("public", "invented chests; no patient"))

    monkeypatch.setattr("synthrelease.workflow.features.make_public", make)
    told = say("features", "fit", "--phantoms", "--out", tmp_path / "a.safetensors")
    assert told.code == 0, told.err
    assert "public: no patient had a part in it" in told.out
    assert asked.role == "landmarks"
    assert asked.state.parent.name == "a.safetensors.fit.private"
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) != 0o600


def test_showing_what_is_no_encoder_is_refused(say, tmp_path):
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    assert say("features", "show", tmp_path / "junk.safetensors").code == 8
    assert say("features", "show", tmp_path / "none.safetensors").code == 2


def test_the_published_form_splits_its_steps_over_both_stages(tmp_path):
    from synthrelease.workflow.features import Wanted

    recipe = Wanted("landmarks", tmp_path / "a.safetensors", mode="paper", steps=50).recipe
    assert (recipe.steps, recipe.region_steps) == (10, 40)
    assert json.dumps(recipe.to_json())
    assert fitting.STAGES
