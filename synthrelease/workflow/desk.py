"""Where the work happens, and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from synthrelease.policy.schema import Policy
from synthrelease.records.ledger import Ledger
from synthrelease.records.progress import Progress


@dataclass(frozen=True)
class Desk:
    """Where the work happens.

    Attributes:
        home: Folder of runs.
        ledgers: Folder of ledgers, one a cohort.
        progress: Told how far each stage is.
        threads: Threads for training; None: all cores.
    """

    home: Path
    ledgers: Path
    progress: Progress
    threads: int | None = None

    def with_ledgers(self, folder: Path) -> Desk:
        """The same desk over another folder of ledgers."""
        return replace(self, ledgers=folder)

    def ledger(self, policy: Policy) -> Ledger:
        """The ledger of the policy's cohort."""
        return Ledger(self.ledgers / f"{policy.cohort.name}.jsonl")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
