"""Class shares that follow from released counts: under a claim alone, where somebody paid for the noise."""

from __future__ import annotations

import pytest

from synthrelease.policy.loader import policy_from, problems_of, resolved

TEXT = """\
schema: 1
purpose: test
sharing: {tier: internal}
roles: {operator: Olga, custodian: Carl}
cohort: {name: chest, classes: [normal, nodule]}
privacy: {PRIVACY}
generator: {name: GENERATOR}
archive: {class_shares: SHARES}
"""
PRIVATE = "mode: private, epsilon: 8, delta: 1e-5, expected_patients: 700"


def problems(shares: str, privacy: str = PRIVATE, generator: str = "moments") -> list[str]:
    text = TEXT.replace("SHARES", shares).replace("PRIVACY", privacy).replace("GENERATOR", generator)
    return [str(each) for each in problems_of(text)[1]]


@pytest.mark.parametrize("generator", ["moments", "diffusion", "pggan", "drai", "um"])
def test_released_shares_are_taken_under_a_claim(generator: str) -> None:
    if generator == "pggan":
        generator += ", minibatch_stddev: false"
    if generator == "drai":
        generator += ", penalty_on: generated"
    assert problems("released", generator=generator) == []


def test_without_a_claim_they_are_refused_with_the_reason() -> None:
    (found,) = problems("released", "mode: none")
    assert found.startswith("8:25: archive.class_shares: released needs privacy.mode: private")
    assert "the shares of the private patients would leave uncharged" in found


@pytest.mark.parametrize("privacy", [PRIVATE, "mode: none"])
@pytest.mark.parametrize("word", ["measured", "cohort", "counts"])
def test_other_words_for_the_patients_own_shares_stay_refused(word: str, privacy: str) -> None:
    (found,) = problems(word, privacy)
    assert "refused (nothing_real_is_sampled)" in found


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        (
            "relesed",
            "8:25: archive.class_shares: expected a table of shares or 'released', got 'relesed'; did you mean",
        ),
        ("3", "8:25: archive.class_shares: expected an object, got 3"),
        ("{normal: a, nodule: 1}", '8:34: archive.class_shares.normal: expected number, got "a"'),
        ("{normal: 0.5}", "8:25: archive.class_shares: shares must be at least 0 and sum to 1, got 0.5"),
    ],
)
def test_a_wrong_table_or_word_is_told_once_at_its_place(shares: str, told: str) -> None:
    (found,) = problems(shares)
    assert found.startswith(told)


def test_the_resolved_policy_keeps_the_word() -> None:
    text = TEXT.replace("SHARES", "released").replace("PRIVACY", PRIVATE).replace("GENERATOR", "moments")
    policy, _ = problems_of(text)
    assert policy is not None
    assert resolved(policy)["archive"]["class_shares"] == "released"
    assert policy_from(resolved(policy)) == policy
