"""What is learnt of a real value and what is seen in a file must be the same forms, whatever the value."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from synthrelease.audit.headers.evidence import Value, day_of, of_date, of_identifier, of_name, value_of
from synthrelease.audit.headers.fingerprints import Fingerprints, Vocabulary
from synthrelease.audit.headers.material import _LOOSE, _pairs, _shown, _texts
from synthrelease.audit.headers.plants import PLANTS
from synthrelease.audit.headers.tokens import dates, joined, tokens

DAYS = some.dates(min_value=date(1000, 1, 1))
CLOCKS = some.sampled_from(["", "10", "1015", "101500", "101500.123456", "101500+0100", "10-0500", "101500123"])
ELSEWHERE = ("r:", "h:")
"""Forms that are looked for in other ways than `tokens`: inside words, and as somebody else's digest."""


def unseen(forms, text: str) -> set[str]:
    """Forms learnt of a text that are not seen in it, neither alone nor in a sentence."""
    told = {form.token for form in forms if not form.token.startswith(ELSEWHERE)}
    runs = {form.token[2:] for form in forms if form.token.startswith("r:")}
    inside = {token for token in told if not token.startswith("v:")}
    return (
        (told - tokens(text))
        | (inside - tokens(f"made from {text} in one go"))
        | {run for run in runs if run not in joined(text) and run not in joined(text) * 2}
    )


@given(DAYS, CLOCKS, some.booleans())
def test_every_day_that_is_learnt_is_seen_as_it_is_written(day: date, clock: str, old: bool) -> None:
    text = day.strftime("%Y.%m.%d" if old else "%Y%m%d") + ("" if old else clock)
    learnt = {form.token for form in of_date(text) if form.token.startswith("d:")}
    assert learnt == {f"d:{day:%Y%m%d}"}
    assert learnt <= dates(text)
    assert learnt <= dates(f"made from {text} in one go")
    for name in ("date with dots", "date in words"):
        assert learnt <= dates(PLANTS[name].write(text)), name


@given(some.text("0123456789.+-: ", max_size=26))
def test_a_date_that_is_no_day_is_not_learnt_and_never_breaks_anything(text: str) -> None:
    seen = tokens(text) if day_of(text) else set()
    assert {form.token for form in of_date(text) if form.token.startswith("d:")} <= seen


@given(some.text(some.characters(categories=("L", "Nd", "P", "S", "Zs")), min_size=1, max_size=20))
@settings(max_examples=200)
def test_every_form_of_an_identifier_is_seen(text: str) -> None:
    text = text.strip()
    assert not {token for token in unseen(of_identifier(text), text) if token.startswith(("n:", "v:"))}


@given(some.from_regex(r"[0-9A-Za-z]{1,4}([-_#,/.|:; ][0-9A-Za-z]{1,5}){0,4}", fullmatch=True))
@settings(max_examples=200)
def test_every_form_of_a_usual_identifier_is_seen(text: str) -> None:
    assert not unseen(of_identifier(text), text)


@given(some.lists(some.text("abcdefgzABCłéİß", min_size=2, max_size=9), min_size=1, max_size=3).map("^".join))
@settings(max_examples=200)
def test_every_form_of_a_name_but_its_initials_is_seen(text: str) -> None:
    forms = [form for form in of_name(text) if form.token.startswith(("f:", "v:", "c:"))]
    assert not unseen(forms, text)


@pytest.mark.parametrize(
    "text", ["1_1003", "10#101", "1,2345", "AB/1234/56", "2019/04/13-77", "\u0664\u0664\u0660\u0661\u0662\u0660\u0665"]
)
def test_unusual_separators_and_digits_are_seen_where_they_are_planted(text: str) -> None:
    prints = Fingerprints(Vocabulary(), exact=True)
    prints.add(Value("PatientID", "identifier", text, frozenset(of_identifier(text))))
    assert any(form.token.startswith("n:") for form in of_identifier(text))
    for written in (f"made from {text} in one go", f'I0000001,"{text}"', f"ID-000{text}"):
        assert prints.hits(tokens(written)), written
    loose = _texts(text.encode("utf-16-le"), _LOOSE, [], thorough=False)
    assert prints.hits(set().union(*map(tokens, loose)))


def test_a_name_whose_first_group_is_empty_is_planted_by_the_next() -> None:
    assert PLANTS["name turned round"].write("=山田^太郎") == "太郎 山田"
    assert PLANTS["name in one word"].write("=山田^太郎") == "山田太郎"


def pixels_of(levels: np.ndarray) -> bytes:
    return levels.astype("<u2").tobytes()


def shown_in(levels: np.ndarray):
    shown = _shown([pixels_of(levels)])
    return _pairs(shown), ["\n".join(map(joined, shown))]


def test_a_background_at_the_level_of_digits_says_nothing_and_text_on_it_does() -> None:
    rng = np.random.default_rng(0)
    prints = Fingerprints(Vocabulary(), exact=True)
    for _ in range(2000):
        value = value_of("PatientID", "LO", 0x00100020, str(rng.integers(10**7, 10**8)), False)
        assert value is not None
        prints.add(value)
    for keyword, vr, text in (("PatientID", "LO", "44444444"), ("PatientName", "PN", "SMITH^ANNA")):
        value = value_of(keyword, vr, 0x00100020, text, False)
        assert value is not None
        prints.add(value)
    levels = rng.normal(52, 2, 400_000).round()
    levels[:64] = 52
    forms, shown = shown_in(levels)
    assert len(shown[0]) > 100_000
    assert not prints.hits(forms, (), shown)
    for text, place in (("SMITH^ANNA", 0), ("MRN4401205", 4000)):
        value = value_of("PatientID", "LO", 0x00100020, "MRN4401205", False)
        assert value is not None
        prints.add(value)
        planted = np.zeros(5000)
        planted[place : place + len(text)] = list(text.encode())
        forms, shown = shown_in(planted)
        assert prints.hits(forms, (), shown), text
