"""Audits are counted: earlier ones of the same patients, archive and question; a changed chain is refused."""

from __future__ import annotations

import json

import pytest

from synthrelease.errors import IntegrityError
from synthrelease.workflow.prior import Asked, add_audit, add_void, prior_audits


def record(verdict):
    return {"verdict": verdict, "profile": "standard", "seed": 0}


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
    add_audit(chain, first, record("fail"), "1" * 64)
    add_audit(chain, reseeded, record("fail"), "2" * 64)
    add_audit(chain, resampled, record("pass"), "3" * 64)
    add_audit(chain, Asked.of("another ward", "a", 0), record("pass"), "4" * 64)
    told = prior_audits(chain, first)
    assert (told["count"], told["same_archive"], told["same_question"]) == (3, 2, 1)
    assert told["verdicts"] == {"fail": 2, "pass": 1}
    assert len(told["chain"]) == 64


def test_a_changed_archive_is_noted(tmp_path):
    chain = tmp_path / "audits.jsonl"
    add_void(chain, "ward")
    assert prior_audits(chain, Asked.of("ward", "a", 0))["verdicts"] == {"void: the archive was changed": 1}


@pytest.mark.parametrize("change", ["verdict", "drop", "junk"])
def test_a_chain_that_was_changed_is_refused(tmp_path, change):
    chain = tmp_path / "audits.jsonl"
    asked = Asked.of("ward", "a", 0)
    for verdict in ("fail", "fail", "pass"):
        add_audit(chain, asked, record(verdict), "1" * 64)
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
