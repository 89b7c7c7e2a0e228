"""``synthrelease statement``: three forms of one claim, on the screen or in a file, and none of a record that disagrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthrelease.records.files import atomic_write_json, read_json

Say = Callable[..., Any]


def test_the_newest_run_is_stated_as_text(say: Say, home: Path) -> None:
    said = say("statement", "--out", home)
    assert said.code == 0
    assert said.out.startswith("Differential privacy statement\n")
    assert "chest-2026: run first" in said.out
    assert said.out.endswith("\n")


def test_json_is_the_same_by_format_and_by_the_option_that_every_verb_has(say: Say, home: Path) -> None:
    by_format = say("statement", "--run", "first", "--out", home, "--format", "json")
    assert by_format.code == 0
    assert by_format.json["guarantee"]["epsilon"] == read_json(home / "first" / "training.json")["privacy"]["epsilon"]
    assert say("statement", "--run", "first", "--out", home, "--json").json == by_format.json


def test_a_registry_record_goes_to_a_file_whole(say: Say, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "record.yaml"
    said = say(
        *(
            "statement",
            "--out",
            home,
            "--format",
            "registry",
            "--region",
            "European Union",
            "--output",
            target,
            "--json",
        )
    )
    assert said.code == 0
    assert said.json == {"run": "first", "form": "registry", "file": str(target)}
    record = yaml.safe_load(target.read_text(encoding="utf-8"))
    assert record["deployment"]["basic"]["data_product_region"] == "European Union"
    assert [path.name for path in target.parent.iterdir()] == ["record.yaml"]


def test_a_run_elsewhere_finds_the_ledger_beside_it(
    say: Say, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert say("statement", "--run", home / "first", "--out", tmp_path / "none").code == 0


def test_another_folder_of_ledgers_is_refused(say: Say, home: Path, tmp_path: Path) -> None:
    said = say("statement", "--out", home, "--ledger", tmp_path / "empty")
    assert said.code == 6
    assert "does not hold the run first" in said.err
    assert not (tmp_path / "empty").exists()


def test_an_edited_record_is_refused_and_nothing_is_written(say: Say, home: Path, tmp_path: Path) -> None:
    path = home / "first" / "training.json"
    record = read_json(path)
    record["privacy"]["epsilon"] = 1.0
    atomic_write_json(path, record)
    said = say("statement", "--out", home, "--output", tmp_path / "statement.txt")
    assert said.code == 6
    assert "its own mechanisms cost" in said.err
    assert said.out == ""
    assert not (tmp_path / "statement.txt").exists()


def test_without_privacy_there_is_text_and_json_but_no_registry_record(say: Say, plain_home: Path) -> None:
    assert "There is no guarantee" in say("statement", "--out", plain_home).out
    assert say("statement", "--out", plain_home, "--format", "json").json["claimed"] is False
    refused = say("statement", "--out", plain_home, "--format", "registry")
    assert refused.code == 2
    assert "trained without privacy" in refused.err


@pytest.mark.parametrize("words", [("--region", "EU"), ("--format", "registry", "--json"), ("--format", "pdf")])
def test_options_that_do_not_go_together_are_refused(say: Say, home: Path, words: tuple[str, ...]) -> None:
    assert say("statement", "--out", home, *words).code == 2


def test_a_run_that_was_not_trained_is_refused(say: Say, home: Path) -> None:
    (home / "first" / "training.json").unlink()
    assert say("statement", "--run", "first", "--out", home).code == 2
