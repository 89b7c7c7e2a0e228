"""Reading by jobs, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from synthrelease.cohort.processes import Workers
from synthrelease.cohort.types import PlannedReader, SourceImage
from synthrelease.records.refusals import Refusal


def read_planned(reader: PlannedReader[Any]) -> Iterator[SourceImage | Refusal]:
    """Yield what a reader plans: refusals as they come, and the images of every job, in order."""
    with Workers(1) as workers:
        for job in reader.plan(workers):
            if isinstance(job, Refusal):
                yield job
            else:
                yield from reader.work(job, reader.notes)
