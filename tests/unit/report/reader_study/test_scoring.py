"""Answers against a key: shares, verdicts, repeats, and sheets as people fill them in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.report.reader_study.key import INTERNAL, Key, KeyCase
from synthrelease.report.reader_study.scoring import EQUIVALENT, INCONCLUSIVE, TOLD_APART, ReaderAnswers, score
from synthrelease.report.reader_study.sheet import Sheet, read_answers, sheet_csv, sheet_html
from synthrelease.report.reader_study.text import result_text

IMAGES, REPEATS = 228, 20


def key_of(images: int = IMAGES, repeats: int = REPEATS) -> Key:
    cases = [KeyCase(n, n % 2 == 0, "nodule", f"PRIVATE-{n}") for n in range(1, images + 1)]
    again = [KeyCase(images + n, n % 2 == 0, "nodule", f"PRIVATE-{n}", n) for n in range(1, repeats + 1)]
    return Key("0123456789ab", "0" * 64, 0.1, 0.05, (*cases, *again), {"run": "story"})


KEY = key_of()


def reader(name: str, right: float, seed: int = 0, key: Key = KEY, lean: float | None = None) -> ReaderAnswers:
    """One who is right with that chance; with ``lean`` one who calls so many synthetic whatever is shown."""
    rng = np.random.default_rng(seed)
    called = {}
    for case in key.cases:
        hit = bool(rng.random() < right)
        called[case.number] = case.synthetic == hit if lean is None else bool(rng.random() < lean)
    return ReaderAnswers(name, called)


def guessing(name: str, seed: int = 0) -> ReaderAnswers:
    """One who guesses, with just half of the answers right."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(IMAGES) + 1
    wrong = set(order[: IMAGES // 2].tolist())
    called = {case.number: case.synthetic != (case.number in wrong) for case in KEY.cases}
    return ReaderAnswers(name, called)


def test_a_reader_who_guesses_is_equivalent_and_one_who_sees_is_not() -> None:
    told = score(KEY, [guessing("Ann")])
    assert (told["verdict"], told["readers"][0]["verdict"]) == (EQUIVALENT, EQUIVALENT)
    told = score(KEY, [reader("Bob", 0.9)])
    assert told["verdict"] == TOLD_APART
    assert told["readers"][0]["accuracy"]["value"] > 0.85


def test_a_reader_who_takes_each_for_the_other_sees_too() -> None:
    assert score(KEY, [reader("Bob", 0.1)])["verdict"] == TOLD_APART


def test_one_who_sees_is_enough_among_those_who_guess() -> None:
    told = score(KEY, [guessing("Ann", 1), guessing("Cas", 2), reader("Bob", 0.9)])
    assert told["verdict"] == TOLD_APART
    assert "1 of 3" in told["reason"]


def test_few_answers_are_inconclusive_and_say_how_many_would_do() -> None:
    key = key_of(40, 0)
    told = score(key, [reader("Ann", 0.5, 3, key)])
    assert told["verdict"] == INCONCLUSIVE
    assert "228 answers" in told["readers"][0]["reason"]


@pytest.mark.parametrize("lean", [0.0, 1.0, 0.04])
def test_one_who_answers_the_same_throughout_shows_nothing(lean: float) -> None:
    """Half of the answers are right, and would be whatever the images were."""
    row = score(KEY, [reader("Ann", 0, 5, lean=lean)])["readers"][0]
    assert row["accuracy"]["value"] == pytest.approx(0.5, abs=0.05)
    assert row["equivalence"]["shown"]
    assert row["verdict"] == INCONCLUSIVE
    assert "nearly all answers are the same" in row["reason"]


def test_open_cases_are_left_out_and_too_many_are_inconclusive() -> None:
    whole = guessing("Ann")
    few = ReaderAnswers("Ann", {n: c for n, c in whole.called_synthetic.items() if n > 10})
    row = score(KEY, [few])["readers"][0]
    assert (row["answered"], row["missing"]) == (IMAGES - 10, 10)
    many = ReaderAnswers("Ann", {n: c for n, c in whole.called_synthetic.items() if n > 60})
    assert "60 of 228 cases were left open" in score(KEY, [many])["readers"][0]["reason"]
    one_side = ReaderAnswers("Ann", {n: c for n, c in whole.called_synthetic.items() if n % 2 or n > 60})
    assert score(KEY, [one_side])["verdict"] == INCONCLUSIVE


def test_shares_and_intervals_are_those_of_the_counts() -> None:
    called = {case.number: case.synthetic for case in KEY.cases}
    called |= dict.fromkeys(range(2, 22, 2), False)  # ten synthetic images taken for real
    row = score(KEY, [ReaderAnswers("Ann", called)])["readers"][0]
    assert (row["sensitivity"]["hits"], row["sensitivity"]["trials"]) == (104, 114)
    assert (row["specificity"]["hits"], row["specificity"]["trials"]) == (114, 114)
    assert row["accuracy"]["hits"] == 218
    exact, wilson = row["accuracy"]["exact"], row["accuracy"]["wilson"]
    assert exact[0] < wilson[0] < 218 / 228 < exact[1]
    assert row["specificity"]["exact"][1] == 1


def test_images_shown_twice_tell_how_steady_a_reader_is_and_count_once() -> None:
    steady = reader("Ann", 1.0)
    row = score(KEY, [steady])["readers"][0]
    assert row["accuracy"]["trials"] == IMAGES
    assert row["repeated"]["same"]["hits"] == row["repeated"]["images"] == REPEATS
    assert row["repeated"]["kappa"]["value"] == 1
    other = ReaderAnswers("Ann", {n: c != (n > IMAGES) for n, c in steady.called_synthetic.items()})
    row = score(KEY, [other])["readers"][0]
    assert row["repeated"]["same"]["hits"] == 0
    assert row["repeated"]["kappa"]["value"] < 0
    assert row["accuracy"]["value"] == 1
    assert score(key_of(40, 0), [reader("Ann", 0.9, 0, key_of(40, 0))])["readers"][0]["repeated"] is None


def test_readers_who_see_agree_and_readers_who_guess_do_not() -> None:
    seeing = score(KEY, [reader("Ann", 0.95, 1), reader("Bob", 0.95, 2), reader("Cas", 0.95, 3)])["together"]
    blind = score(KEY, [guessing("Ann", 11), guessing("Bob", 12), guessing("Cas", 13)])["together"]
    assert seeing["fleiss_kappa"]["interval"][0] > 0.6
    assert blind["fleiss_kappa"]["interval"][0] < 0 < blind["fleiss_kappa"]["interval"][1]
    assert len(seeing["cohen_kappa"]) == 3
    assert seeing["accuracy"]["interval"][0] > 0.8
    assert blind["accuracy"]["interval"][0] < 0.5 < blind["accuracy"]["interval"][1]


def test_confidence_adds_the_area_under_the_curve() -> None:
    given = reader("Ann", 0.8)
    sure = {n: 5 if case.synthetic == given.called_synthetic[n] else 1 for n, case in enumerate(KEY.cases, 1)}
    row = score(KEY, [ReaderAnswers("Ann", given.called_synthetic, sure)])["readers"][0]
    assert row["area_under_curve"]["value"] > row["accuracy"]["value"]
    assert score(KEY, [given])["readers"][0]["area_under_curve"] is None


def test_the_result_names_no_image_and_is_plain_json() -> None:
    told = score(KEY, [guessing("Ann"), reader("Bob", 0.9)])
    text = json.dumps(told, allow_nan=False)
    assert "PRIVATE" not in text
    shown = result_text(told)
    assert "PRIVATE" not in shown
    assert "told apart" in shown
    assert "says nothing of privacy" in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no reader"),
        ([guessing("Ann"), guessing("Ann")], "one reader twice"),
        ([ReaderAnswers("Ann", {9999: True})], "case 9999"),
        ([ReaderAnswers("Ann", {})], "answered nothing"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused(given: list[ReaderAnswers], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        score(KEY, given)


# --- the sheet -----------------------------------------------------------------------------------------------------

SHEET = Sheet("0123456789ab", "ab" * 32, 12)
Fill = Callable[[str], str]


def filled(folder: Path, change: Fill = lambda text: text, name: str = "ann.csv") -> Path:
    text = sheet_csv(SHEET).replace("reader,", "reader,Ann")
    for case, answer in ((1, "real,3,blurred"), (2, "Synthetic,,"), (3, "r,5,"), (12, "S,1,")):
        text = text.replace(f"{case:04d},,,", f"{case:04d},{answer}")
    (folder / name).write_text(change(text))
    return folder / name


def test_a_filled_sheet_is_read_and_open_cases_are_missing(tmp_path: Path) -> None:
    told = read_answers(filled(tmp_path), SHEET)
    assert told.reader == "Ann"
    assert told.called_synthetic == {1: False, 2: True, 3: False, 12: True}
    assert told.confidence == {1: 3, 3: 5, 12: 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", ",,,\n\n"),
        lambda text: text.replace("\n0001,", "\n1,").replace("\n0002,", "\n2,"),
    ],
    ids=["semicolons", "tabs", "windows", "blank rows and cells", "zeros lost"],
)
def test_sheets_come_back_as_spreadsheets_save_them(tmp_path: Path, change: Fill) -> None:
    assert read_answers(filled(tmp_path, change), SHEET).called_synthetic == {1: False, 2: True, 3: False, 12: True}


def test_a_reader_without_a_name_is_called_by_the_file(tmp_path: Path) -> None:
    assert (
        read_answers(filled(tmp_path, lambda text: text.replace("reader,Ann", "reader,"), "bob.csv"), SHEET).reader
        == "bob"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("Synthetic", "perhaps"), "case 2 is answered by 'perhaps'"),
        (lambda text: text.replace("real,3", "real,7"), "case 1 has the confidence '7'"),
        (lambda text: text.replace("0012,", "0013,"), "there is no case '0013'"),
        (lambda text: text.replace("0012,", "0001,"), "case 1 is answered twice"),
        (lambda text: "", "no row 'case, answer'"),
    ],
)
def test_what_no_row_may_say_is_refused_and_named(tmp_path: Path, change: Fill, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_answers(filled(tmp_path, change), SHEET)


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("0123456789ab", "ffff"), lambda t: t.replace("abab", "cdcd", 1)]
)
def test_the_sheet_of_another_study_or_key_is_refused(tmp_path: Path, change: Fill) -> None:
    with pytest.raises(IntegrityError, match="another study or another key"):
        read_answers(filled(tmp_path, change), SHEET)


def test_both_sheets_are_internal_name_the_key_and_give_no_counts_away() -> None:
    for text in (sheet_csv(SHEET), sheet_html(SHEET)):
        assert INTERNAL in text
        assert SHEET.key_digest in text
        assert "0012" in text
        assert "0013" not in text
    page = sheet_html(SHEET)
    assert 'class="watermark"' in page
    assert not any(word in page for word in ("<script", "http://", "https://", "<img"))
