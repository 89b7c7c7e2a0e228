"""Reading with several processes gives what reading with one gives."""

from __future__ import annotations

from pathlib import Path

from synthrelease.audit.checks.header_leak import identifying_values
from synthrelease.audit.headers import outgoing_tokens
from synthrelease.audit.parallel import over_files
from synthrelease.cohort.phantom import write_phantom_cohort


def test_two_processes_answer_like_one_and_in_order(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "phantom", patients=3, seed=0, size=32)
    files = sorted(path for path in (tmp_path / "phantom").rglob("*") if path.is_file())
    for ask in (identifying_values, outgoing_tokens):
        alone = list(over_files(ask, files, processes=1))
        assert list(over_files(ask, files, enough=1, processes=2)) == alone
        assert len(alone) == len(files)
    assert identifying_values(tmp_path / "phantom" / "labels.csv") is None
