"""The account of one run: every use of a mechanism is counted on disk before its noise is drawn.

The count is ahead of the act. A run that is killed may have used the noise of the step in flight, so on resume that
step counts as run and is not run again: what was counted never exceeds the plan, and the epsilon of a resumed run is
that of an uninterrupted one. What a crash costs is a step of progress, not privacy.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from synthrelease.errors import BudgetExceeded, IntegrityError, UnsuitableData
from synthrelease.privacy.accounting import Mechanism
from synthrelease.privacy.high_water import HighWater
from synthrelease.privacy.plan import GaussianRelease, PrivacyPlan
from synthrelease.records.files import atomic_write_bytes, canonical_json

ACCOUNT_SCHEMA = "synthrelease.account/1"


class Account:
    """Counts uses of the plan's mechanisms in a file of JSON lines.

    Args:
        path: The file; it is never rewritten, only added to.
        plan: What may be used, and how often.
        reservation: Hash of the ledger entry that pays for the plan.
        mark: Kept where a restored copy of the account does not reach; None for a run that is not kept.
        resume: Go on with the account in the file; else it must not exist.

    Raises:
        IntegrityError: The file is there already, or is not this run's, or counts less than the mark.
    """

    def __init__(
        self, path: Path, plan: PrivacyPlan, reservation: str, *, mark: HighWater | None = None, resume: bool
    ) -> None:
        self.plan = plan
        self.reservation = reservation
        self._path = path
        self._mark = mark
        self._used = {m.name: 0 for m in plan.mechanisms}
        if len(self._used) != len(plan.mechanisms):
            raise ValueError("two mechanisms of the plan have one name")
        header = {"schema": ACCOUNT_SCHEMA, "plan": plan.digest, "reservation": reservation}
        if resume:
            self._read(header)
            self._require_mark_reached()
        elif path.exists():
            raise IntegrityError(f"{path.name} exists already: the run was started before", fix="Go on with --resume.")
        else:
            if mark is not None:
                mark.begin()
            atomic_write_bytes(path, canonical_json(header) + b"\n")

    def _read(self, header: dict[str, str]) -> None:
        broken = IntegrityError(
            f"{self._path.name} does not belong to this plan and reservation, or was changed",
            fix="Start a new run; the ledger keeps this one charged in full.",
        )
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise broken from error
        whole = content[: content.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise broken from error
        if not lines or lines[0] != header:
            raise broken
        for line in lines[1:]:
            name = line.get("mechanism") if isinstance(line, dict) else None
            if name not in self._used or line.get("count") != self._used[name] + 1:
                raise broken
            self._used[name] += 1
        # A torn last line was not flushed, so no noise was drawn on it.
        if len(whole) != len(content):
            os.truncate(self._path, len(whole))

    def _require_mark_reached(self) -> None:
        if self._mark is None:
            return
        noted = self._mark.used()
        for number, name in enumerate(self._used):
            if noted.pop(number, 0) > self._used[name]:
                raise IntegrityError(
                    "the checkpoint is older than the uses noted beside the ledger: it was restored from a copy",
                    fix="Its later noise was drawn already. Start a new run; the ledger keeps this one charged in full.",
                )
        if noted:
            raise IntegrityError(
                "the ledger's mark of this run's uses names mechanisms that the plan lacks",
                fix="Restore the folder of ledgers, or start a new run.",
            )

    def used(self, name: str) -> int:
        """How often a mechanism was counted so far."""
        return self._used[name]

    def charge(self, name: str) -> GaussianRelease:
        """Count one use of a mechanism; on disk before this returns.

        Raises:
            KeyError: The plan has no such mechanism.
            BudgetExceeded: The plan's number of uses is spent.
            UnsuitableData: The disk refuses; nothing may be released then.
        """
        release = self.plan.release(name)
        if self._used[name] >= release.mechanism.steps:
            raise BudgetExceeded(
                f"{name}: all {release.mechanism.steps} planned uses are spent",
                fix="Start a new run; it reserves its own budget.",
            )
        line = canonical_json({"mechanism": name, "count": self._used[name] + 1}) + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnsuitableData(
                f"cannot write {self._path.name}: {error.strerror}", fix="Free space, then resume the run."
            ) from error
        if self._mark is not None:
            self._mark.note(list(self._used).index(name))
        self._used[name] += 1
        return release

    def mechanisms(self) -> tuple[Mechanism, ...]:
        """What was counted so far, for the accountant."""
        return tuple(replace(m, steps=self._used[m.name]) for m in self.plan.mechanisms if self._used[m.name])
