"""Audits are counted: earlier ones of the same patients, archive and question; a changed chain is refused."""

from __future__ import annotations

import json

import pytest

from synthrelease.errors import IntegrityError
from synthrelease.workflow.prior import Asked, add_void, begin_audit, end_audit, prior_audits


def add_audit(chain, asked, verdict, digest):
    record = {"verdict": verdict, "profile": "standard", "seed": 0}
    end_audit(chain, asked, begin_audit(chain, asked), record, digest)


def test_every_audit_of_the_same_patients_counts(tmp_path):
    chain = tmp_path / "audits.jsonl"
    first, reseeded, resampled = (Asked.of("ward", archive, seed) for archive, seed in (("a", 0), ("a", 1), ("b", 0)))
    assert prior_audits(chain, first) == {
        "count": 0,
        "same_archive": 0,
        "same_question": 0,
        "verdicts": {},
        "chain": None,
    }
    add_audit(chain, first, "fail", "1" * 64)
    add_audit(chain, reseeded, "fail", "2" * 64)
    add_audit(chain, resampled, "pass", "3" * 64)
    add_audit(chain, Asked.of("another ward", "a", 0), "pass", "4" * 64)
    told = prior_audits(chain, first)
    assert (told["count"], told["same_archive"], told["same_question"]) == (3, 2, 1)
    assert told["verdicts"] == {"fail": 2, "pass": 1}
    assert len(told["chain"]) == 64


def test_a_changed_archive_is_noted(tmp_path):
    chain = tmp_path / "audits.jsonl"
    add_void(chain, "ward")
    assert prior_audits(chain, Asked.of("ward", "a", 0))["verdicts"] == {"void: the archive was changed": 1}


def test_an_audit_that_was_looked_at_and_broken_off_counts(tmp_path):
    chain = tmp_path / "audits.jsonl"
    asked, reseeded = Asked.of("ward", "a", 0), Asked.of("ward", "a", 1)
    begin_audit(chain, asked)
    begin_audit(chain, reseeded, "self-test")
    told = prior_audits(chain, reseeded, begin_audit(chain, reseeded))
    assert (told["count"], told["verdicts"]) == (2, {"not finished": 1, "self-test": 1})


def test_an_audit_that_goes_on_is_the_same_audit(tmp_path):
    chain = tmp_path / "audits.jsonl"
    asked = Asked.of("ward", "a", 0)
    add_audit(chain, asked, "fail", "1" * 64)
    first = begin_audit(chain, asked)
    told = prior_audits(chain, asked, first)
    assert begin_audit(chain, asked) == first
    assert prior_audits(chain, asked, first) == told
    assert told["count"] == 1


@pytest.mark.parametrize("change", ["verdict", "drop", "junk"])
def test_a_chain_that_was_changed_is_refused(tmp_path, change):
    chain = tmp_path / "audits.jsonl"
    asked = Asked.of("ward", "a", 0)
    for verdict in ("fail", "fail", "pass"):
        add_audit(chain, asked, verdict, "1" * 64)
    lines = chain.read_text().splitlines()
    if change == "verdict":
        lines[0] = json.dumps({**json.loads(lines[0]), "verdict": "pass"})
    elif change == "drop":
        del lines[1]
    else:
        lines[1] = "[]"
    chain.write_text("\n".join(lines) + "\n")
    with pytest.raises(IntegrityError, match="do not follow"):
        prior_audits(chain, asked)
