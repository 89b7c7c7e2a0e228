"""The records that a statement is made from: the frozen policy, training.json, and the charge in the cohort's ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthrelease.errors import IntegrityError, UsageError
from synthrelease.policy.loader import policy_digest, policy_from
from synthrelease.policy.schema import Policy
from synthrelease.records.digests import digest_of, digest_of_file
from synthrelease.records.files import canonical_json, read_json
from synthrelease.records.ledger import Charge, Event, Ledger
from synthrelease.release.run_records import POLICY, TRAINING, named_parent


@dataclass(frozen=True)
class TrainedRun:
    """A run as far as training wrote it.

    Attributes:
        policy: As frozen before training.
        training: training.json.
        name: Of the run, as it was trained; a folder may be moved, its record is not.
        digests: Of the record's bytes, and the policy's.
    """

    policy: Policy
    training: dict[str, Any]
    name: str
    digests: dict[str, str]

    @property
    def privacy(self) -> dict[str, Any]:
        """The claim as recorded."""
        privacy: dict[str, Any] = self.training["privacy"]
        return privacy


def read_trained(folder: Path) -> TrainedRun:
    """Read a trained run; archive and audit need not be there.

    Raises:
        UsageError: It was not trained.
        IntegrityError: A record cannot be read, or training was done under another policy.
    """
    if not (folder / TRAINING).exists():
        raise UsageError(
            f"run '{folder.name}' has no {TRAINING}", fix="A statement is made of a trained run: train it first."
        )
    try:
        policy = policy_from(read_json(folder / POLICY))
    except ValueError as error:
        raise IntegrityError(
            f"{POLICY} is not a policy", fix="Restore it from a copy; never edit it by hand."
        ) from error
    training = read_json(folder / TRAINING)
    if not isinstance(training, dict) or not isinstance(training.get("privacy"), dict):
        raise IntegrityError(f"{TRAINING} is not a training record", fix="Restore it from a copy.")
    try:
        canonical_json(training)
    except ValueError as error:
        raise IntegrityError(f"{TRAINING} holds a figure that is not finite", fix="Restore it from a copy.") from error
    if named_parent(training, "policy") not in (policy_digest(policy), digest_of_file(folder / POLICY)):
        raise IntegrityError(
            f"{TRAINING} was made under another {POLICY} than the one in the run",
            fix="Restore both from a copy; a frozen record is never edited.",
        )
    digests = {"training": digest_of_file(folder / TRAINING), "policy": policy_digest(policy)}
    return TrainedRun(policy, training, str(training.get("run", folder.name)), digests)


def charge_of(run: TrainedRun, ledger: Ledger) -> Charge:
    """What the ledger holds of the run, voided or not; where a name was used twice, the charge that this record settled.

    Raises:
        IntegrityError: It holds nothing, or the ledger is broken.
    """
    mine = [charge for charge in ledger.history() if charge.run == run.name]
    if not mine:
        raise IntegrityError(
            f"the ledger of {ledger.path.stem} does not hold the run {run.name}",
            fix="Name the folder of the ledger that it was trained with: --ledger.",
        )
    record = digest_of(run.training)
    return next((charge for charge in mine if charge.body.get("training_digest") == record), mine[-1])


def released_on(run: TrainedRun, ledger: Ledger) -> str | None:
    """Date of the run's first release, YYYY-MM-DD."""
    dates = [entry.at[:10] for entry in ledger.entries() if entry.event is Event.RELEASED and entry.run == run.name]
    return dates[0] if dates else None
