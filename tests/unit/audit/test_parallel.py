"""Reading with several processes gives what reading with one gives."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from synthrelease.audit.headers.evidence import values_of
from synthrelease.audit.headers.material import said_in
from synthrelease.audit.parallel import over_files
from synthrelease.cohort.phantom import write_phantom_cohort


def test_two_processes_answer_like_one_and_in_order(tmp_path: Path) -> None:
    write_phantom_cohort(tmp_path / "phantom", patients=3, seed=0, size=32)
    files = sorted(path for path in (tmp_path / "phantom").rglob("*") if path.is_file())
    for ask in (values_of, partial(said_in, folder=tmp_path, expectation=None)):
        alone = list(over_files(ask, files, processes=1))
        assert list(over_files(ask, files, enough=1, processes=2)) == alone
        assert len(alone) == len(files)
    assert values_of(tmp_path / "phantom" / "labels.csv") is None
