"""People look at a run's images: a blinded study is written, answered and scored, and no release carries it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from synthrelease.report.reader_study.key import read_key
from tests.stories.conftest import House, say

IMAGES = 24


def answer(study: Path, key_file: Path, name: str, *, sees: bool) -> Path:
    """A filled sheet: of one who sees which is which, or of one whose answers have nothing to do with it."""
    truth = {case.number: case.synthetic for case in read_key(key_file.read_bytes()).cases}
    rows = list(csv.reader((study / "answers.csv").read_text().splitlines()))
    rows[2][1] = name
    # Guessing, with half of either kind right: what an average reader who guesses does.
    right = {
        kind: np.random.default_rng(kind).permutation([n for n in truth if truth[n] is bool(kind)]) for kind in (0, 1)
    }
    lucky = {int(number) for numbers in right.values() for number in numbers[: len(numbers) // 2]}
    for row in rows[4:]:
        number = int(row[0])
        row[1] = "synthetic" if truth[number] == (sees or number in lucky) else "real"
    path = study.parent / f"answers-{name}.private.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_a_guess_is_equivalent_a_reader_who_sees_is_told_apart_and_a_release_holds_nothing_of_it(
    house: House, tmp_path: Path
) -> None:
    exported = house.say("reader-study", "export", "--images", IMAGES, "--margin", 0.4, "--json")
    assert exported.code == 0, exported.err
    told = exported.json
    study, key = Path(told["folder"]), Path(told["key"])
    assert study.parent == house.run
    assert told["cases"] == IMAGES
    blind, seeing = (answer(study, key, name, sees=name == "Bob") for name in ("Ann", "Bob"))

    guessed = say("reader-study", "score", study, "--answers", blind, "--json")
    assert guessed.code == 0, guessed.err
    assert guessed.json["verdict"] == "equivalent"
    both = say("reader-study", "score", study, "--answers", blind, "--answers", seeing, "--json").json
    assert both["verdict"] == "told apart"
    assert [row["verdict"] for row in both["readers"]] == ["equivalent", "told apart"]

    # The study lies in the run's folder and the release does not take it along.
    public = tmp_path / "house.pem"
    assert say("keygen", "--out", public, "--no-passphrase").code == 0
    for name in ("Ann Approver", "Bob Approver"):
        assert house.say("approve", "--by", name, "--statement", "I read the internal report.").code == 0
    sealed = house.say("release", "--to", tmp_path / "pack", "--key", public)
    assert sealed.code == 0, sealed.err
    for path in (tmp_path / "pack").rglob("*"):
        assert "CASE" not in path.name
        if path.is_file():
            content = path.read_bytes()
            assert b"READER STUDY" not in content, path.name
            assert told["study"].encode() not in content, path.name

    # Inside the archive it would be refused, and an archive with a study in it is none.
    refused = house.say(
        "reader-study", "export", "--images", IMAGES, "--margin", 0.4, "--to", house.run / "archive" / "s"
    )
    assert refused.code == 2
    assert "never leaves" in refused.err
    (house.run / "archive" / "CASE0001.dcm").write_bytes((study / "images" / "CASE0001.dcm").read_bytes())
    assert house.say("release", "--to", tmp_path / "other", "--key", public).code != 0
