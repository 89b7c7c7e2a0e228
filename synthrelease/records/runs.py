"""A run's folder: which record lies where, and which run is the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.records.files import atomic_write_json, read_json


@dataclass(frozen=True)
class Run:
    """One run: a folder that starts with a policy and gains a record with every stage."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def policy(self) -> Path:
        return self.folder / "policy.resolved.json"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def training(self) -> Path:
        return self.folder / "training.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def archive_record(self) -> Path:
        return self.folder / "archive.json"

    @property
    def style_grid(self) -> Path:
        """Every content in every style: a picture of generated images."""
        return self.folder / "style-grid.png"

    @property
    def audit(self) -> Path:
        return self.folder / "audit.json"

    @property
    def external_audit(self) -> Path:
        """What of the audit may be told outside of the house: coarse outcomes."""
        return self.folder / "audit-external.json"

    @property
    def self_test(self) -> Path:
        """What the audit sees of leaks that were planted in copies of this archive."""
        return self.folder / "self-test.json"

    @property
    def audits(self) -> Path:
        """One line an audit of this run, chained: repeating an audit until it passes is seen."""
        return self.folder / "audits.jsonl"

    @property
    def annex(self) -> Path:
        """Look-alike pairs that name real patients; never leaves the house."""
        return self.folder / "audit-annex.private.json"

    @property
    def cohort(self) -> Path:
        """The private pixel store."""
        return self.folder / "cohort.private"

    @property
    def source(self) -> Path:
        """Where the private archive was read from; private itself."""
        return self.folder / "source.private.json"

    @property
    def synthetic_store(self) -> Path:
        """The synthetic archive read back at audit resolution."""
        return self.folder / "archive-pixels"

    def report(self, edition: str) -> Path:
        return self.folder / f"report-{edition}.html"

    def require(self, record: Path, stage: str) -> Path:
        """``record`` if it is there.

        Raises:
            UsageError: The stage that writes it has not run.
        """
        if not record.exists():
            verb = "train --policy FILE --resume" if stage == "train" else f"{stage} --run {self.folder}"
            raise UsageError(f"run '{self.name}' has no {record.name}", fix=f"Run `synthrelease {verb}` first.")
        return record

    def read(self, record: Path, stage: str) -> Any:
        return read_json(self.require(record, stage))


PHANTOM_SIZE = 128
"""Rows and columns of a simulated patient's picture."""


def simulated_cohort(home: Path, patients: int, seed: int, *, several: bool = False) -> Path:
    """Where the simulated cohort of these settings lies, beside the runs that are trained on it.

    ``several``: with patients who have several findings at once.
    """
    return home / "phantoms" / (f"{patients}-{seed}-{PHANTOM_SIZE}" + ("-several" if several else ""))


def new_run(home: Path, stem: str, policy: dict[str, Any], now: datetime) -> Run:
    """Make a run folder that holds its policy.

    Args:
        home: Folder of runs.
        stem: Start of the run's name, usually the policy file's.
        policy: Resolved policy, as written to ``policy.resolved.json``.
        now: Time that ends the run's name.
    """
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "run"
    base = f"{stem}-{now:%Y%m%d-%H%M%S}"
    name, count = base, 1
    while (home / name).exists():
        count += 1
        name = f"{base}-{count}"
    run = Run(home / name)
    atomic_write_json(run.policy, policy)
    return run


def find_run(home: Path, named: str | None) -> Run:
    """The run with that name or path, else the newest trained one below ``home``.

    Raises:
        UsageError: There is no such run.
        IntegrityError: The folder is not a run.
    """
    if named is not None:
        for folder in (Path(named), home / named):
            if folder.is_dir():
                run = Run(folder)
                if not run.policy.is_file():
                    raise IntegrityError(
                        f"'{named}' is not a run: it has no {run.policy.name}", fix="Name a run folder."
                    )
                return run
        raise UsageError(
            f"no run '{named}' here or in {home}", fix="Name a run folder, or leave --run out for the newest."
        )
    runs = [path.parent for path in home.glob("*/policy.resolved.json")]
    if not runs:
        raise UsageError(
            f"there is no run in {home} yet", fix="Start one: `synthrelease train --policy policies/dp_eps8.yaml`."
        )
    # A run that is still training, or was stopped there, does not hide the newest one that can be worked on.
    trained = [folder for folder in runs if (folder / "training.json").exists()]
    newest = max(
        trained or runs, key=lambda folder: ((folder / "policy.resolved.json").stat().st_mtime_ns, folder.name)
    )
    return Run(newest)
